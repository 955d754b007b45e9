//! `forestall sim sweep`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use scenario::Scenario;
use sim::sweep::{Failure as Found, scenario_text, try_seed};
use sim::{Flaw, SimError};

use super::{Failure, Outcome, configuration, progress, work};

const EXAMPLES: &str = "\
Examples:
  forestall sim sweep --seeds 10000 scenarios/faults
  forestall sim sweep --first 4711 --seeds 1 scenarios/faults      that seed again";

/// A promise that is broken once is enough to look at; more only hide the first.
const FAILURES_MAX: usize = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Folder of the scenario whose load and events are made from seeds
    scenario: PathBuf,
    /// How many seeds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Where a scenario that breaks a promise is kept, made as small as it goes
    #[arg(long, value_name = "DIR", default_value = "out/sweep")]
    out: PathBuf,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let scenario = Scenario::read(&self.scenario).map_err(configuration)?;
        let found = self.search(&scenario).map_err(configuration)?;
        if found.is_empty() {
            println!(
                "{} seeds from {}: every promise was kept",
                self.seeds, self.first
            );
            return Ok(Outcome::Done);
        }
        for failure in &found {
            let folder = self.keep(failure).map_err(work)?;
            println!("seed {}: {}", failure.trial.seed, failure.broken);
            println!("  made small: {}", folder.display());
        }
        Err(work(anyhow!(
            "{} of the seeds from {} on broke a promise",
            found.len(),
            self.first
        )))
    }

    /// Tries all seeds on as many threads as there are cores.
    fn search(&self, scenario: &Scenario) -> Result<Vec<Found>, SimError> {
        let (next, done, enough) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let found: Mutex<Vec<Result<Found, SimError>>> = Mutex::default();
        let counter = progress("seed", self.seeds);
        let work = || {
            while !enough.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.seeds {
                    break;
                }
                let seed = self.first.wrapping_add(number);
                if let Some(failure) = try_seed(scenario, seed, Flaw::None).transpose()
                    && let Ok(mut found) = found.lock()
                {
                    found.push(failure);
                    enough.store(found.len() >= FAILURES_MAX, Ordering::Relaxed);
                }
                counter(done.fetch_add(1, Ordering::Relaxed) + 1);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        let found = found
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
        found.sort_by_key(|failure| failure.trial.seed);
        Ok(found)
    }

    /// Keeps a failure as a scenario of its own.
    fn keep(&self, failure: &Found) -> anyhow::Result<PathBuf> {
        let file = self.scenario.join(scenario::read::FILE_NAME);
        let read =
            || std::fs::read_to_string(&file).context(format!("cannot read {}", file.display()));
        let text = scenario_text(&read()?, failure).map_err(|why| anyhow!(why))?;
        let folder = self.out.join(format!("seed-{}", failure.trial.seed));
        let write = |name: &str, text: &str| -> anyhow::Result<()> {
            let path: &Path = &folder.join(name);
            std::fs::write(path, text).context(format!("cannot write {}", path.display()))
        };
        std::fs::create_dir_all(&folder).context(format!("cannot make {}", folder.display()))?;
        write(scenario::read::FILE_NAME, &text)?;
        let readme = format!(
            "# seed-{}\n\nFound by `forestall sim sweep`, made as small as it goes. Broken promise, {}. \
             Again: `forestall sim run {} --seed {}`.\n",
            failure.trial.seed,
            failure.broken,
            folder.display(),
            failure.trial.seed
        );
        write("README.md", &readme)?;
        Ok(folder)
    }
}

//! `forestall sim compare`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use sim::contest::{Comparison, Contestant, Input, Parameters, compare, input, summary};
use sim::trace::Layout;

use super::{Failure, Outcome, configuration, layout, progress, work};

const EXAMPLES: &str = "\
Examples:
  forestall sim compare                                            made load only: ramps, steps, bursts, …
  forestall sim compare --traces traces --policies all --out out/compare
  forestall sim compare --traces traces --policies deadline,threshold,never,oracle --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Folder of load traces, each a file or a folder: PlanetLab, Bitbrains, Azure, Alibaba, Google or time,host,cpu
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// Layout of all of them, where names and first lines do not tell it
    #[arg(long, requires = "traces", value_name = "NAME", value_parser = layout)]
    layout: Option<Layout>,
    /// Names separated by commas, or `all`
    #[arg(
        long,
        default_value = "all",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    policies: Vec<String>,
    /// Seeds of packing, noise and made load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 101)]
    first: u64,
    /// Where report.html, results.json and results.csv go
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let contestants = self.contestants()?;
        let inputs = self.inputs()?;
        let counter = progress("input", inputs.len() as u64);
        let done = |done: usize| counter(done as u64);
        let parameters = Parameters::frozen();
        let comparison = compare(&inputs, &contestants, &parameters, done).map_err(work)?;
        if let Some(out) = &self.out {
            write(out, &comparison).map_err(work)?;
        }
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&comparison).map_err(work)?
            );
        } else {
            print!("{}", summary::table(&comparison.policies, &contestants));
        }
        if let Some(out) = self.out.filter(|_| !self.json) {
            println!("report: {}", out.join("report.html").display());
        }
        Ok(Outcome::Done)
    }

    fn contestants(&self) -> Result<Vec<Contestant>, Failure> {
        let all = Contestant::all();
        if self.policies == ["all"] {
            return Ok(all);
        }
        let known = || {
            all.iter()
                .map(Contestant::name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut chosen = Vec::new();
        for name in &self.policies {
            let found = all.iter().find(|who| who.name() == *name);
            let found = found.ok_or_else(|| {
                configuration(anyhow!(
                    "there is no policy {name:?}; there are {}",
                    known()
                ))
            })?;
            chosen.push(*found);
        }
        Ok(chosen)
    }

    fn inputs(&self) -> Result<Vec<Input>, Failure> {
        let traces = match &self.traces {
            Some(folder) => input::traces(folder, self.layout).map_err(configuration)?,
            None => Vec::new(),
        };
        for (name, trace) in &traces {
            eprintln!("{name}: {}", input::describe(trace));
        }
        let mut inputs = Vec::new();
        for seed in self.first..self.first.saturating_add(self.seeds) {
            for (name, trace) in &traces {
                inputs.extend(input::of_trace(name, trace, seed).map_err(configuration)?);
            }
            inputs.extend(input::generated(seed));
        }
        Ok(inputs)
    }
}

fn write(out: &Path, comparison: &Comparison) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let file = |name: &str, text: &str| {
        let path = out.join(name);
        record::file::write_atomically(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let json = serde_json::to_string_pretty(comparison).context("cannot write results as JSON")?;
    file("results.json", &(json + "\n"))?;
    file("results.csv", &summary::csv(comparison))?;
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    file(
        "report.html",
        &sim::report::html(comparison, &format!("forestall {command}")),
    )
}

//! `forestall sim`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Subcommand, ValueEnum};
use control::journal::INPUTS;
use orchestrator::journal::DECISIONS;
use record::Timestamp;
use scenario::{PolicyName, Scenario};
use sim::SimRun;

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall sim run scenarios/reallocation                         every policy, the scenario's profile
  forestall sim run scenarios/reallocation --profile slow --policy deadline --log
  forestall sim replay out/reallocation/TIME/RUN                   does this code decide the same again?";

/// Run a scenario in virtual time, or a recorded run's inputs once more
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario in virtual time, with the figures of its [model]
    #[command(after_help = EXAMPLES)]
    Run(RunArguments),
    /// Decide again on a record's inputs.jsonl; exit 1 where that differs from its decisions.jsonl
    #[command(after_help = EXAMPLES)]
    Replay {
        /// Folder of a run of the lab, or the journal of an orchestrator
        dir: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The scenario's folder
    scenario: PathBuf,
    /// Policy to run
    #[arg(long, value_enum, default_value_t = Chosen::All)]
    policy: Chosen,
    /// Load profile to run [default: the scenario's]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Print the decision logs after the table
    #[arg(long)]
    log: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Chosen {
    None,
    Threshold,
    Deadline,
    All,
}

impl Chosen {
    fn policies(self, scenario: &Scenario) -> Vec<PolicyName> {
        match self {
            Self::None => vec![PolicyName::None],
            Self::Threshold => vec![PolicyName::Threshold],
            Self::Deadline => vec![PolicyName::Deadline],
            Self::All => scenario.policies.clone(),
        }
    }
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        match self.command {
            Command::Run(arguments) => run(&arguments),
            Command::Replay { dir } => replay(&dir),
        }
    }
}

fn configuration(error: impl Into<anyhow::Error>) -> Failure {
    Failure {
        kind: FailureKind::Configuration,
        error: error.into(),
    }
}

fn work(error: impl Into<anyhow::Error>) -> Failure {
    Failure {
        kind: FailureKind::Work,
        error: error.into(),
    }
}

fn run(arguments: &RunArguments) -> Result<Outcome, Failure> {
    let scenario = Scenario::read(&arguments.scenario).map_err(configuration)?;
    let default = scenario.default_profile.as_ref();
    let name = arguments.profile.as_ref().unwrap_or(default);
    let Some(profile) = scenario.profiles.get(name) else {
        let all: Vec<&str> = scenario.profiles.keys().map(String::as_str).collect();
        return Err(configuration(anyhow!(
            "there is no load profile {name:?} in {}; there are {}",
            arguments.scenario.display(),
            all.join(", ")
        )));
    };
    println!("{} in virtual time, load profile {name}", scenario.name);
    println!(
        "{:<10} {:>9} {:>9} {:>9} {:>9} {:>13}",
        "policy", "started", "moved", "knee at", "margin", "above knee"
    );
    let mut logs = String::new();
    for policy in arguments.policy.policies(&scenario) {
        let run = sim::run(&scenario, policy, profile).map_err(configuration)?;
        println!("{}", row(policy, &run));
        if arguments.log {
            logs.push_str(&run.decision_log().map_err(work)?);
        }
    }
    print!("{logs}");
    Ok(Outcome::Done)
}

/// A line of the table; what did not happen is a dash.
fn row(policy: PolicyName, run: &SimRun) -> String {
    let seconds = |s: Option<f64>| s.map_or_else(|| "-".to_owned(), |s| format!("{s:.1} s"));
    let at = |at: Option<Timestamp>| seconds(at.map(Timestamp::as_secs_f64));
    format!(
        "{:<10} {:>9} {:>9} {:>9} {:>9} {:>13}",
        policy.as_str(),
        at(run.moves.first().map(|first| first.started_at)),
        at(run.moved_at),
        at(run.knee_reached),
        seconds(run.margin_s),
        seconds(Some(run.above_knee_s)),
    )
}

fn replay(dir: &Path) -> Result<Outcome, Failure> {
    let read = |name| {
        let path = dir.join(name);
        std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(configuration)
    };
    let (inputs, recorded) = (read(INPUTS)?, read(DECISIONS)?);
    let decisions = sim::replay(&inputs)
        .with_context(|| format!("cannot replay {}", dir.join(INPUTS).display()))
        .map_err(work)?;
    let mut again = String::new();
    for decision in &decisions {
        again.push_str(&serde_json::to_string(decision).map_err(work)?);
        again.push('\n');
    }
    if again == recorded {
        println!("{} decisions, equal", decisions.len());
        return Ok(Outcome::Done);
    }
    let (mut old, mut new) = (recorded.split_inclusive('\n'), again.split_inclusive('\n'));
    for number in 1.. {
        let (old, new) = (old.next(), new.next());
        if old != new {
            println!("decision {number} differs");
            println!("  recorded: {}", old.unwrap_or("(none)").trim_end());
            println!("  replayed: {}", new.unwrap_or("(none)").trim_end());
            break;
        }
    }
    Err(work(anyhow!(
        "{} is not what this code decides on the same inputs",
        dir.join(DECISIONS).display()
    )))
}

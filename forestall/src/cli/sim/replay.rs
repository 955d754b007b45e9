//! `forestall sim replay`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use control::journal::INPUTS;
use orchestrator::recording::DECISIONS;
use record::{Decision, Event};

use super::{Chosen, Failure, Outcome, configuration, work};

const EXAMPLES: &str = "\
Examples:
  forestall sim replay out/reallocation/TIME/runs/fast-deadline-1
  forestall sim replay out/reallocation/TIME/runs/fast-deadline-1 --policy threshold";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Folder of a run of the lab, or the recording of an orchestrator
    dir: PathBuf,
    /// Decide by another policy instead, and say when it would have begun to move
    #[arg(long, value_enum, value_name = "NAME")]
    policy: Option<Chosen>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let inputs = read(&self.dir, INPUTS)?;
        match self.policy {
            None => again(&self.dir, &inputs),
            Some(policy) => otherwise(&self.dir, &inputs, policy),
        }
    }
}

fn read(dir: &Path, name: &str) -> Result<String, Failure> {
    let path = dir.join(name);
    std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(configuration)
}

/// Whether this code decides the same again.
fn again(dir: &Path, inputs: &str) -> Result<Outcome, Failure> {
    let recorded = read(dir, DECISIONS)?;
    let decisions = sim::replay(inputs)
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

/// What another policy would have decided, until its first move: what came in afterwards is of a world in which that move was not
/// made.
fn otherwise(dir: &Path, inputs: &str, policy: Chosen) -> Result<Outcome, Failure> {
    let names = match policy {
        Chosen::All => vec!["none", "threshold", "deadline"],
        Chosen::None => vec!["none"],
        Chosen::Threshold => vec!["threshold"],
        Chosen::Deadline => vec!["deadline"],
    };
    for name in names {
        let decisions = sim::replay::replay_with(inputs, name)
            .with_context(|| format!("cannot replay {}", dir.join(INPUTS).display()))
            .map_err(configuration)?;
        println!("{name:<10} {}", first_move(&decisions));
    }
    Ok(Outcome::Done)
}

fn first_move(decisions: &[Decision]) -> String {
    let begin = decisions.first().map(|decision| decision.at_us);
    let start = decisions.iter().find_map(|decision| match &decision.event {
        Event::Start {
            vm, source, target, ..
        } => Some((decision.at_us, vm, source, target)),
        _ => None,
    });
    match (begin, start) {
        (Some(begin), Some((at, vm, source, target))) => format!(
            "moves {vm} from {source} to {target} {:.1} s after the first decision",
            at.seconds_after(begin)
        ),
        _ => format!("never moves, in {} decisions", decisions.len()),
    }
}

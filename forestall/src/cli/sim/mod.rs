//! `forestall sim`.

mod bench;
mod compare;
mod forecast;
mod replay;
mod run;
mod sweep;

use clap::Subcommand;

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall sim run scenarios/reallocation --profile slow --policy deadline --log
  forestall sim compare --traces traces --policies all --out out/compare
  forestall sim sweep --seeds 10000 scenarios/faults
  forestall sim replay out/reallocation/TIME/runs/fast-deadline-1
  forestall sim bench";

/// Run scenarios and load traces in virtual time with the controller of the orchestrator
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario in virtual time, with the figures of its [model]
    Run(run::Arguments),
    /// Compare the controller with the rules of other systems and with one who knows the future, on real and made load
    Compare(compare::Arguments),
    /// Compare ways to foresee load, on real and made load
    Forecast(forecast::Arguments),
    /// Search for a broken promise: a scenario with load and faults from a seed, again and again
    Sweep(sweep::Arguments),
    /// Decide again on a record's inputs.jsonl; exit 1 where that differs from its decisions.jsonl
    Replay(replay::Arguments),
    /// Measure what the controller costs: many hosts for long, single samples, single placements
    Bench(bench::Arguments),
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        match self.command {
            Command::Run(arguments) => arguments.run(),
            Command::Compare(arguments) => arguments.run(),
            Command::Forecast(arguments) => arguments.run(),
            Command::Sweep(arguments) => arguments.run(),
            Command::Replay(arguments) => arguments.run(),
            Command::Bench(arguments) => arguments.run(),
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

/// A layout of load traces on the command line.
fn layout(name: &str) -> Result<sim::trace::Layout, String> {
    use sim::trace::Layout;
    let names = || Layout::ALL.map(Layout::name).join(", ");
    Layout::of_name(name).ok_or_else(|| format!("there are {}", names()))
}

/// A policy on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Chosen {
    None,
    Threshold,
    Deadline,
    All,
}

/// A counter on the terminal, for what takes longer than two seconds; nothing where nobody looks.
fn progress(what: &'static str, total: u64) -> impl Fn(u64) + Sync {
    use std::io::{IsTerminal, Write};
    let shown = std::io::stderr().is_terminal();
    move |done| {
        if shown {
            let end = if done >= total { "\n" } else { "" };
            let mut out = std::io::stderr().lock();
            // A terminal that cannot be written to shows no counter: that changes nothing of the work.
            let _ = write!(out, "\r{what} {done} of {total}{end}");
            let _ = out.flush();
        }
    }
}

//! The commands, one file each.

mod bench;
#[cfg(feature = "media")]
mod bench_media;
#[cfg(feature = "media")]
mod capture;
mod completions;
mod inventory;
mod lab;
mod man;
mod measure;
mod operate;
mod orchestrate;
#[cfg(feature = "media")]
mod overlay;
#[cfg(feature = "media")]
mod passages;
mod place;
#[cfg(feature = "media")]
mod play;
mod relay;
mod report;
mod reporter;
#[cfg(feature = "media")]
mod screen;
#[cfg(feature = "media")]
mod screenshots;
mod serve;
mod sim;
mod video;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Keeps live video under its delay budget by moving its functions before their servers get too busy.
#[derive(Debug, Parser)]
#[command(name = "forestall", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 the work failed, 2 the command line or a configuration is wrong, 3 something that is needed is \
missing, 130 interrupted (Ctrl-C or SIGTERM; files are whole).";

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run experiments for real on this machine: namespaces, virtual machines, agents, load, video
    Lab(lab::Arguments),
    /// Run a scenario in virtual time, or a recorded run's inputs once more
    Sim(sim::Arguments),
    /// Measure what others made: arrival intervals in a capture, the knee of a sweep, the delay on a screen
    Measure(measure::Arguments),
    /// Make tables, figures and findings of a campaign again from its raw data, several parts together
    Report(report::Arguments),
    /// Watch hosts, and move functions before their hosts get too busy
    Orchestrate(orchestrate::Arguments),
    #[command(flatten)]
    Operate(operate::Command),
    /// Measure what Forestall costs on this machine
    Bench(bench::Arguments),
    /// Be the camera: send a moving picture with a clock
    #[cfg(feature = "media")]
    Capture(capture::Arguments),
    /// Be the function: write text over video on its way
    #[cfg(feature = "media")]
    Overlay(overlay::Arguments),
    /// Pass a stream on, to one or many
    Relay(relay::Arguments),
    /// Give streams to many viewers over HTTP
    Serve(Box<serve::Arguments>),
    /// Be the screen: show video, in a window or to nobody, and measure how old it is
    #[cfg(feature = "media")]
    Play(play::Arguments),
    /// Print what a shell needs to complete command lines of `forestall`
    Completions(completions::Arguments),
    /// Write manual pages, one for each command, into a folder
    Man(man::Arguments),
}

impl Command {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        match self {
            Self::Lab(arguments) => arguments.run(),
            Self::Sim(arguments) => arguments.run(),
            Self::Measure(arguments) => arguments.run(),
            Self::Report(arguments) => arguments.run(),
            Self::Orchestrate(arguments) => arguments.run(),
            Self::Operate(command) => command.run(),
            Self::Bench(arguments) => arguments.run(),
            #[cfg(feature = "media")]
            Self::Capture(arguments) => arguments.run(),
            #[cfg(feature = "media")]
            Self::Overlay(arguments) => arguments.run(),
            Self::Relay(arguments) => arguments.run(),
            Self::Serve(arguments) => arguments.run(),
            #[cfg(feature = "media")]
            Self::Play(arguments) => arguments.run(),
            Self::Completions(arguments) => arguments.run(),
            Self::Man(arguments) => arguments.run(),
        }
    }
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did its work.
    Done,
    /// It was told to end, and did in order.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Interrupted => Self::from(130),
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) error: anyhow::Error,
}

/// A runtime of one thread, for a command that does one thing after another.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(|error| Failure {
            kind: FailureKind::Work,
            error,
        })
}

/// What a person does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The work failed.
    Work,
    /// The command line or a configuration is wrong.
    Configuration,
    /// Something that must be there first is missing.
    Missing,
    /// A person or a service manager ended it.
    Interrupted,
}

impl From<FailureKind> for ExitCode {
    fn from(kind: FailureKind) -> Self {
        Self::from(match kind {
            FailureKind::Work => 1,
            FailureKind::Configuration => 2,
            FailureKind::Missing => 3,
            FailureKind::Interrupted => 130,
        })
    }
}

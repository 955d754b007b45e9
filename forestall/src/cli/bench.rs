//! `forestall bench`.

use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use orchestrator::bench::{self, BenchError, Options, Report, Versioned};
use orchestrator::snmp::SnmpVersion;

use super::{Failure, FailureKind, Outcome, runtime};

const EXAMPLES: &str = "\
Examples:
  forestall bench orchestrator
  forestall bench orchestrator --agents 1000 --measured-s 5 --json
  forestall bench media --out out/media                    about 6 minutes; the report has histograms";

/// Measure what Forestall costs on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch thousands of simulated agents, beside prometheus-snmp-exporter where it is installed; then the controller, the start of a
    /// move, the journal
    Orchestrator {
        /// Simulated agents
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        agents: u32,
        /// Time between two polls of each agent
        #[arg(long, value_name = "MS", default_value_t = 1000)]
        poll_ms: u64,
        /// How long to measure, each poller with each version of SNMP
        #[arg(long, value_name = "S", default_value_t = 20)]
        measured_s: u64,
        /// Print all figures as JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure the video stages from outside, beside FFmpeg's chain in the same run
    #[cfg(feature = "media")]
    Media(super::bench_media::Arguments),
    /// Be the simulated agents; the benchmark starts this itself
    #[command(hide = true)]
    SimulatedAgents {
        #[arg(long)]
        snmp: Version,
        #[arg(long)]
        port: u16,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Version {
    V3,
    V2c,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        match self.command {
            Command::Orchestrator {
                agents,
                poll_ms,
                measured_s,
                json,
            } => {
                let options = Options {
                    agents,
                    period: Duration::from_millis(poll_ms),
                    measured: Duration::from_secs(measured_s),
                    own: std::env::current_exe()
                        .context("cannot find this program")
                        .map_err(work)?,
                };
                orchestrator(&options, json)
            }
            #[cfg(feature = "media")]
            Command::Media(arguments) => arguments.run(),
            Command::SimulatedAgents { snmp, port } => {
                let version = match snmp {
                    Version::V3 => SnmpVersion::V3,
                    Version::V2c => SnmpVersion::V2c,
                };
                bench::fleet_access(version)
                    .and_then(|access| bench::serve(&access, port))
                    .map_err(|error| work(error.into()))?;
                Ok(Outcome::Done)
            }
        }
    }
}

fn orchestrator(options: &Options, json: bool) -> Result<Outcome, Failure> {
    // One thread: what is measured is what one core can do.
    let report = runtime()?
        .block_on(bench::run(options))
        .map_err(|error| Failure {
            kind: match error {
                BenchError::Agents(_) | BenchError::NoTime => FailureKind::Configuration,
                _ => FailureKind::Work,
            },
            error: error.into(),
        })?;
    if json {
        let text = serde_json::to_string_pretty(&report)
            .context("cannot write JSON")
            .map_err(work)?;
        println!("{text}");
    } else {
        print(&report);
    }
    Ok(Outcome::Done)
}

fn print(report: &Report) {
    let snmp = &report.snmp;
    println!(
        "{} simulated agents, each asked every {} s, for {} s",
        snmp.agents, snmp.period_s, snmp.measured_s
    );
    for (name, figures) in [("v3", &snmp.v3), ("v2c", &snmp.v2c)] {
        print_version(name, figures);
    }
    let calls = &report.control;
    println!(
        "controller of {} hosts and {} functions: one sample p50 {:.2} µs, p99 {:.2} µs; one that leads to a placement p50 {:.2} ms, p99 {:.2} ms; {:.0} MB, the simulated fleet included",
        calls.hosts,
        calls.functions,
        calls.sample_us.p50,
        calls.sample_us.p99,
        calls.placement_ms.p50,
        calls.placement_ms.p99,
        calls.rss_mb
    );
    let (start, synced) = (
        &report.start_after_sample_ms,
        &report.journal_synced_turn_ms,
    );
    println!(
        "start of a move after the sample that decides it: p50 {:.1} ms, p99 {:.1} ms (n {})",
        start.p50, start.p99, start.n
    );
    println!(
        "journal: {:.0} records a second; a turn that is on the disk: p50 {:.2} ms, p99 {:.2} ms",
        report.journal_records_per_s, synced.p50, synced.p99
    );
}

fn print_version(name: &str, figures: &Versioned) {
    let polling = &figures.polling;
    println!(
        "{name:>4}  answered {:.3} % of {} polls ({} lost, {} late, {} skipped), {:.0} varbinds per CPU second, {:.1} µs a poll, {:.0} % of a core, {:.0} MB",
        polling.answered_share * 100.0,
        polling.due,
        polling.lost,
        polling.late,
        polling.skipped,
        polling.varbinds_per_cpu_s,
        polling.cpu_us_per_poll,
        polling.cpu_share * 100.0,
        polling.rss_mb
    );
    match (&figures.exporter, &figures.exporter_missing) {
        (Some(exporter), _) => println!(
            "      prometheus-snmp-exporter: {:.0} varbinds per CPU second, {:.1} µs a scrape ({} scrapes, {} failed); Forestall {:.1} times that",
            exporter.varbinds_per_cpu_s,
            exporter.cpu_us_per_scrape,
            exporter.scrapes,
            exporter.failed,
            polling.varbinds_per_cpu_s / exporter.varbinds_per_cpu_s
        ),
        (None, why) => println!(
            "      prometheus-snmp-exporter: not measured, {}",
            why.as_deref().unwrap_or("unknown why")
        ),
    }
}

fn work(error: anyhow::Error) -> Failure {
    Failure {
        kind: FailureKind::Work,
        error,
    }
}

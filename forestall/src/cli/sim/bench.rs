//! `forestall sim bench`.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::{Failure, Outcome, work};

const EXAMPLES: &str = "\
Examples:
  forestall sim bench                                              10,000 hosts for a day
  forestall sim bench --hosts 1000 --functions 10000 --hours 1 --json";

/// Rounds of samples in which single calls are timed.
const ROUNDS: u32 = 40;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Hosts
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    hosts: u32,
    /// Functions
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    functions: u32,
    /// Hours in virtual time
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8760))]
    hours: u32,
    /// Seconds from one sample of a host to the next
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    period: u32,
    /// Time single calls of the controller, too
    #[arg(long)]
    calls: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let (hosts, functions) = (self.hosts as usize, self.functions as usize);
        let time = Duration::from_secs(u64::from(self.hours) * 3600);
        let period = Duration::from_secs(u64::from(self.period));
        let run = sim::bench::long_run(hosts, functions, time, period).map_err(work)?;
        let (wall_s, rss_mb) = (run.wall.as_secs_f64(), rss_mb().map_err(work)?);
        let us_per_sample = wall_s * 1e6 / run.samples.max(1) as f64;
        let calls = self
            .calls
            .then(|| sim::bench::calls(hosts, functions, ROUNDS))
            .transpose()
            .map_err(work)?;
        let spread = |times: &[Duration]| {
            let at = |q: f64| times.get(((times.len().saturating_sub(1)) as f64 * q) as usize);
            (at(0.5).copied(), at(0.99).copied(), times.len())
        };
        let calls = calls.map(|calls| (spread(&calls.samples), spread(&calls.placements)));
        if self.json {
            let us = |time: Option<Duration>| time.map(|time| time.as_nanos() as f64 / 1e3);
            let calls = calls.map(|(sample, placement)| {
                json!({
                    "sample_us": { "p50": us(sample.0), "p99": us(sample.1), "n": sample.2 },
                    "placement_ms": {
                        "p50": us(placement.0).map(|us| us / 1e3),
                        "p99": us(placement.1).map(|us| us / 1e3),
                        "n": placement.2,
                    },
                })
            });
            println!(
                "{}",
                json!({
                    "hosts": hosts, "functions": functions, "hours": self.hours, "period_s": self.period,
                    "wall_s": wall_s, "rss_mb": rss_mb, "samples": run.samples, "moves": run.moves,
                    "us_per_sample": us_per_sample, "calls": calls,
                })
            );
            return Ok(Outcome::Done);
        }
        println!(
            "{hosts} hosts, {functions} functions, {} h, a sample each {} s: {} samples and {} moves in {wall_s:.1} s, \
             {us_per_sample:.3} µs a sample, {rss_mb:.0} MB",
            self.hours, self.period, run.samples, run.moves
        );
        if let Some((sample, placement)) = calls {
            let show =
                |time: Option<Duration>| time.map_or("-".into(), |time| format!("{time:.1?}"));
            println!(
                "one sample: p50 {}, p99 {} (n {}); one that leads to a placement: p50 {}, p99 {} (n {})",
                show(sample.0),
                show(sample.1),
                sample.2,
                show(placement.0),
                show(placement.1),
                placement.2
            );
        }
        Ok(Outcome::Done)
    }
}

/// The most memory that this process has had.
fn rss_mb() -> anyhow::Result<f64> {
    let path = "/proc/self/status";
    let status = std::fs::read_to_string(path).context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0 / 1e6)
        .context("/proc/self/status has no VmHWM")
}

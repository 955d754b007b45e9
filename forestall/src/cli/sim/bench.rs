//! `forestall sim bench`.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use sim::report::costs::Cost;

use super::{Failure, Outcome, work};

const EXAMPLES: &str = "\
Examples:
  forestall sim bench                                              10,000 hosts for a day
  forestall sim bench --scale cost.svg                             hosts and functions from 100 to 100,000, drawn
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
    /// Measure 100 to 100,000 hosts with 100 to 100,000 functions, with single calls, and draw the cost into this SVG
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hosts", "functions", "hours", "calls"])]
    scale: Option<std::path::PathBuf>,
    /// Time single calls of the controller, too
    #[arg(long)]
    calls: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        if let Some(path) = &self.scale {
            return self.scale(path);
        }
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

/// Hosts and functions of the figure.
const SCALES: [usize; 4] = [100, 1_000, 10_000, 100_000];
/// Functions of a host at most.
const PER_HOST_MAX: usize = 10;
/// Samples of each of its runs, about; a run is an hour at most and 20 samples of each host at least.
const SCALE_SAMPLES: usize = 4_000_000;

impl Arguments {
    fn scale(&self, path: &std::path::Path) -> Result<Outcome, Failure> {
        let period = Duration::from_secs(u64::from(self.period));
        let mut costs = Vec::new();
        let all = SCALES.into_iter().flat_map(|h| SCALES.map(|f| (h, f)));
        // More functions than that are more than a host carries, however small; it would only ever be emptied.
        let sensible = all.filter(|(hosts, functions)| *functions <= hosts * PER_HOST_MAX);
        for (hosts, functions) in sensible {
            eprintln!("{hosts} hosts, {functions} functions");
            let rounds = (SCALE_SAMPLES / hosts).clamp(20, 720) as u32;
            let run = sim::bench::long_run(hosts, functions, period * rounds, period);
            let run = run.map_err(work)?;
            let calls = sim::bench::calls(hosts, functions, ROUNDS).map_err(work)?;
            let p99 = |times: &[Duration]| {
                let at = times.len().checked_sub(1)? * 99 / 100;
                times.get(at).map(Duration::as_secs_f64)
            };
            costs.push(Cost {
                hosts,
                functions,
                us_per_sample: run.wall.as_secs_f64() * 1e6 / run.samples.max(1) as f64,
                sample_p99_us: p99(&calls.samples).map(|s| s * 1e6),
                placement_p99_ms: p99(&calls.placements).map(|s| s * 1e3),
            });
        }
        std::fs::write(path, sim::report::costs::draw(&costs))
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(work)?;
        if self.json {
            let cost = |cost: &Cost| {
                json!({
                    "hosts": cost.hosts, "functions": cost.functions, "us_per_sample": cost.us_per_sample,
                    "sample_us_p99": cost.sample_p99_us, "placement_ms_p99": cost.placement_p99_ms,
                })
            };
            println!("{}", json!(costs.iter().map(cost).collect::<Vec<_>>()));
            return Ok(Outcome::Done);
        }
        println!("  hosts  functions  a sample, µs  one sample p99, µs  one placement p99, ms");
        let figure = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
        for cost in &costs {
            println!(
                "{:>7} {:>10} {:>13.3} {:>19} {:>22}",
                cost.hosts,
                cost.functions,
                cost.us_per_sample,
                figure(cost.sample_p99_us),
                figure(cost.placement_p99_ms)
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

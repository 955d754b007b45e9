//! What Forestall's own poller needs.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use record::HostName;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{BenchError, Options};
use crate::agent::Watch;
use crate::snmp::{Access, Snmp, SnmpVersion};

/// Periods before it counts: in the first one agents are got to know.
const WARM_UP_PERIODS: u32 = 5;
/// Samples that wait; somebody takes them at once.
const SAMPLES_WAITING_MAX: usize = 1024;

/// Figures of the poller.
#[derive(Clone, Debug, Serialize)]
pub struct Polling {
    /// Of the polls that were due, those that were answered in time.
    pub answered_share: f64,
    /// Polls that were due.
    pub due: u64,
    /// Polls that were not begun in their time, since the poller was busy.
    pub skipped: u64,
    /// Polls answered in time.
    pub answered: u64,
    /// Polls whose answer has not come.
    pub lost: u64,
    /// Answers that came late or out of order.
    pub late: u64,
    /// Values received.
    pub varbinds: u64,
    /// Samples made of them.
    pub samples: u64,
    /// CPU time of the process, user and system.
    pub cpu_s: f64,
    /// Share of one core.
    pub cpu_share: f64,
    /// CPU time of a poll.
    pub cpu_us_per_poll: f64,
    /// Values received per second of CPU.
    pub varbinds_per_cpu_s: f64,
    /// Most memory that the process has had.
    pub rss_mb: f64,
}

/// Asks the agents for the time of the options.
pub(super) async fn measure(
    options: &Options,
    access: &Access,
    addresses: &[SocketAddr],
) -> Result<Polling, BenchError> {
    let mut watch = Watch::new(&section(options, access, addresses), access)?;
    let (inputs, mut samples) = mpsc::channel(SAMPLES_WAITING_MAX);
    let counter = tokio::spawn(async move {
        let mut count = 0_u64;
        let mut since = 0;
        while let Some(input) = samples.recv().await {
            match input {
                // The end of warming up.
                control::Input::Timeout => since = count,
                _ => count += 1,
            }
        }
        count - since
    });
    watch
        .run(&inputs, sleep(options.period * WARM_UP_PERIODS))
        .await;
    inputs.send(control::Input::Timeout).await.ok();
    let (before, cpu_before, begun) = (watch.totals(), cpu_time()?, Instant::now());
    watch.run(&inputs, sleep(options.measured)).await;
    let (after, wall) = (watch.totals(), begun.elapsed());
    let cpu_s = cpu_time()?.saturating_sub(cpu_before).as_secs_f64();
    drop((watch, inputs));
    let skipped = after.skipped - before.skipped;
    let (before, after) = (before.tally, after.tally);
    // Polls under way at either end of the time are as good as those at the other.
    let due = after.ended().saturating_sub(before.ended()) + skipped;
    let answered = after.answered - before.answered;
    let varbinds = after.varbinds - before.varbinds;
    Ok(Polling {
        answered_share: answered as f64 / due.max(1) as f64,
        due,
        skipped,
        answered,
        lost: after.lost.saturating_sub(before.lost),
        late: after.late + after.reordered - before.late - before.reordered,
        varbinds,
        samples: counter.await.unwrap_or_default(),
        cpu_s,
        cpu_share: cpu_s / wall.as_secs_f64(),
        cpu_us_per_poll: cpu_s * 1e6 / answered.max(1) as f64,
        varbinds_per_cpu_s: varbinds as f64 / cpu_s,
        rss_mb: peak_memory_mb()?,
    })
}

/// A section of a configuration with these agents. It names no secrets: they are in `access`.
fn section(options: &Options, access: &Access, addresses: &[SocketAddr]) -> Snmp {
    let host = |(index, address): (usize, &SocketAddr)| {
        let name = HostName::new(&format!("agent-{index}")).ok()?;
        Some((name, *address))
    };
    Snmp {
        version: match access {
            Access::V2c { .. } => SnmpVersion::V2c,
            Access::V3 { .. } => SnmpVersion::V3,
        },
        user: None,
        auth: None,
        auth_password: None,
        privacy: None,
        privacy_password: None,
        community: None,
        poll_ms: options.period.as_millis() as u64,
        agents: addresses.iter().enumerate().filter_map(host).collect(),
    }
}

fn cpu_time() -> Result<Duration, BenchError> {
    let usage = usage()?;
    let part = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64)
    };
    Ok(part(usage.user_time()) + part(usage.system_time()))
}

fn peak_memory_mb() -> Result<f64, BenchError> {
    Ok(usage()?.max_rss() as f64 / 1024.0)
}

fn usage() -> Result<nix::sys::resource::Usage, BenchError> {
    getrusage(UsageWho::RUSAGE_SELF).map_err(|error| BenchError::CpuTime(io::Error::from(error)))
}

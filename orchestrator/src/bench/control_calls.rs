//! What one sample and one placement cost the controller alone, as `forestall sim bench --calls` measures them.

use std::path::Path;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{BenchError, Spread};

/// The size that is promised: 10,000 hosts with ten functions each.
const SIZE: [&str; 4] = ["--hosts", "10000", "--functions", "100000"];

/// Single calls of a controller.
#[derive(Clone, Debug, Serialize)]
pub struct Calls {
    /// Hosts.
    pub hosts: u32,
    /// Functions.
    pub functions: u32,
    /// A sample that leads to no placement, in microseconds.
    pub sample_us: Spread,
    /// One that leads to one: a function and a target are looked for among all.
    pub placement_ms: Spread,
    /// Most memory of the process, the simulated fleet around the controller included.
    pub rss_mb: f64,
}

#[derive(Deserialize)]
struct Said {
    hosts: u32,
    functions: u32,
    rss_mb: f64,
    calls: SaidOfCalls,
}

#[derive(Deserialize)]
struct SaidOfCalls {
    sample_us: Spread,
    placement_ms: Spread,
}

/// In a process of its own, so that its memory is its own.
pub(super) async fn measure(own: &Path) -> Result<Calls, BenchError> {
    let failed = |why: &dyn std::fmt::Display| BenchError::Control(why.to_string());
    let output = Command::new(own)
        .args(["sim", "bench", "--hours", "1", "--calls", "--json"])
        .args(SIZE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    let said: Said = serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))?;
    Ok(Calls {
        hosts: said.hosts,
        functions: said.functions,
        sample_us: said.calls.sample_us,
        placement_ms: said.calls.placement_ms,
        rss_mb: said.rss_mb,
    })
}

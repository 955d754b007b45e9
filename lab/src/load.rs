//! Background load of an edge server: `stress-ng` in the edge server's share, as much of it as the profile says.
//!
//! The level is set by the group's CPU quota: changing it needs no restart of `stress-ng` (whose gap would let a backlog
//! drain), and each period the load uses its share in one piece, so that bursts lengthen as the load rises.

use std::path::Path;
use std::time::Duration;

use record::HostName;

use crate::cgroup::ROOT;
use crate::error::LabError;
use crate::ground::Ground;
use crate::process::Process;

/// Smallest share that is set.
const SHARE_MIN: f64 = 0.01;

/// `stress-ng` on one edge server.
#[derive(Debug)]
pub struct Load {
    ground: Ground,
    group: String,
    period: Duration,
    process: Option<Process>,
    host: HostName,
    method: Option<String>,
    log: std::path::PathBuf,
}

impl Load {
    /// No load yet. `method` is what `stress-ng` will compute, `STRESSOR:METHOD`: all methods of its stressor `cpu` in turn where none is named.
    #[must_use]
    pub fn new(
        host: &HostName,
        ground: &Ground,
        (burst_ms, method): (f64, Option<&str>),
        state: &Path,
    ) -> Self {
        Self {
            ground: ground.clone(),
            group: format!("{ROOT}/{host}/load"),
            period: Duration::from_micros((burst_ms * 1e3) as u64),
            process: None,
            host: host.clone(),
            method: method.map(String::from),
            log: state.join(format!("stress-{host}")),
        }
    }

    /// Sets the share of one core that the load asks for; 0 ends it, 1 and more takes all that is to be had.
    ///
    /// # Errors
    /// When `stress-ng` cannot be started, or has ended by itself.
    pub fn set(&mut self, share: f64) -> Result<(), LabError> {
        if share <= 0.0 {
            self.process = None;
            return Ok(());
        }
        let share = (share < 1.0).then(|| share.max(SHARE_MIN));
        let shares = self.ground.shares(&self.host)?;
        shares.limit(&self.group, share, self.period)?;
        match &mut self.process {
            Some(process) => process.check(),
            None => {
                let place = self.ground.at(&self.host, self.group.clone());
                let (stressor, method) = match self.method.as_deref() {
                    Some(method) => method.split_once(':').unwrap_or(("cpu", method)),
                    None => ("cpu", "all"),
                };
                let (load, load_method) = (format!("--{stressor}"), format!("--{stressor}-method"));
                let argv =
                    ["stress-ng", "--quiet", &load, "1", &load_method, method].map(String::from);
                self.process = Some(Process::start(&place, &argv, &self.log)?);
                Ok(())
            }
        }
    }
}

//! The true load: CPU accounting of every edge server, and of the machine under it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use record::raw::LoadRow;
use record::{HostName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroups, ROOT};
use crate::error::{LabError, file};
use crate::ground::Shares;

/// How often it looks.
pub const EVERY: Duration = Duration::from_millis(500);
/// Name of the real machine in `load.csv`; of several, of the one that others use most.
pub const MACHINE: &str = "machine";

/// Looks at the true load until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    rows: Arc<Mutex<Vec<LoadRow>>>,
    /// Why it looks no more.
    failed: Arc<Mutex<Option<LabError>>>,
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A machine, and the edge servers on it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its control groups.
    pub shares: Shares,
    /// The edge servers.
    pub hosts: Vec<HostName>,
}

impl Watched {
    /// This machine, whatever is on it.
    #[must_use]
    pub fn this_machine(groups: &Cgroups) -> Self {
        Self {
            shares: Shares::Here(groups.clone()),
            hosts: Vec::new(),
        }
    }

    /// Whose CPU time is looked at: of each host all, its virtual machine and its background load; then of the lab.
    fn groups(&self) -> Vec<String> {
        let of_host =
            |host: &HostName| ["", "/vm", "/load"].map(|part| format!("{ROOT}/{host}{part}"));
        let mut groups: Vec<String> = self.hosts.iter().flat_map(of_host).collect();
        groups.push(ROOT.to_owned());
        groups
    }
}

/// What groups and a machine have used so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// CPU time of each group.
    pub used_ns: Vec<u64>,
    /// Ticks that the machine's cores were busy.
    pub busy_ticks: f64,
    /// Ticks that they were there.
    pub ticks: f64,
    /// How many cores.
    pub cpus: usize,
}

impl Account {
    /// What groups of this machine have used.
    ///
    /// # Errors
    /// When the accounting cannot be read.
    pub fn take(groups: &Cgroups, names: &[String]) -> Result<Self, LabError> {
        let used = names
            .iter()
            .map(|name| Ok(groups.used(name)?.as_nanos() as u64));
        let used_ns = used.collect::<Result<_, LabError>>()?;
        let path = Path::new("/proc/stat");
        let stat = std::fs::read_to_string(path).map_err(file(path))?;
        // user nice system idle iowait irq softirq steal (proc(5)); steal is not ours to use, so it counts as busy.
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|word| word.parse().ok())
            .collect();
        let all: f64 = ticks.iter().sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        let of_cores = stat.lines().filter(|line| line.starts_with("cpu"));
        Ok(Self {
            used_ns,
            busy_ticks: all - idle,
            ticks: all,
            cpus: of_cores.skip(1).count().max(1),
        })
    }
}

/// One look at a machine.
struct Look {
    at: Timestamp,
    account: Account,
}

impl Monitor {
    /// Begins to look at these machines.
    ///
    /// # Errors
    /// When the accounting cannot be read.
    pub fn start(machines: Vec<Watched>) -> Result<Self, LabError> {
        let rows = Arc::new(Mutex::new(Vec::new()));
        let failed = Arc::<Mutex<Option<LabError>>>::default();
        let (stop, stopped) = std::sync::mpsc::channel();
        let mut last = look(&machines)?;
        let thread = {
            let (rows, failed) = (Arc::clone(&rows), Arc::clone(&failed));
            std::thread::spawn(move || {
                while stopped.recv_timeout(EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    let now = match look(&machines) {
                        Ok(now) => now,
                        Err(error) => {
                            if let Ok(mut failed) = failed.lock() {
                                *failed = Some(error);
                            }
                            break;
                        }
                    };
                    if let Ok(mut rows) = rows.lock() {
                        rows.extend(difference(&machines, &last, &now));
                    }
                    last = now;
                }
            })
        };
        Ok(Self {
            rows,
            failed,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What was seen so far.
    ///
    /// # Errors
    /// Why a machine could not be looked at any more: whether others disturbed it is not known then.
    pub fn rows(&self) -> Result<Vec<LoadRow>, LabError> {
        let failed = self.failed.lock().ok().and_then(|mut failed| failed.take());
        failed.map_or_else(|| Ok(self.seen()), Err)
    }

    fn seen(&self) -> Vec<LoadRow> {
        self.rows
            .lock()
            .map(|rows| rows.clone())
            .unwrap_or_default()
    }

    /// Mean of a figure of one host since `since`; `None` when nothing was seen.
    #[must_use]
    pub fn mean(
        &self,
        host: &str,
        since: Timestamp,
        figure: impl Fn(&LoadRow) -> Option<f64>,
    ) -> Option<f64> {
        let rows = self.seen();
        let values: Vec<f64> = rows
            .iter()
            .filter(|row| row.host == host && row.time_us > since)
            .filter_map(figure)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn look(machines: &[Watched]) -> Result<Vec<Look>, LabError> {
    let look = |machine: &Watched| {
        let at = Timestamp::now();
        let account = machine.shares.account(machine.groups())?;
        Ok(Look { at, account })
    };
    machines.iter().map(look).collect()
}

fn difference(machines: &[Watched], last: &[Look], now: &[Look]) -> Vec<LoadRow> {
    let mut rows = Vec::new();
    let mut foreign: Option<LoadRow> = None;
    for (machine, (now, last)) in machines.iter().zip(now.iter().zip(last)) {
        let row = |host: String, actual, vm, background| LoadRow {
            time_us: now.at,
            host,
            snmp: None,
            actual,
            vm,
            background,
        };
        let seconds = now.at.since(last.at).as_secs_f64().max(1e-3);
        let (now, last) = (&now.account, &last.account);
        let shares: Vec<f64> = now
            .used_ns
            .iter()
            .zip(&last.used_ns)
            .map(|(now, last)| now.saturating_sub(*last) as f64 / 1e9 / seconds)
            .collect();
        for (host, used) in machine.hosts.iter().zip(shares.chunks_exact(3)) {
            let all = Some(used[0].min(1.0));
            rows.push(row(host.to_string(), all, Some(used[1]), Some(used[2])));
        }
        let ticks = now.ticks - last.ticks;
        if ticks > 0.0 {
            let busy = (now.busy_ticks - last.busy_ticks) / ticks;
            let lab = shares.last().copied().unwrap_or_default() / now.cpus as f64;
            let others = (busy - lab).max(0.0);
            if foreign.as_ref().is_none_or(|row| row.actual < Some(others)) {
                foreign = Some(row(MACHINE.into(), Some(others), None, None));
            }
        }
    }
    rows.extend(foreign);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(seconds: u64, used_ms: &[u64], busy_ticks: f64) -> Look {
        Look {
            at: Timestamp(seconds * 1_000_000),
            account: Account {
                used_ns: used_ms.iter().map(|ms| ms * 1_000_000).collect(),
                busy_ticks,
                ticks: seconds as f64 * 200.0,
                cpus: 2,
            },
        }
    }

    #[test]
    fn each_machine_tells_of_its_hosts_and_the_busiest_of_others() {
        let machine = |hosts: &[&str]| Watched {
            shares: Shares::Here(Cgroups::V2 {
                mount: "/none".into(),
            }),
            hosts: hosts
                .iter()
                .map(|name| HostName::new(name).unwrap())
                .collect(),
        };
        let machines = [machine(&["edge"]), machine(&[])];
        assert_eq!(machines[0].groups()[1], "forestall/edge/vm");
        assert_eq!(machines[1].groups(), [ROOT]);
        let last = [look_at(10, &[0, 0, 0, 0], 0.0), look_at(10, &[0], 0.0)];
        // Half of 200 ticks, and 0.6 s of 2 in the lab; 120 ticks, and nothing of the lab.
        let now = [
            look_at(11, &[600, 200, 400, 600], 100.0),
            look_at(11, &[0], 120.0),
        ];
        let rows = difference(&machines, &last, &now);
        let [edge, others] = &rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!(
            (edge.actual, edge.vm, edge.background),
            (Some(0.6), Some(0.2), Some(0.4))
        );
        assert_eq!(others.host, MACHINE);
        assert!((others.actual.unwrap() - 0.6).abs() < 1e-9, "{others:?}");
    }
}

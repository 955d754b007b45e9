//! The true load: CPU accounting of every edge server, and of the machine under it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use record::raw::LoadRow;
use record::{HostName, Timestamp};

use crate::cgroup::{Cgroups, ROOT};
use crate::error::{LabError, file};

/// How often it looks.
pub const EVERY: Duration = Duration::from_millis(500);
/// Name of the real machine in `load.csv`.
pub const MACHINE: &str = "machine";

/// Looks at the true load until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    rows: Arc<Mutex<Vec<LoadRow>>>,
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// One look.
struct Look {
    at: Timestamp,
    /// Per host: all, virtual machine, background.
    used: Vec<[Duration; 3]>,
    lab: Duration,
    machine_busy_ticks: f64,
    machine_ticks: f64,
}

impl Monitor {
    /// Begins to look at these edge servers and at the machine.
    ///
    /// # Errors
    /// When the accounting cannot be read.
    pub fn start(hosts: Vec<HostName>, groups: &Cgroups) -> Result<Self, LabError> {
        let rows = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = std::sync::mpsc::channel();
        let mut last = look(&hosts, groups)?;
        let thread = {
            let (rows, groups) = (Arc::clone(&rows), groups.clone());
            std::thread::spawn(move || {
                while stopped.recv_timeout(EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    // The groups are gone only when the lab is ending.
                    let Ok(now) = look(&hosts, &groups) else {
                        break;
                    };
                    if let Ok(mut rows) = rows.lock() {
                        rows.extend(difference(&hosts, &last, &now));
                    }
                    last = now;
                }
            })
        };
        Ok(Self {
            rows,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What was seen so far.
    #[must_use]
    pub fn rows(&self) -> Vec<LoadRow> {
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
        let rows = self.rows();
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

fn look(hosts: &[HostName], groups: &Cgroups) -> Result<Look, LabError> {
    let used = hosts.iter().map(|host| {
        let of = |part: &str| groups.used(&format!("{ROOT}/{host}{part}"));
        Ok([of("")?, of("/vm")?, of("/load")?])
    });
    let used = used.collect::<Result<_, LabError>>()?;
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
    Ok(Look {
        at: Timestamp::now(),
        used,
        lab: groups.used(ROOT)?,
        machine_busy_ticks: all - idle,
        machine_ticks: all,
    })
}

fn difference(hosts: &[HostName], last: &Look, now: &Look) -> Vec<LoadRow> {
    let seconds = now.at.since(last.at).as_secs_f64().max(1e-3);
    let share = |now: Duration, last: Duration| now.saturating_sub(last).as_secs_f64() / seconds;
    let row = |host: String, actual, vm, background| LoadRow {
        time_us: now.at,
        host,
        snmp: None,
        actual,
        vm,
        background,
    };
    let mut rows: Vec<LoadRow> = hosts
        .iter()
        .zip(now.used.iter().zip(&last.used))
        .map(|(host, (now, last))| {
            let [all, vm, background] = [0, 1, 2].map(|i| Some(share(now[i], last[i])));
            row(
                host.to_string(),
                all.map(|all| all.min(1.0)),
                vm,
                background,
            )
        })
        .collect();
    let cpus = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    let ticks = now.machine_ticks - last.machine_ticks;
    if ticks > 0.0 {
        let busy = (now.machine_busy_ticks - last.machine_busy_ticks) / ticks;
        let foreign = (busy - share(now.lab, last.lab) / cpus).max(0.0);
        rows.push(row(MACHINE.into(), Some(foreign), None, None));
    }
    rows
}

//! A real `snmpd` for each edge server that reports *that* server's CPU.
//!
//! net-snmp reads `/proc/stat` every 5 s and serves counters made of it. Here it sees a `/proc/stat` of its own, which this
//! module writes from the accounting of the edge server's control group (as lxcfs does for containers, but without FUSE and
//! for both versions of control groups). All else, the 5 s refresh first of all, is net-snmp's own.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use record::HostName;

use crate::cgroup::{Cgroups, ROOT};
use crate::error::{LabError, file};
use crate::network::netns;
use crate::process::{Place, Process};

/// Community; the management network is the lab's own.
pub const COMMUNITY: &str = "forestall";
/// Port of SNMP.
pub const PORT: u16 = 161;
/// How often `/proc/stat` is written.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Ticks of `/proc/stat` per second (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// An edge server's `snmpd` and what feeds it.
#[derive(Debug)]
pub struct Agent {
    /// The daemon.
    pub process: Process,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Agent {
    /// Starts an agent for `host`, which has `cpus` cores, at its management address.
    ///
    /// # Errors
    /// When a file cannot be written or `snmpd` cannot be started.
    pub fn start(
        host: &HostName,
        address: std::net::Ipv4Addr,
        cpus: usize,
        groups: &Cgroups,
        state: &Path,
    ) -> Result<Self, LabError> {
        let folder = state.join(format!("snmp-{host}"));
        fs::create_dir_all(&folder).map_err(file(&folder))?;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = write_stat(
            folder.join("stat"),
            format!("{ROOT}/{host}"),
            cpus,
            groups.clone(),
            Arc::clone(&stop),
        )?;
        let processors: String = (0..cpus)
            .map(|cpu| format!("processor\t: {cpu}\n\n"))
            .collect();
        fs::write(folder.join("cpuinfo"), processors).map_err(file(&folder))?;
        let config = format!("agentaddress udp:{address}:{PORT}\nrocommunity {COMMUNITY}\n");
        fs::write(folder.join("snmpd.conf"), config).map_err(file(&folder))?;
        let path = |name: &str| folder.join(name).display().to_string();
        // A mount namespace of its own, which ends with it.
        let script = "mount --bind \"$1\" /proc/stat && mount --bind \"$2\" /proc/cpuinfo && \
                      SNMP_PERSISTENT_DIR=\"$3\" exec snmpd -f -Lo -C -c \"$4\" -p \"$5\"";
        let mut argv: Vec<String> = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ]
        .map(String::from)
        .to_vec();
        argv.extend([
            path("stat"),
            path("cpuinfo"),
            path(""),
            path("snmpd.conf"),
            path("snmpd.pid"),
        ]);
        let place = Place {
            netns: netns(host),
            cgroup: format!("{ROOT}/{host}/agent"),
        };
        let process = Process::start(&place, &argv, &folder.join("log"))?;
        Ok(Self {
            process,
            stop,
            writer: Some(writer),
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

fn write_stat(
    path: PathBuf,
    group: String,
    cpus: usize,
    groups: Cgroups,
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<()>, LabError> {
    let out = File::create(&path).map_err(file(&path))?;
    let (begun, used_before) = (Instant::now(), groups.used(&group)?);
    let write = move || -> Result<(), LabError> {
        let used = groups
            .used(&group)?
            .saturating_sub(used_before)
            .as_secs_f64();
        let all = begun.elapsed().as_secs_f64() * cpus as f64;
        let text = stat_text(used, (all - used).max(0.0), cpus);
        // One write of always the same length into the same file: a reader finds the whole of the old or of the new figures.
        out.write_all_at(text.as_bytes(), 0).map_err(file(&path))
    };
    write()?;
    Ok(std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(WRITE_EVERY);
            // The group is gone only when the lab is ending.
            if write().is_err() {
                break;
            }
        }
    }))
}

/// `/proc/stat` of a server with `cpus` cores that was busy and idle for so many seconds, all cores added up.
fn stat_text(busy_s: f64, idle_s: f64, cpus: usize) -> String {
    let line = |name: String, busy: f64, idle: f64| {
        format!(
            "{name} {:>12} 0 0 {:>12} 0 0 0 0 0 0\n",
            (busy * TICKS_PER_S) as u64,
            (idle * TICKS_PER_S) as u64
        )
    };
    let mut text = line("cpu ".into(), busy_s, idle_s);
    for cpu in 0..cpus {
        text.push_str(&line(
            format!("cpu{cpu}"),
            busy_s / cpus as f64,
            idle_s / cpus as f64,
        ));
    }
    text.push_str("intr 0\nctxt 0\nbtime 0\nprocesses 0\nprocs_running 0\nprocs_blocked 0\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_never_changes() {
        let text = stat_text(0.0, 0.0, 2);
        assert!(text.starts_with("cpu             0 0 0 "), "{text}");
        assert_eq!(text.len(), stat_text(123_456.0, 999_999.0, 2).len());
        assert_eq!(text.lines().count(), 9);
    }
}

//! A real `snmpd` for each edge server that reports *that* server's CPU.
//!
//! net-snmp reads `/proc/stat` every 5 s and serves counters made of it. Here it sees a `/proc/stat` of its own, which this
//! module writes from the accounting of the edge server's control group (as lxcfs does for containers, but without FUSE and
//! for both versions of control groups). All else, the 5 s refresh first of all, is net-snmp's own.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orchestrator::snmp::SecretSource;
use record::HostName;

use crate::cgroup::{Cgroups, ROOT};
use crate::error::{LabError, file};
use crate::ground::{Ground, Shares};
use crate::process::{Place, Process};
use crate::site::STATE;

/// The orchestrator's user at all agents: SNMPv3, signed with SHA-256, encrypted with AES-128.
pub const USER: &str = "forestall";
/// Port of SNMP.
pub const PORT: u16 = 161;
/// The same beside an agent that a real machine has already.
pub const PORT_BESIDE: u16 = 1161;
/// Cores of an edge server.
const CORES: usize = 1;
/// How often `/proc/stat` is written.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Ticks of `/proc/stat` per second (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// Where the passwords of [`USER`] are: made for this lab, and gone with it.
#[derive(Clone, Debug)]
pub struct Passwords {
    auth: PathBuf,
    privacy: PathBuf,
}

impl Passwords {
    /// Makes them.
    ///
    /// # Errors
    /// When the system gives no random numbers or a file cannot be written.
    pub fn make(state: &Path) -> Result<Self, LabError> {
        let made = Self {
            auth: state.join("snmp-auth"),
            privacy: state.join("snmp-privacy"),
        };
        for path in [&made.auth, &made.privacy] {
            let mut random = [0; 16];
            File::open("/dev/urandom")
                .and_then(|mut source| source.read_exact(&mut random))
                .map_err(file("/dev/urandom"))?;
            let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            write_secret(path, &password)?;
        }
        Ok(made)
    }

    /// Those that are in these files.
    #[must_use]
    pub const fn of(auth: PathBuf, privacy: PathBuf) -> Self {
        Self { auth, privacy }
    }

    /// For signing.
    #[must_use]
    pub fn auth(&self) -> SecretSource {
        SecretSource::File(self.auth.clone())
    }

    /// For encrypting.
    #[must_use]
    pub fn privacy(&self) -> SecretSource {
        SecretSource::File(self.privacy.clone())
    }

    /// The user as `snmpd` is told of it.
    fn snmpd_lines(&self) -> Result<String, LabError> {
        let read = |path: &Path| fs::read_to_string(path).map_err(file(path));
        let (auth, privacy) = (read(&self.auth)?, read(&self.privacy)?);
        Ok(format!(
            "createUser {USER} SHA-256 \"{auth}\" AES \"{privacy}\"\nrouser {USER} authpriv\n"
        ))
    }
}

/// Writes a file that nobody else may read at any time.
fn write_secret(path: &Path, text: &str) -> Result<(), LabError> {
    // A file that is there keeps its mode.
    fs::remove_file(path).ok();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .map_err(file(path))
}

/// An edge server's `snmpd` and what feeds it.
#[derive(Debug)]
pub struct Agent {
    /// The daemon.
    pub process: Process,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Agent {
    /// Starts an agent for `host`, wherever that is, at an address of it.
    ///
    /// # Errors
    /// When a file cannot be written or `snmpd` cannot be started.
    pub fn start(
        host: &HostName,
        address: SocketAddrV4,
        ground: &Ground,
        passwords: &Passwords,
        state: &Path,
    ) -> Result<Self, LabError> {
        let at = ground.at(host, share(host));
        match ground.shares(host)? {
            Shares::Here(groups) => {
                Self::start_here(host, address, &at, (&groups, passwords), state)
            }
            Shares::There(_) => Self::start_there(host, address, &at, passwords, state),
        }
    }

    /// Has it started on another machine, by `forestall lab agent`.
    fn start_there(
        host: &HostName,
        address: SocketAddrV4,
        at: &Place,
        passwords: &Passwords,
        state: &Path,
    ) -> Result<Self, LabError> {
        let mut argv: Vec<String> = vec![at.own(), "lab".into(), "agent".into()];
        argv.extend([host.to_string(), address.to_string()]);
        for (path, name) in [
            (&passwords.auth, "snmp-auth"),
            (&passwords.privacy, "snmp-privacy"),
        ] {
            let there = Path::new(STATE).join(name);
            at.put(&fs::read(path).map_err(file(path))?, &there)?;
            argv.push(there.display().to_string());
        }
        let process = Process::start(at, &argv, &state.join(format!("agent-{host}.log")))?;
        Ok(Self {
            process,
            stop: Arc::default(),
            writer: None,
        })
    }

    /// Is the agent of a host that is this machine, until it is told to end.
    ///
    /// # Errors
    /// When a file cannot be written, or `snmpd` ends.
    pub fn serve(
        host: &HostName,
        address: SocketAddrV4,
        passwords: &Passwords,
        told_to_end: &AtomicBool,
    ) -> Result<(), LabError> {
        let at = Place::Share {
            netns: None,
            cgroup: share(host),
        };
        let parts = (&Cgroups::detect()?, passwords);
        let mut agent = Self::start_here(host, address, &at, parts, Path::new(STATE))?;
        while !told_to_end.load(Ordering::Relaxed) {
            agent.process.check()?;
            std::thread::sleep(WRITE_EVERY);
        }
        Ok(())
    }

    fn start_here(
        host: &HostName,
        address: SocketAddrV4,
        at: &Place,
        (groups, passwords): (&Cgroups, &Passwords),
        state: &Path,
    ) -> Result<Self, LabError> {
        let folder = state.join(format!("snmp-{host}"));
        fs::create_dir_all(&folder).map_err(file(&folder))?;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = write_stat(
            folder.join("stat"),
            format!("{ROOT}/{host}"),
            CORES,
            groups.clone(),
            Arc::clone(&stop),
        )?;
        let processors: String = (0..CORES)
            .map(|cpu| format!("processor\t: {cpu}\n\n"))
            .collect();
        fs::write(folder.join("cpuinfo"), processors).map_err(file(&folder))?;
        let users = passwords.snmpd_lines()?;
        let config = format!("agentaddress udp:{address}\n{users}");
        // Not `snmpd.conf`: that is where snmpd leaves its own state.
        write_secret(&folder.join("agent.conf"), &config)?;
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
            path("agent.conf"),
            path("snmpd.pid"),
        ]);
        let process = Process::start(at, &argv, &folder.join("log"))?;
        Ok(Self {
            process,
            stop,
            writer: Some(writer),
        })
    }
}

/// Its control group on a host.
fn share(host: &HostName) -> String {
    format!("{ROOT}/{host}/agent")
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

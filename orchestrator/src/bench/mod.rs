//! `forestall bench orchestrator`: what watching a fleet costs, on this machine, now.
//!
//! Thousands of simulated agents, in a process of their own so that their work is not counted, are asked by the very
//! [`Watch`](crate::agent::Watch) that watches real ones; then Debian's `prometheus-snmp-exporter` scrapes the same agents. Then the
//! controller alone (`control_calls.rs`), the loop from a sample to the driver (`start.rs`), and the journal (`journal.rs`).

mod agents;
mod control_calls;
mod exporter;
mod journal;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use control::Settings;
use drivers::qemu::QemuConfig;
use record::HostName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::config::{Config, Engine, SCHEMA};
use crate::error::OrchestratorError;
use crate::journal::JournalError;
use crate::log::LogFormat;
use crate::snmp::{Access, AuthProtocol, PrivacyProtocol, Secret, SnmpError, SnmpVersion};
pub use agents::serve;
pub use control_calls::Calls;
pub use exporter::Exporter;
pub use watch::Polling;

/// Variable by which the process of the simulated agents learns the password.
const SECRET: &str = "FORESTALL_BENCH_SECRET";
/// User at the simulated agents.
const USER: &str = "forestall";
/// The simulated agents stand ready within this.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Most agents: addresses 127.1.0.1 to 127.240.249.250.
pub const AGENTS_MAX: u32 = 15_000_000;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Simulated agents.
    pub agents: u32,
    /// Time between two polls of each.
    pub period: Duration,
    /// How long is measured, each of the pollers with each version.
    pub measured: Duration,
    /// This program, to be started as the simulated agents and as the controller alone.
    pub own: PathBuf,
}

/// Hosts of the fleet in which moves begin.
const FLEET: u32 = 1000;

/// All figures; what was not measured is null.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Watching agents.
    pub snmp: Figures,
    /// The controller alone.
    pub control: Calls,
    /// From the sample that decides a move until the driver is told to make it, in a fleet of 1000 hosts that tell their load every
    /// second.
    pub start_after_sample_ms: Spread,
    /// Records a second that the journal takes, in turns as the loop makes them when it has much to do.
    pub journal_records_per_s: f64,
    /// A turn that the journal has on the disk before anything is done.
    pub journal_synced_turn_ms: Spread,
}

/// How long something took; its key has the unit, milliseconds where it is made here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// How often.
    pub n: usize,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |q: f64| {
            let rank = (times.len().saturating_sub(1) as f64 * q).round() as usize;
            times
                .get(rank)
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            n: times.len(),
        }
    }
}

/// Figures of watching agents. Those without a version are v3's, the default.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Simulated agents.
    pub agents: u32,
    /// Time between two polls of each.
    pub period_s: f64,
    /// How long was measured.
    pub measured_s: f64,
    /// Of the polls that were due, those that were answered in time.
    pub answered_share: f64,
    /// Values received per second of the poller's CPU.
    pub varbinds_per_cpu_s: f64,
    /// The same of `prometheus-snmp-exporter`.
    pub exporter_varbinds_per_cpu_s: Option<f64>,
    /// SNMPv3, SHA-256 and AES-128.
    pub v3: Versioned,
    /// SNMPv2c.
    pub v2c: Versioned,
}

/// Figures with one version of SNMP.
#[derive(Clone, Debug, Serialize)]
pub struct Versioned {
    /// Forestall's poller.
    pub polling: Polling,
    /// `prometheus-snmp-exporter` with the same agents.
    pub exporter: Option<Exporter>,
    /// Why there are no figures of it.
    pub exporter_missing: Option<String>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There are not so many addresses.
    #[error("{0} agents cannot be simulated: 1 to {AGENTS_MAX} can")]
    Agents(u32),
    /// No time.
    #[error("the period and the time measured must be over 0")]
    NoTime,
    /// The simulated agents did not start.
    #[error("cannot start the simulated agents: {0}")]
    Fleet(String),
    /// The poller did not.
    #[error(transparent)]
    Snmp(#[from] SnmpError),
    /// The controller alone was not measured.
    #[error("cannot measure the controller: {0}")]
    Control(String),
    /// There is no room for a journal.
    #[error("cannot make a folder for a journal: {0}")]
    Folder(io::Error),
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The loop did not begin.
    #[error(transparent)]
    Orchestrator(#[from] OrchestratorError),
    /// It ended before enough was measured.
    #[error("the orchestrator ended: {0}")]
    Ended(String),
    /// Samples that should have begun moves did not.
    #[error("{begun} of {asked} moves have begun")]
    NeverBegan {
        /// So many did.
        begun: usize,
        /// So many should have.
        asked: usize,
    },
    /// The system does not tell how much CPU was used.
    #[error("cannot read this process's CPU time: {0}")]
    CpuTime(io::Error),
}

/// Measures.
///
/// # Errors
/// When the agents or the poller do not start. An exporter that is not there is no error.
pub async fn run(options: &Options) -> Result<Report, BenchError> {
    if !(1..=AGENTS_MAX).contains(&options.agents) {
        return Err(BenchError::Agents(options.agents));
    }
    if options.period.is_zero() || options.measured.is_zero() {
        return Err(BenchError::NoTime);
    }
    let v3 = versioned(options, SnmpVersion::V3).await?;
    let v2c = versioned(options, SnmpVersion::V2c).await?;
    let control = control_calls::measure(&options.own).await?;
    let fleet = fleet(FLEET);
    let start_after_sample_ms = start::measure(&fleet).await?;
    let writing = journal::measure(&fleet)?;
    Ok(Report {
        snmp: Figures {
            agents: options.agents,
            period_s: options.period.as_secs_f64(),
            measured_s: options.measured.as_secs_f64(),
            answered_share: v3.polling.answered_share,
            varbinds_per_cpu_s: v3.polling.varbinds_per_cpu_s,
            exporter_varbinds_per_cpu_s: v3.exporter.as_ref().map(|e| e.varbinds_per_cpu_s),
            v3,
            v2c,
        },
        control,
        start_after_sample_ms,
        journal_records_per_s: writing.records_per_s,
        journal_synced_turn_ms: writing.synced_turn_ms,
    })
}

async fn versioned(options: &Options, version: SnmpVersion) -> Result<Versioned, BenchError> {
    let password = password();
    let port = free_port().map_err(|error| BenchError::Fleet(error.to_string()))?;
    let _fleet = start_fleet(options, version, &password, port).await?;
    let addresses: Vec<SocketAddr> = (0..options.agents).map(|i| address(i, port)).collect();
    let access = access(version, Secret::new(password.clone()));
    let polling = watch::measure(options, &access, &addresses).await?;
    let exporter = exporter::measure(options, version, &password, &addresses).await;
    let (exporter, exporter_missing) = match exporter {
        Ok(figures) => (Some(figures), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Versioned {
        polling,
        exporter,
        exporter_missing,
    })
}

/// Names of so many hosts.
fn fleet(hosts: u32) -> Vec<HostName> {
    let name = |number| HostName::new(&format!("agent-{number}")).ok();
    (0..hosts).filter_map(name).collect()
}

/// A configuration of which only the journal and the settings are used: samples come from elsewhere, and so does the driver.
fn config(journal: PathBuf, control: Settings) -> Config {
    Config {
        schema: SCHEMA,
        journal,
        journal_mib_max: None,
        log: LogFormat::Words,
        recording: None,
        budget_ms: None,
        profile: None,
        discover: None,
        api: None,
        alarms: None,
        snmp: None,
        prometheus: None,
        sites: Default::default(),
        control,
        engine: Engine::Qemu(QemuConfig {
            downtime_limit_ms: 300,
            bandwidth_bytes_per_s: 1,
            auto_converge: false,
            multifd_channels: None,
            post_copy_after_s: None,
            tls: None,
            disks: BTreeMap::new(),
            vms: BTreeMap::new(),
        }),
    }
}

/// How the simulated agents are asked.
fn access(version: SnmpVersion, password: Secret) -> Access {
    match version {
        SnmpVersion::V2c => Access::V2c {
            community: password,
        },
        SnmpVersion::V3 => Access::V3 {
            user: USER.into(),
            auth: AuthProtocol::Sha256,
            auth_password: password.clone(),
            privacy: PrivacyProtocol::Aes128,
            privacy_password: password,
        },
    }
}

/// Of the process that was started as the simulated agents.
///
/// # Errors
/// When the variable with the password is not set.
pub fn fleet_access(version: SnmpVersion) -> Result<Access, SnmpError> {
    let source = crate::snmp::SecretSource::Env(SECRET.into());
    let password = source.read().map_err(|source| SnmpError::Secret {
        key: "password",
        source,
    })?;
    Ok(access(version, password))
}

/// Agent number `index` has a loopback address of its own.
fn address(index: u32, port: u16) -> SocketAddr {
    let [high, middle, low] = [index / 62_500, index / 250 % 250, index % 250];
    SocketAddr::from(([127, 1 + high as u8, middle as u8, 1 + low as u8], port))
}

/// Good for one run of agents on this machine.
fn password() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn free_port() -> io::Result<u16> {
    Ok(std::net::UdpSocket::bind("0.0.0.0:0")?.local_addr()?.port())
}

async fn start_fleet(
    options: &Options,
    version: SnmpVersion,
    password: &str,
    port: u16,
) -> Result<Child, BenchError> {
    let failed = |error: io::Error| BenchError::Fleet(error.to_string());
    let name = match version {
        SnmpVersion::V3 => "v3",
        SnmpVersion::V2c => "v2c",
    };
    let mut child = Command::new(&options.own)
        .args(["bench", "simulated-agents", "--snmp", name])
        .args(["--port", &port.to_string()])
        .env(SECRET, password)
        // It ends when this end of the pipe is closed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let out = child
        .stdout
        .take()
        .ok_or_else(|| BenchError::Fleet("no pipe".into()))?;
    let mut line = String::new();
    let mut out = BufReader::new(out);
    match tokio::time::timeout(READY_WITHIN, out.read_line(&mut line)).await {
        Ok(Ok(length)) if length > 0 => Ok(child),
        Ok(Ok(_)) => Err(BenchError::Fleet("it ended at once".into())),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(BenchError::Fleet(format!(
            "not ready within {READY_WITHIN:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_has_an_address() {
        assert_eq!(address(0, 9).to_string(), "127.1.0.1:9");
        assert_eq!(address(10_000, 9).to_string(), "127.1.40.1:9");
        assert_eq!(address(AGENTS_MAX - 1, 9).to_string(), "127.240.249.250:9");
        let all: std::collections::BTreeSet<_> = (0..100_000).map(|i| address(i, 9)).collect();
        assert_eq!(all.len(), 100_000);
    }

    fn options(agents: u32, period_ms: u64) -> Options {
        Options {
            agents,
            period: Duration::from_millis(period_ms),
            measured: Duration::from_secs(1),
            own: "/nonexistent/forestall".into(),
        }
    }

    #[tokio::test]
    async fn agents() {
        for agents in [0, AGENTS_MAX + 1] {
            let error = run(&options(agents, 1)).await.unwrap_err();
            assert!(matches!(error, BenchError::Agents(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn no_time() {
        let error = run(&options(1, 0)).await.unwrap_err();
        assert!(matches!(error, BenchError::NoTime), "{error}");
    }

    #[tokio::test]
    async fn fleet() {
        let error = run(&options(1, 1)).await.unwrap_err();
        assert!(matches!(error, BenchError::Fleet(_)), "{error}");
    }
}

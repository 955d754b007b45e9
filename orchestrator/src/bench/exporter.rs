//! Debian's `prometheus-snmp-exporter` with the same agents and the same objects, as fast as it goes.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{Options, USER};
use crate::snmp::SnmpVersion;

/// The program, as Debian names it.
const PROGRAM: &str = "prometheus-snmp-exporter";
/// Scrapes at once; a Prometheus has many targets under way, too.
const AT_ONCE: usize = 32;
/// It answers within this after its start.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// Longest line or body of its answers.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Clock ticks a second in `/proc/PID/stat` (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;
/// What Forestall asks for: name and object.
const OBJECTS: [(&str, &str); 9] = [
    ("sysUpTime", "1.3.6.1.2.1.1.3"),
    ("ssCpuRawUser", "1.3.6.1.4.1.2021.11.50"),
    ("ssCpuRawNice", "1.3.6.1.4.1.2021.11.51"),
    ("ssCpuRawSystem", "1.3.6.1.4.1.2021.11.52"),
    ("ssCpuRawIdle", "1.3.6.1.4.1.2021.11.53"),
    ("ssCpuRawWait", "1.3.6.1.4.1.2021.11.54"),
    ("ssCpuRawInterrupt", "1.3.6.1.4.1.2021.11.56"),
    ("ssCpuRawSoftIRQ", "1.3.6.1.4.1.2021.11.61"),
    ("ssCpuRawSteal", "1.3.6.1.4.1.2021.11.64"),
];

/// Figures of the exporter.
#[derive(Clone, Debug, Serialize)]
pub struct Exporter {
    /// Scrapes answered.
    pub scrapes: u64,
    /// Scrapes that gave no values.
    pub failed: u64,
    /// Values received.
    pub varbinds: u64,
    /// CPU time of the exporter, user and system.
    pub cpu_s: f64,
    /// CPU time of a scrape.
    pub cpu_us_per_scrape: f64,
    /// Values received per second of CPU.
    pub varbinds_per_cpu_s: f64,
}

/// Scrapes for the time of the options.
///
/// # Errors
/// In words, why there are no figures: it is not installed, or it does not work.
pub(super) async fn measure(
    options: &Options,
    version: SnmpVersion,
    password: &str,
    agents: &[SocketAddr],
) -> Result<Exporter, String> {
    let folder =
        Folder::make().map_err(|error| format!("no folder for its configuration: {error}"))?;
    let config = folder
        .write("snmp.yml", &config(version, password))
        .map_err(|error| format!("cannot write its configuration: {error}"))?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no port for it: {error}"))?;
    let child = Command::new(PROGRAM)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.listen-address={port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{PROGRAM} cannot be started: {error}"))?;
    wait_until_ready(port).await?;
    let pid = child.id().ok_or("it ended at once")?;
    // It gets to know some agents first, too.
    scrape_all(port, agents, options.measured / 10).await;
    let before = cpu_time_s(pid)?;
    let (scrapes, failed, varbinds, example) = scrape_all(port, agents, options.measured).await;
    let cpu_s = cpu_time_s(pid)? - before;
    if varbinds == 0 {
        return Err(format!("it gave no values: {example}"));
    }
    Ok(Exporter {
        scrapes,
        failed,
        varbinds,
        cpu_s,
        cpu_us_per_scrape: cpu_s * 1e6 / scrapes as f64,
        varbinds_per_cpu_s: varbinds as f64 / cpu_s,
    })
}

/// `snmp.yml` of release 0.21, in which a module holds what proves who asks.
fn config(version: SnmpVersion, password: &str) -> String {
    let auth = match version {
        SnmpVersion::V2c => format!("  version: 2\n  auth:\n    community: \"{password}\"\n"),
        SnmpVersion::V3 => format!(
            "  version: 3\n  auth:\n    username: {USER}\n    security_level: authPriv\n    password: \"{password}\"\n    \
             auth_protocol: SHA256\n    priv_protocol: AES\n    priv_password: \"{password}\"\n"
        ),
    };
    let mut text = format!("bench:\n{auth}  retries: 0\n  timeout: 2s\n  get:\n");
    for (_, oid) in OBJECTS {
        text.push_str(&format!("  - {oid}.0\n"));
    }
    text.push_str("  metrics:\n");
    for (name, oid) in OBJECTS {
        text.push_str(&format!(
            "  - name: {name}\n    oid: {oid}\n    type: gauge\n    help: {name}\n"
        ));
    }
    text
}

async fn wait_until_ready(port: SocketAddr) -> Result<(), String> {
    let begun = Instant::now();
    while TcpStream::connect(port).await.is_err() {
        if begun.elapsed() > READY_WITHIN {
            return Err(format!("{PROGRAM} does not listen within {READY_WITHIN:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Scrapes agent after agent, over connections that stay; answered, failed, values, and what was said last without values.
async fn scrape_all(
    port: SocketAddr,
    agents: &[SocketAddr],
    during: Duration,
) -> (u64, u64, u64, String) {
    let next = Arc::new(AtomicUsize::new(0));
    let agents: Arc<[SocketAddr]> = agents.into();
    let until = Instant::now() + during;
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| tokio::spawn(worker(port, Arc::clone(&agents), Arc::clone(&next), until)))
        .collect();
    let mut all = (0, 0, 0, String::new());
    for worker in workers {
        let Ok((scrapes, failed, varbinds, example)) = worker.await else {
            continue;
        };
        all.0 += scrapes;
        all.1 += failed;
        all.2 += varbinds;
        if !example.is_empty() {
            all.3 = example;
        }
    }
    all
}

async fn worker(
    port: SocketAddr,
    agents: Arc<[SocketAddr]>,
    next: Arc<AtomicUsize>,
    until: Instant,
) -> (u64, u64, u64, String) {
    let (mut scrapes, mut failed, mut varbinds, mut example) = (0, 0, 0, String::new());
    let mut connection: Option<BufReader<TcpStream>> = None;
    while Instant::now() < until {
        let Some(open) = connection
            .take()
            .or(TcpStream::connect(port).await.ok().map(BufReader::new))
        else {
            failed += 1;
            continue;
        };
        let agent = agents[next.fetch_add(1, Ordering::Relaxed) % agents.len()];
        match scrape(open, agent).await {
            Ok((open, body)) => {
                connection = Some(open);
                let values = count(&body);
                varbinds += values;
                if values > 0 {
                    scrapes += 1;
                } else {
                    failed += 1;
                    example = body.lines().take(3).collect::<Vec<_>>().join("; ");
                }
            }
            Err(error) => {
                failed += 1;
                example = error.to_string();
            }
        }
    }
    (scrapes, failed, varbinds, example)
}

/// Values in an exporter's answer.
fn count(body: &str) -> u64 {
    let of_ours = |line: &&str| {
        OBJECTS.iter().any(|(name, _)| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        })
    };
    body.lines().filter(of_ours).count() as u64
}

/// One scrape; the connection stays open.
async fn scrape(
    mut connection: BufReader<TcpStream>,
    agent: SocketAddr,
) -> std::io::Result<(BufReader<TcpStream>, String)> {
    let request =
        format!("GET /snmp?target={agent}&module=bench HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).await?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = line(&mut connection).await?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = Vec::new();
    if !chunked {
        part(&mut connection, length, &mut body).await?;
    }
    while chunked {
        let size = line(&mut connection).await?;
        let size = u64::from_str_radix(size.trim_end(), 16).unwrap_or(0);
        part(&mut connection, size, &mut body).await?;
        line(&mut connection).await?;
        chunked = size > 0;
    }
    Ok((connection, String::from_utf8_lossy(&body).into_owned()))
}

async fn line(connection: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    let length = connection
        .take(ANSWER_BYTES_MAX)
        .read_line(&mut line)
        .await?;
    if length == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

async fn part(
    connection: &mut BufReader<TcpStream>,
    length: u64,
    body: &mut Vec<u8>,
) -> std::io::Result<()> {
    connection
        .take(length.min(ANSWER_BYTES_MAX))
        .read_to_end(body)
        .await?;
    Ok(())
}

/// User and system time of a process.
fn cpu_time_s(pid: u32) -> Result<f64, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|error| format!("it has ended: {error}"))?;
    // The name, in parentheses, may have spaces.
    let after = text.rsplit(')').next().unwrap_or_default();
    let field = |index: usize| -> f64 {
        let value = after.split_whitespace().nth(index);
        value.and_then(|v| v.parse().ok()).unwrap_or(0.0)
    };
    Ok((field(11) + field(12)) / TICKS_PER_S)
}

/// A folder that nobody else may look into, gone when dropped: the exporter's configuration has the password in it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("forestall-bench-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?
            .write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(AsRef::<Path>::as_ref(&self.0)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_nothing_else() {
        let body = "# HELP sysUpTime sysUpTime\n# TYPE sysUpTime gauge\nsysUpTime 5\nssCpuRawUser 7\n\
                    snmp_scrape_duration_seconds 0.1\nsysUpTimeElse 3\nssCpuRawIdle{a=\"b\"} 1\n";
        assert_eq!(count(body), 3);
    }

    #[test]
    fn own_cpu_time() {
        assert!(cpu_time_s(std::process::id()).unwrap() >= 0.0);
        assert!(cpu_time_s(u32::MAX).is_err());
    }
}

//! Processes that are measured.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Bench, BenchError};

/// Ticks per second in `/proc/PID/stat` (USER_HZ, which Linux fixes for programs).
const TICKS: f64 = 100.0;
/// A process that was told to end has ended within this, or is ended.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// A program that serves answers within this.
const LISTENS_WITHIN: Duration = Duration::from_secs(15);

/// A process; ended when it is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    child: Child,
    name: String,
}

impl Stage {
    /// Starts a program. A word in the line that is `TEXT` becomes `text`.
    pub(super) fn start(
        program: impl AsRef<OsStr>,
        line: &str,
        text: &str,
    ) -> Result<Self, BenchError> {
        Self::start_into(program, line, text, Stdio::null())
    }

    /// The same; what it prints goes to `stdout`.
    pub(super) fn start_into(
        program: impl AsRef<OsStr>,
        line: &str,
        text: &str,
        stdout: Stdio,
    ) -> Result<Self, BenchError> {
        let program = program.as_ref();
        let words = line.split_whitespace().map(|word| {
            if word.contains("TEXT") {
                word.replace("TEXT", text)
            } else {
                word.to_owned()
            }
        });
        let name = format!(
            "{} {}",
            program.to_string_lossy(),
            line.split_whitespace().next().unwrap_or_default()
        );
        let child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| BenchError::Io {
                what: format!("start {name}"),
                source,
            })?;
        Ok(Self { child, name })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended by itself, with the last that it said.
    pub(super) fn check(&mut self) -> Result<(), BenchError> {
        let ended = self.child.try_wait().map_err(|source| BenchError::Io {
            what: format!("look after {}", self.name),
            source,
        })?;
        let Some(status) = ended else { return Ok(()) };
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).ok();
        }
        let last = said.trim().lines().last().unwrap_or_default().to_owned();
        Err(BenchError::Stage(format!(
            "{} has ended ({status}): {last}",
            self.name
        )))
    }

    /// CPU time so far.
    pub(super) fn cpu_s(&self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        // Behind the name, which may hold anything, user and system time are the 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / TICKS)
    }

    /// Resident memory.
    pub(super) fn rss_bytes(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024.0)
    }

    /// The same in MB, by what is mapped.
    pub(super) fn rss_mb_by_mapping(&self) -> Option<BTreeMap<String, f64>> {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.pid())).ok()?;
        Some(by_mapping(&smaps))
    }
}

/// What is smaller is put together.
const MAPPING_MB_MIN: f64 = 0.5;

/// Resident MB of each file, the library's name without its version; of `heap`, `stack` (that of the first thread; others have
/// theirs in `anonymous`) and `anonymous`; and of `others` (`/proc/PID/smaps`, proc(5)).
fn by_mapping(smaps: &str) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, f64> = BTreeMap::new();
    let mut name = "";
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") => {
                let kib: f64 = words.next().and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
                *all.entry(name.to_owned()).or_default() += kib * 1024.0 / 1e6;
            }
            Some(field) if field.ends_with(':') => {}
            // A mapping: its addresses, four more words, and what it is of.
            _ => {
                let path = words.nth(4).unwrap_or("anonymous");
                let file = path.rsplit('/').next().unwrap_or(path);
                let file = file.split(".so").next().unwrap_or(file);
                name = file.trim_matches(['[', ']']);
            }
        }
    }
    let (mut large, small): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.into_iter().partition(|(_, mb)| *mb >= MAPPING_MB_MIN);
    large.insert("others".to_owned(), small.values().sum());
    large
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let begun = Instant::now();
        // It may have ended already.
        kill(pid, Signal::SIGTERM).ok();
        while begun.elapsed() < ENDS_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn io(what: &str) -> impl Fn(std::io::Error) -> BenchError {
    let what = what.to_owned();
    move |source| BenchError::Io {
        what: what.clone(),
        source,
    }
}

/// A UDP port of this machine that nobody has.
pub(super) fn udp_port() -> Result<u16, BenchError> {
    Ok(udp_socket()?.1)
}

/// A socket on such a port.
pub(super) fn udp_socket() -> Result<(UdpSocket, u16), BenchError> {
    let failed = io("open a socket");
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(&failed)?;
    let port = socket.local_addr().map_err(&failed)?.port();
    Ok((socket, port))
}

/// A TCP port of this machine that nobody has.
pub(super) fn tcp_port() -> Result<u16, BenchError> {
    let failed = io("open a socket");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(&failed)?;
    Ok(listener.local_addr().map_err(&failed)?.port())
}

/// Waits until somebody listens at a TCP port, without connecting: `ffmpeg -listen 1` takes one client and no other.
pub(super) fn wait_for_listener(
    bench: &Bench<'_>,
    port: u16,
    stage: &mut Stage,
) -> Result<(), BenchError> {
    let begun = Instant::now();
    let listening = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        // local_address, rem_address, state; 0A is LISTEN (proc(5)).
        table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let local = words.next().and_then(|word| word.rsplit(':').next());
            let port_there = local.and_then(|hex| u16::from_str_radix(hex, 16).ok());
            port_there == Some(port) && words.nth(1) == Some("0A")
        })
    };
    while !listening() {
        stage.check()?;
        if begun.elapsed() > LISTENS_WITHIN {
            return Err(BenchError::Stage(format!("{} does not answer", stage.name)));
        }
        bench.wait(Duration::from_millis(20))?;
    }
    Ok(())
}

/// How busy the machine was, and how much of it this process and its children were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy {
    busy: f64,
    all: f64,
    own: f64,
}

impl Busy {
    pub(super) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().next()?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|word| word.parse().ok())
            .collect();
        let all: f64 = ticks.iter().sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        // Ours, and of children that have ended.
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = own.rsplit(')').next()?.split_whitespace().collect();
        let own = (11..15)
            .filter_map(|at| fields.get(at)?.parse::<f64>().ok())
            .sum();
        Some(Self {
            busy: all - idle,
            all,
            own,
        })
    }

    /// Share of the machine that others used since then; all children have ended by now.
    pub(super) fn foreign_since(before: Option<Self>) -> Option<f64> {
        let (before, now) = (before?, Self::now()?);
        let all = now.all - before.all;
        (all > 0.0).then(|| {
            let busy = now.busy - before.busy - (now.own - before.own);
            (busy / all).max(0.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_by_mapping() {
        let smaps = "\
55d0c0000000-55d0c0200000 r-xp 00001000 08:01 131 /usr/bin/ffmpeg
Size:               2048 kB
Rss:                1000 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0000a00000 r-xp 00000000 08:01 132 /usr/lib/x86_64-linux-gnu/libavcodec.so.59.37.100
Rss:                3000 kB
7f0000a00000-7f0000b00000 r--p 00a00000 08:01 132 /usr/lib/x86_64-linux-gnu/libavcodec.so.59.37.100
Rss:                2000 kB
7f0001000000-7f0001100000 rw-p 00000000 00:00 0 
Rss:                4000 kB
55d0c1000000-55d0c1100000 rw-p 00000000 00:00 0                          [heap]
Rss:                 600 kB
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
Rss:                  20 kB
7ffc00022000-7ffc00024000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   4 kB
";
        let found = by_mapping(smaps);
        let mb = |kib: f64| kib * 1024.0 / 1e6;
        let expected = [
            ("anonymous", 4000.0),
            ("ffmpeg", 1000.0),
            ("heap", 600.0),
            ("libavcodec", 5000.0),
            ("others", 24.0),
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (name, kib) in expected {
            assert!((found[name] - mb(kib)).abs() < 1e-9, "{name}: {found:?}");
        }
    }
}

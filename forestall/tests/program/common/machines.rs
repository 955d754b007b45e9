//! The virtual machines of a site, on each of its two hosts.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::free_tcp_port;
use super::libvirtd::boot_image;
use super::site::{FUNCTION, HOSTS};

/// An engine with one function and two hosts. What it started ends with it.
pub(crate) trait Machines {
    /// The table `engine` of a configuration.
    fn engine(&self) -> Value;

    /// Has the function run on a host.
    fn begin(&self, host: usize);

    /// Whether the engine says that the guest runs there.
    fn runs(&self, host: usize) -> bool;

    /// Ends the machine there as a crash would.
    fn crash(&self, host: usize);
}

impl<M: Machines> Machines for Arc<M> {
    fn engine(&self) -> Value {
        self.as_ref().engine()
    }

    fn begin(&self, host: usize) {
        self.as_ref().begin(host);
    }

    fn runs(&self, host: usize) -> bool {
        self.as_ref().runs(host)
    }

    fn crash(&self, host: usize) {
        self.as_ref().crash(host);
    }
}

/// A QEMU that has not answered a test after this does not.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// States of a TCP socket in /proc/net/tcp.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// QEMU processes with nothing but a BIOS in them, unless more is said.
pub(crate) struct Qemus {
    folder: tempfile::TempDir,
    /// Those of the orchestrator.
    monitors: [u16; 2],
    /// What more the engine is told.
    options: Value,
    /// What more is on QEMU's command line; `HOST` is the host's name.
    words: String,
    /// A monitor serves one client at a time: these are the tests'.
    watched: [u16; 2],
    incoming: [u16; 2],
    incoming_disks: [u16; 2],
    bytes_per_s: u64,
}

impl Qemus {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            monitors: HOSTS.map(|_| free_tcp_port()),
            options: json!({}),
            words: String::new(),
            watched: HOSTS.map(|_| free_tcp_port()),
            incoming: HOSTS.map(|_| free_tcp_port()),
            incoming_disks: HOSTS.map(|_| free_tcp_port()),
            bytes_per_s,
        }
    }

    /// The same with more settings of the engine, which may name a `monitor`, and words for QEMU; `HOST` is the host's name in both.
    pub(crate) fn with(bytes_per_s: u64, options: Value, words: &str) -> Self {
        let mut qemus = Self::new(bytes_per_s);
        (qemus.options, qemus.words) = (options, words.into());
        qemus
    }

    /// With a guest that writes to half a MiB without a pause.
    pub(crate) fn busy(bytes_per_s: u64) -> Self {
        let mut busy = Self::new(bytes_per_s);
        let disk = busy.folder.path().join("boot.img");
        fs::write(&disk, boot_image()).unwrap();
        busy.words = format!(
            "-drive file={},if=floppy,format=raw,readonly=on -boot a",
            disk.display()
        );
        busy
    }

    /// Where the orchestrator asks the QEMU of a host.
    pub(crate) fn monitor_port(&self, host: usize) -> u16 {
        self.monitors[host]
    }

    /// Where the QEMU of a host takes a guest.
    pub(crate) fn incoming_port(&self, host: usize) -> u16 {
        self.incoming[host]
    }

    /// Where the QEMU of a host takes disks.
    pub(crate) fn disks_port(&self, host: usize) -> u16 {
        self.incoming_disks[host]
    }

    /// Whether a guest's memory comes in at a host.
    pub(crate) fn is_copied_to(&self, host: usize) -> bool {
        self.connections_to(host) > 0
    }

    /// Over how many connections it does.
    pub(crate) fn connections_to(&self, host: usize) -> usize {
        self.sockets(host, ESTABLISHED)
    }

    /// Whether anybody may come in at a host as a guest's source.
    pub(crate) fn listens(&self, host: usize) -> bool {
        self.sockets(host, LISTEN) > 0
    }

    /// Sockets in this state at the port where the QEMU of a host takes a guest.
    fn sockets(&self, host: usize, state: &str) -> usize {
        // This thread's network, which may not be its process'.
        let sockets = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let port = format!(":{:04X}", self.incoming[host]);
        let is_one = |line: &&str| {
            let mut words = line.split_whitespace().skip(1);
            let here = words.next().is_some_and(|here| here.ends_with(&port));
            here && words.nth(1) == Some(state)
        };
        sockets.lines().filter(is_one).count()
    }

    /// What the QEMU of a host answers a test; null where there is none, or none that does so.
    pub(crate) fn ask(&self, host: usize, command: &str, arguments: &Value) -> Value {
        let there = TcpStream::connect(("127.0.0.1", self.watched[host]));
        let Ok(stream) = there else {
            return Value::Null;
        };
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        qmp(stream, command, arguments)
    }

    /// Starts a QEMU as the orchestrator has it started.
    pub(crate) fn begin_held(&self, host: usize) {
        start(&self.launch(host));
    }

    /// To the QEMU of a host; whether there was one.
    pub(crate) fn signal(&self, host: usize, signal: Signal) -> bool {
        send(&self.pid_file(host), signal)
    }

    /// Whether a QEMU was started on a host, running its guest or not.
    pub(crate) fn is_there(&self, host: usize) -> bool {
        self.pid_file(host).exists()
    }

    fn pid_file(&self, host: usize) -> PathBuf {
        self.folder.path().join(format!("{}.pid", HOSTS[host]))
    }

    fn monitor(&self, host: usize) -> String {
        match self.options["monitor"].as_str() {
            Some(monitor) => monitor.replace("HOST", HOSTS[host]),
            None => format!("127.0.0.1:{}", self.monitors[host]),
        }
    }

    fn launch(&self, host: usize) -> Vec<String> {
        // An odd number of pages (ARCHITECTURE.md, "The guest's memory").
        let text = format!(
            "qemu-system-x86_64 -machine pc,accel=tcg -m size=16392k -nodefaults -display none -S -incoming defer \
             -qmp {},server=on,wait=off -qmp tcp:127.0.0.1:{},server=on,wait=off -daemonize -pidfile {} {}",
            self.monitor(host).replacen("127.0.0.1", "tcp:127.0.0.1", 1),
            self.watched[host],
            self.pid_file(host).display(),
            self.words.replace("HOST", HOSTS[host]),
        );
        text.split_whitespace().map(str::to_owned).collect()
    }
}

impl Machines for Qemus {
    fn engine(&self) -> Value {
        let end = |host: usize| {
            json!({
                "monitor": self.monitor(host),
                "incoming": format!("127.0.0.1:{}", self.incoming[host]),
                "incoming_disks": format!("127.0.0.1:{}", self.incoming_disks[host]),
                "launch": self.launch(host),
            })
        };
        let mut qemu = json!({
            "downtime_limit_ms": 300, "bandwidth_bytes_per_s": self.bytes_per_s,
            "vms": { FUNCTION: { HOSTS[0]: end(0), HOSTS[1]: end(1) } },
        });
        for (name, value) in self.options.as_object().unwrap() {
            if name != "monitor" {
                qemu[name] = value.clone();
            }
        }
        json!({ "qemu": qemu })
    }

    fn begin(&self, host: usize) {
        let mut launch = self.launch(host);
        let held = launch.iter().position(|word| word == "-S").unwrap();
        launch.drain(held..held + 3);
        start(&launch);
    }

    fn runs(&self, host: usize) -> bool {
        self.ask(host, "query-status", &json!({}))["running"] == true
    }

    fn crash(&self, host: usize) {
        kill(&self.pid_file(host));
    }
}

fn start(launch: &[String]) {
    let status = Command::new(&launch[0])
        .args(&launch[1..])
        .status()
        .expect("qemu-system-x86_64 is not installed: scripts/setup.sh");
    assert!(status.success());
}

impl Drop for Qemus {
    fn drop(&mut self) {
        for host in 0..2 {
            kill(&self.pid_file(host));
        }
    }
}

fn send(pid_file: &Path, signal: Signal) -> bool {
    let pid = fs::read_to_string(pid_file).ok();
    let pid = pid.and_then(|text| text.trim().parse().ok());
    // QEMU takes its file away when it ends by itself: what stands in it is its own.
    pid.is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).is_ok())
}

fn kill(pid_file: &Path) {
    if send(pid_file, Signal::SIGKILL) {
        drop(fs::remove_file(pid_file));
    }
}

/// One command to a QEMU over a connection that has been made; null where it answers nothing, or none that does so.
pub(crate) fn qmp(stream: impl Read + Write, command: &str, arguments: &Value) -> Value {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    drop(stream.read_line(&mut line));
    for (command, arguments) in [("qmp_capabilities", &json!({})), (command, arguments)] {
        let asked = json!({ "execute": command, "arguments": arguments }).to_string() + "\n";
        if stream.get_mut().write_all(asked.as_bytes()).is_err() {
            return Value::Null;
        }
        loop {
            line.clear();
            if !stream.read_line(&mut line).is_ok_and(|length| length > 0) {
                return Value::Null;
            }
            let mut answer: Value = serde_json::from_str(&line).unwrap();
            if answer.get("error").is_some() {
                return Value::Null;
            }
            if answer.get("return").is_some() {
                if command != "qmp_capabilities" {
                    return answer["return"].take();
                }
                break;
            }
        }
    }
    Value::Null
}

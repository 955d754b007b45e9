//! Real processes on loopback, for the tests of the video commands.
#![allow(dead_code)] // Each test binary uses its part.

pub(crate) mod agents;
pub(crate) mod browser;
pub(crate) mod certificates;
#[cfg(feature = "media")]
pub(crate) mod display;
pub(crate) mod exporters;
pub(crate) mod figures;
pub(crate) mod guest;
pub(crate) mod libvirtd;
pub(crate) mod machines;
pub(crate) mod network;
pub(crate) mod openstack;
pub(crate) mod remote;
pub(crate) mod sandbox;
pub(crate) mod site;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use drivers::Plan;
use record::decision::Mode;
use record::raw::{FrameRow, FrameStatus};
use record::{HostName, VmName};
use socket2::{Domain, Socket, Type};
use wire::mpegts::{UnitKind, VideoCodec, Writer};

/// Whatever happens, a test ends after this.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(40);
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// A copy that an engine makes in these tests has ended after this.
pub(crate) const COPY_WITHIN: Duration = Duration::from_secs(120);

/// What a driver's copy comes to, within the time that it may take.
pub(crate) async fn end_of<T>(copy: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(COPY_WITHIN, copy).await;
    ended.expect("the copy does not end")
}

/// A port that this process' tests get once, below those that the system gives to sockets that do not care (32768 and up): it
/// would give a port that was only looked at to the next who asks, or to a stage that sends.
pub(crate) fn free_udp_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + ((std::process::id() % 100 * 97 + at) % 12_000) as u16;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A port that this process' tests get once, and that no outgoing connection takes: it stays bound, which is no hindrance
/// to who listens there with `SO_REUSEADDR` (QEMU, and all that Rust's library opens).
pub(crate) fn free_tcp_port() -> u16 {
    static HELD: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    HELD.lock().unwrap().push(socket);
    port
}

pub(crate) fn forestall(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forestall"));
    command.args(arguments.split_whitespace());
    command
}

pub(crate) fn check(arguments: &str, code: i32, expected: &str) {
    let Output { status, stderr, .. } = forestall(arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{arguments}: {stderr}");
    assert!(stderr.contains(expected), "{arguments}: {stderr}");
}

/// The files of a certificate for `name`, which is its own authority, and of its key.
pub(crate) fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let file = |kind: &str, text: String| {
        let path = folder.join(format!("{name}.{kind}.pem"));
        fs::write(&path, text).unwrap();
        path
    };
    (
        file("chain", made.cert.pem()),
        file("key", made.signing_key.serialize_pem()),
    )
}

/// A process that ends when it goes out of scope.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn forestall(arguments: &str) -> Self {
        let mut command = forestall(arguments);
        command.stderr(Stdio::null());
        Self::start(command)
    }

    /// Tells it to end in order; returns its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().code()
    }

    /// Resident memory.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A move of the site's function between its hosts, for a driver alone.
pub(crate) fn plan(from: usize, to: usize) -> Plan {
    let host = |host: usize| HostName::new(site::HOSTS[host]).unwrap();
    Plan {
        migration: 1,
        vm: VmName::new(site::FUNCTION).unwrap(),
        source: host(from),
        target: host(to),
        mode: Mode::PreCopy,
    }
}

/// Waits until something is so.
pub(crate) fn wait_for(what: &str, is_so: impl FnMut() -> bool) {
    wait_or(is_so, || what.to_owned());
}

/// Waits until something is so, or fails with what there is to say then.
pub(crate) fn wait_or(mut is_so: impl FnMut() -> bool, say: impl FnOnce() -> String) {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() >= GIVE_UP {
            panic!("{}", say());
        }
        thread::sleep(POLL);
    }
}

/// The frames that a player has shown so far.
pub(crate) fn frames(path: &Path) -> Vec<FrameRow> {
    // The file may be growing: its last line may not be whole.
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let mut reader = csv::Reader::from_reader(whole.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

/// Waits until so many frames in a row were read whole, and returns them.
pub(crate) fn wait_for_frames(path: &Path, count: usize) -> Vec<FrameRow> {
    let whole = |frames: &[FrameRow]| {
        frames.len() >= count
            && frames[frames.len() - count..]
                .iter()
                .all(|frame| frame.status == FrameStatus::Ok)
    };
    wait_for(&format!("{count} frames in {}", path.display()), || {
        whole(&frames(path))
    });
    let frames = frames(path);
    frames[frames.len() - count..].to_vec()
}

/// Each frame follows the one before.
pub(crate) fn are_in_a_row(frames: &[FrameRow]) -> bool {
    frames
        .windows(2)
        .all(|pair| pair[0].frame.unwrap() + 1 == pair[1].frame.unwrap())
}

/// `forestall serve` on a port of its own.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) port: u16,
    stderr: BufReader<ChildStderr>,
}

pub(crate) const TOKEN: &str = "0123456789abcdef";

impl Server {
    /// With `TOKEN` for publishing.
    pub(crate) fn start(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::write(&tokens, format!("{TOKEN}\n")).unwrap();
        let mut command = forestall("serve 127.0.0.1:0 --publish-token-file");
        command.arg(&tokens).args(options.split_whitespace());
        let mut process = Running::start_with_stderr(command);
        let mut stderr = BufReader::new(process.0.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let port = line.trim_end().trim_end_matches('/').rsplit(':').next();
        Self {
            port: port.unwrap().parse().unwrap_or_else(|_| panic!("{line}")),
            process,
            stderr,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Tells it to end in order; returns its exit code and what it said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let code = self.process.end();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (code, said)
    }

    /// Sends a request and gives the connection back, with a limit to all waiting.
    pub(crate) fn ask(&self, request: &str) -> TcpStream {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(GIVE_UP)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        socket
    }

    /// Status code and body of an answer that ends.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        answer(self.ask(&format!("GET {path} HTTP/1.0\r\n\r\n")))
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let (code, body) = self.get("/status.json");
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Watches a stream: the bytes of its body come out, without any framing.
    pub(crate) fn watch(&self, name: &str) -> TcpStream {
        let mut socket = self.ask(&format!("GET /{name}.ts HTTP/1.0\r\n\r\n"));
        let head = read_head(&mut socket);
        assert!(head.contains(" 200 "), "{head}");
        socket
    }

    /// Begins to publish a stream.
    pub(crate) fn publish(&self, name: &str) -> Publisher {
        let socket = self.ask(&format!(
            "POST /publish/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        ));
        Publisher {
            socket,
            writer: Writer::new(VideoCodec::Mpeg2),
            count: 0,
        }
    }
}

impl Running {
    fn start_with_stderr(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        Self::start(command)
    }
}

fn read_head(socket: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Status code and body of an answer that ends.
pub(crate) fn answer(mut socket: TcpStream) -> (u16, String) {
    let mut text = Vec::new();
    // A server that refuses a body does not read it: the connection may be reset behind the answer.
    let _ = socket.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{text:?}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

/// Publishes made-up pictures: each begins with its number.
pub(crate) struct Publisher {
    pub(crate) socket: TcpStream,
    writer: Writer,
    count: u32,
}

impl Publisher {
    /// Publishes a picture; returns its number, or what went wrong.
    pub(crate) fn picture(&mut self, kind: UnitKind, bytes: usize) -> std::io::Result<u32> {
        let mut unit = vec![0x55; bytes];
        unit[..4].copy_from_slice(&self.count.to_be_bytes());
        let mut packets = Vec::new();
        let pts = u64::from(self.count) * 3000;
        self.writer.write(&unit, pts, kind, &mut packets);
        self.socket
            .write_all(format!("{:x}\r\n", packets.len()).as_bytes())?;
        self.socket.write_all(&packets)?;
        self.socket.write_all(b"\r\n")?;
        self.count += 1;
        Ok(self.count - 1)
    }

    /// A key picture and others.
    pub(crate) fn group(&mut self, pictures: usize, bytes: usize) {
        for at in 0..pictures {
            let kind = if at == 0 {
                UnitKind::Key
            } else {
                UnitKind::Predicted
            };
            self.picture(kind, bytes).unwrap();
        }
    }

    /// Ends the stream in order.
    pub(crate) fn end(mut self) -> (u16, String) {
        self.socket.write_all(b"0\r\n\r\n").unwrap();
        answer(self.socket)
    }
}

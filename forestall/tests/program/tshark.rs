//! Real video, captured by `dumpcap`: our figures are those that `tshark` finds. Needs root and tshark; it runs when
//! `FORESTALL_LAB_TESTS` is set, as `make test` does.
#![cfg(feature = "media")]

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

fn enabled() -> bool {
    let enabled = std::env::var_os("FORESTALL_LAB_TESTS").is_some();
    if !enabled {
        println!("skipped: needs root and tshark; `make test` installs it and runs this");
    }
    enabled
}

/// Captures a port of the loopback until it is stopped.
struct Dumpcap {
    child: Child,
    /// Stays open, or its last words would end it.
    said: BufReader<ChildStderr>,
}

impl Dumpcap {
    fn start(port: u16, format: &str, file: &Path) -> Self {
        let filter = format!("udp dst port {port}");
        let mut child = Command::new("dumpcap")
            .args(["-q", "-i", "lo", "-f", &filter, format, "-w"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("dumpcap");
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut dumpcap = Self { child, said };
        // It names the file when it has begun.
        let mut line = String::new();
        while !line.starts_with("File:") {
            line.clear();
            let bytes = dumpcap.said.read_line(&mut line).unwrap();
            assert!(bytes > 0, "dumpcap did not begin");
        }
        dumpcap
    }

    fn stop(mut self) {
        let id = self.child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-INT", &id]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        assert!(status.success(), "dumpcap: {rest}");
    }
}

impl Drop for Dumpcap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tshark(file: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(file)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn forestall(arguments: &[&str], file: &Path) -> Value {
    let program = Command::new(env!("CARGO_BIN_EXE_forestall"));
    let output = { program }.args(arguments).arg(file).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Nanoseconds of `seconds.nanoseconds`.
fn nanoseconds(epoch: &str) -> u64 {
    let (seconds, fraction) = epoch.split_once('.').unwrap();
    let fraction = format!("{fraction:0<9}");
    seconds.parse::<u64>().unwrap() * 1_000_000_000 + fraction.parse::<u64>().unwrap()
}

/// Mean, S.D. and C.V. of the intervals, straight from their definitions.
fn figures(times_ns: &[u64]) -> [f64; 3] {
    let intervals: Vec<f64> = times_ns
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 / 1e6)
        .collect();
    let n = intervals.len() as f64;
    let mean = intervals.iter().sum::<f64>() / n;
    let squares: f64 = intervals
        .iter()
        .map(|interval| (interval - mean).powi(2))
        .sum();
    let sd = (squares / (n - 1.0)).sqrt();
    [mean, sd, sd / mean]
}

fn check_figures(what: &str, ours: &Value, times_ns: &[u64]) {
    for (key, expected) in ["mean", "sd", "cv"].iter().zip(figures(times_ns)) {
        let found = ours[key].as_f64().unwrap();
        assert!(
            (found - expected).abs() <= 1e-9 * expected.max(1.0),
            "{what}, {key}: {found}, tshark {expected}"
        );
    }
}

#[test]
fn figures_are_those_of_tshark() {
    if !enabled() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // pcapng and pcap.
    for format in ["-n", "-P"] {
        let file = folder.path().join(format!("video{format}"));
        // Somebody has to be there, or the camera would be told that nobody is.
        let player = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = player.local_addr().unwrap().port();
        let dumpcap = Dumpcap::start(port, format, &file);
        let url = format!("udp://127.0.0.1:{port}");
        let camera = Command::new(env!("CARGO_BIN_EXE_forestall"))
            .args(["capture", &url, "--duration", "3"])
            .status()
            .unwrap();
        assert!(camera.success());
        // The kernel gives packets to dumpcap in blocks.
        std::thread::sleep(std::time::Duration::from_secs(1));
        dumpcap.stop();

        let ours = forestall(&["measure", "intervals", "--json"], &file);
        let rows = tshark(
            &file,
            &["-T", "fields", "-e", "frame.time_epoch", "-e", "udp.length"],
        );
        let rows: Vec<(u64, u64)> = rows
            .iter()
            .map(|row| {
                let (time, length) = row.split_once('\t').unwrap();
                (nanoseconds(time), length.parse::<u64>().unwrap() - 8)
            })
            .collect();
        assert!(rows.len() > 60, "{} packets", rows.len());
        assert_eq!(ours["packets"], rows.len());
        assert_eq!(
            ours["bytes"],
            rows.iter().map(|(_, bytes)| bytes).sum::<u64>()
        );
        let times: Vec<u64> = rows.iter().map(|(time, _)| *time).collect();
        check_figures("packets", &ours["packet_intervals_ms"], &times);

        // Frames: units that begin on the video's PID, as tshark's own reader of MPEG-TS sees them.
        let decode = format!("udp.port=={port},mp2t");
        let fields = [
            "-e",
            "frame.time_epoch",
            "-e",
            "mp2t.pid",
            "-e",
            "mp2t.pusi",
        ];
        let rows = tshark(
            &file,
            &[&["-d", &decode, "-T", "fields"][..], &fields].concat(),
        );
        let mut frames = Vec::new();
        for row in &rows {
            let mut fields = row.split('\t');
            let time = nanoseconds(fields.next().unwrap());
            let pids = fields.next().unwrap_or_default().split(',');
            let starts = fields.next().unwrap_or_default().split(',');
            for (pid, start) in pids.zip(starts) {
                let is_start = matches!(start, "1" | "True");
                if is_start && pid == "0x00000100" {
                    frames.push(time);
                }
            }
        }
        println!("{format}: {} packets, {} frames", times.len(), frames.len());
        assert!(
            frames.len() > 60,
            "{} frames: {:?}",
            frames.len(),
            &rows[..3.min(rows.len())]
        );
        assert_eq!(ours["frames"], frames.len());
        check_figures("frames", &ours["frame_intervals_ms"], &frames);
        let kinds = &ours["frame_kinds"];
        assert!(kinds["I"]["frames"].as_u64().unwrap() > 0, "{kinds}");
        assert!(kinds["P"]["frames"].as_u64().unwrap() > 0, "{kinds}");

        // Every frame is read, and none passed before it was captured, or long after. A capture on a loopback sees each packet going out
        // and coming in, or once.
        let passages = forestall(&["measure", "passages", "--json"], &file);
        for flow in passages.as_array().unwrap() {
            assert_eq!(flow["frames"], frames.len(), "{passages}");
            let age = flow["age_mean_ms"].as_f64().unwrap();
            assert!((0.0..1_000.0).contains(&age), "{passages}");
        }
        assert!(!passages.as_array().unwrap().is_empty(), "{passages}");
    }
}

//! What `forestall measure` answers to a shell.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs with FOLDER in place of `@`.
    fn measure(&self, arguments: &str) -> Output {
        let folder = format!("{}/", self.0.path().display());
        let arguments = arguments
            .split_whitespace()
            .map(|word| word.replace('@', &folder));
        Command::new(env!("CARGO_BIN_EXE_forestall"))
            .arg("measure")
            .args(arguments)
            .output()
            .unwrap()
    }

    fn check(&self, arguments: &str, code: i32, expected: &str) {
        let output = self.measure(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(expected), "{arguments}: {said}");
    }

    fn json(&self, arguments: &str) -> Value {
        let output = self.measure(&format!("{arguments} --json"));
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Datagrams of 100 bytes at these milliseconds: pcap with microseconds, raw IP.
fn capture(times_ms: &[u32]) -> Vec<u8> {
    let mut file = vec![
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0,
    ];
    for time_ms in times_ms {
        file.extend((1_790_000_000 + time_ms / 1_000).to_le_bytes());
        file.extend((time_ms % 1_000 * 1_000).to_le_bytes());
        file.extend([128, 0, 0, 0, 128, 0, 0, 0]);
        let ip = [
            0x45, 0, 0, 128, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 7, 192, 0, 2, 9,
        ];
        let udp = [0x9c, 0x40, 0x13, 0x89, 0, 108, 0, 0];
        file.extend([&ip[..], &udp, &[1; 100]].concat());
    }
    file
}

#[test]
fn intervals_of_a_capture() {
    let folder = Folder::new();
    folder.with("x.pcap", capture(&[0, 10, 40]));
    let json = folder.json("intervals @x.pcap");
    assert_eq!((&json["packets"], &json["bytes"]), (&3.into(), &300.into()));
    let figures = &json["packet_intervals_ms"];
    let sd = 200.0_f64.sqrt();
    assert_eq!(figures["mean"], 20.0);
    assert!((figures["sd"].as_f64().unwrap() - sd).abs() < 1e-9);
    assert!((figures["cv"].as_f64().unwrap() - sd / 20.0).abs() < 1e-9);
    for key in ["mean", "sd", "cv"] {
        assert_eq!(json["frame_intervals_ms"][key], Value::Null);
    }
    assert_eq!(json["frames"], Value::Null);
    assert_eq!(json["flow"]["source"], "192.0.2.7:40000");
    folder.check("intervals @x.pcap", 0, "20.00      14.14     0.71");
    folder.check("intervals @x.pcap --csv @rows.csv", 0, "note: no MPEG-TS");
    let rows = std::fs::read_to_string(folder.0.path().join("rows.csv")).unwrap();
    assert_eq!(
        rows,
        "time_ns,interval_ms,bytes,cumulative_bytes,frame_starts,frame_kind\n\
         1790000000000000000,,100,100,0,unknown\n\
         1790000000010000000,10.0,100,200,0,unknown\n\
         1790000000040000000,30.0,100,300,0,unknown\n"
    );
}

#[test]
fn refusals_of_captures() {
    let folder = Folder::new();
    let whole = capture(&[0, 10, 40]);
    folder.with("x.pcap", &whole);
    folder.with("cut.pcap", &whole[..whole.len() - 1]);
    folder.with("empty.pcap", "");
    folder.with("text.pcap", "received by nobody");
    let wifi = [&whole[..20], &[105, 0, 0, 0], &whole[24..]].concat();
    folder.with("wifi.pcap", wifi);
    folder.check(
        "intervals @cut.pcap",
        1,
        "the file is cut off; 2 packets before that are whole",
    );
    folder.check("intervals @empty.pcap", 1, "the file is empty");
    folder.check("intervals @text.pcap", 1, "not a capture");
    folder.check(
        "intervals @wifi.pcap",
        1,
        "link type IEEE 802.11 (105) is not read",
    );
    folder.check("intervals @none.pcap", 2, "cannot read");
    folder.check("intervals @", 2, "cannot read");
    folder.check(
        "intervals @x.pcap --flow 192.0.2.7:1>192.0.2.9:5001",
        2,
        "the largest flows are 192.0.2.7:40000>192.0.2.9:5001",
    );
    folder.check(
        "intervals @x.pcap --flow 192.0.2.7",
        2,
        "expected ADDRESS:PORT>ADDRESS:PORT",
    );
    folder.check("intervals @x.pcap --csv /no/such/rows.csv", 1, "rows.csv");
}

#[test]
fn a_knee_and_none() {
    let folder = Folder::new();
    let row = |load: u32| format!("{load},{},3\n", 30 + load.saturating_sub(80) * 5);
    let sweep: String = [0, 50, 80, 85, 90, 95, 100].map(row).concat();
    folder.with("knee.csv", format!("load,value,n\n{sweep}"));
    let json = folder.json("knee @knee.csv");
    assert_eq!(
        (&json["verdict"], &json["points"]),
        (&"knee".into(), &7.into())
    );
    for figure in [
        &json["knee"],
        &json["interval95"][0],
        &json["interval95"][1],
    ] {
        assert!((figure.as_f64().unwrap() - 80.0).abs() < 1e-3, "{json}");
    }
    folder.check("knee @knee.csv", 0, "knee at load 80.0000");
    folder.with("line.csv", "load,value\n0,1\n1,3\n2,5\n3,7\n4,9\n");
    let json = folder.json("knee @line.csv");
    assert_eq!(
        (&json["verdict"], &json["knee"]),
        (&"no_knee".into(), &Value::Null)
    );
    folder.check(
        "knee @line.csv",
        0,
        "no knee found: a straight line fits as well",
    );
}

#[test]
fn refusals_of_sweeps() {
    let folder = Folder::new();
    folder.with("short.csv", "load,value\n0,1\n1,3\n2,5\n");
    folder.check(
        "knee @short.csv",
        2,
        "short.csv: a sweep needs at least 4 different loads; there are 3",
    );
    folder.with("word.csv", "load,value\n0,one\n");
    folder.check("knee @word.csv", 2, "word.csv:2: ");
    folder.with("nan.csv", "load,value\n0,1\n1,NaN\n2,5\n3,7\n");
    folder.check(
        "knee @nan.csv",
        2,
        "row 2: load and value have to be finite",
    );
    folder.with("n.csv", "load,value,n\n0,1,1\n1,2,0\n2,5,1\n3,7,1\n");
    folder.check("knee @n.csv", 2, "row 2: n and sd have to be over 0");
    folder.check("knee @none.csv", 2, "cannot read");
}

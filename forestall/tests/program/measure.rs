//! What `forestall measure` answers to a shell.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use record::campaign::{Cell, Copying, PathPoint, Subject};
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

/// Moves of a machine whose total time is 400 ms, 100 MiB and what was filled (and what is written meanwhile) at the bandwidth allowed, and 8 round trips, within 1 %.
fn moves_over_paths(folder: &Path, machine: &str) {
    let base = PathPoint {
        memory_mib: 256,
        filled_mib: 128,
        dirty_mib_s: 0.0,
        bandwidth_mib_s: 32.0,
        downtime_limit_ms: 300.0,
        rtt_ms: 2.0,
        loss_percent: 0.0,
        copying: Copying::PreCopy,
    };
    let mut points: Vec<PathPoint> = [160, 256, 384]
        .iter()
        .flat_map(|memory_mib| [16.0, 32.0, 64.0].map(|rate| (*memory_mib, rate)))
        .map(|(memory_mib, bandwidth_mib_s)| PathPoint {
            memory_mib,
            filled_mib: memory_mib - 128,
            bandwidth_mib_s,
            ..base
        })
        .collect();
    points.extend([20.0, 175.0].map(|rtt_ms| PathPoint { rtt_ms, ..base }));
    points.push(PathPoint {
        dirty_mib_s: 8.0,
        ..base
    });
    // Else nothing but the base's pair of memory and bandwidth says what a round trip costs, and it could not be left out.
    let far = points.first().map(|first| PathPoint {
        rtt_ms: 75.0,
        ..*first
    });
    points.extend(far);
    for point in points {
        let cell = Cell {
            schema: record::SCHEMA,
            subject: Subject::Paths(point),
            measured_at: "2026-11-30T06:00:00Z".into(),
            command: None,
            machine: machine.into(),
            environment: record::results::Environment::default(),
            foreign_load: None,
            spoilt: false,
            tries: 1,
            cpu_mhz: None,
            ipc: None,
            ipc_unknown: None,
        };
        let path = folder.join(cell.subject.folder());
        std::fs::create_dir_all(&path).unwrap();
        record::file::write_json(&path.join("cell.json"), &cell).unwrap();
        let (mut left_mib, mut copied_s) = (f64::from(point.filled_mib + 100), 0.0);
        // What was written meanwhile is copied next, until the rest goes within the downtime.
        while left_mib / point.bandwidth_mib_s > point.downtime_limit_ms / 1e3 {
            let pass_s = left_mib / point.bandwidth_mib_s;
            copied_s += pass_s;
            left_mib = (pass_s * point.dirty_mib_s).min(f64::from(point.filled_mib));
        }
        copied_s += left_mib / point.bandwidth_mib_s;
        let mut moves = String::from(
            "number,source,target,decided_us,shown_us,total_ms,downtime_ms,sent_bytes,pages,zero_pages,rounds,failure\n",
        );
        let mut frames = String::from("frame,captured_us,shown_us,delay_ms,status,boot,runner\n");
        for number in 1..=3_u32 {
            let decided = u64::from(number) * 60_000_000;
            let share = 1.0 + (f64::from(number) - 2.0) / 100.0;
            let total_ms = (400.0 + copied_s * 1e3 + 8.0 * point.rtt_ms) * share;
            let gap_us = ((100.0 + point.rtt_ms + 3.0 * f64::from(number)) * 1e3) as u64;
            let shown = decided + gap_us;
            moves += &format!(
                "{number},a,b,{decided},{shown},{total_ms},{},,,,,\n",
                20 + number
            );
            let after = (0..40).map(|frame| shown + frame * 33_000);
            for at in [decided - 33_000, decided].into_iter().chain(after) {
                frames += &format!("{},{at},{at},0,ok,,\n", at / 1_000);
            }
        }
        std::fs::write(path.join("moves.csv"), moves).unwrap();
        std::fs::write(path.join("frames.csv"), frames).unwrap();
    }
}

#[test]
fn the_time_of_a_move_is_fitted_and_goes_into_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let cells = folder.path().join("cells");
    moves_over_paths(&cells, "a machine");
    let path = folder.path().join("profile.toml");
    let of = |machine: &str| {
        format!(
            r#"
            schema = 1
            measured_at = "2026-11-25T01:48:15Z"
            machine = "{machine}"
            service = "y"
            knee = {{ utilization = 0.99, budget_ms = 200.0, sweep = [] }}
            function = {{ idle = 0.21, copying_extra = 0.08 }}
            migration = {{ mean_ms = 7106.0, p95_ms = 7162.0, moves = [] }}
            "#
        )
    };
    let report = |code: i32| {
        let output = Command::new(env!("CARGO_BIN_EXE_forestall"))
            .arg("report")
            .args([cells.as_path(), Path::new("--profile"), &path])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    std::fs::write(&path, of("another machine")).unwrap();
    assert!(report(2).contains("is of another machine"));
    std::fs::write(&path, of("a machine")).unwrap();
    let text = report(0);
    assert!(
        text.contains("total migration time: of 39 moves not seen"),
        "{text}"
    );
    let law = record::Profile::read(&path).unwrap().migration.law.unwrap();
    assert_eq!((law.moves, law.window_mib), (39, None));
    assert!((law.total.own_mib - 100.0).abs() < 3.0, "{law:?}");
    assert!((law.total.times - 1.0).abs() < 0.02, "{law:?}");
    assert!((law.total.round_trips - 8.0).abs() < 0.5, "{law:?}");
    assert!((law.gap.round_trips - 1.0).abs() < 0.1, "{law:?}");

    // One cell tells nothing, and the profile stays as it was.
    let before = std::fs::read_to_string(&path).unwrap();
    let all = std::fs::read_dir(cells.join("paths")).unwrap().flatten();
    for cell in all.skip(1) {
        std::fs::remove_dir_all(cell.path()).unwrap();
    }
    assert!(report(2).contains("no predictor came of these folders"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

//! Experiments as a lab leaves them, made up from a formula and a seed: one server whose backlog grows once its load
//! passes the knee, and a function that leaves it, or does not.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use record::file::{write_csv, write_json};
use record::raw::{FrameRow, FrameStatus, LoadRow, MigrationRow, PacketRow, PhaseRow, SentRow};
use record::results::{Environment, Experiment, ExperimentRun, Hosts, Limits, Setting};
use record::{SCHEMA, Timestamp};

pub(crate) const KNEE: f64 = 0.95;
pub(crate) const BUDGET_MS: f64 = 200.0;
const IDLE_S: f64 = 15.0;
const LOAD_S: f64 = 95.0;
const START_S: f64 = 1_750_000_000.0;
const MIGRATION_S: f64 = 6.6;

/// A deterministic source of noise (SplitMix64).
pub(crate) struct Noise(u64);

impl Noise {
    /// Evenly in `0..1`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// `(profile, policy, repeat)` of each run.
pub(crate) fn write_experiment(dir: &Path, plans: &[(&str, &str, u32)]) {
    let runs: Vec<ExperimentRun> = plans
        .iter()
        .map(|(profile, name, repeat)| ExperimentRun {
            folder: format!("{profile}-{name}-{repeat}"),
            name: (*name).into(),
            repeat: *repeat,
            seed: u64::from(*repeat),
            profile: (*profile).into(),
            budget_ms: BUDGET_MS,
        })
        .collect();
    for run in &runs {
        write_run(&dir.join("runs").join(&run.folder), run);
    }
    write_json(
        &dir.join("experiment.json"),
        &Experiment {
            schema: SCHEMA,
            setting: setting(),
            runs,
        },
    )
    .unwrap();
}

fn setting() -> Setting {
    Setting {
        title: "Live video kept live by moving its function in time".into(),
        scenario: "reallocation".into(),
        started_at: "2025-06-15T15:06:40Z".into(),
        command: "forestall lab run scenarios/reallocation --out out/reallocation/example --seed 1".into(),
        seed: 1,
        environment: Environment {
            accelerator: "tcg".into(),
            link_emulation: "userspace".into(),
            cpus: 2,
            kernel: Some("6.1.0-37-cloud-amd64".into()),
            qemu: Some("7.2.15".into()),
            ffmpeg: Some("5.1.6".into()),
            more: [("snmpd".to_owned(), "5.9.3".into())].into(),
        },
        machine: "2 virtual cores, 4 GB of memory, shared".into(),
        engine: Some("qemu".into()),
        chain: "capture -> overlay in a QEMU guest -> play, MPEG-2 in MPEG-TS over UDP".into(),
        video: "160x120, 30 fps, MPEG-2, 300 kbit/s".into(),
        competition: "edge-user on cpu 0: its virtual machine with cpu.shares 51, its load with 1024 (1 : 20)".into(),
        hosts: Hosts {
            camera: "robot".into(),
            viewer: "user".into(),
            source: "edge-user".into(),
            target: "edge-robot".into(),
        },
        knee: Some(KNEE),
        migration_p95_s: Some(7.4),
        threshold: Some(0.9),
        limits: Limits::default(),
    }
}

/// Demand of function and background at `s` seconds after the start of the load.
fn offered(profile: &str, s: f64) -> f64 {
    match profile {
        _ if s < 0.0 => 0.23,
        "fast" => (0.23 + 0.012 * s).min(1.08),
        _ => (0.85 + 0.003 * s).min(1.08),
    }
}

/// When the policy decides, as samples every 5 s let it.
fn decided_at(profile: &str, policy: &str) -> Option<f64> {
    let level = match policy {
        "threshold" => 0.90,
        "deadline" if profile == "fast" => KNEE - 0.012 * 18.0,
        "deadline" => KNEE - 0.003 * 22.0,
        _ => return None,
    };
    (0..19)
        .map(|sample| f64::from(sample) * 5.0 + 3.1)
        .find(|s| offered(profile, *s - 2.5) >= level)
}

pub(crate) fn write_run(folder: &Path, run: &ExperimentRun) {
    std::fs::create_dir_all(folder).unwrap();
    let mut noise = Noise(run.seed * 1_000 + run.name.len() as u64);
    let load_start = Timestamp::from_secs_f64(START_S + IDLE_S);
    let at = |s: f64| load_start + Duration::from_secs_f64(s + 100.0) - Duration::from_secs(100);
    let decided = decided_at(&run.profile, &run.name);
    let resumed = decided.map(|s| s + 0.4 + MIGRATION_S);

    let mut sent = Vec::new();
    let mut frames = Vec::new();
    let mut packets = Vec::new();
    let (mut backlog_ms, mut last_shown) = (0.0_f64, -IDLE_S);
    for number in 0..((IDLE_S + LOAD_S) * 30.0) as u32 {
        let captured = -IDLE_S + f64::from(number) / 30.0;
        sent.push(SentRow {
            frame: number,
            captured_us: at(captured),
            bytes: Some(1_200),
        });
        let moved = resumed.is_some_and(|resumed| captured > resumed - 0.05);
        let copying = decided.is_some_and(|decided| captured > decided + 0.4) && !moved;
        let load = if moved {
            0.24
        } else {
            offered(&run.profile, captured) + if copying { 0.02 } else { 0.0 }
        };
        backlog_ms = if moved {
            0.0
        } else {
            (backlog_ms + (load - 0.97) * 160.0).clamp(0.0, 3_400.0)
        };
        let spread = 8.0 + 90.0 * (load - 0.55).max(0.0).powi(2) * 4.0;
        let burst = if noise.next() < (load - 0.75).max(0.0) * 0.3 {
            noise.next() * 60.0
        } else {
            0.0
        };
        let delay =
            0.078 + (noise.next() * spread + burst + backlog_ms * (0.9 + 0.2 * noise.next())) / 1e3;
        let handed_over =
            resumed.is_some_and(|resumed| captured > resumed - 0.05 && captured < resumed + 0.06);
        let lost = handed_over || (backlog_ms > 1_000.0 && noise.next() < 0.35);
        let shown = (captured + delay).max(last_shown + 0.002);
        if lost || shown > LOAD_S + 0.5 {
            continue;
        }
        last_shown = shown;
        let arrived = shown - 0.009;
        packets.push(PacketRow {
            received_us: at(arrived),
            bytes: 1_316,
            frame_starts: 1,
        });
        packets.push(PacketRow {
            received_us: at(arrived + 0.0004),
            bytes: 376,
            frame_starts: 0,
        });
        let unreadable = noise.next() < 0.001;
        let (captured_us, shown_us) = (at(captured), at(shown));
        let delay_ms = (shown_us.0 - captured_us.0) as f64 / 1e3;
        frames.push(FrameRow {
            frame: (!unreadable).then_some(number),
            captured_us: (!unreadable).then_some(captured_us),
            shown_us,
            delay_ms: (!unreadable).then_some(delay_ms),
            status: if unreadable {
                FrameStatus::Unreadable
            } else {
                FrameStatus::Ok
            },
            boot: (!unreadable).then(|| "5d1f09a2".into()),
            runner: (!unreadable).then_some(if moved { 2 } else { 1 }),
        });
    }
    write_csv(&folder.join("sent.csv"), &sent).unwrap();
    write_csv(&folder.join("frames.csv"), &frames).unwrap();
    write_csv(&folder.join("packets.csv"), &packets).unwrap();
    write_load(folder, run, &mut noise, &at, resumed);
    write_decisions(folder, run, &at, decided);
    let migration = decided.zip(resumed).map(|(decided, resumed)| MigrationRow {
        policy: run.name.clone(),
        mode: "pre-copy".into(),
        source: "edge-user".into(),
        target: "edge-robot".into(),
        decided_us: at(decided),
        started_us: Some(at(decided + 0.4)),
        resumed_us: Some(at(resumed)),
        settled_us: Some(at(resumed + 0.3)),
        total_ms: Some(MIGRATION_S * 1e3),
        downtime_ms: Some(14.0),
        predicted_total_ms: (run.name == "deadline").then_some(7_400.0),
        verdict: "moved".into(),
    });
    write_csv(
        &folder.join("migration.csv"),
        &migration.into_iter().collect::<Vec<_>>(),
    )
    .unwrap();
    let phase = |phase: &str, start, end| PhaseRow {
        phase: phase.into(),
        start_us: at(start),
        end_us: at(end),
    };
    write_csv(
        &folder.join("phases.csv"),
        &[phase("idle", -IDLE_S, 0.0), phase("load", 0.0, LOAD_S)],
    )
    .unwrap();
}

fn write_load(
    folder: &Path,
    run: &ExperimentRun,
    noise: &mut Noise,
    at: &impl Fn(f64) -> Timestamp,
    resumed: Option<f64>,
) {
    let mut rows = Vec::new();
    let row = |s: f64, host: &str, snmp, actual, vm| LoadRow {
        time_us: at(s),
        host: host.into(),
        snmp,
        actual,
        vm,
        background: None,
    };
    for tick in 0..((IDLE_S + LOAD_S) * 2.0) as u32 {
        let s = -IDLE_S + f64::from(tick) * 0.5;
        let moved = resumed.is_some_and(|resumed| s > resumed);
        let mut load = |moved: bool| {
            let function = if moved { 0.0 } else { 0.21 };
            (offered(&run.profile, s) - 0.21 + function + 0.03 * (noise.next() - 0.5))
                .clamp(0.0, 1.0)
        };
        let source = load(moved);
        let target = if moved { 0.24 } else { 0.02 } + 0.02 * noise.next();
        rows.push(row(
            s,
            "edge-user",
            None,
            Some(source),
            Some(if moved { 0.0 } else { 0.21 }),
        ));
        rows.push(row(
            s,
            "edge-robot",
            None,
            Some(target),
            Some(if moved { 0.22 } else { 0.0 }),
        ));
        rows.push(row(
            s,
            "machine",
            None,
            Some(0.02 + 0.04 * noise.next()),
            None,
        ));
        if tick % 10 == 6 {
            rows.push(row(
                s,
                "edge-user",
                Some((source - 0.012).max(0.0)),
                None,
                None,
            ));
            rows.push(row(s, "edge-robot", Some(target), None, None));
        }
    }
    write_csv(&folder.join("load.csv"), &rows).unwrap();
}

fn write_decisions(
    folder: &Path,
    run: &ExperimentRun,
    at: &impl Fn(f64) -> Timestamp,
    decided: Option<f64>,
) {
    let mut lines = String::new();
    for sample in -2..19 {
        let s = f64::from(sample) * 5.0 + 3.1;
        let level = offered(&run.profile, s - 2.5);
        let start = decided.is_some_and(|decided| (decided - s).abs() < 0.01);
        if decided.is_some_and(|decided| s > decided + 0.01) {
            break;
        }
        let kind = if start { "start" } else { "hold" };
        let reason = if run.name == "deadline" {
            "not_due"
        } else {
            "below_threshold"
        };
        let slope = if s < 0.0 {
            0.0
        } else {
            offered(&run.profile, s) - offered(&run.profile, s - 1.0)
        };
        let knee_at = if slope > 0.0 {
            at(s + (KNEE - level) / slope).0.to_string()
        } else {
            "null".into()
        };
        writeln!(
            lines,
            r#"{{"schema":1,"at_us":{},"kind":"{kind}","host":"edge-user","reason":"{reason}","utilization":{level:.3},"forecast":{{"level":{level:.3},"slope_per_s":{slope:.4},"trusted":true,"knee_at_us":{knee_at}}},"knee":{KNEE},"threshold":0.9}}"#,
            at(s).0,
        )
        .unwrap();
    }
    if let Some(decided) = decided {
        writeln!(
            lines,
            r#"{{"at_us":{},"kind":"settled","migration":1,"verdict":"moved"}}"#,
            at(decided + 7.3).0
        )
        .unwrap();
    }
    std::fs::write(folder.join("decisions.jsonl"), lines).unwrap();
}

//! The benchmark runs and has its keys; how fast it finds this machine is not tested.

use std::process::{Command, Output};

#[cfg(feature = "media")]
use media::bench::STAGES;

fn bench(arguments: &[&str]) -> Output {
    forestall(&["bench", "orchestrator"], arguments)
}

fn forestall(command: &[&str], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(command)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn agents_are_asked_and_the_keys_are_there() {
    let output = bench(&[
        "--agents",
        "50",
        "--poll-ms",
        "200",
        "--measured-s",
        "1",
        "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let snmp = &all["snmp"];
    assert_eq!(snmp["agents"], 50);
    assert_eq!(snmp["period_s"], 0.2);
    for key in ["answered_share", "varbinds_per_cpu_s"] {
        assert!(snmp[key].as_f64().unwrap() > 0.0, "{key}: {snmp}");
    }
    for version in ["v3", "v2c"] {
        let polling = &snmp[version]["polling"];
        let [answered, varbinds] =
            ["answered", "varbinds"].map(|key| polling[key].as_u64().unwrap());
        assert!(answered > 0, "{polling}");
        assert_eq!(varbinds, answered * 9, "{polling}");
        let exporter = &snmp[version];
        let why = exporter["exporter_missing"].is_string();
        assert_eq!(
            exporter["exporter"].is_null(),
            why,
            "figures, or why not: {exporter}"
        );
    }
    let figure = |path: &str| all.pointer(path).and_then(serde_json::Value::as_f64);
    for path in [
        "/control/sample_us/p50",
        "/control/placement_ms/p99",
        "/control/rss_mb",
        "/start_after_sample_ms/p99",
        "/start_after_sample_ms/n",
        "/journal_records_per_s",
        "/journal_synced_turn_ms/p50",
    ] {
        assert!(figure(path).unwrap() > 0.0, "{path}: {all}");
    }
    assert_eq!(all["control"]["hosts"], 10_000);
    assert_eq!(all["control"]["functions"], 100_000);
}

#[test]
fn nonsense_is_refused() {
    for arguments in [["--agents", "0"], ["--poll-ms", "0"], ["--measured-s", "0"]] {
        assert_eq!(bench(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
#[cfg(feature = "media")]
fn the_stages_are_measured_beside_ffmpeg() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let output = forestall(&["bench", "media"], &["--quick", "--json", "--out", out]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |path: &str| {
        let value = all
            .pointer(path)
            .unwrap_or_else(|| panic!("no {path}: {all}"));
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{path} is {value}: {}", all["notes"]))
    };
    for chain in ["forestall", "ffmpeg_plain", "ffmpeg_tuned"] {
        let of = |key: &str| figure(&format!("/delay_ms/mpeg2/{chain}/{key}"));
        assert!(
            of("n") > 0.0 && of("p50") <= of("p95") && of("p95") <= of("p99"),
            "{all}"
        );
        assert!(
            all["delay_ms"]["h264"][chain].is_null(),
            "not measured, so null: {all}"
        );
    }
    // FFmpeg's chain holds many frames, ours none: no noise of a machine turns that round.
    let median = |chain: &str| figure(&format!("/delay_ms/mpeg2/{chain}/p50"));
    assert!(median("forestall") < median("ffmpeg_plain"), "{all}");
    for stage in STAGES {
        assert_eq!(figure(&format!("/held_frames/{stage}")), 0.0, "{stage}");
        let held = &all["held_frames_by_codec"]["mpeg2"][stage];
        assert_eq!((&held["median"], &held["n"]), (&0.into(), &60.into()));
        assert!(held["late"].as_u64() < Some(30), "{stage}: {held}");
        let within = |key: &str| figure(&format!("/stage_ms/mpeg2/{stage}/{key}"));
        assert!(within("p50") <= within("p95") && within("n") > 0.0, "{all}");
        assert!(all["stage_ms"]["h264"][stage].is_null(), "{all}");
    }
    for side in ["forestall", "ffmpeg"] {
        for key in ["cpu_us_per_frame", "rss_mb"] {
            assert!(figure(&format!("/overlay/640x480/{side}/{key}")) > 0.0);
        }
        // Read one after the other, of a process that works.
        let parts = &all["overlay"]["640x480"][side]["rss_mb_by_mapping"];
        let sum: f64 = parts
            .as_object()
            .unwrap()
            .values()
            .map(|mb| mb.as_f64().unwrap())
            .sum();
        let whole = figure(&format!("/overlay/640x480/{side}/rss_mb"));
        assert!((sum - whole).abs() < 0.1 * whole, "{whole} MB: {parts}");
        assert!(parts["libavcodec"].as_f64() > Some(1.0), "{parts}");
        assert!(all["overlay"]["1280x720"][side].is_null());
    }
    assert!(figure("/relay_ms/p50") <= figure("/relay_ms/p99"));
    for key in [
        "viewers_per_core",
        "bytes_per_viewer",
        "slow_viewer_adds_ms",
    ] {
        figure(&format!("/serve/{key}"));
    }
    let spoilt = |key: &str| figure(&format!("/clock/degraded/{key}"));
    assert_eq!(spoilt("wrong"), 0.0);
    assert!(
        spoilt("readable_read") >= 0.95 * spoilt("readable"),
        "{all}"
    );
    assert!(figure("/clock/frames_per_s") > 0.0 && figure("/clock/tesseract/frames") > 0.0);
    for name in ["blurred", "noisy"] {
        let of = |key: &str| figure(&format!("/clock/tesseract_spoilt/{name}/{key}"));
        assert_eq!(of("frames"), 4.0);
        assert!(of("read") + of("wrong") <= 4.0, "{all}");
    }
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("camera to screen, mpeg2, ms") && page.contains("ffmpeg_plain"));
    assert!(page.contains("`ffmpeg -listen 1`") && page.contains("in a stage of ours, ms"));
}

//! A wrong scenario is refused with file, line, what is wrong and what is allowed, and nothing is started.

use std::fs;
use std::process::Command;

/// Replaces one line of the shipped scenario and returns the exit code and what was said.
fn with_line(key: &str, line: &str) -> (Option<i32>, String) {
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../scenarios/reallocation/scenario.toml"
    );
    let text = fs::read_to_string(shipped).unwrap();
    let old = text
        .lines()
        .find(|text| text.starts_with(key))
        .unwrap_or_else(|| panic!("no line begins with {key}"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("scenario.toml"),
        text.replacen(old, line, 1),
    )
    .unwrap();
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args([
            "lab",
            "run",
            folder.path().to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(!out.exists(), "nothing is started");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn wrong_scenarios() {
    for (key, line, said) in [
        (
            "downtime_limit_ms",
            "downtime_limit_s = 0.3",
            "unknown field `downtime_limit_s`, expected one of",
        ),
        ("budget_ms", "budget_ms = \"fast\"", "expected f64"),
        (
            "budget_ms",
            "budget_ms = -1",
            "budget_ms is -1; it may be 1 to 60000",
        ),
        (
            "host = \"edge-user\"",
            "host = \"edge-moon\"",
            "which is no edge host; those are edge-robot, edge-user",
        ),
        (
            "points = [[0, 0.30]",
            "points = [[0, 0.3], [10, 0.5], [9, 0.6]]",
            "goes forward in time",
        ),
        (
            "points = [[0, 0.30]",
            "points = [[0, 30], [10, 50]]",
            "0.85 for 85 %",
        ),
        (
            "default_profile",
            "default_profile = \"steep\"",
            "there are fast, slow",
        ),
        ("start_at", "start_at = 90", "a share of 0 to 1"),
        (
            "chain",
            "chain = \"vlc\"",
            "expected one of `forestall`, `ffmpeg`, `ffmpeg-plain`",
        ),
        (
            "[functions.text-insertion]",
            "[functions.\"../../etc\"]",
            "is not a name",
        ),
    ] {
        let (code, stderr) = with_line(key, line);
        assert_eq!(code, Some(2), "{line}: {stderr}");
        assert!(stderr.contains(said), "{line}: {stderr}");
        let shipped = fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../scenarios/reallocation/scenario.toml"
        ))
        .unwrap();
        let number = shipped
            .lines()
            .position(|text| text.starts_with(key))
            .unwrap()
            + 1;
        assert!(
            stderr.contains(&format!("scenario.toml:{number}:")),
            "{line} is line {number}: {stderr}"
        );
    }
}

#[test]
fn a_folder_without_a_scenario() {
    let output = Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(["lab", "run", "/nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("forestall lab list"));
}

#[test]
fn engines() {
    for (scenario, engine, said) in [
        ("scenarios/reallocation", "xen", "qemu, libvirt, nova"),
        (
            "scenarios/thesis",
            "libvirt",
            "--engine and --inventory are for scenarios",
        ),
        (
            "scenarios/thesis/direct",
            "libvirt",
            "--engine and --inventory are for scenarios",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_forestall"))
            .args(["lab", "run", scenario, "--engine", engine])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{scenario}: {stderr}");
        assert!(stderr.contains(said), "{scenario}: {stderr}");
    }
}

//! The benchmark runs and has its keys; how fast it finds this machine is not tested.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(["bench", "orchestrator"])
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
    for key in ["control", "start_after_sample_ms", "journal_records_per_s"] {
        assert!(all[key].is_null() && all.get(key).is_some(), "{key}");
    }
}

#[test]
fn nonsense_is_refused() {
    for arguments in [["--agents", "0"], ["--poll-ms", "0"], ["--measured-s", "0"]] {
        assert_eq!(bench(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}

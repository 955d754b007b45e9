//! Whole experiments, from the folders that a lab leaves to results and their verification.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod synthetic;

use std::path::Path;

use forestall_measure::{
    compute, markdown_table, report, terminal_table, verify, write_all, write_report,
};
use record::results::{Results, Run};
use serde_json::Value;

const FAST: [(&str, &str, u32); 3] = [
    ("fast", "none", 1),
    ("fast", "threshold", 1),
    ("fast", "deadline", 1),
];

fn experiment(plans: &[(&str, &str, u32)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    synthetic::write_experiment(dir.path(), plans);
    dir
}

fn run<'a>(results: &'a Results, profile: &str, name: &str) -> &'a Run {
    results
        .runs
        .iter()
        .find(|run| run.plan.profile == profile && run.plan.name == name)
        .unwrap()
}

fn holds(results: &Results, id: &str) -> Option<bool> {
    results
        .promises
        .iter()
        .find(|promise| promise.id == id)
        .unwrap_or_else(|| panic!("no promise {id}"))
        .holds
}

#[test]
fn the_three_runs_say_what_happened() {
    let dir = experiment(&FAST);
    let results = compute(dir.path()).unwrap();

    let none = run(&results, "fast", "none");
    assert!(
        (90.0..110.0).contains(&none.picture_age_ms.idle_median.unwrap().round()),
        "{:?}",
        none.picture_age_ms
    );
    assert!(none.picture_age_ms.p95.unwrap() > 3_000.0);
    let over = none.over_budget_at_s.unwrap();
    assert!((60.0..66.0).contains(&over), "{over}");
    assert_eq!(none.migration, None);
    assert_eq!(none.drawn_by.runners_before, [1]);

    let deadline = run(&results, "fast", "deadline");
    let migration = deadline.migration.as_ref().unwrap();
    assert_eq!(migration.verdict, "moved");
    let seen = migration.first_frame_from_target_s.unwrap();
    assert!(seen > migration.resumed_at_s.unwrap() && seen < migration.resumed_at_s.unwrap() + 0.3);
    assert_eq!(
        migration.margin_ms,
        Some(((over - seen) * 1e6).round() / 1e3)
    );
    assert_eq!(migration.deadline_met, Some(true));
    assert_eq!(migration.predicted_total_ms, Some(7_400.0));
    assert_eq!(deadline.picture_age_ms.n, 9_500);
    assert!(deadline.picture_age_ms.share_under_budget.unwrap() > 0.99);
    assert_eq!(
        (
            &deadline.drawn_by.runners_before[..],
            &deadline.drawn_by.runners_after[..]
        ),
        (&[1][..], &[2][..])
    );
    assert_eq!(
        deadline.drawn_by.boots_before,
        deadline.drawn_by.boots_after
    );
    assert_eq!(deadline.over_budget_at_s, None);
    assert!(deadline.frames.longest_freeze_ms.unwrap() < 400.0);

    let threshold = run(&results, "fast", "threshold")
        .migration
        .as_ref()
        .unwrap();
    assert_eq!(threshold.deadline_met, Some(false));
    assert!(threshold.margin_ms.unwrap() < 0.0);
    assert!((threshold.source_load_snmp.unwrap() - 0.9).abs() < 0.08);

    for promise in &results.promises {
        assert_eq!(
            promise.holds,
            Some(true),
            "{}: {:?}",
            promise.id,
            promise.figures
        );
    }
    assert_eq!(results.promises.len(), 8);
}

#[test]
fn a_spoilt_run_proves_nothing() {
    let dir = experiment(&FAST);
    let load = dir.path().join("runs/fast-none-1/load.csv");
    let text = std::fs::read_to_string(&load).unwrap();
    let noisy: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(",machine,,") {
            Some((time, _)) => format!("{time},machine,,0.4,,"),
            None => line.to_owned(),
        })
        .collect();
    std::fs::write(&load, noisy.join("\n") + "\n").unwrap();
    let results = compute(dir.path()).unwrap();
    let none = run(&results, "fast", "none");
    assert!(none.spoilt);
    assert!((none.foreign_load.unwrap() - 0.4).abs() < 1e-9);
    assert_eq!(holds(&results, "fast/unmoved-explodes"), None);
    assert_eq!(holds(&results, "fast/deadline-margin"), Some(true));
}

#[test]
fn without_the_unmoved_run_there_is_no_margin() {
    let dir = experiment(&[
        ("fast", "none", 2),
        ("slow", "none", 1),
        ("fast", "deadline", 1),
    ]);
    let results = compute(dir.path()).unwrap();
    let migration = run(&results, "fast", "deadline")
        .migration
        .as_ref()
        .unwrap();
    assert_eq!((migration.margin_ms, migration.deadline_met), (None, None));
    assert_eq!(holds(&results, "fast/deadline-margin"), None);
}

#[test]
fn a_move_that_the_viewer_never_saw_misses_its_deadline() {
    let dir = experiment(&FAST);
    let frames = dir.path().join("runs/fast-deadline-1/frames.csv");
    let text = std::fs::read_to_string(&frames).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.ends_with(",2")).collect();
    std::fs::write(&frames, kept.join("\n") + "\n").unwrap();
    let results = compute(dir.path()).unwrap();
    let migration = run(&results, "fast", "deadline")
        .migration
        .as_ref()
        .unwrap();
    assert_eq!(
        (migration.margin_ms, migration.deadline_met),
        (None, Some(false))
    );
    assert_eq!(holds(&results, "fast/deadline-margin"), Some(false));
    assert_eq!(holds(&results, "fast/deadline-no-freeze"), Some(false));
}

#[test]
fn written_results_verify() {
    let dir = experiment(&FAST);
    let measured = write_all(dir.path()).unwrap();
    assert_eq!(verify(dir.path()).unwrap(), []);
    let written: Results = record::file::read_json(&dir.path().join("results.json")).unwrap();
    assert_eq!(written.promises.len(), measured.results.promises.len());
    assert_eq!(written.setting, measured.results.setting);
    let text = std::fs::read_to_string(dir.path().join("results.json")).unwrap();
    assert!(!text.contains("NaN"));
    let ages = std::fs::read_to_string(dir.path().join("runs/fast-none-1/age.csv")).unwrap();
    assert!(ages.starts_with("time_us,picture_age_ms\n"));
}

/// Edits one file of a measured experiment and lists the places that differ.
fn places_after(edit: impl Fn(&Path)) -> Vec<String> {
    let dir = experiment(&FAST);
    write_all(dir.path()).unwrap();
    edit(dir.path());
    verify(dir.path())
        .unwrap()
        .into_iter()
        .map(|difference| format!("{} {}", difference.file, difference.place))
        .collect()
}

fn replace(path: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{old:?} is not in {}", path.display());
    std::fs::write(path, text.replacen(old, new, 1)).unwrap();
}

#[test]
fn one_edited_figure_is_found() {
    let places = places_after(|dir| {
        let path = dir.join("results.json");
        let mut results: Value = record::file::read_json(&path).unwrap();
        let p95 = results.pointer_mut("/runs/2/picture_age_ms/p95").unwrap();
        *p95 = (p95.as_f64().unwrap() * 1.000_001).into();
        record::file::write_json(&path, &results).unwrap();
    });
    assert_eq!(places, ["results.json /runs/2/picture_age_ms/p95"]);
}

#[test]
fn one_edited_frame_is_found() {
    let places = places_after(|dir| {
        let path = dir.join("runs/fast-none-1/frames.csv");
        let mut rows: Vec<record::raw::FrameRow> = record::read_csv(&path).unwrap();
        let row = rows
            .iter_mut()
            .filter(|row| row.captured_us.is_some())
            .nth(500)
            .unwrap();
        row.captured_us = row.captured_us.map(|at| record::Timestamp(at.0 + 20_000));
        row.delay_ms = row.delay_ms.map(|delay_ms| delay_ms - 20.0);
        record::file::write_csv(&path, &rows).unwrap();
    });
    assert!(
        places
            .iter()
            .any(|place| place == "results.json /runs/0/frame_delay_ms/mean"),
        "{places:?}"
    );
    assert!(
        places
            .iter()
            .any(|place| place.starts_with("runs/fast-none-1/age.csv line ")),
        "{places:?}"
    );
}

#[test]
fn edited_derived_rows_are_found() {
    let places = places_after(|dir| {
        let path = dir.join("runs/fast-none-1/age.csv");
        let text = std::fs::read_to_string(&path).unwrap();
        let shorter: Vec<&str> = text.lines().take(100).collect();
        std::fs::write(&path, shorter.join("\n")).unwrap();
        replace(
            &dir.join("runs/fast-none-1/intervals.csv"),
            ",packet,",
            ",frame,",
        );
    });
    assert_eq!(
        places,
        [
            "runs/fast-none-1/age.csv line 101",
            "runs/fast-none-1/intervals.csv line 2"
        ]
    );
}

#[test]
fn the_report_stands_alone() {
    let dir = experiment(&FAST);
    let measured = write_all(dir.path()).unwrap();
    let path = write_report(dir.path(), &measured).unwrap();
    let html = std::fs::read_to_string(path).unwrap();
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    for outside in [
        "http:", "https:", "src=", "<link", "<script", "url(", "@import",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(!html.contains("NaN") && !html.contains("inf "));
    for word in [
        "different QEMU processes (1 and 2)",
        "one guest (boot id 5d1f09a2)",
        "kept under 400 ms",
        "8 of 8 promises hold",
    ] {
        assert!(html.contains(word), "{word}");
    }
}

/// Empties a CSV file but for its header line.
fn empty(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, text.lines().next().unwrap().to_owned() + "\n").unwrap();
}

#[test]
fn a_run_that_showed_nothing_is_reported_as_such() {
    let dir = experiment(&FAST);
    for file in ["frames.csv", "packets.csv", "load.csv", "sent.csv"] {
        for run in ["fast-none-1", "fast-deadline-1"] {
            empty(&dir.path().join("runs").join(run).join(file));
        }
    }
    std::fs::remove_file(dir.path().join("runs/fast-none-1/decisions.jsonl")).unwrap();
    std::fs::remove_file(dir.path().join("runs/fast-none-1/migration.csv")).unwrap();
    let measured = write_all(dir.path()).unwrap();
    assert_eq!(verify(dir.path()).unwrap(), []);
    let none = run(&measured.results, "fast", "none");
    assert_eq!(
        (
            none.picture_age_ms.n,
            none.picture_age_ms.p95,
            none.frames.longest_freeze_ms
        ),
        (0, None, None)
    );
    assert_eq!((none.foreign_load, none.spoilt), (None, false));
    assert_eq!(holds(&measured.results, "fast/unmoved-explodes"), None);
    let html = report::html(&measured);
    assert!(
        !html.contains("NaN") && !html.contains("inf"),
        "a figure without a value was drawn"
    );
    assert!(terminal_table(&measured.results).contains("cannot be told: fast/unmoved-explodes"));
}

#[test]
fn words_from_files_stay_words() {
    let dir = experiment(&FAST[..1]);
    replace(
        &dir.path().join("experiment.json"),
        "Live video kept",
        "<script>alert(1)</script> kept",
    );
    let html = report::html(&write_all(dir.path()).unwrap());
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script"));
}

#[test]
fn tables_fit_a_terminal() {
    let dir = experiment(&[
        FAST[0],
        FAST[1],
        FAST[2],
        ("slow", "none", 1),
        ("slow", "deadline", 1),
    ]);
    let results = compute(dir.path()).unwrap();
    let table = terminal_table(&results);
    assert!(
        table.lines().all(|line| line.chars().count() <= 110),
        "{table}"
    );
    assert_eq!(
        table
            .lines()
            .filter(|line| line.starts_with("fast "))
            .count(),
        3
    );
    assert!(
        markdown_table(&results)
            .lines()
            .take(7)
            .all(|line| line.starts_with("| ") || line.starts_with("|---"))
    );
}

/// Keeps an example of the report to look at, in the build directory.
#[test]
fn an_example_report_is_written() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report-example");
    let _ = std::fs::remove_dir_all(&dir);
    let policies = ["none", "threshold", "deadline"];
    let plans: Vec<(&str, &str, u32)> = ["fast", "slow"]
        .iter()
        .flat_map(|profile| (1..=2).flat_map(move |n| policies.map(|policy| (*profile, policy, n))))
        .collect();
    synthetic::write_experiment(&dir, &plans);
    let measured = write_all(&dir).unwrap();
    write_report(&dir, &measured).unwrap();
    std::fs::write(dir.join("table.txt"), terminal_table(&measured.results)).unwrap();
    assert_eq!(
        report::html(&measured)
            .matches("<details class=\"run\"")
            .count(),
        12
    );
}

fn check_refused(edit: impl Fn(&Path), expected: &str) {
    let dir = experiment(&FAST[..1]);
    edit(dir.path());
    let error = compute(dir.path()).unwrap_err().to_string();
    let said = error.replace(&dir.path().display().to_string(), "DIR");
    assert!(
        said.starts_with(expected),
        "{said:?} does not start with {expected:?}"
    );
}

#[test]
fn broken_files_are_named() {
    let run = |dir: &Path, file: &str| dir.join("runs/fast-none-1").join(file);
    check_refused(
        |dir| {
            replace(
                &dir.join("experiment.json"),
                "\"budget_ms\": 200.0",
                "\"budget_ms\": 0",
            )
        },
        "DIR/experiment.json: budget_ms of `fast-none-1` is 0",
    );
    check_refused(
        |dir| std::fs::remove_file(dir.join("experiment.json")).unwrap(),
        "cannot read DIR/experiment.json",
    );
    check_refused(
        |dir| std::fs::write(dir.join("experiment.json"), "{\n\"schema\": }").unwrap(),
        "DIR/experiment.json:2: ",
    );
    check_refused(
        |dir| {
            replace(
                &dir.join("experiment.json"),
                "\"schema\": 1",
                "\"schema\": 9",
            )
        },
        "DIR/experiment.json: schema 9",
    );
    check_refused(
        |dir| {
            replace(
                &dir.join("experiment.json"),
                "\"fast-none-1\"",
                "\"../fast-none-1\"",
            )
        },
        "DIR/experiment.json: `../fast-none-1` is not the name",
    );
    check_refused(
        |dir| std::fs::remove_file(run(dir, "sent.csv")).unwrap(),
        "cannot read DIR/runs/fast-none-1/sent.csv",
    );
    check_refused(
        |dir| {
            std::fs::write(
                run(dir, "packets.csv"),
                "received_us,bytes,frame_starts\n1,2,3\n1,x,3\n",
            )
            .unwrap()
        },
        "DIR/runs/fast-none-1/packets.csv:3: field 1: invalid digit",
    );
    check_refused(
        |dir| replace(&run(dir, "phases.csv"), "load", "lead"),
        "DIR/runs/fast-none-1/phases.csv: no phase `load`",
    );
    check_refused(
        |dir| std::fs::write(run(dir, "phases.csv"), "phase,start_us,end_us\nload,5,5\n").unwrap(),
        "DIR/runs/fast-none-1/phases.csv: phase `load` ends before it starts",
    );
    check_refused(
        |dir| {
            std::fs::write(
                run(dir, "phases.csv"),
                "phase,start_us,end_us\nload,5,18446744073709551615\n",
            )
            .unwrap()
        },
        "DIR/runs/fast-none-1/phases.csv: the phases span",
    );
    check_refused(
        |dir| replace(&run(dir, "load.csv"), "machine,,0.", "machine,,7."),
        "DIR/runs/fast-none-1/load.csv: host `machine`",
    );
    check_refused(
        |dir| {
            replace(
                &run(dir, "load.csv"),
                "machine,,0.",
                "machine,,NaN,,\n0,machine,,0.",
            )
        },
        "DIR/runs/fast-none-1/load.csv",
    );
}

#[test]
fn a_delay_that_contradicts_its_instants_is_refused() {
    check_refused(
        |dir| {
            let path = dir.join("runs/fast-none-1/frames.csv");
            let mut rows: Vec<record::raw::FrameRow> = record::read_csv(&path).unwrap();
            rows[40].delay_ms = Some(1.0);
            record::file::write_csv(&path, &rows).unwrap();
        },
        "DIR/runs/fast-none-1/frames.csv: frame shown at 1750000001",
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn arbitrary_bytes_in_any_file_do_not_panic(
        file in proptest::sample::select(vec![
            "sent.csv", "frames.csv", "packets.csv", "load.csv", "migration.csv", "phases.csv", "decisions.jsonl",
        ]),
        bytes: Vec<u8>,
        at in 0..4_000_usize,
    ) {
        let dir = experiment(&FAST[2..]);
        let path = dir.path().join("runs/fast-deadline-1").join(file);
        let mut content = std::fs::read(&path).unwrap();
        let at = at.min(content.len());
        content.splice(at..(at + bytes.len()).min(content.len()), bytes);
        std::fs::write(&path, content).unwrap();
        if write_all(dir.path()).is_ok() {
            proptest::prop_assert_eq!(verify(dir.path()).unwrap(), []);
        }
    }
}

//! `measure screen`: the pictures of any player, seen on a real X server's screen.
#![cfg(feature = "media")]

use std::collections::BTreeMap;
use std::path::Path;

use record::Timestamp;
use record::raw::{FrameRow, FrameStatus, ShotRow, UnreadRow};

use crate::common::display::Display;
use crate::common::{Running, forestall, free_udp_port};

fn rows(path: &Path) -> Vec<FrameRow> {
    record::read_csv(path).unwrap()
}

/// Looks at a screen for 4 s; its exit code, what it printed, and what it complained of.
fn watch(display: &str, more: &str) -> (Option<i32>, String, String) {
    let mut command = forestall(&format!(
        "measure screen --display {display} --duration 4 {more}"
    ));
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn what_the_screen_shows_is_what_the_player_handed_over() {
    let (display, port) = (Display::start(), free_udp_port());
    let folder = tempfile::tempdir().unwrap();
    let (played, seen) = (
        folder.path().join("played.csv"),
        folder.path().join("seen.csv"),
    );
    let url = format!("udp://127.0.0.1:{port}");
    let _camera = Running::forestall(&format!(
        "capture {url} --width 320 --height 240 --bitrate 1M --gop 10 --duration 60"
    ));
    let mut player = forestall(&format!(
        "play {url} --window --duration 60 --frames-csv {}",
        played.display()
    ));
    player.env("DISPLAY", &display.name);
    let _player = Running::start(player);
    display.live_frame(std::time::Duration::from_secs(5));

    let (code, said, errors) = watch(
        &display.name,
        &format!("--json --frames-csv {}", seen.display()),
    );
    assert_eq!(code, Some(0), "{errors}");
    let (played, seen) = (rows(&played), rows(&seen));
    let figures: serde_json::Value = serde_json::from_str(&said).unwrap();
    let read = seen.iter().filter(|row| row.frame.is_some()).count();
    assert_eq!(figures["pictures"], read);
    assert!(read > 60, "half of 30 a second for 4 s: {read}");

    // Each is the player's picture, and was on the screen only once the player had it.
    let handed: BTreeMap<u32, (Option<Timestamp>, Timestamp)> = played
        .iter()
        .filter_map(|row| Some((row.frame?, (row.captured_us, row.shown_us))))
        .collect();
    for row in seen.iter().filter(|row| row.status == FrameStatus::Ok) {
        let (captured, shown) = handed[&row.frame.unwrap()];
        assert_eq!(row.captured_us, captured);
        assert!(row.shown_us >= shown, "{row:?} before {shown:?}");
    }
    let numbers: Vec<u32> = seen.iter().filter_map(|row| row.frame).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "a row for each picture");
}

/// Delay the thesis' way beside the code strips' in the same shots; a person fills in what was not read.
#[test]
fn screenshots_are_read_and_what_is_unread_can_be_filled_in() {
    let (display, port) = (Display::start(), free_udp_port());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("udp://127.0.0.1:{port}");
    let _camera = Running::forestall(&format!(
        "capture {url} --width 320 --height 240 --bitrate 1M --gop 10 --duration 60"
    ));
    let mut player = forestall(&format!("play {url} --window --duration 60"));
    player.env("DISPLAY", &display.name);
    let _player = Running::start(player);
    display.live_frame(std::time::Duration::from_secs(5));

    let out = folder.path().display();
    let line = format!("measure screenshots --display {} --out {out}", display.name);
    let shots = |more: &str| {
        forestall(&format!("{line} --json {more}"))
            .output()
            .unwrap()
    };
    let figures = |output: std::process::Output| -> serde_json::Value {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let first = figures(shots("--shots 4"));
    assert_eq!(
        (&first["shots"], &first["by_strips"]["n"]),
        (&4.into(), &4.into())
    );
    let read = first["read"].as_u64().unwrap();
    assert!(read > 0, "{first:#}");
    // Each clock says what the strip beside it says: the two ways see the same picture.
    if first["misread"] == 0 {
        let difference = first["difference"]["mean_ms"].as_f64().unwrap();
        assert!(difference.abs() <= 1.0, "{first:#}");
    }

    // As if Tesseract had read nothing of the first one.
    let (table, list) = (
        folder.path().join("shots.csv"),
        folder.path().join("unread.csv"),
    );
    let mut rows: Vec<ShotRow> = record::read_csv(&table).unwrap();
    let mut unread: Vec<UnreadRow> = record::read_csv(&list).unwrap();
    assert_eq!(unread.len() as u64, 4 - read);
    rows[0].clock.clear();
    record::file::write_csv(&table, &rows).unwrap();
    unread.retain(|row| row.number != 1);
    unread.push(UnreadRow {
        number: 1,
        png: "shots/001.png".into(),
        clock: "11:00:00.050".into(),
        picture: "11:00:00.000".into(),
    });
    assert!(folder.path().join(&unread[0].png).exists());
    record::file::write_csv(&list, &unread).unwrap();
    assert_eq!(figures(shots("--resume"))["filled_in"], 1);

    // What is there is not overwritten.
    assert_eq!(shots("--shots 1").status.code(), Some(2));
}

#[test]
fn a_screen_without_a_clock_is_said_to_have_none() {
    let display = Display::start();
    let (code, said, errors) = watch(&display.name, "");
    assert_eq!(code, Some(0), "{errors}");
    assert!(said.contains("no window with a picture"), "{said}");
}

#[test]
fn no_x_server_is_something_missing() {
    // The last number has no port that it could have.
    for display in [":59000", "nonsense", ":65535"] {
        let (code, _, errors) = watch(display, "");
        assert_eq!(code, Some(3), "{errors}");
        let named = format!("the X server '{display}'");
        assert!(errors.contains(&named), "{errors}");
    }
}

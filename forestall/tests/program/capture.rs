//! A camera whose pictures come from elsewhere: films and standard input.
#![cfg(feature = "media")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Running, check, forestall, free_udp_port, wait_for_frames};

/// The player has its socket by then.
const READY: Duration = Duration::from_millis(500);

fn play(url: &str, frames: &Path) -> Running {
    Running::forestall(&format!(
        "play {url} --frames-csv {} --duration 40",
        frames.display()
    ))
}

/// A film of two seconds, as FFmpeg's test picture.
fn film(folder: &Path) -> PathBuf {
    let path = folder.join("a film.mkv");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i"])
        .args(["testsrc2=size=320x240:rate=25:duration=2", "-c:v", "mpeg4"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    path
}

#[test]
fn a_film_is_played_in_real_time_and_its_age_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (port, rows, sent) = (
        free_udp_port(),
        folder.path().join("frames.csv"),
        folder.path().join("sent.csv"),
    );
    let player = play(&format!("udp://127.0.0.1:{port}"), &rows);
    thread::sleep(READY);
    let begun = Instant::now();
    let output = forestall(&format!(
        "capture udp://127.0.0.1:{port} --code-strip --input"
    ))
    .arg(film(folder.path()))
    .arg("--sent-csv")
    .arg(&sent)
    .output()
    .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        begun.elapsed() >= Duration::from_millis(1800),
        "in real time"
    );
    let sent = fs::read_to_string(sent).unwrap().lines().count() - 1;
    assert_eq!(sent, 50, "25 a second for two seconds");
    wait_for_frames(&rows, 40);
    player.end();
}

#[test]
fn pictures_on_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let (port, rows) = (free_udp_port(), folder.path().join("frames.csv"));
    let player = play(&format!("udp://127.0.0.1:{port}"), &rows);
    thread::sleep(READY);
    let mut source = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i"])
        .args([
            "testsrc2=size=320x240:rate=30:duration=2",
            "-pix_fmt",
            "yuv420p",
        ])
        .args(["-f", "yuv4mpegpipe", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = forestall(&format!(
        "capture udp://127.0.0.1:{port} --code-strip --codec h264 --input -"
    ))
    .stdin(source.stdout.take().unwrap())
    .output()
    .unwrap();
    assert!(output.status.success(), "{output:?}");
    source.wait().unwrap();
    wait_for_frames(&rows, 40);
    player.end();
}

#[test]
fn pictures_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.mp4");
    fs::write(&text, "no film").unwrap();
    let capture = "capture udp://127.0.0.1:9 --input";
    check(&format!("{capture} {}", text.display()), 1, "ended early");
    check(
        &format!("{capture} absent.mp4"),
        3,
        "cannot read absent.mp4",
    );
    check(
        &format!("{capture} /dev/video99"),
        3,
        "cannot read /dev/video99",
    );
    check(
        &format!("{capture} {} --width 640", text.display()),
        2,
        "have their own size",
    );
    let output = forestall(&format!("{capture} -"))
        .stdin(fs::File::open(&text).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no YUV4MPEG2 stream"), "{said}");
}

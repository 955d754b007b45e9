//! What the video commands answer to a shell.
#![cfg(feature = "media")]

use std::fs;
use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::{Running, free_tcp_port, free_udp_port, wait_for};

fn forestall(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forestall"));
    command.args(arguments.split_whitespace());
    command
}

fn check(arguments: &str, code: i32, expected: &str) {
    let Output { status, stderr, .. } = forestall(arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{arguments}: {stderr}");
    assert!(stderr.contains(expected), "{arguments}: {stderr}");
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn exit_codes_and_messages() {
    check("capture", 2, "required");
    check("capture srt://127.0.0.1:5000", 2, "SRT is not spoken here");
    check("capture udp://127.0.0.1:5000 --bitrate fast", 2, "600k");
    check(
        "capture udp://127.0.0.1:5000 --width 33",
        2,
        "error: width must be an even number from 48 to 2048, not 33",
    );
    check(
        "capture udp://127.0.0.1:5000 --font /no/such.ttf",
        3,
        "apt install fonts-dejavu-core",
    );
    check("overlay udp://127.0.0.1:5000", 2, "OUTPUT");
    check(
        "overlay udp://127.0.0.1:5000 udp://127.0.0.1:5001 --boot-id-file x",
        2,
        "--runner-file",
    );
    check(
        "play udp://192.0.2.1:5000",
        1,
        "error: cannot open a socket for udp://192.0.2.1:5000: ",
    );
    check(
        "play udp://127.0.0.1:5000 --frames-csv /no/such/f.csv",
        1,
        "cannot write /no/such/f.csv",
    );
    check(
        &format!("play udp://127.0.0.1:{} --duration 0", free_port()),
        0,
        "play: 0 frames in",
    );
}

#[test]
fn statistics_are_json_and_a_signal_ends_in_order() {
    let url = format!("udp://127.0.0.1:{}", free_port());
    let mut play = forestall(&format!("play {url} --stats json --duration 30"));
    let mut play = play
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let camera = forestall(&format!(
        "capture {url} --width 160 --height 120 --duration 2.5"
    ))
    .output()
    .unwrap();
    assert!(camera.status.success());
    assert!(
        Command::new("kill")
            .args(["-TERM", &play.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(play.wait().unwrap().code(), Some(130));
    let mut lines = String::new();
    play.stdout
        .take()
        .unwrap()
        .read_to_string(&mut lines)
        .unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["stage"], "play");
    assert_eq!(last["frames_held"], 0);
    assert!(last["frames_out"].as_u64().unwrap() > 0);
    for figure in [
        "stage_ms_p50",
        "stage_ms_p95",
        "stage_ms_p99",
        "picture_age_ms",
    ] {
        assert!(last[figure].is_f64(), "{figure}: {last}");
    }
}

/// The last report in a file that grows.
fn last_report(path: &Path) -> Option<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.get(..text.rfind('\n')?)?;
    Some(serde_json::from_str(whole.lines().last()?).unwrap())
}

#[test]
fn each_stage_prints_its_figures_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let ([into_overlay, into_relay, into_server], port) =
        ([(); 3].map(|()| free_udp_port()), free_tcp_port());
    let udp = |port: u16| format!("udp://127.0.0.1:{port}");
    let start = |name: &str, arguments: &str| {
        let path = folder.path().join(name);
        let mut command = forestall(&format!("{name} {arguments} --stats json"));
        command.stdout(fs::File::create(&path).unwrap());
        command.stderr(Stdio::null());
        (Running::start(command), path)
    };
    let mut stages = vec![
        start(
            "serve",
            &format!("127.0.0.1:{port} --stream robot={}", udp(into_server)),
        ),
        start(
            "relay",
            &format!("{} {}", udp(into_relay), udp(into_server)),
        ),
        start(
            "overlay",
            &format!("{} {}", udp(into_overlay), udp(into_relay)),
        ),
        start(
            "capture",
            &format!("{} --width 160 --height 120", udp(into_overlay)),
        ),
    ];
    wait_for("the server listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    stages.push(start("play", &format!("http://127.0.0.1:{port}/robot.ts")));
    for (_, path) in &stages {
        // The first second of a stage need not have a picture in it.
        let has_pictures = |report: &serde_json::Value| report["frames_recent"].as_u64() > Some(5);
        let mut found = None;
        wait_for("a second with pictures", || {
            found = last_report(path).filter(has_pictures);
            found.is_some()
        });
        let report = found.unwrap();
        assert_eq!(path.file_name().unwrap(), report["stage"].as_str().unwrap());
        for count in [
            "time_us",
            "frames_in",
            "frames_out",
            "frames_dropped",
            "frames_damaged",
            "datagrams_dropped",
            "packets_lost",
            "frames_held",
        ] {
            assert!(report[count].is_u64(), "{count}: {report}");
        }
        for figure in ["stage_ms_p50", "stage_ms_p95", "stage_ms_p99"] {
            assert!(report[figure].is_f64(), "{figure}: {report}");
        }
        let bits = report["bitrate_bps"].as_u64().unwrap();
        assert!((50_000..5_000_000).contains(&bits), "{report}");
    }
    for (stage, path) in stages {
        assert_eq!(stage.end(), Some(130), "{}", path.display());
    }
}

#[test]
fn help_has_examples() {
    for (command, address) in [
        ("capture", "udp://"),
        ("overlay", "udp://"),
        ("relay", "udp://"),
        ("serve", "0.0.0.0:"),
        ("play", "udp://"),
    ] {
        let Output { status, stdout, .. } =
            forestall(&format!("{command} --help")).output().unwrap();
        assert!(status.success());
        assert!(
            String::from_utf8(stdout)
                .unwrap()
                .contains(&format!("forestall {command} {address}"))
        );
    }
}

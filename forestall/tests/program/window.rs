//! `play --window` on a real X server: what one sees there is read back from its screen.
#![cfg(feature = "media")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::common::display::{Area, Display, Shot};
use crate::common::{Running, forestall, frames, free_udp_port, wait_for, wait_for_frames};
use nix::sys::signal::Signal;

/// A picture on the screen that was taken longer ago, which is 30 frames, does not count as live.
const LIVE: Duration = Duration::from_secs(1);
/// More resident memory than this is growth; a picture of 320x240 on its way takes a fiftieth of it.
const GROWTH_KIB_MAX: u64 = 16 << 10;
/// Signs of keys (`X11/keysymdef.h`).
const Q: u32 = 0x71;
const ESCAPE: u32 = 0xff1b;

/// A player with a window.
struct Player {
    process: Running,
    folder: tempfile::TempDir,
}

impl Player {
    fn start(display: &str, url: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = forestall(&format!("play {url} --window --duration 120 --frames-csv"));
        command
            .arg(folder.path().join("frames.csv"))
            .args(options)
            .env("DISPLAY", display)
            .stderr(File::create(folder.path().join("said")).unwrap());
        let process = Running::start(command);
        Self { process, folder }
    }

    fn rows(&self) -> PathBuf {
        self.folder.path().join("frames.csv")
    }

    /// Its exit code and what it said, once it has ended by itself; its rows are whole.
    fn ended(mut self) -> (Option<i32>, String) {
        wait_for("the player ends", || {
            self.process.0.try_wait().unwrap().is_some()
        });
        let code = self.process.0.wait().unwrap().code();
        let said = fs::read_to_string(self.folder.path().join("said")).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        let rows = fs::read_to_string(self.rows()).unwrap();
        assert!(rows.ends_with('\n'), "{rows}");
        (code, said)
    }

    fn tell(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.process.0.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

fn camera(port: u16, size: &str) -> Running {
    Running::forestall(&format!(
        "capture udp://127.0.0.1:{port} {size} --gop 10 --duration 120"
    ))
}

const SMALL: &str = "--width 160 --height 120 --bitrate 600k";
const MEDIUM: &str = "--width 320 --height 240 --bitrate 1M";

#[test]
fn a_window_shows_what_the_camera_takes_now() {
    let (display, port) = (Display::start(), free_udp_port());
    let url = format!("udp://127.0.0.1:{port}");
    let player = Player::start(&display.name, &url, &[]);
    let _camera = camera(port, MEDIUM);
    let first = display.live_frame(LIVE);
    wait_for("it goes on", || display.live_frame(LIVE) > first + 10);
    let last = display.live_frame(LIVE);
    assert_eq!(display.shots()[0].size(), (320, 240));
    // A larger window has the picture in its middle, on black.
    display.resize(420, 300);
    let is_framed = |shot: &Shot| {
        let middle = Area {
            x: 50,
            y: 30,
            width: 320,
            height: 240,
        };
        let black = Some([0; 3]);
        shot.size() == (420, 300)
            && shot.pixels().next() == black
            && shot.pixels().last() == black
            && shot
                .part(&middle)
                .and_then(|picture| picture.capture_strip())
                .is_some_and(|strip| strip.b > last)
    };
    wait_for("the picture is in the middle", || {
        display.shots().iter().any(is_framed)
    });
    wait_for("the title says the age", || {
        let title = display.title();
        title.starts_with(&url) && title.ends_with(" ms")
    });
    display.press_close();
    let rows = player.rows();
    wait_for_frames(&rows, 10);
    let shown = frames(&rows);
    assert!(shown.iter().any(|row| row.frame == Some(last)));
    let (code, said) = player.ended();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn keys_end_it_and_another_decoder_is_shown_too() {
    let (display, port) = (Display::start(), free_udp_port());
    let url = format!("udp://127.0.0.1:{port}");
    let _camera = camera(port, SMALL);
    let ffmpeg = "ffmpeg -v error -probesize 100k -f mpegts -i - -f rawvideo -pix_fmt yuv420p -";
    let outside = [
        "--width",
        "160",
        "--height",
        "120",
        "--decoder-command",
        ffmpeg,
    ];
    for (options, key) in [(&[][..], Q), (&outside[..], ESCAPE)] {
        let player = Player::start(&display.name, &url, options);
        wait_for("a picture on the screen", || display.strip().is_some());
        display.press(key);
        let (code, said) = player.ended();
        assert_eq!(code, Some(0), "{said}");
    }
}

/// A colour test picture by `ffmpeg`, of this size.
fn bars(port: u16, size: &str) -> Running {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i"])
        .arg(format!("smptebars=size={size}:rate=10"))
        .args("-c:v mpeg2video -b:v 4M -g 5 -f mpegts".split(' '))
        .arg(format!("udp://127.0.0.1:{port}?pkt_size=1316"));
    Running::start(command)
}

/// The seven upper bars of SMPTE EG 1: three quarters of white, yellow, cyan, green, magenta, red, blue.
const BARS: [[u8; 3]; 7] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
];

fn shows_bars(shot: &Shot, size: (u16, u16)) -> bool {
    let (width, height) = shot.size();
    (width, height) == size
        && (0..7).all(|bar| {
            let (x, y) = ((2 * bar + 1) * width / 14, height / 3);
            let at = usize::from(y) * usize::from(width) + usize::from(x);
            let is = shot.pixels().nth(at).unwrap();
            let wanted = BARS[usize::from(bar)];
            is.into_iter()
                .zip(wanted)
                .all(|(is, wanted)| is.abs_diff(wanted) <= 12)
        })
}

#[test]
fn colours_are_right_and_a_new_size_resizes_the_window() {
    let (display, port) = (Display::start(), free_udp_port());
    let player = Player::start(&display.name, &format!("udp://127.0.0.1:{port}"), &[]);
    for (name, size) in [
        ("320x240", (320, 240)),
        ("160x120", (160, 120)),
        ("640x360", (640, 360)),
    ] {
        let source = bars(port, name);
        wait_for(&format!("the bars at {name}"), || {
            display.shots().iter().any(|shot| shows_bars(shot, size))
        });
        drop(source);
    }
    display.press_close();
    assert_eq!(player.ended().0, Some(0));
}

#[test]
fn an_x_server_that_ends_ends_the_player_with_its_reason() {
    let (display, port) = (Display::start(), free_udp_port());
    let player = Player::start(&display.name, &format!("udp://127.0.0.1:{port}"), &[]);
    let _camera = camera(port, SMALL);
    display.live_frame(LIVE);
    let name = display.name.clone();
    drop(display);
    let (code, said) = player.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("the X server {name} has gone")),
        "{said}"
    );
}

#[test]
fn an_x_server_that_stands_still_holds_nothing_up() {
    let (display, port) = (Display::start(), free_udp_port());
    let player = Player::start(&display.name, &format!("udp://127.0.0.1:{port}"), &[]);
    let _camera = camera(port, MEDIUM);
    display.live_frame(LIVE);
    let (memory, before) = (player.process.memory_kib(), frames(&player.rows()).len());
    display.signal(Signal::SIGSTOP);
    wait_for("the player goes on", || {
        frames(&player.rows()).len() > before + 90
    });
    let grown = player.process.memory_kib().saturating_sub(memory);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
    display.signal(Signal::SIGCONT);
    display.live_frame(LIVE);
    display.signal(Signal::SIGSTOP);
    player.tell(Signal::SIGINT);
    let (code, said) = player.ended();
    assert_eq!(code, Some(130), "{said}");
    assert!(
        said.contains(" dropped, ") && !said.contains(" 0 dropped, "),
        "{said}"
    );
}

/// What a player with this `DISPLAY` says, which has nothing to show anything on.
fn check_refusal(display: Option<&str>, expected: &[&str]) {
    let mut command = forestall(&format!(
        "play udp://127.0.0.1:{} --window",
        free_udp_port()
    ));
    match display {
        Some(display) => command.env("DISPLAY", display),
        None => command.env_remove("DISPLAY"),
    };
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for expected in expected.iter().chain(&["leave --window out"]) {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn no_x_server_is_told_with_what_to_do() {
    check_refusal(None, &["DISPLAY is not set"]);
    check_refusal(Some(""), &["DISPLAY is not set"]);
    check_refusal(Some("nonsense"), &["the X server nonsense", "parse"]);
    check_refusal(Some(":65535"), &["the X server :65535", "65535"]);
    // A port that nobody listens at, and one where nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.local_addr().unwrap().port() - 6000;
    let name = format!("127.0.0.1:{number}");
    check_refusal(Some(&name), &[&name, "it did not answer"]);
    drop(listener);
    check_refusal(Some(&name), &[&name, "refused"]);
}

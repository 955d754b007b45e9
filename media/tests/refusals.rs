//! What is refused, and what a person is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use forestall_media::capture::{self, CaptureConfig, CaptureSink};
use forestall_media::identity::{Identity, IdentityFiles};
use forestall_media::play::{self, PlayConfig, PlayDecoder};
use forestall_media::text::DEFAULT_FONT;
use forestall_media::{ErrorKind, MediaError, StatsOutput, StreamUrl};

/// The message with its causes.
fn text(error: &MediaError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn check(result: Result<impl Sized, MediaError>, kind: ErrorKind, expected: &str) {
    let Err(error) = result else {
        panic!("expected an error: {expected}")
    };
    assert!(text(&error).contains(expected), "{}", text(&error));
    assert_eq!(error.kind(), kind);
}

fn capture_config() -> CaptureConfig {
    CaptureConfig {
        sink: CaptureSink::Program {
            command: "cat > /dev/null".to_owned(),
        },
        width: 160,
        height: 120,
        fps: 30,
        font: DEFAULT_FONT.into(),
        sent_csv: None,
        duration: Some(Duration::from_secs(10)),
        stats: StatsOutput::Off,
    }
}

fn capture(config: CaptureConfig) -> Result<(), MediaError> {
    capture::run(&config, &AtomicBool::new(false)).map(|_| ())
}

fn play(input: &str, decoder: PlayDecoder) -> Result<(), MediaError> {
    let config = PlayConfig {
        input: input.parse().unwrap(),
        decoder,
        playout: None,
        window: false,
        frames_csv: None,
        packets_csv: None,
        png: None,
        duration: Some(Duration::from_secs(10)),
        stats: StatsOutput::Off,
        reporting: None,
    };
    play::run(&config, &AtomicBool::new(false)).map(|_| ())
}

#[test]
fn wrong_address() {
    check(
        "srt://127.0.0.1:80".parse::<StreamUrl>(),
        ErrorKind::Config,
        "'srt://127.0.0.1:80' is not a video address",
    );
    // An address of documentation: nobody has it.
    check(
        play("udp://192.0.2.1:5000", PlayDecoder::BuiltIn),
        ErrorKind::Failed,
        "cannot open a socket",
    );
}

#[test]
fn missing_font() {
    let config = CaptureConfig {
        font: "/no/such/font.ttf".into(),
        ..capture_config()
    };
    check(
        capture(config),
        ErrorKind::Missing,
        "apt install fonts-dejavu-core",
    );
}

#[test]
fn not_a_font() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.ttf");
    fs::write(&path, "no font").unwrap();
    check(
        capture(CaptureConfig {
            font: path,
            ..capture_config()
        }),
        ErrorKind::Config,
        "not a TrueType",
    );
}

#[test]
fn wrong_size() {
    for (width, height) in [
        (161, 120),
        (0, 0),
        (160, 40),
        (100_000, 120),
        (u32::MAX, u32::MAX),
    ] {
        let config = CaptureConfig {
            width,
            height,
            ..capture_config()
        };
        check(capture(config), ErrorKind::Config, "must be an even number");
    }
}

#[test]
fn a_picture_without_room_for_the_strip() {
    let config = CaptureConfig {
        width: 2048,
        height: 48,
        ..capture_config()
    };
    check(
        capture(config),
        ErrorKind::Config,
        "higher than a fifth of its width",
    );
}

#[test]
fn wrong_frame_rate() {
    check(
        capture(CaptureConfig {
            fps: 0,
            ..capture_config()
        }),
        ErrorKind::Config,
        "fps must be from 1 to 120, not 0",
    );
}

#[test]
fn missing_folder() {
    let config = CaptureConfig {
        sent_csv: Some("/no/such/folder/sent.csv".into()),
        ..capture_config()
    };
    check(
        capture(config),
        ErrorKind::Failed,
        "cannot write /no/such/folder/sent.csv",
    );
}

#[test]
fn an_encoder_that_ends() {
    let command = "exit 7".to_owned();
    let config = CaptureConfig {
        sink: CaptureSink::Program { command },
        ..capture_config()
    };
    check(
        capture(config),
        ErrorKind::Failed,
        "'exit 7' ended early: exit status: 7",
    );
}

#[test]
fn a_decoder_that_ends() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let decoder = PlayDecoder::Program {
        command: "exit 7".to_owned(),
        width: 160,
        height: 120,
    };
    check(
        play(&format!("udp://127.0.0.1:{port}"), decoder),
        ErrorKind::Failed,
        "'exit 7' ended early: exit status: 7",
    );
}

#[test]
fn missing_identity() {
    let files = IdentityFiles {
        boot_id: "/no/such/boot".into(),
        runner: "/no/such/runner".into(),
    };
    check(
        Identity::open(&files),
        ErrorKind::Missing,
        "cannot read /no/such/boot",
    );
}

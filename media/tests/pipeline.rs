//! The stages together, over loopback UDP. Nothing here depends on how fast the machine is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forestall_media::capture::{self, CaptureConfig, CaptureSink};
use forestall_media::identity::IdentityFiles;
use forestall_media::overlay::{self, Label, OverlayConfig};
use forestall_media::play::{self, PlayConfig, PlayDecoder};
use forestall_media::text::DEFAULT_FONT;
use forestall_media::{MediaError, StatsOutput, StreamUrl, Totals};
use record::raw::{FrameRow, FrameStatus, PacketRow, SentRow};
use serde::de::DeserializeOwned;
use wire::mpegts::VideoCodec;

const GOP: u32 = 10;
const FPS: u32 = 30;
/// Whatever happens, a test ends after this.
const GIVE_UP: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn url(port: u16) -> StreamUrl {
    format!("udp://127.0.0.1:{port}").parse().unwrap()
}

fn rows<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    // The file may be growing: its last line may not be whole.
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    csv::Reader::from_reader(whole.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect()
}

/// A folder for the files of a test, and settings that fit it.
struct Bench {
    dir: tempfile::TempDir,
    codec: VideoCodec,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("boot"),
            "1a2b3c4d-5555-4666-8777-888899990000\n",
        )
        .unwrap();
        fs::write(dir.path().join("runner"), "1\n").unwrap();
        let codec = VideoCodec::Mpeg2;
        Self { dir, codec }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn capture(&self, sink: CaptureSink) -> CaptureConfig {
        CaptureConfig {
            sink,
            width: 160,
            height: 120,
            fps: FPS,
            font: DEFAULT_FONT.into(),
            sent_csv: Some(self.file("sent.csv")),
            duration: Some(GIVE_UP),
            stats: StatsOutput::Off,
        }
    }

    fn udp(&self, output: u16) -> CaptureConfig {
        self.capture(CaptureSink::Network {
            output: url(output),
            codec: self.codec,
            bitrate: 300_000,
            gop: GOP,
        })
    }

    fn overlay(&self, input: u16, output: u16) -> OverlayConfig {
        OverlayConfig {
            input: url(input),
            output: url(output),
            label: Label {
                text: "Robot 7 – Grüße".to_owned(),
                ..Label::default()
            },
            control: None,
            font: DEFAULT_FONT.into(),
            codec: self.codec,
            bitrate: 300_000,
            gop: 300,
            identity: Some(IdentityFiles {
                boot_id: self.file("boot"),
                runner: self.file("runner"),
            }),
            duration: Some(GIVE_UP),
            stats: StatsOutput::Off,
        }
    }

    fn play(&self, input: u16) -> PlayConfig {
        PlayConfig {
            input: url(input),
            decoder: PlayDecoder::BuiltIn,
            playout: None,
            window: false,
            frames_csv: Some(self.file("frames.csv")),
            packets_csv: Some(self.file("packets.csv")),
            png: Some(self.file("last.png")),
            duration: Some(GIVE_UP),
            stats: StatsOutput::Off,
            reporting: None,
        }
    }

    fn frames(&self) -> Vec<FrameRow> {
        rows(&self.file("frames.csv"))
    }

    /// Waits until the frames shown are as wanted.
    fn wait(&self, what: &str, wanted: impl Fn(&[FrameRow]) -> bool) {
        let start = Instant::now();
        while !wanted(&self.frames()) {
            assert!(
                start.elapsed() < GIVE_UP,
                "{what}: only {:?}",
                self.frames().last()
            );
            thread::sleep(POLL);
        }
    }
}

/// Sets its flag when it goes, also when a test fails, so that the stages end.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Stage<'a> = dyn Fn(&AtomicBool) -> Result<Totals, MediaError> + Sync + 'a;

/// Runs the stages while `body` runs, and returns what they did.
fn while_running<const N: usize>(stages: [&Stage<'_>; N], body: impl FnOnce()) -> [Totals; N] {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = stages.map(|stage| {
            let handle = scope.spawn(|| stage(&stop));
            thread::sleep(POLL); // Receivers first.
            handle
        });
        {
            let _stop = StopOnDrop(&stop);
            body();
        }
        running.map(|handle| handle.join().unwrap().unwrap())
    })
}

/// Passes datagrams on from one port to another, without a share of them while `is_losing`.
fn lossy_link(
    input: u16,
    output: u16,
    lost_percent: u64,
    is_losing: &AtomicBool,
    stop: &AtomicBool,
) {
    let socket = UdpSocket::bind(("127.0.0.1", input)).unwrap();
    socket.set_read_timeout(Some(POLL)).unwrap();
    let mut buffer = [0; 2000];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if !is_losing.load(Ordering::Relaxed) || (random >> 33) % 100 >= lost_percent {
            socket
                .send_to(&buffer[..length], ("127.0.0.1", output))
                .unwrap();
        }
    }
}

#[test]
fn every_frame_is_read_with_its_number_and_origin() {
    check_frames(VideoCodec::Mpeg2);
}

#[test]
fn every_frame_of_h264_is_read_with_its_number_and_origin() {
    check_frames(VideoCodec::H264);
}

fn check_frames(codec: VideoCodec) {
    let bench = Bench {
        codec,
        ..Bench::new()
    };
    let (into_overlay, into_play) = (free_port(), free_port());
    let (play, overlay, capture) = (
        bench.play(into_play),
        bench.overlay(into_overlay, into_play),
        bench.udp(into_overlay),
    );
    let totals = while_running(
        [
            &|stop| play::run(&play, stop),
            &|stop| overlay::run(&overlay, stop),
            &|stop| capture::run(&capture, stop),
        ],
        || {
            bench.wait("thirty frames", |frames| frames.len() >= 30);
            fs::write(bench.file("runner"), "2\n").unwrap();
            bench.wait("the second runner", |frames| {
                frames.iter().filter(|f| f.runner == Some(2)).count() >= 30
            });
        },
    );
    let frames = bench.frames();
    assert_eq!(frames[0].frame, Some(0), "the first picture is shown");
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(
            (frame.frame, frame.status),
            (Some(at as u32), FrameStatus::Ok)
        );
        assert_eq!(frame.boot.as_deref(), Some("1a2b3c4d"));
    }
    let runners: Vec<u32> = frames.iter().map(|frame| frame.runner.unwrap()).collect();
    assert!(runners.is_sorted() && runners[0] == 1, "{runners:?}");
    let sent: Vec<SentRow> = rows(&bench.file("sent.csv"));
    for frame in &frames {
        assert_eq!(
            Some(sent[frame.frame.unwrap() as usize].captured_us),
            frame.captured_us
        );
    }
    let packets: Vec<PacketRow> = rows(&bench.file("packets.csv"));
    // The end may come between the first and the last datagram of a frame.
    let starts = packets.iter().map(|p| p.frame_starts).sum::<u32>() as usize;
    assert!(
        (frames.len()..=frames.len() + 1).contains(&starts),
        "{starts}"
    );
    assert!(packets.is_sorted_by_key(|packet| packet.received_us));
    assert_eq!((totals[0].frames_dropped, totals[1].frames_dropped), (0, 0));
    assert!(
        fs::read(bench.file("last.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
}

/// Video goes on under loss, and comes back clean after it.
fn check_loss(lost_percent: u64) {
    let bench = Bench::new();
    let ports = [(); 4].map(|()| free_port());
    let (play, overlay, capture) = (
        bench.play(ports[3]),
        bench.overlay(ports[1], ports[2]),
        bench.udp(ports[0]),
    );
    let is_losing = AtomicBool::new(true);
    let link = |input, output, stop: &AtomicBool| {
        lossy_link(input, output, lost_percent, &is_losing, stop);
        Ok(Totals::default())
    };
    while_running(
        [
            &|stop| play::run(&play, stop),
            &|stop| link(ports[2], ports[3], stop),
            &|stop| overlay::run(&overlay, stop),
            &|stop| link(ports[0], ports[1], stop),
            &|stop| capture::run(&capture, stop),
        ],
        || {
            bench.wait("frames under loss", |frames| {
                frames.len() >= 20 && frames.iter().any(|f| f.status != FrameStatus::Ok)
            });
            is_losing.store(false, Ordering::Relaxed);
            let clean = 3 * GOP as usize;
            bench.wait("clean frames after loss", |frames| {
                frames.len() > clean
                    && frames[frames.len() - clean..]
                        .iter()
                        .all(|f| f.status == FrameStatus::Ok)
            });
        },
    );
    let sent: Vec<SentRow> = rows(&bench.file("sent.csv"));
    for frame in bench.frames() {
        let Some(number) = frame.frame else { continue };
        assert_eq!(
            Some(sent[number as usize].captured_us),
            frame.captured_us,
            "frame {number} lies about its age"
        );
    }
}

#[test]
fn five_percent_loss() {
    check_loss(5);
}

#[test]
fn thirty_percent_loss() {
    check_loss(30);
}

#[test]
fn the_camera_may_go_and_come_back() {
    let bench = Bench::new();
    let (into_overlay, into_play) = (free_port(), free_port());
    let (play, overlay) = (
        bench.play(into_play),
        bench.overlay(into_overlay, into_play),
    );
    let short = CaptureConfig {
        duration: Some(Duration::from_millis(500)),
        ..bench.udp(into_overlay)
    };
    let running = AtomicBool::new(false);
    while_running(
        [&|stop| play::run(&play, stop), &|stop| {
            overlay::run(&overlay, stop)
        }],
        || {
            for round in 1..=2 {
                capture::run(&short, &running).unwrap();
                bench.wait("a stream that begins", |frames| {
                    frames
                        .iter()
                        .filter(|f| f.frame == Some(2) && f.status == FrameStatus::Ok)
                        .count()
                        == round
                });
            }
        },
    );
}

fn ffmpeg_encoder(port: u16) -> String {
    // Stock settings but for B-frames, which MPEG-2 has none of by default: PES without length, its own key pictures.
    format!(
        "ffmpeg -nostdin -v error -f rawvideo -pix_fmt yuv420p -s 160x120 -r {FPS} -i pipe:0 \
         -c:v mpeg2video -b:v 600k -f mpegts 'udp://127.0.0.1:{port}?pkt_size=1316'"
    )
}

#[test]
fn a_stream_of_stock_ffmpeg_is_shown() {
    let bench = Bench::new();
    let port = free_port();
    let play = bench.play(port);
    let capture = bench.capture(CaptureSink::Program {
        command: ffmpeg_encoder(port),
    });
    while_running(
        [&|stop| play::run(&play, stop), &|stop| {
            capture::run(&capture, stop)
        }],
        || {
            bench.wait("frames of ffmpeg", |frames| frames.len() >= 40);
        },
    );
    let frames = bench.frames();
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(
            (frame.frame, frame.status),
            (Some(at as u32), FrameStatus::Ok)
        );
        assert_eq!(frame.boot, None);
    }
    let sent: Vec<SentRow> = rows(&bench.file("sent.csv"));
    assert!(sent.iter().all(|row| row.bytes.is_none()));
}

#[test]
fn an_outside_decoder_shows_our_stream() {
    let bench = Bench::new();
    let port = free_port();
    let command = "ffmpeg -nostdin -v error -f mpegts -probesize 32k -analyzeduration 0 -i pipe:0 \
                   -f rawvideo -pix_fmt yuv420p pipe:1";
    let decoder = PlayDecoder::Program {
        command: command.to_owned(),
        width: 160,
        height: 120,
    };
    let play = PlayConfig {
        decoder,
        ..bench.play(port)
    };
    let capture = bench.udp(port);
    while_running(
        [&|stop| play::run(&play, stop), &|stop| {
            capture::run(&capture, stop)
        }],
        || {
            bench.wait("frames through ffmpeg", |frames| {
                frames
                    .iter()
                    .filter(|frame| frame.status == FrameStatus::Ok)
                    .count()
                    >= 30
            });
        },
    );
    let numbers: Vec<u32> = bench
        .frames()
        .iter()
        .filter_map(|frame| frame.frame)
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(!rows::<PacketRow>(&bench.file("packets.csv")).is_empty());
}

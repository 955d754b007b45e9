//! Does a stage hold frames? Seen from outside: a frame goes in and has to come out before the next goes in.
//!
//! A stage that holds frames does so always, and one that does not may be late on a busy machine: the figure is the median over frames, and
//! how many were late stands beside it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use record::Timestamp;
use serde::Serialize;
use wire::code_strip::{Place, expand_time_us};
use wire::mpegts::{DATAGRAM_BYTES_MAX, Reader, UnitKind, VideoCodec, Writer, ticks_from_micros};

use super::chain::{self, ByCodec};
use super::process::{Stage, tcp_port, udp_port, udp_socket, wait_for_listener};
use super::stages::STAGES;
use super::{Bench, BenchError, FPS};
use crate::clock_picture::ClockPicture;
use crate::codec::{Decoder, Encoder, EncoderConfig};
use crate::text::{DEFAULT_FONT, Font};

const FRAMES: u32 = 60;
/// A frame that has not come out after this is held until another goes in.
const PATIENCE: Duration = Duration::from_millis(300);
const PERIOD: Duration = Duration::from_micros(1_000_000 / FPS as u64);
/// A process that was started is ready to receive after this.
const READY: Duration = Duration::from_millis(700);

const CODECS: [(&str, VideoCodec); 2] = [("mpeg2", VideoCodec::Mpeg2), ("h264", VideoCodec::H264)];

/// Frames that a stage holds, whichever codec it is worse with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the stages'")]
pub struct HeldFrames {
    pub capture: Option<u32>,
    pub overlay: Option<u32>,
    pub relay: Option<u32>,
    pub serve: Option<u32>,
    pub play: Option<u32>,
}

/// Frames that a stage holds with one codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Median over the frames.
    pub median: u32,
    /// Frames that came out only after the next had gone in.
    pub late: u32,
    /// Frames.
    pub n: u32,
}

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(HeldFrames, ByCodec<Held>), BenchError> {
    let (mut worst, mut all) = (HeldFrames::default(), BTreeMap::new());
    for codec in CODECS {
        let mut by_stage = BTreeMap::new();
        for name in STAGES {
            let mut held = None;
            if bench.options.codecs.contains(&codec.0) {
                (bench.say)(&format!("frames held by {name}, {}", codec.0));
                let seen = match name {
                    "capture" => capture(bench, codec),
                    "play" => play(bench, codec.1),
                    _ => passed_through(bench, name, codec),
                };
                let what = format!("what {name} holds with {}", codec.0);
                held = bench.or_note(&what, seen)?.and_then(Held::of);
            }
            by_stage.insert(name, held);
            let median = held.map(|held| held.median);
            let figure = match name {
                "capture" => &mut worst.capture,
                "overlay" => &mut worst.overlay,
                "relay" => &mut worst.relay,
                "serve" => &mut worst.serve,
                _ => &mut worst.play,
            };
            *figure = median.max(*figure);
        }
        all.insert(codec.0, by_stage);
    }
    Ok((worst, all))
}

impl Held {
    /// Of each frame's count of those that went in before it came out.
    fn of(mut held: Vec<u32>) -> Option<Self> {
        held.sort_unstable();
        Some(Self {
            median: *held.get(held.len() / 2)?,
            late: held.iter().filter(|held| **held > 0).count() as u32,
            n: held.len() as u32,
        })
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> BenchError {
    move |source| BenchError::Io {
        what: what.into(),
        source,
    }
}

/// A camera in this process: a frame when it is told to.
struct Camera {
    picture: ClockPicture,
    encoder: Encoder,
    writer: Writer,
    socket: UdpSocket,
    to: u16,
    number: u32,
}

impl Camera {
    fn new(to: u16, codec: VideoCodec) -> Result<Self, BenchError> {
        let font = Font::load(std::path::Path::new(DEFAULT_FONT))?;
        let config = EncoderConfig {
            codec,
            width: 640,
            height: 480,
            fps: (FPS, 1),
            bitrate: 2_000_000,
            gop: 30,
        };
        Ok(Self {
            picture: ClockPicture::new(config.width, config.height, &font)?,
            encoder: Encoder::open(&config).map_err(crate::MediaError::from)?,
            writer: Writer::new(config.codec),
            socket: udp_socket()?.0,
            to,
            number: 0,
        })
    }

    /// Sends the next frame; returns its number.
    fn send(&mut self) -> Result<u32, BenchError> {
        let number = self.number;
        self.number += 1;
        let now = Timestamp::now();
        let picture = self.picture.take(now, number)?;
        let coded = self
            .encoder
            .encode(picture, UnitKind::Predicted)
            .map_err(crate::MediaError::from)?;
        let mut packets = Vec::new();
        let pts = ticks_from_micros(now.as_micros());
        self.writer.write(coded.data, pts, coded.kind, &mut packets);
        for datagram in packets.chunks(DATAGRAM_BYTES_MAX) {
            self.socket
                .send_to(datagram, ("127.0.0.1", self.to))
                .map_err(io("send to a stage"))?;
        }
        Ok(number)
    }
}

/// What comes out of a stage.
enum Out {
    Udp(UdpSocket),
    Http(TcpStream, Vec<u8>),
}

struct Eyes {
    out: Out,
    reader: Reader,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Eyes {
    fn new(out: Out, codec: VideoCodec) -> Result<Self, BenchError> {
        let decoder = Decoder::open(codec).map_err(crate::MediaError::from)?;
        Ok(Self {
            out,
            reader: Reader::new(),
            decoder,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Waits a little; number and capture time of the newest frame that came whole.
    fn look(&mut self) -> Option<(u32, u64)> {
        let bytes: &[u8] = match &mut self.out {
            Out::Udp(socket) => {
                let length = socket.recv(&mut self.buffer).ok()?;
                self.buffer.get(..length)?
            }
            Out::Http(socket, head) => {
                let length = socket.read(&mut self.buffer).ok()?;
                let bytes = self.buffer.get(..length)?;
                if head.ends_with(b"\r\n\r\n") {
                    bytes
                } else {
                    // The head of the answer comes first.
                    let mut rest = bytes;
                    while let Some((byte, after)) = rest.split_first() {
                        head.push(*byte);
                        rest = after;
                        if head.ends_with(b"\r\n\r\n") {
                            break;
                        }
                    }
                    rest
                }
            }
        };
        let mut newest = None;
        for unit in self.reader.push(bytes) {
            if let Ok(Some(decoded)) = self.decoder.decode(&unit.data)
                && let Some(strip) = decoded.picture.read_strip(Place::Bottom)
            {
                newest = Some((strip.b, u64::from(strip.a)));
            }
        }
        newest
    }
}

/// For each frame, how many went in after it before it came out.
fn passed_through(
    bench: &Bench<'_>,
    name: &str,
    (codec_name, codec): (&str, VideoCodec),
) -> Result<Vec<u32>, BenchError> {
    let own = &bench.options.own;
    let into = udp_port()?;
    let start = |line: String| Stage::start(own, &line, "Forestall");
    let wait = io("receive from a stage");
    let (mut stage, out) = if name == "serve" {
        let port = tcp_port()?;
        let mut stage = start(format!(
            "serve 127.0.0.1:{port} --stream robot=udp://127.0.0.1:{into}"
        ))?;
        wait_for_listener(bench, port, &mut stage)?;
        let mut socket = TcpStream::connect(("127.0.0.1", port)).map_err(&wait)?;
        socket
            .write_all(b"GET /robot.ts HTTP/1.0\r\n\r\n")
            .and_then(|()| socket.set_read_timeout(Some(Duration::from_millis(5))))
            .map_err(&wait)?;
        (stage, Out::Http(socket, Vec::new()))
    } else {
        let (socket, to) = udp_socket()?;
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .map_err(&wait)?;
        let line = match name {
            "relay" => format!("relay udp://127.0.0.1:{into} udp://127.0.0.1:{to}"),
            _ => format!(
                "overlay udp://127.0.0.1:{into} udp://127.0.0.1:{to} --text TEXT --codec {codec_name} --bitrate 2M"
            ),
        };
        (start(line)?, Out::Udp(socket))
    };
    bench.wait(READY)?;
    let (mut camera, mut eyes) = (Camera::new(into, codec)?, Eyes::new(out, codec)?);
    let mut held: Vec<Option<u32>> = Vec::new();
    for _ in 0..FRAMES {
        bench.check()?;
        stage.check()?;
        let number = camera.send()?;
        held.push(None);
        let sent = Instant::now();
        while held.last() == Some(&None) && sent.elapsed() < PATIENCE {
            if let Some((out, _)) = eyes.look() {
                // What came before it has come out, too.
                let upto = (out as usize + 1).min(held.len());
                for (of, held) in held.iter_mut().enumerate().take(upto) {
                    held.get_or_insert(number - of as u32);
                }
            }
        }
    }
    if held.iter().all(Option::is_none) {
        return Err(BenchError::Stage("no frame came out".into()));
    }
    // What never came out was held to the end.
    let last = FRAMES - 1;
    let frames = held.iter().enumerate();
    Ok(frames
        .map(|(of, held)| held.unwrap_or(last - of as u32 + 1))
        .collect())
}

/// The camera takes its pictures itself: a frame that is out within a period of its capture was not held.
fn capture(
    bench: &Bench<'_>,
    (codec_name, codec): (&str, VideoCodec),
) -> Result<Vec<u32>, BenchError> {
    let (socket, to) = udp_socket()?;
    socket
        .set_read_timeout(Some(Duration::from_millis(5)))
        .map_err(io("receive from the camera"))?;
    let line = format!(
        "capture udp://127.0.0.1:{to} --width 640 --height 480 --fps {FPS} --codec {codec_name} --bitrate 2M"
    );
    let mut stage = Stage::start(&bench.options.own, &line, "")?;
    let mut eyes = Eyes::new(Out::Udp(socket), codec)?;
    let mut held = Vec::new();
    let begun = Instant::now();
    while held.len() < FRAMES as usize {
        bench.check()?;
        stage.check()?;
        if begun.elapsed() > PERIOD * FRAMES * 3 {
            return Err(BenchError::Stage("the camera sends too few frames".into()));
        }
        if let Some((_, captured)) = eyes.look() {
            let now = Timestamp::now();
            let captured = Timestamp(expand_time_us(captured as u32, now.as_micros()));
            let periods = now.since(captured).as_secs_f64() / PERIOD.as_secs_f64();
            held.push(periods as u32);
        }
    }
    Ok(held)
}

/// The player's own list says when each frame was shown; when each went in is known here.
fn play(bench: &Bench<'_>, codec: VideoCodec) -> Result<Vec<u32>, BenchError> {
    let into = udp_port()?;
    let folder = tempfile::tempdir().map_err(io("make a folder"))?;
    let frames = folder.path().join("frames.csv");
    let line = format!(
        "play udp://127.0.0.1:{into} --frames-csv {}",
        frames.display()
    );
    let mut stage = Stage::start(&bench.options.own, &line, "")?;
    bench.wait(READY)?;
    let mut camera = Camera::new(into, codec)?;
    let mut sent = Vec::new();
    for _ in 0..FRAMES {
        camera.send()?;
        sent.push(Timestamp::now());
        bench.wait(PERIOD)?;
    }
    bench.wait(PATIENCE * 2)?;
    stage.check()?;
    let shown = chain::rows(&frames);
    let held = |frame: u32| {
        let row = shown.iter().find(|row| row.frame == Some(frame))?;
        let fed = sent.iter().filter(|sent| **sent <= row.shown_us).count();
        // A frame is shown before this process has taken its time, now and then.
        Some((fed as u32).saturating_sub(frame + 1))
    };
    Ok((0..FRAMES)
        .map(|frame| held(frame).unwrap_or(FRAMES - frame))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_hides_no_late_frame() {
        let held = Held::of([vec![0; 31], vec![1; 29]].concat());
        let expected = Held {
            median: 0,
            late: 29,
            n: 60,
        };
        assert_eq!(held, Some(expected));
        assert_eq!(Held::of(Vec::new()), None);
    }
}

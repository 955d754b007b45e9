//! A camera whose pictures come from elsewhere: a file played in real time, a V4L2 camera, or standard input.
//!
//! Pictures are read as YUV4MPEG2. Files and cameras are opened and decoded by the program `ffmpeg`, which knows all of them; it paces a
//! file itself (`-re`), and of a camera it passes on each picture as it comes.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use record::Timestamp;
use wire::code_strip::{NUMBER_WRAP, Strip, TIME_UNIT_US};

use super::{CaptureSink, SLEEP_MAX, Sink};
use crate::MediaError;
use crate::picture::Picture;
use crate::program::{self, Program};
use crate::stats::{Meter, StatsOutput, Totals};
use crate::table::Table;
use crate::y4m::{Y4m, Y4mError};

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PictureSource {
    /// YUV4MPEG2 on standard input, taken as it comes.
    Stdin,
    /// A file, played in real time.
    File(PathBuf),
    /// A V4L2 camera, like `/dev/video0`.
    Camera {
        /// Its device.
        device: PathBuf,
        /// Size to ask it for; its own where none is given.
        size: Option<(u32, u32)>,
        /// Pictures per second to ask it for.
        fps: Option<u32>,
    },
}

/// Settings.
#[derive(Clone, Debug)]
pub struct PicturesConfig {
    /// Where pictures come from.
    pub source: PictureSource,
    /// Whether the code strip is drawn over the bottom of each, so that its age can be read.
    pub marking: Marking,
    /// Who gets them.
    pub sink: CaptureSink,
    /// Where `sent.csv` goes ([`SentRow`](record::raw::SentRow)).
    pub sent_csv: Option<PathBuf>,
    /// Ends after this; `None`: when it is stopped, or the pictures end.
    pub duration: Option<Duration>,
    /// Figures once a second.
    pub stats: StatsOutput,
}

/// What is drawn over pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// Nothing.
    None,
    /// The code strip.
    CodeStrip,
}

/// Passes pictures on until they end, `stop` is set or the time is up.
///
/// # Errors
/// The source is not there or is none, the size is odd, there is no socket or encoder, or the server refuses the stream.
pub fn run(config: &PicturesConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    let (program, from) = open(&config.source)?;
    let result = pass_on(config, from, stop);
    match (result, program) {
        // It has said why on standard error.
        (Err(error), Some(program)) if error.is_empty_source() => Err(program.ended_early()),
        (result, program) => {
            program.as_ref().map(Program::end);
            result.map_err(|error| error.into_media(&config.source))
        }
    }
}

/// What went wrong: with the pictures, or with passing them on.
enum Failure {
    Pictures(Y4mError),
    Media(MediaError),
}

impl Failure {
    /// Nothing at all came.
    fn is_empty_source(&self) -> bool {
        matches!(self, Self::Pictures(Y4mError::Wrong(why)) if why == "it is empty")
    }

    fn into_media(self, source: &PictureSource) -> MediaError {
        match self {
            Self::Media(error) => error,
            Self::Pictures(error) => MediaError::Pictures {
                source_name: source.to_string(),
                source: error,
            },
        }
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        Self::Media(error)
    }
}

impl std::fmt::Display for PictureSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) | Self::Camera { device: path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// The bytes of the pictures.
type Bytes = Box<dyn Read + Send>;

fn open(source: &PictureSource) -> Result<(Option<Program>, Bytes), MediaError> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-nostats", "-loglevel", "error"]);
    let path = match source {
        PictureSource::Stdin => return Ok((None, Box::new(io::stdin()))),
        PictureSource::File(path) => {
            command.arg("-re");
            path
        }
        PictureSource::Camera { device, size, fps } => {
            command.args(["-f", "v4l2", "-fflags", "nobuffer"]);
            if let Some((width, height)) = size {
                command.args(["-video_size", &format!("{width}x{height}")]);
            }
            if let Some(fps) = fps {
                command.args(["-framerate", &fps.to_string()]);
            }
            device
        }
    };
    if let Err(source) = std::fs::metadata(path) {
        let path = path.clone();
        return Err(MediaError::Read { path, source });
    }
    // The path is an argument of its own: nothing in it is a command, and `file:` keeps it from being another protocol.
    let input = match source {
        PictureSource::File(_) => {
            let mut input = std::ffi::OsString::from("file:");
            input.push(path);
            input
        }
        _ => path.clone().into_os_string(),
    };
    command.arg("-i").arg(input);
    command.args(["-map", "0:v:0", "-pix_fmt", "yuv420p", "-strict", "-1"]);
    command.args(["-f", "yuv4mpegpipe", "-flush_packets", "1", "-"]);
    let (program, stdin, stdout) = Program::spawn(command, program::Output::Piped)?;
    drop(stdin);
    let stdout = stdout.ok_or_else(|| program.ended_early())?;
    Ok((Some(program), Box::new(stdout)))
}

fn pass_on(config: &PicturesConfig, from: Bytes, stop: &AtomicBool) -> Result<Totals, Failure> {
    // Reading may block for ever; this side looks at the stop flag.
    let (out, pictures) = mpsc::sync_channel(0);
    std::thread::spawn(move || {
        let mut stream = match Y4m::new(from) {
            Ok(stream) => stream,
            Err(error) => return drop(out.send(Err(error))),
        };
        if out.send(Ok(Handed::Header(stream.header()))).is_err() {
            return;
        }
        loop {
            let (next, is_last) = match stream.take_next() {
                Ok(Some(raw)) => (Ok(Handed::Picture(raw, Timestamp::now())), false),
                Ok(None) => (Ok(Handed::End), true),
                Err(error) => (Err(error), true),
            };
            if out.send(next).is_err() || is_last {
                return;
            }
        }
    });
    let begun = Instant::now();
    let mut meter = Meter::new("capture", config.stats, Timestamp::now());
    let mut sent = config.sent_csv.as_deref().map(Table::create).transpose()?;
    let mut opened: Option<(Picture, Sink)> = None;
    let mut frame = 0;
    loop {
        let is_over = config
            .duration
            .is_some_and(|duration| begun.elapsed() >= duration);
        if stop.load(Ordering::Relaxed) || is_over {
            break;
        }
        let next = match pictures.recv_timeout(SLEEP_MAX) {
            Ok(next) => next.map_err(Failure::Pictures)?,
            Err(RecvTimeoutError::Timeout) => {
                meter.report(Timestamp::now());
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match (next, &mut opened) {
            (Handed::End, _) => break,
            (Handed::Header(header), _) => {
                let picture = Picture::new(header.width, header.height)?;
                let sink = Sink::open(&config.sink, (header.width, header.height), header.fps)?;
                opened = Some((picture, sink));
            }
            (Handed::Picture(..), None) => {}
            (Handed::Picture(raw, read), Some((picture, sink))) => {
                let captured = Timestamp(read.as_micros() / TIME_UNIT_US * TIME_UNIT_US);
                picture.from_raw(&raw);
                if config.marking == Marking::CodeStrip {
                    let strip = Strip::capture(captured.as_micros(), frame);
                    picture.draw_strip(&strip).map_err(MediaError::from)?;
                }
                meter.totals.frames_in += 1;
                sink.pass_on(picture, (captured, frame), &mut meter, sent.as_mut())?;
                frame = (frame + 1) % NUMBER_WRAP;
                meter.totals.datagrams_dropped = sink.refused();
                meter.report(Timestamp::now());
            }
        }
    }
    if let Some(sent) = &mut sent {
        sent.flush()?;
    }
    if let Some((_, sink)) = opened {
        sink.close();
    }
    Ok(meter.totals)
}

/// What the reading side hands over.
enum Handed {
    Header(crate::y4m::Header),
    /// A picture, and when it was whole.
    Picture(Vec<u8>, Timestamp),
    End,
}

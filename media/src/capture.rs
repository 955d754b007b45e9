//! The camera: takes pictures of a clock at a steady pace, encodes and sends them. [`pictures`] takes them from elsewhere.

pub mod pictures;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use record::Timestamp;
use record::raw::SentRow;
use wire::code_strip::{NUMBER_WRAP, TIME_UNIT_US};
use wire::mpegts::{UnitKind, VideoCodec, Writer, ticks_from_micros};

use crate::clock_picture::ClockPicture;
use crate::codec::{Encoder, EncoderConfig};
use crate::net::Output;
use crate::picture::Picture;
use crate::program::{self, Program, is_broken_pipe};
use crate::stats::{Meter, StatsOutput, Totals};
use crate::table::Table;
use crate::text::Font;
use crate::{MediaError, StreamUrl};

/// Longest sleep without a look at the stop flag.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// Settings of the camera.
#[derive(Clone, Debug)]
pub struct CaptureConfig {
    /// Who gets the pictures.
    pub sink: CaptureSink,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Pictures per second, 1 to 120.
    pub fps: u32,
    /// Font of the clock.
    pub font: PathBuf,
    /// Where `sent.csv` goes ([`SentRow`]).
    pub sent_csv: Option<PathBuf>,
    /// Ends after this; `None`: when it is stopped.
    pub duration: Option<Duration>,
    /// Figures once a second.
    pub stats: StatsOutput,
}

/// Who gets the pictures.
#[derive(Clone, Debug)]
pub enum CaptureSink {
    /// The built-in encoder, and the network.
    Network {
        /// Target.
        output: StreamUrl,
        /// What the pictures are coded with.
        codec: VideoCodec,
        /// Bits per second.
        bitrate: u32,
        /// A key picture every so many.
        gop: u32,
    },
    /// An outside program gets raw pictures (YUV 4:2:0) on its standard input, and does what it does.
    Program {
        /// Line for the shell.
        command: String,
    },
}

/// Takes pictures until `stop` is set or the time is up.
///
/// # Errors
/// A setting is out of range, the font is missing, there is no socket or encoder, the outside program ended, or the server
/// refuses the stream.
pub fn run(config: &CaptureConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    if !(1..=120).contains(&config.fps) {
        let expected = "from 1 to 120".to_owned();
        return Err(MediaError::Setting {
            setting: "fps",
            expected,
            given: config.fps.to_string(),
        });
    }
    let font = Font::load(&config.font)?;
    let mut camera = ClockPicture::new(config.width, config.height, &font)?;
    let mut sent = config.sent_csv.as_deref().map(Table::create).transpose()?;
    let mut meter = Meter::new("capture", config.stats, Timestamp::now());
    let size = (config.width, config.height);
    let mut sink = Sink::open(&config.sink, size, (config.fps, 1))?;
    let mut pace = Pace::start(config.fps, config.duration);
    let mut frame = 0;
    while !stop.load(Ordering::Relaxed) {
        match pace.next(Instant::now()) {
            Next::Wait(time) => {
                if !camera.prepare(Timestamp::now() + time) {
                    thread::sleep(time.min(SLEEP_MAX));
                }
            }
            Next::Take { missed } => {
                meter.totals.frames_dropped += missed;
                meter.totals.frames_in += 1;
                // The strip carries no finer time, so the clock and sent.csv do not either.
                let captured =
                    Timestamp(Timestamp::now().as_micros() / TIME_UNIT_US * TIME_UNIT_US);
                let picture = camera.take(captured, frame)?;
                sink.pass_on(picture, (captured, frame), &mut meter, sent.as_mut())?;
                frame = (frame + 1) % NUMBER_WRAP;
            }
            Next::End => break,
        }
        meter.totals.datagrams_dropped = sink.refused();
        meter.report(Timestamp::now());
    }
    if let Some(sent) = &mut sent {
        sent.flush()?;
    }
    sink.close();
    Ok(meter.totals)
}

/// Where pictures go, opened.
enum Sink {
    Network {
        encoder: Encoder,
        writer: Writer,
        sender: Box<Output>,
        packets: Vec<u8>,
    },
    Program {
        program: Program,
        input: std::process::ChildStdin,
        raw: Vec<u8>,
    },
}

impl Sink {
    fn open(
        sink: &CaptureSink,
        (width, height): (u32, u32),
        fps: (u32, u32),
    ) -> Result<Self, MediaError> {
        match sink {
            CaptureSink::Network {
                output,
                codec,
                bitrate,
                gop,
            } => Ok(Self::Network {
                encoder: Encoder::open(&EncoderConfig {
                    codec: *codec,
                    width,
                    height,
                    fps,
                    bitrate: *bitrate,
                    gop: *gop,
                })?,
                writer: Writer::new(*codec),
                sender: Box::new(Output::open(output)?),
                packets: Vec::new(),
            }),
            CaptureSink::Program { command } => {
                let (program, input, _) = Program::start(command, program::Output::Ignored)?;
                Ok(Self::Program {
                    program,
                    input,
                    raw: Vec::new(),
                })
            }
        }
    }

    /// Passes a picture on, counts it, and writes its row.
    fn pass_on(
        &mut self,
        picture: &mut Picture,
        (captured, frame): (Timestamp, u32),
        meter: &mut Meter,
        sent: Option<&mut Table>,
    ) -> Result<(), MediaError> {
        let bytes = self.take(picture, captured)?;
        let now = Timestamp::now();
        meter.bytes += bytes.unwrap_or(0);
        meter.frame_out(Some(now.since(captured)));
        if let Some(sent) = sent {
            sent.write(&SentRow {
                frame,
                captured_us: captured,
                bytes,
            })?;
            sent.flush_due(now)?;
        }
        Ok(())
    }

    /// Passes a picture on; returns its coded size if that is known.
    fn take(
        &mut self,
        picture: &mut Picture,
        captured: Timestamp,
    ) -> Result<Option<u64>, MediaError> {
        match self {
            Self::Network {
                encoder,
                writer,
                sender,
                packets,
            } => {
                let coded = encoder.encode(picture, UnitKind::Predicted)?;
                packets.clear();
                writer.write(
                    coded.data,
                    ticks_from_micros(captured.as_micros()),
                    coded.kind,
                    packets,
                );
                sender.send(packets)?;
                Ok(Some(coded.data.len() as u64))
            }
            Self::Program {
                program,
                input,
                raw,
            } => {
                picture.to_raw(raw);
                match input.write_all(raw) {
                    Ok(()) => Ok(None),
                    Err(error) if is_broken_pipe(&error) => Err(program.ended_early()),
                    Err(source) => Err(MediaError::Write {
                        path: "standard input of the encoder".into(),
                        source,
                    }),
                }
            }
        }
    }

    fn refused(&self) -> u64 {
        match self {
            Self::Network { sender, .. } => sender.refused(),
            Self::Program { .. } => 0,
        }
    }

    fn close(self) {
        if let Self::Program { program, input, .. } = self {
            drop(input);
            program.end();
        }
    }
}

/// When to take pictures: at start + n / fps. A late picture is taken at once, and slots that have passed are left out, so
/// that no backlog builds up and the pace stays.
struct Pace {
    start: Instant,
    fps: u32,
    slot: u64,
    end: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait(Duration),
    Take { missed: u64 },
    End,
}

impl Pace {
    fn start(fps: u32, duration: Option<Duration>) -> Self {
        let start = Instant::now();
        Self {
            start,
            fps,
            slot: 0,
            end: duration.and_then(|duration| start.checked_add(duration)),
        }
    }

    fn next(&mut self, now: Instant) -> Next {
        if self.end.is_some_and(|end| now >= end) {
            return Next::End;
        }
        let passed = now.saturating_duration_since(self.start);
        let due = Duration::from_nanos(self.slot * 1_000_000_000 / u64::from(self.fps));
        if passed < due {
            return Next::Wait(due - passed);
        }
        // Rounded up like `due` is rounded down: a slot that is due in this nanosecond has come.
        let current = ((passed.as_nanos() + 1) * u128::from(self.fps) / 1_000_000_000) as u64;
        let missed = current.saturating_sub(self.slot);
        self.slot = self.slot.max(current) + 1;
        Next::Take { missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_at_absolute_times_and_missed_ones_are_left_out() {
        let mut pace = Pace::start(30, Some(Duration::from_secs(2)));
        let start = pace.start;
        let mut at = |micros| pace.next(start + Duration::from_micros(micros));
        assert_eq!(at(0), Next::Take { missed: 0 });
        assert_eq!(at(30_000), Next::Wait(Duration::from_nanos(3_333_333)));
        assert_eq!(at(40_000), Next::Take { missed: 0 }, "late, taken at once");
        assert_eq!(
            at(66_667),
            Next::Take { missed: 0 },
            "lateness does not move the next"
        );
        assert_eq!(
            at(210_000),
            Next::Take { missed: 3 },
            "slots 3 to 5 have passed"
        );
        assert!(matches!(at(210_001), Next::Wait(_)), "and leave no backlog");
        assert_eq!(at(2_000_000), Next::End);
    }
}

//! The screen: shows pictures as they come, in a window or to nobody, and reads out of each how old it is.

mod outside;
mod playout;
mod screen;
mod viewing;
pub(crate) mod window;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use record::Timestamp;
use record::raw::PacketRow;
use wire::mpegts::{Reader, VideoCodec, unit_starts};

use crate::codec::{Arrival, Decoder};
use crate::net::{self, Chunk, RECEIVE_WAIT};
use crate::overlay::Damage;
use crate::stats::{StatsOutput, Totals};
use crate::table::Table;
use crate::{MediaError, StreamUrl};
use playout::{Playout, Waiting};
use screen::Screen;
pub(crate) use screen::write_png;

pub use viewing::Reporting;
pub use window::WindowError;

/// Settings of the player.
#[derive(Clone, Debug)]
pub struct PlayConfig {
    /// Where the video comes from.
    pub input: StreamUrl,
    /// Who decodes.
    pub decoder: PlayDecoder,
    /// Of the pictures this share is to come in time for a steady pace, 0 to 1; `None`: each is shown at once. Only for the
    /// decoder of ours.
    pub playout: Option<f64>,
    /// Whether a window shows the pictures. Closed by whoever looks at it, it ends the player.
    pub window: bool,
    /// Where `frames.csv` goes ([`record::raw::FrameRow`]).
    pub frames_csv: Option<PathBuf>,
    /// Where `packets.csv` goes ([`PacketRow`]).
    pub packets_csv: Option<PathBuf>,
    /// Where the last picture goes, as PNG, at the end.
    pub png: Option<PathBuf>,
    /// Ends after this; `None`: when it is stopped.
    pub duration: Option<Duration>,
    /// Figures once a second.
    pub stats: StatsOutput,
    /// Who is told once a second what is seen. While an outside program gives no picture, nobody is told anything.
    pub reporting: Option<Reporting>,
}

/// Who decodes.
#[derive(Clone, Debug)]
pub enum PlayDecoder {
    /// Ours, which holds no frame of a stream without B-pictures.
    BuiltIn,
    /// An outside program that takes the transport stream on standard input and gives raw pictures (YUV 4:2:0) of this
    /// size on standard output. Which of them are damaged is known only about: how many pictures it holds is its secret.
    Program {
        /// Line for the shell.
        command: String,
        /// Pixels, even.
        width: u32,
        /// Pixels, even.
        height: u32,
    },
}

/// Shows pictures until `stop` is set, the time is up, or the window is closed.
///
/// # Errors
/// There is no socket, decoder or X server, the video is coded with something else, a file cannot be written, or the outside program
/// or the X server ended.
pub fn run(config: &PlayConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    let mut input = Input::open(config)?;
    let mut screen = Screen::open(config)?;
    let closed = screen.closed();
    let is_ended = || stop.load(Ordering::Relaxed) || closed.load(Ordering::Relaxed);
    match &config.decoder {
        PlayDecoder::BuiltIn => {
            built_in(config, &mut input, &mut screen, is_ended)?;
            screen.meter.follow(&input.network, 0, Timestamp::now());
        }
        PlayDecoder::Program {
            command,
            width,
            height,
        } => {
            outside::run(
                command,
                (*width, *height),
                &mut input,
                &mut screen,
                is_ended,
            )?;
        }
    }
    input.close()?;
    screen.close(config.png.as_deref())
}

fn built_in(
    config: &PlayConfig,
    input: &mut Input,
    screen: &mut Screen,
    is_ended: impl Fn() -> bool,
) -> Result<(), MediaError> {
    let mut decoder: Option<(VideoCodec, Decoder)> = None;
    let mut damage = Damage::default();
    let mut playout = config.playout.map(Playout::new);
    let mut waiting = Waiting::new();
    while !is_ended() && !input.is_over() {
        let mut units = Vec::new();
        let next_due = waiting.next_due();
        let wait = next_due.map_or(RECEIVE_WAIT, |due| due.since(Timestamp::now()));
        input.receive(wait, |_, found| units.extend(found))?;
        if let Some(video) = input.reader.foreign_video() {
            let url = config.input.to_string();
            return Err(MediaError::Foreign { url, video });
        }
        for unit in units {
            screen.meter.totals.frames_in += 1;
            screen.meter.bytes += unit.unit.data.len() as u64;
            let arrival = Arrival {
                received: unit.received,
                is_damaged: damage.follow(&unit.unit),
            };
            let decoder = match &mut decoder {
                Some((opened, decoder)) if *opened == unit.unit.codec => decoder,
                // Nothing can be shown of predicted pictures before the first key picture.
                _ if !unit.unit.random_access => {
                    screen.meter.totals.frames_dropped += 1;
                    continue;
                }
                none_or_other => {
                    let codec = unit.unit.codec;
                    &mut none_or_other.insert((codec, Decoder::open(codec)?)).1
                }
            };
            let outcome = decoder.send(&unit.unit, arrival);
            let is_picture = damage.sent(&unit.unit, outcome).map_err(|form| {
                let url = config.input.to_string();
                MediaError::Form { url, form }
            })?;
            screen.meter.totals.frames_dropped += u64::from(!is_picture);
            while let Some(decoded) = decoder.receive() {
                let Arrival {
                    received,
                    is_damaged,
                } = decoded.arrival;
                match playout.as_mut().zip(decoded.pts) {
                    Some((playout, pts)) => {
                        // One that the decoder held could not be shown before what came now.
                        let due = playout.due(pts, unit.received);
                        waiting.push(decoded.picture, is_damaged, received, due)?;
                    }
                    None => {
                        let now = Timestamp::now();
                        screen.show(decoded.picture, is_damaged, now, Some(received))?;
                    }
                }
            }
        }
        show_due(&mut waiting, screen)?;
        screen.look(Timestamp::now());
        let inside = decoder.as_ref().map_or(0, |(_, decoder)| decoder.held());
        screen.meter.frames_held = (waiting.len() + inside) as u64;
        screen.meter.playout = playout.as_ref().map(Playout::target);
        screen.meter.follow(&input.network, 0, Timestamp::now());
    }
    Ok(())
}

/// Shows the picture that is due, if one is.
fn show_due(waiting: &mut Waiting, screen: &mut Screen) -> Result<(), MediaError> {
    let now = Timestamp::now();
    if let Some((decoded, needless)) = waiting.due(now) {
        screen.meter.totals.frames_dropped += needless;
        screen.show(
            &decoded.picture,
            decoded.is_damaged,
            now,
            Some(decoded.received),
        )?;
        waiting.give_back(decoded.picture);
    }
    Ok(())
}

/// Datagrams as they come, written down.
struct Input {
    network: net::Input,
    reader: Reader,
    packets: Option<Table>,
    start: Timestamp,
    duration: Option<Duration>,
}

/// A coded picture that came in.
struct Received {
    unit: wire::mpegts::AccessUnit,
    received: Timestamp,
}

impl Input {
    fn open(config: &PlayConfig) -> Result<Self, MediaError> {
        Ok(Self {
            network: net::Input::open(&config.input)?,
            reader: Reader::new(),
            packets: config
                .packets_csv
                .as_deref()
                .map(Table::create)
                .transpose()?,
            start: Timestamp::now(),
            duration: config.duration,
        })
    }

    fn is_over(&self) -> bool {
        self.duration
            .is_some_and(|duration| Timestamp::now().since(self.start) >= duration)
    }

    /// Waits a while for datagrams, and gives each to `take` with the coded pictures that it completes.
    fn receive(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(Chunk<'_>, Vec<Received>),
    ) -> Result<(), MediaError> {
        for chunk in self.network.receive_within(wait)? {
            let units = self.reader.push(chunk.bytes);
            let video = self.reader.video();
            if let Some(packets) = &mut self.packets {
                packets.write(&PacketRow {
                    received_us: chunk.received,
                    bytes: chunk.bytes.len() as u32,
                    frame_starts: video.map_or(0, |(pid, _)| unit_starts(chunk.bytes, pid)),
                })?;
            }
            let units = units.into_iter().map(|unit| Received {
                unit,
                received: chunk.received,
            });
            take(chunk, units.collect());
        }
        match &mut self.packets {
            Some(packets) => packets.flush_due(Timestamp::now()),
            None => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), MediaError> {
        self.packets.as_mut().map_or(Ok(()), Table::flush)
    }
}

//! `forestall bench media`: what the stages cost and how long they take, beside FFmpeg's in the same run.
//!
//! Each stage is a process as a user starts it, and is measured from outside: [`chain`] (camera to screen, three chains in turn; beside it
//! [`stages`], what ours say themselves),
//! [`held`] (does a stage hold frames?), [`relay`], [`overlay`], [`serve`], and [`clock`] (can the code strip be trusted?), whose
//! spoilt pictures [`degrade`] makes without any code of the reader's.

mod chain;
mod clock;
mod degrade;
mod held;
mod overlay;
mod process;
mod relay;
mod serve;
mod stages;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

pub use chain::{CHAINS, Delays};
pub use clock::{Clock, Reading};
pub use held::{Held, HeldFrames};
pub use overlay::Cost;
pub use relay::RelayMs;
pub use serve::Serve;
pub use stages::{STAGES, StageMs};

use crate::MediaError;

/// Bit rate of the video that is measured with.
const BITRATE: &str = "2M";
const FPS: u32 = 30;

/// What is measured for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// This program.
    pub own: PathBuf,
    /// How often each chain is measured; they take turns, so that noise of the machine meets all.
    pub rounds: u32,
    /// Codecs of the chains, of `mpeg2` and `h264`.
    pub codecs: &'static [&'static str],
    /// Sizes of the picture for the overlay, of `640x480` and `1280x720`.
    pub sizes: &'static [&'static str],
    /// After the first picture, before anything counts: plain FFmpeg first works off what it has looked at.
    pub settle: Duration,
    /// For how long each is measured in a round.
    pub measured: Duration,
    /// Spoilt pictures for the clock reader.
    pub degraded: u32,
    /// Viewers at once, from few to many.
    pub viewers: Vec<u32>,
    /// Pictures for Tesseract.
    pub tesseract: u32,
}

impl Options {
    /// Some minutes.
    #[must_use]
    pub fn full(own: PathBuf) -> Self {
        Self {
            own,
            rounds: 3,
            codecs: &["mpeg2", "h264"],
            sizes: &["640x480", "1280x720"],
            settle: Duration::from_secs(8),
            measured: Duration::from_secs(10),
            degraded: 10_000,
            viewers: vec![100, 300, 600],
            tesseract: 60,
        }
    }

    /// A minute: enough to see that it works.
    #[must_use]
    pub fn quick(own: PathBuf) -> Self {
        Self {
            own,
            rounds: 1,
            codecs: &["mpeg2"],
            sizes: &["640x480"],
            settle: Duration::from_secs(1),
            measured: Duration::from_secs(2),
            degraded: 600,
            viewers: vec![20],
            tesseract: 4,
        }
    }
}

/// All figures; what was not measured is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// From camera to screen, by codec and chain.
    pub delay_ms: BTreeMap<&'static str, BTreeMap<&'static str, Option<Delays>>>,
    /// Time in each stage of our chain meanwhile, by codec and stage.
    pub stage_ms: BTreeMap<&'static str, BTreeMap<&'static str, Option<StageMs>>>,
    /// Frames that each stage holds.
    pub held_frames: HeldFrames,
    /// The same by codec and stage, with those that were late.
    pub held_frames_by_codec: BTreeMap<&'static str, BTreeMap<&'static str, Option<Held>>>,
    /// By size of the picture.
    pub overlay: BTreeMap<&'static str, Sides>,
    /// Time that a datagram takes through the relay.
    pub relay_ms: Option<RelayMs>,
    /// Many viewers.
    pub serve: Serve,
    /// The reader of the code strip.
    pub clock: Clock,
    /// Share of the machine that others used meanwhile, `0..=1`; `None` where the system does not say.
    pub foreign_load: Option<f64>,
    /// Why something was not measured.
    pub notes: Vec<String>,
}

/// The overlay and FFmpeg's drawtext, with the same work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sides {
    /// Ours.
    pub forestall: Option<Cost>,
    /// `ffmpeg -vf drawtext`.
    pub ffmpeg: Option<Cost>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A process could not be started, or a socket not be opened.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A stage did not do its work.
    #[error("{0}")]
    Stage(String),
    /// Pictures could not be made.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The person pressed Ctrl-C.
    #[error("interrupted; everything that was started has been ended")]
    Interrupted,
}

/// What all measurements share.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    stop: &'a AtomicBool,
    say: &'a mut dyn FnMut(&str),
    notes: Vec<String>,
}

impl Bench<'_> {
    fn check(&self) -> Result<(), BenchError> {
        if self.stop.load(Ordering::Relaxed) {
            Err(BenchError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Waits, and looks whether the person has had enough.
    fn wait(&self, duration: Duration) -> Result<(), BenchError> {
        let end = std::time::Instant::now() + duration;
        while std::time::Instant::now() < end {
            self.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        self.check()
    }

    /// A part that fails is a note and no figure; an interruption ends all.
    fn or_note<T>(
        &mut self,
        what: &str,
        result: Result<T, BenchError>,
    ) -> Result<Option<T>, BenchError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(BenchError::Interrupted) => Err(BenchError::Interrupted),
            Err(error) => {
                let mut text = format!("{what} was not measured: {error}");
                let mut cause = std::error::Error::source(&error);
                while let Some(inner) = cause {
                    text += &format!(": {inner}");
                    cause = inner.source();
                }
                self.notes.push(text);
                Ok(None)
            }
        }
    }
}

/// Measures everything. `say` is told what is being measured.
///
/// # Errors
/// [`BenchError::Interrupted`]; what fails by itself is a note in the report.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    say: &mut dyn FnMut(&str),
) -> Result<Report, BenchError> {
    let mut bench = Bench {
        options,
        stop,
        say,
        notes: Vec::new(),
    };
    let machine = process::Busy::now();
    let (delay_ms, stage_ms) = chain::measure(&mut bench)?;
    let (held_frames, held_frames_by_codec) = held::measure(&mut bench)?;
    let relayed = relay::measure(&mut bench);
    let relay_ms = bench.or_note("the relay", relayed)?;
    let overlay = overlay::measure(&mut bench)?;
    let serve = serve::measure(&mut bench)?;
    let clock = clock::measure(&mut bench)?;
    Ok(Report {
        delay_ms,
        stage_ms,
        held_frames,
        held_frames_by_codec,
        overlay,
        relay_ms,
        serve,
        clock,
        foreign_load: process::Busy::foreign_since(machine),
        notes: bench.notes,
    })
}

/// The value below which a share of sorted values lies.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}

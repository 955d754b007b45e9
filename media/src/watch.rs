//! Watches somebody else's player: looks at its window on an X server's screen, and reads out of each new picture how old it is.
//!
//! ```text
//! player --> X server --> [the rows with the code strips, every 4 ms] --> frames.csv
//! ```
//! A picture is seen at the first look after it came: by [`LOOK_EVERY`] and the time of a look too late at most, by half of that
//! on average, and never too early. How long that was in truth is in [`Watched::looks_ms`].

mod display;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use record::Timestamp;
use record::raw::FrameStatus;

use crate::MediaError;
use crate::seen::Strips;
use crate::table::Table;
pub use display::{Area, Display, DisplayError, Shot};

/// Between two looks: four or more for each refresh of a screen of 60 Hz.
pub const LOOK_EVERY: Duration = Duration::from_millis(4);
/// Windows are looked through this often while none shows a clock.
const FIND_EVERY: Duration = Duration::from_millis(100);
/// A window that shows no clock for so long is given up, and windows are looked through again.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// The X server, as in `DISPLAY`.
    pub display: String,
    /// Where `frames.csv` goes ([`record::raw::FrameRow`]): a row for each picture seen. Pictures that cannot be read and follow each
    /// other are one row.
    pub frames_csv: Option<PathBuf>,
    /// Ends after this; `None`: when it is stopped.
    pub duration: Option<Duration>,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// Age of each picture when it was first seen, in ms.
    pub delays_ms: Vec<f64>,
    /// How often the window showed something that cannot be read, after a picture that can.
    pub unreadable: u64,
    /// From each look at a window to the next, in ms: the error of a time at which a picture was first seen.
    pub looks_ms: Vec<f64>,
}

/// Looks at the first window that shows a clock until `stop` is set or the time is up; where none does, or none any more, for
/// another.
///
/// # Errors
/// There is no X server, its screen cannot be read, it went away, or a file cannot be written.
pub fn run(config: &WatchConfig, stop: &AtomicBool) -> Result<Watched, MediaError> {
    let display = Display::open(&config.display)?;
    let end = config.duration.map(|duration| Timestamp::now() + duration);
    let is_over = || stop.load(Ordering::Relaxed) || end.is_some_and(|end| Timestamp::now() >= end);
    let mut watch = Watch {
        frames: config
            .frames_csv
            .as_deref()
            .map(Table::create)
            .transpose()?,
        last: Strips::default(),
        last_frame: None,
        watched: Watched::default(),
    };
    while !is_over() {
        match find(&display)? {
            Some(window) => watch.follow(&display, &window, is_over)?,
            None => thread::sleep(FIND_EVERY),
        }
    }
    Ok(watch.watched)
}

/// The first window that shows a clock.
pub(crate) fn find(display: &Display) -> Result<Option<Area>, DisplayError> {
    for window in display.windows()? {
        let Some(strips) = window.code_strips() else {
            continue;
        };
        let shot = display.shot(&strips)?;
        if shot.is_some_and(|shot| shot.capture_strip().is_some()) {
            return Ok(Some(window));
        }
    }
    Ok(None)
}

struct Watch {
    frames: Option<Table>,
    /// What the picture on the screen says.
    last: Strips,
    last_frame: Option<u32>,
    watched: Watched,
}

impl Watch {
    /// Looks at one window until it shows no clock any more.
    fn follow(
        &mut self,
        display: &Display,
        window: &Area,
        is_over: impl Fn() -> bool,
    ) -> Result<(), MediaError> {
        let Some(strips) = window.code_strips() else {
            return Ok(());
        };
        let (mut looked, mut readable) = (None, Timestamp::now());
        while !is_over() {
            let begun = Timestamp::now();
            let Some(shot) = display.shot(&strips)? else {
                return Ok(());
            };
            // The server took it before it answered: what it has, was on the screen by now.
            let now = Timestamp::now();
            if let Some(before) = looked.replace(now) {
                self.watched.looks_ms.push(now.seconds_after(before) * 1e3);
            }
            let seen = shot.strips();
            self.take(seen, now)?;
            if seen.capture.is_some() {
                readable = now;
            } else if now.since(readable) >= LOST_AFTER {
                return Ok(());
            }
            thread::sleep(LOOK_EVERY.saturating_sub(Timestamp::now().since(begun)));
        }
        Ok(())
    }

    /// Writes down what is new.
    fn take(&mut self, seen: Strips, now: Timestamp) -> Result<(), MediaError> {
        if seen.capture == self.last.capture {
            return Ok(());
        }
        self.last = seen;
        let row = seen.row(now, self.last_frame, seen.says_damaged());
        self.last_frame = row.frame.or(self.last_frame);
        match (row.status, row.delay_ms) {
            (FrameStatus::Unreadable, _) => self.watched.unreadable += 1,
            (_, Some(delay)) => self.watched.delays_ms.push(delay),
            (_, None) => {}
        }
        if let Some(frames) = &mut self.frames {
            frames.write(&row)?;
            frames.flush()?;
        }
        Ok(())
    }
}

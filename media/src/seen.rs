//! What a picture that was shown says of itself, and the row of `frames.csv` that comes of it.

use record::Timestamp;
use record::raw::{FrameRow, FrameStatus};
use wire::code_strip::{Kind, Place, Plane, Strip, expand_time_us};

/// The code strips of a picture, as far as they can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strips {
    /// The camera's.
    pub(crate) capture: Option<Strip>,
    /// The overlay's.
    pub(crate) overlay: Option<Strip>,
}

impl Strips {
    /// Reads those of a picture, or of its lower end, by its luma.
    pub(crate) fn read(luma: Plane<'_>) -> Self {
        Self {
            capture: Strip::read(Place::Bottom, luma),
            overlay: Strip::read(Place::AboveBottom, luma),
        }
    }

    /// Whether the overlay knew its picture to be damaged.
    pub(crate) fn says_damaged(&self) -> bool {
        self.overlay
            .is_some_and(|strip| strip.kind == Kind::OverlayDamaged)
    }

    /// When the picture was taken that was on the screen at `shown`.
    pub(crate) fn captured(&self, shown: Timestamp) -> Option<Timestamp> {
        self.capture
            .map(|strip| Timestamp(expand_time_us(strip.a, shown.as_micros())))
    }

    /// The row of a picture that was shown after the frame number `last`.
    pub(crate) fn row(&self, shown: Timestamp, last: Option<u32>, is_damaged: bool) -> FrameRow {
        let frame = self.capture.map(|strip| strip.b);
        let captured = self.captured(shown);
        let status = match frame {
            None => FrameStatus::Unreadable,
            Some(_) if frame == last => FrameStatus::Repeated,
            Some(_) if is_damaged => FrameStatus::Damaged,
            Some(_) => FrameStatus::Ok,
        };
        FrameRow {
            frame,
            captured_us: captured,
            shown_us: shown,
            delay_ms: captured.map(|captured| shown.seconds_after(captured) * 1e3),
            status,
            boot: self.overlay.map(|strip| format!("{:08x}", strip.a)),
            runner: self.overlay.map(|strip| strip.b),
        }
    }
}

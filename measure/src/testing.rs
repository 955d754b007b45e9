//! Rows for the tests of this crate, times in ms.

use record::Timestamp;
use record::raw::{FrameRow, FrameStatus};

pub(crate) fn readable(frame: u32, captured_ms: u64, shown_ms: u64) -> FrameRow {
    FrameRow {
        frame: Some(frame),
        captured_us: Some(Timestamp(captured_ms * 1_000)),
        shown_us: Timestamp(shown_ms * 1_000),
        delay_ms: Some(shown_ms as f64 - captured_ms as f64),
        status: FrameStatus::Ok,
        boot: None,
        runner: None,
    }
}

pub(crate) fn unreadable(shown_ms: u64) -> FrameRow {
    FrameRow {
        frame: None,
        captured_us: None,
        delay_ms: None,
        status: FrameStatus::Unreadable,
        ..readable(0, 0, shown_ms)
    }
}

//! Rows and cells for the tests of this crate, times in ms.

use record::Timestamp;
use record::campaign::{Cell, Subject};
use record::raw::{FrameRow, FrameStatus};
use record::results::Environment;

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

/// A cell that is not spoilt.
pub(crate) fn cell(subject: Subject) -> Cell {
    Cell {
        schema: record::SCHEMA,
        subject,
        measured_at: "2026-11-30T12:00:00Z".into(),
        command: None,
        machine: "a machine".into(),
        environment: Environment::default(),
        foreign_load: Some(0.0),
        spoilt: false,
        tries: 1,
        cpu_mhz: None,
        ipc: None,
        ipc_unknown: None,
    }
}

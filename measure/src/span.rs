//! Stretches of time.

use record::Timestamp;

/// From `start` until just before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

impl Span {
    /// Whether `time` lies in it.
    #[must_use]
    pub fn contains(self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }

    /// Length in seconds, 0 when it ends before it starts.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.end.since(self.start).as_secs_f64()
    }
}

/// Milliseconds from `earlier` to `later`, negative when they are the other way round; exact to the microsecond.
#[must_use]
pub fn ms_between(earlier: Timestamp, later: Timestamp) -> f64 {
    (i128::from(later.0) - i128::from(earlier.0)) as f64 / 1e3
}

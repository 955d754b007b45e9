//! A reading of a host's load.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{HostName, Timestamp, Utilization};

/// Mean load of a host over an interval that has ended: what an agent's counters say between two of its refreshes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The host.
    pub host: HostName,
    /// Mean over the interval.
    pub utilization: Utilization,
    /// End of the interval: when the agent refreshed its counters.
    pub measured_at_us: Timestamp,
    /// Length of the interval.
    pub interval_ms: f64,
}

/// A sample without the name of its host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Mean over the interval.
    pub utilization: Utilization,
    /// End of the interval: when the agent refreshed its counters.
    pub measured_at_us: Timestamp,
    /// Length of the interval.
    pub interval_ms: f64,
}

impl Sample {
    /// What was read, whichever host it was.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        Reading {
            utilization: self.utilization,
            measured_at_us: self.measured_at_us,
            interval_ms: self.interval_ms,
        }
    }
}

impl Reading {
    /// Middle of the interval: the instant that its mean stands for when the load changes steadily.
    #[must_use]
    pub fn centre(&self) -> Timestamp {
        self.before(self.interval_ms * 500.0)
    }

    /// Beginning of the interval.
    #[must_use]
    pub fn begin(&self) -> Timestamp {
        self.before(self.interval_ms * 1e3)
    }

    /// So many microseconds before its end. They may come from a file: less than none is none, and time begins at 0.
    fn before(&self, us: f64) -> Timestamp {
        // A thousandth of one is what a float may have lost; conversion takes what is no number for 0.
        Timestamp(self.measured_at_us.0.saturating_sub((us + 1e-3) as u64))
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.measured_at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_interval_panics() {
        for interval_ms in [f64::NAN, -1.0, 1e300, f64::INFINITY] {
            let sample = Reading {
                utilization: Utilization::IDLE,
                measured_at_us: Timestamp(7),
                interval_ms,
            };
            let begin = if interval_ms > 0.0 { 0 } else { 7 };
            assert_eq!(sample.begin(), Timestamp(begin), "{interval_ms}");
            assert_eq!(sample.centre(), Timestamp(begin), "{interval_ms}");
        }
    }
}

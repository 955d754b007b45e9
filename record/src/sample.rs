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

impl Sample {
    /// Middle of the interval: the instant that its mean stands for when the load changes steadily.
    #[must_use]
    pub fn centre(&self) -> Timestamp {
        self.measured_at_us - Duration::from_secs_f64(self.interval_ms.max(0.0) / 2e3)
    }

    /// Beginning of the interval.
    #[must_use]
    pub fn begin(&self) -> Timestamp {
        self.measured_at_us - Duration::from_secs_f64(self.interval_ms.max(0.0) / 1e3)
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.measured_at_us)
    }
}

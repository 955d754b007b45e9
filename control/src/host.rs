//! What is known of one host.

use std::collections::VecDeque;

use record::decision::HoldReason;
use record::{Sample, Timestamp, Utilization};

use crate::forecast::Forecast;
use crate::settings::{Limits, milliseconds};

/// One host as the controller sees it.
#[derive(Debug, Default)]
pub(crate) struct Host {
    samples: VecDeque<Sample>,
    /// When a function last came or left.
    moved_at: Option<Timestamp>,
    /// Samples in a row for which a move was due.
    due_in_a_row: u32,
    /// The last hold that was logged, and when.
    pub(crate) logged: Option<(HoldReason, Timestamp)>,
}

impl Host {
    /// Takes a sample; `false` for one that is not newer than the last or that tells of the time before a move.
    pub(crate) fn take(&mut self, sample: Sample, limits: &Limits) -> bool {
        let newer = self
            .newest()
            .is_none_or(|last| sample.measured_at_us > last.measured_at_us);
        let whole = self.moved_at.is_none_or(|moved| sample.begin() >= moved);
        if !(newer && whole) {
            return false;
        }
        // A gap (a silent agent, a restart) ends the series that a line may be drawn through.
        let limit = milliseconds(limits.sample_age_ms_max);
        if self
            .newest()
            .is_some_and(|last| sample.measured_at_us.since(last.measured_at_us) > limit)
        {
            self.samples.clear();
            self.due_in_a_row = 0;
        }
        self.samples.push_back(sample);
        if self.samples.len() > limits.forecast_samples {
            self.samples.pop_front();
        }
        true
    }

    /// A function came or left: what was seen before tells of another host.
    pub(crate) fn moved(&mut self, now: Timestamp) {
        self.moved_at = Some(now);
        self.samples.clear();
        self.due_in_a_row = 0;
    }

    pub(crate) fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    pub(crate) fn utilization(&self) -> Option<Utilization> {
        self.newest().map(|sample| sample.utilization)
    }

    pub(crate) fn forecast(&self, limits: &Limits) -> Option<Forecast> {
        Forecast::from_samples(self.samples.iter(), limits.forecast_residual_max)
    }

    /// Counts samples in a row that agree that a move is due; call once a sample.
    pub(crate) fn count_due(&mut self, due: bool) {
        self.due_in_a_row = if due {
            self.due_in_a_row.saturating_add(1)
        } else {
            0
        };
    }

    pub(crate) const fn due_in_a_row(&self) -> u32 {
        self.due_in_a_row
    }

    /// Why its samples cannot be decided on, if they cannot.
    pub(crate) fn unusable(&self, now: Timestamp, limits: &Limits) -> Option<HoldReason> {
        match (self.newest(), self.moved_at) {
            (None, None) => Some(HoldReason::NoSample),
            (None, Some(moved_at_us)) => Some(HoldReason::SampleBeforeMove { moved_at_us }),
            (Some(sample), _) => {
                let limit_ms = limits.sample_age_ms_max;
                (sample.age(now) > milliseconds(limit_ms))
                    .then_some(HoldReason::StaleSample { limit_ms })
            }
        }
    }

    /// When its newest sample becomes too old.
    pub(crate) fn stale_at(&self, limits: &Limits) -> Option<Timestamp> {
        // One microsecond later, since a sample of exactly the limit is still good.
        self.newest().map(|sample| {
            sample.measured_at_us
                + milliseconds(limits.sample_age_ms_max)
                + std::time::Duration::from_micros(1)
        })
    }
}

//! What is known of one host.

use std::collections::VecDeque;
use std::time::Duration;

use record::decision::HoldReason;
use record::{HostName, Reading, Timestamp, Utilization};

use crate::forecast::Forecast;
use crate::settings::{Limits, milliseconds};

/// Number of a host in a controller: its place in [`crate::Settings::hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// Weight of the newest error in the running mean of squared errors: about the last ten samples count.
const ERROR_WEIGHT: f64 = 0.1;
/// One error counts at most as this many standard deviations so far: a step is a surprise once, not noise from now on.
const ERROR_SD_MAX: f64 = 3.0;
/// Standard deviation that the first error is measured against.
const ERROR_SD_FIRST: f64 = 0.02;

/// One host as the controller sees it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: HostName,
    /// Functions that run here, by their number.
    pub(crate) functions: Vec<usize>,
    /// Whether any of them may leave.
    pub(crate) any_free: bool,
    /// How long a move of one of them takes, 95th percentile: the longest.
    pub(crate) migration: Duration,
    /// Whether a function is being moved away.
    pub(crate) source: bool,
    /// Loads of functions that are on their way here.
    pub(crate) arriving: Vec<(usize, f64)>,
    /// Whether it is being emptied.
    pub(crate) draining: bool,
    /// Its own knee, where viewers' reports have taught one.
    pub(crate) knee: Option<Utilization>,
    /// When a move from or to it was last over, or a function was seen to have come or left.
    pub(crate) rests_since: Timestamp,
    readings: VecDeque<Reading>,
    forecast: Option<Forecast>,
    /// Running mean of the squared errors of forecasts of the next sample.
    error_square: f64,
    /// When a function last came or left.
    moved_at: Option<Timestamp>,
    /// Samples in a row for which a move was due.
    due_in_a_row: u32,
    /// Why nothing is moved away now; `None` while a move away has just begun, or before the first look.
    pub(crate) holding: Option<HoldReason>,
    /// The last hold that was logged, and when.
    pub(crate) logged: Option<(HoldReason, Timestamp)>,
}

impl Host {
    pub(crate) fn new(name: HostName) -> Self {
        Self {
            name,
            functions: Vec::new(),
            any_free: false,
            migration: Duration::ZERO,
            source: false,
            arriving: Vec::new(),
            draining: false,
            knee: None,
            rests_since: Timestamp(0),
            readings: VecDeque::new(),
            forecast: None,
            error_square: ERROR_SD_FIRST * ERROR_SD_FIRST,
            moved_at: None,
            due_in_a_row: 0,
            holding: None,
            logged: None,
        }
    }

    /// Takes a reading; `false` for one that is not newer than the last or that tells of the time before a move. `points` is room
    /// for a forecast to work in.
    pub(crate) fn take(
        &mut self,
        reading: Reading,
        limits: &Limits,
        points: &mut Vec<(f64, f64)>,
    ) -> bool {
        let newest = self.readings.back().map(|last| last.measured_at_us);
        let newer = newest.is_none_or(|last| reading.measured_at_us > last);
        let whole = self.moved_at.is_none_or(|moved| reading.begin() >= moved);
        if !(newer && whole) {
            return false;
        }
        // A gap (a silent agent, a restart) ends the series that a line may be drawn through.
        let limit = milliseconds(limits.sample_age_ms_max);
        if newest.is_some_and(|last| reading.measured_at_us.since(last) > limit) {
            self.forget();
        }
        self.learn_error(&reading);
        if self.readings.len() >= limits.forecast_samples {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
        self.forecast =
            Forecast::from_readings(self.readings.iter(), limits.forecast_residual_max, points);
        true
    }

    fn learn_error(&mut self, reading: &Reading) {
        let Some(forecast) = self.forecast else {
            return;
        };
        let expected = forecast.at(reading.centre()).clamp(0.0, 1.0);
        let error = reading.utilization.share() - expected;
        let limit = ERROR_SD_MAX * ERROR_SD_MAX * self.error_square;
        self.error_square += ERROR_WEIGHT * ((error * error).min(limit) - self.error_square);
    }

    /// Standard deviation of the forecast `ahead` of the newest sample: the error of one sample ahead grows with the square
    /// root of time, as that of a random walk does (Box and Jenkins, Time Series Analysis, section 5.1).
    pub(crate) fn forecast_sd(&self, ahead: Duration) -> f64 {
        let interval_s = self
            .newest()
            .map_or(0.0, |reading| reading.interval_ms / 1e3);
        let steps = if interval_s > 0.0 {
            ahead.as_secs_f64() / interval_s
        } else {
            1.0
        };
        (self.error_square * steps.max(1.0)).sqrt()
    }

    /// A function came or left: what was seen before tells of another host.
    pub(crate) fn moved(&mut self, now: Timestamp) {
        self.moved_at = Some(now);
        self.rests_since = now;
        self.forget();
    }

    fn forget(&mut self) {
        self.readings.clear();
        self.forecast = None;
        self.due_in_a_row = 0;
    }

    pub(crate) fn newest(&self) -> Option<&Reading> {
        self.readings.back()
    }

    pub(crate) fn utilization(&self) -> Option<Utilization> {
        self.newest().map(|reading| reading.utilization)
    }

    pub(crate) const fn forecast(&self) -> Option<&Forecast> {
        self.forecast.as_ref()
    }

    /// Counts samples in a row that agree that a move is due; call once a sample.
    pub(crate) const fn count_due(&mut self, due: bool) {
        self.due_in_a_row = if due {
            self.due_in_a_row.saturating_add(1)
        } else {
            0
        };
    }

    pub(crate) const fn due_in_a_row(&self) -> u32 {
        self.due_in_a_row
    }

    /// Another knee: the samples that there are were counted by the old one. Those at the end of the series that are over the new
    /// limit agree that a move is due.
    pub(crate) fn count_again(&mut self, limit: f64) {
        let newest_first = self.readings.iter().rev();
        let over = newest_first.take_while(|reading| reading.utilization.share() >= limit);
        self.due_in_a_row = u32::try_from(over.count()).unwrap_or(u32::MAX);
    }

    /// Why its samples cannot be decided on, if they cannot.
    pub(crate) fn unusable(&self, now: Timestamp, limits: &Limits) -> Option<HoldReason> {
        match (self.newest(), self.moved_at) {
            (None, None) => Some(HoldReason::NoSample),
            (None, Some(moved_at_us)) => Some(HoldReason::SampleBeforeMove { moved_at_us }),
            (Some(reading), _) => {
                let limit_ms = limits.sample_age_ms_max;
                (reading.age(now) > milliseconds(limit_ms))
                    .then_some(HoldReason::StaleSample { limit_ms })
            }
        }
    }

    /// When its newest sample becomes too old.
    pub(crate) fn stale_at(&self, limits: &Limits) -> Option<Timestamp> {
        // One microsecond later, since a sample of exactly the limit is still good.
        self.newest().map(|reading| {
            reading.measured_at_us
                + milliseconds(limits.sample_age_ms_max)
                + Duration::from_micros(1)
        })
    }
}

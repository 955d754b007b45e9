//! Where a host's load is going.
//!
//! A straight line through the newest few samples by least squares, each sample standing at the middle of the interval
//! that it is a mean of: on a ramp of `r` per second a mean over 5 s is `2.5 r` behind the load at its end, and the line
//! makes up for that. A slope is believed only while the samples lie near a line, and nearer than a step's would; after a
//! step or in noise the forecast says that the load stays where it is.

use record::decision::ForecastRecord;
use record::{Reading, Timestamp};

/// A slope counts while it is at least so many of its own standard errors (the t statistic of a regression's slope, Draper and
/// Smith, section 1.4). Four samples of which the last is a step have 2.4, of a ramp with little noise many times as much.
const TREND_T_MIN: f64 = 4.0;

/// A forecast of one host's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Instant at which the line has `level`.
    origin: Timestamp,
    level: f64,
    slope_per_s: f64,
    residual: Option<f64>,
    trusted: bool,
}

impl Forecast {
    /// Forecast from the readings of one host, oldest first; `None` without one. `points` is room to work in.
    #[must_use]
    pub fn from_readings<'a>(
        readings: impl DoubleEndedIterator<Item = &'a Reading> + Clone,
        residual_max: f64,
        points: &mut Vec<(f64, f64)>,
    ) -> Option<Self> {
        let last = readings.clone().next_back()?;
        let origin = last.centre();
        points.clear();
        points.extend(readings.map(|reading| {
            (
                reading.centre().seconds_after(origin),
                reading.utilization.share(),
            )
        }));
        let line = Line::through(points);
        let trusted = line.residual.is_some_and(|residual| {
            residual <= residual_max && line.slope.abs() * line.spread >= TREND_T_MIN * residual
        });
        let (level, slope_per_s) = if trusted {
            (line.level, line.slope)
        } else {
            (last.utilization.share(), 0.0)
        };
        Some(Self {
            origin,
            level,
            slope_per_s,
            residual: line.residual,
            trusted,
        })
    }

    /// Load expected at `time`; may pass 1 or fall below 0, as demand does.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> f64 {
        self.level + self.slope_per_s * time.seconds_after(self.origin)
    }

    /// When the load reaches `limit`: an instant in the past when it has, `None` when it does not.
    #[must_use]
    pub fn reaches(&self, limit: f64) -> Option<Timestamp> {
        if self.level >= limit && self.slope_per_s <= 0.0 {
            return Some(self.origin);
        }
        if self.slope_per_s <= 0.0 {
            return None;
        }
        let seconds = self.origin.as_secs_f64() + (limit - self.level) / self.slope_per_s;
        // A rise so slow that it takes longer than time can be counted is none.
        (seconds < 1e12).then(|| Timestamp::from_secs_f64(seconds.max(0.0)))
    }

    /// Its change per second; 0 while no slope is believed.
    #[must_use]
    pub const fn slope_per_s(&self) -> f64 {
        self.slope_per_s
    }

    /// Whether the slope is believed.
    #[must_use]
    pub const fn trusted(&self) -> bool {
        self.trusted
    }

    /// For the log; `sd` is the standard deviation of the forecast as far ahead as it is needed.
    #[must_use]
    pub fn record(&self, now: Timestamp, knee: Option<f64>, sd: f64) -> ForecastRecord {
        ForecastRecord {
            level: self.at(now),
            slope_per_s: self.slope_per_s,
            residual: self.residual,
            trusted: self.trusted,
            sd: Some(sd),
            knee_at_us: knee.and_then(|knee| self.reaches(knee)),
        }
    }
}

/// Least-squares line `level + slope x`; `residual` is the standard error of the points about it, with n - 2 degrees of
/// freedom (Draper and Smith, Applied Regression Analysis, 3rd ed., section 1.3), and unknown with fewer than 3 points.
struct Line {
    level: f64,
    slope: f64,
    /// Square root of the sum of squared distances of the points' places from their mean: a slope's own standard error is the
    /// residual divided by it.
    spread: f64,
    residual: Option<f64>,
}

impl Line {
    fn through(points: &[(f64, f64)]) -> Self {
        let n = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
        let sxx: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let sxy: f64 = points
            .iter()
            .map(|(x, y)| (x - mean_x) * (y - mean_y))
            .sum();
        let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
        let level = mean_y - slope * mean_x;
        let residual = (n >= 3.0 && sxx > 0.0).then(|| {
            let off = |(x, y): &(f64, f64)| (y - level - slope * x).powi(2);
            let sum: f64 = points.iter().map(off).sum();
            (sum / (n - 2.0)).sqrt()
        });
        Self {
            level,
            slope,
            spread: sxx.sqrt(),
            residual,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use record::Utilization;

    use super::*;

    fn readings(values: &[f64]) -> Vec<Reading> {
        let reading = |(i, &value): (usize, &f64)| Reading {
            utilization: Utilization::clamped(value),
            measured_at_us: Timestamp((i as u64 + 1) * 5_000_000),
            interval_ms: 5000.0,
        };
        values.iter().enumerate().map(reading).collect()
    }

    fn forecast(values: &[f64]) -> Forecast {
        Forecast::from_readings(readings(values).iter(), 0.05, &mut Vec::new()).unwrap()
    }

    #[test]
    fn nothing_from_nothing() {
        assert_eq!(
            Forecast::from_readings([].iter(), 0.05, &mut Vec::new()),
            None
        );
    }

    #[test]
    fn a_ramp_is_continued_and_its_lag_made_up_for() {
        // load(t) = 0.3 + 0.015 t, each sample a mean over the 5 s before it
        let mean = |end: f64| 0.3 + 0.015 * (end - 2.5);
        let f = forecast(&[mean(5.0), mean(10.0), mean(15.0), mean(20.0)]);
        assert!((f.at(Timestamp(20_000_000)) - 0.6).abs() < 1e-9);
        let knee = f.reaches(0.9).unwrap();
        assert!((knee.as_secs_f64() - 40.0).abs() < 1e-3, "{knee}");
    }

    #[test]
    fn a_step_is_not_a_trend() {
        let f = forecast(&[0.25, 0.25, 0.60, 0.86]);
        assert!(!f.trusted);
        assert_eq!(f.at(Timestamp(100_000_000)), 0.86);
        assert_eq!(f.reaches(0.95), None);
    }

    #[test]
    fn two_samples_are_no_trend() {
        assert!(!forecast(&[0.2, 0.3]).trusted);
    }

    #[test]
    fn over_the_limit_is_reached_whatever_the_slope() {
        assert!(forecast(&[0.97, 0.97, 0.97]).reaches(0.95).is_some());
        assert!(forecast(&[0.99, 0.98, 0.97]).reaches(0.95).is_some());
    }

    proptest! {
        #[test]
        fn never_panics_and_reaches_what_it_says(values in prop::collection::vec(0.0..=1.0f64, 1..8), limit in 0.0..1.2f64) {
            let f = forecast(&values);
            if let Some(at) = f.reaches(limit) && f.slope_per_s > 1e-6 && at.0 > 0 {
                prop_assert!((f.at(at) - limit).abs() < 1e-3);
            }
        }
    }
}

//! A level that wanders with a slope that wanders, seen through noise.

use super::Forecaster;
use super::spread::{Newest, Spread};

/// Variance by which the level wanders in a step, in those of the noise of a sample.
const LEVEL_VARIANCE: f64 = 0.3;
/// Variance by which the slope (per step) wanders in a step.
const SLOPE_VARIANCE: f64 = 0.05;
/// Variance of the slope when nothing is known of it.
const SLOPE_UNKNOWN: f64 = 1.0;

/// Local linear trend model by Kalman filter. All variances are in units of that of a sample's noise, which is taken from
/// the errors one step ahead (Harvey's concentrated likelihood). Time is counted in steps of the newest interval, so that
/// the same ratios serve samples of 5 s and of 300 s.
#[derive(Clone, Debug, Default)]
pub struct Kalman {
    state: Option<State>,
    /// Of errors one step ahead, each divided by what the filter expected of it.
    spread: Spread,
}

#[derive(Clone, Copy, Debug)]
struct State {
    newest: Newest,
    level: f64,
    /// Per step.
    slope: f64,
    /// Variances of level and slope, and the covariance of both.
    level_variance: f64,
    slope_variance: f64,
    covariance: f64,
}

impl State {
    fn first(newest: Newest, share: f64) -> Self {
        Self {
            newest,
            level: share,
            slope: 0.0,
            level_variance: 1.0,
            slope_variance: SLOPE_UNKNOWN,
            covariance: 0.0,
        }
    }

    /// What it becomes when nothing is seen for some steps. Both wander all the time, so that it does not matter into how
    /// many pieces that is cut (Harvey, section 9.2: continuous time).
    fn after(self, steps: f64) -> Self {
        let Self {
            level_variance,
            slope_variance,
            covariance,
            ..
        } = self;
        let square = steps * steps;
        Self {
            level: self.level + self.slope * steps,
            level_variance: level_variance
                + 2.0 * steps * covariance
                + square * slope_variance
                + LEVEL_VARIANCE * steps
                + SLOPE_VARIANCE * square * steps / 3.0,
            covariance: covariance + steps * slope_variance + SLOPE_VARIANCE * square / 2.0,
            slope_variance: slope_variance + SLOPE_VARIANCE * steps,
            ..self
        }
    }

    /// Takes what is seen; noise has variance 1.
    fn corrected(self, error: f64) -> Self {
        let total = self.level_variance + 1.0;
        let (level_gain, slope_gain) = (self.level_variance / total, self.covariance / total);
        Self {
            level: self.level + level_gain * error,
            slope: self.slope + slope_gain * error,
            level_variance: self.level_variance * (1.0 - level_gain),
            slope_variance: self.slope_variance - slope_gain * self.covariance,
            covariance: self.covariance * (1.0 - level_gain),
            ..self
        }
    }
}

/// The most steps that a gap counts as: after it the past is worth nothing anyway.
const GAP_STEPS_MAX: f64 = 100.0;

impl Forecaster for Kalman {
    fn name(&self) -> &'static str {
        "kalman-trend"
    }

    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64) {
        let newest = Newest::of(at_s, interval_s);
        let Some(state) = self.state else {
            self.state = Some(State::first(newest, share));
            return;
        };
        let steps = (newest.centre_s - state.newest.centre_s) / interval_s;
        // Neither back in time nor not-a-number.
        if steps.is_nan() || steps <= 0.0 {
            return;
        }
        if steps > GAP_STEPS_MAX {
            self.state = Some(State::first(newest, share));
            return;
        }
        let expected = state.after(steps);
        let error = share - expected.level;
        self.spread
            .add(error / (expected.level_variance + 1.0).sqrt());
        self.state = Some(State {
            newest,
            ..expected.corrected(error)
        });
    }

    fn predict(&self, at_s: f64) -> Option<(f64, f64)> {
        let state = self.state?;
        let steps = (at_s - state.newest.centre_s) / state.newest.step_s;
        let ahead = state.after(if steps > 0.0 { steps.min(1e6) } else { 0.0 });
        let sd = self.spread.sd()? * (ahead.level_variance + 1.0).sqrt();
        Some((ahead.level, sd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pieces_make_the_same_as_one() {
        let state = State::first(Newest::of(0.0, 5.0), 0.5);
        let (one, two) = (state.after(6.0), state.after(2.5).after(3.5));
        assert!((one.level_variance - two.level_variance).abs() < 1e-9);
        assert!((one.covariance - two.covariance).abs() < 1e-9);
        assert!((one.slope_variance - two.slope_variance).abs() < 1e-9);
    }

    #[test]
    fn what_is_seen_makes_surer() {
        let state = State::first(Newest::of(0.0, 5.0), 0.5).after(1.0);
        let corrected = state.corrected(0.1);
        assert!(corrected.level_variance < state.level_variance);
        assert!(corrected.slope_variance < state.slope_variance);
        assert!(corrected.level > 0.5 && corrected.slope > 0.0);
    }
}

//! Ways to foresee a host's load, to be compared on data.
//!
//! Each takes one sample after another, a mean over an interval that has ended, and says what load it expects at an instant
//! and how sure it is (a standard deviation). An instant is that of a mean's middle: what is expected at `t` is compared
//! with a sample whose middle is at `t`. Where a method says how its error grows with the horizon, that formula is used,
//! with the spread of its own errors ([`spread`]).
//!
//! | name | what it is | published |
//! |---|---|---|
//! | `naive` | the newest sample | – |
//! | `mean-6` | mean of the newest 6 | – |
//! | `ewma` | exponentially weighted mean | Brown, "Statistical Forecasting for Inventory Control", 1959 |
//! | `ar1` | autoregression of order 1, over the newest 30 | Box and Jenkins, "Time Series Analysis", 1970 |
//! | `holt` | level and trend, exponentially weighted | Holt, 1957, reprinted in Int. J. Forecasting 20(1), 2004 |
//! | `holt-damped` | the same with a trend that fades | Gardner and McKenzie, Management Science 31(10), 1985 |
//! | `line-4` | least-squares line through 4, believed near it only | what `control` does: [`control::forecast`] |
//! | `theil-sen-6` | line with the median slope through 6 | Theil 1950; Sen, J. Am. Statistical Assoc. 63, 1968 |
//! | `kalman-trend` | local linear trend by Kalman filter | Harvey, "Forecasting, Structural Time Series Models and the Kalman Filter", 1989 |
//!
//! Errors over the horizon are those of Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed. 2021,
//! section 8.7, for all of exponential smoothing, and of Box and Jenkins for `ar1`. Parameters are the same for all data:
//! they stand at each method, and none was tuned on what it is judged by.

pub mod compare;
pub mod spread;

mod autoregression;
mod holt;
mod kalman;
mod level;
mod line;

use std::fmt;

pub use compare::{ForecastRow, ForecastTable, Sampling, compare};

pub use autoregression::Autoregression;
pub use holt::Holt;
pub use kalman::Kalman;
pub use level::{Ewma, MeanOfWindow, Naive};
pub use line::{LeastSquares, TheilSen};

/// Foresees the load of one host.
pub trait Forecaster: fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Takes the mean over an interval that ends at `at_s`, later than any before.
    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64);

    /// Load expected at an instant after the newest sample's middle, and its standard deviation; `None` as long as too
    /// little was seen for either.
    fn predict(&self, at_s: f64) -> Option<(f64, f64)>;
}

/// One of each, fresh.
#[must_use]
pub fn all() -> Vec<Box<dyn Forecaster>> {
    vec![
        Box::new(Naive::default()),
        Box::new(MeanOfWindow::default()),
        Box::new(Ewma::default()),
        Box::new(Autoregression::default()),
        Box::new(Holt::linear()),
        Box::new(Holt::damped()),
        Box::new(LeastSquares::default()),
        Box::new(TheilSen::default()),
        Box::new(Kalman::default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(values: &[f64]) -> Vec<Box<dyn Forecaster>> {
        let mut forecasters = all();
        for forecaster in &mut forecasters {
            for (number, value) in (1..).zip(values) {
                forecaster.observe(f64::from(number) * 5.0, 5.0, *value);
            }
        }
        forecasters
    }

    #[test]
    fn nothing_from_nothing() {
        for forecaster in all() {
            assert_eq!(forecaster.predict(5.0), None, "{}", forecaster.name());
        }
    }

    #[test]
    fn what_stays_is_expected_to_stay() {
        for forecaster in after(&[0.4; 40]) {
            let (mean, sd) = forecaster.predict(225.0).unwrap();
            assert!((mean - 0.4).abs() < 1e-9, "{}: {mean}", forecaster.name());
            assert!((0.0..1e-6).contains(&sd), "{}: {sd}", forecaster.name());
        }
    }

    /// 0.2 %/s: who knows of trends goes on with it, who does not lags behind.
    #[test]
    fn trends_are_continued_by_those_who_know_of_them() {
        let values: Vec<f64> = (0..60).map(|i| 0.1 + 0.01 * f64::from(i)).collect();
        let expected = values[59] + 0.01 * 6.0;
        for forecaster in after(&values) {
            let (mean, _) = forecaster.predict(300.0 - 2.5 + 30.0).unwrap();
            let error = expected - mean;
            match forecaster.name() {
                "holt" | "line-4" | "theil-sen-6" | "kalman-trend" => {
                    assert!(error.abs() < 0.002, "{}: {error}", forecaster.name());
                }
                "holt-damped" => assert!((0.005..0.05).contains(&error), "{error}"),
                name => assert!(error > 0.055, "{name}: {error}"),
            }
        }
    }

    #[test]
    fn uncertainty_grows_with_the_horizon() {
        let mut chance = crate::chance::Chance::new(3);
        let values: Vec<f64> = (0..60).map(|_| chance.between(0.3, 0.6)).collect();
        for forecaster in after(&values) {
            let sd = |ahead_s: f64| forecaster.predict(297.5 + ahead_s).unwrap().1;
            assert!(sd(5.0) > 0.02, "{}", forecaster.name());
            assert!(sd(30.0) >= sd(5.0), "{}", forecaster.name());
        }
    }

    #[test]
    fn irregular_and_odd_samples() {
        for mut forecaster in all() {
            for (at_s, interval_s, share) in [
                (5.0, 5.0, 0.1),
                (5.0, 5.0, 0.2),
                (4.0, 5.0, 0.3),
                (90.0, 0.0, 1.0),
                (1e9, 5.0, 0.0),
            ] {
                forecaster.observe(at_s, interval_s, share);
                if let Some((mean, sd)) = forecaster.predict(at_s + 10.0) {
                    assert!(mean.is_finite() && sd >= 0.0, "{}", forecaster.name());
                }
            }
        }
    }
}

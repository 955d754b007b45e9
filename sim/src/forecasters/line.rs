//! Straight lines through the newest samples.

use std::collections::VecDeque;

use control::forecast::Forecast;
use record::{Reading, Timestamp, Utilization};

use super::Forecaster;
use super::spread::{Newest, Spread, student};

/// What `control` does: a least-squares line through four samples, believed while they lie within 0.04 of it. The error
/// ahead is that of a regression (Draper and Smith, "Applied Regression Analysis", 3rd ed., section 1.4); while the line is
/// not believed, that of [`super::Naive`].
#[derive(Clone, Debug, Default)]
pub struct LeastSquares {
    window: VecDeque<Reading>,
    newest: Option<(Newest, f64)>,
    /// Of the naive forecast.
    spread: Spread,
}

impl LeastSquares {
    const SAMPLES: usize = 4;
    const RESIDUAL_MAX: f64 = 0.04;
}

impl Forecaster for LeastSquares {
    fn name(&self) -> &'static str {
        "line-4"
    }

    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64) {
        let newest = (Newest::of(at_s, interval_s), share);
        if let Some((_, before)) = self.newest.replace(newest) {
            self.spread.add(share - before);
        }
        self.window.push_back(Reading {
            utilization: Utilization::clamped(share),
            measured_at_us: Timestamp::from_secs_f64(at_s),
            interval_ms: interval_s * 1e3,
        });
        if self.window.len() > Self::SAMPLES {
            self.window.pop_front();
        }
    }

    fn predict(&self, at_s: f64) -> Option<(f64, f64)> {
        let readings = self.window.iter();
        let forecast = Forecast::from_readings(readings, Self::RESIDUAL_MAX, &mut Vec::new())?;
        let at = Timestamp::from_secs_f64(at_s);
        let record = forecast.record(at, None, 0.0);
        let sd = match record.residual.filter(|_| record.trusted) {
            Some(residual) => {
                let centres = self.window.iter().map(|reading| reading.centre());
                let centres: Vec<f64> = centres.map(Timestamp::as_secs_f64).collect();
                residual * growth(&centres, at_s) * student(centres.len() - 2)
            }
            None => {
                let steps = self.newest?.0.steps_to(at_s);
                self.spread.sd()? * f64::from(steps).sqrt()
            }
        };
        Some((forecast.at(at), sd))
    }
}

/// A line with the median of the slopes between any two of six samples, through the median of what is left: one sample
/// that is far off does not matter. Its spread is the median distance from the line, times 1.4826 (which makes it the
/// standard deviation of a normal distribution), and grows ahead as that of a regression.
#[derive(Clone, Debug, Default)]
pub struct TheilSen {
    window: VecDeque<(f64, f64)>,
}

impl TheilSen {
    const SAMPLES: usize = 6;
    const SAMPLES_MIN: usize = 3;
    const SD_PER_MEDIAN: f64 = 1.4826;
}

impl Forecaster for TheilSen {
    fn name(&self) -> &'static str {
        "theil-sen-6"
    }

    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64) {
        let centre_s = Newest::of(at_s, interval_s).centre_s;
        self.window.push_back((centre_s, share));
        if self.window.len() > Self::SAMPLES {
            self.window.pop_front();
        }
    }

    fn predict(&self, at_s: f64) -> Option<(f64, f64)> {
        if self.window.len() < Self::SAMPLES_MIN {
            return None;
        }
        let pairs = self.window.iter().enumerate().flat_map(|(i, a)| {
            let later = self.window.iter().skip(i + 1);
            later
                .filter(|b| b.0 > a.0)
                .map(move |b| (b.1 - a.1) / (b.0 - a.0))
        });
        let slope = median(pairs.collect())?;
        // Times since the newest sample: with large ones the last digits of the slope would matter.
        let origin_s = self.window.back()?.0;
        let level = |(x, y): &(f64, f64)| y - slope * (x - origin_s);
        let at_origin = median(self.window.iter().map(level).collect())?;
        let off = self
            .window
            .iter()
            .map(|point| (level(point) - at_origin).abs());
        let sd = Self::SD_PER_MEDIAN * median(off.collect())?;
        let centres: Vec<f64> = self.window.iter().map(|point| point.0).collect();
        let mean = at_origin + slope * (at_s - origin_s);
        let growth = growth(&centres, at_s) * student(centres.len() - 2);
        Some((mean, sd * growth))
    }
}

/// By what the error of a line through samples at `xs` is larger at `x`: `sqrt(1 + 1/n + (x - mean)^2 / Sxx)`.
fn growth(xs: &[f64], x: f64) -> f64 {
    let n = xs.len() as f64;
    let mean = xs.iter().sum::<f64>() / n;
    let sxx: f64 = xs.iter().map(|x| (x - mean) * (x - mean)).sum();
    let leverage = if sxx > 0.0 {
        (x - mean) * (x - mean) / sxx
    } else {
        0.0
    };
    (1.0 + 1.0 / n + leverage).sqrt()
}

/// The middle one; of two their mean.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_far_off_does_not_turn_the_median_line() {
        let mut forecaster = TheilSen::default();
        for (number, share) in (1..).zip([0.30, 0.32, 0.34, 0.90, 0.38, 0.40]) {
            forecaster.observe(f64::from(number) * 5.0, 5.0, share);
        }
        let (mean, _) = forecaster.predict(30.0 - 2.5 + 5.0).unwrap();
        assert!((mean - 0.42).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_step_is_not_continued_by_the_line() {
        let mut forecaster = LeastSquares::default();
        for (number, share) in (1..).zip([0.3, 0.3, 0.3, 0.9]) {
            forecaster.observe(f64::from(number) * 5.0, 5.0, share);
        }
        let (mean, sd) = forecaster.predict(30.0).unwrap();
        assert_eq!(mean, 0.9);
        assert!(sd > 0.3);
    }

    #[test]
    fn medians() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![3.0, 1.0], Some(2.0)),
            (vec![3.0, 1.0, 9.0], Some(3.0)),
        ] {
            assert_eq!(median(values), expected);
        }
    }
}

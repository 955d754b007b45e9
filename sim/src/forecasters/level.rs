//! Forecasts without a trend: the load stays where it is.

use std::collections::VecDeque;

use super::Forecaster;
use super::spread::{Newest, Spread, student};

/// The newest sample. Its error grows as that of a random walk does, with the root of the steps.
#[derive(Clone, Debug, Default)]
pub struct Naive {
    newest: Option<(Newest, f64)>,
    spread: Spread,
}

impl Forecaster for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64) {
        let newest = (Newest::of(at_s, interval_s), share);
        if let Some((_, before)) = self.newest.replace(newest) {
            self.spread.add(share - before);
        }
    }

    fn predict(&self, at_s: f64) -> Option<(f64, f64)> {
        let (newest, share) = self.newest?;
        let steps = f64::from(newest.steps_to(at_s));
        Some((share, self.spread.sd()? * steps.sqrt()))
    }
}

/// Mean of the newest six. Its error is that of one more draw from the same lot.
#[derive(Clone, Debug, Default)]
pub struct MeanOfWindow {
    window: VecDeque<f64>,
}

impl MeanOfWindow {
    const SAMPLES: usize = 6;
}

impl Forecaster for MeanOfWindow {
    fn name(&self) -> &'static str {
        "mean-6"
    }

    fn observe(&mut self, _at_s: f64, _interval_s: f64, share: f64) {
        self.window.push_back(share);
        if self.window.len() > Self::SAMPLES {
            self.window.pop_front();
        }
    }

    fn predict(&self, _at_s: f64) -> Option<(f64, f64)> {
        let n = self.window.len() as f64;
        if n < 2.0 {
            return None;
        }
        let mean = self.window.iter().sum::<f64>() / n;
        let squares = self.window.iter().map(|x| (x - mean) * (x - mean));
        let variance = squares.sum::<f64>() / (n - 1.0);
        let sd = (variance * (1.0 + 1.0 / n)).sqrt();
        Some((mean, sd * student(self.window.len() - 1)))
    }
}

/// Exponentially weighted mean, the newest sample with weight 0.5.
#[derive(Clone, Debug, Default)]
pub struct Ewma {
    newest: Option<(Newest, f64)>,
    spread: Spread,
}

impl Ewma {
    const WEIGHT: f64 = 0.5;
}

impl Forecaster for Ewma {
    fn name(&self) -> &'static str {
        "ewma"
    }

    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64) {
        let level = match self.newest {
            None => share,
            Some((_, level)) => {
                self.spread.add(share - level);
                level + Self::WEIGHT * (share - level)
            }
        };
        self.newest = Some((Newest::of(at_s, interval_s), level));
    }

    fn predict(&self, at_s: f64) -> Option<(f64, f64)> {
        let (newest, level) = self.newest?;
        let further = f64::from(newest.steps_to(at_s) - 1);
        let growth = 1.0 + further * Self::WEIGHT * Self::WEIGHT;
        Some((level, self.spread.sd()? * growth.sqrt()))
    }
}

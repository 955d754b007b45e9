//! The load tends back to its mean.

use std::collections::VecDeque;

use super::Forecaster;
use super::spread::Newest;

/// `x' - m = f (x - m) + e` over the newest 30 samples, `m` and `f` by least squares (`f` within -0.99 and 0.99). Samples
/// count as equally far apart. `h` steps ahead it is `m + f^h (x - m)`, with variance `s^2 (1 - f^2h) / (1 - f^2)`.
#[derive(Clone, Debug, Default)]
pub struct Autoregression {
    newest: Option<Newest>,
    window: VecDeque<f64>,
}

impl Autoregression {
    const SAMPLES: usize = 30;
    const SAMPLES_MIN: usize = 6;
    const FACTOR_MAX: f64 = 0.99;
}

impl Forecaster for Autoregression {
    fn name(&self) -> &'static str {
        "ar1"
    }

    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64) {
        self.newest = Some(Newest::of(at_s, interval_s));
        self.window.push_back(share);
        if self.window.len() > Self::SAMPLES {
            self.window.pop_front();
        }
    }

    fn predict(&self, at_s: f64) -> Option<(f64, f64)> {
        if self.window.len() < Self::SAMPLES_MIN {
            return None;
        }
        let (newest, last) = (self.newest?, self.window.back()?);
        let mean = self.window.iter().sum::<f64>() / self.window.len() as f64;
        let pairs = || {
            let later = self.window.iter().skip(1);
            let both = self.window.iter().zip(later);
            both.map(|(x, y)| (x - mean, y - mean))
        };
        let squares: f64 = pairs().map(|(x, _)| x * x).sum();
        let products: f64 = pairs().map(|(x, y)| x * y).sum();
        let factor = if squares > 0.0 {
            (products / squares).clamp(-Self::FACTOR_MAX, Self::FACTOR_MAX)
        } else {
            0.0
        };
        let errors = pairs().map(|(x, y)| (y - factor * x) * (y - factor * x));
        // Two degrees of freedom went into the mean and the factor.
        let variance = errors.sum::<f64>() / (self.window.len() as f64 - 3.0);
        let (mut power, mut growth) = (1.0, 0.0);
        for _ in 0..newest.steps_to(at_s) {
            growth += power * power;
            power *= factor;
        }
        Some((mean + power * (last - mean), (variance * growth).sqrt()))
    }
}

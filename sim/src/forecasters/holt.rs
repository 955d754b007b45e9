//! Level and trend, both exponentially weighted.

use super::Forecaster;
use super::spread::{Newest, Spread};

/// Holt's linear trend in the error-correction form, for samples at any distance: the trend is kept by the second. With a
/// damping below 1 it fades by that factor from step to step.
#[derive(Clone, Debug)]
pub struct Holt {
    name: &'static str,
    damping: f64,
    state: Option<State>,
    spread: Spread,
}

#[derive(Clone, Copy, Debug)]
struct State {
    newest: Newest,
    level: f64,
    slope_per_s: f64,
}

impl Holt {
    /// Weight of the newest error in the level.
    const LEVEL_WEIGHT: f64 = 0.5;
    /// Of it, what goes into the trend.
    const TREND_WEIGHT: f64 = 0.3;

    /// Holt's: the trend goes on for ever.
    #[must_use]
    pub fn linear() -> Self {
        Self::new("holt", 1.0)
    }

    /// Gardner and McKenzie's: the trend fades by 0.9 with each step.
    #[must_use]
    pub fn damped() -> Self {
        Self::new("holt-damped", 0.9)
    }

    fn new(name: &'static str, damping: f64) -> Self {
        Self {
            name,
            damping,
            state: None,
            spread: Spread::default(),
        }
    }
}

impl Forecaster for Holt {
    fn name(&self) -> &'static str {
        self.name
    }

    fn observe(&mut self, at_s: f64, interval_s: f64, share: f64) {
        let newest = Newest::of(at_s, interval_s);
        let Some(state) = self.state else {
            self.state = Some(State {
                newest,
                level: share,
                slope_per_s: 0.0,
            });
            return;
        };
        let since_s = newest.centre_s - state.newest.centre_s;
        if since_s <= 0.0 {
            return;
        }
        let slope_per_s = self.damping * state.slope_per_s;
        let expected = state.level + slope_per_s * since_s;
        let error = share - expected;
        self.spread.add(error);
        let trend_weight = Self::LEVEL_WEIGHT * Self::TREND_WEIGHT;
        self.state = Some(State {
            newest,
            level: expected + Self::LEVEL_WEIGHT * error,
            slope_per_s: slope_per_s + trend_weight * error / since_s,
        });
    }

    fn predict(&self, at_s: f64) -> Option<(f64, f64)> {
        let state = self.state?;
        let step_s = (at_s - state.newest.centre_s) / f64::from(state.newest.steps_to(at_s));
        // `faded` is the sum of the damping's powers: how many undamped steps the damped ones are worth.
        let (mut power, mut faded, mut growth) = (1.0, 0.0, 1.0);
        for step in 0..state.newest.steps_to(at_s) {
            if step > 0 {
                let weight = Self::LEVEL_WEIGHT * (1.0 + Self::TREND_WEIGHT * faded);
                growth += weight * weight;
            }
            power *= self.damping;
            faded += power;
        }
        let mean = state.level + state.slope_per_s * step_s * faded;
        Some((mean, self.spread.sd()? * growth.sqrt()))
    }
}

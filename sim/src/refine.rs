//! Five-minute values as demand at any instant.
//!
//! A trace says one value for each window, and nothing of what happened within it. A value is taken as the mean over the
//! window that begins at its time and ends at the next one's (`[t, t + 300)` in most traces). Three ways to fill the
//! windows, of which none is the truth, so that no result has to rest on one:
//!
//! | name | within a window | mean of a window with value `v` between `a` and `b` |
//! |---|---|---|
//! | `linear` | straight lines between the middles of the windows | `(a + 6 v + b) / 8`: peaks are cut by a quarter of what they stand out by on average of both sides |
//! | `step` | `v` all along, a jump at its ends | `v`, exactly |
//! | `noisy` | `linear` times 1 + noise | as `linear`, give or take 1.0 % of it (one standard deviation) |
//!
//! `linear` has the slowest ramps that go through the middles, `step` the fastest there are; the truth lies between. The
//! noise is [`Noise`](crate::noise::Noise): random access, 4 s to a minute long, of at most [`NOISE_AMPLITUDE`] of the load
//! and with a standard deviation of 3.3 % of it.

use std::sync::Arc;

use crate::demand::{Demand, Line, Stairs};
use crate::noise::{Noise, Noisy};
use crate::trace::Series;

/// How far `noisy` goes from `linear` at most, as a share of the load.
pub const NOISE_AMPLITUDE: f64 = 0.15;

/// How the values of a trace become demand at any instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Refinement {
    /// Straight lines between the middles of windows.
    Linear,
    /// The value all along its window.
    Step,
    /// `Linear` with noise.
    Noisy,
}

impl Refinement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Step, Self::Noisy];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Step => "step",
            Self::Noisy => "noisy",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A series as demand at any instant. The seed matters to [`Refinement::Noisy`] only.
#[must_use]
pub fn refine(series: &Series, method: Refinement, seed: u64) -> Arc<dyn Demand> {
    match method {
        Refinement::Linear => Arc::new(through_middles(series)),
        Refinement::Step => Arc::new(Stairs {
            points: held_from_the_beginning(series),
        }),
        Refinement::Noisy => Arc::new(Noisy {
            about: Arc::new(through_middles(series)),
            noise: Noise { seed },
            amplitude: NOISE_AMPLITUDE,
        }),
    }
}

/// Each value at the middle of its window. A window is no longer than is usual in the series: where values are missing,
/// the line goes from the middle of the last window to the middle of the next.
fn through_middles(series: &Series) -> Line {
    let usual_s = series.step_s().unwrap_or(0.0);
    let ends = series.points.iter().skip(1).map(|point| Some(point.0));
    let points = series.points.iter().zip(ends.chain([None]));
    Line {
        points: points
            .map(|((at_s, share), next_s)| {
                let width_s = next_s.map_or(usual_s, |next_s| (next_s - at_s).min(usual_s));
                (at_s + width_s / 2.0, *share)
            })
            .collect(),
    }
}

/// Before its first window a series is as in it, as it is after its last.
fn held_from_the_beginning(series: &Series) -> Vec<(f64, f64)> {
    let mut points = series.points.clone();
    if let Some(first) = points.first_mut() {
        first.0 = f64::NEG_INFINITY;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn series(values: &[f64]) -> Series {
        let at_s = |i| f64::from(u32::try_from(i).unwrap()) * 300.0;
        Series {
            name: "a".into(),
            points: values
                .iter()
                .enumerate()
                .map(|(i, v)| (at_s(i), *v))
                .collect(),
        }
    }

    fn of_chance(windows: usize) -> Series {
        let mut chance = Chance::new(5);
        let values: Vec<f64> = (0..windows).map(|_| chance.between(0.05, 0.95)).collect();
        series(&values)
    }

    /// What the table above says of the mean of a window.
    fn linear_mean(series: &Series, window: usize) -> f64 {
        let value = |i: usize| series.points[i].1;
        (value(window - 1) + 6.0 * value(window) + value(window + 1)) / 8.0
    }

    #[test]
    fn names_lead_back() {
        for method in Refinement::ALL {
            assert_eq!(Refinement::of_name(method.name()), Some(method));
        }
        assert_eq!(Refinement::of_name("Linear "), None);
    }

    #[test]
    fn linear_goes_through_the_middles_and_keeps_its_mean() {
        let series = of_chance(100);
        let demand = refine(&series, Refinement::Linear, 0);
        for (window, (at_s, share)) in series.points.iter().enumerate().skip(1).take(98) {
            assert!((demand.at(at_s + 150.0) - share).abs() < 1e-12);
            let mean = demand.mean(*at_s, at_s + 300.0);
            assert!((mean - linear_mean(&series, window)).abs() < 1e-3);
        }
        assert_eq!(demand.at(-1e6), series.points[0].1);
        assert_eq!(demand.at(1e6), series.points[99].1);
    }

    #[test]
    fn step_keeps_the_mean_of_each_window() {
        let series = of_chance(100);
        let demand = refine(&series, Refinement::Step, 0);
        for (at_s, share) in &series.points {
            assert!((demand.mean(*at_s, at_s + 300.0) - share).abs() < 1e-12);
            assert_eq!(demand.at(at_s + 299.0), *share);
        }
        assert_eq!(demand.at(-1.0), series.points[0].1);
    }

    #[test]
    fn noisy_keeps_the_mean_of_each_window_to_a_hundredth() {
        let series = of_chance(1_000);
        let demand = refine(&series, Refinement::Noisy, 9);
        let linear = refine(&series, Refinement::Linear, 0);
        let mut squares = 0.0;
        for (window, (at_s, _)) in series.points.iter().enumerate().skip(1).take(998) {
            let found = demand.mean(*at_s, at_s + 300.0) / linear_mean(&series, window) - 1.0;
            assert!(found.abs() < 0.05, "{found} at {at_s}");
            squares += found * found;
            for second in 0..300 {
                let at_s = at_s + f64::from(second);
                let off = (demand.at(at_s) / linear.at(at_s) - 1.0).abs();
                assert!(off <= NOISE_AMPLITUDE + 1e-12);
            }
        }
        let sd = f64::sqrt(squares / 998.0);
        assert!((0.008..0.012).contains(&sd), "{sd}");
    }

    #[test]
    fn noise_is_of_the_seed() {
        let series = of_chance(10);
        let at = |seed| {
            refine(&series, Refinement::Noisy, seed)
                .at(1_234.5)
                .to_bits()
        };
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
    }

    #[test]
    fn a_gap_does_not_make_a_long_window() {
        let mut series = series(&[0.2, 0.4, 0.0, 0.0, 0.8]);
        series.points.drain(2..4);
        let demand = refine(&series, Refinement::Linear, 0);
        assert!((demand.at(450.0) - 0.4).abs() < 1e-12);
        assert!((demand.at(900.0) - 0.6).abs() < 1e-12);
        assert!((demand.at(1_350.0) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn few_points() {
        for method in Refinement::ALL {
            assert_eq!(refine(&series(&[]), method, 0).at(1.0), 0.0);
            let one = refine(&series(&[0.5]), method, 0).at(1.0);
            assert!((one - 0.5).abs() <= 0.5 * NOISE_AMPLITUDE);
        }
    }
}

//! Load over time.
//!
//! *Demand* is what would be used if there were enough: it may pass 1, where a load cannot. All of it is random access, so
//! that a simulator may look at any instant in any order, and deterministic.

use std::fmt;
use std::sync::Arc;

/// Width of the pieces that a mean is summed up from where there is no exact one.
const PIECE_S: f64 = 0.5;

/// Demand of one host or virtual machine over time as a share of one host's CPU.
pub trait Demand: Send + Sync + fmt::Debug {
    /// Demand at an instant; may pass 1, never negative.
    fn at(&self, at_s: f64) -> f64;

    /// Mean from one instant to a later one, by the middles of pieces of half a second at most.
    fn mean(&self, from_s: f64, to_s: f64) -> f64 {
        mean_of(|at_s| self.at(at_s), from_s, to_s)
    }
}

/// Mean of a function of time by the middles of pieces of half a second at most.
pub(crate) fn mean_of(at: impl Fn(f64) -> f64, from_s: f64, to_s: f64) -> f64 {
    let pieces = ((to_s - from_s) / PIECE_S).ceil().clamp(1.0, 1e6) as u32;
    let width_s = (to_s - from_s) / f64::from(pieces);
    let sum: f64 = (0..pieces)
        .map(|piece| at(from_s + (f64::from(piece) + 0.5) * width_s))
        .sum();
    sum / f64::from(pieces)
}

/// The same at all times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant(pub f64);

impl Demand for Constant {
    fn at(&self, _at_s: f64) -> f64 {
        self.0.max(0.0)
    }
}

/// Straight lines between points in order of time; two points at one instant are a step, of which the later holds. Before
/// the first point and after the last it is as there; without points it is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// `(seconds, share)`.
    pub points: Vec<(f64, f64)>,
}

impl Demand for Line {
    fn at(&self, at_s: f64) -> f64 {
        let after = self.points.partition_point(|point| point.0 <= at_s);
        let value = match (
            after.checked_sub(1).and_then(|i| self.points.get(i)),
            self.points.get(after),
        ) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (at_s - a.0) / (b.0 - a.0),
            (Some(only), None) | (None, Some(only)) => only.1,
            (None, None) => 0.0,
        };
        value.max(0.0)
    }

    /// Exact where no point is below 0: areas under the pieces.
    fn mean(&self, from_s: f64, to_s: f64) -> f64 {
        let mut load = self.at(from_s);
        if from_s.is_nan() || to_s.is_nan() || to_s <= from_s {
            return load;
        }
        let (mut at_s, mut area) = (from_s, 0.0);
        let after = self.points.partition_point(|point| point.0 <= from_s);
        for point in self.points.iter().skip(after) {
            let next = point.1.max(0.0);
            if point.0 >= to_s {
                let end = load + (next - load) * (to_s - at_s) / (point.0 - at_s);
                return (area + (load + end) / 2.0 * (to_s - at_s)) / (to_s - from_s);
            }
            area += (load + next) / 2.0 * (point.0 - at_s);
            (at_s, load) = (point.0, next);
        }
        (area + load * (to_s - at_s)) / (to_s - from_s)
    }
}

/// One of several, each held until the next begins: `(seconds, share)` in order of time. Before the first it is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stairs {
    /// `(seconds at which it begins, share)`.
    pub points: Vec<(f64, f64)>,
}

impl Demand for Stairs {
    fn at(&self, at_s: f64) -> f64 {
        let after = self.points.partition_point(|point| point.0 <= at_s);
        let point = after.checked_sub(1).and_then(|i| self.points.get(i));
        point.map_or(0.0, |point| point.1.max(0.0))
    }
}

/// Several together.
#[derive(Clone, Debug, Default)]
pub struct Sum(pub Vec<Arc<dyn Demand>>);

impl Demand for Sum {
    fn at(&self, at_s: f64) -> f64 {
        self.0.iter().map(|demand| demand.at(at_s)).sum()
    }

    fn mean(&self, from_s: f64, to_s: f64) -> f64 {
        self.0.iter().map(|demand| demand.mean(from_s, to_s)).sum()
    }
}

/// Another demand times a factor.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// The other one.
    pub of: Arc<dyn Demand>,
    /// The factor, not negative.
    pub by: f64,
}

impl Demand for Scaled {
    fn at(&self, at_s: f64) -> f64 {
        (self.of.at(at_s) * self.by).max(0.0)
    }

    fn mean(&self, from_s: f64, to_s: f64) -> f64 {
        (self.of.mean(from_s, to_s) * self.by).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_steps() {
        let line = Line {
            points: vec![(5.0, 0.2), (10.0, 0.4), (10.0, 0.8), (20.0, 1.2)],
        };
        for (at_s, share) in [
            (-1.0, 0.2),
            (5.0, 0.2),
            (7.5, 0.3),
            (10.0, 0.8),
            (15.0, 1.0),
            (20.0, 1.2),
            (1e9, 1.2),
        ] {
            assert!((line.at(at_s) - share).abs() < 1e-12, "{at_s}");
        }
        assert!((line.mean(10.0, 20.0) - 1.0).abs() < 1e-12);
        assert_eq!(Line::default().at(3.0), 0.0);
    }

    #[test]
    fn means_of_lines_are_exact() {
        let line = Line {
            points: vec![(5.0, 0.2), (10.0, 0.4), (10.0, 0.8), (20.0, 1.2)],
        };
        for (from_s, to_s, mean) in [
            (0.0, 5.0, 0.2),
            (0.0, 10.0, 0.25),
            (6.0, 9.0, 0.3),
            (5.0, 20.0, 11.5 / 15.0),
            (10.0, 12.0, 0.84),
            (15.0, 25.0, 1.15),
            (30.0, 40.0, 1.2),
            (7.5, 7.5, 0.3),
        ] {
            let found = line.mean(from_s, to_s);
            assert!((found - mean).abs() < 1e-12, "{from_s} to {to_s}: {found}");
            let pieces = mean_of(|at_s| line.at(at_s), from_s, to_s);
            assert!((pieces - mean).abs() < 1e-9, "{from_s} to {to_s}: {pieces}");
        }
    }

    #[test]
    fn stairs_hold_until_the_next() {
        let stairs = Stairs {
            points: vec![(0.0, 0.5), (300.0, 0.9)],
        };
        let found = [-1.0, 0.0, 299.9, 300.0, 9e9].map(|at_s| stairs.at(at_s));
        assert_eq!(found, [0.0, 0.5, 0.5, 0.9, 0.9]);
    }

    #[test]
    fn sums_of_scaled() {
        let half = Scaled {
            of: Arc::new(Constant(0.6)),
            by: 0.5,
        };
        let sum = Sum(vec![Arc::new(half), Arc::new(Constant(0.9))]);
        assert!((sum.at(0.0) - 1.2).abs() < 1e-12);
        assert!((sum.mean(0.0, 5.0) - 1.2).abs() < 1e-12);
    }

    #[test]
    fn never_negative() {
        let line = Line {
            points: vec![(0.0, -1.0), (1.0, f64::NAN)],
        };
        for at_s in [-1.0, 0.0, 0.5, 1.0, 2.0, f64::NAN] {
            assert!(line.at(at_s) >= 0.0, "{at_s}");
        }
        assert_eq!(Constant(-1.0).at(0.0), 0.0);
    }

    #[test]
    fn a_mean_of_no_time_is_the_value() {
        assert!((Constant(0.5).mean(3.0, 3.0) - 0.5).abs() < 1e-12);
    }
}

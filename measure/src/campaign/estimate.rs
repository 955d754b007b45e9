//! What several values say of the truth behind them, with 95 % intervals.
//!
//! Values that follow each other in time resemble each other, so that an interval from single values would be far too narrow. A series
//! is cut into [`BATCHES`] stretches, whose means hardly depend on each other, and Student's t is applied to those: the method of batch
//! means (Law and Kelton, "Simulation Modeling and Analysis", section 9.5). That is what varies within a run. The same measured again
//! differs by more, and [`Repeatability`] says by how much.

use crate::statistics::{Values, student_t_975};

/// Stretches that a series is cut into.
pub const BATCHES: usize = 10;

/// A mean, and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Variance of the value; `None` where one measurement says nothing of it.
    pub variance: Option<f64>,
    /// Degrees of freedom of the variance.
    pub freedom: usize,
}

impl Estimate {
    /// The mean of values that do not depend on each other.
    #[must_use]
    pub fn of_independent(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Values = values.into_iter().collect();
        let n = values.n();
        Some(Self {
            value: values.mean()?,
            variance: values.sd().map(|sd| sd * sd / n as f64),
            freedom: usize::try_from(n).ok()?.saturating_sub(1),
        })
    }

    /// A value that says nothing of its error: a count of all that there was, or one whose interval is found in another way.
    #[must_use]
    pub const fn exactly(value: f64) -> Self {
        Self {
            value,
            variance: None,
            freedom: 0,
        }
    }

    /// A figure of a series in time, its variance by the figures of the batches: what varies within this run.
    #[must_use]
    pub fn of_series(series: &[f64], figure: impl Fn(&Values) -> Option<f64>) -> Option<Self> {
        let of = |values: &[f64]| figure(&values.iter().copied().collect());
        let value = of(series)?;
        let size = series.len().div_ceil(BATCHES).max(1);
        let batches = Self::of_independent(series.chunks(size).filter_map(of));
        Some(batches.map_or(Self::exactly(value), |batches| Self { value, ..batches }))
    }

    /// The mean of a series in time.
    #[must_use]
    pub fn mean_of(series: &[f64]) -> Option<Self> {
        Self::of_series(series, Values::mean)
    }

    /// The mean of what was measured apart.
    #[must_use]
    pub fn mean(all: &[Self]) -> Option<Self> {
        let sum = all.iter().copied().reduce(|a, b| a.plus(&b))?;
        Some(sum.times(1.0 / all.len() as f64))
    }

    /// The interval that has the truth in it in 95 of 100 measurements; `None` where nothing can be said.
    #[must_use]
    pub fn interval(&self) -> Option<[f64; 2]> {
        let t = student_t_975(self.freedom);
        let half = t * self.variance?.sqrt();
        half.is_finite()
            .then_some([self.value - half, self.value + half])
    }

    /// This less another that was measured apart. The degrees of freedom are the smaller ones of the two, which makes the interval wider
    /// than Welch's.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            value: self.value - other.value,
            variance: self.variance.zip(other.variance).map(|(a, b)| a + b),
            freedom: self.freedom.min(other.freedom),
        }
    }

    /// This and another that was measured apart.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            value: self.value + other.value,
            ..self.minus(other)
        }
    }

    /// Times a number that is known.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            variance: self.variance.map(|variance| variance * factor * factor),
            freedom: self.freedom,
        }
    }

    /// This over another that was measured apart and is not 0, its variance by the delta method.
    #[must_use]
    pub fn over(&self, other: &Self) -> Option<Self> {
        if other.value == 0.0 || self.value == 0.0 {
            return None;
        }
        let ratio = self.value / other.value;
        let relative = |one: &Self| one.variance.map(|variance| variance / one.value.powi(2));
        Some(Self {
            value: ratio,
            variance: relative(self)
                .zip(relative(other))
                .map(|(a, b)| ratio * ratio * (a + b)),
            freedom: self.freedom.min(other.freedom),
        })
    }
}

/// How far runs of the same lie apart, from all cells whose runs are alike: the repeatability of ISO 5725-2,
///
/// ```text
/// s_r^2 = sum over cells, sum over runs (run - mean of its cell)^2 / sum over cells (runs - 1)
/// ```
///
/// One or two runs of a cell say next to nothing of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeatability {
    /// Variance of a run; `None` where no cell has several.
    variance: Option<f64>,
    freedom: usize,
}

impl Repeatability {
    /// Of the runs of each cell.
    #[must_use]
    pub fn of(cells: &[Vec<Estimate>]) -> Self {
        let (mut squares, mut freedom) = (0.0, 0);
        for runs in cells {
            let values: Values = runs.iter().map(|run| run.value).collect();
            if let Some(sd) = values.sd() {
                let own = runs.len() - 1;
                squares += sd * sd * own as f64;
                freedom += own;
            }
        }
        Self {
            variance: (freedom > 0).then(|| squares / freedom as f64),
            freedom,
        }
    }

    /// The mean of the runs of a cell. What varies within them is a part of what they differ by, so that by chance alone they differ by
    /// less than that.
    #[must_use]
    pub fn mean(&self, runs: &[Estimate]) -> Option<Estimate> {
        let n = runs.len() as f64;
        let mean = Estimate::mean(runs)?;
        let within: f64 = runs.iter().filter_map(|run| run.variance).sum();
        Some(Estimate {
            value: mean.value,
            variance: self
                .variance
                .map(|between| (between / n).max(within / (n * n))),
            freedom: self.freedom,
        })
    }
}

/// Where a share, `0..=1`, of `n` that do not depend on each other is with 95 %: the score interval (Wilson, "Probable inference, the law
/// of succession, and statistical inference", Journal of the American Statistical Association 22, 1927).
#[must_use]
pub fn share_interval95(share: f64, n: usize) -> [f64; 2] {
    const Z_SQUARED: f64 = 1.959_964 * 1.959_964;
    let n = n as f64;
    let whole = 1.0 + Z_SQUARED / n;
    let middle = (share + Z_SQUARED / (2.0 * n)) / whole;
    let variance = share * (1.0 - share) / n + Z_SQUARED / (4.0 * n * n);
    let half = (Z_SQUARED * variance).sqrt() / whole;
    [middle - half, middle + half]
}

/// A straight line by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Value at 0.
    pub at_zero: f64,
    /// Rise for each unit.
    pub slope: Estimate,
    /// Share of the variance that it explains, `0..=1`.
    pub r2: f64,
}

impl Line {
    /// Through at least three points that are not all above each other.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        let freedom = points.len().checked_sub(2).filter(|freedom| *freedom > 0)?;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let sum = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>();
        let (xx, yy) = (sum(&|p| (p.0 - x).powi(2)), sum(&|p| (p.1 - y).powi(2)));
        if xx <= 0.0 || yy <= 0.0 {
            return None;
        }
        let slope = sum(&|p| (p.0 - x) * (p.1 - y)) / xx;
        let at_zero = y - slope * x;
        let left = sum(&|p| (p.1 - at_zero - slope * p.0).powi(2));
        Some(Self {
            at_zero,
            slope: Estimate {
                value: slope,
                variance: Some(left / freedom as f64 / xx),
                freedom,
            },
            r2: 1.0 - left / yy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_few_values_by_hand() {
        let few = Estimate::of_independent([1.0, 2.0, 3.0]).unwrap();
        assert_eq!((few.value, few.freedom), (2.0, 2));
        let [low, high] = few.interval().unwrap();
        // t of 2 degrees of freedom times 1 / sqrt(3).
        assert!((high - 2.0 - 4.3027 / 3.0_f64.sqrt()).abs() < 1e-3);
        assert!((low + high - 4.0).abs() < 1e-9);
        let one = Estimate::of_independent([7.0]).unwrap();
        assert_eq!(one.interval(), None, "one value says nothing of its error");
        assert_eq!(Estimate::of_independent([]), None);
    }

    #[test]
    fn what_resembles_its_neighbours_is_known_less_well() {
        // Ten stretches of ten equal values are ten values, not a hundred.
        let slow: Vec<f64> = (0..100).map(|i| f64::from(i / 10 % 2)).collect();
        let batches = Estimate::mean_of(&slow).unwrap();
        let single = Estimate::of_independent(slow.iter().copied()).unwrap();
        assert_eq!(batches.value, single.value);
        assert!(batches.variance.unwrap() > 9.0 * single.variance.unwrap());
    }

    /// A run whose batches have a variance.
    fn run(value: f64, variance: f64) -> Estimate {
        Estimate {
            value,
            variance: Some(variance),
            freedom: 9,
        }
    }

    #[test]
    fn runs_are_no_draws_of_one_mean() {
        // Each run is known to 1 ms, and yet the two are 32 ms apart.
        let runs = vec![run(490.9, 0.1), run(458.8, 0.1)];
        let mean = Repeatability::of(std::slice::from_ref(&runs))
            .mean(&runs)
            .unwrap();
        assert!((mean.value - 474.85).abs() < 1e-9);
        // 32.1 squared over 2 is the variance of a run, half of it that of the mean, and there is one degree of freedom.
        let half = 12.7062 * (32.1_f64.powi(2) / 4.0).sqrt();
        let [low, high] = mean.interval().unwrap();
        assert!((high - low - 2.0 * half).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn the_spread_between_runs_is_of_all_cells() {
        let cells: Vec<Vec<Estimate>> = [&[10.0, 12.0][..], &[20.0, 23.0, 23.0], &[7.0]]
            .iter()
            .map(|runs| runs.iter().map(|value| run(*value, 0.3)).collect())
            .collect();
        // Squares 1 + 1 and 4 + 1 + 1, with 1 and 2 degrees of freedom.
        let spread = Repeatability::of(&cells);
        let of = |cell: usize| spread.mean(&cells[cell]).unwrap();
        for (cell, value, variance) in [(0, 11.0, 8.0 / 6.0), (1, 22.0, 8.0 / 9.0)] {
            assert_eq!((of(cell).value, of(cell).freedom), (value, 3));
            assert!((of(cell).variance.unwrap() - variance).abs() < 1e-9);
        }
        let [low, high] = of(2).interval().unwrap();
        let half = 3.1824 * (8.0_f64 / 3.0).sqrt();
        assert!((low - 7.0 + half).abs() < 1e-6 && (high - 7.0 - half).abs() < 1e-6);
        assert_eq!(spread.mean(&[]), None);
    }

    #[test]
    fn runs_are_known_no_better_than_their_batches() {
        let runs = vec![run(10.0, 12.0), run(11.0, 12.0)];
        // Between runs the variance is 0.5.
        let mean = Repeatability::of(std::slice::from_ref(&runs)).mean(&runs);
        assert_eq!(mean.unwrap().variance, Some(6.0));
    }

    #[test]
    fn what_was_measured_once_says_nothing_between_runs() {
        let cells = [vec![run(10.0, 0.1)], vec![run(20.0, 0.1)]];
        let mean = Repeatability::of(&cells).mean(&cells[0]).unwrap();
        assert_eq!((mean.value, mean.interval()), (10.0, None));
    }

    #[test]
    fn a_share_of_a_few() {
        // All of ten: 10 / (10 + 1.96^2).
        let [low, high] = share_interval95(1.0, 10);
        assert!((low - 0.7225).abs() < 1e-3 && (high - 1.0).abs() < 1e-9);
        let [low, high] = share_interval95(0.5, 10);
        assert!((low - 0.2366).abs() < 1e-3 && (low + high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn sums_differences_and_ratios() {
        let of = |value| Estimate {
            value,
            variance: Some(4.0),
            freedom: 9,
        };
        let difference = of(10.0).minus(&of(4.0));
        assert_eq!((difference.value, difference.variance), (6.0, Some(8.0)));
        assert_eq!(of(10.0).plus(&of(4.0)).value, 14.0);
        assert_eq!(of(10.0).times(0.5).variance, Some(1.0));
        let ratio = of(10.0).over(&of(4.0)).unwrap();
        assert!((ratio.variance.unwrap() - 6.25 * (0.04 + 0.25)).abs() < 1e-9);
        assert_eq!(of(10.0).over(&of(0.0)), None);
    }

    #[test]
    fn a_line_through_its_own_points() {
        let points: Vec<(f64, f64)> = [(0.0, 0.1), (1.0, -0.1), (2.0, -0.1), (3.0, 0.1)]
            .iter()
            .map(|(x, off)| (*x, 5.0 + 2.0 * x + off))
            .collect();
        let line = Line::through(&points).unwrap();
        assert!((line.at_zero - 5.0).abs() < 1e-9 && (line.slope.value - 2.0).abs() < 1e-9);
        // Squares of 0.04 are left over, two degrees of freedom, and the loads' squares are 5.
        let half = 4.3027 * (0.04_f64 / 2.0 / 5.0).sqrt();
        assert!(line.r2 > 0.99);
        assert!((line.slope.interval().unwrap()[0] - (2.0 - half)).abs() < 1e-3);
        assert_eq!(Line::through(&points[..2]), None);
        assert_eq!(Line::through(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}

//! What a trace is.

use serde::Serialize;

use super::bad::BadRows;

/// Load of many machines over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The machines, by name.
    pub series: Vec<Series>,
    /// The usual distance of two values, as measured: the median over the machines of their own medians.
    pub interval_s: f64,
    /// Rows read, good and bad.
    pub rows: u64,
    /// What could not be used.
    pub bad: BadRows,
    /// Values that stood behind a later one of the same machine. They are put in their place, and are not bad.
    pub shuffled: u64,
    /// Files of the folder that were not read.
    pub left_out: Vec<String>,
}

/// Load of one machine over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The machine.
    pub name: String,
    /// `(seconds since the trace's beginning, share of its CPU 0..=1)`, in strictly increasing order of time. A value
    /// stands for the time from there to the next.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// The usual distance of two values, their median; `None` with fewer than two values.
    #[must_use]
    pub fn step_s(&self) -> Option<f64> {
        let pairs = self.points.windows(2);
        median(pairs.map(|pair| pair[1].0 - pair[0].0).collect())
    }

    /// Mean of the values; 0 without one.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.points.iter().map(|point| point.1).sum();
        sum / (self.points.len().max(1)) as f64
    }
}

impl Trace {
    /// From the first value to the end of what the last one stands for.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        let ends = self.series.iter().filter_map(|series| series.points.last());
        let last_s = ends.map(|point| point.0).fold(0.0, f64::max);
        last_s + self.interval_s
    }
}

/// The middle one, of two the lower.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_is_the_usual_one() {
        let series = Series {
            name: "a".into(),
            points: [0.0, 300.0, 600.0, 1_500.0, 1_800.0]
                .map(|t| (t, 0.5))
                .into(),
        };
        assert_eq!(series.step_s(), Some(300.0));
        assert_eq!(series.mean(), 0.5);
        let empty = Series {
            name: "b".into(),
            points: vec![],
        };
        assert_eq!((empty.step_s(), empty.mean()), (None, 0.0));
    }
}

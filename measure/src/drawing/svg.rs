//! The little of drawing that the figures need: scales, paths, and fewer points than samples.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// The same distance for the same difference.
    Linear,
    /// The same distance for the same factor; the domain is positive.
    Logarithmic,
}

/// Values to places in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Smallest and largest value.
    pub domain: (f64, f64),
    /// Where they lie.
    pub place: (f64, f64),
    /// How they are laid out in between.
    pub spacing: Spacing,
}

impl Scale {
    /// The place of `value`, kept within the picture.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        let (low, high) = self.domain;
        let value = value.clamp(low, high);
        let share = match self.spacing {
            Spacing::Linear => (value - low) / (high - low),
            Spacing::Logarithmic => (value / low).ln() / (high / low).ln(),
        };
        self.place.0 + share * (self.place.1 - self.place.0)
    }

    /// Round values along the axis: 1-2-5 on a logarithmic one, about `count` on a linear one.
    #[must_use]
    pub fn ticks(&self, count: f64) -> Vec<f64> {
        let (low, high) = self.domain;
        match self.spacing {
            Spacing::Linear => {
                let step = round_up((high - low) / count);
                let first = (low / step).ceil() as i64;
                (first..first + 200)
                    .map(|n| n as f64 * step)
                    .take_while(|tick| *tick <= high + step * 1e-9)
                    .collect()
            }
            Spacing::Logarithmic => {
                let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
                let values = decades.flat_map(|exponent| {
                    [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent))
                });
                values
                    .filter(|tick| (low * 0.999..=high * 1.001).contains(tick))
                    .collect()
            }
        }
    }
}

/// The next of …, 1, 2, 5, 10, 20, … that is not below `value`.
#[must_use]
pub fn round_up(value: f64) -> f64 {
    round_values(value)
        .into_iter()
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(value)
}

/// The last of them that is not above `value`.
#[must_use]
pub fn round_down(value: f64) -> f64 {
    round_values(value)
        .into_iter()
        .rev()
        .find(|round| *round <= value * 1.000_001)
        .unwrap_or(value)
}

/// The round values around `value`, which is positive.
fn round_values(value: f64) -> [f64; 6] {
    let decade = 10_f64.powf(value.max(1e-9).log10().floor());
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0].map(|digit| digit * decade)
}

/// Smallest and largest value in each column of the picture that is one unit wide.
pub fn columns(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64, f64)> {
    let mut columns: Vec<(f64, f64, f64)> = Vec::new();
    for (x, y) in points {
        let column = x.floor();
        match columns.last_mut() {
            Some((last, low, high)) if *last == column => {
                *low = low.min(y);
                *high = high.max(y);
            }
            _ => columns.push((column, y, y)),
        }
    }
    columns
}

/// A closed outline around all columns: along their tops and back along their bottoms.
#[must_use]
pub fn band(columns: &[(f64, f64, f64)]) -> String {
    let tops = columns
        .iter()
        .map(|(x, low, high)| (x + 0.5, low.min(*high)));
    // A flat stretch stays visible: the outline is never thinner than a line.
    let bottoms = columns
        .iter()
        .rev()
        .map(|(x, low, high)| (x + 0.5, high.max(low + 0.8)));
    let mut path = line(tops.chain(bottoms));
    if !path.is_empty() {
        path.push('Z');
    }
    path
}

/// A line through the points.
pub fn line(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let command = if path.is_empty() { 'M' } else { 'L' };
        // Writing to a String cannot fail.
        let _ = write!(path, "{command}{x:.1} {y:.1}");
    }
    path
}

/// A line that keeps each value until the next point, up to `end`.
pub fn steps(points: impl Iterator<Item = (f64, f64)>, end: f64) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let _ = if path.is_empty() {
            write!(path, "M{x:.1} {y:.1}")
        } else {
            write!(path, "H{x:.1}V{y:.1}")
        };
    }
    if !path.is_empty() {
        let _ = write!(path, "H{end:.1}");
    }
    path
}

/// A dot for each point; points within the same half unit are one dot.
pub fn dots(points: impl Iterator<Item = (f64, f64)>) -> String {
    let half_units: BTreeSet<(i64, i64)> = points
        .map(|(x, y)| ((x * 2.0).round() as i64, (y * 2.0).round() as i64))
        .collect();
    let mut path = String::new();
    for (x, y) in half_units {
        let _ = write!(path, "M{} {}h0", x as f64 / 2.0, y as f64 / 2.0);
    }
    path
}

/// A coordinate with the precision that a screen can show.
#[must_use]
pub fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(low: f64, high: f64, spacing: Spacing) -> Scale {
        Scale {
            domain: (low, high),
            place: (0.0, 100.0),
            spacing,
        }
    }

    #[test]
    fn values_lie_where_they_should() {
        let linear = scale(0.0, 2.0, Spacing::Linear);
        assert_eq!(
            [linear.at(-1.0), linear.at(0.5), linear.at(9.0)],
            [0.0, 25.0, 100.0]
        );
        let log = scale(10.0, 1_000.0, Spacing::Logarithmic);
        assert!((log.at(100.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            scale(-15.0, 95.0, Spacing::Linear).ticks(10.0),
            [0.0, 20.0, 40.0, 60.0, 80.0]
        );
        assert_eq!(
            scale(50.0, 500.0, Spacing::Logarithmic).ticks(0.0),
            [50.0, 100.0, 200.0, 500.0]
        );
        for (value, down, up) in [
            (50.0, 50.0, 50.0),
            (78.0, 50.0, 100.0),
            (0.3, 0.2, 0.5),
            (3_983.0, 2_000.0, 5_000.0),
        ] {
            assert!(
                (round_down(value) - down).abs() < 1e-9,
                "{value}: {}",
                round_down(value)
            );
            assert!(
                (round_up(value) - up).abs() < 1e-9,
                "{value}: {}",
                round_up(value)
            );
        }
    }

    #[test]
    fn extremes_survive_fewer_points() {
        let samples = (0..10_000).map(|n| {
            (
                f64::from(n) / 100.0,
                if n == 5_678 { 99.0 } else { f64::from(n % 7) },
            )
        });
        let columns = columns(samples);
        assert_eq!(columns.len(), 100);
        assert_eq!(
            columns.iter().map(|column| column.2).fold(0.0, f64::max),
            99.0
        );
        assert_eq!(columns[3], (3.0, 0.0, 6.0));
    }

    #[test]
    fn nothing_draws_nothing() {
        let none = || std::iter::empty();
        assert_eq!(
            [line(none()), steps(none(), 1.0), dots(none()), band(&[])],
            [""; 4].map(String::from)
        );
    }
}

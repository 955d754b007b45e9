//! Linear least squares: a value as a sum of terms with unknown factors, and how far off the next value may be.

use crate::statistics::student_t_975;

/// A pivot under this, in columns scaled to length 1, is none: the terms cannot be told apart.
const PIVOT_MIN: f64 = 1e-9;

/// Values of the terms at one measurement, and what was measured there.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<const TERMS: usize> {
    /// Values of the terms.
    pub terms: [f64; TERMS],
    /// The measurement.
    pub value: f64,
}

/// Factors that were fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit<const TERMS: usize> {
    /// Factor of each term.
    pub factors: [f64; TERMS],
    /// Standard deviation of a measurement about the fit.
    pub sd: f64,
    /// Half the width of each factor's 95 % interval.
    pub half95: [f64; TERMS],
    /// The inverse of the normal equations' matrix, for one row of each group.
    inverse: [[f64; TERMS]; TERMS],
    /// Degrees of freedom that the intervals are made with.
    freedom: usize,
}

impl<const TERMS: usize> Fit<TERMS> {
    /// Fits rows of which those of a group resemble each other, as repeats of one measurement do. All rows make the factors and the
    /// spread; the intervals count a group once, so that repeats make them no narrower.
    ///
    /// `None` with no more groups than terms, or where terms rise and fall together.
    #[must_use]
    pub fn of(rows: &[Row<TERMS>], groups: usize) -> Option<Self> {
        let freedom = groups.checked_sub(TERMS).filter(|freedom| *freedom > 0)?;
        let spread_over = rows.len().checked_sub(TERMS).filter(|left| *left > 0)?;
        let mut normal = [[0.0; TERMS]; TERMS];
        let mut right = [0.0; TERMS];
        for row in rows {
            for (i, one) in row.terms.iter().enumerate() {
                right[i] += one * row.value;
                for (j, other) in row.terms.iter().enumerate() {
                    normal[i][j] += one * other;
                }
            }
        }
        let inverse = inverse(&normal)?;
        let factors = inverse.map(|line| dot(&line, &right));
        let squares: f64 = rows
            .iter()
            .map(|row| (row.value - dot(&row.terms, &factors)).powi(2))
            .sum();
        let sd = (squares / spread_over as f64).sqrt();
        let repeats = rows.len() as f64 / groups as f64;
        let inverse = inverse.map(|line| line.map(|value| value * repeats));
        let t = student_t_975(freedom);
        let half95 = std::array::from_fn(|i| t * sd * inverse[i][i].max(0.0).sqrt());
        (sd.is_finite() && factors.iter().all(|factor| factor.is_finite())).then_some(Self {
            factors,
            sd,
            half95,
            inverse,
            freedom,
        })
    }

    /// What the fit says of one more measurement, and half the width of the interval that has it in it in 95 of 100 cases.
    #[must_use]
    pub fn predict(&self, terms: &[f64; TERMS]) -> (f64, f64) {
        let leverage = dot(terms, &self.inverse.map(|line| dot(&line, terms)));
        let half = student_t_975(self.freedom) * self.sd * (1.0 + leverage.max(0.0)).sqrt();
        (dot(terms, &self.factors), half)
    }
}

fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// By Gauss and Jordan with the largest pivot, rows and columns scaled to a diagonal of 1 first.
fn inverse<const N: usize>(matrix: &[[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let scale: [f64; N] = std::array::from_fn(|i| matrix[i][i].sqrt());
    if !scale.iter().all(|scale| *scale > 0.0 && scale.is_finite()) {
        return None;
    }
    let mut left: [[f64; N]; N] =
        std::array::from_fn(|i| std::array::from_fn(|j| matrix[i][j] / scale[i] / scale[j]));
    let mut right: [[f64; N]; N] =
        std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for column in 0..N {
        let pivot = (column..N).max_by(|a, b| {
            let (a, b) = (left[*a][column].abs(), left[*b][column].abs());
            a.total_cmp(&b)
        })?;
        left.swap(column, pivot);
        right.swap(column, pivot);
        let divisor = left[column][column];
        if divisor.abs() < PIVOT_MIN {
            return None;
        }
        left[column] = left[column].map(|value| value / divisor);
        right[column] = right[column].map(|value| value / divisor);
        let (pivot_left, pivot_right) = (left[column], right[column]);
        for row in (0..N).filter(|row| *row != column) {
            let factor = left[row][column];
            for (line, pivot) in [(&mut left[row], pivot_left), (&mut right[row], pivot_right)] {
                for (value, taken) in line.iter_mut().zip(pivot) {
                    *value -= factor * taken;
                }
            }
        }
    }
    Some(std::array::from_fn(|i| {
        std::array::from_fn(|j| right[i][j] / scale[i] / scale[j])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(x: f64, value: f64) -> Row<2> {
        Row {
            terms: [1.0, x],
            value,
        }
    }

    #[test]
    fn a_line_by_hand() {
        // The points of `a_line_through_its_own_points` in the campaign's estimates: 0.04 is left over, two degrees of freedom.
        let rows = [row(0.0, 5.1), row(1.0, 6.9), row(2.0, 8.9), row(3.0, 11.1)];
        let fit = Fit::of(&rows, 4).unwrap();
        assert!((fit.factors[0] - 5.0).abs() < 1e-9 && (fit.factors[1] - 2.0).abs() < 1e-9);
        assert!((fit.sd - 0.02_f64.sqrt()).abs() < 1e-9);
        let half = 4.3027 * (0.02_f64 / 5.0).sqrt();
        assert!((fit.half95[1] - half).abs() < 1e-4);
        // In the middle a new value is off by the spread and the mean's own error.
        let (value, half) = fit.predict(&[1.0, 1.5]);
        assert!((value - 8.0).abs() < 1e-9);
        assert!((half - 4.3027 * (0.02_f64 * 1.25).sqrt()).abs() < 1e-4);
    }

    #[test]
    fn repeats_make_no_interval_narrower() {
        let once: Vec<Row<2>> = (0..6)
            .map(|x| row(f64::from(x), f64::from(x * x)))
            .collect();
        let thrice: Vec<Row<2>> = once.iter().flat_map(|row| vec![row.clone(); 3]).collect();
        let [one, three] = [&once, &thrice].map(|rows| Fit::of(rows, 6).unwrap());
        // The spread over more rows is a little smaller; the leverage is the same.
        let ratio = three.half95[1] / one.half95[1];
        assert!((ratio - three.sd / one.sd).abs() < 1e-9, "{ratio}");
        assert!((three.factors[1] - one.factors[1]).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let rows = [row(1.0, 1.0), row(2.0, 2.0)];
        assert_eq!(Fit::of(&rows, 2), None, "no value is left for the spread");
        let level = vec![row(3.0, 1.0); 9];
        assert_eq!(Fit::of(&level, 9), None, "both terms are the same");
        assert_eq!(Fit::<2>::of(&[], 0), None);
        let nowhere = vec![row(0.0, 1.0); 9];
        assert_eq!(Fit::of(&nowhere, 9), None, "a term is never there");
    }

    proptest! {
        #[test]
        fn exact_values_give_their_factors(
            factors in prop::array::uniform3(-100.0..100.0_f64),
            points in prop::collection::vec((0.1..10.0_f64, 0.1..10.0_f64), 6..30),
        ) {
            let row = |(a, b): &(f64, f64)| {
                let terms = [1.0, *a, *b];
                Row { terms, value: factors[0] + factors[1] * a + factors[2] * b }
            };
            let mut rows: Vec<Row<3>> = points.iter().map(row).collect();
            // However the others lie, these tell the terms apart.
            rows.extend([(0.1, 9.0), (9.0, 0.1), (9.0, 9.0)].iter().map(row));
            let fit = Fit::of(&rows, rows.len()).unwrap();
            for (fitted, true_one) in fit.factors.iter().zip(&factors) {
                prop_assert!((fitted - true_one).abs() < 1e-6, "{fit:?} {factors:?}");
            }
            prop_assert!(fit.sd < 1e-6);
        }
    }
}

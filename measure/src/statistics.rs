//! Figures over a set of values. Every figure of an empty set is `None`.

/// A set of finite values, sorted once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    sorted: Vec<f64>,
}

impl FromIterator<f64> for Values {
    /// Values that are not finite are left out: they are nobody's measurement.
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sorted: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { sorted }
    }
}

impl Values {
    /// How many.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// The values, smallest first.
    pub fn iter(&self) -> std::slice::Iter<'_, f64> {
        self.sorted.iter()
    }

    /// Arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (!self.sorted.is_empty())
            .then(|| self.sorted.iter().sum::<f64>() / self.sorted.len() as f64)
    }

    /// Standard deviation of a sample: squared distances from the mean over n - 1. Needs two values.
    #[must_use]
    pub fn sd(&self) -> Option<f64> {
        let mean = self.mean()?;
        let squares: f64 = self.sorted.iter().map(|value| (value - mean).powi(2)).sum();
        (self.sorted.len() > 1).then(|| (squares / (self.sorted.len() - 1) as f64).sqrt())
    }

    /// Coefficient of variation, sd / mean, as in Tables 4 and 5 of the thesis. Needs a mean that is not 0.
    #[must_use]
    pub fn cv(&self) -> Option<f64> {
        let (sd, mean) = (self.sd()?, self.mean()?);
        (mean != 0.0).then(|| sd / mean)
    }

    /// The value below which a share `q` (clamped to `0..=1`) of the values lies, linear between neighbours: definition 7
    /// of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996), the default
    /// of R and NumPy.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        quantile_of_sorted(&self.sorted, q)
    }

    /// The 0.5 quantile.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// Largest value.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.sorted.last().copied()
    }

    /// Smallest value.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        self.sorted.first().copied()
    }

    /// Share of the values that do not exceed `limit`, `0..=1`.
    #[must_use]
    pub fn share_up_to(&self, limit: f64) -> Option<f64> {
        let within = self.sorted.partition_point(|value| *value <= limit);
        (!self.sorted.is_empty()).then(|| within as f64 / self.sorted.len() as f64)
    }
}

/// [`Values::quantile`] of values that are sorted already.
pub(crate) fn quantile_of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = last as f64 * q.clamp(0.0, 1.0);
    let below = sorted.get(position as usize)?;
    let above = sorted.get((position as usize + 1).min(last))?;
    Some(below + (above - below) * position.fract())
}

/// The 97.5 % quantile of Student's t distribution, which bounds a two-sided interval of 95 %: the usual table up to 30
/// degrees of freedom, and the expansion 26.7.5 of Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964),
/// above. Infinite for 0.
pub(crate) fn student_t_975(freedom: usize) -> f64 {
    const TABLE: [f64; 31] = [
        f64::INFINITY,
        12.7062,
        4.3027,
        3.1824,
        2.7764,
        2.5706,
        2.4469,
        2.3646,
        2.3060,
        2.2622,
        2.2281,
        2.2010,
        2.1788,
        2.1604,
        2.1448,
        2.1314,
        2.1199,
        2.1098,
        2.1009,
        2.0930,
        2.0860,
        2.0796,
        2.0739,
        2.0687,
        2.0639,
        2.0595,
        2.0555,
        2.0518,
        2.0484,
        2.0452,
        2.0423,
    ];
    const NORMAL: f64 = 1.959_964;
    TABLE.get(freedom).copied().unwrap_or_else(|| {
        let (z, n) = (NORMAL, freedom as f64);
        let first = (z.powi(3) + z) / 4.0;
        let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
        z + first / n + second / (n * n)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(values: &[f64], figure: fn(&Values) -> Option<f64>, expected: Option<f64>) {
        assert_eq!(
            figure(&values.iter().copied().collect()),
            expected,
            "of {values:?}"
        );
    }

    #[test]
    fn figures_by_hand() {
        let values = [4.0, 1.0, 3.0, 2.0];
        check(&values, Values::mean, Some(2.5));
        check(&values, Values::sd, Some((5.0_f64 / 3.0).sqrt()));
        check(&values, Values::cv, Some((5.0_f64 / 3.0).sqrt() / 2.5));
        check(&values, Values::median, Some(2.5));
        check(&values, |v| v.quantile(0.25), Some(1.75));
        check(&values, |v| v.quantile(1.5), Some(4.0));
        check(&values, Values::max, Some(4.0));
        check(&values, Values::min, Some(1.0));
        check(&values, |v| v.share_up_to(3.0), Some(0.75));
    }

    #[test]
    fn what_cannot_be_said_is_none() {
        for figure in [
            Values::mean,
            Values::sd,
            Values::cv,
            Values::median,
            Values::max,
            Values::min,
        ] {
            check(&[], figure, None);
            check(&[f64::NAN, f64::INFINITY], figure, None);
        }
        check(&[7.0], Values::sd, None);
        check(&[-1.0, 1.0], Values::cv, None);
        check(&[], |v| v.share_up_to(1.0), None);
    }

    #[test]
    fn quantiles_of_t() {
        // 40, 120 and no end of degrees of freedom from a printed table.
        for (freedom, expected) in [(1, 12.7062), (4, 2.7764), (40, 2.0211), (120, 1.9799)] {
            let quantile = student_t_975(freedom);
            assert!((quantile - expected).abs() < 1e-4, "{freedom}: {quantile}");
        }
        assert!((student_t_975(1 << 40) - 1.959_964).abs() < 1e-6);
        assert!((1..200).all(|freedom| student_t_975(freedom) > student_t_975(freedom + 1)));
    }

    proptest! {
        #[test]
        fn agrees_with_counting(values in prop::collection::vec(-1e6..1e6_f64, 1..200), q in 0.0..=1.0_f64) {
            let set: Values = values.iter().copied().collect();
            let quantile = set.quantile(q).unwrap();
            // Definition 7 by counting: at most this many values lie strictly below and above.
            let below = values.iter().filter(|v| **v < quantile).count() as f64;
            let above = values.iter().filter(|v| **v > quantile).count() as f64;
            let span = (values.len() - 1) as f64;
            prop_assert!(below <= (span * q).floor() + 1.0);
            prop_assert!(above <= (span * (1.0 - q)).floor() + 1.0);

            let mean = values.iter().sum::<f64>() / values.len() as f64;
            prop_assert!((set.mean().unwrap() - mean).abs() < 1e-6);
            let share = values.iter().filter(|v| **v <= quantile).count() as f64 / values.len() as f64;
            prop_assert_eq!(set.share_up_to(quantile), Some(share));
            if values.len() > 1 {
                let naive = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / span).sqrt();
                prop_assert!((set.sd().unwrap() - naive).abs() < 1e-6);
            }
        }
    }
}

//! How sure a mean over seeds is.
//!
//! Mean, standard deviation and quantiles are those of `measure::statistics::Values`; what it lacks is the interval.

use measure::statistics::Values;

/// 0.975 quantiles of Student's t distribution for 1 to 30 degrees of freedom: NIST/SEMATECH e-Handbook of Statistical
/// Methods, Section 1.3.6.7.2.
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// The same for more degrees of freedom, from the one named on.
const T_975_BEYOND: [(u64, f64); 4] = [(40, 2.021), (60, 2.000), (100, 1.984), (1000, 1.962)];

/// Mean and 95 % confidence interval, `(mean, low, high)`, by Student's t: mean ± t × sd / √n with n − 1 degrees of freedom
/// (Student, "The Probable Error of a Mean", Biometrika 6, 1908). Between the degrees that are tabulated the next smaller
/// counts, which makes the interval a little wider, never narrower.
///
/// It takes the values to be independent and their mean to be near normal: so it is with seeds, unless they are few and a
/// few of them far from the rest. Values that are not finite are left out. Needs two values.
#[must_use]
pub fn mean95(values: &[f64]) -> Option<(f64, f64, f64)> {
    let values: Values = values.iter().copied().collect();
    let (mean, sd) = (values.mean()?, values.sd()?);
    let half = t_975(values.n() - 1) * sd / (values.n() as f64).sqrt();
    Some((mean, mean - half, mean + half))
}

fn t_975(degrees: u64) -> f64 {
    let within = degrees.clamp(1, T_975.len() as u64) as usize;
    let beyond = T_975_BEYOND.iter().rev();
    let beyond = beyond.copied().find(|(from, _)| degrees >= *from);
    beyond.map_or(T_975[within - 1], |(_, t)| t)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expected: Option<(f64, f64, f64)>) {
        let found = mean95(values);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
        let same = match (found, expected) {
            (Some(a), Some(b)) => near(a.0, b.0) && near(a.1, b.1) && near(a.2, b.2),
            (a, b) => a == b,
        };
        assert!(same, "{found:?} instead of {expected:?} of {values:?}");
    }

    #[test]
    fn by_hand() {
        // sd 1, n 3: 4.303 / √3.
        check(&[1.0, 2.0, 3.0], Some((2.0, -0.4843, 4.4843)));
        check(&[5.0, 5.0], Some((5.0, 5.0, 5.0)));
    }

    #[test]
    fn what_cannot_be_said_is_none() {
        check(&[], None);
        check(&[1.0], None);
        check(&[1.0, f64::NAN], None);
    }

    #[test]
    fn between_tabulated_degrees_the_smaller_counts() {
        let expected = [
            (1, 12.706),
            (30, 2.042),
            (39, 2.042),
            (40, 2.021),
            (99, 2.000),
            (9999, 1.962),
        ];
        for (degrees, t) in expected {
            assert!((t_975(degrees) - t).abs() < 1e-12, "{degrees}");
        }
        let falling = (1..2000).map(t_975).collect::<Vec<_>>();
        assert!(falling.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}

//! How old a viewer's picture is, by the load of the host that the function runs on.

use record::{Profile, Utilization};
use serde::{Deserialize, Serialize};

/// Straight lines between measured points `(utilization, picture age in milliseconds)`; level before the first and after the
/// last. Measured by `lab calibrate` (95th percentiles of its sweep), or what a scenario's model says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Utilization, f64)>", into = "Vec<(Utilization, f64)>")]
pub struct PictureAge(Vec<(f64, f64)>);

/// Why points are no curve.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PictureAgeError {
    /// There is none.
    #[error("picture_age has no point; it needs at least one [utilization, milliseconds]")]
    Empty,
    /// They are not in order.
    #[error("picture_age: the point at {at} follows the one at {before}; utilization has to rise")]
    Order {
        /// The point's load.
        at: Utilization,
        /// The load of the one before.
        before: Utilization,
    },
    /// An age is no length of time.
    #[error("picture_age: {ms} at {at} is not a time in milliseconds, 0 or more")]
    Age {
        /// The point's load.
        at: Utilization,
        /// What stands for its age.
        ms: f64,
    },
}

impl TryFrom<Vec<(Utilization, f64)>> for PictureAge {
    type Error = PictureAgeError;

    fn try_from(points: Vec<(Utilization, f64)>) -> Result<Self, PictureAgeError> {
        if points.is_empty() {
            return Err(PictureAgeError::Empty);
        }
        for pair in points.windows(2) {
            let (before, at) = (pair[0].0, pair[1].0);
            if at <= before {
                return Err(PictureAgeError::Order { at, before });
            }
        }
        for &(at, ms) in &points {
            if !(ms >= 0.0 && ms.is_finite()) {
                return Err(PictureAgeError::Age { at, ms });
            }
        }
        let shares = points.into_iter().map(|(at, ms)| (at.share(), ms));
        Ok(Self(shares.collect()))
    }
}

impl TryFrom<&Profile> for PictureAge {
    type Error = PictureAgeError;

    /// The sweep of a profile as a curve. Two levels of offered load may have come to the same use of the processor: the later is
    /// the fuller one.
    fn try_from(profile: &Profile) -> Result<Self, PictureAgeError> {
        let mut points: Vec<(Utilization, f64)> = Vec::new();
        for cell in &profile.knee.sweep {
            while points.last().is_some_and(|last| last.0 >= cell.utilization) {
                points.pop();
            }
            points.push((cell.utilization, cell.age_p95_ms));
        }
        points.try_into()
    }
}

impl From<PictureAge> for Vec<(Utilization, f64)> {
    fn from(age: PictureAge) -> Self {
        let point = |(at, ms)| (Utilization::clamped(at), ms);
        age.0.into_iter().map(point).collect()
    }
}

impl PictureAge {
    /// Picture age in milliseconds at a load; a forecast that passes 1 is a full host.
    #[must_use]
    pub fn at(&self, load: f64) -> f64 {
        let points = &self.0;
        let after = points.partition_point(|point| point.0 <= load);
        match (
            after.checked_sub(1).and_then(|i| points.get(i)),
            points.get(after),
        ) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (load - a.0) / (b.0 - a.0),
            (Some(end), None) | (None, Some(end)) => end.1,
            (None, None) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Result<PictureAge, PictureAgeError> {
        let point = |&(at, ms): &(f64, f64)| (Utilization::clamped(at), ms);
        points.iter().map(point).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn lines_between_points_and_level_outside() {
        let age = curve(&[(0.5, 40.0), (0.9, 60.0), (1.0, 1060.0)]).unwrap();
        for (load, ms) in [
            (-1.0, 40.0),
            (0.0, 40.0),
            (0.5, 40.0),
            (0.7, 50.0),
            (0.95, 560.0),
            (1.0, 1060.0),
            (1.7, 1060.0),
        ] {
            assert!((age.at(load) - ms).abs() < 1e-9, "{load}: {}", age.at(load));
        }
    }

    #[test]
    fn wrong_points_are_refused() {
        assert_eq!(curve(&[]), Err(PictureAgeError::Empty));
        for points in [
            &[(0.5, 40.0), (0.5, 50.0)][..],
            &[(0.5, 40.0), (0.2, 50.0)],
            &[(0.5, f64::NAN)],
            &[(0.5, -1.0)],
        ] {
            assert!(curve(points).is_err(), "{points:?}");
        }
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let age = curve(&[(0.5, 40.0), (1.0, 1000.0)]).unwrap();
        let text = serde_json::to_string(&age).unwrap();
        assert_eq!(text, "[[0.5,40.0],[1.0,1000.0]]");
        assert_eq!(serde_json::from_str::<PictureAge>(&text).unwrap(), age);
    }
}

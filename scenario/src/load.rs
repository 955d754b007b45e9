//! Load over time.

use std::collections::BTreeMap;

use record::HostName;
use serde::{Deserialize, Serialize};

/// Highest offered load that a profile may ask for.
pub const OFFERED_MAX: f64 = 2.0;

/// Load over time: straight lines between points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadProfile {
    /// How long functions run alone before the profile begins.
    pub idle_s: f64,
    /// What is offered to the edge server that the scenario's first function begins on: the demand of background and function
    /// together as a share of the server's CPU; over 1 it cannot be met, 0 means no background load at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<Points>,
    /// Demand of the background alone on other hosts, or on all.
    #[serde(default)]
    pub background: BTreeMap<HostName, Points>,
    /// Standard deviation of what comes and goes on top of it within seconds, by seed.
    #[serde(default)]
    pub noise: f64,
}

/// `[[seconds, offered load], …]`; two points at one instant are a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Points(Vec<(f64, f64)>);

impl TryFrom<Vec<(f64, f64)>> for Points {
    type Error = String;

    fn try_from(points: Vec<(f64, f64)>) -> Result<Self, String> {
        if points.len() < 2 {
            return Err("a profile needs at least two points [seconds, offered load]".into());
        }
        let mut before = 0.0;
        for (time, load) in &points {
            if !(*time >= before && time.is_finite()) {
                return Err(format!(
                    "a profile goes forward in time: {time} s stands after {before} s"
                ));
            }
            if !(0.0..=OFFERED_MAX).contains(load) {
                return Err(format!(
                    "offered load is a share of 0 to {OFFERED_MAX} (0.85 for 85 %), not {load}"
                ));
            }
            before = *time;
        }
        if points[0].0 != 0.0 {
            return Err(format!("a profile begins at 0 s, not at {} s", points[0].0));
        }
        Ok(Self(points))
    }
}

impl From<Points> for Vec<(f64, f64)> {
    fn from(points: Points) -> Self {
        points.0
    }
}

impl Points {
    /// Length in seconds.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.0.last().map_or(0.0, |point| point.0)
    }

    /// Load at `time_s` after the beginning; before it 0, after the end that of the end.
    #[must_use]
    pub fn at(&self, time_s: f64) -> f64 {
        let points = &self.0;
        if time_s < 0.0 {
            return 0.0;
        }
        let after = points.partition_point(|point| point.0 <= time_s);
        match (
            after.checked_sub(1).and_then(|i| points.get(i)),
            points.get(after),
        ) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (time_s - a.0) / (b.0 - a.0),
            (Some(a), None) => a.1,
            (None, _) => 0.0,
        }
    }
}

impl LoadProfile {
    /// Length of the profile in seconds, without the idle phase.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        let all = self.points.iter().chain(self.background.values());
        all.map(Points::duration_s).fold(0.0, f64::max)
    }

    /// Offered load of the first function's host at `time_s` after the profile's beginning; 0 where the profile says nothing of it.
    #[must_use]
    pub fn offered(&self, time_s: f64) -> f64 {
        self.points.as_ref().map_or(0.0, |points| points.at(time_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(points: &[(f64, f64)]) -> Result<LoadProfile, String> {
        Ok(LoadProfile {
            idle_s: 0.0,
            points: Some(points.to_vec().try_into()?),
            background: BTreeMap::new(),
            noise: 0.0,
        })
    }

    #[test]
    fn lines_and_steps() {
        let p = profile(&[(0.0, 0.2), (10.0, 0.4), (10.0, 0.8), (20.0, 1.0)]).unwrap();
        for (time, load) in [
            (-1.0, 0.0),
            (0.0, 0.2),
            (5.0, 0.3),
            (10.0, 0.8),
            (15.0, 0.9),
            (20.0, 1.0),
            (99.0, 1.0),
        ] {
            assert!((p.offered(time) - load).abs() < 1e-12, "{time}");
        }
        assert_eq!(p.duration_s(), 20.0);
    }

    #[test]
    fn wrong_profiles() {
        for (points, what) in [
            (&[(0.0, 0.2)][..], "at least two"),
            (&[(0.0, 0.2), (5.0, 0.2), (4.0, 0.2)][..], "forward in time"),
            (&[(0.0, 0.2), (5.0, 85.0)][..], "share of 0 to"),
            (&[(1.0, 0.2), (5.0, 0.5)][..], "begins at 0"),
            (&[(0.0, f64::NAN), (5.0, 0.5)][..], "share"),
        ] {
            let error = profile(points).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}

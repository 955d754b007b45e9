//! How much longer something takes on a host by its load.

use serde::{Deserialize, Serialize};

/// Points `[load, factor]`, rising in load; level before the first and after the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Slowdown(Vec<(f64, f64)>);

impl Default for Slowdown {
    /// None at any load.
    fn default() -> Self {
        Self(vec![(0.0, 1.0)])
    }
}

impl TryFrom<Vec<(f64, f64)>> for Slowdown {
    type Error = String;

    fn try_from(points: Vec<(f64, f64)>) -> Result<Self, String> {
        let rising = points.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let good = |(load, factor): &(f64, f64)| {
            (0.0..=1.0).contains(load) && *factor >= 1.0 && factor.is_finite()
        };
        if points.is_empty() || !rising || !points.iter().all(good) {
            return Err(
                "slowdown is a list of [load, factor] with loads of 0 to 1 that rise and factors of 1 or more"
                    .into(),
            );
        }
        Ok(Self(points))
    }
}

impl From<Slowdown> for Vec<(f64, f64)> {
    fn from(slowdown: Slowdown) -> Self {
        slowdown.0
    }
}

impl Slowdown {
    /// The factor at a load.
    #[must_use]
    pub fn at(&self, load: f64) -> f64 {
        let after = self.0.partition_point(|point| point.0 <= load);
        match (
            after.checked_sub(1).and_then(|i| self.0.get(i)),
            self.0.get(after),
        ) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (load - a.0) / (b.0 - a.0),
            (Some(end), None) | (None, Some(end)) => end.1,
            (None, None) => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slowdown(points: &str) -> Result<Slowdown, serde_json::Error> {
        serde_json::from_str(points)
    }

    #[test]
    fn load_slows_it_down() {
        let slowdown = slowdown("[[0.85, 1.0], [0.95, 1.3], [1.0, 1.7]]").unwrap();
        for (load, factor) in [(0.0, 1.0), (0.9, 1.15), (0.95, 1.3), (1.0, 1.7)] {
            assert!((slowdown.at(load) - factor).abs() < 1e-9, "{load}");
        }
        let again = serde_json::to_string(&slowdown).unwrap();
        assert_eq!(again, "[[0.85,1.0],[0.95,1.3],[1.0,1.7]]");
    }

    #[test]
    fn where_nothing_is_said_it_is_the_same_at_any_load() {
        for load in [0.0, 0.5, 1.0] {
            assert_eq!(Slowdown::default().at(load), 1.0);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for points in [
            "[]",
            "[[0.5, 0.9]]",
            "[[0.5, 1.0], [0.5, 2.0]]",
            "[[1.5, 1.0]]",
        ] {
            assert!(slowdown(points).is_err(), "{points}");
        }
    }
}

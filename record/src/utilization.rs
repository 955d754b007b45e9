//! Share of a host's CPU.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Share of a host's CPU that is busy, `0..=1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Utilization(f64);

/// Why a number is no utilization.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a utilization: a share of 0 to 1 (0.9 for 90 %)")]
pub struct UtilizationError(f64);

impl Utilization {
    /// A host that does nothing.
    pub const IDLE: Self = Self(0.0);
    /// A host that has no moment free.
    pub const FULL: Self = Self(1.0);

    /// Checks and wraps a share.
    ///
    /// # Errors
    /// When it is not a number or lies outside `0..=1`.
    pub fn new(share: f64) -> Result<Self, UtilizationError> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(UtilizationError(share))
        }
    }

    /// The nearest utilization; not-a-number becomes idle.
    #[must_use]
    pub fn clamped(share: f64) -> Self {
        Self(if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        })
    }

    /// The share, `0..=1`.
    #[must_use]
    pub const fn share(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Utilization {
    type Error = UtilizationError;
    fn try_from(share: f64) -> Result<Self, UtilizationError> {
        Self::new(share)
    }
}

impl From<Utilization> for f64 {
    fn from(utilization: Utilization) -> Self {
        utilization.0
    }
}

impl fmt::Display for Utilization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0 * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        for bad in [-0.01, 1.4, f64::NAN, f64::INFINITY] {
            assert!(Utilization::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Utilization::clamped(1.4), Utilization::FULL);
        assert_eq!(Utilization::clamped(f64::NAN), Utilization::IDLE);
    }
}

//! How late a forwarder is: a histogram that costs nothing to keep.

use serde::Serialize;

/// Upper ends of the classes, microseconds: each a fifth over the one before, so that a quantile is right to 20 %.
const CLASSES: usize = 64;

/// Times by which frames were sent after they were due.
#[derive(Clone, Debug)]
pub struct Lateness {
    classes: [u64; CLASSES],
    max_us: f64,
    sum_us: f64,
    n: u64,
}

/// Its figures, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Mean.
    pub mean_us: f64,
    /// Median, to 20 %.
    pub p50_us: f64,
    /// To 20 %.
    pub p99_us: f64,
    /// The largest.
    pub max_us: f64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self {
            classes: [0; CLASSES],
            max_us: 0.0,
            sum_us: 0.0,
            n: 0,
        }
    }
}

impl Lateness {
    /// One frame.
    pub fn take(&mut self, late: std::time::Duration) {
        let us = late.as_secs_f64() * 1e6;
        let class = us.max(1.0).log(1.2).ceil() as usize;
        if let Some(count) = self.classes.get_mut(class.min(CLASSES - 1)) {
            *count += 1;
        }
        self.max_us = self.max_us.max(us);
        self.sum_us += us;
        self.n += 1;
    }

    /// Figures of all so far; none when there was no frame.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let quantile = |q: f64| {
            let wanted = (q * self.n as f64).ceil() as u64;
            let mut below = 0;
            for (class, count) in self.classes.iter().enumerate() {
                below += count;
                if below >= wanted {
                    return 1.2_f64.powi(class as i32).min(self.max_us);
                }
            }
            self.max_us
        };
        (self.n > 0).then(|| Summary {
            mean_us: self.sum_us / self.n as f64,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: self.max_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn quantiles_are_right_to_a_fifth() {
        assert_eq!(Lateness::default().summary(), None);
        let mut lateness = Lateness::default();
        for us in 1..=1000 {
            lateness.take(Duration::from_micros(us));
        }
        let summary = lateness.summary().unwrap();
        assert!((summary.mean_us - 500.5).abs() < 1e-6);
        assert!((500.0..600.0).contains(&summary.p50_us), "{summary:?}");
        assert!((990.0..=1000.0).contains(&summary.p99_us), "{summary:?}");
        assert_eq!(summary.max_us, 1000.0);
    }
}

//! What all forecasters keep: when the newest sample was, and how far off they were.
//!
//! Those that have a window of a few samples only take their spread from it; it is widened as Student's distribution is.

/// Weight of the newest error once there are many.
const NEWEST: f64 = 0.05;
/// The furthest that anybody looks ahead, in steps.
const STEPS_MAX: u32 = 1_000;
/// Errors of which a spread can be told.
const ERRORS_MIN: u32 = 2;

/// By how much wider than a normal distribution's Student's 95 % interval is, with 1 to 5 degrees of freedom.
const STUDENT: [f64; 5] = [6.48, 2.20, 1.62, 1.42, 1.31];

/// What makes a standard deviation of few samples one of which 1.96 hold 95 %, as they do of many.
#[must_use]
pub fn student(degrees_of_freedom: usize) -> f64 {
    let place = degrees_of_freedom.clamp(1, STUDENT.len()) - 1;
    STUDENT[place]
}

/// Spread of errors one step ahead: the mean of their squares, of all of them at first, then with the older ones fading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    errors: u32,
    mean_square: f64,
}

impl Spread {
    /// Takes an error.
    pub fn add(&mut self, error: f64) {
        self.errors = self.errors.saturating_add(1);
        let weight = (1.0 / f64::from(self.errors)).max(NEWEST);
        self.mean_square += weight * (error * error - self.mean_square);
    }

    /// Their standard deviation; `None` with fewer than two.
    #[must_use]
    pub fn sd(&self) -> Option<f64> {
        (self.errors >= ERRORS_MIN).then(|| self.mean_square.max(0.0).sqrt())
    }
}

/// When the newest sample was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Newest {
    /// Middle of its interval.
    pub centre_s: f64,
    /// Length of it, or the distance from the sample before: one step.
    pub step_s: f64,
}

impl Newest {
    /// Of a sample over an interval that ends at `at_s`.
    #[must_use]
    pub fn of(at_s: f64, interval_s: f64) -> Self {
        Self {
            centre_s: at_s - interval_s / 2.0,
            step_s: interval_s,
        }
    }

    /// How many steps an instant is ahead, one at least.
    #[must_use]
    pub fn steps_to(&self, at_s: f64) -> u32 {
        let steps = (at_s - self.centre_s) / self.step_s;
        // Not-a-number, of a step of no length, becomes 0 first.
        (steps.round() as u32).clamp(1, STEPS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let mut spread = Spread::default();
        spread.add(0.1);
        assert_eq!(spread.sd(), None);
        spread.add(-0.1);
        assert!((spread.sd().unwrap() - 0.1).abs() < 1e-12);
        for _ in 0..500 {
            spread.add(0.2);
        }
        assert!((spread.sd().unwrap() - 0.2).abs() < 1e-6);
    }

    #[test]
    fn steps() {
        let newest = Newest::of(100.0, 5.0);
        for (at_s, steps) in [
            (90.0, 1),
            (102.5, 1),
            (107.5, 2),
            (127.5, 6),
            (1e300, 1_000),
        ] {
            assert_eq!(newest.steps_to(at_s), steps, "{at_s}");
        }
        assert_eq!(Newest::of(100.0, 0.0).steps_to(100.0), 1);
    }
}

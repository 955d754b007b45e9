//! The orchestrator's clock: the system's when the program began, and from then on one that nobody sets.
//!
//! Ages of samples and time-outs of moves are differences of two instants. Were the system's clock set back in between, an old load
//! would be a fresh one, and a move would have time without end.

use std::sync::LazyLock;
use std::time::Instant;

use record::Timestamp;

/// The system's clock was set when it is off by more; it may be by a leap second.
const OFF_S_MAX: f64 = 1.5;

static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock {
    begun: Instant::now(),
    system: Timestamp::now(),
});

/// Two clocks at the instant in which they agreed.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begun: Instant,
    system: Timestamp,
}

impl Clock {
    fn at(self, instant: Instant) -> Timestamp {
        self.system + instant.duration_since(self.begun)
    }
}

/// Now. It never runs back, and never jumps.
pub(crate) fn now() -> Timestamp {
    CLOCK.at(Instant::now())
}

/// By how many seconds the system's clock is ahead of this one, where somebody has set it since.
pub(crate) fn off_s() -> Option<f64> {
    off(Timestamp::now(), now())
}

fn off(system: Timestamp, ours: Timestamp) -> Option<f64> {
    let off_s = system.seconds_after(ours);
    (off_s.abs() > OFF_S_MAX).then_some(off_s)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whatever_the_system_is_set_to_time_goes_on() {
        let (begun, system) = (Instant::now(), Timestamp::from_secs_f64(7200.0));
        let clock = Clock { begun, system };
        let later = begun + Duration::from_secs(5);
        assert_eq!(clock.at(later), Timestamp::from_secs_f64(7205.0));
        let before = now();
        assert!(before <= now());
    }

    #[test]
    fn a_clock_that_was_set_is_noticed_either_way() {
        let ours = Timestamp::from_secs_f64(7200.0);
        for (system_s, noticed) in [
            (7200.0, None),
            (7201.0, None),
            (3600.0, Some(-3600.0)),
            (7203.0, Some(3.0)),
        ] {
            assert_eq!(off(Timestamp::from_secs_f64(system_s), ours), noticed);
        }
    }
}

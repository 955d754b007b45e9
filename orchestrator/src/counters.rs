//! From raw CPU counters to samples.
//!
//! net-snmp refreshes its counters every 5 s however often it is asked; between two refreshes they do not move. So there is
//! one sample per refresh, a mean over the time between two, stamped with the middle of the poll interval in which the
//! refresh was seen.

use std::time::Duration;

use record::{HostName, Sample, Timestamp, Utilization};

/// One answer of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `sysUpTime`, hundredths of a second since the agent started.
    pub up_time: u32,
    /// Ticks spent in user, nice and system mode, each a 32-bit counter that wraps.
    pub busy: [u32; 3],
    /// Ticks spent idle and waiting for a disk.
    pub idle: [u32; 2],
}

/// Turns the answers of one agent into samples.
#[derive(Debug)]
pub struct Counters {
    host: HostName,
    last: Option<Reading>,
    /// When the last answer came, refreshed or not.
    asked_at: Option<Timestamp>,
    /// When the counters last moved.
    refreshed_at: Option<Timestamp>,
    /// Differences to discard: the first one after a (re)start is a mean since boot or over an unknown time.
    discard: u32,
}

/// An agent's up-time may seem to run back by this much: answers overtake each other.
const UP_TIME_SLACK: Duration = Duration::from_secs(2);

impl Counters {
    /// Of an agent that nothing is known of.
    #[must_use]
    pub const fn new(host: HostName) -> Self {
        Self {
            host,
            last: None,
            asked_at: None,
            refreshed_at: None,
            discard: 1,
        }
    }

    /// Takes an answer that came at `now`; returns a sample when the agent has refreshed.
    pub fn take(&mut self, now: Timestamp, reading: Reading) -> Option<Sample> {
        let asked_before = self.asked_at.replace(now);
        let last = self.last.replace(reading)?;
        if restarted(last.up_time, reading.up_time) {
            self.refreshed_at = None;
            self.discard = 1;
            return None;
        }
        let ticks = |now: &[u32], before: &[u32]| -> u64 {
            now.iter()
                .zip(before)
                .map(|(now, before)| u64::from(now.wrapping_sub(*before)))
                .sum()
        };
        let (busy, idle) = (
            ticks(&reading.busy, &last.busy),
            ticks(&reading.idle, &last.idle),
        );
        if busy + idle == 0 {
            return None;
        }
        let refreshed_at = asked_before.map_or(now, |before| before + now.since(before) / 2);
        let before = self.refreshed_at.replace(refreshed_at);
        if self.discard > 0 {
            self.discard -= 1;
            return None;
        }
        let interval = refreshed_at.since(before?);
        let utilization = Utilization::new(busy as f64 / (busy + idle) as f64).ok()?;
        Some(Sample {
            host: self.host.clone(),
            utilization,
            measured_at_us: refreshed_at,
            interval_ms: interval.as_secs_f64() * 1e3,
        })
    }
}

/// Whether an agent's up-time ran back, a wrap after 497 days aside.
fn restarted(before: u32, now: u32) -> bool {
    let back = before.wrapping_sub(now);
    back > (UP_TIME_SLACK.as_millis() / 10) as u32 && back < u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(up_time: u32, busy: u32, idle: u32) -> Reading {
        Reading {
            up_time,
            busy: [busy, 0, 0],
            idle: [idle, 0],
        }
    }

    fn take(counters: &mut Counters, seconds: f64, reading: Reading) -> Option<(f64, f64)> {
        let sample = counters.take(Timestamp::from_secs_f64(seconds), reading)?;
        Some((
            sample.utilization.share(),
            sample.measured_at_us.as_secs_f64(),
        ))
    }

    fn counters() -> Counters {
        Counters::new(HostName::new("a").unwrap())
    }

    #[test]
    fn one_sample_per_refresh_and_the_first_difference_is_discarded() {
        let mut c = counters();
        assert_eq!(take(&mut c, 0.0, reading(100, 1000, 1000)), None);
        assert_eq!(
            take(&mut c, 1.0, reading(200, 1100, 1400)),
            None,
            "mean over an unknown time"
        );
        assert_eq!(
            take(&mut c, 2.0, reading(300, 1100, 1400)),
            None,
            "not refreshed"
        );
        assert_eq!(
            take(&mut c, 6.0, reading(700, 1500, 1500)),
            Some((0.8, 4.0))
        );
        assert_eq!(take(&mut c, 7.0, reading(800, 1500, 1500)), None);
    }

    #[test]
    fn counters_wrap() {
        let mut c = counters();
        take(&mut c, 0.0, reading(0, u32::MAX - 9, u32::MAX));
        take(&mut c, 5.0, reading(500, u32::MAX - 4, u32::MAX));
        assert_eq!(take(&mut c, 10.0, reading(1000, 20, 24)).unwrap().0, 0.5);
    }

    #[test]
    fn a_restart_is_discarded() {
        let mut c = counters();
        take(&mut c, 0.0, reading(90_000, 1000, 1000));
        take(&mut c, 5.0, reading(90_500, 1100, 1400));
        assert_eq!(take(&mut c, 10.0, reading(100, 50, 50)), None);
        assert_eq!(
            take(&mut c, 15.0, reading(600, 500, 100)),
            None,
            "the first difference after a restart"
        );
        assert_eq!(take(&mut c, 20.0, reading(1100, 750, 350)).unwrap().0, 0.5);
    }
}

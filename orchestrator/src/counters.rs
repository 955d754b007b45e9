//! From what an agent answers to samples.
//!
//! net-snmp refreshes its counters every 5 s however often it is asked; between two refreshes they do not move. So there is
//! one sample per refresh, a mean over the time between two, stamped with the middle of the poll interval in which the
//! refresh was seen. Only our own clock is read.

use std::time::Duration;

use record::{HostName, Sample, Timestamp, Utilization};

use crate::snmp::{Count, Load, Reading, Ticks};

/// Turns the answers of one agent into samples.
#[derive(Debug)]
pub struct Counters {
    host: HostName,
    last: Option<Last>,
    /// When the counters last moved.
    refreshed_at: Option<Timestamp>,
    /// Differences to discard: the first one after a (re)start is a mean since boot or over an unknown time.
    discard: u32,
    /// When the last one-minute mean became a sample.
    one_minute_at: Option<Timestamp>,
    /// Ticks of all processors, and the time in which they came.
    ticks: u64,
    ticked: Duration,
}

/// The last answer.
#[derive(Debug)]
struct Last {
    at: Timestamp,
    up_time: u32,
    boots: Option<u32>,
    ticks: Ticks,
}

/// An agent's up-time may seem to run back by this much: it is not read in the same instant as the counters.
const UP_TIME_SLACK: Duration = Duration::from_secs(2);
/// Linux takes back some of the time that it has counted as idle or waiting; by more than this a counter has begun anew.
const TICKS_TAKEN_BACK_MAX: u64 = 1000;
/// Over a longer gap a 32-bit counter may have wrapped more than once (8,192 processors take 87 minutes).
const GAP_MAX: Duration = Duration::from_secs(600);
/// Ticks of a processor in a second: `USER_HZ`, in which agents count whatever the kernel's own are.
const TICKS_PER_S: f64 = 100.0;
/// Ticks say how many processors there are once they were counted for so long: a refresh is timed to a poll.
const TICKED_MIN: Duration = Duration::from_secs(60);
/// Over which `hrProcessorLoad` is a mean.
const ONE_MINUTE: Duration = Duration::from_secs(60);
/// Agents renew `hrProcessorLoad` about so often; more samples of it would say the same again.
const ONE_MINUTE_EVERY: Duration = Duration::from_secs(5);

impl Counters {
    /// Of an agent that nothing is known of.
    #[must_use]
    pub const fn new(host: HostName) -> Self {
        Self {
            host,
            last: None,
            refreshed_at: None,
            discard: 1,
            one_minute_at: None,
            ticks: 0,
            ticked: Duration::ZERO,
        }
    }

    /// How many processors the load is a share of; `None` until they were counted for a minute.
    #[must_use]
    pub fn processors(&self) -> Option<u32> {
        let count = || self.ticks as f64 / TICKS_PER_S / self.ticked.as_secs_f64();
        (self.ticked >= TICKED_MIN).then(|| (count().round() as u32).max(1))
    }

    /// Takes an answer that came at `now`; returns a sample when the agent has refreshed.
    pub fn take(&mut self, now: Timestamp, reading: &Reading) -> Option<Sample> {
        match reading.load {
            Load::Ticks(ticks) => self.take_ticks(
                now,
                Last {
                    at: now,
                    up_time: reading.up_time,
                    boots: reading.boots,
                    ticks,
                },
            ),
            Load::OneMinute(utilization) => self.take_one_minute(now, utilization),
        }
    }

    fn take_ticks(&mut self, now: Timestamp, this: Last) -> Option<Sample> {
        self.one_minute_at = None;
        let Some(last) = self.last.as_ref() else {
            self.last = Some(this);
            return None;
        };
        let asked_before = last.at;
        let moved = (!this.restarted_since(last)).then(|| this.ticks.since(&last.ticks));
        self.last = Some(this);
        let Some((busy, idle)) = moved.flatten() else {
            self.refreshed_at = None;
            self.discard = 1;
            // It may have come back as another machine.
            (self.ticks, self.ticked) = (0, Duration::ZERO);
            return None;
        };
        if busy + idle == 0 {
            return None;
        }
        let refreshed_at = asked_before + now.since(asked_before) / 2;
        let before = self.refreshed_at.replace(refreshed_at);
        if self.discard > 0 {
            self.discard -= 1;
            return None;
        }
        let interval = refreshed_at.since(before?);
        self.ticks = self.ticks.saturating_add(busy + idle);
        self.ticked += interval;
        let utilization = Utilization::new(busy as f64 / (busy + idle) as f64).ok()?;
        Some(self.sample(refreshed_at, interval, utilization))
    }

    fn take_one_minute(&mut self, now: Timestamp, utilization: Utilization) -> Option<Sample> {
        // Should the counters come back, their first difference is over an unknown time.
        self.last = None;
        self.refreshed_at = None;
        self.discard = 1;
        let last = self.one_minute_at;
        // A clock that was set back begins anew.
        if last.is_some_and(|last| last <= now && now.since(last) < ONE_MINUTE_EVERY) {
            return None;
        }
        self.one_minute_at = Some(now);
        Some(self.sample(now, ONE_MINUTE, utilization))
    }

    fn sample(&self, at: Timestamp, interval: Duration, utilization: Utilization) -> Sample {
        Sample {
            host: self.host.clone(),
            utilization,
            measured_at_us: at,
            interval_ms: interval.as_secs_f64() * 1e3,
        }
    }
}

impl Last {
    /// Whether the agent was started anew since, has not been heard of for too long, or our own clock was set back.
    fn restarted_since(&self, before: &Self) -> bool {
        let back = before.up_time.wrapping_sub(self.up_time);
        // A wrap after 497 days is no restart.
        let ran_back = back > (UP_TIME_SLACK.as_millis() / 10) as u32 && back < u32::MAX / 2;
        let started_again = matches!((before.boots, self.boots), (Some(a), Some(b)) if a != b);
        let gap = self.at < before.at || self.at.since(before.at) > GAP_MAX;
        ran_back || started_again || gap
    }
}

impl Ticks {
    /// Busy and idle ticks since `before`; none when a counter began anew, came or went.
    fn since(&self, before: &Self) -> Option<(u64, u64)> {
        Some((
            differences(&self.busy, &before.busy)?,
            differences(&self.idle, &before.idle)?,
        ))
    }
}

fn differences(now: &[Option<Count>], before: &[Option<Count>]) -> Option<u64> {
    let difference = |(now, before): (&Option<Count>, &Option<Count>)| match (now, before) {
        (Some(now), Some(before)) => now.since(*before),
        (None, None) => Some(0),
        _ => None,
    };
    let mut sum = 0_u64;
    for pair in now.iter().zip(before) {
        sum = sum.checked_add(difference(pair)?)?;
    }
    Some(sum)
}

impl Count {
    /// How far it has gone since `before`, over one wrap; none when it cannot have.
    fn since(self, before: Self) -> Option<u64> {
        let (forward, back, range) = match (self, before) {
            (Self::Bits32(now), Self::Bits32(before)) => (
                u64::from(now.wrapping_sub(before)),
                u64::from(before.wrapping_sub(now)),
                u64::from(u32::MAX),
            ),
            (Self::Bits64(now), Self::Bits64(before)) => {
                (now.wrapping_sub(before), before.wrapping_sub(now), u64::MAX)
            }
            _ => return None,
        };
        if forward <= range / 2 {
            Some(forward)
        } else {
            (back <= TICKS_TAKEN_BACK_MAX).then_some(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(up_time: u32, busy: u32, idle: u32) -> Reading {
        let count = |count| Some(Count::Bits32(count));
        let none = None;
        Reading {
            up_time,
            boots: None,
            load: Load::Ticks(Ticks {
                busy: [count(busy), count(0), count(0), none, none, none],
                idle: [count(idle), count(0)],
            }),
        }
    }

    fn wide(up_time: u32, busy: u64, idle: u64) -> Reading {
        let count = |count| Some(Count::Bits64(count));
        let mut reading = reading(up_time, 0, 0);
        if let Load::Ticks(ticks) = &mut reading.load {
            (ticks.busy[0], ticks.idle[0]) = (count(busy), count(idle));
        }
        reading
    }

    fn take(counters: &mut Counters, seconds: f64, reading: Reading) -> Option<(f64, f64)> {
        let sample = counters.take(Timestamp::from_secs_f64(seconds), &reading)?;
        Some((
            sample.utilization.share(),
            sample.measured_at_us.as_secs_f64(),
        ))
    }

    fn counters() -> Counters {
        Counters::new(HostName::new("a").unwrap())
    }

    #[test]
    fn ticks_say_how_many_processors_there_are() {
        let mut counters = Counters::new(HostName::new("a").unwrap());
        // Four of them, and a refresh every 5 s. The first difference is discarded, so that there is a minute after 14 answers.
        let mut take = |turn: u32| {
            let now = Timestamp(1_000_000 + u64::from(turn) * 5_000_000);
            counters.take(now, &reading(turn * 500, turn * 500, turn * 1500));
            counters.processors()
        };
        for turn in 0..13 {
            assert_eq!(take(turn), None, "{turn}");
        }
        assert_eq!(take(13), Some(4));
        // It was started anew.
        assert_eq!(take(0), None);
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
    fn counters_of_64_bits_wrap() {
        let mut c = counters();
        take(&mut c, 0.0, wide(0, u64::MAX - 9, 1 << 40));
        take(&mut c, 5.0, wide(500, u64::MAX - 4, 1 << 40));
        let idle = (1 << 40) + 25;
        assert_eq!(take(&mut c, 10.0, wide(1000, 20, idle)).unwrap().0, 0.5);
    }

    /// 8,192 processors fill a counter of 32 bits in 87 minutes; 5 s of them are far from a wrap.
    #[test]
    fn many_processors() {
        let mut c = counters();
        let ticks = |seconds: u32| seconds * 8192 * 50;
        for seconds in [0, 5, 10] {
            let sample = take(
                &mut c,
                f64::from(seconds),
                reading(
                    seconds * 100,
                    ticks(seconds).wrapping_sub(7),
                    ticks(seconds),
                ),
            );
            assert_eq!(sample.map(|s| s.0), (seconds == 10).then_some(0.5));
        }
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

    /// The up-time of an agent that was restarted while nobody asked may be higher than before.
    #[test]
    fn a_restart_is_seen_by_the_engine_s_boots() {
        let mut c = counters();
        let booted = |boots, up_time, busy, idle| Reading {
            boots: Some(boots),
            ..reading(up_time, busy, idle)
        };
        take(&mut c, 0.0, booted(1, 100, 0, 0));
        take(&mut c, 5.0, booted(1, 600, 100, 100));
        assert_eq!(take(&mut c, 60.0, booted(2, 5000, 4000, 4000)), None);
        assert_eq!(take(&mut c, 65.0, booted(2, 5500, 4100, 4100)), None);
        let sample = take(&mut c, 70.0, booted(2, 6000, 4400, 4200));
        assert_eq!(sample.unwrap().0, 0.75);
    }

    #[test]
    fn a_counter_that_goes_back_begins_anew() {
        let mut c = counters();
        take(&mut c, 0.0, reading(100, 500_000, 500_000));
        take(&mut c, 5.0, reading(600, 500_100, 500_100));
        assert_eq!(take(&mut c, 10.0, reading(1100, 10, 10)), None);
        assert_eq!(take(&mut c, 15.0, reading(1600, 110, 10)), None);
        assert_eq!(take(&mut c, 20.0, reading(2100, 210, 110)).unwrap().0, 0.5);
    }

    /// Linux counts back what it took for idle: that is no wrap by 2^32 idle ticks.
    #[test]
    fn a_little_idle_time_taken_back_is_none() {
        let mut c = counters();
        take(&mut c, 0.0, reading(100, 0, 5000));
        take(&mut c, 5.0, reading(600, 100, 5100));
        assert_eq!(take(&mut c, 10.0, reading(1100, 600, 5098)).unwrap().0, 1.0);
    }

    #[test]
    fn a_counter_that_comes_or_goes_begins_anew() {
        let mut c = counters();
        take(&mut c, 0.0, reading(100, 0, 0));
        take(&mut c, 5.0, reading(600, 100, 100));
        assert_eq!(take(&mut c, 10.0, wide(1100, 200, 200)), None);
        assert_eq!(take(&mut c, 15.0, wide(1600, 300, 300)), None);
        assert_eq!(take(&mut c, 20.0, wide(2100, 400, 400)).unwrap().0, 0.5);
    }

    #[test]
    fn over_a_long_gap_a_counter_may_have_wrapped_twice() {
        let mut c = counters();
        take(&mut c, 0.0, reading(100, 0, 0));
        take(&mut c, 5.0, reading(600, 100, 100));
        assert_eq!(take(&mut c, 700.0, reading(70_000, 200, 200)), None);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_sample() {
        let mut c = counters();
        take(&mut c, 1000.0, reading(100, 0, 0));
        take(&mut c, 1005.0, reading(600, 100, 100));
        assert_eq!(take(&mut c, 3.0, reading(1100, 200, 200)), None);
        let sample = take(&mut c, 8.0, reading(1600, 300, 300));
        assert_eq!(sample, None, "the first difference afterwards");
        assert_eq!(take(&mut c, 13.0, reading(2100, 400, 400)).unwrap().0, 0.5);
    }

    #[test]
    fn a_mean_over_a_minute_says_so_and_comes_every_5_s() {
        let mut c = counters();
        let mut take = |seconds: f64, share: f64| {
            let reading = Reading {
                up_time: 1,
                boots: None,
                load: Load::OneMinute(Utilization::new(share).unwrap()),
            };
            let sample = c.take(Timestamp::from_secs_f64(seconds), &reading)?;
            Some((sample.utilization.share(), sample.interval_ms))
        };
        assert_eq!(take(10.0, 0.4), Some((0.4, 60e3)));
        assert_eq!(take(11.0, 0.5), None);
        assert_eq!(take(15.0, 0.5), Some((0.5, 60e3)));
        assert_eq!(take(3.0, 0.5), Some((0.5, 60e3)), "our clock was set back");
    }
}

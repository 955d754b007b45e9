//! What viewers have taught of one host: observations by load, and the knee that follows from them.
//!
//! They are kept by load, the last [`KEPT`] of each [`Bin`]. The knee falls to the lowest load at which they keep being late, if they
//! came in time below it: lateness that is there at the lowest load that was seen may be the line's, the camera's or the viewer's, and
//! is told as such ([`Fit::late_from`]). It rises over the configured one as far as the last [`KEPT`] at that load and over it were all
//! in time: the next is late with a probability of 1 in [`KEPT`] + 1 (Hahn and Meeker, Statistical Intervals, section 5.3, as in
//! `learn.rs`).
//!
//! What is newer counts: a load that is late forgets what was in time at a higher one, and the other way round.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use record::{Timestamp, Utilization};
use serde::{Deserialize, Serialize};

/// Parts of the scale of loads, each 4 % wide.
const BINS: usize = 25;
/// Observations that are kept of each.
const KEPT: usize = 19;
/// So many observations make a rule of it; with an agent that refreshes every 5 s that is half a minute.
const SUSTAINED: usize = 5;
/// And no fewer seconds in a row, however often samples come: what was queued up at a higher load before is shown late for a while.
const LASTING: Duration = Duration::from_secs(10);
/// What was not seen again for so long is forgotten: nothing stays on a host at a load over a knee that is too low, and nobody would
/// ever see that it is.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// What viewers have taught of one host, as the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taught {
    /// Budget by which pictures were late or in time; by another one they teach something else.
    pub(super) budget_ms: f64,
    /// By number, from the lowest load.
    bins: BTreeMap<usize, Bin>,
    /// Its knee, where it is not the configured one, and since when.
    pub(super) knee: Option<(Utilization, Timestamp)>,
    /// As [`Fit::late_from`].
    pub(super) late_from: Option<Utilization>,
}

/// What was seen at loads of one part of the scale.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bin {
    newest_us: Timestamp,
    /// Whether it was late, and how many reports said so or otherwise; oldest first.
    seen: VecDeque<(bool, u32)>,
    /// Since when all were late; `None` when the newest was not.
    late_since_us: Option<Timestamp>,
    /// Pictures keep being late here. Once they are, all that is kept has to be in time before they are not.
    late: bool,
}

/// What follows from all of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// `None`: the configured one.
    pub(super) knee: Option<Utilization>,
    /// Lowest load at which pictures keep being late, where they were not seen to come in time below it.
    pub(super) late_from: Option<Utilization>,
}

impl Taught {
    /// Takes an observation: pictures at a load were late or not, as so many reports said.
    pub(super) fn observe(&mut self, now: Timestamp, load: f64, late: bool, reports: u32) {
        let number = ((load * BINS as f64) as usize).min(BINS - 1);
        let bin = self.bins.entry(number).or_default();
        bin.newest_us = now;
        bin.late_since_us = late.then(|| bin.late_since_us.unwrap_or(now));
        bin.seen.push_back((late, reports));
        if bin.seen.len() > KEPT {
            bin.seen.pop_front();
        }
        self.judge(now, number);
        // Together they may be late often enough.
        if let Some(below) = number.checked_sub(1) {
            self.judge(now, below);
        }
        self.forget_late_below_in_time();
    }

    /// Whether pictures keep being late at loads of a bin.
    fn judge(&mut self, now: Timestamp, number: usize) {
        let mostly_late = |number| self.bins.get(&number).map_or(0, Bin::mostly_late);
        let (here, next) = (mostly_late(number), mostly_late(number + 1));
        let both = self.bins.range(number..=number + 1);
        let since = both.filter_map(|(_, bin)| bin.late_since_us).min();
        let lasting = since.is_some_and(|since| now.since(since) >= LASTING);
        let Some(bin) = self.bins.get_mut(&number) else {
            return;
        };
        if lasting && here > 0 && here + next >= SUSTAINED {
            if !bin.late {
                bin.late = true;
                for (_, above) in self.bins.range_mut(number + 1..) {
                    above.seen.retain(|(late, _)| *late);
                }
                self.bins.retain(|_, bin| !bin.seen.is_empty());
            }
        } else if bin.seen.len() == KEPT && bin.count(true) == 0 {
            bin.late = false;
        }
    }

    /// What comes in time at a load does so at a lower one: once that is sure, older lateness there was something else. (When it
    /// became the rule, what was in time above was forgotten: what is there now is newer.)
    fn forget_late_below_in_time(&mut self) {
        let mut in_time = 0;
        let mut refuted = None;
        for (number, bin) in self.bins.iter().rev() {
            if bin.late && in_time >= KEPT {
                refuted = Some(*number);
                break;
            }
            if bin.count(true) > 0 {
                return;
            }
            in_time += bin.count(false);
        }
        if let Some(number) = refuted {
            let late = |at: &usize, bin: &Bin| *at <= number && bin.late;
            self.bins.retain(|at, bin| !late(at, bin));
        }
    }

    /// What follows, where the knee is configured so.
    pub(super) fn fit(&self, configured: Utilization) -> Fit {
        let late = self.bins.iter().find(|(_, bin)| bin.late);
        let late = late.map(|(number, _)| *number);
        let below = self.bins.range(..late.unwrap_or(0));
        let (in_time, others) = below.fold((0, 0), |(in_time, others), (_, bin)| {
            (in_time + bin.count(false), others + bin.count(true))
        });
        match late {
            Some(number) if in_time < SUSTAINED || in_time <= others => Fit {
                knee: None,
                late_from: Some(edge(number)),
            },
            _ => {
                let fallen = late.map(edge).filter(|knee| *knee < configured);
                let risen = self.in_time_from(late.unwrap_or(BINS));
                Fit {
                    knee: fallen.or(risen.filter(|knee| *knee > configured)),
                    late_from: None,
                }
            }
        }
    }

    /// Highest load from which the last observations, up to a bin, were all in time.
    fn in_time_from(&self, end: usize) -> Option<Utilization> {
        let mut in_time = 0;
        for (number, bin) in self.bins.range(..end).rev() {
            if bin.count(true) > 0 {
                return None;
            }
            in_time += bin.count(false);
            if in_time >= KEPT {
                return Some(edge(*number));
            }
        }
        None
    }

    /// Forgets what is old; `true` when there was something.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.bins.len();
        self.bins.retain(|_, bin| now.since(bin.newest_us) <= OLD);
        self.bins.len() < before
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// Reports that are remembered.
    pub(super) fn reports(&self) -> u64 {
        let seen = self.bins.values().flat_map(|bin| &bin.seen);
        seen.map(|(_, reports)| u64::from(*reports)).sum()
    }
}

impl Bin {
    fn count(&self, wanted: bool) -> usize {
        self.seen.iter().filter(|(late, _)| *late == wanted).count()
    }

    /// How many were late, where that is most of them; else none.
    fn mostly_late(&self) -> usize {
        let late = self.count(true);
        if late * 2 > self.seen.len() { late } else { 0 }
    }
}

/// Lowest load of a bin.
fn edge(number: usize) -> Utilization {
    Utilization::clamped(number as f64 / BINS as f64)
}

#[cfg(test)]
mod tests {
    use bolero::check;

    use super::*;

    fn share(share: f64) -> Utilization {
        Utilization::new(share).unwrap()
    }

    /// Observations in turn, 5 s apart, of five reports each: a load, how many of them, and whether they were late.
    fn taught(observations: &[(f64, usize, bool)]) -> Taught {
        let mut taught = Taught::default();
        let each = observations
            .iter()
            .flat_map(|(load, count, late)| std::iter::repeat_n((*load, *late), *count));
        for (number, (load, late)) in (0..).zip(each) {
            taught.observe(Timestamp(number * 5_000_000), load, late, 5);
        }
        taught
    }

    #[test]
    fn a_backlog_of_some_seconds_is_no_rule() {
        for (every_s, expected) in [(1, None), (2, None), (3, Some(share(0.72)))] {
            let mut taught = taught(&[(0.3, 5, IN_TIME)]);
            for number in 0..5 {
                let at = Timestamp((100 + every_s * number) * 1_000_000);
                taught.observe(at, 0.75, LATE, 1);
            }
            assert_eq!(taught.fit(share(0.9)).knee, expected, "{every_s}");
        }
    }

    fn knee(observations: &[(f64, usize, bool)]) -> Option<f64> {
        let fit = taught(observations).fit(share(0.9));
        assert_eq!(fit.late_from, None, "{observations:?}");
        fit.knee.map(Utilization::share)
    }

    const LATE: bool = true;
    const IN_TIME: bool = false;

    #[test]
    fn it_falls_to_the_lowest_load_that_keeps_being_late() {
        for (observations, expected) in [
            (&[(0.3, 5, IN_TIME), (0.75, 5, LATE)][..], Some(0.72)),
            (&[(0.3, 5, IN_TIME), (0.75, 4, LATE)], None),
            // Spread over two neighbours.
            (
                &[(0.3, 5, IN_TIME), (0.75, 2, LATE), (0.77, 3, LATE)],
                Some(0.72),
            ),
            (&[(0.3, 5, IN_TIME), (0.75, 2, LATE), (0.85, 3, LATE)], None),
            // More of it is in time.
            (
                &[(0.3, 5, IN_TIME), (0.75, 6, IN_TIME), (0.75, 5, LATE)],
                None,
            ),
            (
                &[(0.3, 5, IN_TIME), (0.75, 6, IN_TIME), (0.75, 7, LATE)],
                Some(0.72),
            ),
            // It was late at a higher load first.
            (
                &[
                    (0.3, 5, IN_TIME),
                    (0.86, 5, LATE),
                    (0.6, 5, IN_TIME),
                    (0.7, 5, LATE),
                ],
                Some(0.68),
            ),
            // As is configured.
            (&[(0.3, 5, IN_TIME), (0.95, 9, LATE)], None),
            // One that was late on its way up and down is nothing.
            (
                &[(0.3, 5, IN_TIME), (0.5, 1, LATE), (0.75, 5, LATE)],
                Some(0.72),
            ),
        ] {
            assert_eq!(knee(observations), expected, "{observations:?}");
        }
    }

    #[test]
    fn late_at_any_load_teaches_no_knee() {
        for observations in [
            &[(0.75, 5, LATE)][..],
            &[(0.3, 4, IN_TIME), (0.75, 5, LATE)],
            &[(0.3, 9, LATE), (0.75, 9, LATE)],
            // A line that went bad: then it is late at the lower load, too.
            &[(0.3, 9, IN_TIME), (0.75, 9, LATE), (0.3, 19, LATE)],
        ] {
            let fit = taught(observations).fit(share(0.9));
            assert_eq!(fit.knee, None, "{observations:?}");
            assert!(fit.late_from.is_some(), "{observations:?}");
        }
        let fit = taught(&[(0.3, 9, LATE), (0.75, 9, LATE)]).fit(share(0.9));
        assert_eq!(fit.late_from, Some(share(0.28)));
    }

    #[test]
    fn it_rises_as_far_as_was_seen_in_time() {
        for (observations, expected) in [
            (&[(0.97, 19, IN_TIME)][..], Some(0.96)),
            (&[(0.97, 18, IN_TIME)], None),
            // What comes in time at a load does so at a lower one.
            (&[(0.97, 10, IN_TIME), (0.93, 9, IN_TIME)], Some(0.92)),
            (&[(0.97, 18, IN_TIME), (0.97, 1, LATE)], None),
            (&[(0.97, 1, LATE), (0.93, 30, IN_TIME)], None),
            // Late a little higher: up to there.
            (&[(0.93, 30, IN_TIME), (0.97, 5, LATE)], Some(0.92)),
            // Not over the configured one.
            (&[(0.8, 30, IN_TIME)], None),
        ] {
            assert_eq!(knee(observations), expected, "{observations:?}");
        }
    }

    #[test]
    fn what_is_newer_counts() {
        let fallen = [(0.3, 5, IN_TIME), (0.75, 5, LATE)];
        for (then, expected) in [
            // At the same load, and at a higher one: all of as many as make a bound.
            (&[(0.75, 18, IN_TIME)][..], Some(0.72)),
            (&[(0.75, 19, IN_TIME)], None),
            (&[(0.81, 18, IN_TIME)], Some(0.72)),
            (&[(0.81, 19, IN_TIME)], None),
            (&[(0.81, 18, IN_TIME), (0.81, 1, LATE)], Some(0.72)),
            // A lower one says nothing of it.
            (&[(0.6, 19, IN_TIME)], Some(0.72)),
        ] {
            assert_eq!(knee(&[&fallen, then].concat()), expected, "{then:?}");
        }
        // A host that got slower: what was in time before does not speak for it.
        let slower = [(0.3, 5, IN_TIME), (0.85, 19, IN_TIME), (0.75, 5, LATE)];
        assert_eq!(knee(&slower), Some(0.72));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut taught = taught(&[(0.3, 5, IN_TIME), (0.75, 5, LATE)]);
        assert!(!taught.expire(Timestamp(0) + OLD));
        assert!(taught.fit(share(0.9)).knee.is_some());
        assert!(taught.expire(Timestamp(100_000_000) + OLD));
        assert!(taught.is_empty());
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let taught = taught(&[(0.3, 5, IN_TIME), (0.75, 5, LATE)]);
        let text = serde_json::to_string(&taught).unwrap();
        assert_eq!(serde_json::from_str::<Taught>(&text).unwrap(), taught);
    }

    #[test]
    fn whatever_is_observed() {
        check!().with_type::<(f64, Vec<(u8, u8, bool)>)>().for_each(
            |(configured, observations)| {
                let configured = Utilization::clamped(*configured);
                let mut taught = Taught::default();
                let mut now = Timestamp(0);
                for (load, count, late) in observations {
                    for _ in 0..count % 32 {
                        now = now + Duration::from_secs(5);
                        let load = f64::from(*load) / 255.0;
                        taught.observe(now, load, *late, 1);
                    }
                    check_bounds(&taught, configured);
                }
            },
        );
    }

    /// No more is kept than may be, and a knee rests on what was seen: late at it and over it, in time from it on.
    fn check_bounds(taught: &Taught, configured: Utilization) {
        assert!(taught.bins.len() <= BINS);
        assert!(taught.bins.values().all(|bin| bin.seen.len() <= KEPT));
        let fit = taught.fit(configured);
        let at_least = |knee: Utilization, late| {
            let bins = taught.bins.iter().filter(|(at, _)| edge(**at) >= knee);
            bins.map(|(_, bin)| bin.count(late)).sum::<usize>()
        };
        match fit.knee {
            Some(knee) if knee < configured => {
                assert!(at_least(knee, true) > 0, "{taught:?}");
                assert!(knee.share() > 0.0);
            }
            Some(knee) => {
                assert!(knee > configured);
                assert!(at_least(knee, false) >= KEPT, "{taught:?}");
            }
            None => {}
        }
        assert!(fit.knee.is_none() || fit.late_from.is_none());
    }
}

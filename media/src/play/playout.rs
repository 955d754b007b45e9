//! When to show a picture: with jitter, a moment later than at once, so that the next comes in time.

use std::collections::VecDeque;
use std::time::Duration;

use record::Timestamp;
use wire::mpegts::{CLOCK_HZ, CLOCK_WRAP};

use crate::MediaError;
use crate::picture::Picture;

/// Pictures whose lateness counts: ten seconds at 30 a second.
const WINDOW: usize = 300;
/// Longest target. What is later was held up, not jittered: it is shown at once and does not make all others late, too.
const TARGET_MAX: Duration = Duration::from_millis(500);
/// A presentation time that departs further from the time of arrival begins a new stream.
const JUMP_MAX: Duration = Duration::from_secs(3);
/// So many pictures in a row that are too late to count are no stall: the way has become longer for good.
const TOO_LATE_MAX: usize = 150;
/// Pictures that wait to be shown; beyond it the oldest is shown early.
const WAITING_MAX: usize = 64;

/// Learns how late pictures come, and tells when to show one.
///
/// The *lateness* of a picture is its time of arrival minus its presentation time, less the least of that in the window. The
/// target is the chosen quantile of lateness: a picture waits for what is missing to the target, a later one not at all.
#[derive(Debug)]
pub(super) struct Playout {
    quantile: f64,
    /// Arrival minus presentation time, in microseconds, of the last pictures.
    offsets: VecDeque<i64>,
    last: Option<(u64, i64)>,
    /// Pictures in a row that were too late to count.
    too_late: usize,
    target: Duration,
}

impl Playout {
    /// `quantile` of the pictures come in time, 0 to 1.
    pub(super) fn new(quantile: f64) -> Self {
        Self {
            quantile,
            offsets: VecDeque::with_capacity(WINDOW),
            last: None,
            too_late: 0,
            target: Duration::ZERO,
        }
    }

    /// When to show a picture with presentation time `pts` that is there since `received`.
    pub(super) fn due(&mut self, pts: u64, received: Timestamp) -> Timestamp {
        let pts = pts % CLOCK_WRAP;
        let arrival = received.as_micros() as i64;
        let presented = self.presented(pts);
        let mut offset = arrival - presented;
        let is_jump = self
            .offsets
            .back()
            .is_some_and(|last| (offset - last).unsigned_abs() > JUMP_MAX.as_micros() as u64);
        if is_jump || self.too_late >= TOO_LATE_MAX {
            self.offsets.clear();
            self.too_late = 0;
            self.last = Some((pts, pts_micros(pts)));
            offset = arrival - pts_micros(pts);
        }
        let least = self
            .offsets
            .iter()
            .copied()
            .min()
            .unwrap_or(offset)
            .min(offset);
        let lateness = Duration::from_micros((offset - least) as u64);
        if lateness <= TARGET_MAX {
            // Those that turn out to have been held up count no more: a viewer gets what was there before it came all at once.
            let latest = least + TARGET_MAX.as_micros() as i64;
            self.offsets.retain(|other| *other <= latest);
            if self.offsets.len() == WINDOW {
                self.offsets.pop_front();
            }
            self.offsets.push_back(offset);
            self.target = self.learn();
            self.too_late = 0;
        } else {
            self.too_late += 1;
        }
        received + self.target.saturating_sub(lateness)
    }

    /// How much later than the least late picture all are shown.
    pub(super) fn target(&self) -> Duration {
        self.target
    }

    fn learn(&self) -> Duration {
        let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (self.quantile * sorted.len() as f64).ceil() as usize;
        let at = rank.clamp(1, sorted.len()) - 1;
        Duration::from_micros((sorted[at] - sorted[0]) as u64)
    }

    /// Presentation time in microseconds, without its wrap.
    fn presented(&mut self, pts: u64) -> i64 {
        let presented = match self.last {
            None => pts_micros(pts),
            Some((last, presented)) => {
                let ahead = pts.wrapping_sub(last) % CLOCK_WRAP;
                // The nearer way round.
                let step = if ahead < CLOCK_WRAP / 2 {
                    pts_micros(ahead)
                } else {
                    -pts_micros(CLOCK_WRAP - ahead)
                };
                presented + step
            }
        };
        self.last = Some((pts, presented));
        presented
    }
}

fn pts_micros(ticks: u64) -> i64 {
    (u128::from(ticks) * 1_000_000 / u128::from(CLOCK_HZ)) as i64
}

/// Pictures that wait to be shown.
pub(super) struct Waiting {
    pictures: VecDeque<Decoded>,
    /// Memory of pictures that were shown, to be used again.
    spare: Vec<Picture>,
}

/// A picture that is to be shown.
pub(super) struct Decoded {
    pub(super) picture: Picture,
    pub(super) is_damaged: bool,
    pub(super) received: Timestamp,
    pub(super) due: Timestamp,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            pictures: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Puts a copy of `picture` in line.
    pub(super) fn push(
        &mut self,
        picture: &Picture,
        is_damaged: bool,
        received: Timestamp,
        due: Timestamp,
    ) -> Result<(), MediaError> {
        self.pictures.push_back(Decoded {
            picture: picture.copy(self.spare.pop())?,
            is_damaged,
            received,
            due,
        });
        Ok(())
    }

    /// The picture to show now, and how many older ones it makes needless: after a stall the newest that is due, so that the
    /// screen does not stay late.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(Decoded, u64)> {
        let is_full = self.pictures.len() > WAITING_MAX;
        let count = self
            .pictures
            .iter()
            .take_while(|picture| picture.due <= now)
            .count();
        let count = count.max(usize::from(is_full));
        let older = count.checked_sub(1)?;
        for picture in self.pictures.drain(..older) {
            self.spare.push(picture.picture);
        }
        self.spare.truncate(WAITING_MAX);
        Some((self.pictures.pop_front()?, older as u64))
    }

    /// Gives the memory of a shown picture back.
    pub(super) fn give_back(&mut self, picture: Picture) {
        self.spare.push(picture);
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.pictures.front().map(|picture| picture.due)
    }

    pub(super) fn len(&self) -> usize {
        self.pictures.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_US: u64 = 33_333;

    /// Delay until shown, in milliseconds, of pictures that come so late, in milliseconds, 30 a second.
    fn delays(quantile: f64, lateness_ms: &[u64], first_pts: u64) -> (Vec<u64>, u128) {
        let mut playout = Playout::new(quantile);
        let start = 1_000_000_000;
        let delays = lateness_ms.iter().enumerate().map(|(at, late)| {
            let at = at as u64;
            let pts = (first_pts + at * 3000) % CLOCK_WRAP;
            let received = Timestamp(start + at * FRAME_US + late * 1000);
            playout.due(pts, received).since(received).as_millis() as u64
        });
        (delays.collect(), playout.target().as_millis())
    }

    #[test]
    fn without_jitter_nothing_waits() {
        let (delays, target) = delays(0.95, &[0; 100], 0);
        assert_eq!((delays, target), (vec![0; 100], 0));
    }

    #[test]
    fn the_target_is_the_quantile_of_lateness() {
        let lateness: Vec<u64> = (0..300)
            .map(|at| if at % 10 == 0 { 40 } else { 10 * (at % 2) })
            .collect();
        let (delays, target) = delays(0.95, &lateness, 0);
        assert!((39..=40).contains(&target), "{target}");
        for (late, delay) in lateness.iter().zip(delays).skip(100) {
            assert!((late + delay).abs_diff(40) <= 1, "{late} {delay}");
        }
    }

    #[test]
    fn a_stall_does_not_raise_the_target() {
        let mut lateness = vec![0; 100];
        lateness.extend([2000; 60]);
        lateness.extend([0; 100]);
        let (delays, target) = delays(0.95, &lateness, 0);
        assert_eq!((delays, target), (vec![0; 260], 0));
    }

    #[test]
    fn what_was_there_before_does_not_make_all_others_late() {
        // A second of pictures at once, each less late than the one before.
        let mut lateness: Vec<u64> = (0..30).map(|at| 1000 - at * 33).collect();
        lateness.extend([0; 40]);
        let (delays, target) = delays(0.95, &lateness, 0);
        assert!(target <= TARGET_MAX.as_millis(), "{target}");
        let longest = delays.into_iter().max().unwrap();
        assert!(u128::from(longest) <= TARGET_MAX.as_millis(), "{longest}");
    }

    /// Whatever a stream says of its times, no picture waits for longer than the longest target.
    #[test]
    fn fuzz_due_times() {
        bolero::check!()
            .with_type::<(u8, Vec<(u64, u64)>)>()
            .for_each(|(quantile, times)| {
                let mut playout = Playout::new(f64::from(*quantile) / 255.0);
                let mut now = Timestamp(1_790_000_000_000_000);
                for (pts, passed_us) in times {
                    // The clock is ours: as often as not a moment later, now and then set.
                    now = match passed_us % 4 {
                        0 => Timestamp(passed_us >> 12),
                        _ => now + Duration::from_micros(passed_us % 100_000),
                    };
                    let due = playout.due(*pts, now);
                    assert!(due >= now && due.since(now) <= TARGET_MAX, "{times:?}");
                    assert!(playout.target() <= TARGET_MAX);
                }
            });
    }

    #[test]
    fn a_longer_way_is_learnt() {
        let mut lateness = vec![0; 100];
        lateness.extend([1500; TOO_LATE_MAX + 10]);
        lateness.extend((0..100).map(|at| 1500 + 20 * (at % 2)));
        let (delays, target) = delays(0.95, &lateness, 0);
        assert!((19..=20).contains(&target), "{target}");
        assert_eq!(delays.len(), lateness.len());
    }

    #[test]
    fn presentation_times_wrap() {
        let (delays, target) = delays(0.95, &[0; 100], CLOCK_WRAP - 50 * 3000);
        assert_eq!((delays, target), (vec![0; 100], 0));
    }

    #[test]
    fn a_new_stream_begins_anew() {
        let mut playout = Playout::new(1.0);
        playout.due(90_000, Timestamp(10_000_000));
        playout.due(93_000, Timestamp(10_133_333));
        assert_eq!(playout.target().as_millis(), 100);
        assert_eq!(playout.due(5, Timestamp(20_200_000)), Timestamp(20_200_000));
        assert_eq!(playout.target(), Duration::ZERO);
    }

    #[test]
    fn after_a_stall_the_newest_is_shown() {
        let picture = Picture::new(64, 64).unwrap();
        let mut waiting = Waiting::new();
        for due in 1..=5 {
            waiting
                .push(&picture, false, Timestamp(0), Timestamp(due))
                .unwrap();
        }
        assert!(waiting.due(Timestamp(0)).is_none());
        let (shown, needless) = waiting.due(Timestamp(3)).unwrap();
        assert_eq!((shown.due, needless), (Timestamp(3), 2));
        assert_eq!((waiting.len(), waiting.next_due()), (2, Some(Timestamp(4))));
    }
}

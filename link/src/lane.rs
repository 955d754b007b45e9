//! One direction of a link: what becomes of each frame.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

use crate::shape::{Jitter, Shape};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at this instant.
    Arrives(Duration),
    /// The link loses it.
    Lost,
    /// Too much waits before it.
    Overflows,
}

/// One direction. Time is what has passed since any fixed instant, and does not run back.
#[derive(Debug)]
pub struct Lane {
    shape: Shape,
    chance: StdRng,
    /// When the last bit of what was taken is sent.
    sent_until: Duration,
    /// When the last frame that keeps its order arrives.
    last_arrival: Duration,
    /// The deviate of the jitter, and when it was drawn.
    deviate: Option<(f64, Duration)>,
    /// In the state in which all is lost.
    losing: bool,
}

impl Lane {
    /// A lane; the same seed and frames have the same fates.
    #[must_use]
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            chance: StdRng::seed_from_u64(seed),
            sent_until: Duration::ZERO,
            last_arrival: Duration::ZERO,
            deviate: None,
            losing: false,
        }
    }

    /// A frame of `bytes` goes in.
    pub fn accept(&mut self, now: Duration, bytes: usize) -> Fate {
        let Some(sent) = self.send(now, bytes) else {
            return Fate::Overflows;
        };
        if self.loses() {
            return Fate::Lost;
        }
        let overtakes = self.shape.reorder.unwrap_or_default();
        if overtakes > 0.0 && self.chance.random::<f64>() < overtakes {
            return Fate::Arrives(sent);
        }
        let delay = self.shape.delay_ms + self.jitter(sent);
        let arrival = (sent + Duration::from_secs_f64(delay.max(0.0) / 1e3)).max(self.last_arrival);
        self.last_arrival = arrival;
        Fate::Arrives(arrival)
    }

    /// When its last bit is sent; nothing when the queue is full.
    fn send(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let Some(rate) = self.shape.rate else {
            return Some(now);
        };
        let turn = self.sent_until.max(now);
        if (turn - now).as_secs_f64() * 1e3 > rate.queue_ms {
            return None;
        }
        self.sent_until = turn + Duration::from_secs_f64(bytes as f64 * 8.0 / (rate.mbit_s * 1e6));
        Some(self.sent_until)
    }

    fn loses(&mut self) -> bool {
        let Some(loss) = self.shape.loss else {
            return false;
        };
        let Some(burst) = loss.burst else {
            return self.chance.random::<f64>() < loss.share;
        };
        // Out of the bad state after `burst` frames in the mean; into it so often that `share` of all frames meet it.
        let change = if self.losing {
            1.0 / burst
        } else {
            loss.share / (burst * (1.0 - loss.share))
        };
        if self.chance.random::<f64>() < change {
            self.losing = !self.losing;
        }
        self.losing
    }

    /// Milliseconds off the mean delay: an Ornstein-Uhlenbeck process sampled when frames pass.
    fn jitter(&mut self, now: Duration) -> f64 {
        let Some(Jitter {
            sd_ms,
            distribution,
            memory_ms,
        }) = self.shape.jitter
        else {
            return 0.0;
        };
        let fresh: f64 = self.chance.sample(StandardNormal);
        let deviate = match self.deviate {
            Some((before, at)) if memory_ms > 0.0 => {
                let correlation = (-now.saturating_sub(at).as_secs_f64() * 1e3 / memory_ms).exp();
                correlation * before + (1.0 - correlation.powi(2)).sqrt() * fresh
            }
            _ => fresh,
        };
        self.deviate = Some((deviate, now));
        sd_ms * distribution.of_normal(deviate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shape::{Distribution, Loss, Rate};

    fn ms(value: f64) -> Duration {
        Duration::from_secs_f64(value / 1e3)
    }

    fn arrivals(shape: Shape, frames: u32, every_ms: f64) -> Vec<Option<f64>> {
        let mut lane = Lane::new(shape, 7);
        let one = |i| {
            let now = ms(f64::from(i) * every_ms);
            match lane.accept(now, 1250) {
                Fate::Arrives(at) => Some((at.as_secs_f64() - now.as_secs_f64()) * 1e3),
                Fate::Lost | Fate::Overflows => None,
            }
        };
        (0..frames).map(one).collect()
    }

    #[test]
    fn a_plain_lane_holds_nothing() {
        let all = arrivals(Shape::default(), 100, 1.0);
        assert!(all.iter().all(|delay| *delay == Some(0.0)));
    }

    #[test]
    fn a_rate_spaces_frames_and_a_full_queue_drops() {
        // 1250 bytes at 10 Mbit/s take 1 ms; one comes each 0.5 ms, so every frame waits half a millisecond longer.
        let rate = Some(Rate {
            mbit_s: 10.0,
            queue_ms: 2.0,
        });
        let all = arrivals(
            Shape {
                rate,
                ..Shape::default()
            },
            12,
            0.5,
        );
        let first: Vec<f64> = all.iter().take(5).map(|d| d.unwrap()).collect();
        for (got, wanted) in first.iter().zip([1.0, 1.5, 2.0, 2.5, 3.0]) {
            assert!((got - wanted).abs() < 1e-6, "{first:?}");
        }
        assert!(
            all.iter().any(Option::is_none),
            "twice the rate overflows: {all:?}"
        );
    }

    #[test]
    fn jitter_has_the_mean_and_deviation_asked_for() {
        // The tail of Pareto's is so long that its deviation settles slowly.
        for (distribution, tolerance) in [
            (Distribution::Uniform, 0.15),
            (Distribution::Normal, 0.15),
            (Distribution::Pareto, 0.8),
        ] {
            let shape = Shape {
                delay_ms: 50.0,
                jitter: Some(Jitter {
                    sd_ms: 5.0,
                    distribution,
                    memory_ms: 20.0,
                }),
                ..Shape::default()
            };
            // Far apart, so that order never holds one up.
            let all: Vec<f64> = arrivals(shape, 20_000, 200.0)
                .into_iter()
                .flatten()
                .collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let sd =
                (all.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
            assert!((mean - 50.0).abs() < 0.2, "{distribution:?}: mean {mean}");
            assert!((sd - 5.0).abs() < tolerance, "{distribution:?}: sd {sd}");
        }
    }

    #[test]
    fn frames_close_together_share_their_jitter() {
        let jitter = |memory_ms| Shape {
            delay_ms: 50.0,
            jitter: Some(Jitter {
                sd_ms: 5.0,
                distribution: Distribution::Normal,
                memory_ms,
            }),
            ..Shape::default()
        };
        let spread = |shape| {
            let all: Vec<f64> = arrivals(shape, 2_000, 0.01).into_iter().flatten().collect();
            all.windows(2)
                .map(|two| (two[1] - two[0]).abs())
                .sum::<f64>()
                / all.len() as f64
        };
        // Without memory the first late frame holds up all that follow; with it the delay wanders.
        assert!(spread(jitter(100.0)) < 0.2);
        let held = arrivals(jitter(0.0), 2_000, 0.01);
        assert!(held.last().unwrap().unwrap() > 50.0);
    }

    #[test]
    fn losses_come_in_the_share_and_bursts_asked_for() {
        for (share, burst, wanted) in [
            (0.05, None, 1.0 / 0.95),
            (0.3, None, 1.0 / 0.7),
            (0.05, Some(4.0), 4.0),
            (0.3, Some(3.0), 3.0),
        ] {
            let loss = Some(Loss { share, burst });
            let all = arrivals(
                Shape {
                    loss,
                    ..Shape::default()
                },
                200_000,
                1.0,
            );
            let lost = all.iter().filter(|delay| delay.is_none()).count() as f64;
            let bursts = all
                .windows(2)
                .filter(|two| two[0].is_some() && two[1].is_none())
                .count() as f64;
            assert!((lost / 2e5 - share).abs() < 0.01, "{share}: {}", lost / 2e5);
            let seen = lost / bursts;
            assert!((seen - wanted).abs() < 0.15, "{share} {burst:?}: {seen}");
        }
    }

    #[test]
    fn a_reordered_frame_overtakes() {
        let shape = Shape {
            delay_ms: 10.0,
            reorder: Some(0.1),
            ..Shape::default()
        };
        let all: Vec<f64> = arrivals(shape, 1_000, 1.0).into_iter().flatten().collect();
        let overtakes = all.iter().filter(|delay| **delay < 1.0).count();
        assert!((50..200).contains(&overtakes), "{overtakes}");
    }

    proptest! {
        #[test]
        fn frames_keep_their_order_and_never_arrive_before_they_left(
            delay_ms in 0.0..50.0_f64,
            sd_ms in 0.0..50.0_f64,
            memory_ms in 0.0..100.0_f64,
            gaps in proptest::collection::vec(0.0..5.0_f64, 1..200),
            seed: u64,
        ) {
            let jitter = Some(Jitter { sd_ms, distribution: Distribution::Pareto, memory_ms });
            let rate = Some(Rate { mbit_s: 50.0, queue_ms: 20.0 });
            let mut lane = Lane::new(Shape { delay_ms, jitter, rate, ..Shape::default() }, seed);
            let (mut now, mut last) = (Duration::ZERO, Duration::ZERO);
            for gap in gaps {
                now += ms(gap);
                if let Fate::Arrives(at) = lane.accept(now, 1500) {
                    prop_assert!(at >= now && at >= last);
                    last = at;
                }
            }
        }
    }
}

//! What the load of the hot hosts does over time.

use super::{FUNCTION_LOAD, KNEE, Shape};
use crate::chance::Chance;

/// A day.
const DAY_S: f64 = 86_400.0;

/// What a hot host does: its load, function included, by points in time.
pub(super) struct Curve {
    pub(super) points: Vec<(f64, f64)>,
    /// Of noise about it, as a share of what cannot be moved.
    pub(super) amplitude: f64,
}

impl Shape {
    /// The hot hosts.
    pub(super) fn curves(self, chance: &mut Chance) -> Vec<Curve> {
        match self {
            Self::Ramp { percent_per_s } => vec![ramp_curve(percent_per_s / 100.0, chance)],
            Self::Step => vec![step_curve(chance)],
            Self::Burst => vec![burst_curve(chance)],
            Self::Daily => daily_curves(chance),
            Self::FlashCrowd => flash_crowd_curves(chance),
            Self::Leak => vec![leak_curve(chance)],
            Self::Plateau => vec![plateau_curve(chance)],
            Self::Oscillation => vec![oscillation_curve(chance)],
        }
    }
}

/// Points of a curve, one after the other.
struct Course(Vec<(f64, f64)>);

impl Course {
    fn from(load: f64) -> Self {
        Self(vec![(0.0, load)])
    }

    fn end_s(&self) -> f64 {
        self.0.last().map_or(0.0, |point| point.0)
    }

    fn load(&self) -> f64 {
        self.0.last().map_or(0.0, |point| point.1)
    }

    fn hold(&mut self, for_s: f64) {
        self.0.push((self.end_s() + for_s, self.load()));
    }

    fn go_to(&mut self, load: f64, in_s: f64) {
        self.0.push((self.end_s() + in_s, load));
    }

    fn jump_to(&mut self, load: f64) {
        self.go_to(load, 0.0);
    }

    fn with_noise(self, amplitude: f64) -> Curve {
        Curve {
            points: self.0,
            amplitude,
        }
    }
}

fn ramp_curve(per_s: f64, chance: &mut Chance) -> Curve {
    let (low, high) = (chance.between(0.2, 0.4), chance.between(1.1, 1.2));
    let mut course = Course::from(low);
    // The beginning falls anywhere between two samples.
    course.hold(chance.between(180.0, 240.0));
    course.go_to(high, (high - low) / per_s);
    course.hold(chance.between(60.0, 120.0));
    course.go_to(low, (high - low) / per_s);
    course.hold(60.0);
    course.with_noise(chance.between(0.0, 0.1))
}

fn step_curve(chance: &mut Chance) -> Curve {
    let low = chance.between(0.25, 0.45);
    let mut course = Course::from(low);
    for _ in 0..2 {
        course.hold(chance.between(180.0, 300.0));
        course.jump_to(chance.between(1.0, 1.15));
        course.hold(chance.between(60.0, 180.0));
        course.jump_to(low);
    }
    course.hold(120.0);
    course.with_noise(chance.between(0.0, 0.05))
}

fn burst_curve(chance: &mut Chance) -> Curve {
    let low = chance.between(0.4, 0.6);
    let mut course = Course::from(low);
    while course.end_s() < 900.0 {
        course.hold(chance.between(30.0, 90.0));
        course.jump_to(chance.between(1.0, 1.2));
        course.hold(chance.between(2.0, 8.0));
        course.jump_to(low);
    }
    course.hold(60.0);
    course.with_noise(chance.between(0.0, 0.1))
}

/// From 0 at the beginning of a round to 1 in its middle and back to 0, smoothly.
fn tide(round: f64) -> f64 {
    let part = round - round.floor();
    let up = 1.0 - (2.0 * part - 1.0).abs();
    up * up * (3.0 - 2.0 * up)
}

fn daily_curves(chance: &mut Chance) -> Vec<Curve> {
    const POINTS: u32 = 288;
    let first_noon = chance.between(0.0, 1.0);
    let mut curve = |host: u32| {
        let (night, noon) = (chance.between(0.25, 0.35), chance.between(0.98, 1.06));
        let begin = first_noon + f64::from(host) / 4.0;
        let point = |point: u32| {
            let part = f64::from(point) / f64::from(POINTS);
            (part * DAY_S, night + (noon - night) * tide(part + begin))
        };
        Curve {
            points: (0..=POINTS).map(point).collect(),
            amplitude: chance.between(0.02, 0.08),
        }
    };
    (0..4).map(&mut curve).collect()
}

fn flash_crowd_curves(chance: &mut Chance) -> Vec<Curve> {
    let mut begin_s = chance.between(180.0, 240.0);
    let mut curve = |_| {
        let low = chance.between(0.3, 0.4);
        let mut course = Course::from(low);
        course.hold(begin_s);
        course.go_to(chance.between(1.0, 1.1), chance.between(20.0, 40.0));
        course.hold(chance.between(180.0, 300.0));
        course.go_to(low, chance.between(60.0, 120.0));
        course.hold(120.0);
        begin_s += chance.between(15.0, 30.0);
        course.with_noise(chance.between(0.0, 0.08))
    };
    (0..3).map(&mut curve).collect()
}

fn leak_curve(chance: &mut Chance) -> Curve {
    let low = chance.between(0.25, 0.35);
    let mut course = Course::from(low);
    course.hold(chance.between(180.0, 240.0));
    course.go_to(
        chance.between(1.02, 1.08),
        chance.between(7_200.0, 14_400.0),
    );
    course.hold(120.0);
    course.jump_to(low);
    course.hold(300.0);
    course.with_noise(chance.between(0.02, 0.1))
}

fn plateau_curve(chance: &mut Chance) -> Curve {
    /// Of the way from the plateau to the knee, what noise may go.
    const UP_TO: f64 = 0.95;
    let level = chance.between(0.88, 0.91);
    let mut course = Course::from(chance.between(0.3, 0.4));
    course.hold(60.0);
    course.go_to(level, 120.0);
    course.hold(1_500.0);
    course.with_noise(UP_TO * (KNEE - level) / (level - FUNCTION_LOAD))
}

fn oscillation_curve(chance: &mut Chance) -> Curve {
    const POINTS_A_ROUND: u32 = 16;
    let (low, high) = (chance.between(0.55, 0.65), chance.between(1.0, 1.06));
    let round_s = chance.between(40.0, 120.0);
    let begin = chance.between(0.0, 1.0);
    let rounds = (900.0 / round_s).ceil() as u32;
    let point = |point: u32| {
        let round = f64::from(point) / f64::from(POINTS_A_ROUND);
        (round * round_s, low + (high - low) * tide(round + begin))
    };
    Curve {
        points: (0..=rounds * POINTS_A_ROUND).map(point).collect(),
        amplitude: chance.between(0.0, 0.05),
    }
}

//! What could be reached at best by one who knows the future: a bound from below, and a plan from above.
//!
//! Time is cut into steps. A function that has settled on a host *suffers* in each step in which the host's demand with it
//! is at or over the knee. While it is moved, which takes `move_steps`, it still runs at the source, whose demand is higher
//! by `copying_extra`; at the hand-over it suffers `gap_s` more. The cost of a schedule of moves is the sum of both.
//!
//! # The bound, and why it is one
//!
//! [`bound`] finds for each function the schedule of least cost as if it were *alone* with what cannot be moved: no other
//! function anywhere, no link that moves share, no limit on moves at once or on how full a target may be, and every move
//! ends well. Take any run of any rule, and of it one function. What the function did is a schedule of that relaxed
//! problem, too: it stayed, and it moved, to hosts where it was allowed, in not less than `move_steps` a move. Its cost
//! there is at most what it suffered in the run: the other functions' load and copying only add demand, so each step at or
//! over the knee in the relaxed problem was one in the run; a move that took longer, failed or was called off suffered no
//! less than staying meanwhile, as copying only adds. So the optimum of the relaxed problem is at most what the function
//! suffered, and the sum over the functions at most what all of them suffered. This holds for every rule, whatever it
//! knows, provided that the run is counted in the same steps (a move begins and ends at their edges, or `move_steps` is
//! rounded down), that no move in the run is faster than `move_steps` or copies with less than `copying_extra` or a shorter
//! gap, and that the run has the same `f32` demand.
//!
//! It bounds *suffering*: seconds at or over the knee plus gaps. A run that is judged by seconds at or over the knee alone
//! may have fewer of them than the optimum here, which pays a second of knee to save a longer gap; for a bound of those
//! alone, set `gap_s` to 0. It does not bound the number of moves, nor picture age, nor what a rule could know in advance.
//! It may be far below what is possible when functions crowd; [`feasible`] shows how far at most.
//!
//! # How it is found
//!
//! By dynamic programming over (step, host): the least cost of having settled on each host at the begin of each step. A
//! function arrives at any target from the one source that is cheapest to have left `move_steps` ago, whichever the target,
//! so a step costs O(hosts) and a function O(steps × hosts). Costs are whole microseconds, so there is no rounding to
//! decide between equals. Among schedules of the same cost one with the fewest moves is taken; among those one that moves
//! early, and the host of the lower index. A move of a function to where it is never pays and never appears.
//!
//! Memory for 17,280 steps, 100 hosts and 100 functions (a day in steps of 5 s): demand 6.9 MB as `f32`, held once
//! by [`Future`], once more by [`bound`] and twice by [`feasible`]; for the function at hand, one bit for each (step, host)
//! and 4 bytes for each step: 0.3 MB. Functions are done one after the other.
//!
//! Files: `demand.rs` (who demands what, where and when), `cheapest.rs` (the dynamic program), `feasible.rs`.

use std::num::NonZeroUsize;

mod cheapest;
mod demand;
mod feasible;

use cheapest::cheapest;
use demand::Demand;

pub use feasible::{Feasible, feasible};

/// All that will happen, and what can be moved.
#[derive(Clone, Debug)]
pub struct Future {
    /// Load at which the delay explodes, a share of a host.
    pub knee: f64,
    /// Length of a step.
    pub step_s: f64,
    /// For each host, its demand in each step without the functions.
    pub immovable: Vec<Vec<f32>>,
    /// What can be moved.
    pub functions: Vec<Mobile>,
}

/// A function.
#[derive(Clone, Debug)]
pub struct Mobile {
    /// Index of the host on which it is at the begin.
    pub home: usize,
    /// What it adds to the demand of the host it runs on.
    pub load: f64,
    /// For each host, whether it may go there.
    pub allowed: Vec<bool>,
    /// How long a move of it takes, at the least.
    pub move_steps: NonZeroUsize,
    /// What copying adds to the demand of the source.
    pub copying_extra: f64,
    /// What it suffers at a hand-over.
    pub gap_s: f64,
}

/// A move in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledMove {
    /// The first step in which it is copied.
    pub start_step: usize,
    /// Index of the host it goes to; it is there from `start_step + move_steps` on.
    pub target: usize,
}

/// What one function does, and what it suffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its moves, in order.
    pub moves: Vec<ScheduledMove>,
    /// Seconds at or over the knee.
    pub above_s: f64,
    /// Seconds of gaps.
    pub gaps_s: f64,
}

/// A run of steps in which a function that stays at home is at or over the knee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overload {
    /// The first of them.
    pub first_step: usize,
    /// How many.
    pub steps: usize,
    /// Whether the schedule of the bound has none of its seconds at or over the knee within it. A gap does not count.
    ///
    /// The schedule is that of the function alone: an overload that others at the same home cause counts as preventable,
    /// since one of them can go. Of several schedules of the same cost another might prevent another overload.
    pub preventable: bool,
}

/// The bound for one function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionBound {
    /// The schedule of least cost.
    pub schedule: Schedule,
    /// Seconds at or over the knee when no function ever moves.
    pub never_s: f64,
    /// Where those are.
    pub overloads: Vec<Overload>,
}

/// The bound for each function.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// In the order of [`Future::functions`].
    pub functions: Vec<FunctionBound>,
}

/// Sums over functions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// Seconds at or over the knee.
    pub above_s: f64,
    /// Seconds of gaps.
    pub gaps_s: f64,
    /// Moves.
    pub moves: usize,
}

/// The least that each function can suffer.
///
/// # Panics
/// When the lengths in `future` do not fit each other, or a number in it is negative or not finite.
#[must_use]
pub fn bound(future: &Future) -> Bound {
    future.check();
    let alone = Demand::immovable(future);
    let one = |(index, function): (usize, &Mobile)| {
        let moves = cheapest(future, &alone, function, None);
        let above = alone.above(future.knee, function, &moves);
        let never = Demand::at_home(future, index);
        let never: Vec<bool> = never
            .iter()
            .map(|demand| at_knee(*demand, function.load, future.knee))
            .collect();
        FunctionBound {
            never_s: seconds(future, &never),
            overloads: overloads(&never, &above),
            schedule: Schedule::of(future, function, moves, &above),
        }
    };
    Bound {
        functions: future.functions.iter().enumerate().map(one).collect(),
    }
}

impl Bound {
    /// Sums over the functions.
    #[must_use]
    pub fn total(&self) -> Total {
        Total::of(self.functions.iter().map(|function| &function.schedule))
    }

    /// Seconds at or over the knee when no function ever moves, over all functions.
    #[must_use]
    pub fn never_s(&self) -> f64 {
        self.functions.iter().map(|function| function.never_s).sum()
    }
}

impl Schedule {
    fn of(future: &Future, function: &Mobile, moves: Vec<ScheduledMove>, above: &[bool]) -> Self {
        Self {
            above_s: seconds(future, above),
            gaps_s: moves.len() as f64 * function.gap_s,
            moves,
        }
    }

    /// All that the function suffers.
    #[must_use]
    pub fn cost_s(&self) -> f64 {
        self.above_s + self.gaps_s
    }
}

impl Total {
    fn of<'a>(schedules: impl Iterator<Item = &'a Schedule>) -> Self {
        schedules.fold(Self::default(), |sum, schedule| Self {
            above_s: sum.above_s + schedule.above_s,
            gaps_s: sum.gaps_s + schedule.gaps_s,
            moves: sum.moves + schedule.moves.len(),
        })
    }

    /// All that the functions suffer.
    #[must_use]
    pub fn cost_s(&self) -> f64 {
        self.above_s + self.gaps_s
    }
}

impl Future {
    /// How many steps there are.
    fn steps(&self) -> usize {
        self.immovable.first().map_or(0, Vec::len)
    }

    /// What comes from the engine is our own: a mistake in it is our bug.
    fn check(&self) {
        let sound = |number: f64| number.is_finite() && number >= 0.0;
        let hosts = self.immovable.len();
        assert!(sound(self.knee) && sound(self.step_s), "knee or step");
        for (host, demand) in self.immovable.iter().enumerate() {
            assert_eq!(demand.len(), self.steps(), "steps of host {host}");
            let all = demand.iter().all(|share| sound(f64::from(*share)));
            assert!(all, "demand of host {host}");
        }
        for (index, function) in self.functions.iter().enumerate() {
            assert!(function.home < hosts, "home of function {index}");
            assert_eq!(function.allowed.len(), hosts, "hosts of function {index}");
            let numbers = [function.load, function.copying_extra, function.gap_s];
            assert!(
                numbers.into_iter().all(sound),
                "numbers of function {index}"
            );
        }
    }
}

fn at_knee(demand: f32, load: f64, knee: f64) -> bool {
    f64::from(demand) + load >= knee
}

fn seconds(future: &Future, above: &[bool]) -> f64 {
    above.iter().filter(|above| **above).count() as f64 * future.step_s
}

/// The runs of steps in `never`; preventable are those in which nothing is `above`.
fn overloads(never: &[bool], above: &[bool]) -> Vec<Overload> {
    let mut first_step = 0;
    let mut found = Vec::new();
    for run in never.chunk_by(|a, b| a == b) {
        let within = &above[first_step..first_step + run.len()];
        if run[0] {
            found.push(Overload {
                first_step,
                steps: run.len(),
                preventable: !within.contains(&true),
            });
        }
        first_step += run.len();
    }
    found
}

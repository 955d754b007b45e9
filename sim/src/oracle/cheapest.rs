//! The schedule of least cost of one function against a given demand.

use std::collections::VecDeque;

use super::demand::Demand;
use super::{Future, Mobile, ScheduledMove, at_knee};

/// What having settled somewhere has cost. In this order: of equal cost, the one with fewer moves is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    us: u64,
    moves: u32,
}

impl Cost {
    const NONE: Self = Self { us: 0, moves: 0 };
    const UNREACHED: Self = Self {
        us: u64::MAX,
        moves: u32::MAX,
    };

    fn plus(self, us: u64, moves: u32) -> Self {
        Self {
            us: self.us.saturating_add(us),
            moves: self.moves.saturating_add(moves),
        }
    }
}

/// The moves of the schedule of least cost. `target_load_max`, if there is one, is the load that no target may have with
/// the function in the step in which it arrives.
pub(super) fn cheapest(
    future: &Future,
    demand: &Demand,
    function: &Mobile,
    target_load_max: Option<f64>,
) -> Vec<ScheduledMove> {
    let mut search = Search::new(future, demand, function, target_load_max);
    for step in 0..demand.steps() {
        search.advance(step);
    }
    search.moves()
}

struct Search<'a> {
    demand: &'a Demand,
    function: &'a Mobile,
    knee: f64,
    step_us: u64,
    gap_us: u64,
    target_load_max: Option<f64>,
    /// For each of the last `move_steps` steps (oldest first) and each host: the cost of having settled there at its begin.
    settled: VecDeque<Vec<Cost>>,
    /// For each host: of the last `move_steps` steps those at or over the knee for a function that is copied from there.
    above_copied: Vec<u64>,
    trail: Trail,
}

impl<'a> Search<'a> {
    fn new(
        future: &'a Future,
        demand: &'a Demand,
        function: &'a Mobile,
        target_load_max: Option<f64>,
    ) -> Self {
        let mut begin = vec![Cost::UNREACHED; demand.hosts()];
        begin[function.home] = Cost::NONE;
        Self {
            demand,
            function,
            knee: future.knee,
            step_us: microseconds(future.step_s),
            gap_us: microseconds(function.gap_s),
            target_load_max,
            settled: VecDeque::from([begin]),
            above_copied: vec![0; demand.hosts()],
            trail: Trail::new(demand.steps(), demand.hosts()),
        }
    }

    /// From the begin of a step to the begin of the next.
    fn advance(&mut self, step: usize) {
        self.slide(step);
        let mut next = self.stay(step);
        if self.settled.len() == self.function.move_steps.get() {
            self.arrive(step + 1, &mut next);
            self.settled.pop_front();
        }
        self.settled.push_back(next);
    }

    /// Moves the window of `above_copied` on to end with a step.
    fn slide(&mut self, step: usize) {
        let load = self.function.load + self.function.copying_extra;
        let above = |demand: f32| u64::from(at_knee(demand, load, self.knee));
        for (count, demand) in self.above_copied.iter_mut().zip(self.demand.row(step)) {
            *count += above(*demand);
        }
        if let Some(left) = step.checked_sub(self.function.move_steps.get()) {
            for (count, demand) in self.above_copied.iter_mut().zip(self.demand.row(left)) {
                *count -= above(*demand);
            }
        }
    }

    fn stay(&self, step: usize) -> Vec<Cost> {
        let Some(now) = self.settled.back() else {
            return Vec::new();
        };
        let cost = |(cost, demand): (&Cost, &f32)| {
            let above = at_knee(*demand, self.function.load, self.knee);
            cost.plus(u64::from(above) * self.step_us, 0)
        };
        now.iter().zip(self.demand.row(step)).map(cost).collect()
    }

    /// Moves that end at the begin of `step`, from where leaving `move_steps` ago was cheapest.
    fn arrive(&mut self, step: usize, next: &mut [Cost]) {
        let Some(begun) = self.settled.front() else {
            return;
        };
        let leaving = begun.iter().zip(&self.above_copied).enumerate();
        let left = leaving.map(|(host, (cost, above))| (cost.plus(above * self.step_us, 0), host));
        // At the end of all steps there is nothing left to arrive for.
        let (Some((cost, source)), true) = (left.min(), step < self.demand.steps()) else {
            return;
        };
        let cost = cost.plus(self.gap_us, 1);
        self.trail.sources[step] = source as u32;
        for (target, demand) in self.demand.row(step).iter().enumerate() {
            let with = f64::from(*demand) + self.function.load;
            let fits = self.target_load_max.is_none_or(|most| with <= most);
            if self.function.allowed[target] && fits && cost < next[target] {
                next[target] = cost;
                self.trail.arrive(step, target);
            }
        }
    }

    /// Follows the trail back from the cheapest host at the end.
    fn moves(&self) -> Vec<ScheduledMove> {
        let last = self.settled.back().into_iter().flatten();
        let best = last.enumerate().min_by_key(|(_, cost)| **cost);
        let (Some((mut host, _)), mut step) = (best, self.demand.steps()) else {
            return Vec::new();
        };
        let mut moves = Vec::new();
        while step > 0 {
            if self.trail.arrived(step, host) {
                let start_step = step - self.function.move_steps.get();
                moves.push(ScheduledMove {
                    start_step,
                    target: host,
                });
                host = self.trail.sources[step] as usize;
                step = start_step;
            } else {
                step -= 1;
            }
        }
        moves.reverse();
        moves
    }
}

/// How the cost of each (step, host) came about: one bit for each, and for each step the source of all that arrive then.
struct Trail {
    hosts: usize,
    sources: Vec<u32>,
    bits: Vec<u64>,
}

impl Trail {
    fn new(steps: usize, hosts: usize) -> Self {
        Self {
            hosts,
            sources: vec![0; steps + 1],
            bits: vec![0; ((steps + 1) * hosts).div_ceil(64)],
        }
    }

    fn arrive(&mut self, step: usize, host: usize) {
        let at = step * self.hosts + host;
        self.bits[at / 64] |= 1 << (at % 64);
    }

    fn arrived(&self, step: usize, host: usize) -> bool {
        let at = step * self.hosts + host;
        self.bits[at / 64] >> (at % 64) & 1 == 1
    }
}

fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

//! OpenStack Watcher's strategy `workload_stabilization`.
//!
//! From `watcher/decision_engine/strategy/strategies/workload_stabilization.py` (repository openstack/watcher, commit
//! b4a02a6):
//!
//! - Nothing happens until the standard deviation of the hosts' loads (over n, all weights 1) exceeds the threshold.
//! - Each instance is tried on *one other host drawn at random* (`host_choice` "retry", `retry_count` 1). What lowers the
//!   deviation is a candidate; candidates are sorted, lowest resulting deviation first.
//! - They are taken in that order, each counted on top of those before it, as long as each one lowers the deviation
//!   further; the plan is complete as soon as a case lies under the threshold.
//!
//! Numbers, all from its schema: metric `instance_cpu_usage` alone with weight 1.0, threshold 0.1 (earlier releases: 0.2),
//! hosts' loads as a mean over 600 s (`periods.compute_node`), and a granularity of 300 s: there is nothing new to be had
//! more often, so that is the interval of the audit, which is otherwise up to the operator. Two migrations of a plan run at
//! once (`parallelization` of `watcher/decision_engine/planner/weight.py`); no audit while a plan is under way.
//!
//! Adapted: the function's load is taken as it is instead of as a mean over 720 s. Chance comes from a generator with a
//! fixed seed, so that a run can be repeated. At 5 s the period stays 600 s.

use super::means::Means;
use super::spread::Spread;
use super::{Move, Rule, View};

/// Its name in tables.
pub const NAME: &str = "watcher-workload-stabilization";
/// Where it was published.
pub const SOURCE: &str = "OpenStack Watcher, strategy workload_stabilization (workload_stabilization.py), default threshold 0.1, weight \
    1.0, host_choice retry";

const THRESHOLD: f64 = 0.1;
const PERIOD_S: f64 = 600.0;
const INTERVAL_S: f64 = 300.0;
const MOVES_AT_ONCE: usize = 2;
/// Any number; the same in each run.
const SEED: u64 = 0x5741_5443_4845_5221;

/// Moves functions until the hosts' loads lie near each other.
#[derive(Debug)]
pub struct WorkloadStabilization {
    means: Means,
    chance: u64,
}

impl Default for WorkloadStabilization {
    fn default() -> Self {
        Self {
            means: Means::over(PERIOD_S),
            chance: SEED,
        }
    }
}

impl Rule for WorkloadStabilization {
    fn name(&self) -> &'static str {
        NAME
    }

    fn native_interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn round(&mut self, view: &View) -> Vec<Move> {
        let spread = Spread::of(self.means.take(view));
        if view.any_moving() || spread.deviation() <= THRESHOLD || spread.known().len() < 2 {
            return Vec::new();
        }
        let candidates = self.simulate(view, &spread);
        plan(view, spread, &candidates)
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        Some(MOVES_AT_ONCE)
    }
}

impl WorkloadStabilization {
    /// The moves that would lower the deviation, best first: each function, host by host, to one host drawn at random.
    fn simulate(&mut self, view: &View, spread: &Spread) -> Vec<Move> {
        let now = spread.deviation();
        let mut functions: Vec<usize> = view.movable().map(|(function, _)| function).collect();
        functions.sort_by_key(|function| view.functions[*function].host);
        let mut cases: Vec<(f64, Move)> = Vec::new();
        for function in functions {
            let seen = &view.functions[function];
            let Ok(own) = spread.known().binary_search(&seen.host) else {
                continue;
            };
            let drawn = self.draw(spread.known().len() - 1);
            let target = spread.known()[drawn + usize::from(drawn >= own)];
            let after = spread.deviation_after(seen.host, target, seen.load);
            if let Some(after) = after.filter(|after| *after < now) {
                cases.push((after, Move { function, target }));
            }
        }
        cases.sort_by(|a, b| a.0.total_cmp(&b.0));
        cases.into_iter().map(|(_, case)| case).collect()
    }

    /// A number below `end`, all equally likely: the next of splitmix64 (Steele, Lea and Flood, "Fast Splittable
    /// Pseudorandom Number Generators", OOPSLA 2014).
    fn draw(&mut self, end: usize) -> usize {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * end as u128) >> 64) as usize
    }
}

/// Takes candidates one on top of the other while each lowers the deviation, until a case lies under the threshold.
fn plan(view: &View, mut spread: Spread, candidates: &[Move]) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut lowest = f64::INFINITY;
    for candidate in candidates {
        let seen = &view.functions[candidate.function];
        let Some(after) = spread.deviation_after(seen.host, candidate.target, seen.load) else {
            continue;
        };
        if after < lowest {
            lowest = after;
            spread.apply(seen.host, candidate.target, seen.load);
            moves.push(*candidate);
        }
        if after < THRESHOLD {
            break;
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::super::FunctionView;
    use super::super::testing::{function, round, to};
    use super::*;

    fn check(loads: &[Option<f64>], functions: &[FunctionView], expected: &[Move]) {
        let mut rule = WorkloadStabilization::default();
        let moves = round(&mut rule, 300.0, loads, functions);
        assert_eq!(moves, expected, "{loads:?} {functions:?}");
    }

    #[test]
    fn nothing_until_the_deviation_exceeds_the_threshold() {
        check(&[Some(0.5), Some(0.3)], &[function(0, 0.1)], &[]);
        check(&[Some(0.49), Some(0.3)], &[function(0, 0.1)], &[]);
        check(&[Some(0.55), Some(0.3)], &[function(0, 0.1)], &[to(0, 1)]);
    }

    #[test]
    fn done_as_soon_as_it_lies_under_the_threshold() {
        // 0.9 and 0.3: deviation 0.3. The one of 0.3 makes it 0, and no other is needed.
        let functions = [function(0, 0.1), function(0, 0.3), function(0, 0.2)];
        check(&[Some(0.9), Some(0.3)], &functions, &[to(1, 1)]);
        // With two of 0.1: both lower it (0.2, 0.1), and 0.1 is not under the threshold.
        let functions = [function(0, 0.1), function(0, 0.1)];
        check(&[Some(0.9), Some(0.3)], &functions, &[to(0, 1), to(1, 1)]);
    }

    #[test]
    fn a_move_that_makes_it_worse_is_none() {
        check(&[Some(0.6), Some(0.3)], &[function(0, 0.5)], &[]);
        check(&[Some(0.6), Some(0.3)], &[function(1, 0.1)], &[]);
    }

    #[test]
    fn each_other_host_is_drawn_and_never_its_own() {
        let mut rule = WorkloadStabilization::default();
        let mut drawn = [0; 3];
        for _ in 0..3000 {
            drawn[rule.draw(3)] += 1;
        }
        assert!(
            drawn.iter().all(|times| (900..1100).contains(times)),
            "{drawn:?}"
        );
        let loads = [Some(0.1), Some(0.9), None, Some(0.1)];
        let mut targets = [0; 4];
        for at in 1..200 {
            let now_s = 300.0 * f64::from(at);
            for found in round(&mut rule, now_s, &loads, &[function(1, 0.1)]) {
                targets[found.target] += 1;
            }
        }
        assert!(targets[0] > 50 && targets[3] > 50, "{targets:?}");
        assert_eq!(targets[1] + targets[2], 0);
    }
}

//! Proxmox VE's automatic rebalancing with the dynamic load scheduler (9.2, a technology preview).
//!
//! From `proxmox-resource-scheduling/src/scheduler.rs` (repository proxmox/proxmox-rs): the imbalance is the coefficient of
//! variation of the nodes' loads, standard deviation (over n) by mean; each move of each resource to each other node is
//! scored by the imbalance that it would leave, and the lowest wins (`score_best_balancing_migration_candidates`, method
//! "bruteforce", the default).
//!
//! From the descriptions of the options `ha-auto-rebalance-*` of the cluster's `crs` setting: the imbalance has to exceed
//! the threshold for `hold-duration` rounds of the HA manager in a row (a round takes about 10 s), and the move has to
//! improve it by at least `margin`, relative to what it is.
//!
//! From the logs of the authors' tests (`src/test/test-crs-dynamic-auto-rebalance1` to 4, repository proxmox/pve-ha-manager,
//! commit 36813ac): one resource moves at a time, and after each migration the rounds are counted anew. The loop that does
//! it (`PVE::HA::Manager`) was not to be had in this version.
//!
//! Numbers: threshold 30 %, hold duration 3 rounds, margin 10 %: the options' defaults.
//!
//! Two entries, for there are two readings of "imbalance":
//!
//! - `proxmox-imbalance`: the coefficient of variation itself over 0.3, as in those logs (all load on one of three nodes is
//!   1.41).
//! - `proxmox-imbalance-normalized`: as in the source as it now stands, divided by the largest that so many nodes can have,
//!   the root of n - 1 (all load on one node). With many hosts that is all but never over 0.3: with 100 of them it asks for
//!   a coefficient of variation of 3.
//!
//! Adapted: a node's load is its CPU load; upstream it is the mean of CPU and memory. A load does not stop at 0 when a
//! function is taken off on paper. The hold duration is published in rounds, so at 5 s it is three rounds of 5 s.

use super::spread::Spread;
use super::{Move, Rule, View, least_loaded};

/// Name of the rule with the plain coefficient of variation.
pub const NAME: &str = "proxmox-imbalance";
/// Where it was published.
pub const SOURCE: &str = "Proxmox VE 9.2, dynamic load scheduler, automatic rebalancing (proxmox-resource-scheduling, scheduler.rs; crs \
    options ha-auto-rebalance-*), imbalance taken as the coefficient of variation";
/// Name of the rule with the normalized one.
pub const NAME_NORMALIZED: &str = "proxmox-imbalance-normalized";
/// Where it was published.
pub const SOURCE_NORMALIZED: &str = "Proxmox VE 9.2, dynamic load scheduler, automatic rebalancing (proxmox-resource-scheduling, scheduler.rs; crs \
    options ha-auto-rebalance-*), imbalance as in its source";

const THRESHOLD: f64 = 0.3;
const HOLD_ROUNDS: u32 = 3;
const MARGIN: f64 = 0.1;
const INTERVAL_S: f64 = 10.0;

/// What is called imbalance.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    /// Standard deviation by mean.
    Variation,
    /// The same as a share of the largest that there can be.
    ShareOfLargest,
}

/// Moves one function when the hosts' loads have been far apart for three rounds.
#[derive(Debug)]
pub struct Imbalance {
    name: &'static str,
    measure: Measure,
    rounds_over: u32,
}

impl Imbalance {
    /// With the plain coefficient of variation.
    #[must_use]
    pub fn of_variation() -> Self {
        Self {
            name: NAME,
            measure: Measure::Variation,
            rounds_over: 0,
        }
    }

    /// With the coefficient of variation as a share of the largest that there can be.
    #[must_use]
    pub fn normalized() -> Self {
        Self {
            name: NAME_NORMALIZED,
            measure: Measure::ShareOfLargest,
            rounds_over: 0,
        }
    }

    fn imbalance(&self, spread: &Spread) -> f64 {
        let others = spread.known().len().saturating_sub(1);
        if others == 0 || spread.mean() <= 0.0 {
            return 0.0;
        }
        let variation = spread.deviation() / spread.mean();
        match self.measure {
            Measure::Variation => variation,
            Measure::ShareOfLargest => variation / (others as f64).sqrt(),
        }
    }
}

impl Rule for Imbalance {
    fn name(&self) -> &'static str {
        self.name
    }

    fn native_interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn round(&mut self, view: &View) -> Vec<Move> {
        if view.any_moving() {
            return Vec::new();
        }
        let spread = Spread::of(view.loads());
        if self.imbalance(&spread) <= THRESHOLD {
            self.rounds_over = 0;
            return Vec::new();
        }
        self.rounds_over += 1;
        if self.rounds_over < HOLD_ROUNDS {
            return Vec::new();
        }
        self.rounds_over = 0;
        best(view, &spread).into_iter().collect()
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        Some(1)
    }
}

/// The move that leaves the least imbalance, when that is less by the margin. A move leaves the mean and the number of
/// hosts as they are, so the deviation says it all, and a function's best target is the least loaded host.
fn best(view: &View, spread: &Spread) -> Option<Move> {
    let case = |(function, seen): (usize, &super::FunctionView)| {
        let target = least_loaded(spread.loads(), |host, _| host != seen.host)?;
        let after = spread.deviation_after(seen.host, target, seen.load)?;
        Some((after, Move { function, target }))
    };
    let cases = view.movable().filter_map(case);
    let (after, best) = cases.min_by(|a, b| a.0.total_cmp(&b.0))?;
    let improvement = (spread.deviation() - after) / spread.deviation();
    (improvement >= MARGIN).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{function, round, run, to};
    use super::super::{FunctionView, testing};
    use super::*;

    const HOT: [Option<f64>; 3] = [Some(0.9), Some(0.3), Some(0.2)];

    fn check(
        mut rule: Imbalance,
        loads: &[Option<f64>],
        functions: &[FunctionView],
        expected: &[Move],
    ) {
        let rounds = run(&mut rule, 3, &testing::hosts(loads), functions);
        assert_eq!(rounds.concat(), expected, "{loads:?} {functions:?}");
    }

    #[test]
    fn the_best_move_in_the_third_round_over_the_threshold() {
        let functions = [function(0, 0.1), function(0, 0.3), function(1, 0.1)];
        let there = testing::hosts(&HOT);
        let rounds = run(&mut Imbalance::of_variation(), 7, &there, &functions);
        // In a world that does not change: three rounds, and three more.
        let acted: Vec<bool> = rounds.iter().map(|moves| !moves.is_empty()).collect();
        assert_eq!(acted, [false, false, true, false, false, true, false]);
        assert_eq!(rounds[2], [to(1, 2)]);
    }

    #[test]
    fn a_round_below_begins_anew() {
        let mut rule = Imbalance::of_variation();
        let functions = [function(0, 0.3)];
        let calm = [Some(0.4), Some(0.3), Some(0.3)];
        let mut acted = Vec::new();
        for (at, loads) in [HOT, HOT, calm, HOT, HOT, HOT].iter().enumerate() {
            acted.push(!round(&mut rule, at as f64 * 10.0, loads, &functions).is_empty());
        }
        assert_eq!(acted, [false, false, false, false, false, true]);
    }

    #[test]
    fn an_improvement_below_the_margin_is_none() {
        check(Imbalance::of_variation(), &HOT, &[function(0, 0.02)], &[]);
        check(
            Imbalance::of_variation(),
            &HOT,
            &[function(0, 0.1)],
            &[to(0, 2)],
        );
        check(Imbalance::of_variation(), &HOT, &[function(2, 0.1)], &[]);
    }

    #[test]
    fn normalized_it_asks_for_more_the_more_hosts_there_are() {
        // Mean 0.3, deviation 0.2: C.V. 0.67 with 10 hosts, a share of 0.22 of the largest.
        let mut loads = vec![Some(0.2333); 9];
        loads.insert(0, Some(0.9));
        let functions = [function(0, 0.3)];
        check(Imbalance::of_variation(), &loads, &functions, &[to(0, 1)]);
        check(Imbalance::normalized(), &loads, &functions, &[]);
        check(Imbalance::normalized(), &HOT, &functions, &[to(0, 2)]);
    }

    #[test]
    fn as_in_the_authors_own_test() {
        // test-crs-dynamic-auto-rebalance2: four alike on one of three nodes, idle but for them.
        let mut rule = Imbalance::of_variation();
        let mut functions = vec![function(0, 0.2); 4];
        let mut log = Vec::new();
        for at in 0..20 {
            let load =
                |host| functions.iter().filter(|seen| seen.host == host).count() as f64 * 0.2;
            let loads = [Some(load(0)), Some(load(1)), Some(load(2))];
            let imbalance = rule.imbalance(&Spread::of(loads.to_vec()));
            for found in round(&mut rule, f64::from(at) * 10.0, &loads, &functions) {
                functions[found.function].host = found.target;
                log.push((found.function, found.target, (imbalance * 100.0).round()));
            }
        }
        // 1.41, 0.94, and 0.35 is as good as it gets.
        assert_eq!(log, [(0, 1, 141.0), (1, 2, 94.0)]);
    }

    #[test]
    fn idle_hosts_are_in_balance() {
        check(
            Imbalance::of_variation(),
            &[Some(0.0), Some(0.0)],
            &[function(0, 0.1)],
            &[],
        );
    }
}

//! OpenStack Watcher's strategy `workload_balance`.
//!
//! From `watcher/decision_engine/strategy/strategies/workload_balance.py` (repository openstack/watcher, commit 00fea97):
//!
//! - Hosts at or over the threshold are sources, those under it targets. Metric `instance_cpu_usage`.
//! - Of the sources, most loaded first: the instance whose load comes nearest to, but not over, what the host has more than
//!   the mean of all hosts. The first source that has one is taken, and no other is tried.
//! - Of the targets that stay *under* the threshold with it, the least loaded. None: nothing is done.
//! - One migration per audit ("we only plan a single virtual machine migration at a time").
//!
//! Numbers: threshold 25 % and period 300 s are the schema's defaults; a continuous audit's interval is up to the operator,
//! so it is the period. An audit is refused while an action plan is under way (`check_ongoing_action_plans` in
//! `watcher/decision_engine/audit/base.py`), so the rule waits for its own move.
//!
//! Adapted: Watcher sums the loads of a host's instances over the period. Here a host also has load that is no function, so
//! its mean utilization over the period stands for that sum, and the function's load is taken as it is. At 5 s the period
//! stays 300 s: the rule then looks at a sliding mean.

use super::means::Means;
use super::{Move, Rule, View};

/// Its name in tables.
pub const NAME: &str = "watcher-workload-balance";
/// Where it was published.
pub const SOURCE: &str = "OpenStack Watcher, strategy workload_balance (workload_balance.py), default threshold 25 % and period 300 s";

const THRESHOLD: f64 = 0.25;
const PERIOD_S: f64 = 300.0;

/// Moves one function off the most loaded host over the threshold.
#[derive(Debug)]
pub struct WorkloadBalance {
    means: Means,
}

impl Default for WorkloadBalance {
    fn default() -> Self {
        Self {
            means: Means::over(PERIOD_S),
        }
    }
}

impl Rule for WorkloadBalance {
    fn name(&self) -> &'static str {
        NAME
    }

    fn native_interval_s(&self) -> f64 {
        PERIOD_S
    }

    fn round(&mut self, view: &View) -> Vec<Move> {
        // Statistics go on while nothing may be decided.
        let means = self.means.take(view);
        if view.any_moving() {
            return Vec::new();
        }
        audit(view, &means).into_iter().collect()
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        Some(1)
    }
}

fn audit(view: &View, means: &[Option<f64>]) -> Option<Move> {
    let known = means.iter().enumerate();
    let known: Vec<(usize, f64)> = known
        .filter_map(|(host, mean)| Some((host, (*mean)?)))
        .collect();
    let mean = known.iter().map(|(_, load)| load).sum::<f64>() / known.len().max(1) as f64;
    let (mut sources, targets): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|(_, load)| *load >= THRESHOLD);
    sources.sort_by(|a, b| b.1.total_cmp(&a.1));
    let function = sources
        .iter()
        .find_map(|(host, load)| nearest(view, *host, load - mean))?;
    let load = view.functions[function].load;
    let (target, _) = targets
        .into_iter()
        .filter(|(_, target)| target + load < THRESHOLD)
        .min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Move { function, target })
}

/// The function whose load comes nearest to the excess and not over it; the first of equals.
fn nearest(view: &View, host: usize, excess: f64) -> Option<usize> {
    view.movable_on(host)
        .map(|(function, seen)| (function, excess - seen.load))
        .filter(|(_, left)| *left >= 0.0)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(function, _)| function)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{function, round, to};
    use super::super::{FunctionView, HostView};
    use super::*;

    fn check(loads: &[Option<f64>], functions: &[FunctionView], expected: &[Move]) {
        let moves = round(&mut WorkloadBalance::default(), 300.0, loads, functions);
        assert_eq!(moves, expected, "{loads:?} {functions:?}");
    }

    #[test]
    fn the_one_nearest_to_the_excess_goes_to_the_least_loaded() {
        // Mean 0.3: the first host has 0.3 more than that.
        let loads = [Some(0.6), Some(0.2), Some(0.1)];
        let functions = [function(0, 0.05), function(0, 0.12), function(0, 0.4)];
        check(&loads, &functions, &[to(1, 2)]);
    }

    #[test]
    fn nothing_when_all_functions_are_more_than_the_excess() {
        check(&[Some(0.3), Some(0.2)], &[function(0, 0.06)], &[]);
        check(&[Some(0.3), Some(0.2)], &[function(0, 0.04)], &[to(0, 1)]);
    }

    #[test]
    fn the_target_stays_under_the_threshold() {
        check(&[Some(0.6), Some(0.2)], &[function(0, 0.06)], &[]);
    }

    #[test]
    fn the_next_source_is_looked_at_only_for_want_of_a_function() {
        let loads = [Some(0.8), Some(0.6), Some(0.0), Some(0.0)];
        check(&loads, &[function(1, 0.1)], &[to(0, 2)]);
        // The most loaded host's function fits no target: the other host's, which would, is not tried.
        let functions = [function(0, 0.3), function(1, 0.1)];
        check(&loads, &functions, &[]);
    }

    #[test]
    fn at_5_s_the_period_stays() {
        let mut rule = WorkloadBalance::default();
        let functions = [function(0, 0.05)];
        let mut at = |second: usize| {
            let load = if second <= 600 { 0.2 } else { 0.9 };
            !round(
                &mut rule,
                second as f64,
                &[Some(load), Some(0.1)],
                &functions,
            )
            .is_empty()
        };
        let first = (5..2000).step_by(5).find(|second| at(*second));
        // A mean of 300 s is at 0.25 when 5 of its 60 samples are 0.9 (4 make 0.2467).
        assert_eq!(first, Some(625));
    }

    #[test]
    fn nothing_while_its_move_is_under_way() {
        let moving = FunctionView {
            moving: true,
            ..function(1, 0.05)
        };
        let functions = [function(0, 0.05), moving];
        let there: Vec<HostView> = super::super::testing::hosts(&[Some(0.9), Some(0.1)]);
        let view = View {
            now_s: 300.0,
            hosts: &there,
            functions: &functions,
        };
        assert_eq!(WorkloadBalance::default().round(&view), []);
    }
}

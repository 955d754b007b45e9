//! Views for the rules' tests.

use super::{FunctionView, HostView, Move, Rule, View};

/// Hosts without moves under way.
pub(super) fn hosts(loads: &[Option<f64>]) -> Vec<HostView> {
    let host = |utilization: &Option<f64>| HostView {
        utilization: *utilization,
        incoming: 0,
        outgoing: 0,
    };
    loads.iter().map(host).collect()
}

/// A function of 256 MiB that was never moved.
pub(super) fn function(host: usize, load: f64) -> FunctionView {
    FunctionView {
        host,
        load,
        memory_mib: 256,
        moving: false,
        last_moved_s: None,
    }
}

pub(super) fn to(function: usize, target: usize) -> Move {
    Move { function, target }
}

/// Some rounds at the rule's own interval in a world that does not change.
pub(super) fn run(
    rule: &mut dyn Rule,
    rounds: usize,
    hosts: &[HostView],
    functions: &[FunctionView],
) -> Vec<Vec<Move>> {
    let interval_s = rule.native_interval_s();
    let moves = |round: usize| {
        rule.round(&View {
            now_s: interval_s * (round + 1) as f64,
            hosts,
            functions,
        })
    };
    (0..rounds).map(moves).collect()
}

/// One round at an instant.
pub(super) fn round(
    rule: &mut dyn Rule,
    now_s: f64,
    loads: &[Option<f64>],
    functions: &[FunctionView],
) -> Vec<Move> {
    rule.round(&View {
        now_s,
        hosts: &hosts(loads),
        functions,
    })
}

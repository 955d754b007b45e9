//! ProxLB, a load balancer for Proxmox clusters.
//!
//! From `proxlb/models/calculations.py` and `proxlb/main.py` (repository gyptazy/ProxLB, commits 9966fbb and 020ed6a),
//! method `cpu`, mode `used`:
//!
//! - Nothing happens while the most and the least loaded node are at most `balanciness` percent points apart.
//! - Target of a whole run is the node that is least loaded at its begin.
//! - Guests are gone through by memory, smallest first (`balance_larger_guests_first` is off). Before each one, balanciness
//!   is looked at again with what was moved on paper, and the run ends when it is kept; a guest that is not on what is then
//!   the most loaded node is passed over.
//! - Migrations run one after the other (`parallel` is off), and the next run begins after the last of them.
//!
//! Numbers: `balanciness` 10 is the default of the code (the example configuration shows 5); the schedule is every 12 hours
//! in the example configuration. The default method is memory; CPU is what this house is about.
//!
//! Adapted: a target is not looked at for free memory. Each guest is a group of its own: there is no affinity.

use super::{FunctionView, Move, Rule, View, least_loaded, move_load};

/// Its name in tables.
pub const NAME: &str = "proxlb";
/// Where it was published.
pub const SOURCE: &str =
    "ProxLB (calculations.py), method cpu, mode used, default balanciness 10, schedule of 12 hours";

const BALANCINESS: f64 = 0.1;
const INTERVAL_S: f64 = 12.0 * 3600.0;

/// Moves functions, smallest memory first, from the most to the least loaded host.
#[derive(Debug)]
pub struct ProxLb;

impl Rule for ProxLb {
    fn name(&self) -> &'static str {
        NAME
    }

    fn native_interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn round(&mut self, view: &View) -> Vec<Move> {
        if view.any_moving() {
            return Vec::new();
        }
        let mut loads = view.loads();
        let Some(target) = least_loaded(&loads, |_, _| true) else {
            return Vec::new();
        };
        let mut functions: Vec<(usize, &FunctionView)> = view.movable().collect();
        functions.sort_by_key(|(_, seen)| seen.memory_mib);
        let mut moves = Vec::new();
        for (function, seen) in functions {
            let Some(source) = unbalanced(&loads) else {
                break;
            };
            if seen.host == source && source != target {
                move_load(&mut loads, source, target, seen.load);
                moves.push(Move { function, target });
            }
        }
        moves
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        Some(1)
    }
}

/// The most loaded host, the first of equals, when it is too far from the least loaded one.
fn unbalanced(loads: &[Option<f64>]) -> Option<usize> {
    let all = loads.iter().enumerate();
    let known: Vec<(usize, f64)> = all
        .filter_map(|(host, load)| Some((host, (*load)?)))
        .collect();
    // Of equals `max_by` takes the last, so it is asked from behind.
    let highest = known.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
    let lowest = known.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    let ((host, highest), (_, lowest)) = (*highest?, *lowest?);
    (highest - lowest > BALANCINESS).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{function, round, to};
    use super::*;

    fn sized(host: usize, load: f64, memory_mib: u32) -> FunctionView {
        FunctionView {
            memory_mib,
            ..function(host, load)
        }
    }

    fn check(loads: &[Option<f64>], functions: &[FunctionView], expected: &[Move]) {
        let moves = round(&mut ProxLb, INTERVAL_S, loads, functions);
        assert_eq!(moves, expected, "{loads:?} {functions:?}");
    }

    #[test]
    fn nothing_within_ten_points() {
        let functions = [function(0, 0.05)];
        check(&[Some(0.5), Some(0.41)], &functions, &[]);
        check(&[Some(0.5), Some(0.39)], &functions, &[to(0, 1)]);
    }

    #[test]
    fn smallest_memory_first_until_it_is_balanced() {
        let functions = [
            sized(0, 0.2, 1024),
            sized(0, 0.1, 256),
            sized(0, 0.1, 512),
            sized(0, 0.1, 2048),
        ];
        // 0.8 and 0.2; 0.7 and 0.3; 0.6 and 0.4; 0.4 and 0.6: the fourth is no longer on the most loaded host.
        check(
            &[Some(0.8), Some(0.2)],
            &functions,
            &[to(1, 1), to(2, 1), to(0, 1)],
        );
    }

    #[test]
    fn all_go_to_the_host_that_was_least_loaded_at_the_begin() {
        let functions = [function(0, 0.1), function(0, 0.1)];
        // After the first move the third host would be the least loaded.
        check(
            &[Some(0.8), Some(0.2), Some(0.25)],
            &functions,
            &[to(0, 1), to(1, 1)],
        );
    }

    #[test]
    fn guests_of_other_hosts_are_passed_over() {
        let functions = [function(1, 0.1), function(2, 0.1), function(0, 0.1)];
        check(&[Some(0.8), Some(0.2), Some(0.6)], &functions, &[to(2, 1)]);
    }

    #[test]
    fn the_first_of_equally_loaded_hosts_gives() {
        let functions = [function(1, 0.1), function(0, 0.1)];
        check(&[Some(0.8), Some(0.8), Some(0.1)], &functions, &[to(1, 2)]);
    }
}

//! A fixed threshold: 90 % as in the thesis, and 60 % as the rule that moves too early.
//!
//! From the thesis (Section 4.3): the move starts when the source's load reaches 90 %, on the first sample that shows it,
//! and goes to a server with low load. Samples are those of SNMP, refreshed every 5 s.
//!
//! Adapted: the thesis has one function and one target. Here each hot host gives up one function at a time, the one that
//! takes most of it (the first of equals), to the least loaded host, counting what the same round already sends there. A
//! host that is itself at the threshold is no target. That the function's own load may bring the target over it is not
//! looked at: the thesis does not either.
//!
//! `move-at-60` is the same with 60 %: it has few seconds above the knee, and has to lose on moves.

use super::{Move, Rule, View, least_loaded, move_load};

/// Name of the rule of the thesis.
pub const NAME_90: &str = "threshold-90";
/// Where it was published.
pub const SOURCE_90: &str =
    "the thesis, Section 4.3: migration starts when the load of the source reaches 90 %";
/// Name of the rule that moves early.
pub const NAME_60: &str = "move-at-60";
/// Where it was published.
pub const SOURCE_60: &str =
    "no system's rule: threshold-90 with 60 %, to show the price of early moves";

/// The refresh of the agents in the thesis.
const INTERVAL_S: f64 = 5.0;

/// Moves when a sample is at or over a fixed load.
#[derive(Debug)]
pub struct Threshold {
    name: &'static str,
    start_at: f64,
}

impl Threshold {
    /// The rule of the thesis.
    #[must_use]
    pub fn at_90() -> Self {
        Self {
            name: NAME_90,
            start_at: 0.9,
        }
    }

    /// The rule that moves early.
    #[must_use]
    pub fn at_60() -> Self {
        Self {
            name: NAME_60,
            start_at: 0.6,
        }
    }
}

impl Rule for Threshold {
    fn name(&self) -> &'static str {
        self.name
    }

    fn native_interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn round(&mut self, view: &View) -> Vec<Move> {
        let mut loads = view.loads();
        let mut moves = Vec::new();
        for (source, host) in view.hosts.iter().enumerate() {
            let hot = host.utilization.is_some_and(|load| load >= self.start_at);
            if !hot || host.outgoing > 0 {
                continue;
            }
            let heaviest = view
                .movable_on(source)
                .max_by(|a, b| a.1.load.total_cmp(&b.1.load).then(b.0.cmp(&a.0)));
            let target = least_loaded(&loads, |host, load| host != source && load < self.start_at);
            if let (Some((function, seen)), Some(target)) = (heaviest, target) {
                move_load(&mut loads, source, target, seen.load);
                moves.push(Move { function, target });
            }
        }
        moves
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{function, hosts, round, to};
    use super::*;

    fn check(loads: &[Option<f64>], expected: &[Move]) {
        let functions = [function(0, 0.1), function(0, 0.3), function(1, 0.3)];
        let moves = round(&mut Threshold::at_90(), 5.0, loads, &functions);
        assert_eq!(moves, expected, "{loads:?}");
    }

    #[test]
    fn the_heaviest_goes_to_the_least_loaded_on_the_first_sample() {
        check(&[Some(0.899), Some(0.2), Some(0.1)], &[]);
        check(&[Some(0.9), Some(0.2), Some(0.1)], &[to(1, 2)]);
        check(&[Some(0.9), Some(0.2), None], &[to(1, 1)]);
    }

    #[test]
    fn what_the_round_already_sends_is_counted() {
        check(
            &[Some(0.95), Some(0.95), Some(0.1), Some(0.3)],
            &[to(1, 2), to(2, 3)],
        );
    }

    #[test]
    fn a_host_at_the_threshold_is_no_target() {
        check(&[Some(0.95), Some(0.89)], &[to(1, 1)]);
        check(&[Some(0.95), Some(0.9), None], &[]);
    }

    #[test]
    fn a_host_gives_up_one_at_a_time() {
        let mut there = hosts(&[Some(0.95), Some(0.1)]);
        there[0].outgoing = 1;
        let view = View {
            now_s: 5.0,
            hosts: &there,
            functions: &[function(0, 0.1)],
        };
        assert_eq!(Threshold::at_90().round(&view), []);
    }

    #[test]
    fn at_60_moves_earlier() {
        let functions = [function(0, 0.1)];
        let loads = [Some(0.6), Some(0.5)];
        let mut rule = Threshold::at_60();
        assert_eq!(round(&mut rule, 5.0, &loads, &functions), [to(0, 1)]);
        assert_eq!(round(&mut Threshold::at_90(), 5.0, &loads, &functions), []);
    }
}

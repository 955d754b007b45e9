//! Sandpiper: black-box hotspot detection and mitigation.
//!
//! From Wood, Shenoy, Venkataramani and Yousif, "Black-box and Gray-box Strategies for Virtual Machine Migration", NSDI
//! 2007:
//!
//! - Section 4, hotspot detection: a hotspot is flagged only if at least k of the n most recent observations, *and* the
//!   next predicted value, exceed the threshold. The prediction is autoregressive, AR(1): mean + φ × (last − mean), both
//!   estimated from the stored series.
//! - Section 5, mitigation: *volume* is the product of 1 / (1 − utilization) over the resources, here CPU alone. Hosts are
//!   taken by volume, largest first; their machines by volume-to-size ratio (size is the memory footprint), largest first;
//!   each goes to the host with the least volume that stays below the threshold with it. That goes on until the source is
//!   below the threshold on paper.
//!
//! Numbers: threshold 75 %, k = 3 of n = 5 and a measurement interval of 10 s, as in the paper's experiments; the stored
//! series is of 200 measurements. The paper's text was not at hand when this was written: they are from memory, and k, n
//! and the length of the series are what the paper leaves to whoever configures it.
//!
//! Adapted: no swap of two machines when no single move helps. A host at either end of a move under way takes no part until
//! it is over, since its measurements do not show the move yet. k of n counts measurements, so at 5 s it looks back 25 s
//! instead of 50.

use std::collections::VecDeque;

use super::{FunctionView, Move, Rule, View, least_loaded, move_load};

/// Its name in tables.
pub const NAME: &str = "sandpiper";
/// Where it was published.
pub const SOURCE: &str = "Wood, Shenoy, Venkataramani, Yousif: Black-box and Gray-box Strategies for Virtual Machine Migration, NSDI 2007, \
    Sections 4 and 5 (3 of 5 over 75 %, AR(1), volume-to-size ratio)";

const THRESHOLD: f64 = 0.75;
const OVER_MIN: usize = 3;
const LOOKED_AT: usize = 5;
const SERIES: usize = 200;
const INTERVAL_S: f64 = 10.0;

/// Moves functions with a large volume and a small memory off hotspots.
#[derive(Debug, Default)]
pub struct Sandpiper {
    /// For each host its measurements, oldest first.
    series: Vec<VecDeque<f64>>,
}

impl Rule for Sandpiper {
    fn name(&self) -> &'static str {
        NAME
    }

    fn native_interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn round(&mut self, view: &View) -> Vec<Move> {
        self.measure(view);
        let mut loads = view.loads();
        let mut hotspots: Vec<usize> = (0..view.hosts.len())
            .filter(|host| view.at_rest(*host) && loads[*host].is_some())
            .filter(|host| is_hotspot(&self.series[*host]))
            .collect();
        hotspots.sort_by(|a, b| volume_of(loads[*b]).total_cmp(&volume_of(loads[*a])));
        let mut moves = Vec::new();
        for source in hotspots {
            moves.extend(mitigate(view, &mut loads, source));
        }
        moves
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        None
    }
}

impl Sandpiper {
    fn measure(&mut self, view: &View) {
        self.series.resize_with(view.hosts.len(), VecDeque::new);
        for (series, host) in self.series.iter_mut().zip(view.hosts) {
            series.extend(host.utilization);
            while series.len() > SERIES {
                series.pop_front();
            }
        }
    }
}

fn is_hotspot(series: &VecDeque<f64>) -> bool {
    let recent = series.iter().rev().take(LOOKED_AT);
    let over = recent.filter(|load| **load > THRESHOLD).count();
    over >= OVER_MIN && predicted(series).is_some_and(|next| next > THRESHOLD)
}

/// The next value of a first-order autoregressive series: φ is the autocorrelation at lag 1 (the estimate of Yule and
/// Walker).
fn predicted(series: &VecDeque<f64>) -> Option<f64> {
    let last = series.back()?;
    let mean = series.iter().sum::<f64>() / series.len() as f64;
    let squares: f64 = series.iter().map(|load| (load - mean).powi(2)).sum();
    let pairs = series.iter().zip(series.iter().skip(1));
    let products: f64 = pairs.map(|(a, b)| (a - mean) * (b - mean)).sum();
    let correlation = if squares > 0.0 {
        products / squares
    } else {
        0.0
    };
    Some(mean + correlation * (last - mean))
}

/// Moves on paper until the source is below the threshold.
fn mitigate(view: &View, loads: &mut [Option<f64>], source: usize) -> Vec<Move> {
    let mut functions: Vec<(usize, &FunctionView)> = view.movable_on(source).collect();
    functions.sort_by(|a, b| volume_to_size(b.1).total_cmp(&volume_to_size(a.1)));
    let mut moves = Vec::new();
    for (function, seen) in functions {
        if loads[source].is_none_or(|load| load < THRESHOLD) {
            break;
        }
        // The least volume is the least load.
        let target = least_loaded(loads, |host, load| {
            host != source && view.at_rest(host) && load + seen.load < THRESHOLD
        });
        if let Some(target) = target {
            move_load(loads, source, target, seen.load);
            moves.push(Move { function, target });
        }
    }
    moves
}

fn volume(utilization: f64) -> f64 {
    // All of a host and more is the largest volume, not a negative one.
    1.0 / (1.0 - utilization).max(f64::EPSILON)
}

fn volume_of(utilization: Option<f64>) -> f64 {
    utilization.map_or(0.0, volume)
}

fn volume_to_size(function: &FunctionView) -> f64 {
    volume(function.load) / f64::from(function.memory_mib.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::HostView;
    use super::super::testing::{function, hosts, run, to};
    use super::*;

    fn sized(host: usize, load: f64, memory_mib: u32) -> FunctionView {
        FunctionView {
            memory_mib,
            ..function(host, load)
        }
    }

    fn check_series(series: &[f64], expected: bool) {
        assert_eq!(
            is_hotspot(&series.iter().copied().collect()),
            expected,
            "{series:?}"
        );
    }

    fn check(hosts: &[HostView], functions: &[FunctionView], expected: &[Move]) {
        let rounds = run(&mut Sandpiper::default(), 3, hosts, functions);
        assert_eq!(rounds.concat(), expected, "{hosts:?} {functions:?}");
    }

    #[test]
    fn three_of_five_over_and_the_next_one_too() {
        check_series(&[0.8, 0.8], false);
        check_series(&[0.8, 0.8, 0.8], true);
        check_series(&[0.75, 0.75, 0.75], false);
        check_series(&[0.8, 0.8, 0.8, 0.7, 0.7], false);
        check_series(&[0.8, 0.7, 0.8, 0.7, 0.8], false);
        check_series(&[0.9, 0.74, 0.9, 0.74, 0.9], true);
        // Three of five, but the fourth last is too long ago.
        check_series(&[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], false);
    }

    #[test]
    fn a_prediction_is_the_last_value_drawn_to_the_mean() {
        let next = |series: &[f64]| predicted(&series.iter().copied().collect());
        assert_eq!(next(&[]), None);
        assert_eq!(next(&[0.5, 0.5, 0.5]), Some(0.5));
        // Mean 0.5, and φ = (-0.3 × -0.1 + -0.1 × 0.1 + 0.1 × 0.3) / 0.2 = 0.25.
        let ramp = next(&[0.2, 0.4, 0.6, 0.8]).unwrap();
        assert!((ramp - 0.575).abs() < 1e-12, "{ramp}");
    }

    #[test]
    fn the_largest_ratio_goes_to_the_least_volume_until_it_is_below() {
        let functions = [
            sized(0, 0.1, 1024),
            sized(0, 0.15, 256),
            sized(0, 0.1, 256),
            sized(0, 0.05, 512),
        ];
        let there = hosts(&[Some(0.9), Some(0.3), Some(0.1)]);
        // 0.9, less 0.15, is 0.75, which is not below; less 0.1 it is.
        check(&there, &functions, &[to(1, 2), to(2, 2)]);
    }

    #[test]
    fn a_target_stays_below_the_threshold() {
        check(&hosts(&[Some(0.9), Some(0.6)]), &[function(0, 0.15)], &[]);
        check(
            &hosts(&[Some(0.9), Some(0.6)]),
            &[function(0, 0.14)],
            &[to(0, 1)],
        );
    }

    #[test]
    fn the_largest_volume_is_served_first() {
        let functions = [function(0, 0.4), function(1, 0.4)];
        let there = hosts(&[Some(0.8), Some(0.9), Some(0.1), Some(0.2)]);
        check(&there, &functions, &[to(1, 2), to(0, 3)]);
    }

    #[test]
    fn a_host_at_an_end_of_a_move_takes_no_part() {
        let mut there = hosts(&[Some(0.9), Some(0.1), Some(0.2)]);
        there[1].incoming = 1;
        check(&there, &[function(0, 0.2)], &[to(0, 2)]);
        there[0].outgoing = 1;
        check(&there, &[function(0, 0.2)], &[]);
    }
}

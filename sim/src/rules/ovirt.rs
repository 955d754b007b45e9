//! oVirt's cluster policy "evenly distributed".
//!
//! From repository oVirt/ovirt-engine, package `org.ovirt.engine.core.bll.scheduling`: `SchedulingManager`,
//! `policyunits/CpuAndMemoryBalancingPolicyUnit`, `policyunits/EvenDistributionBalancePolicyUnit`,
//! `policyunits/EvenDistributionCPUWeightPolicyUnit`, `utils/FindVmAndDestinations`:
//!
//! - A host is over-utilized when its CPU usage is at or over HighUtilization, and was at each look for
//!   CpuOverCommitDurationMinutes. Sources are taken most loaded first.
//! - A host is under-utilized below min(UtilizationThresholdInPercent × HighUtilization, HighUtilization −
//!   VcpuConsumptionPercentage).
//! - Of a source's virtual machines, least loaded first: the first for which some under-utilized host stays at or below
//!   HighUtilization with it. It goes to the one that would be least loaded (the policy's weight).
//! - One machine for each run of the load balancer, which leaves out hosts with a migration under way
//!   (`getAllForClusterWithoutMigrating`).
//!
//! Numbers, from the engine's `config.sql`: HighUtilizationForEvenlyDistribute 75 (the documentation of later versions shows
//! 80), CpuOverCommitDurationMinutes 2, UtilizationThresholdInPercent 80, VcpuConsumptionPercentage 10,
//! VdsLoadBalancingIntervalInMinutes 1.
//!
//! Adapted: every machine may be migrated; no SPM, no ratio of vCPUs, no balancing by memory. Usage is not rounded to whole
//! percents. LowUtilization is 0 and has no effect. The two minutes are a duration and stay two minutes at 5 s.

use super::{Move, Rule, View, least_loaded};

/// Its name in tables.
pub const NAME: &str = "ovirt-evenly-distributed";
/// Where it was published.
pub const SOURCE: &str = "oVirt engine, cluster policy evenly_distributed (EvenDistributionBalancePolicyUnit), HighUtilization 75 % for 2 \
    minutes";

const HIGH_UTILIZATION: f64 = 0.75;
/// min(80 % of 75 %, 75 % - 10 %).
const UNDER_UTILIZED_BELOW: f64 = 0.6;
const OVER_COMMIT_S: f64 = 120.0;
const INTERVAL_S: f64 = 60.0;

/// Moves the lightest function off a host that was over 75 % for two minutes.
#[derive(Debug, Default)]
pub struct EvenlyDistributed {
    /// For each host, since when it has been over-utilized.
    over_since_s: Vec<Option<f64>>,
}

impl Rule for EvenlyDistributed {
    fn name(&self) -> &'static str {
        NAME
    }

    fn native_interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn round(&mut self, view: &View) -> Vec<Move> {
        self.look(view);
        let mut sources: Vec<(usize, f64)> = self.over_utilized(view).collect();
        sources.sort_by(|a, b| b.1.total_cmp(&a.1));
        let found = sources.iter().find_map(|(host, _)| relieve(view, *host));
        found.into_iter().collect()
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        None
    }
}

impl EvenlyDistributed {
    /// Keeps since when each host has been over. A silent host changes nothing.
    fn look(&mut self, view: &View) {
        self.over_since_s.resize(view.hosts.len(), None);
        for (since_s, host) in self.over_since_s.iter_mut().zip(view.hosts) {
            match host.utilization {
                Some(load) if load >= HIGH_UTILIZATION => {
                    since_s.get_or_insert(view.now_s);
                }
                Some(_) => *since_s = None,
                None => {}
            }
        }
    }

    fn over_utilized(&self, view: &View) -> impl Iterator<Item = (usize, f64)> {
        let hosts = self.over_since_s.iter().zip(view.hosts).enumerate();
        hosts.filter_map(move |(index, (since_s, host))| {
            let load = host.utilization.filter(|load| *load >= HIGH_UTILIZATION)?;
            let long = since_s.is_some_and(|since_s| view.now_s - since_s >= OVER_COMMIT_S);
            (long && view.at_rest(index)).then_some((index, load))
        })
    }
}

/// The lightest function of a host that an under-utilized host can take.
fn relieve(view: &View, source: usize) -> Option<Move> {
    let mut functions: Vec<(usize, f64)> = view
        .movable_on(source)
        .map(|(function, seen)| (function, seen.load))
        .collect();
    functions.sort_by(|a, b| a.1.total_cmp(&b.1));
    let loads = view.loads();
    functions.into_iter().find_map(|(function, added)| {
        let target = least_loaded(&loads, |host, load| {
            host != source
                && load < UNDER_UTILIZED_BELOW
                && load + added <= HIGH_UTILIZATION
                && view.at_rest(host)
        })?;
        Some(Move { function, target })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{function, hosts, round, run, to};
    use super::super::{FunctionView, HostView};
    use super::*;

    fn check(hosts: &[HostView], functions: &[FunctionView], expected: &[Move]) {
        let rounds = run(&mut EvenlyDistributed::default(), 3, hosts, functions);
        assert_eq!(rounds.concat(), expected, "{hosts:?} {functions:?}");
    }

    #[test]
    fn the_lightest_that_fits_goes_to_the_least_loaded_after_two_minutes() {
        let functions = [function(0, 0.3), function(0, 0.1)];
        let there = hosts(&[Some(0.75), Some(0.5), Some(0.4)]);
        // Seen over at 60 s, 120 s and 180 s: two minutes.
        check(&there, &functions, &[to(1, 2)]);
        check(
            &hosts(&[Some(0.749), Some(0.5), Some(0.4)]),
            &functions,
            &[],
        );
    }

    #[test]
    fn the_most_loaded_source_first_and_one_move_a_round() {
        let functions = [function(0, 0.1), function(1, 0.1)];
        let there = hosts(&[Some(0.8), Some(0.9), Some(0.1)]);
        check(&there, &functions, &[to(1, 2)]);
    }

    #[test]
    fn a_target_is_under_utilized_and_stays_within_the_high_limit() {
        check(&hosts(&[Some(0.9), Some(0.6)]), &[function(0, 0.01)], &[]);
        check(
            &hosts(&[Some(0.9), Some(0.59)]),
            &[function(0, 0.01)],
            &[to(0, 1)],
        );
        check(&hosts(&[Some(0.9), Some(0.59)]), &[function(0, 0.2)], &[]);
    }

    #[test]
    fn a_host_with_a_move_under_way_is_left_out() {
        let functions = [function(0, 0.1)];
        let mut there = hosts(&[Some(0.9), Some(0.1), Some(0.2)]);
        there[1].incoming = 1;
        check(&there, &functions, &[to(0, 2)]);
        there[0].outgoing = 1;
        check(&there, &functions, &[]);
    }

    #[test]
    fn a_dip_begins_the_two_minutes_anew_and_silence_does_not() {
        let first = |dip: Option<f64>| {
            let mut rule = EvenlyDistributed::default();
            let mut at = |second: usize| {
                let hot = if second == 60 { dip } else { Some(0.8) };
                let moves = round(
                    &mut rule,
                    second as f64,
                    &[hot, Some(0.1)],
                    &[function(0, 0.1)],
                );
                !moves.is_empty()
            };
            (5..600).step_by(5).find(|second| at(*second))
        };
        assert_eq!(first(Some(0.8)), Some(125));
        assert_eq!(first(Some(0.7)), Some(185));
        assert_eq!(first(None), Some(125));
    }
}

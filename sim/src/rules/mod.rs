//! The rules that other systems ship, as competitors of our controller.
//!
//! Each file is one rule and says what of it is taken from where, what had to be adapted, and where each number is from.
//! Common to all of them:
//!
//! - One function is one virtual machine, and CPU is the only resource: memory decides only where a rule orders by it. What
//!   a rule checks of memory, disk, affinity or pinning is left out.
//! - A rule sees means of utilization ([`View`]), as its own monitoring would give them to it. What it counts in *rounds*
//!   stays rounds when it is run more often than its system does; what it gives as a *duration* stays a duration in
//!   seconds.
//! - Where a system holds back while its own moves are under way, so does the rule, and its file says so.
//! - What the load of a host will be after the moves of the same round is counted on paper; what moves of earlier rounds
//!   still bring is not, unless the system does it.
//! - A host whose agent is silent is neither a source nor a target, and no part of any mean.
//!
//! Data flow: [`View`] -> [`Rule::round`] -> [`Move`]s. [`all`] lists the rules. Helpers: `means` (a mean over a period),
//! `spread` (dispersion of loads, and what a move makes of it).

use std::fmt;

mod means;
mod spread;

pub mod never;
pub mod ovirt;
pub mod proxlb;
pub mod proxmox;
pub mod sandpiper;
pub mod threshold;
pub mod watcher_balance;
pub mod watcher_stabilization;

/// What a monitoring system shows a rule, at one of its rounds.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// When, in seconds of the run.
    pub now_s: f64,
    /// The hosts; a host's index is its name.
    pub hosts: &'a [HostView],
    /// The functions; a function's index is its name.
    pub functions: &'a [FunctionView],
}

/// What is known of a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostView {
    /// Mean since the rule's last round, `0..=1`. `None` while the agent is silent.
    pub utilization: Option<f64>,
    /// Moves under way to it.
    pub incoming: u32,
    /// Moves under way from it.
    pub outgoing: u32,
}

/// What is known of a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FunctionView {
    /// Index of the host that it runs on.
    pub host: usize,
    /// The share of a host that it takes.
    pub load: f64,
    /// Its memory.
    pub memory_mib: u32,
    /// A move of it is under way, or was asked for and waits for its turn.
    pub moving: bool,
    /// When its last move ended, in seconds of the run.
    pub last_moved_s: Option<f64>,
}

/// What a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// Index of the function.
    pub function: usize,
    /// Index of the host that it shall go to.
    pub target: usize,
}

/// A rule. An object is made fresh for each run and keeps what history it needs.
pub trait Rule: fmt::Debug {
    /// Its name in tables.
    fn name(&self) -> &'static str;

    /// How often its system runs it, in seconds.
    fn native_interval_s(&self) -> f64;

    /// One round. The moves are in the order in which its system would begin them.
    fn round(&mut self, view: &View) -> Vec<Move>;

    /// How many moves its system has under way at once; the others wait for their turn, in order. `None`: no such limit.
    fn moves_at_once_max(&self) -> Option<usize>;
}

/// A rule in the list.
#[derive(Clone, Copy, Debug)]
pub struct RuleEntry {
    /// The same as [`Rule::name`].
    pub name: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// Makes one for a run.
    pub make: fn() -> Box<dyn Rule>,
}

/// All rules, in the order of the table.
#[must_use]
pub fn all() -> Vec<RuleEntry> {
    let entry = |name, source, make| RuleEntry { name, source, make };
    vec![
        entry(never::NAME, never::SOURCE, || Box::new(never::Never)),
        entry(threshold::NAME_90, threshold::SOURCE_90, || {
            Box::new(threshold::Threshold::at_90())
        }),
        entry(threshold::NAME_60, threshold::SOURCE_60, || {
            Box::new(threshold::Threshold::at_60())
        }),
        entry(watcher_balance::NAME, watcher_balance::SOURCE, || {
            Box::new(watcher_balance::WorkloadBalance::default())
        }),
        entry(
            watcher_stabilization::NAME,
            watcher_stabilization::SOURCE,
            || Box::new(watcher_stabilization::WorkloadStabilization::default()),
        ),
        entry(proxmox::NAME, proxmox::SOURCE, || {
            Box::new(proxmox::Imbalance::of_variation())
        }),
        entry(proxmox::NAME_NORMALIZED, proxmox::SOURCE_NORMALIZED, || {
            Box::new(proxmox::Imbalance::normalized())
        }),
        entry(ovirt::NAME, ovirt::SOURCE, || {
            Box::new(ovirt::EvenlyDistributed::default())
        }),
        entry(proxlb::NAME, proxlb::SOURCE, || Box::new(proxlb::ProxLb)),
        entry(sandpiper::NAME, sandpiper::SOURCE, || {
            Box::new(sandpiper::Sandpiper::default())
        }),
    ]
}

impl View<'_> {
    /// The functions on `host` of which no move is under way, with their indices.
    fn movable_on(&self, host: usize) -> impl Iterator<Item = (usize, &FunctionView)> {
        self.movable()
            .filter(move |(_, function)| function.host == host)
    }

    /// The functions of which no move is under way, with their indices.
    fn movable(&self) -> impl Iterator<Item = (usize, &FunctionView)> {
        let functions = self.functions.iter().enumerate();
        functions.filter(|(_, function)| !function.moving)
    }

    /// Whether any move is under way.
    fn any_moving(&self) -> bool {
        self.functions.iter().any(|function| function.moving)
    }

    /// Whether no move is under way to or from a host.
    fn at_rest(&self, host: usize) -> bool {
        self.hosts[host].incoming == 0 && self.hosts[host].outgoing == 0
    }

    /// The hosts' utilization as it is shown.
    fn loads(&self) -> Vec<Option<f64>> {
        self.hosts.iter().map(|host| host.utilization).collect()
    }
}

/// The least loaded of the hosts that are known and fit; the first of equals.
fn least_loaded(loads: &[Option<f64>], fits: impl Fn(usize, f64) -> bool) -> Option<usize> {
    let known = loads.iter().enumerate();
    known
        .filter_map(|(host, load)| load.map(|load| (host, load)))
        .filter(|(host, load)| fits(*host, *load))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(host, _)| host)
}

/// Counts a move on paper.
fn move_load(loads: &mut [Option<f64>], source: usize, target: usize, load: f64) {
    for (host, change) in [(source, -load), (target, load)] {
        if let Some(known) = &mut loads[host] {
            *known += change;
        }
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{function, hosts, run};
    use super::*;

    /// Rounds after which a rule that would ever act in an unchanging world has acted.
    const ROUNDS: usize = 20;

    fn check_none(hosts: &[HostView], functions: &[FunctionView], why: &str) {
        for entry in all() {
            let mut rule = (entry.make)();
            let moves = run(&mut *rule, ROUNDS, hosts, functions);
            assert!(moves.iter().all(Vec::is_empty), "{}: {why}", entry.name);
        }
    }

    #[test]
    fn names_are_those_of_the_rules_and_no_two_alike() {
        let mut names: Vec<&str> = all().iter().map(|entry| entry.name).collect();
        for entry in all() {
            assert_eq!((entry.make)().name(), entry.name);
            assert!((entry.make)().native_interval_s() > 0.0);
            assert!(!entry.source.is_empty());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn nothing_when_all_is_calm() {
        let functions = [function(0, 0.1), function(1, 0.1), function(2, 0.1)];
        check_none(
            &hosts(&[Some(0.2), Some(0.21), Some(0.2)]),
            &functions,
            "calm",
        );
    }

    #[test]
    fn nothing_without_functions_hosts_or_samples() {
        check_none(&[], &[], "nothing at all");
        check_none(&hosts(&[Some(0.95), Some(0.1)]), &[], "no function");
        check_none(&hosts(&[None, None]), &[function(0, 0.1)], "all silent");
    }

    #[test]
    fn no_move_without_a_target() {
        check_none(&hosts(&[Some(0.97)]), &[function(0, 0.1)], "one host");
        let full = hosts(&[Some(0.97), Some(0.96), Some(0.97)]);
        check_none(&full, &[function(0, 0.1), function(1, 0.1)], "all full");
    }

    #[test]
    fn a_silent_host_is_neither_target_nor_source() {
        let functions = [function(0, 0.1), function(1, 0.1)];
        check_none(&hosts(&[Some(0.97), None]), &functions, "silent target");
        check_none(&hosts(&[None, Some(0.1)]), &functions, "silent source");
    }

    #[test]
    fn a_function_that_is_moving_is_left_alone() {
        let mut there = hosts(&[Some(0.97), Some(0.1), Some(0.1)]);
        (there[0].outgoing, there[1].incoming) = (1, 1);
        let moving = FunctionView {
            moving: true,
            ..function(0, 0.1)
        };
        check_none(&there, &[moving], "moving");
    }

    #[test]
    fn each_but_never_acts_when_one_host_is_hot_and_the_same_each_time() {
        let there = hosts(&[Some(0.95), Some(0.1), Some(0.12)]);
        let functions = [function(0, 0.1), function(1, 0.05), function(2, 0.05)];
        for entry in all() {
            let moves = run(&mut *(entry.make)(), ROUNDS, &there, &functions);
            let again = run(&mut *(entry.make)(), ROUNDS, &there, &functions);
            assert_eq!(moves, again, "{}", entry.name);
            let first = moves.iter().flatten().next();
            assert_eq!(first.is_some(), entry.name != never::NAME, "{}", entry.name);
            assert!(first.is_none_or(|first| first.function == 0 && first.target != 0));
        }
    }
}

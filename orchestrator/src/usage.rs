//! What functions use of their hosts' processors, where the engine counts it: the difference of two counts is a load.
//!
//! Who tells the load of a host says of how many processors it is a share (`processors.rs`), so that both loads are of one kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::{Input, View};
use drivers::{CpuTimes, Driver};
use record::{HostName, Timestamp, Utilization, VmName};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::clock;
use crate::log::{About, say};
use crate::mover::News;

/// Hosts that are asked at once; the rest wait.
const HOSTS_AT_ONCE_MAX: usize = 16;
/// Over a longer time it is not the load of now.
const BETWEEN_MAX: Duration = Duration::from_secs(30);

/// What an engine has said of the functions on a host.
#[derive(Debug)]
pub struct Used {
    /// The host.
    pub(crate) host: HostName,
    /// When.
    pub(crate) at: Timestamp,
    /// What.
    pub(crate) times: CpuTimes,
}

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    asking: Option<JoinHandle<()>>,
    last: BTreeMap<VmName, Count>,
    /// Why an engine did not tell all of a host.
    problems: BTreeMap<HostName, String>,
}

#[derive(Debug)]
struct Count {
    host: HostName,
    at: Timestamp,
    used: Duration,
}

impl Usage {
    /// Has the engine asked about every function that is not being moved; returns at once. What it says comes as [`News::Used`]. While
    /// it is being asked nobody asks again.
    pub(crate) fn begin<D: Driver>(
        &mut self,
        driver: &Arc<D>,
        view: &View,
        news: &mpsc::Sender<News>,
    ) {
        let is_asking = |asking: &JoinHandle<()>| !asking.is_finished();
        if self.asking.as_ref().is_some_and(is_asking) {
            return;
        }
        let mut by_host: BTreeMap<HostName, Vec<VmName>> = BTreeMap::new();
        for function in view.functions.iter().filter(|f| f.migration.is_none()) {
            let there = by_host.entry(function.host.clone()).or_default();
            there.push(function.vm.clone());
        }
        let asking = ask(Arc::clone(driver), by_host, news.clone());
        self.asking = Some(tokio::spawn(asking));
    }

    /// Makes loads of what was said. `processors`: those of the host, where that is known; `rests_since`: when the last move from or to it
    /// was over, since what is copied costs its own.
    pub(crate) fn take(
        &mut self,
        told: Used,
        processors: Option<u32>,
        rests_since: Timestamp,
    ) -> Vec<Input> {
        let Used { host, at, times } = told;
        self.note(&host, times.problem);
        let mut inputs = Vec::new();
        for (vm, used) in times.used {
            let now = Count {
                host: host.clone(),
                at,
                used,
            };
            let before = self.last.insert(vm.clone(), now);
            let before = before.filter(|before| before.at >= rests_since);
            let load = before.and_then(|before| load(&before, &host, (at, used), processors?));
            inputs.extend(load.map(|load| Input::Load {
                vm,
                load,
                measured_at_us: at,
            }));
        }
        inputs
    }

    /// Tells what has changed.
    fn note(&mut self, host: &HostName, problem: Option<String>) {
        let before = match &problem {
            Some(why) => self.problems.insert(host.clone(), why.clone()),
            None => self.problems.remove(host),
        };
        if before == problem {
            return;
        }
        let words = problem.map_or_else(
            || format!("the engine says again what functions on {host} use"),
            |why| {
                format!(
                    "the engine does not say all of what functions on {host} use, so that their configured load counts: {why}"
                )
            },
        );
        say(Some(About::Host(host)), &words);
    }
}

/// Share of all processors of a host that was used since `before`. On another host, or started anew, it is counted from the beginning.
fn load(
    before: &Count,
    host: &HostName,
    (at, used): (Timestamp, Duration),
    processors: u32,
) -> Option<Utilization> {
    let passed = at.since(before.at);
    if before.host != *host || passed.is_zero() || passed > BETWEEN_MAX {
        return None;
    }
    let more = used.checked_sub(before.used)?;
    let share = more.as_secs_f64() / passed.as_secs_f64() / f64::from(processors);
    Some(Utilization::clamped(share))
}

async fn ask<D: Driver>(
    driver: Arc<D>,
    by_host: BTreeMap<HostName, Vec<VmName>>,
    news: mpsc::Sender<News>,
) {
    let mut asking = JoinSet::new();
    for (host, vms) in by_host {
        if asking.len() >= HOSTS_AT_ONCE_MAX {
            asking.join_next().await;
        }
        let (driver, news) = (Arc::clone(&driver), news.clone());
        asking.spawn(async move {
            let times = driver.cpu_times(&host, &vms).await;
            let at = clock::now();
            // Nobody hears it only when the orchestrator is ending.
            news.send(News::Used(Used { host, at, times })).await.ok();
        });
    }
    while asking.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{host, vm};

    fn told(on: &str, at_s: f64, used_s: f64) -> Used {
        let used = Duration::from_secs_f64(used_s);
        Used {
            host: host(on),
            at: Timestamp::from_secs_f64(at_s),
            times: CpuTimes {
                used: BTreeMap::from([(vm(), used)]),
                problem: None,
            },
        }
    }

    #[test]
    fn the_difference_of_two_counts_is_a_load() {
        let mut usage = Usage::default();
        for (on, at_s, used_s, processors, expected) in [
            ("a", 100.0, 50.0, Some(2), None),
            // 6 s in 10 s, on two processors.
            ("a", 110.0, 56.0, Some(2), Some(0.3)),
            ("a", 120.0, 56.0, Some(2), Some(0.0)),
            // Nobody knows yet of how many.
            ("a", 130.0, 58.0, None, None),
            // More than there is: the two were not read at quite the instants that are known.
            ("a", 140.0, 79.0, Some(2), Some(1.0)),
            // Elsewhere, then started anew there.
            ("b", 150.0, 80.0, Some(2), None),
            ("b", 160.0, 1.0, Some(2), None),
            ("b", 170.0, 3.0, Some(1), Some(0.2)),
            ("b", 210.0, 9.0, Some(1), None),
        ] {
            let inputs = usage.take(told(on, at_s, used_s), processors, Timestamp(0));
            let loads = inputs.iter().map(|input| match input {
                Input::Load { load, .. } => load.share(),
                other => panic!("{other:?}"),
            });
            let loads: Vec<f64> = loads.collect();
            let as_expected = match expected {
                Some(expected) => matches!(loads[..], [load] if (load - expected).abs() < 1e-9),
                None => loads.is_empty(),
            };
            assert!(as_expected, "{on} {at_s}: {loads:?}");
        }
    }

    #[test]
    fn what_a_move_has_used_is_no_load() {
        let mut usage = Usage::default();
        let ended = Timestamp::from_secs_f64(109.0);
        for (at_s, used_s, loads) in [(100.0, 50.0, 0), (110.0, 58.0, 0), (120.0, 59.0, 1)] {
            let inputs = usage.take(told("a", at_s, used_s), Some(1), ended);
            assert_eq!(inputs.len(), loads, "{at_s}");
        }
    }

    #[test]
    fn what_is_not_told_is_said_once() {
        let mut usage = Usage::default();
        let silent = || Used {
            times: CpuTimes {
                used: BTreeMap::new(),
                problem: Some("403: no".into()),
            },
            ..told("a", 1.0, 1.0)
        };
        assert!(usage.take(silent(), Some(1), Timestamp(0)).is_empty());
        assert_eq!(usage.problems.len(), 1);
        usage.take(told("a", 2.0, 1.0), Some(1), Timestamp(0));
        assert!(usage.problems.is_empty());
    }
}

//! `[discover]` in a configuration: functions that the engine knows by their tags, beside those of `[control]`.
//!
//! It is asked before anything is decided, and again while the orchestrator runs: one that does not answer when a machine starts does so
//! later, and functions come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use control::{Mobility, Placement};
use drivers::Driver;
use drivers::tagged::{Found, Tagged};
use record::{HostName, Utilization, VmName};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::config::Config;
use crate::mover::News;

/// An engine is asked again so long after it has answered, or has not. Of libvirt each question is a process for each domain.
const EVERY: Duration = Duration::from_secs(30);

/// What a function has of which its tag says no more. A profile says what is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discover {
    /// How many people see its video.
    #[serde(default = "one")]
    pub viewers: u32,
    /// Load that it brings to a host.
    pub load: Utilization,
    /// Time of a move, 95th percentile.
    pub migration_ms: f64,
    /// How long viewers see nothing new at the switch.
    pub gap_ms: f64,
}

const fn one() -> u32 {
    1
}

impl Discover {
    /// Whether its figures are such.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_time = |ms: f64| ms >= 0.0 && ms.is_finite();
        if is_time(self.migration_ms) && self.migration_ms > 0.0 && is_time(self.gap_ms) {
            return Ok(());
        }
        Err(format!(
            "discover: migration_ms is {} and has to be over 0, gap_ms is {} and has to be 0 or more",
            self.migration_ms, self.gap_ms
        ))
    }

    /// A function of which nobody has said more than where it is.
    pub(crate) fn untold(&self, vm: VmName, host: HostName) -> Placement {
        self.placement(Tagged {
            vm,
            host,
            viewers: None,
            load: None,
        })
    }

    fn placement(&self, tagged: Tagged) -> Placement {
        Placement {
            vm: tagged.vm,
            host: tagged.host,
            load: tagged.load.unwrap_or(self.load),
            viewers: tagged.viewers.unwrap_or(self.viewers),
            migration_ms: self.migration_ms,
            gap_ms: self.gap_ms,
            mobility: Mobility::Free,
            forbidden: BTreeSet::new(),
            together: None,
            apart: None,
            path_ms: BTreeMap::new(),
            path_late_ms: BTreeMap::new(),
        }
    }
}

/// What an engine has said of functions.
#[derive(Debug)]
pub(crate) struct Discovery {
    defaults: Discover,
    hosts: BTreeSet<HostName>,
    /// Functions that it has told of, ever.
    tagged: BTreeSet<VmName>,
    /// What a person should know of its last answer, each in a line.
    notes: BTreeSet<String>,
    /// What of that is why there may be more than it has told.
    problems: BTreeSet<String>,
}

/// What is new in an answer.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// Functions that nobody knew of.
    pub(crate) functions: Vec<Placement>,
    /// What a person should be told, each in a line.
    pub(crate) words: Vec<String>,
}

impl Discovery {
    /// Nothing was said yet; `None` where nobody is to be asked.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        Some(Self {
            defaults: config.discover.clone()?,
            hosts: config.control.hosts.iter().cloned().collect(),
            tagged: BTreeSet::new(),
            notes: BTreeSet::new(),
            problems: BTreeSet::new(),
        })
    }

    /// Whether these words say that a part of the last answer is missing.
    pub(crate) fn is_problem(&self, words: &str) -> bool {
        self.problems.contains(words)
    }

    /// What a person should know of the last answer, each in a line.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.iter().cloned().collect()
    }

    /// Takes an answer. What a person wrote of a function counts, and not its tag: of those that are `known` nothing is new.
    pub(crate) fn take(&mut self, found: Found, known: impl Fn(&VmName) -> bool) -> Discovered {
        let mut new = Discovered::default();
        let said_all = found.problems.is_empty();
        self.problems = found.problems.into_iter().collect();
        let mut notes = self.problems.clone();
        let strange = found
            .hosts
            .iter()
            .filter(|host| !self.hosts.contains(*host));
        notes.extend(strange.map(|host| {
            format!(
                "the engine has a host {host}, which is not among control.hosts: it is no target"
            )
        }));
        let there: BTreeSet<VmName> = found.functions.iter().map(|f| f.vm.clone()).collect();
        for tagged in found.functions {
            if known(&tagged.vm) {
                continue;
            }
            if !self.hosts.contains(&tagged.host) {
                notes.insert(format!(
                    "function {} runs on {}, which is not among control.hosts: it is not looked after",
                    tagged.vm, tagged.host
                ));
                continue;
            }
            let words = format!("function {} found on {}", tagged.vm, tagged.host);
            new.words.push(words);
            new.functions.push(self.defaults.placement(tagged));
        }
        if said_all {
            let gone = self.tagged.difference(&there);
            notes.extend(gone.map(|vm| {
                format!("function {vm} is not among those that run and are tagged any more: it is looked after until a restart")
            }));
        }
        self.tagged.extend(there);
        new.words.extend(notes.difference(&self.notes).cloned());
        self.notes = notes;
        new
    }
}

/// Asks the engine for the first time, where the configuration says so: what it knows comes into the configuration. What it does not
/// answer is told: an orchestrator that did not begin for one silent host would protect nobody.
pub(crate) async fn discover<D: Driver>(
    driver: &D,
    config: &mut Config,
) -> (Option<Discovery>, Vec<String>) {
    let Some(mut discovery) = Discovery::new(config) else {
        return (None, Vec::new());
    };
    let found = driver.tagged().await;
    let told = &config.control.functions;
    let new = discovery.take(found, |vm| told.iter().any(|told| told.vm == *vm));
    config.control.functions.extend(new.functions);
    (Some(discovery), new.words)
}

/// Asks it again and again, for as long as somebody hears.
pub(crate) async fn ask_again<D: Driver>(driver: Arc<D>, news: mpsc::Sender<News>) {
    loop {
        sleep(EVERY).await;
        let found = driver.tagged().await;
        if news.send(News::Tagged(found)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{host, vm};

    fn discovery() -> Discovery {
        let defaults = Discover {
            viewers: 1,
            load: Utilization::clamped(0.1),
            migration_ms: 8e3,
            gap_ms: 300.0,
        };
        assert_eq!(defaults.check(), Ok(()));
        Discovery {
            defaults,
            hosts: [host("a")].into(),
            tagged: BTreeSet::new(),
            notes: BTreeSet::new(),
            problems: BTreeSet::new(),
        }
    }

    fn found(on: &str) -> Found {
        let tagged = Tagged {
            vm: vm(),
            host: host(on),
            viewers: Some(3),
            load: None,
        };
        Found {
            functions: vec![tagged],
            ..Found::default()
        }
    }

    fn silent() -> Found {
        Found {
            problems: vec!["a does not answer".into()],
            ..Found::default()
        }
    }

    #[test]
    fn an_engine_that_was_silent_at_first_is_heard_later_and_each_thing_is_said_once() {
        let mut discovery = discovery();
        let mut take = |found, known| {
            let new = discovery.take(found, |_| known);
            let functions: Vec<_> = new.functions.iter().map(|f| f.viewers).collect();
            (functions, new.words.join("; "), discovery.notes().len())
        };
        assert_eq!(
            take(silent(), false),
            (vec![], "a does not answer".into(), 1)
        );
        assert_eq!(take(silent(), false), (vec![], String::new(), 1));
        assert_eq!(
            take(found("a"), false),
            (vec![3], "function f found on a".into(), 0)
        );
        assert_eq!(take(found("a"), true), (vec![], String::new(), 0));
        // One that says nothing does not say that it is gone.
        assert!(!take(silent(), true).1.contains("function f"));
        let (_, words, standing) = take(Found::default(), true);
        assert!(words.contains("function f is not among"), "{words}");
        assert_eq!(standing, 1);
        assert_eq!(take(Found::default(), true).1, "");
    }

    #[test]
    fn what_is_missing_is_a_problem_and_what_is_new_is_none() {
        let mut discovery = discovery();
        let new = discovery.take(silent(), |_| false);
        assert!(new.words.iter().all(|words| discovery.is_problem(words)));
        let new = discovery.take(found("a"), |_| false);
        assert!(!new.words.iter().any(|words| discovery.is_problem(words)));
        assert!(!discovery.is_problem("a does not answer"));
    }

    #[test]
    fn one_on_a_host_that_is_none_of_ours_is_said_and_left() {
        let new = discovery().take(found("b"), |_| false);
        assert!(new.functions.is_empty());
        assert!(new.words[0].contains("is not looked after"), "{new:?}");
    }

    #[test]
    fn figures_that_are_none() {
        for (migration_ms, gap_ms) in [(0.0, 1.0), (f64::NAN, 1.0), (1.0, -1.0), (1.0, f64::NAN)] {
            let defaults = Discover {
                migration_ms,
                gap_ms,
                ..discovery().defaults
            };
            assert!(defaults.check().is_err(), "{defaults:?}");
        }
    }
}

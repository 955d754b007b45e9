//! Looks at where functions are while nothing is moved: others move them, too, and a guest may have died, or runs twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::vec;

use control::{Input, View};
use drivers::Driver;
use record::{Doubt, HostName, Residency, Timestamp, Verdict, VmName};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::clock;
use crate::mover::News;

/// Each function is looked at so often.
pub(crate) const EVERY: Duration = Duration::from_secs(10);
/// Looks at once; the rest wait.
const LOOKS_AT_ONCE_MAX: usize = 16;

/// What was last seen of a function at the host where it is taken to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at_us: Timestamp,
    /// That host.
    pub host: HostName,
    /// What the host said.
    pub residency: Residency,
    /// Other hosts that said that it runs there, and have not said otherwise since.
    pub elsewhere: Vec<HostName>,
    /// What that makes; `moved` when it runs on one other host alone.
    pub verdict: Verdict,
    /// Whether all other hosts were asked; else one of them.
    #[serde(default)]
    pub asked_all: bool,
}

impl Seen {
    /// In words that end without a full stop.
    pub(crate) fn words(&self) -> String {
        let elsewhere: String = match &self.elsewhere[..] {
            [] => "it is seen to run on no other host".into(),
            hosts => {
                let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
                format!("it runs on {}", names.join(" and "))
            }
        };
        format!(
            "{:?} where it should run, on {}; {elsewhere}",
            self.residency, self.host
        )
    }
}

/// A function, and where it is taken to be.
#[derive(Debug)]
struct Look {
    vm: VmName,
    host: HostName,
    /// Which of all hosts is asked, too, when it runs where it should: one in each survey, so that one who asks about many functions on
    /// many hosts comes to an end. `None`: all of them, since something was not as it should be.
    turn: Option<usize>,
    /// Other hosts that said that it runs there. One of them that does not answer now has not said that it stopped.
    ran_on: Vec<HostName>,
}

/// Looks that nobody has begun yet, and whose turn it is. Who looks has a share in them.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    waiting: Arc<Mutex<vec::IntoIter<Look>>>,
    turn: usize,
}

impl Survey {
    /// Has every function looked at that is not being moved; returns at once. What was seen comes as [`News::Seen`]. While
    /// the last survey is not over, where hosts do not answer, no other is begun.
    pub(crate) fn begin<D: Driver>(
        &mut self,
        driver: &Arc<D>,
        view: &View,
        news: &mpsc::Sender<News>,
    ) {
        if Arc::strong_count(&self.waiting) > 1 {
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        let resting = view.functions.iter().filter(|f| f.migration.is_none());
        let looks = resting.map(|function| {
            let doubt = function.doubt.as_ref();
            Look {
                vm: function.vm.clone(),
                host: function.host.clone(),
                turn: doubt.is_none().then_some(self.turn),
                ran_on: doubt.map_or_else(Vec::new, |doubt| doubt.elsewhere.clone()),
            }
        });
        let looks: Vec<Look> = looks.collect();
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = looks.into_iter();
        let hosts: Arc<[HostName]> = view.hosts.iter().map(|host| host.host.clone()).collect();
        for _ in 0..LOOKS_AT_ONCE_MAX {
            let (waiting, hosts) = (Arc::clone(&self.waiting), Arc::clone(&hosts));
            let (driver, news) = (Arc::clone(driver), news.clone());
            tokio::spawn(async move {
                while let Some(look) = next(&waiting) {
                    let seen = look_at(driver.as_ref(), &look, &hosts).await;
                    if news.send(News::Seen(look.vm, seen)).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}

fn next(waiting: &Mutex<vec::IntoIter<Look>>) -> Option<Look> {
    // Nobody panics while it is held.
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.next()
}

async fn look_at<D: Driver>(driver: &D, look: &Look, hosts: &[HostName]) -> Seen {
    let mut residency = driver.residency(&look.vm, &look.host).await;
    let asked = match look.turn {
        Some(turn) if residency == Residency::Running => {
            let one = turn % hosts.len().max(1);
            hosts.get(one..=one).unwrap_or_default()
        }
        _ => hosts,
    };
    let mut others = Vec::new();
    for host in asked {
        if *host == look.host {
            continue;
        }
        let seen = match driver.residency(&look.vm, host).await {
            Residency::Unreachable if look.ran_on.contains(host) => Residency::Running,
            seen => seen,
        };
        others.push((host, seen));
    }
    let running = others
        .iter()
        .filter(|(_, seen)| *seen == Residency::Running);
    let elsewhere: Vec<HostName> = running.map(|(host, _)| (*host).clone()).collect();
    if residency == Residency::Running && !elsewhere.is_empty() {
        // Somebody may have moved it between the two questions.
        residency = driver.residency(&look.vm, &look.host).await;
    }
    let others: Vec<Residency> = others.into_iter().map(|(_, seen)| seen).collect();
    Seen {
        at_us: clock::now(),
        host: look.host.clone(),
        residency,
        elsewhere,
        verdict: verdict(residency, &others),
        asked_all: asked.len() == hosts.len(),
    }
}

/// What a function's host and others say together. Where one does not answer on which it may well run, nothing is concluded.
fn verdict(home: Residency, others: &[Residency]) -> Verdict {
    let count = |wanted| others.iter().filter(|seen| **seen == wanted).count();
    match (home, count(Residency::Running)) {
        (Residency::Running, 0) => Verdict::Stayed,
        (Residency::Unreachable, _) => Verdict::Unknown,
        (Residency::Absent | Residency::Paused, 1) => Verdict::Moved,
        (_, 1..) => Verdict::Split,
        _ if count(Residency::Unreachable) > 0 => Verdict::Unknown,
        (Residency::Paused, _) => Verdict::Blackout,
        _ if count(Residency::Paused) > 0 => Verdict::Blackout,
        _ => Verdict::Lost,
    }
}

/// What a look means for the controller: somebody else moved it, or there is a doubt where it runs, or none any more. `known` is the
/// doubt that the controller has; `None` where the look tells it nothing new.
pub(crate) fn conclude(vm: &VmName, seen: &Seen, known: Option<&Doubt>) -> Option<Input> {
    let vm = vm.clone();
    let doubt = match (seen.verdict, &seen.elsewhere[..]) {
        (Verdict::Moved, [host]) => {
            let host = host.clone();
            return Some(Input::Seen { vm, host });
        }
        // That it was in doubt was heard after this look had begun.
        (Verdict::Stayed, _) if known.is_some() && !seen.asked_all => return None,
        (Verdict::Stayed, _) => None,
        // A full host, which it is to leave, may need longer than a look waits. A move waits longer, and looks for itself.
        (Verdict::Unknown, []) if seen.residency == Residency::Unreachable => return None,
        (verdict, elsewhere) => Some(Doubt {
            verdict,
            elsewhere: elsewhere.to_vec(),
        }),
    };
    (doubt.as_ref() != known).then_some(Input::Looked { vm, doubt })
}

/// What was last seen of each function.
pub(crate) type Sightings = BTreeMap<VmName, Seen>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{Scripted, host, vm};

    #[test]
    fn what_all_hosts_say_together() {
        use Residency::{Absent, Paused, Running, Unreachable};
        for (home, others, expected) in [
            (Running, &[Absent, Unreachable][..], Verdict::Stayed),
            (Running, &[Paused], Verdict::Stayed),
            (Running, &[Absent, Running], Verdict::Split),
            (Absent, &[Running], Verdict::Moved),
            (Paused, &[Running, Unreachable], Verdict::Moved),
            (Absent, &[Running, Running], Verdict::Split),
            (Unreachable, &[Running], Verdict::Unknown),
            (Unreachable, &[], Verdict::Unknown),
            (Absent, &[Unreachable], Verdict::Unknown),
            (Absent, &[Absent], Verdict::Lost),
            (Absent, &[Paused], Verdict::Blackout),
            (Paused, &[Absent], Verdict::Blackout),
        ] {
            assert_eq!(verdict(home, others), expected, "{home:?} {others:?}");
        }
    }

    fn look(turn: Option<usize>) -> Look {
        Look {
            vm: vm(),
            host: host("a"),
            turn,
            ran_on: Vec::new(),
        }
    }

    fn hosts() -> [HostName; 3] {
        ["a", "b", "c"].map(host)
    }

    #[tokio::test]
    async fn a_function_that_runs_where_it_should_may_run_elsewhere_too() {
        let driver = Scripted::default();
        driver.runs_on(&["a", "c"]);
        let mut splits = 0;
        for turn in 0..3 {
            let seen = look_at(&driver, &look(Some(turn)), &hosts()).await;
            assert_eq!(seen.residency, Residency::Running);
            splits += usize::from(seen.verdict == Verdict::Split);
        }
        assert_eq!(splits, 1, "each host has its turn");
        let all = look_at(&driver, &look(None), &hosts()).await;
        assert_eq!(
            (all.verdict, &all.elsewhere[..]),
            (Verdict::Split, &[host("c")][..])
        );
        let doubt = Doubt {
            verdict: Verdict::Split,
            elsewhere: vec![host("c")],
        };
        let looked = |doubt| Some(Input::Looked { vm: vm(), doubt });
        assert_eq!(conclude(&vm(), &all, None), looked(Some(doubt.clone())));
        assert_eq!(conclude(&vm(), &all, Some(&doubt)), None, "it is no news");
        // A host that said so and does not answer now has not said that it stopped.
        let again = Look {
            ran_on: doubt.elsewhere.clone(),
            ..look(None)
        };
        driver.runs_on(&["a"]);
        driver.silences(&["b", "c"]);
        let seen = look_at(&driver, &again, &hosts()).await;
        assert_eq!(conclude(&vm(), &seen, Some(&doubt)), None, "{seen:?}");
        // Another one that does not answer says nothing of it.
        driver.silences(&["b"]);
        let seen = look_at(&driver, &again, &hosts()).await;
        assert_eq!(conclude(&vm(), &seen, Some(&doubt)), looked(None));
        assert_eq!(conclude(&vm(), &seen, None), None);
        // One of them alone does not end a doubt.
        let seen = look_at(&driver, &look(Some(0)), &hosts()).await;
        assert_eq!(conclude(&vm(), &seen, Some(&doubt)), None, "{seen:?}");
    }

    #[tokio::test]
    async fn one_who_runs_elsewhere_alone_was_moved_and_one_who_runs_nowhere_is_lost() {
        let driver = Scripted::default();
        driver.runs_on(&["b"]);
        let seen = look_at(&driver, &look(Some(0)), &hosts()).await;
        let moved = Input::Seen {
            vm: vm(),
            host: host("b"),
        };
        assert_eq!(conclude(&vm(), &seen, None), Some(moved));
        driver.runs_on(&[]);
        let seen = look_at(&driver, &look(Some(0)), &hosts()).await;
        let doubt = Some(Doubt {
            verdict: Verdict::Lost,
            elsewhere: Vec::new(),
        });
        let lost = Input::Looked { vm: vm(), doubt };
        assert_eq!(conclude(&vm(), &seen, None), Some(lost));
        // Of one whose host does not answer nothing is known that was not known before, unless another says that it runs there.
        let not_its_host = look(None);
        driver.runs_on(&["a"]);
        driver.silences(&["a"]);
        let seen = look_at(&driver, &not_its_host, &hosts()).await;
        assert_eq!(seen.verdict, Verdict::Unknown);
        assert_eq!(conclude(&vm(), &seen, None), None);
        driver.runs_on(&["b"]);
        let seen = look_at(&driver, &not_its_host, &hosts()).await;
        assert_eq!(seen.verdict, Verdict::Unknown);
        assert!(conclude(&vm(), &seen, None).is_some());
    }

    /// Each question is one more of what a large site would be asked each time.
    #[tokio::test]
    async fn a_survey_of_many_functions_asks_two_hosts_of_each_at_most() {
        const FUNCTIONS: usize = 500;
        let function = |number| {
            serde_json::json!({
                "vm": format!("f{number}"), "host": "a", "viewers": 1, "load": 0.1, "mobility": "free", "migration_ms": 1.0,
                "gap_ms": 0.0, "migration": null, "cooldown_until_us": null, "failures_in_a_row": 0, "given_up": false,
            })
        };
        let host = |number| {
            serde_json::json!({
                "host": if number == 0 { "a".to_owned() } else { format!("h{number}") }, "freshness": "fresh", "functions": [],
                "draining": false, "holding": null, "utilization": null, "sample_age_ms": null, "forecast": null,
                "threshold": null, "knee": null, "start_by_us": null,
            })
        };
        let functions: Vec<_> = (0..FUNCTIONS).map(function).collect();
        let hosts: Vec<_> = (0..100).map(host).collect();
        let view = serde_json::json!({
            "at_us": 0, "policy": "deadline", "trust": "observe", "armed": true, "moves": [], "hosts": hosts,
            "functions": functions,
        });
        let view: View = serde_json::from_value(view).unwrap();
        let driver = Arc::new(Scripted::default());
        driver.runs_on(&["a"]);
        let (news_in, mut news) = mpsc::channel(4);
        let mut survey = Survey::default();
        survey.begin(&driver, &view, &news_in);
        // It is under way: no other is begun.
        survey.begin(&driver, &view, &news_in);
        for _ in 0..FUNCTIONS {
            let told = news.recv().await.unwrap();
            assert!(
                matches!(&told, News::Seen(_, seen) if seen.verdict == Verdict::Stayed),
                "{told:?}"
            );
        }
        assert_eq!(driver.asked(), 2 * FUNCTIONS);
    }
}

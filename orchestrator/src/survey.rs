//! Looks at where functions are while nothing is moved: others move them, too, and a guest may have died.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::{Input, View};
use drivers::Driver;
use record::{HostName, Residency, Timestamp, VmName};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

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
    /// What the host said.
    pub residency: Residency,
    /// Other hosts that said that it runs there.
    pub elsewhere: Vec<HostName>,
}

/// A function, and where it is taken to be.
#[derive(Clone, Debug)]
struct Look {
    vm: VmName,
    host: HostName,
    others: Vec<HostName>,
}

/// The looks that are under way: each holds the semaphore, from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Survey {
    at_once: Arc<Semaphore>,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(LOOKS_AT_ONCE_MAX)),
        }
    }
}

impl Survey {
    /// Has every function looked at that is not being moved; returns at once. What was seen comes as [`News::Seen`]. While
    /// the last survey is not over, where hosts do not answer, no other is begun.
    pub(crate) fn begin<D: Driver>(&self, driver: &Arc<D>, view: &View, news: &mpsc::Sender<News>) {
        if Arc::strong_count(&self.at_once) > 1 {
            return;
        }
        for function in view.functions.iter().filter(|f| f.migration.is_none()) {
            let names = view.hosts.iter().map(|host| host.host.clone());
            let look = Look {
                vm: function.vm.clone(),
                host: function.host.clone(),
                others: names.filter(|name| *name != function.host).collect(),
            };
            let at_once = Arc::clone(&self.at_once);
            let (driver, news) = (Arc::clone(driver), news.clone());
            tokio::spawn(async move {
                // It is never closed.
                let Ok(_turn) = at_once.acquire().await else {
                    return;
                };
                let seen = look_at(driver.as_ref(), &look).await;
                news.send(News::Seen(look.vm, seen)).await.ok();
            });
        }
    }
}

/// Other hosts are asked only when it does not run where it should.
async fn look_at<D: Driver>(driver: &D, look: &Look) -> Seen {
    let residency = driver.residency(&look.vm, &look.host).await;
    let mut elsewhere = Vec::new();
    if residency != Residency::Running {
        for host in &look.others {
            if driver.residency(&look.vm, host).await == Residency::Running {
                elsewhere.push(host.clone());
            }
        }
    }
    Seen {
        at_us: clock::now(),
        residency,
        elsewhere,
    }
}

/// What a look means for the controller: somebody else moved it. Where an end does not answer nothing is concluded.
pub(crate) fn conclude(vm: &VmName, seen: &Seen) -> Option<Input> {
    match (seen.residency, &seen.elsewhere[..]) {
        (Residency::Absent | Residency::Paused, [host]) => Some(Input::Seen {
            vm: vm.clone(),
            host: host.clone(),
        }),
        _ => None,
    }
}

/// What was last seen of each function.
pub(crate) type Sightings = BTreeMap<VmName, Seen>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_who_runs_elsewhere_alone_was_moved() {
        use Residency::{Absent, Paused, Running, Unreachable};
        let host = |name| HostName::new(name).unwrap();
        let vm = VmName::new("f").unwrap();
        for (residency, elsewhere, moved) in [
            (Running, vec![], false),
            (Absent, vec![], false),
            (Absent, vec!["b"], true),
            (Paused, vec!["b"], true),
            (Unreachable, vec!["b"], false),
            (Absent, vec!["b", "c"], false),
        ] {
            let seen = Seen {
                at_us: Timestamp(1),
                residency,
                elsewhere: elsewhere.into_iter().map(host).collect(),
            };
            assert_eq!(conclude(&vm, &seen).is_some(), moved, "{seen:?}");
        }
    }
}

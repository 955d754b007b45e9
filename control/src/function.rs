//! What is known of one function.

use std::time::Duration;

use record::{Doubt, Timestamp, Utilization};

use crate::host::HostId;
use crate::settings::{Mobility, Placement};

/// What was measured longer ago says nothing of now.
const MEASURED_AGE_MAX: Duration = Duration::from_secs(60);

/// One function as the controller sees it.
#[derive(Debug)]
pub(crate) struct Function {
    /// What the controller was told of it.
    pub(crate) told: Placement,
    /// Where it runs, as far as is known.
    pub(crate) host: HostId,
    /// Load that it was last seen to bring to that host, and when.
    pub(crate) measured: Option<(Utilization, Timestamp)>,
    /// By host, in their order: whether it may not run there, and the delay of the network by it, jitter included. Empty where all are alike.
    forbidden: Vec<HostId>,
    path_ms: Vec<(HostId, f64)>,
    pub(crate) failures_in_a_row: u32,
    pub(crate) cooldown_until: Timestamp,
    /// Its last verdict was one that only a person can end.
    pub(crate) given_up: bool,
    /// Why it is not clear where it runs.
    pub(crate) doubt: Option<Doubt>,
    /// When it last came to another host.
    pub(crate) moved_at: Option<Timestamp>,
    /// Where its last move did not arrive: any other host that fits is tried before it.
    pub(crate) failed_target: Option<HostId>,
}

impl Function {
    /// A function on its first host. `forbidden` and `path_ms` in order of host.
    pub(crate) const fn new(
        told: Placement,
        host: HostId,
        forbidden: Vec<HostId>,
        path_ms: Vec<(HostId, f64)>,
    ) -> Self {
        Self {
            told,
            host,
            measured: None,
            forbidden,
            path_ms,
            failures_in_a_row: 0,
            cooldown_until: Timestamp(0),
            given_up: false,
            doubt: None,
            moved_at: None,
            failed_target: None,
        }
    }

    /// The load that was measured, and when, while that is news, and more than is configured.
    pub(crate) fn measured(&self, now: Timestamp) -> Option<(Utilization, Timestamp)> {
        let counts = |(load, at): &(Utilization, Timestamp)| {
            *load > self.told.load && now.since(*at) <= MEASURED_AGE_MAX
        };
        self.measured.filter(counts)
    }

    /// Load that it brings to a host: as configured, or as measured where that is more. What was measured is a share of the host where it
    /// is, and another may have fewer processors: a target is not thought to be emptier for it.
    pub(crate) fn load(&self, now: Timestamp) -> Utilization {
        self.measured(now).map_or(self.told.load, |(load, _)| load)
    }

    /// Whether it may not leave its host by itself, whatever the load.
    pub(crate) fn is_kept(&self) -> bool {
        self.told.mobility == Mobility::Pinned || self.given_up || self.doubt.is_some()
    }

    /// Whether two functions run on one host together.
    pub(crate) fn belongs_to(&self, other: &Self) -> bool {
        self.told.together.is_some() && self.told.together == other.told.together
    }

    pub(crate) fn may_run_on(&self, host: HostId) -> bool {
        self.forbidden.binary_search(&host).is_err()
    }

    /// Delay of the network by a host.
    pub(crate) fn path_ms(&self, host: HostId) -> f64 {
        let found = self.path_ms.binary_search_by_key(&host, |entry| entry.0);
        found
            .ok()
            .and_then(|i| self.path_ms.get(i))
            .map_or(0.0, |entry| entry.1)
    }
}

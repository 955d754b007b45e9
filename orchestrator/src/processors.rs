//! How many processors hosts have, as those say who tell their load: a load is a share of these.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use record::HostName;

/// What is known, shared by who finds it out and who wants to know it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processors(Arc<Mutex<BTreeMap<HostName, u32>>>);

impl Processors {
    /// Notes what was found out of a host.
    pub(crate) fn note(&self, host: &HostName, count: u32) {
        // Nobody panics while it is held.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(host) {
            Some(known) => *known = count,
            None => drop(known.insert(host.clone(), count)),
        }
    }

    /// How many a host has, where that is known.
    pub(crate) fn of(&self, host: &HostName) -> Option<u32> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(host).copied()
    }
}

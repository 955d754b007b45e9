//! When which host has to be looked at again though nothing has come in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use record::Timestamp;

use crate::host::HostId;

/// Instants of the same second are one bucket.
const BUCKET_US: u64 = 1_000_000;

/// Each host has at most one instant. Most are put off again and again before they come (a sample that would become stale is
/// followed by the next one), so an entry may be earlier than its host's instant: it is put right when its turn comes. Until then
/// it lies in the bucket of its second, unsorted: only those of the nearest second are worth a heap. (A calendar queue; Brown,
/// Communications of the ACM 31, 1988.)
#[derive(Debug)]
pub(crate) struct Agenda {
    /// Entries up to the end of the bucket `near_bucket`; never without an instant that is wanted while there is one anywhere.
    near: BinaryHeap<Reverse<(Timestamp, HostId)>>,
    near_bucket: u64,
    far: BTreeMap<u64, Vec<(Timestamp, HostId)>>,
    /// By host: the instant that is wanted, and the earliest that there is an entry for.
    wanted: Vec<(Option<Timestamp>, Option<Timestamp>)>,
}

impl Agenda {
    /// All hosts at once, at the beginning.
    pub(crate) fn new(hosts: usize) -> Self {
        let mut agenda = Self {
            near: BinaryHeap::new(),
            near_bucket: 0,
            far: BTreeMap::new(),
            wanted: vec![(None, None); hosts],
        };
        for host in (0..).map(HostId).take(hosts) {
            agenda.set(host, Some(Timestamp::default()));
        }
        agenda
    }

    /// Wants `host` to be looked at at `at`, and not before; never with `None`.
    pub(crate) fn set(&mut self, host: HostId, at: Option<Timestamp>) {
        let Some((wanted, queued)) = self.wanted.get_mut(host.0 as usize) else {
            return;
        };
        *wanted = at;
        if let Some(at) = at
            && queued.is_none_or(|queued| at < queued)
        {
            *queued = Some(at);
            self.enter(at, host);
        }
        self.put_right();
    }

    fn enter(&mut self, at: Timestamp, host: HostId) {
        let bucket = at.0 / BUCKET_US;
        if bucket <= self.near_bucket {
            self.near.push(Reverse((at, host)));
        } else {
            self.far.entry(bucket).or_default().push((at, host));
        }
    }

    /// The earliest instant.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.near.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a host whose instant has come.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<HostId> {
        let Reverse((_, host)) = self
            .near
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= now)?;
        self.set(host, None);
        Some(host)
    }

    /// Makes the top of the heap an instant that is wanted.
    fn put_right(&mut self) {
        loop {
            while let Some(&Reverse((at, host))) = self.near.peek() {
                if self.is_wanted(at, host) {
                    return;
                }
                self.near.pop();
            }
            let Some((bucket, entries)) = self.far.pop_first() else {
                return;
            };
            self.near_bucket = bucket;
            for (at, host) in entries {
                if self.is_wanted(at, host) {
                    self.near.push(Reverse((at, host)));
                }
            }
        }
    }

    /// Whether an entry is its host's instant. One that was put off gets another entry.
    fn is_wanted(&mut self, at: Timestamp, host: HostId) -> bool {
        let Some((wanted, queued)) = self.wanted.get_mut(host.0 as usize) else {
            return false;
        };
        if *queued != Some(at) {
            return false;
        }
        if *wanted == Some(at) {
            return true;
        }
        *queued = *wanted;
        if let Some(later) = *wanted {
            self.enter(later, host);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the plain way to do it: one instant for each host, and the least of them.
        #[test]
        fn it_gives_what_a_plain_list_gives(
            steps in prop::collection::vec((0..4_u32, prop::option::of(1..50_u64), 0..60_u64), 0..60), scale in prop::sample::select(vec![1_u64, 300_000])
        ) {
            let mut agenda = Agenda::new(4);
            let mut plain = [Some(Timestamp(0)); 4];
            for (host, at, now) in steps {
                let (at, now) = (at.map(|at| at * scale), now * scale);
                agenda.set(HostId(host), at.map(Timestamp));
                plain[host as usize] = at.map(Timestamp);
                prop_assert_eq!(agenda.next(), plain.iter().flatten().min().copied());
                let mut due = Vec::new();
                while let Some(host) = agenda.take_due(Timestamp(now)) {
                    due.push(host.0);
                }
                let mut expected = Vec::new();
                for (host, wanted) in (0..).zip(&mut plain) {
                    if wanted.is_some_and(|at| at <= Timestamp(now)) {
                        *wanted = None;
                        expected.push(host);
                    }
                }
                due.sort_unstable();
                prop_assert_eq!(due, expected);
            }
        }
    }
}

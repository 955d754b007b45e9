//! When which host has to be looked at again though nothing has come in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use record::Timestamp;

use crate::host::HostId;

/// Each host has at most one instant. Most are put off again and again before they come (a sample that would become stale is
/// followed by the next one), so an entry of the heap may be earlier than its host's instant: it is put right when it gets to the
/// top.
#[derive(Debug)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(Timestamp, HostId)>>,
    /// By host: the instant that is wanted, and the earliest that stands in the heap.
    wanted: Vec<(Option<Timestamp>, Option<Timestamp>)>,
}

impl Agenda {
    /// All hosts at once, at the beginning.
    pub(crate) fn new(hosts: usize) -> Self {
        let mut agenda = Self {
            heap: BinaryHeap::new(),
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
            self.heap.push(Reverse((at, host)));
        }
        self.put_right();
    }

    /// The earliest instant.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a host whose instant has come.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<HostId> {
        let Reverse((_, host)) = self
            .heap
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= now)?;
        self.set(host, None);
        Some(host)
    }

    /// Makes the top of the heap an instant that is wanted.
    fn put_right(&mut self) {
        while let Some(&Reverse((at, host))) = self.heap.peek() {
            let Some((wanted, queued)) = self.wanted.get_mut(host.0 as usize) else {
                return;
            };
            if *queued == Some(at) {
                if *wanted == Some(at) {
                    return;
                }
                *queued = *wanted;
                if let Some(later) = *wanted {
                    self.heap.push(Reverse((later, host)));
                }
            }
            self.heap.pop();
        }
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
            steps in prop::collection::vec((0..4_u32, prop::option::of(1..50_u64), 0..60_u64), 0..60)
        ) {
            let mut agenda = Agenda::new(4);
            let mut plain = [Some(Timestamp(0)); 4];
            for (host, at, now) in steps {
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

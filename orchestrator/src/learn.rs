//! What moves teach: how long the next one takes.
//!
//! The longest of n moves is not passed by the next with probability n / (n + 1), whatever their distribution (Hahn and
//! Meeker, Statistical Intervals, section 5.3): the longest of the last 19 is a 95 % bound. Until there are so many, what was
//! configured counts, too, when it is longer.

use std::collections::BTreeMap;

use control::{Input, Placement};
use record::decision::MigrationId;
use record::{Decision, Event, Timestamp, Verdict, VmName};

use crate::journal::Learned;
use crate::recording::MoveFact;

/// Moves that are remembered.
const MOVES_KEPT: usize = 19;

/// What is known of moves, by function.
#[derive(Debug)]
pub(crate) struct Learner {
    /// Time of a move and gap, as configured.
    configured: BTreeMap<VmName, (f64, f64)>,
    learned: BTreeMap<VmName, Learned>,
    open: BTreeMap<MigrationId, Open>,
}

/// A move that may teach something once it is over.
#[derive(Debug)]
struct Open {
    vm: VmName,
    decided: Timestamp,
    took_ms: Option<f64>,
    downtime_ms: Option<f64>,
}

impl Learner {
    pub(crate) fn new(placements: &[Placement], learned: BTreeMap<VmName, Learned>) -> Self {
        let configured = placements
            .iter()
            .map(|told| (told.vm.clone(), (told.migration_ms, told.gap_ms)));
        Self {
            configured: configured.collect(),
            learned,
            open: BTreeMap::new(),
        }
    }

    /// A function that was found later; what its controller is told of what earlier moves taught.
    pub(crate) fn add(&mut self, told: &Placement) -> Option<Input> {
        let figures = (told.migration_ms, told.gap_ms);
        self.configured.insert(told.vm.clone(), figures);
        self.input(&told.vm)
    }

    /// What a new controller is told of what earlier moves taught.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let known = self.learned.keys();
        known.filter_map(|vm| self.input(vm)).collect()
    }

    pub(crate) fn fact(&mut self, at: Timestamp, migration: MigrationId, fact: &MoveFact) {
        let Some(open) = self.open.get_mut(&migration) else {
            return;
        };
        match fact {
            MoveFact::RunsAtTarget => open.took_ms = Some(at.seconds_after(open.decided) * 1e3),
            MoveFact::Figures { downtime_ms, .. } => open.downtime_ms = *downtime_ms,
            MoveFact::CopyingBegan | MoveFact::RunsAtSource => {}
        }
    }

    /// What a decision teaches: a move that arrived, and the function's figures from now on.
    pub(crate) fn decided(&mut self, decision: &Decision) -> Option<(VmName, Learned, Input)> {
        match &decision.event {
            Event::Start { migration, vm, .. } => {
                let open = Open {
                    vm: vm.clone(),
                    decided: decision.at_us,
                    took_ms: None,
                    downtime_ms: None,
                };
                self.open.insert(*migration, open);
                None
            }
            Event::Settled {
                migration, verdict, ..
            } => {
                let open = self.open.remove(migration)?;
                let took_ms = open.took_ms.filter(|_| *verdict == Verdict::Moved)?;
                let learned = self.learned.entry(open.vm.clone()).or_default();
                keep(&mut learned.migrations_ms, Some(took_ms));
                keep(&mut learned.downtimes_ms, open.downtime_ms);
                let learned = learned.clone();
                let input = self.input(&open.vm)?;
                Some((open.vm, learned, input))
            }
            _ => None,
        }
    }

    fn input(&self, vm: &VmName) -> Option<Input> {
        let (migration_ms, gap_ms) = *self.configured.get(vm)?;
        let learned = self.learned.get(vm)?;
        Some(Input::Learned {
            vm: vm.clone(),
            migration_ms: bound(&learned.migrations_ms, migration_ms),
            gap_ms: bound(&learned.downtimes_ms, gap_ms),
        })
    }
}

fn keep(values: &mut Vec<f64>, new: Option<f64>) {
    values.extend(new.filter(|value| value.is_finite() && *value >= 0.0));
    let old = values.len().saturating_sub(MOVES_KEPT);
    values.drain(..old);
}

fn bound(seen: &[f64], configured: f64) -> f64 {
    let longest = seen.iter().copied().fold(0.0, f64::max);
    if seen.len() < MOVES_KEPT {
        longest.max(configured)
    } else {
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_configured_counts_until_enough_was_seen() {
        for (seen, expected) in [
            (vec![], 8e3),
            (vec![6e3], 8e3),
            (vec![6e3, 9e3], 9e3),
            (vec![6e3; MOVES_KEPT - 1], 8e3),
            (vec![6e3; MOVES_KEPT], 6e3),
        ] {
            assert_eq!(bound(&seen, 8e3), expected, "{seen:?}");
        }
    }

    #[test]
    fn only_the_last_are_kept_and_no_nonsense() {
        let mut values = Vec::new();
        for value in 0..30 {
            keep(&mut values, Some(f64::from(value)));
        }
        for nothing in [None, Some(f64::NAN), Some(-1.0)] {
            keep(&mut values, nothing);
        }
        assert_eq!((values.len(), values[0]), (MOVES_KEPT, 11.0));
    }
}

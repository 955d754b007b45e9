//! What moves teach: how long the next one takes.
//!
//! The longest of n moves is not passed by the next with probability n / (n + 1), whatever their distribution (Hahn and
//! Meeker, Statistical Intervals, section 5.3): the longest of the last 19 is a 95 % bound. Until there are so many, what was
//! configured counts, too, when it is longer.
//!
//! The gap that viewers see is longer than the engine's downtime: the network has to follow the guest, and the next picture has
//! to be made (docs/reallocation.md). So a longer downtime than the configured gap makes that longer, and no number of short
//! ones makes it shorter.

use std::collections::BTreeMap;

use control::{Input, Placement};
use record::decision::MigrationId;
use record::{Decision, Event, Timestamp, Verdict, VmName};

use crate::journal::Learned;
use crate::knees::Lesson;
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

    /// What earlier moves taught, by function.
    pub(crate) const fn learned(&self) -> &BTreeMap<VmName, Learned> {
        &self.learned
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
    pub(crate) fn decided(&mut self, decision: &Decision) -> Option<(VmName, Learned, Lesson)> {
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
                learned.last_at_us = Some(decision.at_us);
                let learned = learned.clone();
                let lesson = self.lesson(&open.vm, learned.migrations_ms.len())?;
                Some((open.vm, learned, lesson))
            }
            _ => None,
        }
    }

    fn lesson(&self, vm: &VmName, moves: usize) -> Option<Lesson> {
        let (configured_ms, configured_gap_ms) = *self.configured.get(vm)?;
        let (migration_ms, gap_ms) = self.figures(vm)?;
        let words = format!(
            "a move of {vm} is expected to take {:.1} s at most from now on, and its viewers then to see nothing new for \
             {gap_ms:.0} ms, by its last moves ({moves}); configured: {:.1} s and {configured_gap_ms:.0} ms",
            migration_ms / 1e3,
            configured_ms / 1e3
        );
        let input = self.input(vm);
        Some(Lesson { words, input })
    }

    fn input(&self, vm: &VmName) -> Option<Input> {
        let (migration_ms, gap_ms) = self.figures(vm)?;
        Some(Input::Learned {
            vm: vm.clone(),
            migration_ms,
            gap_ms,
        })
    }

    /// Time of the next move and gap, in ms.
    fn figures(&self, vm: &VmName) -> Option<(f64, f64)> {
        let (migration_ms, gap_ms) = *self.configured.get(vm)?;
        let learned = self.learned.get(vm)?;
        let gap_ms = learned.downtimes_ms.iter().copied().fold(gap_ms, f64::max);
        Some((bound(&learned.migrations_ms, migration_ms), gap_ms))
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
    fn an_engines_downtime_makes_no_gap_shorter() {
        let vm = VmName::new("f").unwrap();
        for (downtimes_ms, gap_ms) in [
            (vec![], 200.0),
            (vec![40.0; MOVES_KEPT], 200.0),
            (vec![40.0, 700.0], 700.0),
        ] {
            let learned = Learned {
                migrations_ms: vec![6e3; MOVES_KEPT],
                downtimes_ms,
                last_at_us: None,
            };
            let learner = Learner {
                configured: BTreeMap::from([(vm.clone(), (8e3, 200.0))]),
                learned: BTreeMap::from([(vm.clone(), learned)]),
                open: BTreeMap::new(),
            };
            assert_eq!(learner.figures(&vm), Some((6e3, gap_ms)));
        }
    }

    #[test]
    fn a_move_that_arrived_is_told_with_what_it_taught() {
        let vm = VmName::new("f").unwrap();
        let host = |name| record::HostName::new(name).unwrap();
        let mut learner = Learner {
            configured: BTreeMap::from([(vm.clone(), (8e3, 200.0))]),
            learned: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        let start = Event::Start {
            migration: 1,
            vm: vm.clone(),
            source: host("a"),
            target: host("b"),
            mode: record::decision::Mode::PreCopy,
            cause: record::decision::Cause::Load,
            target_load: 0.4,
            gain: None,
            predicted_total_ms: None,
            host: host("a"),
            evidence: record::decision::Evidence::default(),
        };
        let began = Timestamp(1_000_000);
        assert!(learner.decided(&Decision::new(began, start)).is_none());
        learner.fact(Timestamp(10_000_000), 1, &MoveFact::RunsAtTarget);
        let settled = Event::Settled {
            migration: 1,
            verdict: Verdict::Moved,
            target: record::Residency::Running,
            source: record::Residency::Absent,
            failure: None,
            cooldown_until_us: Timestamp(0),
        };
        let ended = Timestamp(11_000_000);
        let (_, learned, lesson) = learner.decided(&Decision::new(ended, settled)).unwrap();
        assert_eq!(
            (learned.migrations_ms, learned.last_at_us),
            (vec![9e3], Some(ended))
        );
        assert_eq!(
            lesson.words,
            "a move of f is expected to take 9.0 s at most from now on, and its viewers then to see nothing new for 200 ms, by \
             its last moves (1); configured: 8.0 s and 200 ms"
        );
        assert!(matches!(
            lesson.input,
            Some(Input::Learned {
                migration_ms: 9e3,
                ..
            })
        ));
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

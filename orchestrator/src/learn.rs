//! What moves teach: how long the next one takes.
//!
//! The longest of n moves is not passed by the next with probability n / (n + 1), whatever their distribution (Hahn and
//! Meeker, Statistical Intervals, section 5.3): the longest of the last 19 is a 95 % bound. Until there are so many, what was
//! configured counts, too, when it is longer.
//!
//! The gap that viewers see is longer than the engine's downtime: the network has to follow the guest, and the next picture has
//! to be made (docs/reallocation.md). So a longer downtime than the known gap makes that longer, and no number of short
//! ones makes it shorter. How long it was viewers say: the longest time between two pictures in their reports of the seconds of the
//! switch. Of several viewers half have to have seen it so long, since one alone may have a bad line.

use std::collections::BTreeMap;
use std::time::Duration;

use control::{HandOver, Input, Placement};
use record::decision::MigrationId;
use record::name::ViewerName;
use record::report::Report;
use record::{Decision, Event, Timestamp, Verdict, VmName};

use crate::journal::Learned;
use crate::knees::Lesson;
use crate::recording::MoveFact;

/// Moves that are remembered.
pub(crate) const MOVES_KEPT: usize = 19;
/// The first picture from the target is there so long after the guest runs there, or it is not the switch that keeps it.
const PICTURE_WITHIN: Duration = Duration::from_secs(5);
/// An engine that hands over by itself says so this long afterwards at most. Where it is told to, the instant is known.
const SAID_WITHIN: Duration = Duration::from_secs(5);
/// A report of those seconds has come by then.
const LISTENED: Duration = Duration::from_secs(10);

/// What is known of moves, by function.
#[derive(Debug)]
pub(crate) struct Learner {
    /// Time of a move and gap, as configured.
    configured: BTreeMap<VmName, (f64, f64)>,
    learned: BTreeMap<VmName, Learned>,
    open: BTreeMap<MigrationId, Open>,
    /// What viewers say is listened to.
    switches: BTreeMap<MigrationId, Switch>,
    /// Viewers may have seen the switch so long before it is known.
    known_after: Duration,
    /// Something else is known of them than the journal has.
    changed: Vec<(VmName, Learned)>,
}

/// A guest that runs at its target.
#[derive(Debug)]
struct Switch {
    vm: VmName,
    at: Timestamp,
    /// Longest time between two pictures of each viewer.
    seen_ms: BTreeMap<ViewerName, f64>,
}

/// A move that may teach something once it is over.
#[derive(Debug)]
struct Open {
    vm: VmName,
    decided: Timestamp,
    runs_at: Option<Timestamp>,
    downtime_ms: Option<f64>,
}

impl Learner {
    pub(crate) fn new(
        placements: &[Placement],
        hand_over: HandOver,
        learned: BTreeMap<VmName, Learned>,
    ) -> Self {
        let configured = placements
            .iter()
            .map(|told| (told.vm.clone(), (told.migration_ms, told.gap_ms)));
        Self {
            configured: configured.collect(),
            learned,
            open: BTreeMap::new(),
            switches: BTreeMap::new(),
            known_after: match hand_over {
                HandOver::Held => Duration::ZERO,
                HandOver::ByEngine => SAID_WITHIN,
            },
            changed: Vec::new(),
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
            MoveFact::RunsAtTarget => {
                open.runs_at = Some(at);
                let switch = Switch {
                    vm: open.vm.clone(),
                    at,
                    seen_ms: BTreeMap::new(),
                };
                self.switches.insert(migration, switch);
            }
            MoveFact::Figures { downtime_ms, .. } => open.downtime_ms = *downtime_ms,
            MoveFact::CopyingBegan | MoveFact::RunsAtSource => {}
        }
    }

    /// What a viewer saw, whose report has just come.
    pub(crate) fn hear(&mut self, now: Timestamp, report: &Report) {
        let Some(interval_ms) = report.frame_interval_ms else {
            return;
        };
        let ago = |ms: f64| Duration::from_secs_f64(ms / 1e3);
        let ended = now - ago(report.ago_ms);
        let begun = ended - ago(report.span_ms);
        for switch in self.switches.values_mut() {
            let is_of_it = switch.vm == report.function
                && ended + self.known_after >= switch.at
                && begun <= switch.at + PICTURE_WITHIN;
            if is_of_it {
                let seen_ms = switch.seen_ms.entry(report.viewer.clone()).or_default();
                *seen_ms = seen_ms.max(interval_ms.max);
            }
        }
    }

    /// What viewers' reports teach of moves that are over; call it now and then.
    pub(crate) fn heard_out(&mut self, now: Timestamp) -> Vec<Lesson> {
        let is_over = |(id, switch): &(&MigrationId, &Switch)| {
            !self.open.contains_key(*id) && now.since(switch.at) >= LISTENED
        };
        let over = self.switches.iter().filter(is_over).map(|(id, _)| *id);
        let over: Vec<MigrationId> = over.collect();
        let mut lessons = Vec::new();
        for migration in over {
            let Some(switch) = self.switches.remove(&migration) else {
                continue;
            };
            let mut seen_ms: Vec<f64> = switch.seen_ms.into_values().collect();
            seen_ms.sort_by(f64::total_cmp);
            // So long, or longer, half of them have seen nothing new.
            let Some(gap_ms) = seen_ms.get(seen_ms.len() / 2).copied() else {
                continue;
            };
            let learned = self.learned.entry(switch.vm.clone()).or_default();
            keep(&mut learned.gaps_ms, Some(gap_ms));
            self.changed.push((switch.vm.clone(), learned.clone()));
            lessons.extend(self.lesson(&switch.vm));
        }
        lessons
    }

    /// Of which functions something else is known than the journal has been told.
    pub(crate) fn take_changed(&mut self) -> Vec<(VmName, Learned)> {
        std::mem::take(&mut self.changed)
    }

    /// What a decision teaches: a move that arrived, and the function's figures from now on.
    pub(crate) fn decided(&mut self, decision: &Decision) -> Option<Lesson> {
        match &decision.event {
            Event::Start { migration, vm, .. } => {
                let open = Open {
                    vm: vm.clone(),
                    decided: decision.at_us,
                    runs_at: None,
                    downtime_ms: None,
                };
                self.open.insert(*migration, open);
                None
            }
            Event::Settled {
                migration, verdict, ..
            } => {
                let open = self.open.remove(migration)?;
                if *verdict != Verdict::Moved {
                    self.switches.remove(migration);
                    return None;
                }
                let took_ms = open.runs_at?.seconds_after(open.decided) * 1e3;
                let learned = self.learned.entry(open.vm.clone()).or_default();
                keep(&mut learned.migrations_ms, Some(took_ms));
                keep(&mut learned.downtimes_ms, open.downtime_ms);
                learned.last_at_us = Some(decision.at_us);
                self.changed.push((open.vm.clone(), learned.clone()));
                self.lesson(&open.vm)
            }
            _ => None,
        }
    }

    fn lesson(&self, vm: &VmName) -> Option<Lesson> {
        let (configured_ms, configured_gap_ms) = *self.configured.get(vm)?;
        let (migration_ms, gap_ms) = self.figures(vm)?;
        let learned = self.learned.get(vm)?;
        let words = format!(
            "a move of {vm} is expected to take {:.1} s at most from now on, and its viewers then to see nothing new for \
             {gap_ms:.0} ms, by its last moves ({}, of which viewers told of {}); configured: {:.1} s and {configured_gap_ms:.0} ms",
            migration_ms / 1e3,
            learned.migrations_ms.len(),
            learned.gaps_ms.len(),
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
        let gap_ms = bound(&learned.gaps_ms, gap_ms);
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

    /// 8 s and 200 ms, as configured; nothing was learned.
    fn learner(vm: &VmName, hand_over: HandOver) -> Learner {
        let mut learner = Learner::new(&[], hand_over, BTreeMap::new());
        learner.configured.insert(vm.clone(), (8e3, 200.0));
        learner
    }

    /// A move of it from `a` to `b`.
    fn start(vm: &VmName) -> Event {
        let host = |name| record::HostName::new(name).unwrap();
        Event::Start {
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
        }
    }

    fn settled(verdict: Verdict) -> Event {
        Event::Settled {
            migration: 1,
            verdict,
            target: record::Residency::Running,
            source: record::Residency::Absent,
            failure: None,
            cooldown_until_us: Timestamp(0),
        }
    }

    fn at(s: f64) -> Timestamp {
        Timestamp::from_secs_f64(s)
    }

    /// What a viewer saw in the second that ends now.
    fn report(vm: &VmName, viewer: &str, longest_ms: f64) -> Report {
        let spread = record::report::Spread {
            median: 33.0,
            p95: 40.0,
            max: longest_ms,
        };
        Report {
            function: vm.clone(),
            viewer: ViewerName::new(viewer).unwrap(),
            ago_ms: 0.0,
            span_ms: 1000.0,
            frames: 30,
            freezes: 0,
            picture_age_ms: None,
            frame_interval_ms: Some(spread),
        }
    }

    /// What viewers saw around a move that arrives at 10 s, and what that teaches of the gap.
    fn taught_by(
        hand_over: HandOver,
        verdict: Verdict,
        reports: &[(f64, &str, f64)],
    ) -> Option<f64> {
        let vm = VmName::new("f").unwrap();
        let mut learner = learner(&vm, hand_over);
        learner.decided(&Decision::new(at(1.0), start(&vm)));
        learner.fact(at(10.0), 1, &MoveFact::RunsAtTarget);
        for (heard_s, viewer, longest_ms) in reports {
            learner.hear(at(*heard_s), &report(&vm, viewer, *longest_ms));
        }
        assert!(learner.heard_out(at(30.0)).is_empty(), "it has no verdict");
        learner.decided(&Decision::new(at(31.0), settled(verdict)));
        learner.take_changed();
        let told = learner.heard_out(at(31.0)).len();
        let changed = learner.take_changed();
        assert_eq!(
            (told, learner.heard_out(at(99.0)).len()),
            (changed.len(), 0)
        );
        let (_, learned) = changed.first()?;
        learned.gaps_ms.first().copied()
    }

    #[test]
    fn how_long_the_gap_was_viewers_say() {
        use HandOver::{ByEngine, Held};
        let moved = |hand_over, reports| taught_by(hand_over, Verdict::Moved, reports);
        for (reports, gap_ms) in [
            (&[][..], None),
            (&[(10.8, "v", 210.0), (11.8, "v", 40.0)], Some(210.0)),
            // Before the switch, and long after it.
            (
                &[(9.9, "v", 900.0), (10.9, "v", 210.0), (17.0, "v", 800.0)],
                Some(210.0),
            ),
            // One of three has a bad line.
            (
                &[(11.0, "u", 180.0), (11.0, "v", 210.0), (11.0, "w", 4000.0)],
                Some(210.0),
            ),
        ] {
            assert_eq!(moved(Held, reports), gap_ms, "{reports:?}");
        }
        // This engine says afterwards that it has switched.
        assert_eq!(moved(ByEngine, &[(8.0, "v", 210.0)]), Some(210.0));
        assert_eq!(moved(ByEngine, &[(4.9, "v", 210.0)]), None);
        let stayed = taught_by(Held, Verdict::Stayed, &[(10.8, "v", 210.0)]);
        assert_eq!(stayed, None);
    }

    #[test]
    fn an_engines_downtime_makes_no_gap_shorter() {
        let vm = VmName::new("f").unwrap();
        for (downtimes_ms, gaps_ms, gap_ms) in [
            (vec![], vec![], 200.0),
            (vec![40.0; MOVES_KEPT], vec![], 200.0),
            (vec![40.0, 700.0], vec![], 700.0),
            // A viewer's word does, when there are enough.
            (vec![40.0], vec![120.0], 200.0),
            (vec![40.0], vec![120.0, 310.0], 310.0),
            (vec![40.0], vec![120.0; MOVES_KEPT], 120.0),
            (vec![160.0], vec![120.0; MOVES_KEPT], 160.0),
        ] {
            let mut learner = learner(&vm, HandOver::Held);
            let learned = Learned {
                migrations_ms: vec![6e3; MOVES_KEPT],
                downtimes_ms,
                gaps_ms,
                last_at_us: None,
            };
            learner.learned.insert(vm.clone(), learned);
            assert_eq!(learner.figures(&vm), Some((6e3, gap_ms)));
        }
    }

    #[test]
    fn a_move_that_arrived_is_told_with_what_it_taught() {
        let vm = VmName::new("f").unwrap();
        let mut learner = learner(&vm, HandOver::Held);
        let began = Timestamp(1_000_000);
        assert!(learner.decided(&Decision::new(began, start(&vm))).is_none());
        learner.fact(Timestamp(10_000_000), 1, &MoveFact::RunsAtTarget);
        let ended = Timestamp(11_000_000);
        let settled = settled(Verdict::Moved);
        let lesson = learner.decided(&Decision::new(ended, settled)).unwrap();
        let (_, learned) = learner.take_changed().remove(0);
        assert_eq!(
            (learned.migrations_ms, learned.last_at_us),
            (vec![9e3], Some(ended))
        );
        assert_eq!(
            lesson.words,
            "a move of f is expected to take 9.0 s at most from now on, and its viewers then to see nothing new for 200 ms, by \
             its last moves (1, of which viewers told of 0); configured: 8.0 s and 200 ms"
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

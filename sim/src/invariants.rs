//! What must hold of every decision, and of what runs where, at every instant: kept in books of their own, so that a mistake of
//! the controller's is not believed here, too.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use control::settings::{COOLDOWN_DOUBLINGS_MAX, Limits};
use control::{Policy, Settings};
use record::decision::{Cause, End, MigrationId};
use record::{Event, HostName, Reading, Residency, Timestamp, Verdict, VmName};

/// Every move has a verdict so long after it would have been given up, if the hosts can be reached.
const VERDICT_WITHIN: Duration = Duration::from_secs(120);
/// What a load may be over a limit by reason of rounding.
const ROUNDING: f64 = 1e-9;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub promise: Promise,
    /// By what.
    pub what: String,
}

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// A guest never runs twice.
    OneRunner,
    /// A guest that nobody killed runs when its move is over.
    NoneLost,
    /// Nothing is run or discarded but what was seen to allow it.
    SeenFirst,
    /// The target is looked at before the source.
    TargetFirst,
    /// A target runs only when it is told to.
    HeldTarget,
    /// A verdict is what is true.
    TrueVerdict,
    /// A function is in one move at once.
    OneMoveEach,
    /// No more moves at once than allowed.
    MovesAtOnce,
    /// No more arrivals at a host at once than allowed.
    ArrivalsAtOnce,
    /// No sample that is too old, or from before the host's last arrival or departure, decides anything.
    FreshSamples,
    /// No target is loaded over its limit by a move.
    TargetLimit,
    /// No function moves before its cool-down is over.
    Cooldown,
    /// Every move comes to a verdict.
    Verdict,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at {:.3} s {:?}: {}",
            self.at.as_secs_f64(),
            self.promise,
            self.what
        )
    }
}

#[derive(Debug, Default)]
struct HostBook {
    newest: Option<Reading>,
    /// When a function last came or left.
    changed_at: Timestamp,
    arriving: Vec<(MigrationId, f64)>,
}

#[derive(Debug)]
struct FunctionBook {
    load: f64,
    killed: bool,
    failures_in_a_row: u32,
    cooldown_until: Timestamp,
}

#[derive(Debug)]
struct OpenBook {
    function: usize,
    ends: (usize, usize),
    begun_at: Timestamp,
    seen: Option<(Residency, Residency)>,
    target_told_to_run: bool,
}

#[derive(Debug)]
pub(crate) struct Invariants {
    limits: Limits,
    never_moves: bool,
    host_ids: BTreeMap<HostName, usize>,
    function_ids: BTreeMap<VmName, usize>,
    hosts: Vec<HostBook>,
    functions: Vec<FunctionBook>,
    open: BTreeMap<MigrationId, OpenBook>,
    /// No verdict can be expected as long as a host cannot be reached.
    unreachable_until: Timestamp,
    broken: Option<Broken>,
}

impl Invariants {
    pub(crate) fn new(settings: &Settings) -> Self {
        let function = |placement: &control::Placement| FunctionBook {
            load: placement.load.share(),
            killed: false,
            failures_in_a_row: 0,
            cooldown_until: Timestamp(0),
        };
        let vms = settings.functions.iter().map(|f| f.vm.clone());
        Self {
            limits: settings.limits.clone(),
            never_moves: settings.policy == Policy::None,
            host_ids: settings.hosts.iter().cloned().zip(0..).collect(),
            function_ids: vms.zip(0..).collect(),
            hosts: settings.hosts.iter().map(|_| HostBook::default()).collect(),
            functions: settings.functions.iter().map(function).collect(),
            open: BTreeMap::new(),
            unreachable_until: Timestamp(0),
            broken: None,
        }
    }

    pub(crate) const fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    fn keep(&mut self, kept: bool, at: Timestamp, promise: Promise, what: impl FnOnce() -> String) {
        if !kept && self.broken.is_none() {
            let what = what();
            self.broken = Some(Broken { at, promise, what });
        }
    }

    /// A reading reached the controller.
    pub(crate) fn sampled(&mut self, host: usize, reading: Reading) {
        let newest = &mut self.hosts[host].newest;
        let newer = |old: Reading| reading.measured_at_us > old.measured_at_us;
        if newest.is_none_or(newer) {
            *newest = Some(reading);
        }
    }

    /// The controller was told what was seen of a move.
    pub(crate) fn seen(&mut self, migration: MigrationId, seen: (Residency, Residency)) {
        if let Some(open) = self.open.get_mut(&migration) {
            open.seen = Some(seen);
        }
    }

    /// A process was killed that was the last of its guest.
    pub(crate) fn killed(&mut self, function: usize) {
        self.functions[function].killed = true;
    }

    /// A new controller knows of no cool-down.
    pub(crate) fn restarted(&mut self) {
        for function in &mut self.functions {
            function.cooldown_until = Timestamp(0);
            function.failures_in_a_row = 0;
        }
        for open in self.open.values_mut() {
            open.seen = None;
        }
    }

    /// A host cannot be reached until then.
    pub(crate) fn unreachable(&mut self, until: Timestamp) {
        self.unreachable_until = self.unreachable_until.max(until);
    }

    /// The end of a move that was looked at first.
    pub(crate) fn looked_first(&mut self, now: Timestamp, migration: MigrationId, end: End) {
        self.keep(end == End::Target, now, Promise::TargetFirst, || {
            format!("the source of move {migration} was looked at first")
        });
    }

    /// A driver was told to run an end.
    pub(crate) fn told_to_run(&mut self, migration: MigrationId, end: End) {
        if let Some(open) = self.open.get_mut(&migration) {
            open.target_told_to_run |= end == End::Target;
        }
    }

    /// A function in a move runs on these hosts.
    pub(crate) fn runs(
        &mut self,
        now: Timestamp,
        migration: MigrationId,
        function: usize,
        runners: &[usize],
    ) {
        self.keep(runners.len() <= 1, now, Promise::OneRunner, || {
            format!("function {function} runs on hosts {runners:?}")
        });
        let held = self
            .open
            .get(&migration)
            .is_none_or(|open| open.target_told_to_run || !runners.contains(&open.ends.1));
        self.keep(held, now, Promise::HeldTarget, || {
            format!("the target of move {migration} runs by itself")
        });
    }

    /// A move is over, and its function runs on these hosts.
    pub(crate) fn over(
        &mut self,
        now: Timestamp,
        function: usize,
        (source, target): (usize, usize),
        runners: &[usize],
        verdict: Verdict,
    ) {
        let killed = self.functions[function].killed;
        self.keep(runners.len() == 1 || killed, now, Promise::NoneLost, || {
            format!("function {function} runs on hosts {runners:?} after its move")
        });
        let is_true = match verdict {
            Verdict::Moved => runners == [target],
            Verdict::Stayed => runners == [source],
            Verdict::Split => runners.len() == 2,
            Verdict::Lost | Verdict::Blackout => runners.is_empty(),
            Verdict::Unknown => false,
        };
        // What is killed between the last look and the verdict is not the verdict's fault.
        self.keep(is_true || killed, now, Promise::TrueVerdict, || {
            format!("{verdict}, and function {function} runs on hosts {runners:?}")
        });
    }

    pub(crate) fn decided(&mut self, now: Timestamp, event: &Event) {
        match event {
            Event::Start {
                migration,
                vm,
                source,
                target,
                cause,
                ..
            } => {
                let (Some(function), Some(source), Some(target)) = (
                    self.function_ids.get(vm).copied(),
                    self.host_ids.get(source).copied(),
                    self.host_ids.get(target).copied(),
                ) else {
                    return self.keep(false, now, Promise::SeenFirst, || format!("{event:?}"));
                };
                self.start(now, *migration, function, (source, target), *cause);
            }
            Event::Run { migration, end } => {
                self.touched(now, *migration, *end, event, |this, other| {
                    this == Residency::Paused
                        && matches!(other, Residency::Paused | Residency::Absent)
                })
            }
            Event::Discard { migration, end } => {
                self.touched(now, *migration, *end, event, |this, other| {
                    matches!(this, Residency::Paused | Residency::Absent)
                        && other == Residency::Running
                });
            }
            Event::Settled {
                migration, verdict, ..
            } => self.settled(now, *migration, *verdict),
            Event::Hold { .. }
            | Event::Inspect { .. }
            | Event::Cancel { .. }
            | Event::Alarm { .. }
            | Event::Relocated { .. }
            | Event::Declined { .. } => {}
        }
    }

    fn start(
        &mut self,
        now: Timestamp,
        migration: MigrationId,
        function: usize,
        (source, target): (usize, usize),
        cause: Cause,
    ) {
        let limits = self.limits.clone();
        let what =
            || format!("move {migration} of function {function} from host {source} to {target}");
        let (moves, moves_max) = (self.open.len(), limits.moves_at_once_max as usize);
        self.keep(!self.never_moves, now, Promise::SeenFirst, what);
        self.keep(moves < moves_max, now, Promise::MovesAtOnce, what);
        let alone = self.open.values().all(|open| open.function != function);
        self.keep(alone, now, Promise::OneMoveEach, what);
        let arriving = self.hosts[target].arriving.len();
        let few = arriving < limits.arrivals_at_once_max as usize;
        self.keep(few, now, Promise::ArrivalsAtOnce, what);
        let fresh = |host: &HostBook| {
            host.newest.is_some_and(|reading| {
                let limit = Duration::from_micros((limits.sample_age_ms_max * 1e3) as u64);
                reading.age(now) <= limit && reading.begin() >= host.changed_at
            })
        };
        let source_fresh = cause != Cause::Load || fresh(&self.hosts[source]);
        let both = source_fresh && fresh(&self.hosts[target]);
        self.keep(both, now, Promise::FreshSamples, what);
        let there = &self.hosts[target];
        let used = there
            .newest
            .map_or(0.0, |reading| reading.utilization.share());
        let coming: f64 = there.arriving.iter().map(|(_, load)| load).sum();
        let load = self.functions[function].load;
        let fits = used + coming + load <= limits.target_load_max.share() + ROUNDING;
        self.keep(fits, now, Promise::TargetLimit, what);
        let rested = now >= self.functions[function].cooldown_until;
        self.keep(rested, now, Promise::Cooldown, what);
        self.hosts[target].arriving.push((migration, load));
        let open = OpenBook {
            function,
            ends: (source, target),
            begun_at: now,
            seen: None,
            target_told_to_run: false,
        };
        self.open.insert(migration, open);
    }

    fn touched(
        &mut self,
        now: Timestamp,
        migration: MigrationId,
        end: End,
        event: &Event,
        allowed: impl FnOnce(Residency, Residency) -> bool,
    ) {
        let seen = self.open.get(&migration).and_then(|open| open.seen);
        let kept = seen.is_some_and(|(target, source)| match end {
            End::Target => allowed(target, source),
            End::Source => allowed(source, target),
        });
        self.keep(kept, now, Promise::SeenFirst, || {
            format!("{event:?} though {seen:?} was seen of target and source")
        });
    }

    fn settled(&mut self, now: Timestamp, migration: MigrationId, verdict: Verdict) {
        let Some(open) = self.open.remove(&migration) else {
            return;
        };
        let (source, target) = open.ends;
        self.hosts[target]
            .arriving
            .retain(|(other, _)| *other != migration);
        if verdict != Verdict::Stayed {
            for host in [source, target] {
                self.hosts[host].changed_at = now;
            }
        }
        let function = &mut self.functions[open.function];
        function.failures_in_a_row = if verdict == Verdict::Moved {
            0
        } else {
            (function.failures_in_a_row + 1).min(COOLDOWN_DOUBLINGS_MAX)
        };
        let factor = f64::from(1_u32 << function.failures_in_a_row);
        let cooldown_us = (self.limits.cooldown_ms * factor * 1e3) as u64;
        function.cooldown_until = now + Duration::from_micros(cooldown_us);
    }

    /// The first promise that was broken, with those that can only be judged at the end.
    pub(crate) fn finish(mut self, end: Timestamp) -> Option<Broken> {
        let limit = Duration::from_micros((self.limits.migration_ms_max * 1e3) as u64);
        let from = |open: &OpenBook| (open.begun_at + limit).max(self.unreachable_until);
        let late = self
            .open
            .iter()
            .find(|(_, open)| end.since(from(open)) > VERDICT_WITHIN);
        if let Some((migration, open)) = late {
            let what = format!("move {migration} of function {} has none", open.function);
            self.keep(false, end, Promise::Verdict, || what);
        }
        self.broken
    }
}

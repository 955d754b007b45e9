//! The very controller of the orchestrator, in a world of virtual time.
//!
//! ```text
//!   agents refresh ──► Controller::sample ──► decisions ──► drivers (here: the world) ──► answers ──► Controller::handle
//! ```
//!
//! Events of one instant come in the order in which they were put in; a time-out comes last. Nothing depends on the machine
//! that this runs on.

use std::collections::BTreeMap;
use std::time::Duration;

use control::journal::Entry;
use control::{Controller, CopyOutcome, HostId, Input, Settings};
use record::decision::{End, MigrationId};
use record::{
    Decision, Event, HostName, Reading, Residency, Sample, Timestamp, Utilization, Verdict, VmName,
};
use scenario::Event as Happening;

use crate::error::SimError;
use crate::invariants::{Broken, Invariants};
use crate::moves::Moves;
use crate::world::{Fate, FunctionPlan, HostPlan, Physics, Progress, World, end_of};

/// All that a run is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the controller is told. Its hosts and functions are those of the world, in the same order.
    pub settings: Settings,
    /// Laws.
    pub physics: Physics,
    /// Hosts, as in `settings`.
    pub hosts: Vec<HostPlan>,
    /// Functions, as in `settings`.
    pub functions: Vec<FunctionPlan>,
    /// How often agents refresh their counters.
    pub refresh: Duration,
    /// How long a driver takes for a look at one end, and to prepare, run, discard or cancel.
    pub driver: Duration,
    /// By host: when its agent refreshes first.
    pub phases: Vec<Timestamp>,
    /// What happens besides load, in order of time.
    pub happenings: Vec<(Timestamp, Happening)>,
    /// When it is over.
    pub end: Timestamp,
}

/// What is wrong with drivers or controller, on purpose: the checker is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// The controller knows no cool-down.
    NoCooldown,
    /// The controller decides on samples however old.
    NoFreshness,
    /// The controller takes functions on their way to a host for weightless.
    ArrivalNotCounted,
    /// The target runs by itself as soon as all is copied, and a cancel lets the source run again.
    TargetNotHeld,
    /// The source is looked at before the target.
    SourceInspectedFirst,
}

impl Flaw {
    /// The settings of a controller with this flaw.
    fn distort(self, mut settings: Settings) -> Settings {
        match self {
            Self::None | Self::TargetNotHeld | Self::SourceInspectedFirst => {}
            Self::NoCooldown => settings.limits.cooldown_ms = 0.0,
            Self::NoFreshness => settings.limits.sample_age_ms_max = 1e12,
            Self::ArrivalNotCounted => {
                for function in &mut settings.functions {
                    function.load = Utilization::IDLE;
                }
            }
        }
        settings
    }
}

/// What is kept of a run besides its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All inputs and decisions.
    Logs,
    /// Nothing.
    Figures,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The world at the end.
    pub(crate) world: World,
    /// The moves.
    pub moves: Moves,
    /// What the controller was given, when kept.
    pub inputs: Vec<Entry>,
    /// What it decided, when kept.
    pub decisions: Vec<Decision>,
    /// The first promise that was broken.
    pub broken: Option<Broken>,
    /// Readings that reached the controller.
    pub samples: u64,
}

/// What will happen.
#[derive(Debug)]
enum Next {
    Happens(Happening),
    /// A sample reaches the controller.
    Delivered(usize, Reading),
    Copying(MigrationId),
    /// A look at the second end of a move, after what the first said.
    SecondLook(MigrationId, Residency),
    Answer(Input),
    /// A driver does what it was told.
    Act(Box<Event>),
}

/// A move that was begun and not settled: what is durable of it.
#[derive(Clone, Copy, Debug)]
struct Begun {
    function: usize,
    ends: (usize, usize),
}

pub(crate) struct Engine {
    plan: Plan,
    flaw: Flaw,
    keep: Keep,
    world: World,
    controller: Controller,
    /// Which controller it is: answers to an earlier one are for nobody.
    generation: u32,
    queue: BTreeMap<(Timestamp, u64), (u32, Next)>,
    queued: u64,
    /// Hosts in the order in which their agents refresh.
    refreshing: Vec<(Timestamp, usize)>,
    next_refresh: usize,
    silent_until: Vec<Timestamp>,
    late: Vec<(Timestamp, Duration)>,
    unreachable_until: Vec<Timestamp>,
    refuse_next: Vec<bool>,
    fates: Vec<Fate>,
    begun: BTreeMap<MigrationId, Begun>,
    invariants: Invariants,
    outcome_moves: Moves,
    inputs: Vec<Entry>,
    decisions: Vec<Decision>,
    samples: u64,
}

impl Engine {
    pub(crate) fn new(plan: Plan, flaw: Flaw, keep: Keep) -> Result<Self, SimError> {
        let world = World::new(plan.physics.clone(), &plan.hosts, plan.functions.clone());
        let controller = Controller::new(flaw.distort(plan.settings.clone()))?;
        let (hosts, functions) = (plan.hosts.len(), plan.functions.len());
        let mut refreshing: Vec<(Timestamp, usize)> =
            plan.phases.iter().copied().zip(0..hosts).collect();
        refreshing.sort_unstable();
        let mut engine = Self {
            flaw,
            keep,
            world,
            controller,
            generation: 0,
            queue: BTreeMap::new(),
            queued: 0,
            refreshing,
            next_refresh: 0,
            silent_until: vec![Timestamp(0); hosts],
            late: vec![(Timestamp(0), Duration::ZERO); hosts],
            unreachable_until: vec![Timestamp(0); hosts],
            refuse_next: vec![false; functions],
            fates: vec![Fate::Done; functions],
            begun: BTreeMap::new(),
            invariants: Invariants::new(&plan.settings),
            outcome_moves: Moves::new(&plan.functions),
            inputs: Vec::new(),
            decisions: Vec::new(),
            samples: 0,
            plan,
        };
        for (at, happening) in std::mem::take(&mut engine.plan.happenings) {
            engine.later(at, Next::Happens(happening));
        }
        Ok(engine)
    }

    pub(crate) fn run(mut self) -> Outcome {
        let mut now = Timestamp(0);
        loop {
            let refresh = self.refreshing.get(self.next_refresh).map(|(at, _)| *at);
            let event = self.queue.keys().next().map(|key| key.0);
            let timeout = self.controller.poll_timeout().map(|at| at.max(now));
            let Some(at) = refresh.into_iter().chain(event).chain(timeout).min() else {
                break;
            };
            if at > self.plan.end {
                break;
            }
            now = at;
            if event == Some(at) {
                if let Some((_, (generation, next))) = self.queue.pop_first() {
                    self.happen(now, generation, next);
                }
            } else if refresh == Some(at) {
                self.refresh(now);
            } else {
                self.give(now, Input::Timeout);
            }
            if self.invariants.broken().is_some() {
                break;
            }
        }
        self.world.finish(self.plan.end);
        self.outcome_moves.finish(&self.world, self.plan.end);
        Outcome {
            broken: self.invariants.finish(self.plan.end),
            world: self.world,
            moves: self.outcome_moves,
            inputs: self.inputs,
            decisions: self.decisions,
            samples: self.samples,
        }
    }

    fn later(&mut self, at: Timestamp, next: Next) {
        self.queued += 1;
        self.queue
            .insert((at, self.queued), (self.generation, next));
    }

    fn refresh(&mut self, now: Timestamp) {
        let (at, host) = &mut self.refreshing[self.next_refresh];
        *at = now + self.plan.refresh;
        let host = *host;
        self.next_refresh = (self.next_refresh + 1) % self.refreshing.len();
        let reading = self.world.refresh(host, now);
        self.outcome_moves.look(&self.world, host, now);
        if now <= self.silent_until[host] {
            return;
        }
        let (until, by) = self.late[host];
        if now <= until {
            self.later(now + by, Next::Delivered(host, reading));
        } else {
            self.deliver(now, host, reading);
        }
    }

    /// A reading reaches the controller. Nothing is made of names where nothing is kept: that is most of the time of a large run.
    fn deliver(&mut self, now: Timestamp, host: usize, reading: Reading) {
        self.samples += 1;
        self.invariants.sampled(host, reading);
        if self.keep == Keep::Logs {
            self.inputs.push(Entry {
                now_us: now,
                input: Input::Sample(Sample {
                    host: self.host_name(host),
                    utilization: reading.utilization,
                    measured_at_us: reading.measured_at_us,
                    interval_ms: reading.interval_ms,
                }),
            });
        }
        self.controller.sample(now, HostId(host as u32), reading);
        self.take_decisions(now);
    }

    fn host_name(&self, host: usize) -> HostName {
        self.plan.settings.hosts[host].clone()
    }

    fn give(&mut self, now: Timestamp, input: Input) {
        if let Input::Residency {
            migration,
            target,
            source,
        } = input
        {
            self.invariants.seen(migration, (target, source));
        }
        if self.keep == Keep::Logs {
            let input = input.clone();
            self.inputs.push(Entry { now_us: now, input });
        }
        self.controller.handle(now, input);
        self.take_decisions(now);
    }

    fn take_decisions(&mut self, now: Timestamp) {
        self.look_at_runners(now);
        while let Some(decision) = self.controller.poll_output() {
            self.invariants.decided(now, &decision.event);
            self.act(now, &decision.event);
            self.look_at_runners(now);
            if self.keep == Keep::Logs {
                self.decisions.push(decision);
            }
        }
    }

    /// Only moves change what runs where.
    fn look_at_runners(&mut self, now: Timestamp) {
        for (migration, begun) in &self.begun {
            let runners: Vec<usize> = self.world.runners(begun.function).collect();
            self.invariants
                .runs(now, *migration, begun.function, &runners);
        }
    }

    fn happen(&mut self, now: Timestamp, generation: u32, next: Next) {
        match next {
            Next::Happens(happening) => self.happens(now, happening),
            Next::Delivered(host, reading) => self.deliver(now, host, reading),
            Next::Copying(migration) => self.copying(now, migration),
            Next::SecondLook(migration, first) if generation == self.generation => {
                self.second_look(now, migration, first);
            }
            Next::Answer(input) if generation == self.generation => self.give(now, input),
            Next::Act(event) => self.take_effect(now, generation, &event),
            Next::SecondLook(..) | Next::Answer(_) => {}
        }
    }

    fn reachable(&self, host: usize, now: Timestamp) -> bool {
        now > self.unreachable_until[host] || self.unreachable_until[host] == Timestamp(0)
    }

    /// Does what was decided; the answer comes as an event of its own.
    fn act(&mut self, now: Timestamp, event: &Event) {
        match event {
            Event::Start {
                migration,
                vm,
                source,
                target,
                predicted_total_ms,
                ..
            } => self.start(now, *migration, (vm, source, target), *predicted_total_ms),
            Event::Inspect { migration } => self.first_look(now, *migration),
            Event::Cancel { .. } | Event::Run { .. } | Event::Discard { .. } => {
                self.later(now + self.plan.driver, Next::Act(Box::new(event.clone())));
            }
            Event::Settled {
                migration, verdict, ..
            } => self.settled(now, *migration, *verdict),
            Event::Hold { .. }
            | Event::Alarm { .. }
            | Event::Relocated { .. }
            | Event::Declined { .. } => {}
        }
    }

    /// A driver's action takes effect, whoever told it to is still there or not.
    fn take_effect(&mut self, now: Timestamp, generation: u32, event: &Event) {
        let (migration, failure) = match event {
            Event::Cancel { migration, .. } => (*migration, self.cancel(now, *migration)),
            Event::Run { migration, end } => {
                self.invariants.told_to_run(*migration, *end);
                let run = |world: &mut World, f, host| world.run(f, host, now);
                (*migration, self.on_end(now, *migration, *end, run))
            }
            Event::Discard { migration, end } => {
                let discard = |world: &mut World, f, host| {
                    world.kill(f, host, now);
                    Ok(())
                };
                (*migration, self.on_end(now, *migration, *end, discard))
            }
            _ => return,
        };
        self.look_at_runners(now);
        if generation == self.generation {
            let failure = failure.err();
            self.give(now, Input::Acted { migration, failure });
        }
    }

    fn start(
        &mut self,
        now: Timestamp,
        migration: MigrationId,
        (vm, source, target): (&VmName, &HostName, &HostName),
        predicted_ms: Option<f64>,
    ) {
        let settings = &self.plan.settings;
        let host = |name: &HostName| self.controller.host_id(name).map_or(0, |id| id.0 as usize);
        let ends = (host(source), host(target));
        let function = settings
            .functions
            .iter()
            .position(|f| f.vm == *vm)
            .unwrap_or(0);
        self.begun.insert(migration, Begun { function, ends });
        self.plan.settings.moves_begun = self.plan.settings.moves_begun.max(migration);
        self.outcome_moves
            .started(&self.world, migration, (function, ends), predicted_ms, now);
        let refused = std::mem::take(&mut self.refuse_next[function]);
        let both = self.reachable(ends.0, now) && self.reachable(ends.1, now);
        if refused || !both {
            let reason = if both { "no room" } else { "no connection" };
            let reason = reason.to_owned();
            let answer = Input::Refused { migration, reason };
            return self.later(now + self.plan.driver, Next::Answer(answer));
        }
        let fate = std::mem::replace(&mut self.fates[function], Fate::Done);
        self.world.begin(migration, function, ends, fate, now);
        self.copying(now, migration);
    }

    fn copying(&mut self, now: Timestamp, migration: MigrationId) {
        match self.world.progress(migration, now) {
            Progress::None => {}
            Progress::Until(at) => self.later(at, Next::Copying(migration)),
            Progress::Done => {
                self.outcome_moves.copied(migration, now);
                if self.flaw == Flaw::TargetNotHeld
                    && let Some(begun) = self.begun.get(&migration)
                {
                    let _ = self.world.run(begun.function, begun.ends.1, now);
                }
                self.copy_ended(now, migration, CopyOutcome::Completed);
            }
            Progress::Broke => self.copy_broke(now, migration),
        }
    }

    fn copy_broke(&mut self, now: Timestamp, migration: MigrationId) {
        let reason = "the connection broke".to_owned();
        self.copy_ended(now, migration, CopyOutcome::Failed { reason });
    }

    fn copy_ended(&mut self, now: Timestamp, migration: MigrationId, outcome: CopyOutcome) {
        let answer = Input::CopyEnded { migration, outcome };
        self.later(now, Next::Answer(answer));
    }

    fn cancel(&mut self, now: Timestamp, migration: MigrationId) -> Result<(), String> {
        let Some(begun) = self.begun.get(&migration).copied() else {
            return Err("there is no such move".to_owned());
        };
        let late = !self.world.cancel(migration, now);
        if late && self.flaw == Flaw::TargetNotHeld {
            self.world.run(begun.function, begun.ends.0, now)?;
        }
        Ok(())
    }

    fn on_end(
        &mut self,
        now: Timestamp,
        migration: MigrationId,
        end: End,
        act: impl FnOnce(&mut World, usize, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(begun) = self.begun.get(&migration).copied() else {
            return Err("there is no such move".to_owned());
        };
        let host = end_of(end, begun.ends);
        if !self.reachable(host, now) {
            return Err("no connection".to_owned());
        }
        act(&mut self.world, begun.function, host)?;
        if end == End::Target && self.world.residency(begun.function, host) == Residency::Running {
            self.outcome_moves.moved(migration, now);
        }
        Ok(())
    }

    fn look(&self, now: Timestamp, begun: Begun, end: End) -> Residency {
        let host = end_of(end, begun.ends);
        if self.reachable(host, now) {
            self.world.residency(begun.function, host)
        } else {
            Residency::Unreachable
        }
    }

    /// The order of looks: the target first.
    const fn order(&self) -> (End, End) {
        match self.flaw {
            Flaw::SourceInspectedFirst => (End::Source, End::Target),
            _ => (End::Target, End::Source),
        }
    }

    fn first_look(&mut self, now: Timestamp, migration: MigrationId) {
        if let Some(begun) = self.begun.get(&migration).copied() {
            let first = self.look(now, begun, self.order().0);
            self.invariants.looked_first(now, migration, self.order().0);
            self.later(now + self.plan.driver, Next::SecondLook(migration, first));
        }
    }

    fn second_look(&mut self, now: Timestamp, migration: MigrationId, first: Residency) {
        let Some(begun) = self.begun.get(&migration).copied() else {
            return;
        };
        let second = self.look(now, begun, self.order().1);
        let (target, source) = match self.order().0 {
            End::Target => (first, second),
            End::Source => (second, first),
        };
        let answer = Input::Residency {
            migration,
            target,
            source,
        };
        self.later(now + self.plan.driver, Next::Answer(answer));
    }

    fn settled(&mut self, now: Timestamp, migration: MigrationId, verdict: Verdict) {
        if let Some(begun) = self.begun.remove(&migration) {
            if verdict == Verdict::Moved {
                self.plan.settings.functions[begun.function].host = self.host_name(begun.ends.1);
            }
            self.outcome_moves.settled(migration, now, verdict);
            let runners: Vec<usize> = self.world.runners(begun.function).collect();
            self.invariants
                .over(now, begun.function, begun.ends, &runners, verdict);
        }
    }

    fn happens(&mut self, now: Timestamp, happening: Happening) {
        let host = |name: &HostName| self.controller.host_id(name).map_or(0, |id| id.0 as usize);
        let function = |vm: &VmName| {
            let functions = &self.plan.settings.functions;
            functions.iter().position(|f| f.vm == *vm).unwrap_or(0)
        };
        let until = |for_s: f64| now + Duration::from_secs_f64(for_s.clamp(0.0, 1e9));
        match happening {
            Happening::AgentSilent { host: name, for_s } => {
                let host = host(&name);
                self.silent_until[host] = until(for_s);
            }
            Happening::SamplesLate {
                host: name,
                for_s,
                late_s,
            } => {
                let host = host(&name);
                let by = Duration::from_secs_f64(late_s.clamp(0.0, 1e9));
                self.late[host] = (until(for_s), by);
            }
            Happening::Unreachable { host: name, for_s } => {
                let host = host(&name);
                self.unreachable_until[host] = until(for_s);
                self.invariants.unreachable(until(for_s));
            }
            Happening::NextMoveRefused { vm } => {
                let function = function(&vm);
                self.refuse_next[function] = true;
            }
            Happening::NextCopyFails { vm } => {
                let function = function(&vm);
                self.fates[function] = Fate::Breaks;
            }
            Happening::NextCopyStalls { vm } => {
                let function = function(&vm);
                self.fates[function] = Fate::Stalls;
            }
            Happening::TargetKilled { vm } => {
                let function = function(&vm);
                let target = self.begun.values().find(|b| b.function == function);
                if let Some(host) = target.map(|begun| begun.ends.1) {
                    self.kill(now, function, host);
                }
            }
            Happening::SourceKilled { vm } => {
                let function = function(&vm);
                let running = self.world.runners(function).next();
                if let Some(host) = running {
                    self.kill(now, function, host);
                }
            }
            Happening::Drain { host } => self.give(now, Input::Drain { host }),
            Happening::Undrain { host } => self.give(now, Input::Undrain { host }),
            Happening::Restart => self.restart(now),
        }
    }

    fn kill(&mut self, now: Timestamp, function: usize, host: usize) {
        let broken = self.world.kill(function, host, now);
        if !self.world.exists(function) {
            self.invariants.killed(function);
        }
        if let Some(migration) = broken {
            self.copy_broke(now, migration);
        }
    }

    /// The orchestrator is killed and started again: it has its settings, where functions are by its journal, and the moves that were
    /// begun.
    fn restart(&mut self, now: Timestamp) {
        // They were good at the start; nothing that moves does makes them worse.
        let settings = self.flaw.distort(self.plan.settings.clone());
        if let Ok(controller) = Controller::new(settings) {
            self.controller = controller;
        }
        self.generation += 1;
        self.invariants.restarted();
        let open: Vec<(MigrationId, Begun)> = self.begun.iter().map(|(id, b)| (*id, *b)).collect();
        for (migration, begun) in open {
            let input = Input::Resumed {
                migration,
                vm: self.plan.settings.functions[begun.function].vm.clone(),
                source: self.host_name(begun.ends.0),
                target: self.host_name(begun.ends.1),
            };
            self.give(now, input);
        }
    }
}

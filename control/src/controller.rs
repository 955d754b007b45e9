//! All of it together: the state of every host, function and move.
//!
//! ```text
//!   Sample ──► Host ──► Policy (due?) ──► Placement (where?) ──► Start ──► Reallocation ──► Settled
//!                 └────────────┴───────────────┴──► Hold, with its reason and figures
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use record::decision::{HoldReason, MigrationId};
use record::{Decision, Event, HostName, Sample, Timestamp, Utilization, Verdict, VmName};

use crate::host::Host;
use crate::input::Input;
use crate::placement;
use crate::policy::Judgement;
use crate::reallocation::{Reallocation, Step};
use crate::settings::{COOLDOWN_DOUBLINGS_MAX, Policy, Settings, SettingsError, milliseconds};

/// A hold whose reason has not changed is logged again after this.
pub const HOLD_LOGGED_EVERY: Duration = Duration::from_secs(60);

/// A function and what is known of its moves.
#[derive(Debug)]
struct Function {
    host: HostName,
    load: Utilization,
    failures_in_a_row: u32,
    cooldown_until: Timestamp,
    /// Its last verdict was one that only a person can end.
    given_up: bool,
}

/// The control core. Feed it with [`Controller::handle`], take what it decided with [`Controller::poll_output`], and come
/// back with [`Input::Timeout`] at [`Controller::poll_timeout`].
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    hosts: BTreeMap<HostName, Host>,
    functions: BTreeMap<VmName, Function>,
    moves: BTreeMap<MigrationId, Reallocation>,
    moves_begun: MigrationId,
    output: VecDeque<Decision>,
    /// When a hold or a due move has to be looked at again though nothing has come in.
    look_again_at: BTreeMap<HostName, Timestamp>,
}

impl Controller {
    /// A controller that knows nothing yet.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let function = |placement: &crate::Placement| Function {
            host: placement.host.clone(),
            load: placement.load,
            failures_in_a_row: 0,
            cooldown_until: Timestamp::default(),
            given_up: false,
        };
        Ok(Self {
            hosts: settings
                .hosts
                .iter()
                .map(|name| (name.clone(), Host::default()))
                .collect(),
            functions: settings
                .functions
                .iter()
                .map(|p| (p.vm.clone(), function(p)))
                .collect(),
            moves: BTreeMap::new(),
            moves_begun: 0,
            output: VecDeque::new(),
            // Every host is looked at once at the start, so that the log also says of one that never answers.
            look_again_at: settings
                .hosts
                .iter()
                .map(|name| (name.clone(), Timestamp::default()))
                .collect(),
            settings,
        })
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where a function is, as far as is known; `None` for a name that is not one.
    #[must_use]
    pub fn residence(&self, vm: &VmName) -> Option<&HostName> {
        self.functions.get(vm).map(|function| &function.host)
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Sample(sample) => self.on_sample(now, sample),
            Input::Timeout => self.on_timeout(now),
            Input::Refused { migration, reason } => {
                self.step(now, migration, |m, _| m.refused(now, reason))
            }
            Input::CopyEnded { migration, outcome } => {
                self.step(now, migration, |m, _| m.copy_ended(now, outcome))
            }
            Input::Residency {
                migration,
                target,
                source,
            } => {
                self.step(now, migration, |m, settings| {
                    m.residency(now, target, source, &settings.limits)
                });
            }
            Input::Acted { migration, failure } => {
                self.step(now, migration, |m, _| m.acted(now, failure))
            }
        }
    }

    /// What was decided, oldest first.
    pub fn poll_output(&mut self) -> Option<Decision> {
        self.output.pop_front()
    }

    /// When [`Input::Timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let moves = self.moves.values().map(Reallocation::timeout);
        moves.chain(self.look_again_at.values().copied()).min()
    }

    fn emit(&mut self, now: Timestamp, event: Event) {
        self.output.push_back(Decision::new(now, event));
    }

    fn on_sample(&mut self, now: Timestamp, sample: Sample) {
        let limits = &self.settings.limits;
        let name = sample.host.clone();
        let Some(host) = self.hosts.get_mut(&name) else {
            return;
        };
        if host.take(sample, limits) {
            let judged = self.settings.policy.judge(now, host, limits);
            host.count_due(judged.due.is_ok());
        }
        self.evaluate(now, &name);
    }

    fn on_timeout(&mut self, now: Timestamp) {
        let due: Vec<_> = self
            .moves
            .values()
            .filter(|m| m.timeout() <= now)
            .map(|m| m.id)
            .collect();
        for id in due {
            self.step(now, id, |m, settings| m.timed_out(now, &settings.limits));
        }
        let hosts: Vec<_> = self
            .look_again_at
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in hosts {
            self.evaluate(now, &name);
        }
    }

    /// Looks at one host: starts a move away from it, or says why not.
    fn evaluate(&mut self, now: Timestamp, name: &HostName) {
        self.look_again_at.remove(name);
        let Some(host) = self.hosts.get(name) else {
            return;
        };
        let judged = self.settings.policy.judge(now, host, &self.settings.limits);
        match self.decide(now, name, host, &judged) {
            Ok((vm, target, target_load)) => {
                self.start(now, (vm, name.clone()), (target, target_load), judged)
            }
            Err((reason, again_at)) => {
                let again_at = again_at.or_else(|| judged.due_at.filter(|at| *at > now));
                let stale_at = host.stale_at(&self.settings.limits).filter(|at| *at > now);
                if let Some(at) = again_at.into_iter().chain(stale_at).min() {
                    self.look_again_at.insert(name.clone(), at);
                }
                self.hold(now, name, reason, judged);
            }
        }
    }

    /// What moves and where to, or why nothing does and when that may change by itself.
    fn decide(
        &self,
        now: Timestamp,
        name: &HostName,
        host: &Host,
        judged: &Judgement,
    ) -> Result<(VmName, HostName, f64), (HoldReason, Option<Timestamp>)> {
        let hold = |reason| Err((reason, None));
        let limits = &self.settings.limits;
        if self.settings.policy == Policy::None {
            return hold(HoldReason::NeverMoves);
        }
        if let Some(open) = self.moves.values().find(|m| m.involves(name)) {
            return hold(HoldReason::Busy { migration: open.id });
        }
        let here =
            |(_, function): &(&VmName, &Function)| function.host == *name && !function.given_up;
        // The one that may move soonest, so that a function that cools down does not keep another from moving.
        let candidates = self.functions.iter().filter(here);
        let Some((vm, function)) = candidates.min_by_key(|(_, function)| function.cooldown_until)
        else {
            return hold(HoldReason::NothingToMove);
        };
        if let Some(reason) = host.unusable(now, limits) {
            // Nothing may ever come in of it: it is said again all the same.
            return Err((reason, Some(now + HOLD_LOGGED_EVERY)));
        }
        if let Err(reason) = &judged.due {
            return hold(reason.clone());
        }
        // A trend that is believed rests on several samples already; a level by itself may be a passing spike.
        let trend = judged
            .evidence
            .forecast
            .is_some_and(|forecast| forecast.trusted);
        if !trend && host.due_in_a_row() < limits.sustained_samples {
            let (samples, needed) = (host.due_in_a_row(), limits.sustained_samples);
            return hold(HoldReason::NotSustained { samples, needed });
        }
        if now < function.cooldown_until {
            let until_us = function.cooldown_until;
            return Err((HoldReason::CoolingDown { until_us }, Some(until_us)));
        }
        let busy: Vec<&HostName> = self
            .moves
            .values()
            .flat_map(|m| [&m.source, &m.target])
            .collect();
        let horizon_ms = judged.predicted_total_ms.unwrap_or(0.0);
        let (target, load) = placement::choose(
            now,
            &self.hosts,
            name,
            function.load,
            &busy,
            horizon_ms,
            limits,
        )
        .map_err(|reason| (reason, None))?;
        Ok((vm.clone(), target, load))
    }

    fn start(
        &mut self,
        now: Timestamp,
        (vm, source): (VmName, HostName),
        (target, target_load): (HostName, f64),
        judged: Judgement,
    ) {
        self.moves_begun += 1;
        let id = self.moves_begun;
        let ends = (source.clone(), target.clone());
        let reallocation = Reallocation::new(
            now,
            (id, vm.clone()),
            ends,
            self.settings.hand_over,
            &self.settings.limits,
        );
        self.moves.insert(id, reallocation);
        if let Some(host) = self.hosts.get_mut(&source) {
            host.logged = None;
        }
        self.emit(
            now,
            Event::Start {
                migration: id,
                vm,
                host: source.clone(),
                source,
                target,
                mode: self.settings.mode,
                target_load,
                predicted_total_ms: judged.predicted_total_ms,
                evidence: judged.evidence,
            },
        );
    }

    fn hold(&mut self, now: Timestamp, name: &HostName, reason: HoldReason, judged: Judgement) {
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        let same = |(logged, at): &(HoldReason, Timestamp)| {
            std::mem::discriminant(logged) == std::mem::discriminant(&reason)
                && now.since(*at) < HOLD_LOGGED_EVERY
        };
        if host.logged.as_ref().is_some_and(same) {
            return;
        }
        host.logged = Some((reason.clone(), now));
        self.emit(
            now,
            Event::Hold {
                host: name.clone(),
                reason,
                evidence: judged.evidence,
            },
        );
    }

    fn step(
        &mut self,
        now: Timestamp,
        id: MigrationId,
        input: impl FnOnce(&mut Reallocation, &Settings) -> Step,
    ) {
        let Some(reallocation) = self.moves.get_mut(&id) else {
            return;
        };
        match input(reallocation, &self.settings) {
            Step::Nothing => {}
            Step::Do(event) => self.emit(now, *event),
            Step::Over(verdict) => self.settle(now, id, verdict),
        }
    }

    fn settle(&mut self, now: Timestamp, id: MigrationId, verdict: Verdict) {
        let Some(reallocation) = self.moves.remove(&id) else {
            return;
        };
        let bad = !matches!(verdict, Verdict::Moved | Verdict::Stayed);
        if bad {
            self.emit(now, reallocation.alarm(verdict));
        }
        let mut cooldown_until_us = now;
        if let Some(function) = self.functions.get_mut(&reallocation.vm) {
            function.given_up = bad;
            if verdict == Verdict::Moved {
                function.host = reallocation.target.clone();
                function.failures_in_a_row = 0;
            } else {
                function.failures_in_a_row =
                    (function.failures_in_a_row + 1).min(COOLDOWN_DOUBLINGS_MAX);
            }
            let factor = f64::from(1_u32 << function.failures_in_a_row);
            cooldown_until_us = now + milliseconds(self.settings.limits.cooldown_ms * factor);
            function.cooldown_until = cooldown_until_us;
        }
        if verdict != Verdict::Stayed {
            for end in [&reallocation.source, &reallocation.target] {
                if let Some(host) = self.hosts.get_mut(end) {
                    host.moved(now);
                }
            }
        }
        let (target, source) = reallocation.seen();
        let failure = reallocation.failure().map(str::to_owned);
        self.emit(
            now,
            Event::Settled {
                migration: id,
                verdict,
                target,
                source,
                failure,
                cooldown_until_us,
            },
        );
        for end in [reallocation.source.clone(), reallocation.target.clone()] {
            self.evaluate(now, &end);
        }
    }
}

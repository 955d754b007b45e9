//! All of it together: the state of every host, function and move.
//!
//! ```text
//!   Sample ──► Host ──► Policy (due?) ──► Placement (which, where?) ──► Start ──► Reallocation ──► Settled
//!                 └────────────┴───────────────┴──► Hold, with its reason and figures
//! ```
//!
//! What is decided about one host is in [`crate::decide`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use record::decision::{Cause, HoldReason, MigrationId};
use record::{Decision, Doubt, Event, HostName, Reading, Timestamp, Utilization, Verdict, VmName};

use crate::agenda::Agenda;
use crate::decide::News;
use crate::function::Function;
use crate::host::{Host, HostId};
use crate::input::Input;
use crate::placement::Choice;
use crate::reallocation::{Reallocation, Step};
use crate::settings::{
    COOLDOWN_DOUBLINGS_MAX, Placement, Settings, SettingsError, figures_of_moves, milliseconds,
};

/// A hold whose reason has not changed is logged again after this.
pub const HOLD_LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Copying that takes so many times what was predicted is given up.
const GIVE_UP_AFTER_PREDICTIONS: u32 = 4;
/// It is not given up sooner than this for being late: what was learned from moves of a moment says little about a busy hour.
const GIVE_UP_AFTER_MIN: Duration = Duration::from_secs(10);

/// The control core. Feed it with [`Controller::handle`], take what it decided with [`Controller::poll_output`], and come
/// back with [`Input::Timeout`] at [`Controller::poll_timeout`].
#[derive(Debug)]
pub struct Controller {
    pub(crate) settings: Settings,
    pub(crate) hosts: Vec<Host>,
    host_ids: HashMap<HostName, HostId>,
    pub(crate) functions: Vec<Function>,
    function_ids: HashMap<VmName, usize>,
    /// Functions that run on one host together, by the name of their group.
    pub(crate) groups: HashMap<String, Vec<usize>>,
    pub(crate) moves: BTreeMap<MigrationId, Open>,
    moves_begun: MigrationId,
    begun: bool,
    /// Room for forecasts to work in.
    points: Vec<(f64, f64)>,
    output: VecDeque<Decision>,
    /// When a hold or a due move has to be looked at again though nothing has come in.
    pub(crate) agenda: Agenda,
    /// Hosts that only wait for another move to be over.
    pub(crate) waiting: BTreeSet<HostId>,
    /// A person took the right to begin moves away.
    pub(crate) disarmed: bool,
    /// A move that a person has just agreed to.
    pub(crate) approved: Option<(usize, HostId)>,
}

/// A move that is not over.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) reallocation: Reallocation,
    pub(crate) function: usize,
    pub(crate) source: HostId,
    pub(crate) target: HostId,
}

impl Controller {
    /// A controller that knows nothing yet.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let hosts: Vec<Host> = settings.hosts.iter().cloned().map(Host::new).collect();
        let host_ids: HashMap<HostName, HostId> = settings
            .hosts
            .iter()
            .cloned()
            .zip((0..).map(HostId))
            .collect();
        let functions = settings.functions.iter();
        let functions = functions.map(|placement| function(placement, &host_ids));
        let functions = functions.collect::<Result<Vec<_>, _>>()?;
        let mut controller = Self {
            // Every host is looked at once at the start, so that the log also says of one that never answers.
            agenda: Agenda::new(hosts.len()),
            hosts,
            host_ids,
            functions: Vec::new(),
            function_ids: HashMap::new(),
            groups: HashMap::new(),
            moves: BTreeMap::new(),
            moves_begun: settings.moves_begun,
            begun: false,
            points: Vec::new(),
            output: VecDeque::new(),
            waiting: BTreeSet::new(),
            disarmed: false,
            approved: None,
            settings,
        };
        for function in functions {
            controller.add(function);
        }
        for host in (0..).map(HostId).take(controller.hosts.len()) {
            controller.learn_functions(host);
        }
        Ok(controller)
    }

    /// Its number is higher than those of all before it.
    fn add(&mut self, function: Function) {
        let number = self.functions.len();
        let home = &mut self.hosts[function.host.0 as usize];
        home.functions.push(number);
        self.function_ids.insert(function.told.vm.clone(), number);
        if let Some(group) = &function.told.together {
            self.groups.entry(group.clone()).or_default().push(number);
        }
        self.functions.push(function);
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where a function is, as far as is known; `None` for a name that is not one.
    #[must_use]
    pub fn residence(&self, vm: &VmName) -> Option<&HostName> {
        let function = self.functions.get(*self.function_ids.get(vm)?)?;
        Some(&self.hosts[function.host.0 as usize].name)
    }

    /// What a later controller has to be told of a function; `None` for a name that is not one.
    #[must_use]
    pub fn known(&self, vm: &VmName) -> Option<Input> {
        let function = self.functions.get(self.function_id(vm)?)?;
        Some(Input::Known {
            vm: vm.clone(),
            host: self.hosts[function.host.0 as usize].name.clone(),
            cooldown_until_us: function.cooldown_until,
            failures_in_a_row: function.failures_in_a_row,
            given_up: function.given_up,
            doubt: function.doubt.clone(),
        })
    }

    /// Why it is not clear where a function runs; `None` where it is, and for a name that is not one.
    #[must_use]
    pub fn doubt(&self, vm: &VmName) -> Option<&Doubt> {
        self.functions.get(self.function_id(vm)?)?.doubt.as_ref()
    }

    /// Since when no function has been on its way from or to a host; `None` while one is, and for a name that is not one.
    #[must_use]
    pub fn rests_since(&self, name: &HostName) -> Option<Timestamp> {
        let id = self.host_id(name)?;
        let at_rest = self.involved(id).is_none();
        at_rest.then(|| self.hosts[id.0 as usize].rests_since)
    }

    /// The number of a host, for [`Controller::sample`]; `None` for a name that is not one.
    #[must_use]
    pub fn host_id(&self, name: &HostName) -> Option<HostId> {
        self.host_ids.get(name).copied()
    }

    /// Takes what happened. What names a host, a function or a move that the controller does not have is not for it.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.begin_at(now);
        match input {
            Input::Sample(sample) => {
                if let Some(host) = self.host_id(&sample.host) {
                    self.sample(now, host, sample.reading());
                }
            }
            Input::Timeout => self.on_timeout(now),
            Input::Refused { migration, reason } => {
                self.step(now, migration, |m, _| m.refused(now, reason));
            }
            Input::CopyEnded { migration, outcome } => {
                self.step(now, migration, |m, _| m.copy_ended(now, outcome));
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
                self.step(now, migration, |m, _| m.acted(now, failure));
            }
            Input::Drain { host } => self.drain(now, &host, true),
            Input::Undrain { host } => self.drain(now, &host, false),
            Input::Disarm => self.arm(now, true),
            Input::Arm => self.arm(now, false),
            Input::Approve { vm, target } => self.approve(now, &vm, &target),
            Input::Order { vm, target } => self.order(now, &vm, &target),
            Input::Release { vm } => self.release(now, &vm),
            Input::Seen { vm, host } => self.seen(now, &vm, &host),
            Input::Looked { vm, doubt } => self.looked(now, &vm, doubt),
            Input::Load {
                vm,
                load,
                measured_at_us,
            } => self.measured(now, &vm, load, measured_at_us),
            Input::Learned {
                vm,
                migration_ms,
                gap_ms,
            } => self.learn(&vm, migration_ms, gap_ms),
            Input::Knee { host, knee } => self.learn_knee(now, &host, knee),
            Input::Found { function } => self.found(&function),
            Input::Known {
                vm,
                host,
                cooldown_until_us,
                failures_in_a_row,
                given_up,
                doubt,
            } => {
                if let Some(function) = self.function_id(&vm) {
                    let longest = self.cooldown(COOLDOWN_DOUBLINGS_MAX);
                    let known = &mut self.functions[function];
                    // No cool-down lasts longer: the clock may have been set back since.
                    known.cooldown_until = cooldown_until_us.min(now + longest);
                    known.failures_in_a_row = failures_in_a_row.min(COOLDOWN_DOUBLINGS_MAX);
                    known.given_up = given_up;
                    known.doubt = doubt;
                    // A host that is gone from the settings says nothing of where it is; that a person has to look still holds.
                    let at = self.host_id(&host).unwrap_or(self.functions[function].host);
                    self.relocate(function, at);
                }
            }
            Input::Resumed {
                migration,
                vm,
                source,
                target,
            } => self.resume(now, migration, &vm, (&source, &target)),
        }
    }

    /// Takes an agent's reading of a host: [`Input::Sample`] for one who has the host's number.
    pub fn sample(&mut self, now: Timestamp, id: HostId, reading: Reading) {
        self.begin_at(now);
        let Some(host) = self.hosts.get_mut(id.0 as usize) else {
            return;
        };
        let known = host.unusable(now, &self.settings.limits).is_none();
        let news = if host.take(reading, &self.settings.limits, &mut self.points) {
            News::Sample
        } else {
            News::Other
        };
        self.evaluate(now, id, news);
        if !known && news == News::Sample {
            self.wake(now);
        }
    }

    /// A controller that goes on with the work of an earlier one does not know when functions last came and left: what was
    /// measured before it began is not believed.
    fn begin_at(&mut self, now: Timestamp) {
        if !self.begun {
            self.begun = true;
            if self.settings.moves_begun > 0 {
                self.hosts.iter_mut().for_each(|host| host.moved(now));
            }
        }
    }

    /// Looks at all hosts that wait for others.
    fn wake(&mut self, now: Timestamp) {
        for host in std::mem::take(&mut self.waiting) {
            self.evaluate(now, host, News::Other);
        }
    }

    /// What was decided, oldest first.
    pub fn poll_output(&mut self) -> Option<Decision> {
        self.output.pop_front()
    }

    /// When [`Input::Timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let moves = self.moves.values().map(|open| open.reallocation.timeout());
        moves.chain(self.agenda.next()).min()
    }

    pub(crate) fn emit(&mut self, now: Timestamp, event: Event) {
        self.output.push_back(Decision::new(now, event));
    }

    fn on_timeout(&mut self, now: Timestamp) {
        let due: Vec<_> = self
            .moves
            .iter()
            .filter(|(_, open)| open.reallocation.timeout() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.step(now, id, |m, settings| m.timed_out(now, &settings.limits));
        }
        // Only those whose instant has come by now: what a look sets anew comes at its own instant.
        let hosts: Vec<HostId> = std::iter::from_fn(|| self.agenda.take_due(now)).collect();
        for host in hosts {
            self.evaluate(now, host, News::Other);
        }
    }

    fn drain(&mut self, now: Timestamp, host: &HostName, draining: bool) {
        let Some(id) = self.host_id(host) else {
            return;
        };
        self.hosts[id.0 as usize].draining = draining;
        self.evaluate(now, id, News::Other);
    }

    pub(crate) fn function_id(&self, vm: &VmName) -> Option<usize> {
        self.function_ids.get(vm).copied()
    }

    fn arm(&mut self, now: Timestamp, disarmed: bool) {
        self.disarmed = disarmed;
        for host in (0..).map(HostId).take(self.hosts.len()) {
            self.evaluate(now, host, News::Other);
        }
    }

    fn release(&mut self, now: Timestamp, vm: &VmName) {
        if let Some(function) = self.function_id(vm) {
            self.functions[function].given_up = false;
            let host = self.functions[function].host;
            self.learn_functions(host);
            self.evaluate(now, host, News::Other);
        }
    }

    /// One that is known already is no news, and with figures that are none it is not taken in. Nothing is decided of it yet: what an
    /// earlier controller knew of it may come next.
    fn found(&mut self, placement: &Placement) {
        if self.function_id(&placement.vm).is_some() || placement.check().is_err() {
            return;
        }
        let Ok(function) = function(placement, &self.host_ids) else {
            return;
        };
        let host = function.host;
        self.add(function);
        self.learn_functions(host);
    }

    /// What is no length of time is not learned.
    fn learn(&mut self, vm: &VmName, migration_ms: f64, gap_ms: f64) {
        let Some(function) = self.function_id(vm) else {
            return;
        };
        if figures_of_moves(migration_ms, gap_ms).is_ok() {
            let told = &mut self.functions[function].told;
            told.migration_ms = migration_ms;
            told.gap_ms = gap_ms;
            self.learn_functions(self.functions[function].host);
        }
    }

    /// Its samples are judged by the new knee at once: viewers may see late pictures at this moment.
    fn learn_knee(&mut self, now: Timestamp, host: &HostName, knee: Option<Utilization>) {
        let Some(id) = self.host_id(host) else {
            return;
        };
        let host = &mut self.hosts[id.0 as usize];
        host.knee = knee;
        if let Some(limit) = self.settings.policy.judge(now, host).limit {
            host.count_again(limit);
            self.evaluate(now, id, News::Other);
        }
    }

    fn approve(&mut self, now: Timestamp, vm: &VmName, target: &HostName) {
        let (Some(function), Some(to)) = (self.function_id(vm), self.host_id(target)) else {
            return;
        };
        let source = self.functions[function].host;
        let before = self.moves_begun;
        self.approved = Some((function, to));
        self.evaluate(now, source, News::Other);
        self.approved = None;
        let mut begun = self.moves.range(before + 1..);
        if !begun.any(|(_, open)| open.function == function && open.target == to) {
            let held = self.hosts[source.0 as usize].holding.clone();
            self.decline(now, vm, target, held.unwrap_or(HoldReason::NotDue));
        }
    }

    fn decline(&mut self, now: Timestamp, vm: &VmName, target: &HostName, why: HoldReason) {
        let (vm, target) = (vm.clone(), target.clone());
        self.emit(now, Event::Declined { vm, target, why });
    }

    fn order(&mut self, now: Timestamp, vm: &VmName, target: &HostName) {
        let (Some(function), Some(to)) = (self.function_id(vm), self.host_id(target)) else {
            return;
        };
        let source = self.functions[function].host;
        match self.ordered(now, function, to) {
            Ok(choice) => {
                let host = &self.hosts[source.0 as usize];
                let judged = self.settings.policy.judge(now, host);
                self.start(now, source, Cause::Order, &choice, &judged);
            }
            Err(reason) => self.decline(now, vm, target, reason),
        }
    }

    /// Opens a move and writes down who takes part in it.
    pub(crate) fn open(
        &mut self,
        now: Timestamp,
        reallocation: Reallocation,
        function: usize,
        ends: (HostId, HostId),
    ) {
        let (source, target) = ends;
        let load = self.functions[function].load(now).share();
        self.hosts[source.0 as usize].source = true;
        self.hosts[target.0 as usize]
            .arriving
            .push((function, load));
        self.moves.insert(
            reallocation.id,
            Open {
                reallocation,
                function,
                source,
                target,
            },
        );
    }

    /// How long a move of a function may copy. One that takes several times as long as predicted (a guest that writes faster than is
    /// copied) only burdens the source that it was to relieve.
    fn give_up_after(&self, function: usize) -> Duration {
        let predicted = milliseconds(self.functions[function].told.migration_ms);
        let longest = milliseconds(self.settings.limits.migration_ms_max);
        (predicted * GIVE_UP_AFTER_PREDICTIONS)
            .max(GIVE_UP_AFTER_MIN)
            .min(longest)
    }

    /// A new move that was chosen.
    pub(crate) fn begin(&mut self, now: Timestamp, source: HostId, choice: &Choice) -> MigrationId {
        self.moves_begun += 1;
        let id = self.moves_begun;
        let reallocation = Reallocation::new(
            now,
            (id, self.functions[choice.function].told.vm.clone()),
            self.settings.hand_over,
            self.give_up_after(choice.function),
        );
        self.open(now, reallocation, choice.function, (source, choice.target));
        id
    }

    /// A move that an earlier controller began: where its function is has to be seen before anything else.
    fn resume(
        &mut self,
        now: Timestamp,
        id: MigrationId,
        vm: &VmName,
        (source, target): (&HostName, &HostName),
    ) {
        let found = (
            self.function_id(vm),
            self.host_id(source),
            self.host_id(target),
        );
        let (Some(function), Some(source_id), Some(target_id)) = found else {
            return;
        };
        let mut reallocation = Reallocation::new(
            now,
            (id, vm.clone()),
            self.settings.hand_over,
            self.give_up_after(function),
        );
        let step = reallocation.resumed(now);
        // Until it is seen elsewhere it is taken to be where it was.
        self.relocate(function, source_id);
        self.open(now, reallocation, function, (source_id, target_id));
        self.take(now, id, step);
    }

    fn step(
        &mut self,
        now: Timestamp,
        id: MigrationId,
        input: impl FnOnce(&mut Reallocation, &Settings) -> Step,
    ) {
        if let Some(open) = self.moves.get_mut(&id) {
            let step = input(&mut open.reallocation, &self.settings);
            self.take(now, id, step);
        }
    }

    fn take(&mut self, now: Timestamp, id: MigrationId, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Do(event) => self.emit(now, *event),
            Step::Over(verdict) => self.settle(now, id, verdict),
        }
    }

    fn settle(&mut self, now: Timestamp, id: MigrationId, verdict: Verdict) {
        let Some(open) = self.moves.remove(&id) else {
            return;
        };
        let (source, target) = (open.source, open.target);
        self.hosts[source.0 as usize].source = false;
        self.hosts[target.0 as usize]
            .arriving
            .retain(|(function, _)| *function != open.function);
        let bad = !matches!(verdict, Verdict::Moved | Verdict::Stayed);
        if bad {
            self.emit(now, open.reallocation.alarm(verdict));
        }
        if verdict == Verdict::Moved {
            self.relocate(open.function, target);
        }
        let failed = (verdict != Verdict::Moved).then_some(target);
        self.functions[open.function].failed_target = failed;
        let cooldown_until_us = self.cool_down(now, open.function, verdict);
        self.learn_functions(self.functions[open.function].host);
        for end in [source, target] {
            let end = &mut self.hosts[end.0 as usize];
            if verdict == Verdict::Stayed {
                end.rests_since = now;
            } else {
                end.moved(now);
            }
        }
        let (seen_target, seen_source) = open.reallocation.seen();
        let failure = open.reallocation.failure().map(str::to_owned);
        self.emit(
            now,
            Event::Settled {
                migration: id,
                verdict,
                target: seen_target,
                source: seen_source,
                failure,
                cooldown_until_us,
            },
        );
        self.waiting.extend([source, target]);
        self.wake(now);
    }

    /// Notes how a function's move ended, and says until when it is not moved again.
    fn cool_down(&mut self, now: Timestamp, number: usize, verdict: Verdict) -> Timestamp {
        let function = &mut self.functions[number];
        function.given_up = !matches!(verdict, Verdict::Moved | Verdict::Stayed);
        if verdict == Verdict::Moved {
            function.failures_in_a_row = 0;
            function.moved_at = Some(now);
        } else {
            function.failures_in_a_row =
                (function.failures_in_a_row + 1).min(COOLDOWN_DOUBLINGS_MAX);
        }
        let until = now + self.cooldown(self.functions[number].failures_in_a_row);
        self.functions[number].cooldown_until = until;
        until
    }

    /// How long a function is left alone after so many failures in a row.
    fn cooldown(&self, failures: u32) -> Duration {
        milliseconds(self.settings.limits.cooldown_ms * f64::from(1_u32 << failures))
    }

    /// Writes a function down at a host.
    pub(crate) fn relocate(&mut self, function: usize, to: HostId) {
        let moving = &mut self.functions[function];
        let from = std::mem::replace(&mut moving.host, to);
        if from != to {
            // Another host may have other processors.
            moving.measured = None;
        }
        self.hosts[from.0 as usize]
            .functions
            .retain(|other| *other != function);
        let there = &mut self.hosts[to.0 as usize].functions;
        let place = there.partition_point(|other| *other < function);
        there.insert(place, function);
        for host in [from, to] {
            self.learn_functions(host);
        }
    }

    /// Notes of a host what follows from its functions: whether any may leave, and how long that takes at most.
    pub(crate) fn learn_functions(&mut self, id: HostId) {
        let any_free = self.free(&self.hosts[id.0 as usize]).next().is_some();
        let host = &mut self.hosts[id.0 as usize];
        host.any_free = any_free;
        let times = host
            .functions
            .iter()
            .map(|f| &self.functions[*f].told.migration_ms);
        host.migration = milliseconds(times.fold(0.0, |longest, ms| ms.max(longest)));
    }
}

/// A function with its hosts as numbers.
fn function(
    placement: &Placement,
    ids: &HashMap<HostName, HostId>,
) -> Result<Function, SettingsError> {
    let id = |what, host: &HostName| {
        ids.get(host)
            .copied()
            .ok_or_else(|| SettingsError::UnknownHost {
                vm: placement.vm.clone(),
                what,
                host: host.clone(),
            })
    };
    let forbidden = placement.forbidden.iter().map(|host| id("forbidden", host));
    let mut forbidden = forbidden.collect::<Result<Vec<_>, _>>()?;
    forbidden.sort_unstable();
    let paths = placement.paths();
    let paths = paths.map(|(host, ms)| Ok((id("path_ms", host)?, ms)));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    paths.sort_by_key(|path| path.0);
    let home = id("host", &placement.host)?;
    Ok(Function::new(placement.clone(), home, forbidden, paths))
}

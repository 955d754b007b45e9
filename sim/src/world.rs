//! What the machines are taken to do: load, processes of virtual machines, copying.
//!
//! A host's *demand* is what its background and the functions on it ask for; its *load* is that, at most 1. Both are taken to
//! stay the same within a cell of the world's grid ([`Physics::cell`]); between two cells and at every change of what runs where
//! they are summed up exactly.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::PictureAge;
use record::Slowdown;
use record::decision::{End, MigrationId};
use record::{Reading, Residency, Timestamp, Utilization};

use crate::demand::Demand;
use crate::exposure::Exposure;

/// Digits of a mean that are kept: those that counters of a kernel give.
const DIGITS: f64 = 1e6;
/// How often the rate of a copy is looked at again: load changes it.
const RATED_EVERY: Duration = Duration::from_secs(1);

/// Laws of a world.
#[derive(Clone, Debug)]
pub struct Physics {
    /// Load and demand stay the same for so long.
    pub cell: Duration,
    /// Load at which the delay explodes.
    pub knee: f64,
    /// Picture age by load.
    pub picture_age: PictureAge,
    /// Picture age allowed.
    pub budget_ms: f64,
    /// What copying adds to the demand at the source.
    pub copying_extra: f64,
    /// How much longer copying takes by the load of the source.
    pub slowdown: Slowdown,
    /// And by that of the target.
    pub slowdown_by_target: Slowdown,
}

/// A host as it is told to a world.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// What is asked of it by what cannot be moved; time in seconds of the world.
    pub demand: Arc<dyn Demand>,
}

/// A function as it is told to a world.
#[derive(Clone, Debug)]
pub struct FunctionPlan {
    /// Where it runs at the start.
    pub host: usize,
    /// What it asks of its host.
    pub load: f64,
    /// Memory of its virtual machine.
    pub memory_mib: u32,
    /// Seconds that copying it takes at the full rate of the link; `None` when it never ends.
    pub copying_s: Option<f64>,
    /// What a move takes besides.
    pub fixed: Duration,
    /// How many people see its video.
    pub viewers: u32,
    /// Delay of the network by a host, where it differs.
    pub path_ms: Vec<(usize, f64)>,
}

/// A process of a virtual machine on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// The guest runs.
    Running,
    /// A whole guest, held.
    Paused,
    /// Waits for the rest of the guest's memory.
    Incoming,
}

#[derive(Debug)]
struct HostState {
    demand: Arc<dyn Demand>,
    /// The last cell that was asked for, and what is asked of the host there.
    background: Cell<(Option<u64>, f64)>,
    /// What runs here and copying ask for.
    added: f64,
    running: Vec<usize>,
    /// Everything before is summed up.
    summed_to: Timestamp,
    /// Load summed up since the agent's last refresh, in microseconds.
    busy_us: f64,
    refreshed_at: Timestamp,
    over_knee: bool,
}

#[derive(Debug)]
struct FunctionState {
    plan: FunctionPlan,
    /// Since when it runs nowhere.
    dark_since: Option<Timestamp>,
    processes: BTreeMap<usize, Process>,
}

/// Memory on its way.
#[derive(Debug)]
struct Transfer {
    function: usize,
    source: usize,
    target: usize,
    /// Seconds at full rate that are left; never done when infinite.
    left_s: f64,
    /// Share of the full rate.
    rate: f64,
    rated_at: Timestamp,
    /// It breaks when so much is left.
    breaks_at_s: Option<f64>,
}

/// What becomes of the next copy of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done.
    Done,
    /// It breaks when half is copied.
    Breaks,
    /// It is never done.
    Stalls,
}

/// What a look at a copy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is none (any more).
    None,
    /// Look again then.
    Until(Timestamp),
    /// All is copied.
    Done,
    /// It broke.
    Broke,
}

/// The machines.
#[derive(Debug)]
pub(crate) struct World {
    physics: Physics,
    cell_us: u64,
    /// The most that a path adds to any function's picture age.
    longest_path_ms: f64,
    hosts: Vec<HostState>,
    functions: Vec<FunctionState>,
    copies: BTreeMap<MigrationId, Transfer>,
    pub(crate) exposure: Exposure,
}

impl World {
    pub(crate) fn new(physics: Physics, hosts: &[HostPlan], functions: Vec<FunctionPlan>) -> Self {
        let host = |plan: &HostPlan| HostState {
            demand: Arc::clone(&plan.demand),
            background: Cell::new((None, 0.0)),
            added: 0.0,
            running: Vec::new(),
            summed_to: Timestamp(0),
            busy_us: 0.0,
            refreshed_at: Timestamp(0),
            over_knee: false,
        };
        let mut hosts: Vec<HostState> = hosts.iter().map(host).collect();
        for (number, plan) in functions.iter().enumerate() {
            hosts[plan.host].running.push(number);
            hosts[plan.host].added += plan.load;
        }
        let exposure = Exposure::new(functions.len());
        let paths = functions.iter().flat_map(|plan| &plan.path_ms);
        let longest_path_ms = paths.map(|(_, ms)| *ms).fold(0.0, f64::max);
        let state = |plan: FunctionPlan| FunctionState {
            processes: BTreeMap::from([(plan.host, Process::Running)]),
            dark_since: None,
            plan,
        };
        Self {
            cell_us: physics.cell.as_micros() as u64,
            longest_path_ms,
            physics,
            hosts,
            functions: functions.into_iter().map(state).collect(),
            copies: BTreeMap::new(),
            exposure,
        }
    }

    pub(crate) const fn physics(&self) -> &Physics {
        &self.physics
    }

    pub(crate) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn function(&self, function: usize) -> &FunctionPlan {
        &self.functions[function].plan
    }

    /// Where a function runs. More than one host is what must never be.
    pub(crate) fn runners(&self, function: usize) -> impl Iterator<Item = usize> {
        let processes = self.functions[function].processes.iter();
        processes
            .filter(|(_, process)| **process == Process::Running)
            .map(|(host, _)| *host)
    }

    /// Whether any whole guest of a function is left, held or running.
    pub(crate) fn exists(&self, function: usize) -> bool {
        let mut processes = self.functions[function].processes.values();
        processes.any(|process| *process != Process::Incoming)
    }

    /// Demand on a host now, and of what on it cannot be moved.
    pub(crate) fn demand(&self, host: usize, now: Timestamp) -> (f64, f64) {
        let host = &self.hosts[host];
        let cell = now.0 / self.cell_us;
        // What is asked of it stays the same within a cell, and is asked for again and again.
        let (known, mut background) = host.background.get();
        if known != Some(cell) {
            let middle_s = (cell * self.cell_us + self.cell_us / 2) as f64 / 1e6;
            background = host.demand.at(middle_s);
            host.background.set((Some(cell), background));
        }
        (background + host.added, background)
    }

    /// Sums a host up to `now`.
    pub(crate) fn sum_up(&mut self, host: usize, now: Timestamp) {
        let cell = self.cell_us;
        while self.hosts[host].summed_to < now {
            let from = self.hosts[host].summed_to;
            let to = Timestamp(((from.0 / cell + 1) * cell).min(now.0));
            let (demand, _) = self.demand(host, from);
            let load = demand.min(1.0);
            let over = demand >= self.physics.knee;
            let state = &mut self.hosts[host];
            state.busy_us += load * (to.0 - from.0) as f64;
            state.summed_to = to;
            let changed = over != state.over_knee;
            state.over_knee = over;
            if state.running.is_empty() {
                continue;
            }
            if changed {
                for function in &self.hosts[host].running {
                    self.exposure.set(*function, over, from);
                }
            }
            self.see(host, load, to.since(from));
        }
    }

    /// What viewers of the functions on a host see at a load, for a time.
    fn see(&mut self, host: usize, load: f64, time: Duration) {
        let age_ms = self.physics.picture_age.at(load);
        if age_ms + self.longest_path_ms <= self.physics.budget_ms {
            return;
        }
        for function in &self.hosts[host].running {
            let plan = &self.functions[*function].plan;
            let path = plan.path_ms.iter().find(|(by, _)| *by == host);
            if age_ms + path.map_or(0.0, |(_, ms)| *ms) > self.physics.budget_ms {
                let viewers = f64::from(plan.viewers);
                self.exposure.over_budget_s += viewers * time.as_secs_f64();
            }
        }
    }

    /// A function runs again: while it did not, the picture of its viewers grew older by a second each second.
    fn light(&mut self, function: usize, now: Timestamp) {
        let state = &mut self.functions[function];
        let Some(since) = state.dark_since.take() else {
            return;
        };
        let physics = &self.physics;
        let young_ms = physics.budget_ms - physics.picture_age.at(0.0);
        let over_s = now.seconds_after(since) - young_ms / 1e3;
        self.exposure.over_budget_s += f64::from(state.plan.viewers) * over_s.max(0.0);
    }

    /// What the agent of a host says at a refresh.
    pub(crate) fn refresh(&mut self, host: usize, now: Timestamp) -> Reading {
        self.sum_up(host, now);
        let state = &mut self.hosts[host];
        let interval = now.since(state.refreshed_at);
        let mean = state.busy_us / (interval.as_micros() as f64).max(1.0);
        state.busy_us = 0.0;
        state.refreshed_at = now;
        Reading {
            utilization: Utilization::clamped((mean * DIGITS).round() / DIGITS),
            measured_at_us: now,
            interval_ms: interval.as_micros() as f64 / 1e3,
        }
    }

    fn set(&mut self, function: usize, host: usize, process: Option<Process>, now: Timestamp) {
        self.sum_up(host, now);
        let state = &mut self.functions[function];
        let before = match process {
            Some(process) => state.processes.insert(host, process),
            None => state.processes.remove(&host),
        };
        let load = state.plan.load;
        let (ran, runs) = (
            before == Some(Process::Running),
            process == Some(Process::Running),
        );
        let there = &mut self.hosts[host];
        if ran && !runs {
            there.running.retain(|other| *other != function);
            there.added -= load;
        } else if runs && !ran {
            there.running.push(function);
            there.added += load;
        }
        if ran != runs {
            // While it runs nowhere its viewers see nothing new: that is as bad as a full host.
            let over = there.over_knee;
            let somewhere = self.runners(function).next().is_some();
            self.exposure
                .set(function, !somewhere || (runs && over), now);
            if somewhere {
                self.light(function, now);
            } else {
                self.functions[function].dark_since.get_or_insert(now);
            }
        }
    }

    /// Begins to copy to a held target.
    pub(crate) fn begin(
        &mut self,
        migration: MigrationId,
        function: usize,
        (source, target): (usize, usize),
        fate: Fate,
        now: Timestamp,
    ) {
        self.set(function, target, Some(Process::Incoming), now);
        self.sum_up(source, now);
        self.hosts[source].added += self.physics.copying_extra;
        let plan = &self.functions[function].plan;
        let whole_s = match (fate, plan.copying_s) {
            (Fate::Stalls, _) | (_, None) => f64::INFINITY,
            (_, Some(copying_s)) => copying_s + plan.fixed.as_secs_f64(),
        };
        let copy = Transfer {
            function,
            source,
            target,
            left_s: whole_s,
            rate: 0.0,
            rated_at: now,
            breaks_at_s: (fate == Fate::Breaks).then_some(whole_s / 2.0),
        };
        self.copies.insert(migration, copy);
        self.rate_all(now);
    }

    /// Rates all copies anew: by the load of both ends, and by how many of them use a host's link.
    fn rate_all(&mut self, now: Timestamp) {
        let ends: Vec<(usize, usize)> =
            self.copies.values().map(|c| (c.source, c.target)).collect();
        let on_link = |host: usize| {
            ends.iter()
                .filter(|(s, t)| *s == host || *t == host)
                .count()
        };
        let rates: Vec<f64> = ends
            .iter()
            .map(|&(source, target)| {
                let shared = on_link(source).max(on_link(target)).max(1);
                let load = |host| self.demand(host, now).0.min(1.0);
                let physics = &self.physics;
                let slower =
                    physics.slowdown.at(load(source)) * physics.slowdown_by_target.at(load(target));
                1.0 / (shared as f64 * slower)
            })
            .collect();
        for (copy, rate) in self.copies.values_mut().zip(rates) {
            copy.left_s -= copy.rate * now.since(copy.rated_at).as_secs_f64();
            copy.rated_at = now;
            copy.rate = rate;
        }
    }

    /// How far a copy has come, with all rated anew.
    pub(crate) fn progress(&mut self, migration: MigrationId, now: Timestamp) -> Progress {
        if !self.copies.contains_key(&migration) {
            return Progress::None;
        }
        self.rate_all(now);
        let Some(copy) = self.copies.get(&migration) else {
            return Progress::None;
        };
        let end_s = copy.breaks_at_s.unwrap_or(0.0);
        // A microsecond is the least that time can be told by.
        let left_s = (copy.left_s - end_s) / copy.rate;
        if left_s > 1e-6 {
            let next = Duration::from_secs_f64(left_s.min(RATED_EVERY.as_secs_f64()));
            return Progress::Until(now + next.max(Duration::from_micros(1)));
        }
        if copy.breaks_at_s.is_some() {
            self.end_copy(migration, now, None);
            return Progress::Broke;
        }
        self.end_copy(migration, now, Some(Process::Paused));
        Progress::Done
    }

    /// Ends a copy. `Some`: all is copied, the source is stopped, and that is what the target is now. `None`: it is given up, the
    /// target's process ends, and the source runs on.
    fn end_copy(&mut self, migration: MigrationId, now: Timestamp, target: Option<Process>) {
        let Some(copy) = self.copies.remove(&migration) else {
            return;
        };
        self.sum_up(copy.source, now);
        self.hosts[copy.source].added -= self.physics.copying_extra;
        if target.is_some()
            && self.functions[copy.function]
                .processes
                .contains_key(&copy.source)
        {
            self.set(copy.function, copy.source, Some(Process::Paused), now);
        }
        self.set(copy.function, copy.target, target, now);
        self.rate_all(now);
    }

    /// Gives a copy up, if there is one; `false` when there was none.
    pub(crate) fn cancel(&mut self, migration: MigrationId, now: Timestamp) -> bool {
        let copying = self.copies.contains_key(&migration);
        self.end_copy(migration, now, None);
        copying
    }

    /// Lets a held guest run.
    pub(crate) fn run(
        &mut self,
        function: usize,
        host: usize,
        now: Timestamp,
    ) -> Result<(), String> {
        match self.functions[function].processes.get(&host) {
            Some(Process::Paused) => {
                self.set(function, host, Some(Process::Running), now);
                Ok(())
            }
            Some(Process::Running) => Ok(()),
            Some(Process::Incoming) => Err("the guest is not all there".into()),
            None => Err("there is no such process".into()),
        }
    }

    /// Ends a process, whatever it does; a copy to or from it breaks.
    pub(crate) fn kill(
        &mut self,
        function: usize,
        host: usize,
        now: Timestamp,
    ) -> Option<MigrationId> {
        let broken = self.copies.iter().find(|(_, copy)| {
            copy.function == function && (copy.source == host || copy.target == host)
        });
        let broken = broken.map(|(migration, _)| *migration);
        if let Some(migration) = broken {
            self.end_copy(migration, now, None);
        }
        self.set(function, host, None, now);
        broken
    }

    /// What a host says of a function.
    pub(crate) fn residency(&self, function: usize, host: usize) -> Residency {
        match self.functions[function].processes.get(&host) {
            Some(Process::Running) => Residency::Running,
            Some(Process::Paused) => Residency::Paused,
            Some(Process::Incoming) | None => Residency::Absent,
        }
    }

    /// Sums everything up at the end.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        for host in 0..self.hosts.len() {
            self.sum_up(host, now);
        }
        for function in 0..self.functions.len() {
            self.light(function, now);
        }
        self.exposure.finish(now);
    }
}

/// The host of one end of a move.
pub(crate) const fn end_of(end: End, (source, target): (usize, usize)) -> usize {
    match end {
        End::Source => source,
        End::Target => target,
    }
}

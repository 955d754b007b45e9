//! A rule of another system, in the same world as the controller.
//!
//! A rule is shown exact means as of the instant of its round, and its moves are handed over as soon as all is copied: it has no age
//! of samples and no looks to wait for. That is in its favour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use record::decision::MigrationId;
use record::{Timestamp, Verdict};

use crate::engine::Plan;
use crate::moves::Moves;
use crate::rules::{FunctionView, HostView, Move, Rule, View};
use crate::world::{Fate, Progress, World};

/// How often moves are judged by the loads of their hosts, as for the controller with its samples.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A move under way.
#[derive(Clone, Copy, Debug)]
struct Begun {
    function: usize,
    ends: (usize, usize),
}

struct RuleRun<'a> {
    plan: &'a Plan,
    rule: Box<dyn Rule>,
    world: World,
    moves: Moves,
    hosts: Vec<usize>,
    last_moved: Vec<Option<Timestamp>>,
    waiting: VecDeque<Move>,
    begun: BTreeMap<MigrationId, Begun>,
    copying: BTreeSet<(Timestamp, MigrationId)>,
    moves_begun: MigrationId,
}

/// Runs a rule through a plan; the plan's settings, phases and happenings are those of a controller and not for it.
pub(crate) fn run(plan: &Plan, rule: Box<dyn Rule>, every: Duration) -> (World, Moves) {
    let world = World::new(plan.physics.clone(), &plan.hosts, plan.functions.clone());
    let mut run = RuleRun {
        rule,
        world,
        moves: Moves::new(&plan.functions),
        hosts: plan
            .functions
            .iter()
            .map(|function| function.host)
            .collect(),
        last_moved: vec![None; plan.functions.len()],
        waiting: VecDeque::new(),
        begun: BTreeMap::new(),
        copying: BTreeSet::new(),
        moves_begun: 0,
        plan,
    };
    run.go(every);
    run.world.finish(plan.end);
    run.moves.finish(&run.world, plan.end);
    (run.world, run.moves)
}

impl RuleRun<'_> {
    fn go(&mut self, every: Duration) {
        let (mut round_at, mut look_at) = (Timestamp(0) + every, Timestamp(0) + LOOK_EVERY);
        loop {
            let copying = self.copying.first().copied();
            let copying_at = copying.map(|(at, _)| at);
            let now = [Some(round_at), Some(look_at), copying_at]
                .into_iter()
                .flatten()
                .min();
            let Some(now) = now.filter(|now| *now <= self.plan.end) else {
                return;
            };
            if let Some((at, migration)) = copying.filter(|(at, _)| *at == now) {
                self.copying.remove(&(at, migration));
                self.progress(now, migration);
            } else if look_at == now {
                look_at = now + LOOK_EVERY;
                for host in 0..self.world.hosts() {
                    self.world.sum_up(host, now);
                    self.moves.look(&self.world, host, now);
                }
            } else {
                round_at = now + every;
                self.round(now);
            }
        }
    }

    fn round(&mut self, now: Timestamp) {
        let count = |host: usize, end: fn(&Begun) -> usize| {
            self.begun
                .values()
                .filter(|begun| end(begun) == host)
                .count() as u32
        };
        let mut hosts: Vec<HostView> = (0..self.world.hosts())
            .map(|host| HostView {
                utilization: None,
                incoming: count(host, |begun| begun.ends.1),
                outgoing: count(host, |begun| begun.ends.0),
            })
            .collect();
        for (host, view) in hosts.iter_mut().enumerate() {
            view.utilization = Some(self.world.refresh(host, now).utilization.share());
        }
        let functions: Vec<FunctionView> = (0..self.hosts.len())
            .map(|function| FunctionView {
                host: self.hosts[function],
                load: self.world.function(function).load,
                memory_mib: self.world.function(function).memory_mib,
                moving: self.begun.values().any(|begun| begun.function == function)
                    || self
                        .waiting
                        .iter()
                        .any(|wanted| wanted.function == function),
                last_moved_s: self.last_moved[function].map(Timestamp::as_secs_f64),
            })
            .collect();
        let view = View {
            now_s: now.as_secs_f64(),
            hosts: &hosts,
            functions: &functions,
        };
        let wanted = self.rule.round(&view);
        self.waiting.extend(wanted);
        self.begin(now);
    }

    /// Begins what waits, as far as the rule has moves at once.
    fn begin(&mut self, now: Timestamp) {
        let limit = self.rule.moves_at_once_max().unwrap_or(usize::MAX);
        while self.begun.len() < limit {
            let Some(wanted) = self.waiting.pop_front() else {
                return;
            };
            let source = self.hosts[wanted.function];
            let moving = self
                .begun
                .values()
                .any(|begun| begun.function == wanted.function);
            if moving || source == wanted.target {
                continue;
            }
            self.moves_begun += 1;
            let (migration, ends) = (self.moves_begun, (source, wanted.target));
            let function = wanted.function;
            self.begun.insert(migration, Begun { function, ends });
            self.moves
                .started(&self.world, migration, (function, ends), None, now);
            self.world.begin(migration, function, ends, Fate::Done, now);
            self.progress(now, migration);
        }
    }

    fn progress(&mut self, now: Timestamp, migration: MigrationId) {
        match self.world.progress(migration, now) {
            Progress::Until(at) => {
                self.copying.insert((at, migration));
            }
            Progress::Done => self.switch(now, migration),
            Progress::None | Progress::Broke => {}
        }
    }

    fn switch(&mut self, now: Timestamp, migration: MigrationId) {
        let Some(Begun { function, ends }) = self.begun.remove(&migration) else {
            return;
        };
        // The copy has ended a moment ago: the guest is held at the target and can run.
        let runs = self.world.run(function, ends.1, now).is_ok();
        self.world.kill(function, ends.0, now);
        if runs {
            self.hosts[function] = ends.1;
            self.last_moved[function] = Some(now);
            self.moves.copied(migration, now);
            self.moves.moved(migration, now);
            self.moves.settled(migration, now, Verdict::Moved);
        }
        self.begin(now);
    }
}

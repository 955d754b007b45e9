//! What became of each move.

use std::collections::BTreeMap;
use std::time::Duration;

use record::decision::MigrationId;
use record::{Timestamp, Verdict};

use crate::world::{FunctionPlan, World};

/// For so long after its start a move is judged by what happens then.
pub const JUDGED_FOR: Duration = Duration::from_secs(600);

/// A move.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// Its number.
    pub migration: MigrationId,
    /// Number of its function.
    pub function: usize,
    /// From where.
    pub source: usize,
    /// To where.
    pub target: usize,
    /// When it was decided.
    pub started_at: Timestamp,
    /// When all was copied.
    pub copied_at: Option<Timestamp>,
    /// When the function ran at the target.
    pub moved_at: Option<Timestamp>,
    /// When its verdict was known, and which.
    pub settled: Option<(Timestamp, Verdict)>,
    /// Predicted time until the function runs at the target.
    pub predicted_ms: Option<f64>,
    /// Whether the source, with the function still on it, reached the knee within [`JUDGED_FOR`] of the start. A move of which
    /// that cannot be said was for nothing.
    pub useful: bool,
    /// Whether the target reached the knee with the function on it within that time.
    pub overflowed: bool,
    /// Whether the function went back to the source within that time.
    pub undone: bool,
}

/// The moves of a run, in order of their start.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    list: Vec<Move>,
    by_number: BTreeMap<MigrationId, usize>,
    loads: Vec<f64>,
    /// Places in `list` of those that are still judged, by host.
    judged: BTreeMap<usize, Vec<usize>>,
}

impl Moves {
    pub(crate) fn new(functions: &[FunctionPlan]) -> Self {
        Self {
            loads: functions.iter().map(|plan| plan.load).collect(),
            ..Self::default()
        }
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[Move] {
        &self.list
    }

    pub(crate) fn started(
        &mut self,
        world: &World,
        migration: MigrationId,
        (function, (source, target)): (usize, (usize, usize)),
        predicted_ms: Option<f64>,
        now: Timestamp,
    ) {
        let back = |m: &&mut Move| {
            m.function == function
                && m.source == target
                && m.moved_at.is_some_and(|at| now.since(at) <= JUDGED_FOR)
        };
        if let Some(before) = self.list.iter_mut().rev().find(back) {
            before.undone = true;
        }
        let place = self.list.len();
        self.by_number.insert(migration, place);
        for host in [source, target] {
            self.judged.entry(host).or_default().push(place);
        }
        self.list.push(Move {
            migration,
            function,
            source,
            target,
            started_at: now,
            copied_at: None,
            moved_at: None,
            settled: None,
            predicted_ms,
            useful: false,
            overflowed: false,
            undone: false,
        });
        self.look(world, source, now);
    }

    fn get(&mut self, migration: MigrationId) -> Option<&mut Move> {
        let place = self.by_number.get(&migration)?;
        self.list.get_mut(*place)
    }

    pub(crate) fn copied(&mut self, migration: MigrationId, now: Timestamp) {
        if let Some(m) = self.get(migration) {
            m.copied_at = Some(now);
        }
    }

    pub(crate) fn moved(&mut self, migration: MigrationId, now: Timestamp) {
        if let Some(m) = self.get(migration) {
            m.moved_at.get_or_insert(now);
        }
    }

    pub(crate) fn settled(&mut self, migration: MigrationId, now: Timestamp, verdict: Verdict) {
        if let Some(m) = self.get(migration) {
            m.settled = Some((now, verdict));
        }
    }

    /// Looks at a host: what happens there says whether moves from and to it were good.
    pub(crate) fn look(&mut self, world: &World, host: usize, now: Timestamp) {
        let Some(places) = self.judged.get_mut(&host) else {
            return;
        };
        let list = &mut self.list;
        places.retain(|place| now.since(list[*place].started_at) <= JUDGED_FOR);
        let demand = world.demand(host, now).0;
        for place in places.iter() {
            let m = &mut list[*place];
            let here = world.runners(m.function).any(|runs_on| runs_on == host);
            let load = if here { 0.0 } else { self.loads[m.function] };
            if m.source == host && demand + load >= world.physics().knee {
                m.useful = true;
            }
            if m.target == host && here && demand >= world.physics().knee {
                m.overflowed = true;
            }
        }
        if places.is_empty() {
            self.judged.remove(&host);
        }
    }

    pub(crate) fn finish(&mut self, world: &World, now: Timestamp) {
        let hosts: Vec<usize> = self.judged.keys().copied().collect();
        for host in hosts {
            self.look(world, host, now);
        }
    }
}

//! Who demands what, where and when.

use super::{Future, Mobile, ScheduledMove, at_knee};

/// Demand of each host in each step, step by step.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    hosts: usize,
    shares: Vec<f32>,
}

/// Where a function is in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) host: usize,
    pub(super) copied: bool,
}

impl Position {
    /// What the function adds to the demand of its host.
    pub(super) fn load(self, function: &Mobile) -> f64 {
        if self.copied {
            function.load + function.copying_extra
        } else {
            function.load
        }
    }
}

impl Demand {
    /// Without any function.
    pub(super) fn immovable(future: &Future) -> Self {
        let row = |step: usize| future.immovable.iter().map(move |host| host[step]);
        Self {
            hosts: future.immovable.len(),
            shares: (0..future.steps()).flat_map(row).collect(),
        }
    }

    /// Demand of a function's home without it, while all others stay at theirs.
    ///
    /// Sums are made in the order of the functions and never by taking away, so that more demand is never a smaller number.
    pub(super) fn at_home(future: &Future, index: usize) -> Vec<f32> {
        let home = future.functions[index].home;
        let mut demand = future.immovable[home].clone();
        for (_, other) in others(future, index).filter(|(_, other)| other.home == home) {
            for share in &mut demand {
                *share += other.load as f32;
            }
        }
        demand
    }

    /// With all functions but one, each where its moves bring it.
    pub(super) fn of_others(
        future: &Future,
        immovable: &Self,
        moves: &[Vec<ScheduledMove>],
        index: usize,
    ) -> Self {
        let mut demand = immovable.clone();
        for (other, function) in others(future, index) {
            for (step, position) in positions(function, &moves[other], demand.steps()).enumerate() {
                let at = step * demand.hosts + position.host;
                demand.shares[at] += position.load(function) as f32;
            }
        }
        demand
    }

    pub(super) fn hosts(&self) -> usize {
        self.hosts
    }

    pub(super) fn steps(&self) -> usize {
        self.shares.len().checked_div(self.hosts).unwrap_or(0)
    }

    /// Demand of each host in a step.
    pub(super) fn row(&self, step: usize) -> &[f32] {
        &self.shares[step * self.hosts..(step + 1) * self.hosts]
    }

    /// The steps in which a function's host is at or over the knee with it.
    pub(super) fn above(&self, knee: f64, function: &Mobile, moves: &[ScheduledMove]) -> Vec<bool> {
        positions(function, moves, self.steps())
            .enumerate()
            .map(|(step, position)| {
                at_knee(self.row(step)[position.host], position.load(function), knee)
            })
            .collect()
    }
}

/// Where a function is in each step.
pub(super) fn positions(
    function: &Mobile,
    moves: &[ScheduledMove],
    steps: usize,
) -> impl Iterator<Item = Position> {
    let mut host = function.home;
    let mut coming = moves.iter().peekable();
    (0..steps).map(move |step| {
        let over = |next: &&ScheduledMove| step >= next.start_step + function.move_steps.get();
        if let Some(arrived) = coming.next_if(over) {
            host = arrived.target;
        }
        let copied = coming.peek().is_some_and(|next| step >= next.start_step);
        Position { host, copied }
    })
}

fn others(future: &Future, index: usize) -> impl Iterator<Item = (usize, &Mobile)> {
    let all = future.functions.iter().enumerate();
    all.filter(move |(other, _)| *other != index)
}

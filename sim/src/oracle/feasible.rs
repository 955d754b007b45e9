//! A plan of all functions together, by one who knows the future: a bound from above.

use super::cheapest::cheapest;
use super::demand::Demand;
use super::{Future, Schedule, ScheduledMove, Total};

/// A plan that could be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Feasible {
    /// In the order of [`Future::functions`]. What each suffers is with all others where the plan has them.
    pub schedules: Vec<Schedule>,
}

impl Feasible {
    /// Sums over the functions.
    #[must_use]
    pub fn total(&self) -> Total {
        Total::of(self.schedules.iter())
    }
}

/// Plans the functions one after the other, those first that suffer most when nothing ever moves. Each is planned at least
/// cost against what the others do: those planned before it by their plan, the others at home. No target may have more
/// than `target_load_max` with the function when it arrives.
///
/// What the plan costs is then counted anew with all functions where it has them, so it is the true cost of a plan in which
/// functions get in each other's way, and an upper bound of the optimum of moving them all. When it comes to more than
/// never moving does, never moving is the plan. Moves share no link and have no limit at once: a run that has either may
/// not be able to follow it.
///
/// # Panics
/// As [`bound`](super::bound).
#[must_use]
pub fn feasible(future: &Future, target_load_max: f64) -> Feasible {
    future.check();
    let immovable = Demand::immovable(future);
    let unmoved = vec![Vec::new(); future.functions.len()];
    let never = carried_out(future, &immovable, &unmoved);
    let mut order: Vec<usize> = (0..future.functions.len()).collect();
    order.sort_by(|a, b| {
        let suffers = |index: usize| never.schedules[index].above_s;
        suffers(*b).total_cmp(&suffers(*a))
    });
    let mut moves = unmoved;
    for index in order {
        let demand = Demand::of_others(future, &immovable, &moves, index);
        let function = &future.functions[index];
        moves[index] = cheapest(future, &demand, function, Some(target_load_max));
    }
    let planned = carried_out(future, &immovable, &moves);
    if planned.total().cost_s() < never.total().cost_s() {
        planned
    } else {
        never
    }
}

/// What each function suffers when all do their moves.
fn carried_out(future: &Future, immovable: &Demand, moves: &[Vec<ScheduledMove>]) -> Feasible {
    let one = |(index, function)| {
        let demand = Demand::of_others(future, immovable, moves, index);
        let above = demand.above(future.knee, function, &moves[index]);
        Schedule::of(future, function, moves[index].clone(), &above)
    };
    Feasible {
        schedules: future.functions.iter().enumerate().map(one).collect(),
    }
}

//! One fleet: each contestant's run of it, judged.

use std::time::Duration;

use control::Policy;
use record::{Timestamp, Utilization};
use serde::Serialize;

use super::agents::Agents;
use super::input::Input;
use super::site::{self, Parameters};
use crate::engine::{Engine, Flaw, Keep, Plan};
use crate::error::SimError;
use crate::moves::{JUDGED_FOR, Move};
use crate::oracle::{Bound, bound, feasible};
use crate::rule_run;
use crate::rules::RuleEntry;
use crate::world::World;

/// Overloads of a function with less time between them are one.
pub(crate) const CALM: Duration = Duration::from_secs(60);
/// A function that was exposed for less than this within an overload was not: a switch takes some milliseconds.
pub(crate) const UNTOUCHED_S: f64 = 0.5;
/// What the other contestants are shown when they are given our data.
const OUR_INTERVAL: Duration = Duration::from_secs(5);

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub enum Contestant {
    /// The controller by forecast.
    Deadline(Agents),
    /// The controller with the thesis' fixed 90 %.
    Threshold(Agents),
    /// Nothing is ever moved.
    Never,
    /// Who knows the future: the bound of [`crate::oracle`], which no one can better.
    Oracle,
    /// A rule at the interval that its system has.
    Native(RuleEntry),
    /// The same rule, shown what we are.
    OnOurData(RuleEntry),
}

/// When a function that stays where it is is at or over the knee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Number of the function.
    pub function: usize,
    /// Its host.
    pub host: usize,
    /// From when …
    pub from: Timestamp,
    /// … to when.
    pub to: Timestamp,
    /// Whether the oracle prevents it.
    pub preventable: bool,
}

/// A contestant's run, judged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Judged {
    /// Overloads that the oracle prevents.
    pub preventable: u64,
    /// Those of them in which the function was never at the knee.
    pub prevented: u64,
    /// Seconds of all functions at or over the knee, or running nowhere.
    pub seconds_above_knee: f64,
    /// Viewers times seconds with a picture age over the budget; not known of the oracle.
    pub viewer_seconds_over_budget: Option<f64>,
    /// Moves begun.
    pub moves: u64,
    /// Moves from a source that would not have reached the knee within 10 minutes.
    pub useless_moves: u64,
    /// Moves whose function went back within 10 minutes.
    pub undone_moves: u64,
    /// Moves whose target reached the knee with the function within 10 minutes.
    pub overflowing_moves: u64,
    /// For each preventable overload of which the function left its host: beginning of the overload less the instant at which the
    /// function ran elsewhere.
    pub margins_s: Vec<f64>,
    /// Beginning of each overload less the start of the move before it, for overloads that a move began before.
    pub leads_s: Vec<f64>,
    /// All overloads, preventable or not.
    pub overloads: u64,
    /// Prediction less truth of a move's time, as a share of the truth.
    pub prediction_errors: Vec<f64>,
}

/// A fleet, judged for all contestants.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it was made from.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Seconds over the knee of a plan of all functions together by one who knows the future: what can be reached at least.
    pub feasible_s: f64,
    /// In the order of the contestants.
    pub judged: Vec<Judged>,
}

/// Runs all contestants through an input.
///
/// # Errors
/// When the parameters are none for a controller.
pub fn judge(
    input: &Input,
    contestants: &[Contestant],
    parameters: &Parameters,
) -> Result<Case, SimError> {
    let fleet = site::tabulated(&input.fleet);
    let plan = |policy| {
        let settings = site::settings(&fleet, policy, parameters)?;
        site::plan(&fleet, settings, parameters, input.seed).map_err(SimError::Laws)
    };
    let told_by = |agents: Agents, plan: Plan| Plan {
        happenings: agents.happenings(&plan.settings.hosts, plan.refresh, plan.end, input.seed),
        ..plan
    };
    let never = plan(Policy::None)?;
    let future = site::future(&never);
    let bound = bound(&future);
    let limit = parameters.limits.target_load_max.share();
    let feasible_s = feasible(&future, limit).total().above_s;
    let overloads = overloads(&never, &bound);
    let mut judged = Vec::new();
    for contestant in contestants {
        judged.push(match contestant {
            Contestant::Oracle => of_oracle(&bound, &overloads),
            Contestant::Deadline(agents) => {
                let plan = plan(site::deadline(parameters))?;
                by_controller(told_by(*agents, plan), &overloads)?
            }
            Contestant::Threshold(agents) => {
                let start_at = Utilization::clamped(0.9);
                let plan = plan(Policy::Threshold { start_at })?;
                by_controller(told_by(*agents, plan), &overloads)?
            }
            Contestant::Never => by_controller(plan(Policy::None)?, &overloads)?,
            Contestant::Native(entry) => {
                let rule = (entry.make)();
                let every = Duration::from_secs_f64(rule.native_interval_s());
                let (world, moves) = rule_run::run(&never, rule, every);
                of_run(&world, moves.list(), &overloads)
            }
            Contestant::OnOurData(entry) => {
                let (world, moves) = rule_run::run(&never, (entry.make)(), OUR_INTERVAL);
                of_run(&world, moves.list(), &overloads)
            }
        });
    }
    Ok(Case {
        name: input.name.clone(),
        seed: input.seed,
        feasible_s,
        judged,
    })
}

/// The overloads of all functions when nothing is moved. Parts with little time between them are one, which is preventable when
/// each part is.
fn overloads(plan: &Plan, bound: &Bound) -> Vec<Overload> {
    let cell_us = plan.physics.cell.as_micros() as u64;
    let mut found: Vec<Overload> = Vec::new();
    for (function, bound) in bound.functions.iter().enumerate() {
        let mut last: Option<Overload> = None;
        for part in &bound.overloads {
            let from = Timestamp(part.first_step as u64 * cell_us);
            let to = Timestamp((part.first_step + part.steps) as u64 * cell_us);
            match &mut last {
                Some(overload) if from.since(overload.to) < CALM => {
                    overload.to = to;
                    overload.preventable &= part.preventable;
                }
                _ => {
                    found.extend(last.replace(Overload {
                        function,
                        host: plan.functions[function].host,
                        from,
                        to,
                        preventable: part.preventable,
                    }));
                }
            }
        }
        found.extend(last);
    }
    found
}

fn by_controller(plan: Plan, overloads: &[Overload]) -> Result<Judged, SimError> {
    let outcome = Engine::new(plan, Flaw::None, Keep::Figures)?.run();
    if let Some(broken) = outcome.broken {
        return Err(SimError::Broken(broken));
    }
    Ok(of_run(&outcome.world, outcome.moves.list(), overloads))
}

fn of_oracle(bound: &Bound, overloads: &[Overload]) -> Judged {
    let total = bound.total();
    let preventable = overloads
        .iter()
        .filter(|overload| overload.preventable)
        .count() as u64;
    Judged {
        preventable,
        prevented: preventable,
        seconds_above_knee: total.above_s,
        moves: total.moves as u64,
        overloads: overloads.len() as u64,
        ..Judged::default()
    }
}

fn of_run(world: &World, moves: &[Move], overloads: &[Overload]) -> Judged {
    let exposure = &world.exposure;
    let mut judged = Judged {
        seconds_above_knee: exposure.seconds(),
        viewer_seconds_over_budget: Some(exposure.over_budget_s),
        moves: moves.len() as u64,
        useless_moves: moves.iter().filter(|m| !m.useful).count() as u64,
        undone_moves: moves.iter().filter(|m| m.undone).count() as u64,
        overflowing_moves: moves.iter().filter(|m| m.overflowed).count() as u64,
        overloads: overloads.len() as u64,
        ..Judged::default()
    };
    for overload in overloads {
        let left = left_before(moves, overload);
        if let Some(m) = left.filter(|m| m.started_at < overload.from) {
            judged
                .leads_s
                .push(overload.from.seconds_after(m.started_at));
        }
        if !overload.preventable {
            continue;
        }
        judged.preventable += 1;
        let (function, from, to) = (overload.function, overload.from, overload.to);
        if exposure.seconds_within(function, from, to) < UNTOUCHED_S {
            judged.prevented += 1;
        }
        if let Some(moved_at) = left.and_then(|m| m.moved_at) {
            judged.margins_s.push(from.seconds_after(moved_at));
        }
    }
    for m in moves {
        if let (Some(predicted_ms), Some(moved_at)) = (m.predicted_ms, m.moved_at) {
            let truth_ms = moved_at.seconds_after(m.started_at) * 1e3;
            judged
                .prediction_errors
                .push((predicted_ms - truth_ms) / truth_ms);
        }
    }
    judged
}

/// The move by which a function left the host of an overload, shortly before it or within it.
fn left_before<'a>(moves: &'a [Move], overload: &Overload) -> Option<&'a Move> {
    let earliest = overload.from - JUDGED_FOR;
    moves.iter().rev().find(|m| {
        m.function == overload.function
            && m.source == overload.host
            && (earliest..overload.to).contains(&m.started_at)
    })
}

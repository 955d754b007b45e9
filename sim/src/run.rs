//! A scenario in virtual time.

use std::sync::Arc;
use std::time::Duration;

use control::Settings;
use control::journal::{Entry, Head, SCHEMA};
use record::{Decision, HostName, Timestamp};
use scenario::load::Points;
use scenario::types::Function;
use scenario::{LoadProfile, PolicyName, Role, Scenario};

use crate::chance;
use crate::demand::Demand;
use crate::engine::{Engine, Flaw, Keep, Outcome, Plan};
use crate::error::SimError;
use crate::invariants::Broken;
use crate::moves::Move;
use crate::noise::{Noise, SD_PER_AMPLITUDE};
use crate::world::{FunctionPlan, HostPlan, Physics};

/// Load stays the same for so long in a scenario's world.
const CELL: Duration = Duration::from_millis(100);

/// How long a driver takes for a look or an action.
const DRIVER: Duration = Duration::from_millis(10);

/// What came of a run. Time is virtual: it begins at [`Timestamp`] 0 with the idle phase.
#[derive(Debug)]
pub struct SimRun {
    /// What the controller was told.
    pub settings: Settings,
    /// What it was given, as the orchestrator's `inputs.jsonl` has it.
    pub inputs: Vec<Entry>,
    /// What it decided, as the orchestrator's `decisions.jsonl` has it.
    pub decisions: Vec<Decision>,
    /// The moves.
    pub moves: Vec<Move>,
    /// When the load of the first function's first host reaches the model's knee (to 100 ms), if all functions stayed where they
    /// are and were never copied; `None` when it does not within the run.
    pub knee_reached: Option<Timestamp>,
    /// When the first function first ran somewhere else.
    pub moved_at: Option<Timestamp>,
    /// `knee_reached` less `moved_at`: positive when the move was in time. `None` when either did not happen.
    pub margin_s: Option<f64>,
    /// How long functions were on hosts at or above the model's knee, copying counted, or ran nowhere; all together.
    pub above_knee_s: f64,
    /// The first promise that was broken.
    pub broken: Option<Broken>,
}

impl SimRun {
    /// The decision log, `decisions.jsonl`.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn decision_log(&self) -> Result<String, serde_json::Error> {
        json_lines(&self.decisions)
    }

    /// The inputs, `inputs.jsonl`.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn input_log(&self) -> Result<String, serde_json::Error> {
        let head = Head {
            schema: SCHEMA,
            settings: self.settings.clone(),
        };
        Ok(serde_json::to_string(&head)? + "\n" + &json_lines(&self.inputs)?)
    }
}

fn json_lines<T: serde::Serialize>(values: &[T]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for value in values {
        text.push_str(&serde_json::to_string(value)?);
        text.push('\n');
    }
    Ok(text)
}

/// Runs a scenario with the figures of its own model, through idle phase and profile.
///
/// # Errors
/// When the scenario's settings are none for a controller.
pub fn run(
    scenario: &Scenario,
    policy: PolicyName,
    profile: &LoadProfile,
    seed: u64,
) -> Result<SimRun, SimError> {
    run_with(scenario, policy, profile, seed, Flaw::None)
}

/// The same, with something wrong on purpose.
///
/// # Errors
/// When the scenario's settings are none for a controller.
pub fn run_with(
    scenario: &Scenario,
    policy: PolicyName,
    profile: &LoadProfile,
    seed: u64,
    flaw: Flaw,
) -> Result<SimRun, SimError> {
    let settings = scenario.controller_settings(policy, &scenario.model_figures());
    let plan = plan(scenario, settings.clone(), profile, seed);
    let knee_reached = knee_reached(&plan);
    let outcome = Engine::new(plan, flaw, Keep::Logs)?.run();
    Ok(look_back(settings, knee_reached, outcome))
}

/// Only whether a promise was broken: nothing is kept.
///
/// # Errors
/// When the scenario's settings are none for a controller.
pub(crate) fn run_figures(
    scenario: &Scenario,
    policy: PolicyName,
    profile: &LoadProfile,
    seed: u64,
    flaw: Flaw,
) -> Result<Option<Broken>, SimError> {
    let settings = scenario.controller_settings(policy, &scenario.model_figures());
    let plan = plan(scenario, settings, profile, seed);
    Ok(Engine::new(plan, flaw, Keep::Figures)?.run().broken)
}

fn look_back(settings: Settings, knee_reached: Option<Timestamp>, outcome: Outcome) -> SimRun {
    let moves = outcome.moves.list().to_vec();
    let first = moves
        .iter()
        .find(|m| m.function == 0 && m.moved_at.is_some());
    let moved_at = first.and_then(|m| m.moved_at);
    let margin = |(knee, moved): (Timestamp, Timestamp)| knee.seconds_after(moved);
    SimRun {
        settings,
        knee_reached,
        moved_at,
        margin_s: knee_reached.zip(moved_at).map(margin),
        above_knee_s: outcome.world.exposure.seconds(),
        inputs: outcome.inputs,
        decisions: outcome.decisions,
        broken: outcome.broken,
        moves,
    }
}

/// The plan of a scenario's run.
fn plan(scenario: &Scenario, settings: Settings, profile: &LoadProfile, seed: u64) -> Plan {
    let model = &scenario.model;
    let names: Vec<&HostName> = scenario
        .hosts_of(Role::Edge)
        .map(|(name, _)| name)
        .collect();
    let place = |name: &HostName| names.iter().position(|other| *other == name).unwrap_or(0);
    let function = |(function, told): (&Function, &control::Placement)| FunctionPlan {
        host: place(function.host.as_ref()),
        load: function.load.share(),
        memory_mib: function.memory_mib,
        copying_s: model.migration.copying_s(
            function,
            scenario.migration.bandwidth_mib_s,
            scenario.migration.downtime_limit_ms,
        ),
        fixed: milliseconds(model.migration.fixed_ms),
        viewers: function.viewers,
        path_ms: told.paths().map(|(host, ms)| (place(host), ms)).collect(),
    };
    let first = scenario.functions.values().next();
    let offered_to = first.map(|function| function.host.as_ref());
    let host = |(number, name): (u64, &&HostName)| {
        let offered = profile.points.clone().filter(|_| offered_to == Some(*name));
        HostPlan {
            demand: Arc::new(Background {
                idle_s: profile.idle_s,
                own: profile.background.get(*name).cloned(),
                offered: offered.zip(first.map(|function| function.load.share())),
                noise: Noise {
                    seed: chance::hash(seed, number),
                },
                noise_sd: profile.noise,
            }),
        }
    };
    let start = Timestamp::from_secs_f64(profile.idle_s);
    let happening = |event: &scenario::TimedEvent| {
        let at = start + Duration::from_secs_f64(event.at_s);
        (at, event.event.clone())
    };
    let refresh = milliseconds(model.refresh_ms);
    let told = scenario.functions.values().zip(&settings.functions);
    let functions = told.map(function).collect();
    Plan {
        settings,
        physics: Physics {
            cell: CELL,
            knee: model.knee.share(),
            picture_age: model.picture_age.clone(),
            budget_ms: scenario.budget_ms,
            copying_extra: model.copying_extra,
            slowdown: model.migration.slowdown.clone(),
            slowdown_by_target: model.migration.slowdown_by_target.clone(),
        },
        hosts: (0..).zip(&names).map(host).collect(),
        functions,
        refresh,
        driver: DRIVER,
        phases: vec![Timestamp(0) + refresh; names.len()],
        happenings: scenario.events.iter().map(happening).collect(),
        end: start + Duration::from_secs_f64(profile.duration_s()),
    }
}

/// Background of a host by a scenario's profile.
#[derive(Debug)]
struct Background {
    idle_s: f64,
    own: Option<Points>,
    /// What is offered together with a function, and that function's part.
    offered: Option<(Points, f64)>,
    noise: Noise,
    noise_sd: f64,
}

impl Demand for Background {
    fn at(&self, at_s: f64) -> f64 {
        let time_s = at_s - self.idle_s;
        let own = self.own.as_ref().map_or(0.0, |points| points.at(time_s));
        let offered = self.offered.as_ref().map_or(0.0, |(points, function)| {
            (points.at(time_s) - function).max(0.0)
        });
        let noise = if self.noise_sd > 0.0 {
            self.noise.at(at_s) * self.noise_sd / SD_PER_AMPLITUDE
        } else {
            0.0
        };
        (own + offered + noise).max(0.0)
    }
}

/// A length of time of a checked scenario.
fn milliseconds(ms: f64) -> Duration {
    Duration::from_micros((ms * 1e3) as u64)
}

/// When the host that the first function is on at the start reaches the knee if nothing is moved.
fn knee_reached(plan: &Plan) -> Option<Timestamp> {
    let host = plan.functions.first()?.host;
    let here = plan
        .functions
        .iter()
        .filter(|function| function.host == host);
    let functions: f64 = here.map(|function| function.load).sum();
    let demand = &plan.hosts.get(host)?.demand;
    let cell_us = CELL.as_micros() as u64;
    let cells = (0..=plan.end.0 / cell_us).map(|cell| Timestamp(cell * cell_us));
    let over = |at: &Timestamp| demand.at(at.as_secs_f64()) + functions >= plan.physics.knee;
    cells.into_iter().find(over)
}

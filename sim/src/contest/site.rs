//! From a fleet to a world, to what a controller is told of it, and to its future.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use control::{HandOver, Limits, Mobility, PictureAge, Placement, Policy, Settings, Trust};
use record::Slowdown;
use record::decision::Mode;
use record::{HostName, Timestamp, Utilization, VmName};

use crate::chance::{hash, share};
use crate::demand::Demand;
use crate::engine::Plan;
use crate::error::SimError;
use crate::fleet::{Fleet, FleetHost};
use crate::oracle::{Future, Mobile};
use crate::world::{FunctionPlan, HostPlan, Physics};

/// Everything in a contest that is a choice. [`Parameters::frozen`] are those that the published figures are for.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// What keeps the controller from making things worse; see [`control::Limits`].
    pub limits: Limits,
    /// Time from the instant that a move is due until its target is being prepared.
    pub decision_ms: f64,
    /// Standard deviations of the forecast's error that are kept away from the knee.
    pub margin_sd: f64,
    /// How often agents refresh their counters.
    pub refresh: Duration,
    /// How much longer a move takes than in the thesis.
    pub migration_factor: f64,
}

/// Load at which the delay explodes (thesis, 4.2).
pub const KNEE: f64 = 0.95;
/// Picture age that the thesis keeps.
pub const BUDGET_MS: f64 = 400.0;
/// Means of Table 6, without the fall by 11 ms from 0 to 50 % that is the noise of 100 screenshots: no host is better for being
/// busier.
const PICTURE_AGE: [(f64, f64); 5] = [
    (0.8, 344.55),
    (0.85, 347.35),
    (0.9, 348.74),
    (0.95, 382.37),
    (1.0, 3383.25),
];
/// Total migration time by load of the source, as a multiple of that at 85 % and below: fitted to Table 7
/// ([`scenario::MigrationLaw`]).
const SLOWDOWN: [(f64, f64); 4] = [(0.85, 1.0), (0.9, 1.098), (0.95, 1.267), (1.0, 1.656)];
/// The same by load of the target.
const SLOWDOWN_BY_TARGET: [(f64, f64); 2] = [(0.5, 1.0), (1.0, 1.045)];
/// Total migration time between calm hosts: 6.2 s by the same fit, of which copying is this …
const COPYING_S: f64 = 5.8;
/// … and the rest this.
const FIXED: Duration = Duration::from_millis(400);
/// What copying adds to the load of the source. The thesis does not say; the lab measured 0.05 to 0.1 of one core.
const COPYING_EXTRA: f64 = 0.05;
/// What viewers do not see at the switch; the thesis allows 500 ms.
const GAP_MS: f64 = 300.0;
/// How long a driver takes for a look or an action.
const DRIVER: Duration = Duration::from_millis(10);
/// Load stays the same for so long.
const CELL: Duration = Duration::from_secs(1);

impl Parameters {
    /// Those of the published figures: tuned on the day 20110303 and on seed 1 of it and of made load, judged on other days and seeds.
    #[must_use]
    pub fn frozen() -> Self {
        Self {
            limits: Limits {
                sample_age_ms_max: 12e3,
                sustained_samples: 1,
                forecast_samples: 4,
                forecast_residual_max: 0.04,
                target_load_max: Utilization::clamped(0.75),
                gain_min: 0.1,
                gain_horizon_ms: 300e3,
                moves_at_once_max: 8,
                arrivals_at_once_max: 1,
                cooldown_ms: 30e3,
                migration_ms_max: 400e3,
                inspect_again_ms: 500.0,
            },
            decision_ms: 500.0,
            margin_sd: 1.0,
            refresh: Duration::from_secs(5),
            migration_factor: 1.0,
        }
    }

    /// A number of these values: what was judged with others has another.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = format!("{self:?}");
        let number = text
            .bytes()
            .fold(0, |digest, byte| hash(digest, u64::from(byte)));
        format!("{number:016x}")
    }

    fn copying_s(&self) -> f64 {
        COPYING_S * self.migration_factor
    }

    /// Time of a move from a source at the knee to the fullest target that is allowed, which is what a controller has to reckon with.
    fn migration_ms(&self) -> f64 {
        let [(calm, _), (full, slower)] = SLOWDOWN_BY_TARGET;
        let fullest = (self.limits.target_load_max.share() - calm) / (full - calm);
        let slowest = SLOWDOWN[2].1 * (1.0 + (slower - 1.0) * fullest.clamp(0.0, 1.0));
        self.copying_s() * slowest * 1e3 + FIXED.as_micros() as f64 / 1e3
    }
}

fn numbered(word: &str, number: usize) -> String {
    format!("{word}-{number}")
}

/// What the controller is told of a fleet.
///
/// # Errors
/// When the constants of this file are no names or no curve.
pub fn settings(
    fleet: &Fleet,
    policy: Policy,
    parameters: &Parameters,
) -> Result<Settings, SimError> {
    let host = |number: usize| {
        HostName::new(&numbered("host", number)).map_err(|error| SimError::Laws(error.to_string()))
    };
    let hosts: Vec<HostName> = (0..fleet.hosts.len()).map(host).collect::<Result<_, _>>()?;
    let points = PICTURE_AGE.map(|(load, ms)| (Utilization::clamped(load), ms));
    let picture_age = PictureAge::try_from(points.to_vec());
    let mut functions = Vec::new();
    for (number, home) in hosts.iter().enumerate() {
        for function in &fleet.hosts[number].functions {
            let vm = VmName::new(&numbered("video", functions.len()));
            functions.push(Placement {
                vm: vm.map_err(|error| SimError::Laws(error.to_string()))?,
                host: home.clone(),
                load: Utilization::clamped(function.load),
                viewers: 1,
                migration_ms: parameters.migration_ms(),
                gap_ms: GAP_MS,
                mobility: Mobility::Free,
                forbidden: std::collections::BTreeSet::new(),
                together: None,
                apart: None,
                path_ms: std::collections::BTreeMap::new(),
                path_late_ms: std::collections::BTreeMap::new(),
            });
        }
    }
    Ok(Settings {
        hosts,
        functions,
        policy,
        picture_age: picture_age.map_err(|error| SimError::Laws(error.to_string()))?,
        trust: Trust::Automatic,
        limits: parameters.limits.clone(),
        mode: Mode::PreCopy,
        hand_over: HandOver::Held,
        moves_begun: 0,
    })
}

/// The deadline policy of a contest.
#[must_use]
pub fn deadline(parameters: &Parameters) -> Policy {
    Policy::Deadline {
        knee: Utilization::clamped(KNEE),
        copying_extra: COPYING_EXTRA,
        decision_ms: parameters.decision_ms,
        margin_sd: parameters.margin_sd,
    }
}

/// Demand of a host in each cell, looked up instead of computed again and again: every contestant has the same hosts.
#[derive(Debug)]
struct Table(Vec<f32>);

impl Demand for Table {
    fn at(&self, at_s: f64) -> f64 {
        let cell = (at_s / CELL.as_secs_f64()) as usize;
        let share = self.0.get(cell).or_else(|| self.0.last());
        share.copied().map_or(0.0, f64::from)
    }
}

/// A fleet whose demand is looked up: the same in the middle of each cell, as `f32`.
#[must_use]
pub fn tabulated(fleet: &Fleet) -> Fleet {
    let cell_s = CELL.as_secs_f64();
    let cells = (fleet.duration_s / cell_s) as usize;
    let host = |host: &FleetHost| {
        let middles = (0..cells).map(|cell| (cell as f64 + 0.5) * cell_s);
        let shares = middles.map(|at_s| host.demand.at(at_s) as f32);
        FleetHost {
            demand: Arc::new(Table(shares.collect())),
            ..host.clone()
        }
    };
    Fleet {
        hosts: fleet.hosts.iter().map(host).collect(),
        duration_s: fleet.duration_s,
    }
}

/// The world of a fleet with a controller of these settings. Agents refresh at instants that the seed decides.
///
/// # Errors
/// When the constants of this file are no laws.
pub fn plan(
    fleet: &Fleet,
    settings: Settings,
    parameters: &Parameters,
    seed: u64,
) -> Result<Plan, String> {
    let mut functions = Vec::new();
    for (number, host) in fleet.hosts.iter().enumerate() {
        functions.extend(host.functions.iter().map(|function| FunctionPlan {
            host: number,
            load: function.load,
            memory_mib: function.memory_mib,
            copying_s: Some(parameters.copying_s()),
            fixed: FIXED,
            viewers: 1,
            path_ms: Vec::new(),
        }));
    }
    let refresh_us = parameters.refresh.as_micros() as f64;
    let phase = |host: usize| Timestamp((share(hash(seed, host as u64)) * refresh_us) as u64 + 1);
    let host = |host: &FleetHost| HostPlan {
        demand: Arc::clone(&host.demand),
    };
    Ok(Plan {
        physics: Physics {
            cell: CELL,
            knee: KNEE,
            picture_age: settings.picture_age.clone(),
            budget_ms: BUDGET_MS,
            copying_extra: COPYING_EXTRA,
            slowdown: Slowdown::try_from(SLOWDOWN.to_vec())?,
            slowdown_by_target: Slowdown::try_from(SLOWDOWN_BY_TARGET.to_vec())?,
        },
        hosts: fleet.hosts.iter().map(host).collect(),
        functions,
        refresh: parameters.refresh,
        driver: DRIVER,
        phases: (0..fleet.hosts.len()).map(phase).collect(),
        happenings: Vec::new(),
        end: Timestamp::from_secs_f64(fleet.duration_s),
        settings,
    })
}

/// All that will happen in a plan, in steps of a cell. A move takes at least as long as from an idle source, alone on the link;
/// no gap is counted, so that the bound is one of seconds over the knee alone.
#[must_use]
pub fn future(plan: &Plan) -> Future {
    let cell_s = CELL.as_secs_f64();
    let steps = (plan.end.as_secs_f64() / cell_s) as usize;
    let middle = |step: usize| (step as f64 + 0.5) * cell_s;
    let immovable = |host: &HostPlan| {
        (0..steps)
            .map(|step| host.demand.at(middle(step)) as f32)
            .collect()
    };
    let mobile = |function: &FunctionPlan| {
        let move_s = function.copying_s.unwrap_or(f64::INFINITY) + function.fixed.as_secs_f64();
        Mobile {
            home: function.host,
            load: function.load,
            allowed: vec![true; plan.hosts.len()],
            move_steps: NonZeroUsize::new((move_s / cell_s) as usize).unwrap_or(NonZeroUsize::MIN),
            copying_extra: COPYING_EXTRA,
            gap_s: 0.0,
        }
    };
    Future {
        knee: plan.physics.knee,
        step_s: cell_s,
        immovable: plan.hosts.iter().map(immovable).collect(),
        functions: plan.functions.iter().map(mobile).collect(),
    }
}

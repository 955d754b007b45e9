//! The search for a broken promise: a scenario with load and faults from a seed, again and again; what breaks a promise is made as
//! small as it goes and kept as a scenario.

use std::collections::BTreeMap;

use record::{HostName, VmName};
use scenario::load::Points;
use scenario::{Event, LoadProfile, PolicyName, Role, Scenario, TimedEvent};

use crate::chance::{Chance, hash};
use crate::engine::Flaw;
use crate::error::SimError;
use crate::invariants::Broken;
use crate::run::run_figures;

/// Length of what is simulated for a seed, in seconds. Nothing new happens in its last part, so that every move can come to its
/// verdict.
const DURATION_S: f64 = 420.0;
const CALM_AFTER_S: f64 = 240.0;
/// Faults of a seed at most.
const EVENTS_MAX: u64 = 8;
/// Points of a host's load at most.
const POINTS_MAX: u64 = 6;

/// A seed's scenario: load and events in place of those of the scenario that it is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The seed.
    pub seed: u64,
    /// The policy.
    pub policy: PolicyName,
    /// Load.
    pub profile: LoadProfile,
    /// Faults.
    pub events: Vec<TimedEvent>,
}

/// A broken promise, and the smallest trial found that breaks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What was broken.
    pub broken: Broken,
    /// By what.
    pub trial: Trial,
}

/// Runs a seed.
///
/// # Errors
/// When the scenario is none for a controller.
pub fn try_seed(scenario: &Scenario, seed: u64, flaw: Flaw) -> Result<Option<Failure>, SimError> {
    let trial = Trial::new(scenario, seed);
    let Some(broken) = trial.run(scenario, flaw)? else {
        return Ok(None);
    };
    shrink(scenario, trial, broken, flaw).map(Some)
}

impl Trial {
    /// The trial of a seed.
    #[must_use]
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        // Neighbouring seeds have nothing in common.
        let mut chance = Chance::new(hash(seed, 0));
        let hosts: Vec<HostName> = scenario
            .hosts_of(Role::Edge)
            .map(|(name, _)| name.clone())
            .collect();
        let vms: Vec<VmName> = scenario.functions.keys().cloned().collect();
        let policy = if chance.below(4) == 0 {
            PolicyName::Threshold
        } else {
            PolicyName::Deadline
        };
        let background = hosts
            .iter()
            .map(|host| (host.clone(), load(&mut chance)))
            .collect();
        let count = chance.below(EVENTS_MAX + 1);
        let mut events: Vec<TimedEvent> = (0..count)
            .map(|_| event(&mut chance, &hosts, &vms))
            .collect();
        events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let noise = chance.between(0.0, 0.06);
        Self {
            seed,
            policy,
            profile: LoadProfile {
                idle_s: 1.0,
                points: None,
                background,
                noise: (noise * 100.0).round() / 100.0,
            },
            events,
        }
    }

    fn run(&self, scenario: &Scenario, flaw: Flaw) -> Result<Option<Broken>, SimError> {
        let scenario = Scenario {
            events: self.events.clone(),
            ..scenario.clone()
        };
        run_figures(&scenario, self.policy, &self.profile, self.seed, flaw)
    }
}

/// Whole tenths: what is kept as a file shall be easy to read.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn load(chance: &mut Chance) -> Points {
    let count = 2 + chance.below(POINTS_MAX - 1);
    let mut at_s: Vec<f64> = (1..count)
        .map(|_| tenths(chance.between(0.0, CALM_AFTER_S)))
        .collect();
    at_s.push(0.0);
    at_s.sort_by(f64::total_cmp);
    let mut points: Vec<(f64, f64)> = at_s
        .into_iter()
        .map(|at_s| (at_s, tenths(chance.between(0.0, 1.1) * 10.0) / 10.0))
        .collect();
    let last = points.last().map_or(0.0, |point| point.1);
    points.push((DURATION_S, last));
    // In order and within range by the way that they were made.
    Points::try_from(points).unwrap_or_default()
}

fn event(chance: &mut Chance, hosts: &[HostName], vms: &[VmName]) -> TimedEvent {
    let at_s = tenths(chance.between(0.0, CALM_AFTER_S));
    let for_s = tenths(chance.between(1.0, 60.0));
    let host = hosts[chance.below(hosts.len() as u64) as usize].clone();
    let vm = vms[chance.below(vms.len() as u64) as usize].clone();
    let event = match chance.below(12) {
        0 => Event::AgentSilent { host, for_s },
        1 => Event::SamplesLate {
            host,
            for_s,
            late_s: tenths(chance.between(0.1, 20.0)),
        },
        2 | 3 => Event::Unreachable { host, for_s },
        4 => Event::NextMoveRefused { vm },
        5 => Event::NextCopyFails { vm },
        6 => Event::NextCopyStalls { vm },
        7 => Event::TargetKilled { vm },
        8 => Event::SourceKilled { vm },
        9 => Event::Drain { host },
        10 => Event::Undrain { host },
        _ => Event::Restart,
    };
    TimedEvent { at_s, event }
}

/// Takes away whatever can be taken away without the same promise being kept.
fn shrink(
    scenario: &Scenario,
    mut trial: Trial,
    mut broken: Broken,
    flaw: Flaw,
) -> Result<Failure, SimError> {
    loop {
        let mut smaller = None;
        for candidate in candidates(&trial) {
            if let Some(found) = candidate.run(scenario, flaw)?
                && found.promise == broken.promise
            {
                smaller = Some((candidate, found));
                break;
            }
        }
        match smaller {
            Some(found) => (trial, broken) = found,
            None => return Ok(Failure { broken, trial }),
        }
    }
}

/// The same trial with one thing less, for each thing.
fn candidates(trial: &Trial) -> Vec<Trial> {
    let mut found = Vec::new();
    for place in 0..trial.events.len() {
        let mut less = trial.clone();
        less.events.remove(place);
        found.push(less);
    }
    if trial.profile.noise > 0.0 {
        let mut less = trial.clone();
        less.profile.noise = 0.0;
        found.push(less);
    }
    for host in trial.profile.background.keys() {
        let points: Vec<(f64, f64)> = trial.profile.background[host].clone().into();
        // The ends stay: they are its length.
        for place in 1..points.len().saturating_sub(1) {
            let mut fewer = points.clone();
            fewer.remove(place);
            if let Ok(fewer) = Points::try_from(fewer) {
                let mut less = trial.clone();
                less.profile.background.insert(host.clone(), fewer);
                found.push(less);
            }
        }
    }
    found
}

/// The scenario file of a trial: the text of the scenario that it was made from, with its own load and events.
///
/// # Errors
/// When the text is no table, or the trial cannot be written as one.
pub fn scenario_text(base: &str, failure: &Failure) -> Result<String, String> {
    let trial = &failure.trial;
    let mut table: toml::Table = base
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let name = format!("seed-{}", trial.seed);
    let value = |value: Result<toml::Value, toml::ser::Error>| value.map_err(|e| e.to_string());
    let profiles = BTreeMap::from([("found", &trial.profile)]);
    table.insert("name".into(), name.into());
    table.insert(
        "title".into(),
        format!("Broken promise: {}", failure.broken).into(),
    );
    table.insert("default_profile".into(), "found".into());
    table.insert("policies".into(), vec![trial.policy.as_str()].into());
    table.insert("profiles".into(), value(toml::Value::try_from(profiles))?);
    table.insert(
        "events".into(),
        value(toml::Value::try_from(&trial.events))?,
    );
    toml::to_string(&table).map_err(|error| error.to_string())
}

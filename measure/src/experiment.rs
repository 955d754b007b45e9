//! All runs of an experiment: moved ones are compared with the unmoved one of the same profile and repeat.

use std::path::{Path, PathBuf};

use record::SCHEMA;
use record::file::{read_json, write_csv, write_json};
use record::results::{Experiment, Migration, Results, Run};

use crate::folder::MeasureError;
use crate::promises;
use crate::run::{MeasuredRun, measure};

/// Name of the policy that moves nothing.
pub const UNMOVED: &str = "none";

/// An experiment with everything that was computed from its raw data.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What goes into `results.json`.
    pub results: Results,
    /// The runs with their series, in the order of `results.runs`.
    pub runs: Vec<MeasuredRun>,
}

/// The folder of a run.
#[must_use]
pub fn folder_of(dir: &Path, folder: &str) -> PathBuf {
    dir.join("runs").join(folder)
}

/// Measures all runs that `DIR/experiment.json` lists, from their raw data alone.
///
/// # Errors
/// `experiment.json` or a file of a run is absent, broken or contradicts another.
pub fn measure_all(dir: &Path) -> Result<Measured, MeasureError> {
    let path = dir.join("experiment.json");
    let experiment: Experiment = read_json(&path)?;
    let nonsense = |text: String| MeasureError::Nonsense {
        path: path.clone(),
        text,
    };
    if experiment.schema != SCHEMA {
        return Err(nonsense(format!(
            "schema {}; this program reads {SCHEMA}",
            experiment.schema
        )));
    }
    let mut runs = Vec::with_capacity(experiment.runs.len());
    for plan in &experiment.runs {
        // The folder's name comes from a file: it must not lead out of the experiment.
        if plan.folder.is_empty()
            || plan.folder.contains(['/', '\\'])
            || plan.folder.starts_with('.')
        {
            return Err(nonsense(format!(
                "`{}` is not the name of a folder in runs/",
                plan.folder
            )));
        }
        if !(plan.budget_ms.is_finite() && plan.budget_ms > 0.0) {
            return Err(nonsense(format!(
                "budget_ms of `{}` is {}, not a duration",
                plan.folder, plan.budget_ms
            )));
        }
        runs.push(measure(
            &folder_of(dir, &plan.folder),
            plan,
            &experiment.setting.limits,
        )?);
    }
    set_margins(&mut runs);
    let figures: Vec<Run> = runs.iter().map(|measured| measured.run.clone()).collect();
    let promises = promises::judge(&figures);
    Ok(Measured {
        results: Results {
            schema: SCHEMA,
            setting: experiment.setting,
            runs: figures,
            promises,
        },
        runs,
    })
}

/// The results of the experiment in `dir`, computed from its raw data.
///
/// # Errors
/// See [`measure_all`].
pub fn compute(dir: &Path) -> Result<Results, MeasureError> {
    Ok(measure_all(dir)?.results)
}

/// Computes everything and writes `age.csv` and `intervals.csv` of each run and `results.json`, each atomically.
///
/// # Errors
/// See [`measure_all`]; or a file cannot be written.
pub fn write_all(dir: &Path) -> Result<Measured, MeasureError> {
    let measured = measure_all(dir)?;
    for run in &measured.runs {
        let folder = folder_of(dir, &run.run.plan.folder);
        write_csv(&folder.join("age.csv"), &run.ages)?;
        write_csv(&folder.join("intervals.csv"), &run.intervals)?;
    }
    write_json(&dir.join("results.json"), &measured.results)?;
    Ok(measured)
}

/// The unmoved run that `run` is compared with: same profile, same repeat.
#[must_use]
pub fn unmoved_of<'a>(run: &Run, mut runs: impl Iterator<Item = &'a Run>) -> Option<&'a Run> {
    let plan = &run.plan;
    runs.find(|other| {
        other.plan.name == UNMOVED
            && other.plan.profile == plan.profile
            && other.plan.repeat == plan.repeat
    })
}

/// Each instant is counted from its own run's start of the `load` phase: the same seed makes the same load from there.
fn set_margins(runs: &mut [MeasuredRun]) {
    let figures: Vec<Run> = runs.iter().map(|measured| measured.run.clone()).collect();
    for measured in runs {
        let deadline_s =
            unmoved_of(&measured.run, figures.iter()).and_then(|unmoved| unmoved.over_budget_at_s);
        if let (Some(migration), Some(deadline_s)) = (&mut measured.run.migration, deadline_s) {
            set_margin(migration, deadline_s);
        }
    }
}

fn set_margin(migration: &mut Migration, deadline_s: f64) {
    // Microseconds again, so that no noise of a subtraction of seconds is written.
    let margin_ms = migration
        .first_frame_from_target_s
        .map(|seen_s| ((deadline_s - seen_s) * 1e6).round() / 1e3);
    migration.margin_ms = margin_ms;
    // A viewer that never saw the target was not helped in time.
    migration.deadline_met = Some(margin_ms.is_some_and(|margin| margin > 0.0));
}

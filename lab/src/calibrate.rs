//! Measures the knee and the time of a move on this machine, and writes `profile.toml`.

use std::path::Path;
use std::time::Duration;

use measure::span::Span;
use measure::statistics::Values;
use measure::{intervals, picture_age};
use record::profile::{FunctionLoad, Knee, MeasuredMove, MigrationTimes, SweepCell};
use record::raw::{LoadRow, PacketRow};
use record::{HostName, Profile, SCHEMA, Timestamp, Utilization};
use scenario::PolicyName;
use scenario::controller::{Figures, MeasuredFunction};

use crate::error::LabError;
use crate::load::Load;
use crate::monitor::Monitor;
use crate::progress::Progress;
use crate::relocate::{first_frame_after, other_edge, recover, relocate};
use crate::stage::Player;
use crate::world::World;

/// Settling of the chain before anything is measured, and time over which the function's own demand is measured.
const IDLE: Duration = Duration::from_secs(6);
/// The peak of what copying costs is a mean over so many looks of the monitor, 1 s.
const PEAK_LOOKS: usize = 2;
/// Before a move the load stands for this long; the second half is what the move is compared with.
const BEFORE_MOVE: Duration = Duration::from_secs(5);
/// Smallest step beyond the levels asked for.
const STEP_MIN: f64 = 0.05;

/// Measures; raw files of the camera and the player go to `folder`.
///
/// # Errors
/// When something fails, or no knee is found up to the highest level.
pub fn calibrate(
    world: &World<'_>,
    folder: &Path,
    machine: &str,
    progress: &mut Progress,
) -> Result<Profile, LabError> {
    let result = measure_all(world, folder, machine, progress);
    world.keep_consoles(folder);
    world.end_machines()?;
    result
}

fn measure_all(
    world: &World<'_>,
    folder: &Path,
    machine: &str,
    progress: &mut Progress,
) -> Result<Profile, LabError> {
    let scenario = world.scenario;
    let first = scenario.function.host.clone();
    progress.stage("calibration: start");
    let (player, _camera) = world.start_service(&first, folder)?;
    let monitor = world.monitor()?;
    world.wait(IDLE)?;
    let since = Timestamp::now() - IDLE / 2;
    let demand = monitor
        .mean(first.as_str(), since, |row| row.vm)
        .unwrap_or_default();
    progress.note(&format!(
        "function alone: {:.0} % of {first}",
        demand * 100.0
    ));

    let sweep = sweep(world, (&player, &monitor), (&first, demand), progress)?;
    let knee = knee(&sweep, scenario.budget_ms)?;
    progress.note(&format!("knee: {:.1} % of {first}", knee.share() * 100.0));

    progress.stage("calibration: moves");
    let (moves, copying_extra) =
        moves(world, (&player, &monitor), (&first, demand, knee), progress)?;
    let complete: Vec<f64> = moves.iter().map(|one| one.complete_ms).collect();
    let longest = complete.iter().copied().fold(0.0, f64::max);
    Ok(Profile {
        schema: SCHEMA,
        measured_at: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        machine: machine.to_owned(),
        service: world.engine.name().service(scenario),
        knee: Knee {
            utilization: knee,
            budget_ms: scenario.budget_ms,
            sweep,
            rises: None,
        },
        function: FunctionLoad {
            idle: Utilization::clamped(demand),
            copying_extra,
        },
        migration: MigrationTimes {
            mean_ms: complete.iter().sum::<f64>() / complete.len().max(1) as f64,
            p95_ms: if complete.len() < 20 {
                longest
            } else {
                complete
                    .iter()
                    .copied()
                    .collect::<Values>()
                    .quantile(0.95)
                    .unwrap_or(longest)
            },
            moves,
            law: None,
            slowdown: None,
        },
    })
}

/// Offered loads from low to high; ends at the first level at which the budget is broken half of the time. Where the levels
/// asked for do not break it (a core that is faster than their author's), goes on in the last step until the load asks for
/// all of the core.
fn sweep(
    world: &World<'_>,
    (player, monitor): (&Player, &Monitor),
    (host, demand): (&HostName, f64),
    progress: &mut Progress,
) -> Result<Vec<SweepCell>, LabError> {
    let calibration = &world.scenario.calibration;
    let (settle, cell) = (
        Duration::from_secs_f64(calibration.settle_s),
        Duration::from_secs_f64(calibration.cell_s),
    );
    let mut load = world.load(host);
    let mut cells = Vec::new();
    let mut broken = false;
    let beyond = beyond(&calibration.levels, 1.0 + demand);
    let asked = calibration.levels.len();
    for (number, &offered) in calibration.levels.iter().chain(&beyond).enumerate() {
        if broken && number >= asked {
            break;
        }
        progress.stage(format!("calibration: {:.0} % offered", offered * 100.0));
        load.set(offered - demand)?;
        world.wait(settle)?;
        let from = Timestamp::now();
        world.wait(cell)?;
        let to = Timestamp::now();
        // The player writes its rows at least every 200 ms.
        world.wait(Duration::from_millis(250))?;
        let span = Span {
            start: from,
            end: to,
        };
        let ages: Values = picture_age::sample(&player.frames()?, span)
            .iter()
            .map(|row| row.picture_age_ms)
            .collect();
        let found = SweepCell {
            offered,
            utilization: Utilization::clamped(
                monitor
                    .mean(host.as_str(), from, |row| row.actual)
                    .unwrap_or_default(),
            ),
            age_median_ms: round(ages.median()),
            age_p95_ms: round(ages.quantile(0.95)),
            frame_interval_cv: frame_interval_cv(&player.packets()?, span),
        };
        progress.note(&format!(
            "offered {:>3.0} %: used {}, picture age median {:.0} ms, p95 {:.0} ms",
            offered * 100.0,
            found.utilization,
            found.age_median_ms,
            found.age_p95_ms
        ));
        let over = found.age_median_ms > world.scenario.budget_ms;
        broken |= found.age_p95_ms > world.scenario.budget_ms;
        cells.push(found);
        if over {
            break;
        }
    }
    load.set(0.0)?;
    recover(world, player)?;
    Ok(cells)
}

/// Levels that follow `levels` in their last step, up to the first that is `most` or more.
fn beyond(levels: &[f64], most: f64) -> Vec<f64> {
    let (last, step) = match levels {
        [.., before, last] => (*last, (last - before).max(STEP_MIN)),
        [last] => (*last, STEP_MIN),
        [] => return Vec::new(),
    };
    let steps = ((most - last) / step).ceil().max(0.0) as u32;
    (1..=steps)
        .map(|number| last + f64::from(number) * step)
        .collect()
}

/// Utilization at which the p95 of picture age crosses the budget, by a straight line between the last level that keeps it
/// and the first that does not.
fn knee(sweep: &[SweepCell], budget_ms: f64) -> Result<Utilization, LabError> {
    let Some(over) = sweep.iter().position(|cell| cell.age_p95_ms > budget_ms) else {
        return Err(LabError::Measure(
            "the budget was not broken even where the load asked for all of the core: there is no knee to be found. Raise the load's weight (load_weight), or make the picture larger".into(),
        ));
    };
    let (Some(after), Some(before)) = (
        sweep.get(over),
        over.checked_sub(1).and_then(|i| sweep.get(i)),
    ) else {
        return Err(LabError::Measure(format!(
            "the budget of {budget_ms} ms is broken at the lowest level of the sweep already: the function is too heavy for this machine (make the picture smaller), or the machine is busy"
        )));
    };
    let part =
        ((budget_ms - before.age_p95_ms) / (after.age_p95_ms - before.age_p95_ms)).clamp(0.0, 1.0);
    let (low, high) = (before.utilization.share(), after.utilization.share());
    Ok(Utilization::clamped(low + part * (high - low)))
}

/// Moves there and back, each away from a loaded host.
fn moves(
    world: &World<'_>,
    (player, monitor): (&Player, &Monitor),
    (first, demand, knee): (&HostName, f64, Utilization),
    progress: &mut Progress,
) -> Result<(Vec<MeasuredMove>, f64), LabError> {
    let scenario = world.scenario;
    // Only the settings of a move are used of this: no policy decides.
    let figures = Figures {
        knee,
        copying_extra: 0.0,
        measured: Some(MeasuredFunction {
            load: Utilization::clamped(demand),
            migration_ms: 1.0,
            gap_ms: 0.0,
        }),
        ..scenario.model_figures()
    };
    let settings = scenario.controller_settings(PolicyName::Threshold, &figures);
    let mut source = first.clone();
    let mut measured = Vec::new();
    let mut extra = Vec::new();
    for number in 1..=scenario.calibration.moves {
        let target = other_edge(scenario, &source)?;
        let mut load: Load = world.load(&source);
        load.set(scenario.calibration.move_at - demand)?;
        world.wait(BEFORE_MOVE)?;
        let before = Timestamp::now();
        let vm_before = monitor.mean(source.as_str(), before - BEFORE_MOVE / 2, |row| row.vm);
        let used = monitor
            .mean(source.as_str(), before - BEFORE_MOVE / 2, |row| row.actual)
            .unwrap_or_default();
        progress.now(&format!(
            "{number} of {}: {source} to {target}",
            scenario.calibration.moves
        ));
        let runner = player.last().and_then(|row| row.runner);
        let moved = relocate(
            &settings,
            &source,
            world.engine.driver_settings(None),
            &world.orchestrator(),
            world.interrupted(),
        )?;
        let copied = Timestamp::now();
        if let (Some(before_it), Some(peak)) =
            (vm_before, peak(&monitor.rows()?, &source, before, copied))
        {
            extra.push(peak - before_it);
        }
        let shown = first_frame_after(world, player, moved.decided, runner)?;
        let downtime_ms = match moved.downtime_ms {
            Some(said) => Some(said),
            None => world.engine.downtime_ms(&target)?,
        };
        let one = MeasuredMove {
            source_utilization: Utilization::clamped(used),
            total_ms: round(moved.total_ms),
            downtime_ms: round(downtime_ms),
            complete_ms: round(Some(shown.since(moved.decided).as_secs_f64() * 1e3)),
        };
        progress.note(&format!(
            "move {number}, {source} at {}: {:.1} s until the viewer is served from {target} ({}: total {:.1} s, downtime {:.0} ms)",
            one.source_utilization,
            one.complete_ms / 1e3,
            world.engine.name(),
            one.total_ms / 1e3,
            one.downtime_ms
        ));
        measured.push(one);
        load.set(0.0)?;
        recover(world, player)?;
        source = target;
    }
    Ok((
        measured,
        round_to(
            extra
                .into_iter()
                .collect::<Values>()
                .mean()
                .unwrap_or_default()
                .max(0.0),
            1e3,
        ),
    ))
}

/// Highest mean over [`PEAK_LOOKS`] looks of what the virtual machine used on `host` between two instants. A guest that is
/// copied needs most in the first seconds, when its every first write to a page is caught.
fn peak(rows: &[LoadRow], host: &HostName, from: Timestamp, to: Timestamp) -> Option<f64> {
    let inside =
        |row: &&LoadRow| row.host == host.as_str() && row.time_us > from && row.time_us < to;
    let used: Vec<f64> = rows
        .iter()
        .filter(inside)
        .filter_map(|row| row.vm)
        .collect();
    let means = used
        .windows(PEAK_LOOKS)
        .map(|looks| looks.iter().sum::<f64>() / PEAK_LOOKS as f64);
    means.reduce(f64::max)
}

fn frame_interval_cv(packets: &[PacketRow], span: Span) -> f64 {
    let rows = intervals::rows(packets);
    let cv = intervals::summarise(&rows, intervals::FRAME, None, span).cv;
    round_to(cv.unwrap_or_default(), 1e3)
}

fn round(value: Option<f64>) -> f64 {
    round_to(value.unwrap_or_default(), 10.0)
}

fn round_to(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(utilization: f64, age_p95_ms: f64) -> SweepCell {
        SweepCell {
            offered: utilization,
            utilization: Utilization::clamped(utilization),
            age_median_ms: age_p95_ms,
            age_p95_ms,
            frame_interval_cv: 0.1,
        }
    }

    #[test]
    fn the_levels_go_on_until_the_load_takes_all() {
        assert_eq!(beyond(&[0.5, 1.0], 1.75), [1.5, 2.0]);
        assert_eq!(beyond(&[0.5, 1.0], 1.0), [0.0; 0]);
        assert_eq!(beyond(&[0.5], 0.6).len(), 2, "in small steps after one");
    }

    #[test]
    fn the_knee_lies_between_the_levels() {
        let sweep = [cell(0.8, 50.0), cell(0.9, 100.0), cell(1.0, 300.0)];
        assert!((knee(&sweep, 200.0).unwrap().share() - 0.95).abs() < 1e-9);
        assert!(knee(&sweep, 400.0).is_err(), "never broken");
        assert!(knee(&sweep, 20.0).is_err(), "broken from the beginning");
    }
}

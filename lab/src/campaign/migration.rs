//! Live migrations there and back between two loaded hosts, with the video running.

use std::path::Path;
use std::time::Duration;

use record::campaign::MoveRow;
use record::raw::PhaseRow;
use record::{HostName, Timestamp};
use scenario::PolicyName;
use scenario::controller::{Figures, MeasuredFunction};

use crate::error::LabError;
use crate::progress::Progress;
use crate::relocate::{first_frame_after, other_edge, recover, relocate};
use crate::run::write_rows;
use crate::stage::Player;
use crate::world::World;

/// Time for the chain to reach its steady state.
const SETTLE: Duration = Duration::from_secs(2);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Share of the CPU of the source that is asked of the load.
    pub source: f64,
    /// The same at the target.
    pub target: f64,
    /// How many migrations.
    pub moves: u32,
    /// The load stands for this long before each.
    pub settle: Duration,
    /// Copying goes over to post-copy after so many seconds, if it is not at its end by then.
    pub post_copy_after_s: Option<u64>,
    /// Copying is given up after this; the scenario's own time where it is absent.
    pub timeout: Option<Duration>,
}

/// Measures; leaves `moves.csv`, `sent.csv`, `frames.csv`, `packets.csv`, `load.csv` and `phases.csv`. A migration that fails is a row
/// of `moves.csv`, not an error.
///
/// # Errors
/// When something else fails or the person interrupts.
pub fn measure(
    world: &World<'_>,
    plan: &Plan,
    folder: &Path,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let result = watched(world, plan, folder, progress);
    world.keep_consoles(folder);
    world.end_machines()?;
    result
}

fn watched(
    world: &World<'_>,
    plan: &Plan,
    folder: &Path,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let scenario = world.scenario;
    progress.now("starting the guest");
    let mut source = scenario.function.host.clone();
    let (mut player, mut camera) = world.start_service(&source, folder)?;
    world.wait(SETTLE)?;
    let monitor = world.monitor()?;
    let from = Timestamp::now();
    let mut rows = Vec::new();
    for number in 1..=plan.moves {
        player.check()?;
        camera.check()?;
        let target = other_edge(scenario, &source)?;
        progress.now(&format!("{number} of {}: {source} to {target}", plan.moves));
        let (row, moved) = one(world, plan, &player, (number, &source, &target))?;
        // Also where its first frame was late: the function is there.
        if moved {
            source = target;
        }
        rows.push(row);
        write_rows(&folder.join("moves.csv"), &rows)?;
    }
    let to = Timestamp::now();
    drop(camera);
    player.end()?;
    write_rows(&folder.join("load.csv"), &monitor.rows()?)?;
    let phase = PhaseRow {
        phase: "load".into(),
        start_us: from,
        end_us: to,
    };
    write_rows(&folder.join("phases.csv"), &[phase])
}

/// Orders one migration; what came of it, and whether the function is at the target now.
fn one(
    world: &World<'_>,
    plan: &Plan,
    player: &Player,
    (number, source, target): (u32, &HostName, &HostName),
) -> Result<(MoveRow, bool), LabError> {
    let scenario = world.scenario;
    let (mut at_source, mut at_target) = (world.load(source), world.load(target));
    at_source.set(plan.source)?;
    at_target.set(plan.target)?;
    world.wait(plan.settle)?;
    // Only the settings of a move are used of this: no policy decides.
    let figures = Figures {
        copying_extra: 0.0,
        measured: Some(MeasuredFunction {
            load: record::Utilization::IDLE,
            migration_ms: 1.0,
            gap_ms: 0.0,
        }),
        ..scenario.model_figures()
    };
    let mut settings = scenario.controller_settings(PolicyName::Threshold, &figures);
    if let Some(timeout) = plan.timeout {
        settings.limits.migration_ms_max = timeout.as_secs_f64() * 1e3;
    }
    let runner = player.last().and_then(|row| row.runner);
    let ordered = Timestamp::now();
    let moved = relocate(
        &settings,
        source,
        world.engine.driver_settings(plan.post_copy_after_s),
        &world.orchestrator(),
        world.interrupted(),
    );
    let mut row = MoveRow {
        number,
        source: source.to_string(),
        target: target.to_string(),
        decided_us: ordered,
        shown_us: None,
        total_ms: None,
        downtime_ms: None,
        sent_bytes: None,
        pages: None,
        zero_pages: None,
        rounds: None,
        failure: None,
    };
    match moved {
        Ok(moved) => {
            row.decided_us = moved.decided;
            row.total_ms = moved.total_ms;
            row.downtime_ms = moved.downtime_ms;
            row.sent_bytes = moved.copied.map(|copied| copied.bytes);
            row.pages = moved.copied.map(|copied| copied.pages);
            row.zero_pages = moved.copied.map(|copied| copied.zero_pages);
            row.rounds = moved.copied.map(|copied| copied.rounds);
        }
        Err(LabError::Interrupted) => return Err(LabError::Interrupted),
        Err(error) => row.failure = Some(error.to_string()),
    }
    let is_moved = row.failure.is_none();
    if is_moved {
        // At a target that is full, the picture may take its time.
        match first_frame_after(world, player, row.decided_us, runner) {
            Ok(shown) => row.shown_us = Some(shown),
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(error) => row.failure = Some(error.to_string()),
        }
    }
    at_source.set(0.0)?;
    at_target.set(0.0)?;
    recover(world, player)?;
    Ok((row, is_moved))
}

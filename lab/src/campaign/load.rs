//! One level of load beside the function.

use std::path::Path;
use std::time::Duration;

use record::Timestamp;
use record::raw::PhaseRow;

use crate::error::LabError;
use crate::progress::Progress;
use crate::run::write_rows;
use crate::taps::{Tap, Taps};
use crate::world::World;

/// Time for the chain to reach its steady state.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Share of the CPU that is asked of the load.
    pub level: f64,
    /// What the load computes.
    pub method: Option<&'a str>,
    /// The load stands for this long before anything counts.
    pub settle: Duration,
    /// For how long is measured.
    pub duration: Duration,
    /// Where it is looked at on the way of the video.
    pub taps: &'a [Tap],
}

/// What the processor says of a level.
#[derive(Clone, Debug, Default)]
pub struct Processor {
    /// Clock of the CPUs at the end of it, where the machine says so.
    pub mhz: Option<f64>,
    /// Instructions a cycle of the load, or why they are not known; `None` without load.
    pub ipc: Option<Result<f64, String>>,
}

/// Measures, and says what the processor said; leaves `sent.csv`, `frames.csv`, `packets.csv`, `load.csv` and `phases.csv`.
///
/// # Errors
/// When something fails or the person interrupts.
pub fn measure(
    world: &World<'_>,
    plan: &Plan<'_>,
    folder: &Path,
    progress: &mut Progress,
) -> Result<Processor, LabError> {
    let result = watched(world, plan, folder, progress);
    world.keep_consoles(folder);
    world.end_machines()?;
    result
}

fn watched(
    world: &World<'_>,
    plan: &Plan<'_>,
    folder: &Path,
    progress: &mut Progress,
) -> Result<Processor, LabError> {
    let host = &world.scenario.function.host;
    progress.now("starting the guest");
    let (mut player, mut camera) = world.start_service(host, folder)?;
    world.wait(SETTLE)?;
    let monitor = world.monitor()?;
    let mut load = world.load_of(host, plan.method);
    load.set(plan.level)?;
    world.wait(plan.settle)?;
    let mut taps = Taps::start(plan.taps, folder)?;
    let counting = (plan.level > 0.0).then(|| world.count_load(host));
    let from = Timestamp::now();
    let end = from + plan.duration;
    while Timestamp::now() < end {
        player.check()?;
        camera.check()?;
        taps.check()?;
        // Says when stress-ng has ended by itself.
        load.set(plan.level)?;
        let left = (end - Duration::ZERO).seconds_after(Timestamp::now());
        let age = player.picture_age_ms();
        let age = age.map_or_else(|| "unknown".into(), |age| format!("{age:.0} ms"));
        progress.now(&format!("picture age {age}, {left:.0} s to go"));
        world.wait(LOOK_EVERY)?;
    }
    let to = Timestamp::now();
    let processor = Processor {
        mhz: cpu_mhz(),
        ipc: counting.map(|counting| counting?.per_cycle()),
    };
    drop(camera);
    player.end()?;
    load.set(0.0)?;
    taps.end(folder)?;
    write_rows(&folder.join("load.csv"), &monitor.rows()?)?;
    let phase = PhaseRow {
        phase: "load".into(),
        start_us: from,
        end_us: to,
    };
    write_rows(&folder.join("phases.csv"), &[phase])?;
    Ok(processor)
}

/// Clock of the CPUs now, the mean of all that say it.
fn cpu_mhz() -> Option<f64> {
    let cpus = std::fs::read_dir("/sys/devices/system/cpu").ok()?;
    let khz = |path: std::path::PathBuf| -> Option<f64> {
        let text = std::fs::read_to_string(path.join("cpufreq/scaling_cur_freq")).ok()?;
        text.trim().parse().ok()
    };
    let all: measure::statistics::Values =
        cpus.flatten().filter_map(|cpu| khz(cpu.path())).collect();
    all.mean().map(|khz| khz / 1e3)
}

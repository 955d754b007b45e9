//! Live migrations over a path, of a machine of a size: one cell, in an environment of its own.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use record::campaign::{Copying, PathPoint};
use scenario::LabScenario;
use scenario::paths::Paths;

use super::migration;
use crate::check::{Accelerator, Offer};
use crate::error::LabError;
use crate::guest::Ballast;
use crate::path::PathShape;
use crate::placement::wiring::{LinkEmulation, seed_of};
use crate::progress::Progress;
use crate::world::{Beside, World};

/// Measures as [`migration::measure`] does; says how the path's delay was made.
///
/// # Errors
/// When the environment does not stand, something fails, or the person interrupts.
pub fn measure(
    (scenario, plan, point): (&LabScenario, &Paths, &PathPoint),
    (offer, accelerator): (&Offer, Accelerator),
    folder: &Path,
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<LinkEmulation, LabError> {
    let mut scenario = scenario.clone();
    scenario.function.memory_mib = point.memory_mib;
    scenario.copy_at(point.bandwidth_mib_s);
    let shape = PathShape {
        rtt_ms: point.rtt_ms,
        loss: point.loss_percent / 100.0,
    };
    let beside = Beside {
        ballast: (point.filled_mib > 0).then_some(Ballast {
            mib: point.filled_mib,
            dirty_mib_s: point.dirty_mib_s,
        }),
        path: Some((shape, offer.into(), seed_of(folder))),
    };
    let world = World::build_beside(&scenario, super::ENGINE, beside, accelerator, interrupted)?;
    let after = match point.copying {
        Copying::PreCopy => None,
        Copying::PostCopy => Some(*plan.post_copy_after_s.get_ref()),
    };
    let plan = migration::Plan {
        source: 0.0,
        target: 0.0,
        moves: *plan.moves.get_ref(),
        settle: Duration::from_secs_f64(*plan.settle_s.get_ref()),
        post_copy_after_s: after.map(u64::from),
        timeout: Some(Duration::from_secs_f64(*plan.timeout_s.get_ref())),
    };
    migration::measure(&world, &plan, folder, progress)?;
    Ok(world.link_emulation())
}

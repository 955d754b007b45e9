//! A placement for real: hosts on switches, links with delay and jitter, the service's functions where it says, the delay seen.
//!
//! Read in this order: [`wiring`] (hosts, switches, links), [`machine`] (a function's virtual machine),
//! [`service`] (camera, functions, player), [`run`] (one measurement).

pub mod machine;
pub mod run;
pub mod service;
pub mod wiring;

pub use run::run;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use measure::placement::PlacementFigures;
use scenario::Placement;

use crate::check::Offer;
use crate::error::{LabError, file};
use crate::progress::Progress;

/// The thesis takes 100 shots, one a second (3.1.1).
const DURATION: Duration = Duration::from_secs(100);
/// The thesis prints no number of pings.
const PINGS: u32 = 20;

/// Measures a placement once into a new folder.
///
/// # Errors
/// When something is missing, fails, or the person interrupts.
pub fn measure(
    placement: &Placement,
    offer: &Offer,
    folder: &Path,
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<PlacementFigures, LabError> {
    let accelerator = offer.require()?;
    std::fs::create_dir_all(folder).map_err(file(folder))?;
    let plan = run::Plan {
        placement,
        duration: DURATION,
        pings: PINGS,
        folder,
    };
    let kernel = if offer.netem {
        wiring::Kernel::Netem
    } else {
        wiring::Kernel::NoNetem
    };
    run(&plan, accelerator, kernel, interrupted, progress)?;
    PlacementFigures::read(folder).map_err(|error| LabError::Measure(error.to_string()))
}

//! A placement for real: hosts on switches, links with delay and jitter, the service's functions where it says, the delay seen.
//!
//! Read in this order: [`wiring`] (hosts, switches, links), [`machine`] (a function's virtual machine),
//! [`service`] (camera, functions, player), [`vpn`], [`run`] (one measurement).

pub mod machine;
pub mod run;
pub mod service;
pub mod vpn;
pub mod wiring;

pub use run::run;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use scenario::Placement;

use self::wiring::LinkEmulation;
use crate::check::Offer;
use crate::engine::EngineName;
use crate::error::{LabError, file};
use crate::progress::Progress;
use crate::taps::Tap;

/// The thesis takes 100 shots, one a second (3.1.1).
const DURATION: Duration = Duration::from_secs(100);
/// The thesis prints no number of pings.
const PINGS: u32 = 20;

/// How the placement is measured when it is measured by itself.
#[must_use]
pub const fn as_the_thesis() -> (Duration, u32, &'static [Tap]) {
    (DURATION, PINGS, &[])
}

/// Measures a placement once into a new folder: for how long, after how many pings, and what passes where on the way.
///
/// # Errors
/// When something is missing, fails, or the person interrupts.
pub fn measure(
    placement: &Placement,
    (duration, pings, taps): (Duration, u32, &[Tap]),
    offer: &Offer,
    folder: &Path,
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<LinkEmulation, LabError> {
    let accelerator = offer.require(EngineName::Qemu)?;
    std::fs::create_dir_all(folder).map_err(file(folder))?;
    let plan = run::Plan {
        placement,
        duration,
        pings,
        taps,
        folder,
    };
    run(&plan, accelerator, offer.into(), interrupted, progress)
}

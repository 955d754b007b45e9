//! A placement for real: hosts on switches, links with delay and jitter, the service's functions where it says, the delay seen.
//!
//! Read in this order: [`wiring`] (hosts, switches, links), [`machine`] (a function's virtual machine),
//! [`service`] (camera, functions, player), [`vpn`], [`run`] (one measurement), [`starts`] (one of another kind).

pub mod machine;
pub mod run;
pub mod service;
pub mod starts;
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
pub const fn as_the_thesis() -> How<'static> {
    How {
        duration: DURATION,
        pings: PINGS,
        taps: &[],
        shots: None,
        starts: None,
    }
}

/// How a placement is measured.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// For how long; with screenshots, for as long as they take.
    pub duration: Duration,
    /// Pings before.
    pub pings: u32,
    /// Where it is looked at on the way of the video.
    pub taps: &'a [Tap],
    /// How many screenshots are taken of the player's screen.
    pub shots: Option<u32>,
    /// How often streaming is started and stopped, in place of all of these but the pings.
    pub starts: Option<u32>,
}

/// Measures a placement once into a new folder.
///
/// # Errors
/// When something is missing, fails, or the person interrupts.
pub fn measure(
    placement: &Placement,
    how: How<'_>,
    offer: &Offer,
    folder: &Path,
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<LinkEmulation, LabError> {
    let accelerator = offer.require(EngineName::Qemu)?;
    std::fs::create_dir_all(folder).map_err(file(folder))?;
    let plan = run::Plan {
        placement,
        how,
        folder,
    };
    run(&plan, accelerator, offer.into(), interrupted, progress)
}

//! `forestall lab --inventory`: hosts that are machines reached by ssh.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use lab::engine::EngineName;
use lab::experiment::Machines;
use scenario::{Inventory, LabScenario};

use super::lab::{failure, read};
use super::measure::print_json;
use super::{Failure, FailureKind, Outcome};

/// The inventory of a scenario.
fn read_inventory(path: &Path, scenario: &LabScenario) -> Result<Inventory, Failure> {
    Inventory::read(path, scenario).map_err(|error| Failure {
        kind: FailureKind::Configuration,
        error: error.into(),
    })
}

/// What the machines of an inventory lack.
pub(super) fn check_inventory(
    scenario: &Path,
    inventory: &Path,
    json: bool,
) -> Result<Outcome, Failure> {
    let scenario = read(scenario)?;
    let inventory = read_inventory(inventory, &scenario)?;
    let kept = lab::site::Kept::make().map_err(failure)?;
    let offer = lab::remote::check(&scenario, &inventory, kept.folder());
    if json {
        print_json(&offer)?;
    } else {
        print!("{offer}");
    }
    if offer.ready {
        return Ok(Outcome::Done);
    }
    Err(Failure {
        kind: FailureKind::Missing,
        error: anyhow!("the lab cannot run on these machines yet: see what is missing above"),
    })
}

/// Where a calibration is kept when nobody says where: that of other machines beside their inventory.
pub(super) fn default_profile(engine: EngineName, inventory: Option<&Path>) -> PathBuf {
    match inventory {
        None => engine.default_profile(),
        Some(inventory) => inventory.with_extension("profile.toml"),
    }
}

/// A scenario, with the addresses of the machines of an inventory where there is one.
pub(super) fn bound(
    path: &Path,
    engine: EngineName,
    inventory: Option<&Path>,
) -> Result<(LabScenario, Option<Inventory>), Failure> {
    let scenario = read(path)?;
    let Some(inventory) = inventory else {
        return Ok((scenario, None));
    };
    if engine != EngineName::Qemu {
        return Err(Failure {
            kind: FailureKind::Configuration,
            error: anyhow!(
                "on machines of an inventory QEMU runs and moves the function's machine: --engine {engine} is for this machine alone"
            ),
        });
    }
    let inventory = read_inventory(inventory, &scenario)?;
    Ok((scenario.on(&inventory), Some(inventory)))
}

/// Looks at this machine where it is the one that is worked on, and only then.
pub(super) fn on_machines<T>(
    inventory: Option<&Inventory>,
    work: impl FnOnce(Machines<'_>) -> T,
) -> T {
    match inventory {
        Some(inventory) => work(Machines::Of(inventory)),
        None => work(Machines::This(&lab::check::look())),
    }
}

//! One file that says all of an experiment: hosts, function, load over time, migration, policies, what is allowed.
//! The lab runs it for real, the simulator in virtual time.
//!
//! Units stand last in a key. A key that is not known, a value out of range, a host that does not exist or a profile that
//! goes back in time is refused with file and line before anything is started.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod campaign;
pub mod controller;
pub mod error;
pub mod inventory;
pub mod lab;
pub mod load;
pub mod migration;
pub mod paths;
pub mod placement;
pub mod read;
pub mod types;

pub use campaign::{Breakdown, Campaign, Shots};
pub use error::ScenarioError;
pub use inventory::Inventory;
pub use lab::{LabScenario, NotForLab};
pub use load::LoadProfile;
pub use migration::MigrationLaw;
pub use placement::Placement;
pub use types::{Chain, Event, Host, PolicyName, Role, Scenario, TimedEvent, Video, Viewer};

/// Version of the file. 2: functions by name, what the lab alone needs may be missing, events.
pub const SCHEMA: u32 = 2;

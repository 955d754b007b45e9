//! What is written and read back, each format with a version: raw data of a run, samples, decisions, results, profile.
//!
//! Units stand last in a name (`_us`, `_ms`, `_s`); shares and utilizations are `0..=1`. A figure that was not
//! measured is `None` (`null`, an empty CSV field), never 0.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod campaign;
pub mod decision;
mod derived;
pub mod differences;
pub mod file;
pub mod name;
pub mod precopy;
pub mod profile;
pub mod raw;
pub mod report;
pub mod residency;
pub mod results;
pub mod sample;
pub mod slowdown;
pub mod time;
pub mod utilization;

pub use decision::{Decision, Event};
pub use file::{CsvWriter, RecordError, read_csv};
pub use name::{HostName, VmName};
pub use profile::Profile;
pub use residency::{Doubt, Residency, Verdict};
pub use sample::{Reading, Sample};
pub use slowdown::Slowdown;
pub use time::Timestamp;
pub use utilization::Utilization;

/// The version that every format of this crate carries.
pub const SCHEMA: u32 = 1;

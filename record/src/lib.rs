//! What is written and read back, each format with a version: raw data of a run, samples, decisions, results, profile.
//!
//! Units stand last in a name (`_us`, `_ms`, `_s`); shares and utilizations are `0..=1`. A figure that was not
//! measured is `None` (`null`, an empty CSV field), never 0.

pub mod raw;
pub mod time;

pub use time::Timestamp;

/// The version that every format of this crate carries.
pub const SCHEMA: u32 = 1;

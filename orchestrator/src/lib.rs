//! Watches hosts, lets `control` decide, and has a driver do it: poll -> control -> driver.
//!
//! What came in and what was decided of it is written down before it is acted on, so that it can be explained, and gone on
//! with after `kill -9`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod agent;
pub mod alarm;
pub mod api;
pub mod bench;
pub mod check;
pub mod client;
mod clock;
pub mod config;
pub mod counters;
pub mod counts;
pub mod discover;
mod error;
pub mod explain;
pub mod journal;
pub mod knees;
mod learn;
pub mod log;
mod measured;
pub mod mover;
mod processors;
pub mod progress;
pub mod prometheus;
pub mod recording;
pub mod reports;
pub mod run;
#[cfg(test)]
mod scripted;
pub mod snmp;
mod sources;
pub mod survey;
pub mod usage;

pub use config::Config;
pub use error::OrchestratorError;
pub use run::{Site, run};

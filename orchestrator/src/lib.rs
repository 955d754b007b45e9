//! Watches hosts, lets `control` decide, and has a driver do it: poll -> control -> driver.
//!
//! Every input of the controller is written to `inputs.jsonl` before it is handled and every decision to `decisions.jsonl`
//! before it is acted on, so that a run can be replayed and explained.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod agent;
pub mod bench;
pub mod config;
pub mod counters;
pub mod journal;
pub mod mover;
pub mod run;
pub mod snmp;

pub use config::Config;
pub use run::{OrchestratorError, run};

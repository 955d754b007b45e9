//! A scenario in virtual time: the same file as in the lab, the very same `control`, and a model in place of machines.
//!
//! Read in this order: [`demand`] and [`noise`] (load over time), [`world`] (what the machines are taken to do), [`exposure`]
//! (when functions suffer), [`moves`] (what became of each move), [`engine`] (controller and world, event by event), [`invariants`]
//! (what must hold of every decision), [`run`](mod@run) (a scenario), [`replay`](mod@replay) (a recorded run's inputs through the
//! same code once more), [`error`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bench;
pub mod chance;
pub mod contest;
pub mod demand;
pub mod engine;
pub mod error;
pub mod exposure;
pub mod invariants;
pub mod moves;
pub mod noise;
pub mod replay;
mod rule_run;
pub mod run;
pub mod sweep;
pub mod world;

pub use engine::Flaw;
pub use error::SimError;
pub use moves::Move;
pub use replay::replay;
pub use run::{SimRun, run, run_with};

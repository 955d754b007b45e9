//! A scenario in virtual time: the same file as in the lab, the very same `control`, and a model in place of machines.
//!
//! Read in this order: [`world`] (what the machines are taken to do), [`run`] (controller and world, event by event),
//! [`replay`](mod@replay) (a recorded run's inputs through the same code once more), [`error`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod chance;
pub mod demand;
pub mod error;
pub mod fleet;
pub mod forecasters;
pub mod generate;
pub mod noise;
pub mod refine;
pub mod replay;
pub mod run;
pub mod trace;
pub mod world;

pub use error::SimError;
pub use replay::replay;
pub use run::{LoadPoint, MoveTimes, SimRun, run, run_with};

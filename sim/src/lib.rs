//! The controller in virtual time: scenarios, load traces, and the rules that other systems ship.
//!
//! Read in this order. Load over time: [`demand`], [`noise`], [`chance`]. The world: [`world`] (what the machines are taken to do),
//! [`exposure`] (when functions suffer), [`moves`] (what became of each move). The very same `control` in it: [`engine`] (event by
//! event, with faults), [`invariants`] (what must hold of every decision), [`run`](mod@run) (a scenario: the same file as in the
//! lab), [`sweep`] (scenarios from seeds), [`replay`](mod@replay) (a recorded run's inputs through the same code once more). The proof
//! on load: [`trace`] (public load traces), [`refine`](mod@refine) (five-minute values to seconds), [`fleet`] (machines packed on hosts),
//! [`generate`] (load that traces lack), [`rules`] (what other systems ship), [`oracle`] (what one who knows the future can do),
//! [`contest`] (all of them, judged), [`forecasters`] (ways to foresee load, compared), [`interval`] (means and quantiles),
//! [`report`] (one HTML file), [`bench`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bench;
pub mod chance;
pub mod contest;
pub mod demand;
pub mod engine;
pub mod error;
pub mod exposure;
pub mod fleet;
pub mod forecasters;
pub mod generate;
pub mod interval;
pub mod invariants;
pub mod moves;
pub mod noise;
pub mod oracle;
pub mod refine;
pub mod replay;
pub mod report;
mod rule_run;
pub mod rules;
pub mod run;
pub mod sweep;
pub mod trace;
pub mod world;

pub use engine::Flaw;
pub use error::SimError;
pub use moves::Move;
pub use replay::replay;
pub use run::{SimRun, run, run_with};

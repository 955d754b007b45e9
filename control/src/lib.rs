//! Samples in, decisions out: when to move a service function, where to, and how to know that it arrived.
//!
//! There is no IO, no clock and no chance in here: `now` and everything from outside come in as values, and every
//! decision goes out as one. The orchestrator, the lab and the simulator drive this same code.
//!
//! Read in this order: [`input`] (what comes in), [`settings`], [`forecast`], [`policy`] (is it time?), [`placement`]
//! (where to?), [`reallocation`] (one move, from plan to verdict), [`controller`] (all of it together), [`journal`] (how
//! inputs are kept for a replay). What goes out is [`record::Event`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod controller;
pub mod forecast;
pub mod host;
pub mod input;
pub mod journal;
pub mod placement;
pub mod policy;
pub mod reallocation;
pub mod settings;

pub use controller::Controller;
pub use input::{CopyOutcome, Input};
pub use settings::{HandOver, Limits, Placement, Policy, Settings, SettingsError};

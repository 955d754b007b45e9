//! Samples in, decisions out: when to move a service function, where to, and how to know that it arrived.
//!
//! There is no IO, no clock and no chance in here: `now` and everything from outside come in as values, and every
//! decision goes out as one. The orchestrator, the lab and the simulator drive this same code.
//!
//! Read in this order: [`input`] (what comes in), [`settings`], [`picture_age`] (what load does to a viewer), [`host`],
//! [`forecast`], [`policy`] (is it time?), [`placement`] (which function, and where to?), `decide` (a move, or why not),
//! [`reallocation`] (one move, from plan to verdict), `outside` (what is seen beside moves), [`controller`] (all of it together), [`view`] (what it shows of itself), [`journal`] (how inputs are kept
//! for a replay). What goes out is [`record::Event`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod agenda;
pub mod controller;
mod decide;
pub mod forecast;
mod function;
pub mod host;
pub mod input;
pub mod journal;
mod outside;
pub mod picture_age;
pub mod placement;
pub mod policy;
pub mod reallocation;
pub mod settings;
pub mod view;

pub use controller::Controller;
pub use host::HostId;
pub use input::{CopyOutcome, Input};
pub use picture_age::{PictureAge, PictureAgeError};
pub use settings::{HandOver, Limits, Mobility, Placement, Policy, Settings, SettingsError, Trust};
pub use view::{Freshness, View};

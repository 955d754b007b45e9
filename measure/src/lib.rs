//! From the raw data of an experiment to figures, judgements, and a report.
//!
//! Data flow: [`folder`] reads what a run left -> [`picture_age`], [`intervals`], [`frames`], [`handover`] measure one
//! thing each -> [`run`] puts them together -> [`experiment`] pairs moved with unmoved runs -> [`promises`] judges ->
//! [`table`] and [`report`] show ([`drawing`] is what any report can be made of). [`verify`](mod@verify) does it again from the raw data and compares.
//!
//! Beside it: [`placement`] measures what a placement left (section 3 of the thesis), [`capture`] and [`arrivals`] measure anybody's capture file, [`knee`](mod@knee) finds the knee of a sweep, and
//! [`reference`] is what the thesis printed.
//!
//! [`campaign`] makes tables, figures and findings of many measurements, placements and others.
//!
//! Nothing here has a clock or looks outside the files that it is given.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod statistics;

pub mod span;

pub mod decisions;
pub mod folder;
pub mod frames;
pub mod handover;
pub mod intervals;
pub mod picture_age;
pub mod run;

pub mod experiment;
pub mod promises;
pub mod verify;

pub mod arrivals;
pub mod campaign;
pub mod capture;
pub mod knee;
pub mod least_squares;
pub mod placement;
pub mod screenshots;

pub mod drawing;
pub mod histogram;
pub mod reference;
pub mod report;
pub mod table;
pub mod thesis;
pub mod words;

#[cfg(test)]
mod testing;

pub use experiment::{compute, write_all};
pub use folder::MeasureError;
pub use report::write_report;
pub use table::{markdown_table, terminal_table};
pub use verify::{Difference, verify};

//! Hosts with load, and what can be moved between them.
//!
//! Read in this order: [`Fleet`], `packing` (machines of a trace become one), `overloads` (how often it is too busy).

mod overloads;
mod packing;

use std::sync::Arc;

use crate::demand::Demand;

pub use overloads::Overloads;
pub use packing::{PackError, Packing, pack};

/// Hosts with load over time, and what can be moved between them.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The hosts.
    pub hosts: Vec<FleetHost>,
    /// For how long there is load.
    pub duration_s: f64,
}

/// A host.
#[derive(Clone, Debug)]
pub struct FleetHost {
    /// Its name.
    pub name: String,
    /// What cannot be moved.
    pub demand: Arc<dyn Demand>,
    /// What can, and is here at the beginning.
    pub functions: Vec<FleetFunction>,
}

/// A virtual machine that can be moved.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetFunction {
    /// Its name.
    pub name: String,
    /// Share of a host's CPU that it takes.
    pub load: f64,
    /// Its memory.
    pub memory_mib: u32,
}

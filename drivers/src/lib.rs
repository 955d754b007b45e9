//! Decisions become moves of real virtual machines.
//!
//! One trait, [`Driver`], one module an engine. A driver reports what it *saw*, never what it hopes: an error says whether
//! anything may have changed, and where a guest is, is only ever answered by looking.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod driver;
pub mod libvirt;
pub mod nova;
pub mod qemu;
pub mod tagged;

pub use driver::{CpuTimes, Driver, DriverError, Figures, JobProgress, Plan};
pub use libvirt::Libvirt;
pub use nova::Nova;
pub use qemu::Qemu;

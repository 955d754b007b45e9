//! QEMU by its monitor (QMP), without a manager in between.
//!
//! The safe hand-over: the target is started *held* (`-S`) and waits for the guest; `return-path` is on, so that the source
//! completes only after the target has answered that it has everything; the source is seen stopped before the target is
//! told to run. So there is never a moment in which both ends may run by themselves.

pub mod config;
mod copying;
mod cpu;
mod disks;
mod driver;
mod ending;
#[cfg(test)]
mod fuzz;
mod guest;
mod launch;
mod mirror;
pub mod monitor;
mod options;
mod stream;

pub use config::{QemuConfig, QemuConfigError, QemuEnd, QemuTls};
pub use disks::Disk;
pub use driver::Qemu;
pub use monitor::{Monitor, MonitorError};

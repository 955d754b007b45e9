//! The guest: Debian's cloud kernel, an initramfs of busybox and modules, and a read-only root image with the programs of
//! the function and the shared libraries that they need, taken from the Debian packages on this machine.
//!
//! The root image is a disk that both ends read: nothing of it has to be copied in a migration.

mod ballast;
mod build;

pub use ballast::Ballast;
pub use build::{Guest, KERNEL_PACKAGE};

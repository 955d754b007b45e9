//! libvirt, by its own client `virsh`, peer to peer: the source's libvirtd drives the migration and lets the guest run at
//! the target, Forestall says when and where, and looks.
//!
//! `virsh` and not the library, since a call into libvirt's library cannot be given up: a libvirtd that is frozen would keep
//! a thread for ever. A process can be killed; it knows every transport (`qemu+unix`, `qemu+ssh`, `qemu+tls`, `qemu+tcp`),
//! and nothing is linked (the library's licence is the LGPL).
//!
//! What libvirt does by itself is left to it: it hands over, it clears a target away whose source has gone, and an incoming
//! guest is never destroyed from here. Where the answer of a target is lost at the last moment libvirt lets the source run again,
//! and the target may run, too: what keeps that from the disks is libvirt's lock manager (virtlockd), and here it is an alarm.

pub mod config;
mod driver;
pub mod tagged;
mod virsh;

pub use config::{LibvirtConfig, LibvirtHost};
pub use driver::Libvirt;

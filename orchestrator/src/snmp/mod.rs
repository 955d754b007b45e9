//! SNMP: what is asked of agents, and what their answers are worth.
//!
//! async-snmp has the encodings and the cryptography. The exchange itself is here, without IO: one [`Poller`] for all agents,
//! to which time and datagrams come as values, so that each answer can be told to be in time, late, doubled, overtaken or
//! forged, which a client per agent cannot.

pub mod config;
mod failure;
pub mod fleet;
mod message;
mod mib;
mod poller;
mod schedule;
pub mod secret;
mod tally;
mod usm;

pub use config::{Access, AuthProtocol, PrivacyProtocol, Snmp, SnmpError, SnmpVersion};
pub use failure::Failure;
pub use mib::{Count, Load, Reading, Ticks};
pub use poller::{Event, Poller, Transmit};
pub(crate) use secret::private_file;
pub use secret::{Secret, SecretError, SecretSource};
pub use tally::{Tally, Totals};

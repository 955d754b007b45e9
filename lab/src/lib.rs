//! A scenario run for real on one machine: hosts in network namespaces, each edge server with its own share of the CPU,
//! real virtual machines, real SNMP agents, real load, real video.
//!
//! Read in this order: [`check`] (what the machine offers), [`site`] (one lab at a time, and what a killed one left),
//! [`network`], [`path`], [`cgroup`], [`process`] (programs on a host), [`guest`], [`vm`] and [`engine`], [`agent`], [`load`], [`stage`]
//! (camera and player), [`monitor`] (true CPU), [`world`] (all of these together), then [`calibrate`] and [`experiment`].
//!
//! Hosts may be machines of an inventory, too: [`ground`] says where each is, [`ssh`] reaches them, [`remote`] asks them, and
//! [`stand`] is what they answer and do.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod agent;
pub mod calibrate;
pub mod campaign;
pub mod capture;
pub mod cgroup;
pub mod check;
pub mod engine;
pub mod error;
pub mod experiment;
mod ffmpeg;
pub mod ffplay;
pub mod ground;
pub mod guest;
pub mod ipc;
pub mod links;
pub mod load;
pub mod monitor;
pub mod network;
pub mod path;
pub mod placement;
pub mod process;
pub mod progress;
pub mod relocate;
pub mod remote;
pub mod run;
pub mod site;
pub mod ssh;
pub mod stage;
pub mod stand;
pub mod taps;
pub mod vm;
pub mod world;

pub use error::LabError;

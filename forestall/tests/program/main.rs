//! The program from outside: each file starts `forestall` as a user does, on real sockets, agents, virtual machines and video.
//!
//! One test program of all of them: linking 22 took minutes of each run. What needs root and the machine for itself (`lab`,
//! `hosts`, `tshark`, `libvirt`, `sandbox`, `reliability`, `openstack`) runs when `FORESTALL_LAB_TESTS` is set, chosen by the name of its module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

mod agents;
mod api;
mod bench;
mod browser;
mod capture;
mod dashboard;
mod disks;
mod documents;
mod encrypted;
mod faults;
mod hosts;
mod lab;
mod libvirt;
mod measure;
mod openstack;
mod orchestrate;
mod packaging;
mod peers;
mod qemu;
mod refusals;
mod reliability;
mod reports;
mod sandbox;
mod screen;
mod secrets;
mod serve;
mod sound;
mod streams;
mod tidy;
mod tshark;
mod undecodable;
mod video;
mod window;

//! Bytes <-> values that no library does well enough for live video: no IO, no clock, no panic on any input.
//!
//! [`mpegts`] hands over a coded picture the moment its last byte is there; [`rtp`] carries it in numbered datagrams;
//! [`code_strip`] carries the time a picture was taken in the picture itself; [`h264`] says what a stream asks of a decoder.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod code_strip;
pub mod h264;
pub mod mpegts;
pub mod rtp;

//! The video service: `capture` (a camera) -> `overlay` (the function that moves) -> `play` (the screen), MPEG-2 in MPEG-TS
//! over UDP. No stage holds a frame: what goes into a codec comes out before the next goes in.
//!
//! The stages block in the socket and look at their `stop` flag at least every 100 ms. Each may print its figures once a
//! second.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod capture;
pub mod overlay;
pub mod play;

pub mod clock_picture;
pub mod codec;
pub mod picture;
mod scene;
pub mod text;

pub mod error;
pub mod identity;
pub mod net;
mod program;
mod stats;
mod table;

pub use error::{ErrorKind, MediaError};
pub use net::UdpUrl;
pub use stats::{StatsOutput, Totals};

//! The video service: `capture` (a camera) -> `overlay` (the function that moves) -> `relay` -> `serve` -> `play` (the
//! screen), MPEG-2 or H.264 in MPEG-TS over UDP, RTP, TCP or HTTP. No stage holds a frame: what goes into a codec comes out before
//! the next goes in.
//!
//! The stages block in the socket and look at their `stop` flag at least every 100 ms, but while they connect to a server
//! ([`net::CONNECT_WAIT`]). Each may print its figures once a second.
//!
//! `relay` and `serve` need no codec: without the feature `codec` they are all there is, and FFmpeg's libraries are not
//! needed.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(feature = "codec")]
pub mod bench;
#[cfg(feature = "codec")]
pub mod capture;
#[cfg(feature = "codec")]
pub mod overlay;
#[cfg(feature = "codec")]
pub mod play;
pub mod relay;
#[cfg(feature = "codec")]
pub mod screenshots;
pub mod serve;
#[cfg(feature = "codec")]
pub mod watch;

#[cfg(feature = "codec")]
pub mod bitmap;
#[cfg(feature = "codec")]
pub mod clock_picture;
#[cfg(feature = "codec")]
pub mod codec;
#[cfg(feature = "codec")]
pub mod picture;
#[cfg(feature = "codec")]
mod scene;
#[cfg(feature = "codec")]
mod seen;
#[cfg(feature = "codec")]
mod tesseract;
#[cfg(feature = "codec")]
pub mod text;
#[cfg(feature = "codec")]
mod tile;

pub mod error;
pub mod ffmpeg;
#[cfg(feature = "codec")]
pub mod identity;
pub mod net;
#[cfg(feature = "codec")]
mod program;
mod reporting;
mod stats;
#[cfg(feature = "codec")]
mod table;
pub mod url;
#[cfg(feature = "codec")]
mod x_server;
#[cfg(feature = "codec")]
pub mod y4m;

pub use error::{ErrorKind, MediaError};
pub use reporting::Reports;
pub use stats::{StatsOutput, Totals};
pub use url::StreamUrl;
#[cfg(feature = "codec")]
pub use wire::mpegts::VideoCodec;

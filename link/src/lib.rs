//! A link between two hosts with the delay, jitter, loss, rate and reordering of another one: a data centre over the sea, or a
//! robot on a wireless network.
//!
//! ```text
//!   host ── TAP ──> Lane (up)   ──> TAP ── switch
//!        <───────── Lane (down) <──
//! ```
//!
//! Where the kernel has netem and netem can express a shape, [`netem`] says it to `tc`. Everywhere else [`forward`] carries the
//! frames itself. A [`Lane`] has no clock and no IO: the time goes in, and what becomes of a frame comes out.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod forward;
pub mod lane;
pub mod lateness;
pub mod netem;
pub mod probe;
pub mod shape;
pub mod tap;

pub use forward::{Forwarder, LinkError, Traffic};
pub use lane::{Fate, Lane};
pub use shape::{Distribution, Jitter, Loss, Shape, ShapeError};
pub use tap::Tap;

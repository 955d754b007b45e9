//! Transport streams in and out: [`Input`] and [`Output`], whatever carries them.

pub mod answer;
mod http;
mod input;
mod output;
mod push;
mod rtp;
mod socket;
mod tcp;
mod udp;

pub use answer::HttpError;
pub use input::{Chunk, Input, InputCounters};
pub use output::Output;

use std::time::Duration;

/// A receiver looks at its stop flag at least this often, but for the time that connecting takes ([`CONNECT_WAIT`]).
pub const RECEIVE_WAIT: Duration = Duration::from_millis(50);
/// Longest wait for a connection, and for the answer to a request.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// A connection that was lost or refused is tried again after this.
pub const RECONNECT_WAIT: Duration = Duration::from_millis(500);

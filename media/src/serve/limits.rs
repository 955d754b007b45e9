//! What a server may use.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at once.
    pub streams_max: usize,
    /// Viewers at once, of all streams.
    pub viewers_max: u64,
    /// Connections at once, those that have not said yet what they want included.
    pub connections_max: u64,
    /// Bytes of video and tables kept for each stream: from its last key picture on, and what viewers may lag behind.
    pub stream_bytes_max: usize,
    /// A viewer that lags further behind goes on from the last key picture, and loses what is between.
    pub lag_max: Duration,
    /// A connection that says nothing, a publisher that sends nothing, a viewer that takes nothing for so long is closed.
    pub idle: Duration,
    /// A stream that nobody publishes or watches for so long is forgotten.
    pub stream_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_max: 32,
            viewers_max: 1000,
            connections_max: 4000,
            stream_bytes_max: 16 << 20,
            lag_max: Duration::from_secs(1),
            idle: Duration::from_secs(10),
            stream_idle: Duration::from_secs(60),
        }
    }
}

/// Each connection is an open file, and the usual limit of 1024 is lower than what a server is for. What the system does
/// not allow is not had: then connections beyond it wait.
pub(crate) fn raise_open_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

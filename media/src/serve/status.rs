//! What the server does now, for programs and for the page.

use std::sync::atomic::{AtomicU64, Ordering};

use record::Timestamp;
use serde::Serialize;
use wire::mpegts::VideoCodec;

use super::Server;
use super::stream::Stream;

/// `/status.json`. Counts are since the start, rates of the last second.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) time_us: Timestamp,
    pub(super) uptime_s: u64,
    pub(super) viewers: u64,
    pub(super) viewers_max: u64,
    pub(super) connections: u64,
    pub(super) connections_max: u64,
    /// Connections beyond the limit.
    pub(super) connections_refused: u64,
    /// Connections that said or took nothing for too long.
    pub(super) timed_out: u64,
    /// Requests without the right token.
    pub(super) denied: u64,
    /// What browsers said and nobody understands, or believes.
    pub(super) nonsense: u64,
    pub(super) streams_max: usize,
    pub(super) streams: Vec<StreamStatus>,
}

/// One stream.
#[derive(Debug, Serialize)]
pub(super) struct StreamStatus {
    pub(super) name: String,
    pub(super) state: State,
    /// Who publishes it now.
    pub(super) publisher: Option<String>,
    pub(super) codec: Option<&'static str>,
    pub(super) viewers: u64,
    pub(super) bitrate_in_bps: u64,
    pub(super) bitrate_out_bps: u64,
    pub(super) frames_per_s: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) frames_in: u64,
    /// Pictures of a new publisher before its first key picture.
    pub(super) frames_dropped: u64,
    /// Packets that never came here, by their counters.
    pub(super) packets_lost: u64,
    /// Groups of pictures that viewers lost, wholly or in part, because they were too slow; summed over viewers.
    pub(super) gops_lost: u64,
    /// Publishers so far.
    pub(super) publishers: u64,
    /// Bytes kept for late and slow viewers.
    pub(super) kept_bytes: usize,
    /// Time since the last packet.
    pub(super) silent_ms: Option<u64>,
}

/// Whether a stream comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Nobody has published it yet.
    Waiting,
    /// Packets come.
    Live,
    /// Nothing has come for a second.
    Silent,
}

/// A stream from which nothing has come for so long is silent.
const SILENT_AFTER_MS: u64 = 1000;

impl Status {
    pub(super) fn of(server: &Server, now: Timestamp) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let limits = &server.config.limits;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            time_us: now,
            uptime_s: now.since(server.started).as_secs(),
            viewers: load(&server.viewers),
            viewers_max: limits.viewers_max,
            connections: load(&server.connections),
            connections_max: limits.connections_max,
            connections_refused: load(&server.counters.connections_refused),
            timed_out: load(&server.counters.timed_out),
            denied: load(&server.counters.denied),
            nonsense: load(&server.counters.nonsense),
            streams_max: limits.streams_max,
            streams: server
                .streams()
                .values()
                .map(|stream| StreamStatus::of(stream, now))
                .collect(),
        }
    }
}

impl StreamStatus {
    fn of(stream: &Stream, now: Timestamp) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (view, counters) = (stream.view(), &stream.counters);
        let silent_ms = view
            .last_received
            .map(|last| now.since(last).as_millis() as u64);
        Self {
            name: stream.name.to_string(),
            state: match silent_ms {
                None => State::Waiting,
                Some(silent_ms) if silent_ms < SILENT_AFTER_MS => State::Live,
                Some(_) => State::Silent,
            },
            publisher: view.peer,
            codec: view.codec.map(|codec| match codec {
                VideoCodec::Mpeg2 => "MPEG-2",
                VideoCodec::H264 => "H.264",
            }),
            viewers: load(&counters.viewers),
            bitrate_in_bps: view.rates.bits_in,
            bitrate_out_bps: view.rates.bits_out,
            frames_per_s: view.rates.frames,
            bytes_in: load(&counters.bytes_in),
            bytes_out: load(&counters.bytes_out),
            frames_in: load(&counters.frames_in),
            frames_dropped: load(&counters.frames_dropped),
            packets_lost: load(&counters.packets_lost),
            gops_lost: load(&counters.gops_lost),
            publishers: view.publishers,
            kept_bytes: view.kept_bytes,
            silent_ms,
        }
    }
}

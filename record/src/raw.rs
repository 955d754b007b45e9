//! Rows of the raw CSV files of one run (`DIR/runs/NAME/`). Each file has a header line with these field names.
//!
//! | file | row | written by |
//! |---|---|---|
//! | `sent.csv` | [`SentRow`] | `forestall capture` |
//! | `frames.csv` | [`FrameRow`] | `forestall play`; `forestall measure screen`, of another player |
//! | `packets.csv` | [`PacketRow`] | `forestall play`; the lab, of another player |
//! | `load.csv` | [`LoadRow`] | the lab's monitor and the orchestrator's samples |
//! | `migration.csv` | [`MigrationRow`], at most one | the lab, from the orchestrator's record |
//! | `phases.csv` | [`PhaseRow`] | the lab |
//! | `shots.csv` | [`ShotRow`] | `forestall measure screenshots` |
//! | `unread.csv` | [`UnreadRow`] | the same, and a person |
//! | `passages.csv` | [`PointRow`] | the lab, of captures on the way |
//! | `starts.csv` | [`StartRow`] | the lab, of a capture at a server |
//! | `player.csv` | [`PlayerRow`] | the library that the lab has preloaded into `ffplay` |
//! | `ping.csv`, `ping-vpn.csv` | [`PingRow`] | the lab, of a placement |
//! | `age.csv` | [`AgeRow`] | `measure`, from `frames.csv` |
//! | `intervals.csv` | [`IntervalRow`] | `measure`, from `packets.csv` and `frames.csv` |

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A frame that the camera sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentRow {
    /// Counts from 0; wraps at 2^24.
    pub frame: u32,
    /// When the picture was taken: the clock and the code strip show this.
    pub captured_us: Timestamp,
    /// Size of the coded frame; empty when an outside program encodes.
    pub bytes: Option<u64>,
}

/// How a shown frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameStatus {
    /// Whole, its code strip read.
    Ok,
    /// Its code strip was read, but parts of it were lost on the way (or of a frame that it refers to).
    Damaged,
    /// The same frame as the one shown before it.
    Repeated,
    /// Shown, but its code strip could not be read: frame number and capture time are unknown.
    Unreadable,
}

/// A frame that the player showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameRow {
    /// Frame number from the code strip; empty when unreadable.
    pub frame: Option<u32>,
    /// Capture time from the code strip; empty when unreadable.
    pub captured_us: Option<Timestamp>,
    /// When the player showed it; of another player: when it was first seen on the screen.
    pub shown_us: Timestamp,
    /// `shown - captured`; empty when unreadable.
    pub delay_ms: Option<f64>,
    /// How it was found.
    pub status: FrameStatus,
    /// First 32 bits of the guest's boot id, hexadecimal, from the overlay's code strip; empty without one.
    pub boot: Option<String>,
    /// Number of the virtual machine process that ran the guest when it drew this frame (1 the first, 2 the target of
    /// the first move), from the overlay's code strip; empty without one.
    pub runner: Option<u32>,
}

/// A UDP datagram that reached the player.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PacketRow {
    /// When the kernel received it.
    pub received_us: Timestamp,
    /// UDP payload.
    pub bytes: u32,
    /// How many coded frames begin in it (MPEG-TS payload unit starts on the video PID).
    pub frame_starts: u32,
}

/// A frame of the clock picture that passed a place in the network, whole: a row of what `forestall measure passages` reads of a capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassageRow {
    /// Address and port of the sender.
    pub source: SocketAddr,
    /// Address and port of the receiver.
    pub destination: SocketAddr,
    /// Frame number from the code strip.
    pub frame: u32,
    /// Capture time from the code strip.
    pub captured_us: Timestamp,
    /// When its last byte passed.
    pub passed_us: Timestamp,
}

/// The same at a place of a chain that has a name; those of a place follow each other, and places are in the order of the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// The place.
    pub point: String,
    /// Frame number.
    pub frame: u32,
    /// Capture time.
    pub captured_us: Timestamp,
    /// When its last byte passed.
    pub passed_us: Timestamp,
}

/// Streaming started and stopped once, as the server's interface saw it: the video's packets from the robot to the server and from the server to the
/// user. Those without a payload (a receiver's acknowledgements) do not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartRow {
    /// Counts from 1.
    pub number: u32,
    /// When the camera was started; the packets are those until it is started again.
    pub started_us: Timestamp,
    /// First packet in; empty when none came.
    pub first_in_us: Option<Timestamp>,
    /// First packet out; empty when none came.
    pub first_out_us: Option<Timestamp>,
    /// Last packet in.
    pub last_in_us: Option<Timestamp>,
    /// Last packet out.
    pub last_out_us: Option<Timestamp>,
}

/// A frame of the clock picture in a player that tells nobody of itself. Frames are in the order in which they were to be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlayerRow {
    /// Frame number from the code strip.
    pub frame: u32,
    /// Capture time from the code strip.
    pub captured_us: Timestamp,
    /// When its packet had come out of the demuxer.
    pub read_us: Timestamp,
    /// When that packet was given to the decoder.
    pub sent_us: Timestamp,
    /// When it had come out of the decoder.
    pub decoded_us: Timestamp,
    /// When it was given to the screen; empty when a later one was in its place.
    pub presented_us: Option<Timestamp>,
}

impl PlayerRow {
    /// The environment's variable that names the file of these rows to the library that writes them.
    pub const VARIABLE: &'static str = "FORESTALL_PLAYER_CSV";
}

/// Load of a host at one instant. The true figure and SNMP's come in rows of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadRow {
    /// End of the interval that the figures are means over.
    pub time_us: Timestamp,
    /// Host name; `machine` is the real machine under the lab and its `foreign` load.
    pub host: String,
    /// What the orchestrator's SNMP sample said, `0..=1`.
    pub snmp: Option<f64>,
    /// What the host's CPU accounting says, `0..=1`; for `machine`: busy share outside the lab's own hosts.
    pub actual: Option<f64>,
    /// Share of the host's CPU that the virtual machine used.
    pub vm: Option<f64>,
    /// Share of the host's CPU that the background load used.
    pub background: Option<f64>,
}

/// The reallocation of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationRow {
    /// Policy that decided it.
    pub policy: String,
    /// `pre-copy`, ….
    pub mode: String,
    /// Host that the function left.
    pub source: String,
    /// Host that it went to.
    pub target: String,
    /// When the controller decided.
    pub decided_us: Timestamp,
    /// When copying began; empty if it never did.
    pub started_us: Option<Timestamp>,
    /// When the guest was seen running at the target; empty if it never was.
    pub resumed_us: Option<Timestamp>,
    /// When the verdict was reached; empty if it never was.
    pub settled_us: Option<Timestamp>,
    /// The engine's total migration time.
    pub total_ms: Option<f64>,
    /// The engine's own figure of the downtime.
    pub downtime_ms: Option<f64>,
    /// What the controller had predicted (95th percentile).
    pub predicted_total_ms: Option<f64>,
    /// `moved`, `stayed`, `blackout`, `unknown`, `split`, `lost`.
    pub verdict: String,
}

/// An echo that was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PingRow {
    /// Counts from 1; those that are missing were not answered.
    pub number: u32,
    /// There and back.
    pub rtt_ms: f64,
}

/// A phase of a run: `idle` (no load yet), `load` (the profile runs).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRow {
    /// `idle`, `load`.
    pub phase: String,
    /// When it began.
    pub start_us: Timestamp,
    /// When it ended.
    pub end_us: Timestamp,
}

/// A screenshot of a player's window and, beside it, a clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShotRow {
    /// Counts from 1.
    pub number: u32,
    /// When the screen's server had given it.
    pub taken_us: Timestamp,
    /// What that took.
    pub shot_ms: f64,
    /// What was read of the clock, `HH:MM:SS.mmm` where it was read well.
    pub clock: String,
    /// The same of the clock in the player's picture.
    pub picture: String,
    /// What the clock showed, by its code strip.
    pub strip_clock_us: Option<Timestamp>,
    /// When the player's picture was taken, by its code strip.
    pub strip_picture_us: Option<Timestamp>,
}

/// A screenshot that was not read, for a person to fill in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnreadRow {
    /// As in `shots.csv`.
    pub number: u32,
    /// The picture of its digits: the player's above the clock's.
    pub png: String,
    /// What the clock shows, `HH:MM:SS.mmm`.
    pub clock: String,
    /// What the player's picture shows.
    pub picture: String,
}

/// Age of the picture on the screen, sampled each 10 ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeRow {
    /// Instant of the sample.
    pub time_us: Timestamp,
    /// Instant minus the capture time of the last readable frame shown until then.
    pub picture_age_ms: f64,
}

/// Time between two arrivals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalRow {
    /// The later arrival.
    pub time_us: Timestamp,
    /// `packet` (datagrams) or `frame` (first datagram of each coded frame).
    pub kind: String,
    /// Since the arrival before it.
    pub interval_ms: f64,
}

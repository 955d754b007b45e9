//! MPEG transport stream with one video stream (ISO/IEC 13818-1), without a held picture.
//!
//! A reader that waits for the next picture to know that this one ended holds one frame. [`Writer`] therefore writes the
//! length of every picture, and [`Reader`] hands a picture over as soon as that many bytes are there.

mod continuity;
mod packets;
mod pes;
mod picture;
mod psi;
mod reader;
mod recent;
mod replacer;
mod scanner;
mod writer;

pub use continuity::Continuity;
pub use packets::Splitter;
pub use picture::{PictureKind, TemporalReference};
pub use reader::{AccessUnit, Counters, Reader, unit_starts};
pub use replacer::Replacer;
pub use scanner::{Scanner, Start, discontinuity};
pub use writer::{UnitKind, Writer};

/// Bytes in a packet of the transport stream.
pub const PACKET_BYTES: usize = 188;
/// Most packets in a UDP datagram, so that it fits an Ethernet frame.
pub const DATAGRAM_PACKETS_MAX: usize = 7;
/// Most bytes in a UDP datagram: 1316.
pub const DATAGRAM_BYTES_MAX: usize = DATAGRAM_PACKETS_MAX * PACKET_BYTES;
/// Ticks per second of a presentation time.
pub const CLOCK_HZ: u64 = 90_000;
/// A presentation time wraps after this many ticks (26.5 hours).
pub const CLOCK_WRAP: u64 = 1 << 33;

const SYNC_BYTE: u8 = 0x47;
const PID_PAT: u16 = 0;
/// Of the video, where there is no stream that says another.
const PID_VIDEO: u16 = 0x100;
/// Stuffing; its counter means nothing.
const PID_NULL: u16 = 0x1fff;

/// What the video stream is coded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// Stream type 0x02.
    Mpeg2,
    /// Stream type 0x1b.
    H264,
}

impl VideoCodec {
    fn from_stream_type(stream_type: u8) -> Option<Self> {
        match stream_type {
            0x02 => Some(Self::Mpeg2),
            0x1b => Some(Self::H264),
            _ => None,
        }
    }

    fn stream_type(self) -> u8 {
        match self {
            Self::Mpeg2 => 0x02,
            Self::H264 => 0x1b,
        }
    }
}

/// Video that is coded with something that this does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignVideo {
    name: &'static str,
    stream_type: u8,
}

impl ForeignVideo {
    /// `None` unless the stream type is one of video (ISO/IEC 13818-1, table 2-34; VC-1's is SMPTE RP 227).
    fn from_stream_type(stream_type: u8) -> Option<Self> {
        let name = match stream_type {
            0x01 => "MPEG-1",
            0x10 => "MPEG-4 Visual",
            0x21 => "JPEG 2000",
            0x24 => "H.265",
            0x33 => "H.266",
            0xea => "VC-1",
            _ => return None,
        };
        Some(Self { name, stream_type })
    }
}

impl std::fmt::Display for ForeignVideo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (stream type {:#04x})", self.name, self.stream_type)
    }
}

/// The presentation time of a wall clock reading, in ticks of [`CLOCK_HZ`], wrapped.
#[must_use]
pub fn ticks_from_micros(micros: u64) -> u64 {
    // 9 / 100 ticks a microsecond; u128 because the product leaves 64 bits for absurd clocks.
    ((u128::from(micros) * 9 / 100) % u128::from(CLOCK_WRAP)) as u64
}

//! Coded pictures -> transport packets.

use super::packets::Clock;
use super::pes::{Times, Video};
use super::{CLOCK_WRAP, PID_PAT, PID_VIDEO, VideoCodec, psi};

const PID_MAP: u16 = 0x1000;
/// The stream's clock runs this far behind the presentation times (100 ms), the time that a receiver with a strict
/// buffer model may take. Receivers that show at once ignore it.
const CLOCK_LEAD: u64 = 9_000;

/// Whether a decoder can begin at a coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// Needs no other picture.
    Key,
    /// Needs the pictures before it.
    Predicted,
}

/// Writes one video stream. Its bytes go out in packets of [`PACKET_BYTES`](super::PACKET_BYTES); a sender puts at most
/// [`DATAGRAM_BYTES_MAX`](super::DATAGRAM_BYTES_MAX) into a datagram.
#[derive(Debug)]
pub struct Writer {
    pat: Vec<u8>,
    pmt: Vec<u8>,
    /// Continuity counters of PAT and PMT.
    pat_count: u8,
    pmt_count: u8,
    video: Video,
}

impl Writer {
    /// A writer for a stream coded with `codec`.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        Self {
            pat: psi::pat(PID_MAP),
            pmt: psi::pmt(PID_VIDEO, codec),
            pat_count: 0,
            pmt_count: 0,
            video: Video::new(PID_VIDEO),
        }
    }

    /// Appends the packets of one coded picture to `out`, the tables before it if it is a key picture.
    ///
    /// `pts` is in ticks of [`CLOCK_HZ`](super::CLOCK_HZ) and wraps. A picture of 64 KiB and more does not fit the length
    /// field: it goes without a length, and an empty unit behind it tells the receiver at once that it has ended.
    pub fn write(&mut self, unit: &[u8], pts: u64, kind: UnitKind, out: &mut Vec<u8>) {
        if kind == UnitKind::Key {
            psi::packets(PID_PAT, &mut self.pat_count, &self.pat, out);
            psi::packets(PID_MAP, &mut self.pmt_count, &self.pmt, out);
        }
        let times = Times {
            pts,
            clock: Some(clock(pts.wrapping_sub(CLOCK_LEAD) % CLOCK_WRAP)),
            jumps: false,
        };
        self.video.picture(unit, times, kind, out);
    }
}

fn clock(ticks: u64) -> Clock {
    [
        (ticks >> 25) as u8,
        (ticks >> 17) as u8,
        (ticks >> 9) as u8,
        (ticks >> 1) as u8,
        ((ticks << 7) & 0x80) as u8 | 0x7e,
        0,
    ]
}

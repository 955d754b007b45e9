//! Coded pictures -> transport packets.

use super::{CLOCK_WRAP, PACKET_BYTES, PID_PAT, SYNC_BYTE, VideoCodec, psi};

const PID_MAP: u16 = 0x1000;
const PID_VIDEO: u16 = 0x100;
/// Bit above the PID: a table or a unit begins in this packet.
const UNIT_START: u16 = 0x4000;
/// The stream's clock runs this far behind the presentation times (100 ms), the time that a receiver with a strict
/// buffer model may take. Receivers that show at once ignore it.
const CLOCK_LEAD: u64 = 9_000;
/// PES header up to and including the presentation time.
const PES_HEADER_BYTES: usize = 14;
/// What the length field counts of that header.
const PES_HEADER_COUNTED: usize = PES_HEADER_BYTES - 6;

/// Whether a decoder can begin at a coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// Needs no other picture.
    Key,
    /// Needs the pictures before it.
    Predicted,
}

/// Writes one video stream. Its bytes go out in packets of [`PACKET_BYTES`]; a sender puts at most
/// [`DATAGRAM_BYTES_MAX`](super::DATAGRAM_BYTES_MAX) into a datagram.
#[derive(Debug)]
pub struct Writer {
    pat: Vec<u8>,
    pmt: Vec<u8>,
    /// Continuity counters of PAT, PMT and video.
    pat_count: u8,
    pmt_count: u8,
    video_count: u8,
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
            video_count: 0,
        }
    }

    /// Appends the packets of one coded picture to `out`, the tables before it if it is a key picture.
    ///
    /// `pts` is in ticks of [`CLOCK_HZ`](super::CLOCK_HZ) and wraps. A picture of 64 KiB and more does not fit the length
    /// field: it goes without a length, and an empty unit behind it tells the receiver at once that it has ended.
    pub fn write(&mut self, unit: &[u8], pts: u64, kind: UnitKind, out: &mut Vec<u8>) {
        if kind == UnitKind::Key {
            packet(
                PID_PAT | UNIT_START,
                &mut self.pat_count,
                &[],
                &[&self.pat],
                out,
            );
            packet(
                PID_MAP | UNIT_START,
                &mut self.pmt_count,
                &[],
                &[&self.pmt],
                out,
            );
        }
        let length = u16::try_from(PES_HEADER_COUNTED + unit.len()).ok();
        self.write_pes(unit, length.unwrap_or(0), pts, kind, out);
        if length.is_none() {
            self.write_pes(
                &[],
                PES_HEADER_COUNTED as u16,
                pts,
                UnitKind::Predicted,
                out,
            );
        }
    }

    fn write_pes(&mut self, unit: &[u8], length: u16, pts: u64, kind: UnitKind, out: &mut Vec<u8>) {
        let header = pes_header(length, pts);
        let clock = clock_field(pts.wrapping_sub(CLOCK_LEAD) % CLOCK_WRAP, kind);
        let room = PACKET_BYTES - 5 - clock.len() - header.len();
        let (first, mut rest) = unit.split_at(unit.len().min(room));
        packet(
            PID_VIDEO | UNIT_START,
            &mut self.video_count,
            &clock,
            &[&header, first],
            out,
        );
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PACKET_BYTES - 4));
            packet(PID_VIDEO, &mut self.video_count, &[], &[now], out);
            rest = later;
        }
    }
}

/// Appends one packet; `start_and_pid` is the PID, with [`UNIT_START`] if a table or a unit begins in it. `adaptation` is
/// the adaptation field without its length byte, stuffed until the packet is full. The payload must fit.
fn packet(
    start_and_pid: u16,
    count: &mut u8,
    adaptation: &[u8],
    payload: &[&[u8]],
    out: &mut Vec<u8>,
) {
    let payload_bytes: usize = payload.iter().map(|part| part.len()).sum();
    let [pid_hi, pid_lo] = start_and_pid.to_be_bytes();
    let is_table = start_and_pid & PID_VIDEO == 0;
    // Tables are stuffed behind their section, as some receivers expect; video in front of its payload.
    let field_bytes = if is_table {
        0
    } else {
        PACKET_BYTES - 4 - payload_bytes
    };
    debug_assert!(field_bytes == 0 || field_bytes > adaptation.len());
    let control = if field_bytes > 0 { 0x30 } else { 0x10 };
    out.extend([SYNC_BYTE, pid_hi, pid_lo, control | *count]);
    *count = (*count + 1) & 0x0f;
    let end = out.len() + PACKET_BYTES - 4;
    if field_bytes > 0 {
        out.push((field_bytes - 1) as u8);
        out.extend(adaptation);
        if adaptation.is_empty() && field_bytes > 1 {
            out.push(0); // flags: none
        }
        out.resize(end - payload_bytes, 0xff);
    }
    for part in payload {
        out.extend_from_slice(part);
    }
    out.resize(end, 0xff);
}

fn pes_header(length: u16, pts: u64) -> [u8; PES_HEADER_BYTES] {
    let [length_hi, length_lo] = length.to_be_bytes();
    // Video stream 0; data aligned, so that the payload begins with a picture; presentation time only.
    let mut header = [
        0, 0, 1, 0xe0, length_hi, length_lo, 0x84, 0x80, 5, 0, 0, 0, 0, 0,
    ];
    header[9] = 0x21 | ((pts >> 29) & 0x0e) as u8;
    header[10] = (pts >> 22) as u8;
    header[11] = 1 | ((pts >> 14) & 0xfe) as u8;
    header[12] = (pts >> 7) as u8;
    header[13] = 1 | ((pts << 1) & 0xfe) as u8;
    header
}

/// Adaptation field with the stream's clock, without its length byte.
fn clock_field(clock: u64, kind: UnitKind) -> [u8; 7] {
    let flags = 0x10 | if kind == UnitKind::Key { 0x40 } else { 0 };
    [
        flags,
        (clock >> 25) as u8,
        (clock >> 17) as u8,
        (clock >> 9) as u8,
        (clock >> 1) as u8,
        ((clock << 7) & 0x80) as u8 | 0x7e,
        0,
    ]
}

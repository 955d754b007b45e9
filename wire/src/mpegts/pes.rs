//! A coded picture as packets of one PID.

use super::packets::{Clock, FLAG_CLOCK, FLAG_DISCONTINUITY, FLAG_RANDOM_ACCESS, without_payload};
use super::{PACKET_BYTES, SYNC_BYTE, UnitKind};

/// Bit above the PID: a table or a unit begins in this packet.
pub(super) const UNIT_START: u16 = 0x4000;
/// PES header up to and including the presentation time.
const PES_HEADER_BYTES: usize = 14;
/// What the length field counts of that header.
const PES_HEADER_COUNTED: usize = PES_HEADER_BYTES - 6;
/// Flags and clock of an adaptation field.
const FIELD_BYTES: usize = 1 + size_of::<Clock>();

/// Writes coded pictures with one PID, and counts its packets.
#[derive(Debug)]
pub(super) struct Video {
    pid: u16,
    count: u8,
}

/// The times of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When it is presented; wraps.
    pub(super) pts: u64,
    /// What time the stream's clock shows, where that goes with the picture.
    pub(super) clock: Option<Clock>,
    /// That clock jumps.
    pub(super) jumps: bool,
}

impl Video {
    pub(super) fn new(pid: u16) -> Self {
        Self { pid, count: 0 }
    }

    pub(super) fn pid(&self) -> u16 {
        self.pid
    }

    /// Appends the packets of a picture. One of 64 KiB and more does not fit the length field: it goes without a length, and an
    /// empty unit behind it tells the receiver at once that it has ended.
    pub(super) fn picture(&mut self, unit: &[u8], times: Times, kind: UnitKind, out: &mut Vec<u8>) {
        let length = u16::try_from(PES_HEADER_COUNTED + unit.len()).ok();
        self.unit(unit, length.unwrap_or(0), times, kind, out);
        if length.is_none() {
            let times = Times {
                clock: None,
                jumps: false,
                ..times
            };
            let length = PES_HEADER_COUNTED as u16;
            self.unit(&[], length, times, UnitKind::Predicted, out);
        }
    }

    /// Appends the stream's clock alone.
    pub(super) fn clock(&self, clock: Clock, jumps: bool, out: &mut Vec<u8>) {
        let (field, length) = field(Some(clock), jumps, UnitKind::Predicted);
        let counter = self.count.wrapping_sub(1);
        out.extend(without_payload(self.pid, counter, &field[..length]));
    }

    fn unit(&mut self, unit: &[u8], length: u16, times: Times, kind: UnitKind, out: &mut Vec<u8>) {
        let header = pes_header(length, times.pts);
        let (field, field_bytes) = field(times.clock, times.jumps, kind);
        let room = PACKET_BYTES - 5 - field_bytes - header.len();
        let (first, mut rest) = unit.split_at(unit.len().min(room));
        self.packet(UNIT_START, &field[..field_bytes], &[&header, first], out);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PACKET_BYTES - 4));
            self.packet(0, &[], &[now], out);
            rest = later;
        }
    }

    /// Appends one packet. `adaptation` is the adaptation field without its length byte, stuffed until the packet is full. The
    /// payload must fit.
    fn packet(&mut self, start: u16, adaptation: &[u8], payload: &[&[u8]], out: &mut Vec<u8>) {
        let payload_bytes: usize = payload.iter().map(|part| part.len()).sum();
        let field_bytes = PACKET_BYTES - 4 - payload_bytes;
        debug_assert!(field_bytes == 0 || field_bytes > adaptation.len());
        let control = if field_bytes > 0 { 0x30 } else { 0x10 };
        header(self.pid | start, control, &mut self.count, out);
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
    }
}

/// Appends the header of a packet with a payload, and counts it. `start_and_pid` is the PID, with [`UNIT_START`] if a table or
/// a unit begins in it.
pub(super) fn header(start_and_pid: u16, control: u8, count: &mut u8, out: &mut Vec<u8>) {
    let [pid_hi, pid_lo] = start_and_pid.to_be_bytes();
    out.extend([SYNC_BYTE, pid_hi, pid_lo, control | *count]);
    *count = (*count + 1) & 0x0f;
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

/// Adaptation field without its length byte and stuffing, and how long it is.
fn field(clock: Option<Clock>, jumps: bool, kind: UnitKind) -> ([u8; FIELD_BYTES], usize) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(jumps, FLAG_DISCONTINUITY)
        | flag(kind == UnitKind::Key, FLAG_RANDOM_ACCESS)
        | flag(clock.is_some(), FLAG_CLOCK);
    let mut field = [flags; FIELD_BYTES];
    let length = match clock {
        Some(clock) => {
            field[1..].copy_from_slice(&clock);
            FIELD_BYTES
        }
        None => usize::from(flags != 0),
    };
    (field, length)
}

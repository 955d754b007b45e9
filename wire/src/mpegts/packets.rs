//! Bytes as they come -> whole transport packets, and a packet taken apart.

use super::{PACKET_BYTES, SYNC_BYTE};

/// Finds the packets in pieces of any size. It holds less than one packet.
#[derive(Debug, Default)]
pub struct Splitter {
    /// Start of a packet whose rest has not come yet.
    carry: Vec<u8>,
    skipped_bytes: u64,
}

impl Splitter {
    /// Takes bytes as they come and gives each packet that they complete to `take`.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8; PACKET_BYTES])) {
        let mut rest = self.finish_carry(bytes, &mut take);
        while let Some(start) = rest.iter().position(|&byte| byte == SYNC_BYTE) {
            self.skipped_bytes += start as u64;
            rest = &rest[start..];
            let Some((packet, after)) = rest.split_first_chunk::<PACKET_BYTES>() else {
                self.carry.extend_from_slice(rest);
                return;
            };
            // After garbage a byte that looks like the start of a packet counts only if another packet follows it.
            if start > 0 && after.first().is_some_and(|&byte| byte != SYNC_BYTE) {
                self.skipped_bytes += 1;
                rest = &rest[1..];
                continue;
            }
            take(packet);
            rest = after;
        }
        self.skipped_bytes += rest.len() as u64;
    }

    /// Bytes between packets, thrown away.
    #[must_use]
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Bytes of the unfinished packet.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.carry.len()
    }

    /// Completes the packet that an earlier piece began; returns what is left of `bytes`.
    fn finish_carry<'a>(
        &mut self,
        bytes: &'a [u8],
        take: &mut impl FnMut(&[u8; PACKET_BYTES]),
    ) -> &'a [u8] {
        if self.carry.is_empty() {
            return bytes;
        }
        let missing = PACKET_BYTES - self.carry.len();
        // A datagram that was cut off must not spoil the next one, which starts with a packet of its own.
        let is_packet = |at: usize| bytes.get(at).is_none_or(|&byte| byte == SYNC_BYTE);
        if !is_packet(missing) && is_packet(0) && is_packet(PACKET_BYTES) {
            self.skipped_bytes += self.carry.len() as u64;
            self.carry.clear();
            return bytes;
        }
        let (now, later) = bytes.split_at(missing.min(bytes.len()));
        self.carry.extend_from_slice(now);
        if let Some(packet) = self.carry.first_chunk::<PACKET_BYTES>() {
            take(packet);
            self.carry.clear();
        }
        later
    }
}

pub(super) fn packet_pid(packet: &[u8; PACKET_BYTES]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

pub(super) fn starts_unit(packet: &[u8; PACKET_BYTES]) -> bool {
    packet[1] & 0x40 != 0
}

/// The stream's clock (PCR) as packets have it: 33 bits of [`CLOCK_HZ`](super::CLOCK_HZ), six that mean nothing, nine of 27 MHz.
pub(super) type Clock = [u8; 6];

/// What of an adaptation field counts; flags of its first byte.
pub(super) const FLAG_DISCONTINUITY: u8 = 0x80;
pub(super) const FLAG_RANDOM_ACCESS: u8 = 0x40;
pub(super) const FLAG_CLOCK: u8 = 0x10;

/// A packet taken apart.
pub(super) struct Fields<'a> {
    pub(super) payload: &'a [u8],
    pub(super) random_access: bool,
    pub(super) discontinuity: bool,
    pub(super) clock: Option<Clock>,
}

impl<'a> Fields<'a> {
    /// `None` when the adaptation field is longer than the packet.
    pub(super) fn of(packet: &'a [u8; PACKET_BYTES]) -> Option<Self> {
        let (has_field, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
        let field: &[u8] = if has_field {
            packet.get(5..5 + usize::from(packet[4]))?
        } else {
            &[]
        };
        let payload_at = if has_field { 5 + field.len() } else { 4 };
        let flags = field.first().copied().unwrap_or(0);
        Some(Self {
            payload: if has_payload {
                &packet[payload_at..]
            } else {
                &[]
            },
            random_access: flags & FLAG_RANDOM_ACCESS != 0,
            discontinuity: flags & FLAG_DISCONTINUITY != 0,
            clock: field
                .get(1..)
                .and_then(|after| after.first_chunk().copied())
                .filter(|_| flags & FLAG_CLOCK != 0),
        })
    }
}

/// A packet with an adaptation field and no payload. Its counter is that of the last one with a payload.
pub(super) fn without_payload(pid: u16, counter: u8, field: &[u8]) -> [u8; PACKET_BYTES] {
    let mut packet = [0xff; PACKET_BYTES];
    let [hi, lo] = (pid & 0x1fff).to_be_bytes();
    let head = [
        SYNC_BYTE,
        hi,
        lo,
        0x20 | counter & 0x0f,
        (PACKET_BYTES - 5) as u8,
    ];
    for (byte, made) in packet.iter_mut().zip(head.iter().chain(field)) {
        *byte = *made;
    }
    packet
}

//! The last packets of a stream, to know one that comes twice.

use super::PACKET_BYTES;

const HEADER_BYTES: usize = 4;
/// A continuity counter has four bits.
const COUNTER_VALUES: usize = 16;
/// Packets remembered for each value of the counter. Together they are 64, nine full datagrams: a network that doubles a
/// datagram may let others overtake the second one.
const GENERATIONS: usize = 4;

/// The last packets of one PID, by their counters.
#[derive(Clone, Debug)]
pub(super) struct Recent(Box<[[[u8; PACKET_BYTES]; GENERATIONS]; COUNTER_VALUES]>);

impl Default for Recent {
    fn default() -> Self {
        Self(Box::new([[[0; PACKET_BYTES]; GENERATIONS]; COUNTER_VALUES]))
    }
}

impl Recent {
    /// Whether this packet, which follows one with the counter `last`, has come before. Of stuffing, and of what is sent again
    /// and again as tables are, nothing can be known: only its counter differs.
    pub(super) fn has_come(&self, last: u8, packet: &[u8; PACKET_BYTES]) -> bool {
        if !self.0[counter(packet)].contains(packet) {
            return false;
        }
        let newest = &self.0[usize::from(last & 0x0f)][0];
        let payload = &packet[HEADER_BYTES..];
        let is_stuffing = payload.iter().all(|byte| *byte == payload[0]);
        newest == packet || !is_stuffing && newest[HEADER_BYTES..] != *payload
    }

    /// The counter jumps, or the stream is another one: what comes now may be as what came, and is not it again.
    pub(super) fn clear(&mut self) {
        self.0.as_flattened_mut().fill([0; PACKET_BYTES]);
    }

    pub(super) fn push(&mut self, packet: &[u8; PACKET_BYTES]) {
        let generations = &mut self.0[counter(packet)];
        generations.rotate_right(1);
        generations[0] = *packet;
    }
}

fn counter(packet: &[u8; PACKET_BYTES]) -> usize {
    usize::from(packet[3] & 0x0f)
}

//! RTP that carries MPEG-TS (RFC 3550, RFC 2250 section 2): header, and datagrams back in order.

/// Payload type of MPEG-TS (RFC 3551).
pub const PAYLOAD_TYPE_MPEGTS: u8 = 33;
/// Bytes of a header without sources and extension.
pub const HEADER_BYTES: usize = 12;
/// Datagrams held while one before them is missing. What the network overtakes comes within a few.
pub const HELD_MAX: usize = 16;
/// A jump beyond this is a sender that began anew, not loss (RFC 3550, `MAX_DROPOUT`).
const JUMP_MAX: i16 = 3000;
/// So many datagrams in a row that are too late are not late: one with a wrong number was believed.
const LATE_MAX: u32 = 16;
const VERSION: u8 = 2;

/// Why a datagram is not RTP with MPEG-TS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// It ends inside its header.
    #[error("the datagram ends inside its RTP header")]
    Short,
    /// Not version 2.
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    /// It carries something else.
    #[error("RTP payload type {0} instead of 33 (MPEG-TS)")]
    PayloadType(u8),
    /// More padding than payload.
    #[error("the RTP padding is longer than the payload")]
    Padding,
}

/// A datagram taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Counts datagrams, and wraps.
    pub sequence: u16,
    /// In ticks of 90 kHz.
    pub timestamp: u32,
    /// Number of the sender (SSRC).
    pub source: u32,
    /// Packets of the transport stream.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// It is not RTP with MPEG-TS.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        let (header, rest) = datagram
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(RtpError::Short)?;
        if header[0] >> 6 != VERSION {
            return Err(RtpError::Version(header[0] >> 6));
        }
        if header[1] & 0x7f != PAYLOAD_TYPE_MPEGTS {
            return Err(RtpError::PayloadType(header[1] & 0x7f));
        }
        let sources_bytes = 4 * usize::from(header[0] & 0x0f);
        let mut payload = rest.get(sources_bytes..).ok_or(RtpError::Short)?;
        if header[0] & 0x10 != 0 {
            let (&[_, _, hi, lo], after) =
                payload.split_first_chunk::<4>().ok_or(RtpError::Short)?;
            let words = usize::from(u16::from_be_bytes([hi, lo]));
            payload = after.get(4 * words..).ok_or(RtpError::Short)?;
        }
        if header[0] & 0x20 != 0 {
            let padding = usize::from(*payload.last().ok_or(RtpError::Padding)?);
            let length = payload.len().checked_sub(padding.max(1));
            payload = &payload[..length.ok_or(RtpError::Padding)?];
        }
        Ok(Self {
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            source: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload,
        })
    }
}

/// The header of a datagram with MPEG-TS.
#[must_use]
pub fn header(sequence: u16, timestamp: u32, source: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..2].copy_from_slice(&[VERSION << 6, PAYLOAD_TYPE_MPEGTS]);
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..].copy_from_slice(&source.to_be_bytes());
    header
}

/// What a [`Reorderer`] has come across; all count up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceCounters {
    /// Datagrams that never came, as far as it waited.
    pub lost: u64,
    /// Datagrams that came after one that follows them, and were put right.
    pub reordered: u64,
    /// Datagrams that came twice or too late.
    pub late: u64,
}

/// Puts datagrams back in order. One that is in order passes at once; behind a gap at most [`HELD_MAX`] are held, until the
/// missing one comes or the caller is tired of waiting ([`Reorderer::give_up`]).
#[derive(Debug)]
pub struct Reorderer<T> {
    source: Option<u32>,
    /// Sequence number that is due.
    next: u16,
    held: Vec<(u16, T)>,
    /// Datagrams in a row that came too late.
    late: u32,
    counters: SequenceCounters,
}

impl<T> Default for Reorderer<T> {
    fn default() -> Self {
        Self {
            source: None,
            next: 0,
            held: Vec::with_capacity(HELD_MAX + 1),
            late: 0,
            counters: SequenceCounters::default(),
        }
    }
}

impl<T> Reorderer<T> {
    /// Takes a datagram; what is in order now goes to `out`.
    pub fn push(&mut self, source: u32, sequence: u16, item: T, out: &mut Vec<T>) {
        let ahead = sequence.wrapping_sub(self.next) as i16;
        let is_jump = !(-JUMP_MAX..=JUMP_MAX).contains(&ahead);
        self.late = if ahead < 0 { self.late + 1 } else { 0 };
        if self.source != Some(source) || is_jump || self.late > LATE_MAX {
            // Another sender, or this one anew: what is held belongs to the past.
            self.give_up(out);
            self.source = Some(source);
            self.next = sequence;
            self.late = 0;
        }
        let ahead = sequence.wrapping_sub(self.next) as i16;
        if ahead < 0 || self.held.iter().any(|(held, _)| *held == sequence) {
            self.counters.late += 1;
        } else if ahead > 0 {
            self.held.push((sequence, item));
            if self.held.len() > HELD_MAX {
                self.skip_gap(out);
            }
        } else {
            self.counters.reordered += u64::from(!self.held.is_empty());
            out.push(item);
            self.next = self.next.wrapping_add(1);
            self.release(out);
        }
    }

    /// Gives what is held to `out`, and counts what is missing between as lost.
    pub fn give_up(&mut self, out: &mut Vec<T>) {
        while !self.held.is_empty() {
            self.skip_gap(out);
        }
    }

    /// Whether datagrams wait for a missing one.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// What came in so far.
    #[must_use]
    pub fn counters(&self) -> SequenceCounters {
        self.counters
    }

    fn skip_gap(&mut self, out: &mut Vec<T>) {
        let missing = self
            .held
            .iter()
            .map(|(sequence, _)| sequence.wrapping_sub(self.next))
            .min();
        let missing = missing.unwrap_or(0);
        self.counters.lost += u64::from(missing);
        self.next = self.next.wrapping_add(missing);
        self.release(out);
    }

    /// Gives all that is in order now.
    fn release(&mut self, out: &mut Vec<T>) {
        while let Some(at) = self.held.iter().position(|(held, _)| *held == self.next) {
            out.push(self.held.swap_remove(at).1);
            self.next = self.next.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_reads_back() {
        let mut datagram = header(65_535, 90_000, 7).to_vec();
        datagram.extend([0x47; 188]);
        let packet = Packet::parse(&datagram).unwrap();
        assert_eq!(
            (packet.sequence, packet.timestamp, packet.source),
            (65_535, 90_000, 7)
        );
        assert_eq!(packet.payload, [0x47; 188]);
    }

    #[test]
    fn sources_extension_and_padding_are_left_out() {
        let mut datagram = header(1, 2, 3).to_vec();
        datagram[0] |= 0x20 | 0x10 | 2;
        datagram.extend([9; 8]); // two sources
        datagram.extend([0, 0, 0, 1, 9, 9, 9, 9]); // an extension of one word
        datagram.extend([5, 6, 0, 0, 3]); // two bytes, three of padding
        assert_eq!(Packet::parse(&datagram).unwrap().payload, [5, 6]);
    }

    fn check(datagram: &[u8], expected: RtpError) {
        assert_eq!(Packet::parse(datagram), Err(expected));
    }

    #[test]
    fn short() {
        check(&[0x80, 33], RtpError::Short);
        check(&[&[0x81], &header(0, 0, 0)[1..]].concat(), RtpError::Short);
        check(&[&[0x90], &header(0, 0, 0)[1..]].concat(), RtpError::Short);
    }

    #[test]
    fn version() {
        check(&[0x47; 188], RtpError::Version(1));
    }

    #[test]
    fn payload_type() {
        let mut datagram = header(0, 0, 0);
        datagram[1] = 96;
        check(&datagram, RtpError::PayloadType(96));
    }

    #[test]
    fn padding() {
        let mut datagram = header(0, 0, 0).to_vec();
        datagram[0] |= 0x20;
        check(&datagram, RtpError::Padding);
        datagram.extend([0, 3]);
        check(&datagram, RtpError::Padding);
    }

    fn order(sequences: &[u16]) -> (Vec<u16>, SequenceCounters) {
        let (mut reorderer, mut out) = (Reorderer::default(), Vec::new());
        for &sequence in sequences {
            reorderer.push(1, sequence, sequence, &mut out);
        }
        reorderer.give_up(&mut out);
        (out, reorderer.counters())
    }

    #[test]
    fn small_disorder_is_put_right() {
        let (out, counters) = order(&[65_534, 0, 65_535, 1, 1, 3, 2]);
        assert_eq!(out, [65_534, 65_535, 0, 1, 2, 3]);
        let expected = SequenceCounters {
            lost: 0,
            reordered: 2,
            late: 1,
        };
        assert_eq!(counters, expected);
    }

    #[test]
    fn a_gap_is_counted_and_waited_for_only_so_long() {
        let mut sequences = vec![10];
        sequences.extend(13..13 + HELD_MAX as u16 + 1);
        let (mut reorderer, mut out) = (Reorderer::default(), Vec::new());
        for &sequence in &sequences {
            reorderer.push(1, sequence, sequence, &mut out);
        }
        assert_eq!(out, sequences, "given before anybody gave up");
        assert_eq!(reorderer.counters().lost, 2);
    }

    #[test]
    fn a_sender_that_begins_anew_is_no_loss() {
        let (mut reorderer, mut out) = (Reorderer::default(), Vec::new());
        for (source, sequence) in [(1, 10), (1, 30_000), (2, 5), (2, 6)] {
            reorderer.push(source, sequence, sequence, &mut out);
        }
        assert_eq!(out, [10, 30_000, 5, 6]);
        assert_eq!(reorderer.counters(), SequenceCounters::default());
    }

    #[test]
    fn a_wrong_number_is_not_believed_for_long() {
        let mut sequences: Vec<u16> = (0..100).collect();
        sequences[10] += 1024;
        let (mut reorderer, mut out) = (Reorderer::default(), Vec::new());
        for &sequence in &sequences {
            reorderer.push(1, sequence, sequence, &mut out);
            // Whoever waits for what is missing gives up after a while.
            if reorderer.is_holding() && sequence < 1000 {
                reorderer.give_up(&mut out);
            }
        }
        let from = 11 + LATE_MAX as u16;
        let after: Vec<u16> = out.iter().copied().skip_while(|at| *at < from).collect();
        assert!(
            after.ends_with(&(from + 2..100).collect::<Vec<_>>()),
            "{out:?}"
        );
    }
}

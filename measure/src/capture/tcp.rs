//! A TCP stream put in order, as its receiver puts it, and what HTTP carries in it.

use std::collections::BTreeMap;

use super::http::Body;
use super::packet::Segment;

/// Segments that wait for one before them. If that has not come by then, the capture has missed it.
const WAITING_MAX: usize = 256;
/// Bytes of segments that wait.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// One direction of a connection. Bytes come out once and in order, each with the segment that completes what is before it;
/// of HTTP only those of the body.
#[derive(Debug, Default)]
pub struct Stream {
    /// Place of the next byte; the low 32 bits are its sequence number. `None` before the first segment.
    next: Option<u64>,
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    missing_bytes: u64,
    body: Body,
}

impl Stream {
    /// Takes a segment, and appends to `out` what is in order with it. A stream begins with the first segment seen, or anew
    /// with a SYN.
    pub fn push(&mut self, segment: Segment, payload: &[u8], out: &mut Vec<u8>) {
        if segment.is_syn {
            let missing_bytes = self.missing_bytes;
            *self = Self {
                // A round above 0, so that what comes from before the start has a place, too.
                next: Some(u64::from(segment.sequence.wrapping_add(1)) + (1 << 32)),
                missing_bytes,
                ..Self::default()
            };
        }
        let first = segment.sequence.wrapping_add(u32::from(segment.is_syn));
        let next = *self.next.get_or_insert(u64::from(first) + (1 << 32));
        // Sequence numbers wrap: the nearest place is meant.
        let ahead = first.wrapping_sub(next as u32).cast_signed();
        self.keep(next.saturating_add_signed(i64::from(ahead)), payload);
        self.hand_over(out);
        while self.waiting.len() > WAITING_MAX || self.waiting_bytes > WAITING_BYTES_MAX {
            self.skip();
            self.hand_over(out);
        }
    }

    /// Bytes that never came.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        self.missing_bytes
    }

    fn keep(&mut self, place: u64, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        // Of two segments at one place the longer one: a retransmission may carry more.
        let kept = self.waiting.entry(place).or_default();
        if payload.len() > kept.len() {
            self.waiting_bytes += payload.len() - kept.len();
            payload.clone_into(kept);
        }
    }

    /// What waits and is in order.
    fn hand_over(&mut self, out: &mut Vec<u8>) {
        let Some(next) = &mut self.next else { return };
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > *next {
                return;
            }
            let (place, payload) = entry.remove_entry();
            self.waiting_bytes -= payload.len();
            // What came before already is left out.
            let known = usize::try_from(*next - place).unwrap_or(usize::MAX);
            if let Some(new) = payload.get(known..) {
                self.body.push(new, out);
                *next += new.len() as u64;
            }
        }
    }

    /// Gives up what is missing before the first segment that waits.
    fn skip(&mut self) {
        if let (Some(next), Some(first)) = (&mut self.next, self.waiting.keys().next()) {
            let missing = first.saturating_sub(*next);
            self.missing_bytes += missing;
            self.body.skip(missing);
            *next = (*next).max(*first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32) -> Segment {
        Segment {
            sequence,
            is_syn: false,
        }
    }

    /// Segments as (sequence number, payload), and what each of them brings.
    fn check(segments: &[(u32, &str)], expected: &[&str]) {
        let mut stream = Stream::default();
        let mut found = Vec::new();
        for (sequence, payload) in segments {
            let mut out = Vec::new();
            stream.push(segment(*sequence), payload.as_bytes(), &mut out);
            found.push(String::from_utf8(out).unwrap());
        }
        assert_eq!(found, expected);
        assert_eq!((stream.waiting_bytes, stream.missing_bytes()), (0, 0));
    }

    #[test]
    fn bytes_come_once_and_in_order() {
        check(&[(7, "ab"), (9, "cd")], &["ab", "cd"]);
        check(&[(7, "ab"), (11, "ef"), (9, "cd")], &["ab", "", "cdef"]);
        check(&[(7, "ab"), (7, "ab"), (9, "c")], &["ab", "", "c"]);
        check(&[(7, "ab"), (8, "bcd")], &["ab", "cd"]);
        check(
            &[(7, "ab"), (11, "e"), (11, "ef"), (9, "cdef")],
            &["ab", "", "", "cdef"],
        );
        check(&[(7, "ab"), (5, "xy"), (9, "")], &["ab", "", ""]);
        check(&[(7, "ab"), (11, "efg"), (9, "cdef")], &["ab", "", "cdefg"]);
    }

    #[test]
    fn sequence_numbers_wrap() {
        check(&[(u32::MAX, "ab"), (1, "cd"), (3, "e")], &["ab", "cd", "e"]);
        check(&[(u32::MAX, "ab"), (3, "e"), (1, "cd")], &["ab", "", "cde"]);
        check(&[(0, "ab"), (u32::MAX, "xa"), (2, "c")], &["ab", "", "c"]);
    }

    #[test]
    fn a_new_connection_begins_anew() {
        let mut stream = Stream::default();
        let mut out = Vec::new();
        stream.push(segment(900), b"old", &mut out);
        let syn = Segment {
            sequence: 5,
            is_syn: true,
        };
        stream.push(syn, b"", &mut out);
        stream.push(segment(6), b"new", &mut out);
        assert_eq!(out, b"oldnew");
    }

    #[test]
    fn a_segment_that_was_not_captured_is_given_up() {
        let mut stream = Stream::default();
        let mut out = Vec::new();
        stream.push(segment(0), &[0], &mut out);
        for at in 0..=WAITING_MAX as u32 {
            assert_eq!(out.len(), 1);
            stream.push(segment(11 + at), &[1], &mut out);
        }
        assert_eq!((out.len(), stream.missing_bytes()), (WAITING_MAX + 2, 10));
        stream.push(segment(1 << 20), &vec![2; WAITING_BYTES_MAX + 1], &mut out);
        assert_eq!(stream.waiting_bytes, 0);
    }

    proptest::proptest! {
        #[test]
        fn any_order_within_the_limit_gives_the_stream(start: u32, sizes in proptest::collection::vec(1..50_usize, 1..60), swaps in proptest::collection::vec(0..60_usize, 0..60)) {
            // No line end: what may be the line before a chunk is held until more comes.
            let bytes: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|at| at as u8 | 0x80).collect();
            let mut at = 0;
            let mut segments: Vec<(usize, usize)> = sizes.iter().map(|size| { at += size; (at - size, at) }).collect();
            // The first stays: a stream begins with what is seen first.
            for swap in swaps {
                if swap > 0 && swap + 1 < segments.len() {
                    segments.swap(swap, swap + 1);
                }
            }
            let (mut stream, mut out) = (Stream::default(), Vec::new());
            for (from, to) in segments {
                stream.push(segment(start.wrapping_add(from as u32)), &bytes[from..to], &mut out);
            }
            proptest::prop_assert_eq!(out, bytes);
        }
    }
}

//! One stream: what came last of it, for all who watch.
//!
//! ```text
//!   publisher -> [ old | old | GOP 7: key, picture, picture | GOP 8: key, picture ] <- end
//!                  ^ dropped when nobody may lag so far       ^ newest_gop: late viewers begin here
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use record::Timestamp;
use tokio::sync::watch;
use wire::mpegts::VideoCodec;

use super::{Limits, StreamName};

/// Times in the server kept for each second.
const STAGE_TIMES_MAX: usize = 1000;

/// Why a stream exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It is in the configuration, and stays.
    Configured,
    /// Somebody published it.
    Published,
}

/// A stream and its viewers' places in it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: StreamName,
    life: Life,
    limits: Limits,
    ring: Mutex<Ring>,
    /// Number behind the newest chunk; viewers wait for it to change.
    end: watch::Sender<u64>,
    pub(super) counters: StreamCounters,
}

/// What happened to a stream; all but `viewers` count up.
#[derive(Debug, Default)]
pub(super) struct StreamCounters {
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    /// Pictures that began.
    pub(super) frames_in: AtomicU64,
    /// Pictures of a new publisher before its first key picture.
    pub(super) frames_dropped: AtomicU64,
    /// Packets that never came, by their counters.
    pub(super) packets_lost: AtomicU64,
    /// Groups of pictures that viewers lost, wholly or in part, because they were too slow.
    pub(super) gops_lost: AtomicU64,
    /// Viewers now.
    pub(super) viewers: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    chunks: VecDeque<Chunk>,
    /// Number of `chunks[0]`.
    first: u64,
    bytes: usize,
    newest_gop: Option<u64>,
    /// Groups of pictures so far.
    gops: u64,
    /// Who may append; 0 before the first.
    publisher: u64,
    /// Where it is; `None` when it has gone.
    peer: Option<String>,
    codec: Option<VideoCodec>,
    last_received: Timestamp,
    stage_times: Vec<Duration>,
    rates: Rates,
}

/// Packets that came together, at most one picture.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    received: Timestamp,
    starts_picture: bool,
    gop: Option<Gop>,
}

impl Chunk {
    /// Tables are small beside a picture, unless somebody sends key pictures of a packet.
    fn kept_bytes(&self) -> usize {
        self.bytes.len() + self.gop.as_ref().map_or(0, |gop| gop.lead_in.len())
    }
}

/// What a viewer that begins with this chunk, or comes to it, needs first.
#[derive(Clone, Debug)]
struct Gop {
    number: u64,
    lead_in: Bytes,
    join: Join,
}

/// How a group of pictures goes on from what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// From the same publisher.
    Seamless,
    /// From another one: counters and clock jump, and viewers are told so.
    Jump,
}

/// What a publisher appends: packets, and what begins with them.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// When the first of them came.
    pub(super) received: Timestamp,
    pub(super) starts_picture: bool,
    /// Tables and announcement of a jump, when a viewer can begin here.
    pub(super) lead_in: Option<(Vec<u8>, Join)>,
}

/// Another publisher has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replaced;

/// A viewer's place.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Chunk that is next.
    next: u64,
    /// Group of pictures that it is in; 0 before the first.
    gop: u64,
    state: Reading,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    /// Waits for a newer group of pictures than it has seen.
    #[default]
    Outside,
    /// The same, and the group that it was in is not whole.
    CutOff,
    /// Takes what comes before a key picture.
    Beginning,
    /// Takes what was there before it came.
    CatchingUp,
    /// Takes what comes.
    Live,
}

/// Figures of the last second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    pub(super) bits_in: u64,
    pub(super) bits_out: u64,
    pub(super) frames: u64,
    at: Timestamp,
    bytes_in: u64,
    bytes_out: u64,
    frames_in: u64,
}

/// What one second brought.
#[derive(Debug)]
pub(super) struct Second {
    pub(super) bytes_in: u64,
    pub(super) stage_times: Vec<Duration>,
}

/// What can be seen from outside.
#[derive(Debug)]
pub(super) struct View {
    pub(super) peer: Option<String>,
    pub(super) codec: Option<VideoCodec>,
    pub(super) last_received: Option<Timestamp>,
    pub(super) rates: Rates,
    pub(super) kept_bytes: usize,
    /// So far.
    pub(super) publishers: u64,
}

impl Stream {
    pub(super) fn new(name: StreamName, limits: &Limits, life: Life) -> Self {
        Self {
            name,
            life,
            limits: *limits,
            ring: Mutex::new(Ring {
                chunks: VecDeque::new(),
                first: 0,
                bytes: 0,
                newest_gop: None,
                gops: 0,
                publisher: 0,
                peer: None,
                codec: None,
                last_received: Timestamp::default(),
                stage_times: Vec::new(),
                rates: Rates::default(),
            }),
            end: watch::Sender::new(0),
            counters: StreamCounters::default(),
        }
    }

    /// Each operation leaves the ring whole, so that a panic elsewhere changes nothing about it.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `peer` the publisher, whoever was it before; returns its number.
    pub(super) fn take_over(&self, peer: String, now: Timestamp) -> u64 {
        let mut ring = self.ring();
        ring.publisher += 1;
        ring.peer = Some(peer);
        ring.last_received = now;
        ring.publisher
    }

    /// The publisher has gone, if it still was it.
    pub(super) fn leave(&self, publisher: u64) {
        let mut ring = self.ring();
        if ring.publisher == publisher {
            ring.peer = None;
        }
    }

    /// Appends what came, for all viewers.
    pub(super) fn append(
        &self,
        publisher: u64,
        parts: Vec<Part>,
        codec: Option<VideoCodec>,
        now: Timestamp,
    ) -> Result<(), Replaced> {
        let mut ring = self.ring();
        if ring.publisher != publisher {
            return Err(Replaced);
        }
        ring.codec = codec;
        ring.last_received = now;
        for part in parts {
            ring.push(part);
        }
        ring.trim(now, &self.limits);
        let end = ring.first + ring.chunks.len() as u64;
        drop(ring);
        self.end.send_replace(end);
        Ok(())
    }

    /// Tells when there may be more.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// The next bytes for a viewer, if there are any.
    pub(super) fn take(&self, cursor: &mut Cursor, now: Timestamp) -> Option<Bytes> {
        let mut ring = self.ring();
        let lost = ring.place(cursor, now, self.limits.lag_max);
        self.counters.gops_lost.fetch_add(lost, Ordering::Relaxed);
        let bytes = ring.read(cursor, now)?;
        drop(ring);
        let counter = &self.counters.bytes_out;
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Some(bytes)
    }

    /// Whether it can be forgotten.
    pub(super) fn is_abandoned(&self, now: Timestamp, after: Duration) -> bool {
        let ring = self.ring();
        self.life == Life::Published
            && ring.peer.is_none()
            && self.counters.viewers.load(Ordering::Relaxed) == 0
            && now.since(ring.last_received) > after
    }

    /// Takes the figures of the time since the last call.
    pub(super) fn tick(&self, now: Timestamp) -> Second {
        let counters = &self.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (bytes_in, bytes_out) = (load(&counters.bytes_in), load(&counters.bytes_out));
        let frames_in = load(&counters.frames_in);
        let mut ring = self.ring();
        let last = ring.rates;
        let seconds = now.since(last.at).as_secs_f64().max(1e-3);
        let rate = |new: u64, old: u64| ((new - old) as f64 / seconds) as u64;
        ring.rates = Rates {
            bits_in: rate(bytes_in, last.bytes_in) * 8,
            bits_out: rate(bytes_out, last.bytes_out) * 8,
            frames: ((frames_in - last.frames_in) as f64 / seconds).round() as u64,
            at: now,
            bytes_in,
            bytes_out,
            frames_in,
        };
        Second {
            bytes_in: bytes_in - last.bytes_in,
            stage_times: std::mem::take(&mut ring.stage_times),
        }
    }

    pub(super) fn view(&self) -> View {
        let ring = self.ring();
        View {
            peer: ring.peer.clone(),
            codec: ring.codec,
            last_received: (ring.publisher > 0).then_some(ring.last_received),
            rates: ring.rates,
            kept_bytes: ring.bytes,
            publishers: ring.publisher,
        }
    }
}

impl Ring {
    fn push(&mut self, part: Part) {
        let gop = part.lead_in.map(|(lead_in, join)| {
            self.gops += 1;
            self.newest_gop = Some(self.first + self.chunks.len() as u64);
            Gop {
                number: self.gops,
                lead_in: lead_in.into(),
                join,
            }
        });
        let chunk = Chunk {
            bytes: part.bytes.into(),
            received: part.received,
            starts_picture: part.starts_picture,
            gop,
        };
        self.bytes += chunk.kept_bytes();
        self.chunks.push_back(chunk);
    }

    /// Drops what nobody may lag behind to, and what is too much.
    fn trim(&mut self, now: Timestamp, limits: &Limits) {
        while let Some(front) = self.chunks.front() {
            let is_before_gop = self.newest_gop.is_none_or(|gop| self.first < gop);
            let is_old = is_before_gop && now.since(front.received) > limits.lag_max;
            if !is_old && self.bytes <= limits.stream_bytes_max {
                break;
            }
            self.bytes -= front.kept_bytes();
            self.chunks.pop_front();
            self.first += 1;
            self.newest_gop = self.newest_gop.filter(|&gop| gop >= self.first);
        }
    }

    fn chunk(&self, number: u64) -> Option<&Chunk> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.chunks.get(at)
    }

    /// Moves a viewer that is new or too late to the newest group of pictures; returns how many groups it has lost.
    fn place(&self, cursor: &mut Cursor, now: Timestamp, lag_max: Duration) -> u64 {
        if !matches!(cursor.state, Reading::Outside | Reading::CutOff) {
            let is_gone = cursor.next < self.first;
            let next = self.chunk(cursor.next);
            let is_late = self.newest_gop.is_some_and(|gop| gop > cursor.next)
                && next.is_some_and(|chunk| now.since(chunk.received) > lag_max);
            if !is_gone && !is_late {
                return 0;
            }
            let is_between = next.is_some_and(|chunk| chunk.gop.is_some());
            cursor.state = if is_between {
                Reading::Outside
            } else {
                Reading::CutOff
            };
        }
        let newest = self
            .newest_gop
            .and_then(|at| Some((at, self.chunk(at)?.gop.as_ref()?.number)));
        let Some((next, number)) = newest.filter(|(_, number)| *number > cursor.gop) else {
            return 0;
        };
        let lost = match (cursor.gop, cursor.state) {
            (0, _) => 0,
            (last, Reading::CutOff) => number - last,
            (last, _) => number - last - 1,
        };
        *cursor = Cursor {
            next,
            gop: number,
            state: Reading::Beginning,
        };
        lost
    }

    /// What is at a viewer's place, and moves it on.
    fn read(&mut self, cursor: &mut Cursor, now: Timestamp) -> Option<Bytes> {
        if matches!(cursor.state, Reading::Outside | Reading::CutOff) {
            return None;
        }
        let Some(chunk) = self.chunk(cursor.next) else {
            cursor.state = Reading::Live;
            return None;
        };
        if let Some(gop) = &chunk.gop {
            let is_new = gop.number != cursor.gop;
            cursor.gop = gop.number;
            let is_beginning = cursor.state == Reading::Beginning;
            if is_beginning || is_new && gop.join == Join::Jump {
                cursor.state = Reading::CatchingUp;
                return Some(gop.lead_in.clone());
            }
        }
        let bytes = chunk.bytes.clone();
        let (starts_picture, received) = (chunk.starts_picture, chunk.received);
        cursor.next += 1;
        // Of a viewer that takes what was there before it came, only its own age would be told.
        if cursor.state == Reading::Live
            && starts_picture
            && self.stage_times.len() < STAGE_TIMES_MAX
        {
            self.stage_times.push(now.since(received));
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_secs(1);

    fn stream(bytes_max: usize) -> Stream {
        let limits = Limits {
            stream_bytes_max: bytes_max,
            lag_max: LAG_MAX,
            ..Limits::default()
        };
        Stream::new("robot".parse().unwrap(), &limits, Life::Published)
    }

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs_f64(1000.0 + seconds)
    }

    /// A picture of 100 bytes that all are `byte`; from 10 to 19 it is a key picture, from 20 on one after a jump.
    fn part(byte: u8, received: Timestamp) -> Part {
        let lead_in = |join| (vec![b'L', byte], join);
        Part {
            bytes: vec![byte; 100],
            received,
            starts_picture: true,
            lead_in: match byte {
                0..=9 => None,
                10..=19 => Some(lead_in(Join::Seamless)),
                _ => Some(lead_in(Join::Jump)),
            },
        }
    }

    fn append(stream: &Stream, publisher: u64, bytes: &[u8], now: Timestamp) {
        let parts = bytes.iter().map(|&byte| part(byte, now)).collect();
        stream.append(publisher, parts, None, now).unwrap();
    }

    /// First byte of each picture, `L` before it for each lead-in.
    fn read(stream: &Stream, cursor: &mut Cursor, now: Timestamp) -> String {
        let mut found = String::new();
        while let Some(bytes) = stream.take(cursor, now) {
            found += &match bytes[0] {
                b'L' => "L".to_owned(),
                byte => format!("{byte} "),
            };
        }
        found
    }

    #[test]
    fn a_late_viewer_begins_with_the_last_key_picture() {
        let stream = stream(10_000);
        let publisher = stream.take_over("a".into(), at(0.0));
        append(&stream, publisher, &[1, 10, 2, 11, 3, 4], at(0.0));
        let mut late = Cursor::default();
        assert_eq!(read(&stream, &mut late, at(0.1)), "L11 3 4 ");
        append(&stream, publisher, &[5, 12, 6], at(0.2));
        assert_eq!(read(&stream, &mut late, at(0.2)), "5 12 6 ");
        assert_eq!(stream.counters.gops_lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_viewer_before_the_first_key_picture_waits_for_it() {
        let stream = stream(10_000);
        let publisher = stream.take_over("a".into(), at(0.0));
        let mut early = Cursor::default();
        append(&stream, publisher, &[1, 2], at(0.0));
        assert_eq!(read(&stream, &mut early, at(0.1)), "");
        append(&stream, publisher, &[10], at(0.2));
        assert_eq!(read(&stream, &mut early, at(0.2)), "L10 ");
    }

    #[test]
    fn a_slow_viewer_loses_whole_groups() {
        let stream = stream(10_000);
        let publisher = stream.take_over("a".into(), at(0.0));
        let lost = || stream.counters.gops_lost.load(Ordering::Relaxed);
        append(&stream, publisher, &[10, 1, 2], at(0.0));
        let mut slow = Cursor::default();
        stream.take(&mut slow, at(0.0));
        stream.take(&mut slow, at(0.0)); // lead-in and key picture
        append(&stream, publisher, &[11, 3], at(0.5));
        append(&stream, publisher, &[12, 4], at(0.9));
        assert_eq!(
            stream.take(&mut slow, at(0.9)).unwrap()[0],
            1,
            "not late enough"
        );
        assert_eq!(read(&stream, &mut slow, at(1.1)), "L12 4 ");
        assert_eq!(lost(), 2, "the rest of the first, and the second");
        append(&stream, publisher, &[13, 5, 14, 6], at(2.0));
        append(&stream, publisher, &[15, 7], at(2.5));
        assert_eq!(read(&stream, &mut slow, at(3.5)), "L15 7 ");
        assert_eq!(lost(), 4, "two whole ones");
    }

    #[test]
    fn memory_is_bounded_however_long_a_group_is() {
        let stream = stream(1000);
        let publisher = stream.take_over("a".into(), at(0.0));
        append(&stream, publisher, &[10], at(0.0));
        let mut slow = Cursor::default();
        stream.take(&mut slow, at(0.0));
        for _ in 0..50 {
            append(&stream, publisher, &[1], at(0.0));
            assert!(stream.view().kept_bytes <= 1000);
        }
        assert_eq!(read(&stream, &mut slow, at(0.0)), "", "its group is gone");
        assert_eq!(read(&stream, &mut Cursor::default(), at(0.0)), "");
        append(&stream, publisher, &[11], at(0.0));
        assert_eq!(read(&stream, &mut slow, at(0.0)), "L11 ");
        assert_eq!(stream.counters.gops_lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn tables_count_too() {
        let stream = stream(1000);
        let publisher = stream.take_over("a".into(), at(0.0));
        for _ in 0..20 {
            let key = Part {
                lead_in: Some((vec![b'L'; 400], Join::Seamless)),
                ..part(10, at(0.0))
            };
            stream.append(publisher, vec![key], None, at(0.0)).unwrap();
            assert!(stream.view().kept_bytes <= 1000);
        }
        assert_eq!(stream.ring().chunks.len(), 2);
    }

    #[test]
    fn old_groups_are_dropped() {
        let stream = stream(100_000);
        let publisher = stream.take_over("a".into(), at(0.0));
        for second in 0..20 {
            append(&stream, publisher, &[10, 1, 2], at(f64::from(second)));
        }
        // With a lead-in of two bytes each.
        assert_eq!(stream.view().kept_bytes, 604, "the last, and one to lag in");
    }

    #[test]
    fn another_publisher_takes_over_and_viewers_are_told() {
        let stream = stream(10_000);
        let first = stream.take_over("a".into(), at(0.0));
        append(&stream, first, &[10, 1], at(0.0));
        let mut viewer = Cursor::default();
        assert_eq!(read(&stream, &mut viewer, at(0.0)), "L10 1 ");
        let second = stream.take_over("b".into(), at(0.1));
        assert_eq!(
            stream.append(first, vec![part(2, at(0.1))], None, at(0.1)),
            Err(Replaced)
        );
        append(&stream, second, &[20, 3], at(0.2));
        assert_eq!(read(&stream, &mut viewer, at(0.2)), "L20 3 ");
        stream.leave(first);
        assert_eq!(stream.view().peer.as_deref(), Some("b"));
        stream.leave(second);
        assert_eq!(stream.view().peer, None);
    }

    #[test]
    fn abandoned() {
        let stream = stream(10_000);
        let minute = Duration::from_secs(60);
        let publisher = stream.take_over("a".into(), at(0.0));
        assert!(!stream.is_abandoned(at(100.0), minute), "published");
        stream.leave(publisher);
        assert!(!stream.is_abandoned(at(59.0), minute));
        assert!(stream.is_abandoned(at(61.0), minute));
        stream.counters.viewers.fetch_add(1, Ordering::Relaxed);
        assert!(!stream.is_abandoned(at(61.0), minute), "watched");
    }
}

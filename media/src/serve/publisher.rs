//! Who brings a stream: cuts it into pictures and finds the places where a viewer can begin.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use record::Timestamp;
use wire::mpegts::{Continuity, PACKET_BYTES, Scanner, Splitter, Start, discontinuity};

use super::stream::{Join, Part, Replaced, Stream};
use super::{Server, StreamName};
use crate::net::{Chunk, Input};
use crate::url::Transport;
use crate::{MediaError, StreamUrl};

/// A stream that shows no key picture for so long has none that this would know: then viewers begin with any picture.
const KEYLESS_AFTER: Duration = Duration::from_secs(12);
/// Datagrams from another address count only after the first has been silent for so long: two cameras at one port would
/// otherwise make one stream of nonsense.
const SOURCE_SILENT_AFTER: Duration = Duration::from_millis(300);

/// Appends to a stream until another takes over.
#[derive(Debug)]
pub(super) struct Publisher {
    stream: Arc<Stream>,
    number: u64,
    splitter: Splitter,
    scanner: Scanner,
    continuity: Continuity,
    since: Timestamp,
    keys: Keys,
    /// What has come and is not in the stream yet.
    parts: Vec<Part>,
}

/// Where viewers can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    /// Nothing is passed on before the first key picture.
    Awaited,
    /// With key pictures.
    Known,
    /// With any picture.
    Unknown,
}

impl Publisher {
    /// Takes `stream` over from whoever published it.
    pub(super) fn new(stream: Arc<Stream>, peer: String, now: Timestamp) -> Self {
        let number = stream.take_over(peer, now);
        Self {
            stream,
            number,
            splitter: Splitter::default(),
            scanner: Scanner::default(),
            continuity: Continuity::default(),
            since: now,
            keys: Keys::Awaited,
            parts: Vec::new(),
        }
    }

    /// Appends bytes as they come.
    pub(super) fn push(&mut self, bytes: &[u8], received: Timestamp) -> Result<(), Replaced> {
        self.collect(bytes, received);
        self.flush(received)
    }

    /// Takes bytes as they come. What came together is best appended together: each [`Publisher::flush`] wakes all viewers.
    fn collect(&mut self, bytes: &[u8], received: Timestamp) {
        let counters = &self.stream.counters;
        counters
            .bytes_in
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut splitter = std::mem::take(&mut self.splitter);
        let lost_before = self.continuity.lost();
        splitter.push(bytes, |packet| self.packet(packet, received));
        self.splitter = splitter;
        self.stream
            .counters
            .packets_lost
            .fetch_add(self.continuity.lost() - lost_before, Ordering::Relaxed);
    }

    /// Appends what was collected.
    fn flush(&mut self, now: Timestamp) -> Result<(), Replaced> {
        let parts = std::mem::take(&mut self.parts);
        self.stream
            .append(self.number, parts, self.scanner.codec(), now)
    }

    fn packet(&mut self, packet: &[u8; PACKET_BYTES], received: Timestamp) {
        self.continuity.follow(packet);
        let start = self.scanner.packet(packet);
        let counters = &self.stream.counters;
        if start != Start::Nothing {
            counters.frames_in.fetch_add(1, Ordering::Relaxed);
        }
        let is_first = self.keys == Keys::Awaited;
        let is_keyless = received.since(self.since) > KEYLESS_AFTER;
        if is_first && start == Start::Unit && is_keyless {
            self.keys = Keys::Unknown;
        }
        let can_begin = start == Start::Key || start == Start::Unit && self.keys == Keys::Unknown;
        if can_begin && self.keys == Keys::Awaited {
            self.keys = Keys::Known;
        }
        let lead_in = can_begin.then(|| (self.lead_in(packet), join(is_first)));
        match (self.keys, self.parts.last_mut()) {
            (Keys::Awaited, _) => {
                if start != Start::Nothing {
                    counters.frames_dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            (_, Some(last)) if start == Start::Nothing => last.bytes.extend_from_slice(packet),
            _ => self.parts.push(Part {
                bytes: packet.to_vec(),
                received,
                starts_picture: start != Start::Nothing,
                lead_in,
            }),
        }
    }

    /// Tables, and the announcement that the leading stream jumps to the counter of `packet`.
    fn lead_in(&self, packet: &[u8; PACKET_BYTES]) -> Vec<u8> {
        let mut lead_in = self.scanner.tables();
        if let Some(pid) = self.scanner.lead_pid() {
            lead_in.extend(discontinuity(pid, packet[3] & 0x0f));
        }
        lead_in
    }
}

fn join(is_first: bool) -> Join {
    if is_first { Join::Jump } else { Join::Seamless }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stream.leave(self.number);
    }
}

/// Brings a stream from an address of the configuration.
pub(super) struct Pull {
    stream: Arc<Stream>,
    input: Input,
    url: String,
    /// A sender at another address counts after this silence.
    silent_after: Duration,
    current: Option<Current>,
}

/// Who sends datagrams now.
struct Current {
    publisher: Publisher,
    source: Option<SocketAddr>,
    last_received: Timestamp,
}

impl Pull {
    pub(super) fn open(
        server: &Server,
        name: &StreamName,
        url: &StreamUrl,
    ) -> Result<Self, MediaError> {
        let stream = server.stream(name).ok_or_else(|| MediaError::Setting {
            setting: "stream",
            expected: "one of the configured ones".to_owned(),
            given: name.to_string(),
        })?;
        Ok(Self {
            stream,
            input: Input::open(url)?,
            url: url.to_string(),
            silent_after: match url.transport {
                Transport::Udp(_) | Transport::Rtp(_) => SOURCE_SILENT_AFTER,
                // There is one connection at a time, the newest.
                Transport::Tcp | Transport::TcpListen | Transport::Http { .. } => Duration::ZERO,
            },
            current: None,
        })
    }

    pub(super) fn run(mut self, is_over: impl Fn() -> bool) -> Result<(), MediaError> {
        let Self {
            stream,
            input,
            url,
            silent_after,
            current,
        } = &mut self;
        while !is_over() {
            for chunk in input.receive()? {
                take(stream, url, *silent_after, current, &chunk);
            }
            flush(current);
        }
        Ok(())
    }
}

fn flush(current: &mut Option<Current>) {
    if let Some(now) = current
        && !now.publisher.parts.is_empty()
        && now.publisher.flush(now.last_received) == Err(Replaced)
    {
        // Somebody with a token publishes the same stream. This one may have it back when it sends on.
        *current = None;
    }
}

fn take(
    stream: &Arc<Stream>,
    url: &str,
    silent_after: Duration,
    current: &mut Option<Current>,
    chunk: &Chunk<'_>,
) {
    let is_other = |current: &Current| current.source != chunk.source;
    let is_silent = |current: &Current| chunk.received.since(current.last_received) >= silent_after;
    if current
        .as_ref()
        .is_some_and(|current| is_other(current) && !is_silent(current))
    {
        return;
    }
    if current.as_ref().is_none_or(is_other) {
        let peer = match chunk.source {
            Some(source) => format!("{source} at {url}"),
            None => url.to_owned(),
        };
        flush(current);
        *current = None; // It leaves before the next takes over.
        *current = Some(Current {
            publisher: Publisher::new(Arc::clone(stream), peer, chunk.received),
            source: chunk.source,
            last_received: chunk.received,
        });
    }
    if let Some(now) = current {
        now.last_received = chunk.received;
        now.publisher.collect(chunk.bytes, chunk.received);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::super::stream::{Cursor, Life};
    use super::*;
    use wire::mpegts::{Reader, UnitKind, VideoCodec, Writer};

    fn stream() -> Arc<Stream> {
        let name = "robot".parse().unwrap();
        Arc::new(Stream::new(name, &Limits::default(), Life::Configured))
    }

    fn read(stream: &Stream, cursor: &mut Cursor, now: Timestamp) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(more) = stream.take(cursor, now) {
            bytes.extend(more);
        }
        bytes
    }

    /// Pictures of one byte repeated, the first a key picture.
    fn video(writer: &mut Writer, bytes: std::ops::Range<u8>) -> Vec<u8> {
        let (mut packets, first) = (Vec::new(), bytes.start);
        for byte in bytes {
            let kind = if byte == first {
                UnitKind::Key
            } else {
                UnitKind::Predicted
            };
            writer.write(&[byte; 400], u64::from(byte), kind, &mut packets);
        }
        packets
    }

    fn pictures(bytes: &[u8]) -> Vec<u8> {
        let mut reader = Reader::new();
        let units = reader.push(bytes);
        assert!(units.iter().all(|unit| !unit.damaged));
        assert_eq!(reader.counters().continuity_errors, 0);
        units.iter().map(|unit| unit.data[0]).collect()
    }

    #[test]
    fn a_late_viewer_can_decode_at_once() {
        let (stream, now) = (stream(), Timestamp(1_000_000));
        let mut publisher = Publisher::new(Arc::clone(&stream), "a".into(), now);
        let mut writer = Writer::new(VideoCodec::Mpeg2);
        for piece in video(&mut writer, 1..4).chunks(300) {
            publisher.push(piece, now).unwrap();
        }
        for piece in video(&mut writer, 4..7).chunks(1316) {
            publisher.push(piece, now).unwrap();
        }
        let bytes = read(&stream, &mut Cursor::default(), now);
        assert_eq!(pictures(&bytes), [4, 5, 6]);
    }

    #[test]
    fn a_publisher_that_comes_back_in_the_middle_is_passed_on_from_its_next_key_picture() {
        let (stream, now) = (stream(), Timestamp(1_000_000));
        let mut viewer = Cursor::default();
        let mut bytes = Vec::new();
        for round in 0..2 {
            let mut publisher = Publisher::new(Arc::clone(&stream), "a".into(), now);
            let mut writer = Writer::new(VideoCodec::Mpeg2);
            let mut packets = video(&mut writer, 1..4);
            packets.extend(video(&mut writer, 4..7));
            // The second time the first key picture is not there.
            let cut = if round == 0 { 0 } else { 3 * PACKET_BYTES };
            publisher.push(&packets[cut..], now).unwrap();
            bytes.extend(read(&stream, &mut viewer, now));
        }
        // The first viewer begins with the newest key picture.
        assert_eq!(pictures(&bytes), [4, 5, 6, 4, 5, 6]);
    }

    #[test]
    fn a_second_source_counts_when_the_first_is_silent() {
        let (stream, mut current) = (stream(), None);
        let sources: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 2], 2).into()];
        let mut feed = |source: usize, millis: u64| {
            let mut writer = Writer::new(VideoCodec::Mpeg2);
            let bytes = video(&mut writer, 1..3);
            let chunk = Chunk {
                bytes: &bytes,
                received: Timestamp(1_000_000 + millis * 1000),
                source: Some(sources[source]),
            };
            let url = "udp://…";
            take(&stream, url, SOURCE_SILENT_AFTER, &mut current, &chunk);
            flush(&mut current);
            stream.view().peer
        };
        let peer = |source: usize| Some(format!("{} at udp://…", sources[source]));
        assert_eq!(feed(0, 0), peer(0));
        assert_eq!(feed(1, 100), peer(0), "two at once");
        assert_eq!(feed(0, 200), peer(0));
        assert_eq!(feed(1, 501), peer(1), "the first was moved");
        assert_eq!(stream.view().publishers, 2);
    }

    #[test]
    fn without_known_key_pictures_any_picture_will_do() {
        let (stream, mut now) = (stream(), Timestamp(1_000_000));
        let mut publisher = Publisher::new(Arc::clone(&stream), "a".into(), now);
        let mut writer = Writer::new(VideoCodec::Mpeg2);
        let tables = video(&mut writer, 1..2)[..2 * PACKET_BYTES].to_vec();
        publisher.push(&tables, now).unwrap();
        let mut packets = Vec::new();
        writer.write(&[7; 100], 0, UnitKind::Predicted, &mut packets);
        publisher.push(&packets, now).unwrap();
        assert!(read(&stream, &mut Cursor::default(), now).is_empty());
        now = now + KEYLESS_AFTER + Duration::from_secs(1);
        packets.clear();
        writer.write(&[8; 100], 0, UnitKind::Predicted, &mut packets);
        publisher.push(&packets, now).unwrap();
        let bytes = read(&stream, &mut Cursor::default(), now);
        assert_eq!(pictures(&bytes), [8]);
    }

    /// Whatever is published, no more than the limit is kept of it, and a viewer gets whole packets.
    #[test]
    fn fuzz_what_is_published() {
        let limits = Limits {
            stream_bytes_max: 20 * PACKET_BYTES,
            ..Limits::default()
        };
        let check = bolero::check!().with_max_len(16 << 10);
        check.for_each(|bytes: &[u8]| {
            let name = "robot".parse().unwrap();
            let stream = Arc::new(Stream::new(name, &limits, Life::Published));
            let mut now = Timestamp(1_000_000);
            let mut publisher = Publisher::new(Arc::clone(&stream), "a".into(), now);
            let mut packets = Vec::new();
            Writer::new(VideoCodec::H264).write(&[1], 0, UnitKind::Key, &mut packets);
            for inside in bytes.chunks(40) {
                // Of the video, its map, or the PAT; everything else as it comes.
                let pid = [[0x41, 0x00], [0x01, 0x00], [0x50, 0x00], [0x40, 0x00]]
                    [usize::from(inside[0]) % 4];
                let end = packets.len() + PACKET_BYTES;
                packets.extend([0x47, pid[0], pid[1]]);
                packets.extend(inside);
                packets.resize(end, inside[0]);
            }
            packets.extend(bytes);
            let size = 1 + usize::from(bytes.first().copied().unwrap_or(0)) * 9;
            let mut viewer = Cursor::default();
            for piece in packets.chunks(size) {
                publisher.push(piece, now).unwrap();
                let kept = stream.view().kept_bytes;
                assert!(kept <= limits.stream_bytes_max, "{kept}");
                assert_eq!(read(&stream, &mut viewer, now).len() % PACKET_BYTES, 0);
                now = now + Duration::from_millis(5);
            }
        });
    }
}

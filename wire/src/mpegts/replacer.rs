//! Other pictures in the place of a stream's video, all else as it came.

use super::packets::{Clock, Fields, Splitter, packet_pid};
use super::pes::{Times, Video};
use super::psi::{self, Sections};
use super::reader::{AccessUnit, Reader};
use super::{
    CLOCK_HZ, CLOCK_WRAP, ForeignVideo, PACKET_BYTES, PID_NULL, PID_PAT, PID_VIDEO, UnitKind,
    VideoCodec,
};

/// A clock that shows up to so much less than the last one came late, or twice; more is another time.
const LATE_TICKS_MAX: u64 = CLOCK_HZ;

/// Takes the first video stream of the first programme out, and lets other pictures in, with its PID.
///
/// ```text
/// packets --+-- tables, sound, all else --------> `passed`, at once and in their order
///           +-- pictures --(the caller)-- `write` ------> out
///           +-- the video's clock --------'
/// ```
///
/// In the map (PMT), which passes once it is whole, the video is coded with the new codec; nothing else in it changes. Sound
/// keeps its packets, and pictures get the presentation times that the caller has from them: what was in step stays so. Where
/// the stream's clock is the video's, each of its readings goes out with a picture, or alone when the next comes first; another
/// stream's clock passes with that. Before the tables nothing passes, and stuffing never does.
#[derive(Debug)]
pub struct Replacer {
    codec: VideoCodec,
    splitter: Splitter,
    reader: Reader,
    map: Sections,
    /// Continuity counter of the map.
    map_count: u8,
    video: Video,
    /// The last reading that came in.
    newest: Option<Clock>,
    /// It has not gone out yet.
    clock: Option<Clock>,
    /// It jumps, and that has not gone out yet.
    jumps: bool,
}

impl Replacer {
    /// The new pictures are coded with `codec`.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        Self {
            codec,
            splitter: Splitter::default(),
            reader: Reader::new(),
            map: Sections::default(),
            map_count: 0,
            video: Video::new(PID_VIDEO),
            newest: None,
            clock: None,
            jumps: false,
        }
    }

    /// Takes bytes as they come, and returns the coded pictures that they complete, as [`Reader::push`] does. What passes is
    /// appended to `passed`, in whole packets.
    pub fn push(&mut self, bytes: &[u8], passed: &mut Vec<u8>) -> Vec<AccessUnit> {
        let mut units = Vec::new();
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(bytes, |packet| self.packet(packet, passed, &mut units));
        self.splitter = splitter;
        units
    }

    /// Appends the packets of a new picture, presented at `pts`; see [`Writer::write`](super::Writer::write).
    pub fn write(&mut self, unit: &[u8], pts: u64, kind: UnitKind, out: &mut Vec<u8>) {
        let times = Times {
            pts,
            clock: self.clock.take(),
            jumps: std::mem::take(&mut self.jumps),
        };
        self.video.picture(unit, times, kind, out);
    }

    /// What the video is coded with, if the last map names none that can be replaced.
    #[must_use]
    pub fn foreign_video(&self) -> Option<ForeignVideo> {
        self.reader.foreign_video()
    }

    fn packet(
        &mut self,
        packet: &[u8; PACKET_BYTES],
        passed: &mut Vec<u8>,
        units: &mut Vec<AccessUnit>,
    ) {
        self.reader.packet(packet, units);
        let pid = packet_pid(packet);
        let is_map = Some(pid) == self.reader.map_pid();
        let map = if is_map { self.map.push(packet) } else { None };
        let Some((video, _)) = self.reader.video() else {
            if pid == PID_PAT {
                passed.extend_from_slice(packet);
            }
            return;
        };
        if self.video.pid() != video {
            self.video = Video::new(video);
            (self.newest, self.clock) = (None, None);
        }
        if pid == video {
            self.follow_clock(packet, passed);
        } else if is_map {
            // Its packets may become fewer: it is counted anew. A map that cannot be read is of no use to anybody.
            if let Some((section, _)) = map {
                let recoded = section.recoded(video, self.codec);
                let table = recoded.unwrap_or_else(|| section.payload());
                psi::packets(pid, &mut self.map_count, &table, passed);
            }
        } else if pid != PID_NULL {
            passed.extend_from_slice(packet);
        }
    }

    /// Remembers what time it is by a packet of the video.
    fn follow_clock(&mut self, packet: &[u8; PACKET_BYTES], passed: &mut Vec<u8>) {
        let has_error = packet[1] & 0x80 != 0;
        let Some(fields) = Fields::of(packet).filter(|_| !has_error) else {
            return;
        };
        self.jumps |= fields.discontinuity;
        let Some(clock) = fields.clock else { return };
        let behind = |newest| (ticks(newest) + CLOCK_WRAP - ticks(clock)) % CLOCK_WRAP;
        let is_late = self
            .newest
            .is_some_and(|newest| behind(newest) <= LATE_TICKS_MAX);
        if is_late && !self.jumps {
            return;
        }
        self.newest = Some(clock);
        if let Some(waiting) = self.clock.replace(clock) {
            // No picture came after it that could have taken it along.
            self.video.clock(waiting, false, passed);
        }
    }
}

fn ticks([a, b, c, d, e, _]: Clock) -> u64 {
    let base = u64::from(u32::from_be_bytes([a, b, c, d]));
    base << 1 | u64::from(e >> 7)
}

#[cfg(test)]
mod tests {
    use super::super::{Continuity, Scanner, Start, Writer};
    use super::*;

    const SOUND: u16 = 0x101;

    /// A packet of another stream.
    fn sound(number: u8) -> [u8; PACKET_BYTES] {
        let mut packet = [number; PACKET_BYTES];
        packet[..4].copy_from_slice(&[0x47, 0x01, 0x01, 0x10 | number & 0x0f]);
        packet
    }

    fn packets(stream: &[u8]) -> &[[u8; PACKET_BYTES]] {
        stream.as_chunks::<PACKET_BYTES>().0
    }

    fn clocks(stream: &[u8], pid: u16) -> Vec<u64> {
        let of_pid = packets(stream)
            .iter()
            .filter(|packet| packet_pid(packet) == pid);
        of_pid
            .filter_map(|packet| Fields::of(packet)?.clock.map(ticks))
            .collect()
    }

    /// Pictures with sound between their packets.
    fn stream(pictures: u8) -> (Vec<u8>, Vec<[u8; PACKET_BYTES]>) {
        let (mut writer, mut stream, mut sounds) =
            (Writer::new(VideoCodec::H264), Vec::new(), Vec::new());
        for number in 0..pictures {
            let kind = if number % 4 == 0 {
                UnitKind::Key
            } else {
                UnitKind::Predicted
            };
            let mut picture = Vec::new();
            let pts = 100_000 + u64::from(number) * 3000;
            writer.write(&[number + 1; 700], pts, kind, &mut picture);
            for packet in packets(&picture) {
                stream.extend(packet);
                // The first comes before the map.
                sounds.push(sound(sounds.len() as u8));
                stream.extend(sounds.last().unwrap());
            }
        }
        (stream, sounds)
    }

    #[test]
    fn all_but_the_video_passes_at_once_and_in_order() {
        let (stream, sounds) = stream(12);
        let (mut replacer, mut out) = (Replacer::new(VideoCodec::Mpeg2), Vec::new());
        for packet in packets(&stream) {
            let mut passed = Vec::new();
            let units = replacer.push(packet, &mut passed);
            if packet_pid(packet) == SOUND && replacer.reader.video().is_some() {
                assert_eq!(passed, packet);
            }
            out.extend_from_slice(&passed);
            for unit in units {
                let kind = if unit.random_access {
                    UnitKind::Key
                } else {
                    UnitKind::Predicted
                };
                replacer.write(&[!unit.data[0]; 300], unit.pts.unwrap(), kind, &mut out);
            }
        }
        let is_sound = |packet: &&[u8; PACKET_BYTES]| packet_pid(packet) == SOUND;
        let heard: Vec<_> = packets(&out).iter().filter(is_sound).copied().collect();
        assert_eq!(heard, sounds[1..]);
        // The pictures are the new ones, at their times, and the map says how they are coded.
        let mut reader = Reader::new();
        let units = reader.push(&out);
        let times: Vec<_> = units.iter().map(|unit| unit.pts.unwrap()).collect();
        assert_eq!(
            times,
            (0..12).map(|n| 100_000 + n * 3000).collect::<Vec<_>>()
        );
        assert!(
            units
                .iter()
                .zip(1..)
                .all(|(unit, number)| unit.data == [!number; 300] && !unit.damaged)
        );
        assert_eq!(reader.video(), Some((PID_VIDEO, VideoCodec::Mpeg2)));
        let mut continuity = Continuity::default();
        continuity.follow(&out);
        assert_eq!((continuity.lost(), continuity.duplicates()), (0, 0));
        assert_eq!(clocks(&out, PID_VIDEO), clocks(&stream, PID_VIDEO));
    }

    /// Clocks between pictures go out alone, and one that comes again, or late, does not.
    #[test]
    fn the_clock_goes_forward() {
        let clock = |ticks: u64, flags: u8| {
            let reading = [
                (ticks >> 25) as u8,
                (ticks >> 17) as u8,
                (ticks >> 9) as u8,
                (ticks >> 1) as u8,
                0x7e,
                0,
            ];
            let field = [&[flags][..], &reading].concat();
            super::super::packets::without_payload(PID_VIDEO, 0, &field)
        };
        let mut replacer = Replacer::new(VideoCodec::H264);
        let (mut stream, mut out) = (Vec::new(), Vec::new());
        Writer::new(VideoCodec::H264).write(&[1; 9], 99_000, UnitKind::Key, &mut stream);
        replacer.push(&stream, &mut out);
        for (ticks, flags) in [
            (92_000, 0x10),
            (92_000, 0x10),
            (90_000, 0x10),
            (93_000, 0x10),
        ] {
            replacer.push(&clock(ticks, flags), &mut out);
        }
        assert_eq!(clocks(&out, PID_VIDEO), [90_000, 92_000]);
        replacer.write(&[2; 9], 99_000, UnitKind::Key, &mut out);
        assert_eq!(clocks(&out, PID_VIDEO), [90_000, 92_000, 93_000]);
        // Back to the beginning, announced.
        replacer.push(&clock(10_000, 0x90), &mut out);
        replacer.write(&[3; 9], 19_000, UnitKind::Predicted, &mut out);
        assert_eq!(clocks(&out, PID_VIDEO)[3..], [10_000]);
        let last = Fields::of(packets(&out).last().unwrap()).unwrap();
        assert!(last.discontinuity);
        // Without an announcement, from another sender.
        replacer.push(&clock(5 << 30, 0x10), &mut out);
        replacer.write(&[4; 9], 19_000, UnitKind::Predicted, &mut out);
        assert_eq!(clocks(&out, PID_VIDEO)[4..], [5 << 30]);
        assert_eq!(Reader::new().push(&out).len(), 3);
    }

    #[test]
    fn before_the_tables_and_of_stuffing_nothing_passes() {
        let mut replacer = Replacer::new(VideoCodec::H264);
        let mut passed = Vec::new();
        replacer.push(&sound(0), &mut passed);
        assert!(passed.is_empty());
        let (stream, _) = stream(1);
        replacer.push(&stream, &mut passed);
        let length = passed.len();
        let mut stuffing = [0xff; PACKET_BYTES];
        stuffing[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
        replacer.push(&stuffing, &mut passed);
        assert_eq!(passed.len(), length);
    }

    #[test]
    fn a_map_of_many_packets() {
        let (mut writer, mut count) = (Writer::new(VideoCodec::H264), 0);
        let table = psi::long_pmt(PID_VIDEO, VideoCodec::H264);
        // PAT, map and picture.
        let mut next = || {
            let (mut stream, mut map) = (Vec::new(), Vec::new());
            writer.write(&[1; 300], 99_000, UnitKind::Key, &mut stream);
            psi::packets(0x1000, &mut count, &table, &mut map);
            let picture = stream.split_off(2 * PACKET_BYTES);
            stream.truncate(PACKET_BYTES);
            (stream, map, picture)
        };
        // With a hole in the map.
        let (pat, map, picture) = next();
        let (first, rest) = (&map[..PACKET_BYTES], &map[2 * PACKET_BYTES..]);
        let holed = [&pat[..], first, rest, &picture].concat();
        let mut replacer = Replacer::new(VideoCodec::Mpeg2);
        let (mut scanner, mut out) = (Scanner::default(), Vec::new());
        assert!(replacer.push(&holed, &mut out).is_empty());
        for _ in 0..2 {
            let (pat, map, picture) = next();
            let mut long = pat.clone();
            for (number, packet) in packets(&map).iter().enumerate() {
                long.extend(packet);
                long.extend(sound(number as u8));
            }
            long.extend(picture);
            let keys = packets(&long)
                .iter()
                .filter(|packet| scanner.packet(packet) == Start::Key);
            assert_eq!(keys.count(), 1);
            assert_eq!(scanner.tables(), [pat, map].concat());
            assert_eq!(replacer.push(&long, &mut out).len(), 1);
            replacer.write(&[2; 300], 99_000, UnitKind::Key, &mut out);
        }
        let mut reader = Reader::new();
        assert_eq!(reader.push(&out).len(), 2);
        assert_eq!(reader.video(), Some((PID_VIDEO, VideoCodec::Mpeg2)));
        let mut continuity = Continuity::default();
        continuity.follow(&out);
        assert_eq!(continuity.lost_by_pid().get(&0x1000), None);
    }

    #[test]
    fn the_video_moves_to_another_pid() {
        let mut replacer = Replacer::new(VideoCodec::Mpeg2);
        let (stream, _) = stream(4);
        let mut out = Vec::new();
        replacer.push(&stream, &mut out);
        // Of another multiplexer: the map where it was, the video elsewhere.
        let mut moved = [0xff; PACKET_BYTES];
        moved[..4].copy_from_slice(&[0x47, 0x50, 0x00, 0x11]);
        let map = super::super::psi::pmt(0x200, VideoCodec::H264);
        moved[4..4 + map.len()].copy_from_slice(&map);
        out.clear();
        replacer.push(&moved, &mut out);
        replacer.write(&[5; 400], 7, UnitKind::Key, &mut out);
        let mut reader = Reader::with_video(PID_VIDEO, VideoCodec::H264);
        // It has to know where the map is.
        reader.push(&stream);
        assert_eq!(reader.push(&out).len(), 1);
        assert_eq!(reader.video(), Some((0x200, VideoCodec::Mpeg2)));
    }
}

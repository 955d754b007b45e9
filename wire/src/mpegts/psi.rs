//! The two tables that say which packets carry the video: PAT and PMT.

use super::packets::{Fields, starts_unit};
use super::pes::{UNIT_START, header};
use super::{ForeignVideo, PACKET_BYTES, VideoCodec};

const TABLE_PAT: u8 = 0;
const TABLE_PMT: u8 = 2;
/// Table and length.
const HEAD_BYTES: usize = 3;
/// Table header after the length field, and the CRC at its end.
const AFTER_LENGTH: usize = 5;
const CRC_BYTES: usize = 4;
/// Longest section that a length of twelve bits can say.
const SECTION_BYTES_MAX: usize = HEAD_BYTES + 0xfff;
/// Packets that a section of that length takes, with a pointer, and one that it begins at the end of.
const SECTION_PACKETS_MAX: usize = 2 + SECTION_BYTES_MAX / (PACKET_BYTES - 4);

/// A whole table section.
pub(super) struct Section<'a> {
    table: u8,
    body: &'a [u8],
    /// With header and CRC.
    whole: &'a [u8],
}

/// Puts the sections of one PID together, which may begin in one packet and end in another. It holds two of them, and the packets
/// that they came in.
#[derive(Debug, Default)]
pub(super) struct Sections {
    coming: Pieces,
    whole: Pieces,
}

/// What has come of a section.
#[derive(Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    /// The packets that it came in; none before its first.
    packets: Vec<u8>,
}

impl Sections {
    /// Takes the next packet, and returns the section that it completes with all packets that this came in. A section of which a
    /// packet is missing has a wrong CRC, and is none.
    pub(super) fn push(&mut self, packet: &[u8; PACKET_BYTES]) -> Option<(Section<'_>, &[u8])> {
        let payload = Fields::of(packet)?.payload;
        let (end, start) = if starts_unit(packet) {
            let (&pointer, after) = payload.split_first()?;
            let (end, start) = after.split_at_checked(usize::from(pointer))?;
            (end, Some(start))
        } else {
            (payload, None)
        };
        let is_going_on = !self.coming.packets.is_empty() && !end.is_empty();
        let mut is_whole = is_going_on && self.coming.take(end, packet);
        if is_whole {
            self.whole = std::mem::take(&mut self.coming);
        }
        if let Some(start) = start {
            self.coming = Pieces::default();
            // Of two that end in one packet the first will do: tables come again and again.
            if self.coming.take(start, packet) && !is_whole {
                self.whole = std::mem::take(&mut self.coming);
                is_whole = true;
            }
        }
        if !is_whole {
            return None;
        }
        let section = Section::of(&self.whole.bytes)?;
        Some((section, &self.whole.packets))
    }
}

impl Pieces {
    /// Appends what `packet` has of the section; returns whether all of it is there.
    fn take(&mut self, bytes: &[u8], packet: &[u8; PACKET_BYTES]) -> bool {
        if self.packets.len() >= SECTION_PACKETS_MAX * PACKET_BYTES {
            *self = Self::default();
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        self.packets.extend_from_slice(packet);
        section_bytes(&self.bytes).is_some_and(|length| self.bytes.len() >= length)
    }
}

/// How long the section is that begins in `bytes`, as far as that is there.
fn section_bytes(bytes: &[u8]) -> Option<usize> {
    let &[_, hi, lo] = bytes.first_chunk::<HEAD_BYTES>()?;
    Some(HEAD_BYTES + usize::from(u16::from_be_bytes([hi & 0x0f, lo])))
}

/// A stream in a PMT.
struct Entry<'a> {
    stream_type: u8,
    pid: u16,
    /// Its descriptors.
    info: &'a [u8],
}

impl<'a> Section<'a> {
    /// Reads the section at the start of `bytes`; `None` when it is cut off or its CRC is wrong.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let whole = bytes.get(..section_bytes(bytes)?)?;
        let (&table, _) = whole.split_first()?;
        if whole.len() < HEAD_BYTES + AFTER_LENGTH + CRC_BYTES || crc32(whole) != 0 {
            return None;
        }
        Some(Self {
            table,
            body: &whole[HEAD_BYTES + AFTER_LENGTH..whole.len() - CRC_BYTES],
            whole,
        })
    }

    /// PID of the first programme's map, when this is a PAT.
    pub(super) fn map_pid(&self) -> Option<u16> {
        if self.table != TABLE_PAT {
            return None;
        }
        // Programme 0 is the network information table.
        let entry = self.body.chunks_exact(4).find(|e| e[0] != 0 || e[1] != 0)?;
        Some(u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
    }

    /// PID and codec of the first video stream, when this is a PMT.
    pub(super) fn video(&self) -> Option<(u16, VideoCodec)> {
        self.streams()
            .find_map(|(stream_type, pid)| Some((pid, VideoCodec::from_stream_type(stream_type)?)))
    }

    /// What the first video stream is coded with, when this is a PMT with video, but none that [`VideoCodec`] has.
    pub(super) fn foreign_video(&self) -> Option<ForeignVideo> {
        let mut foreign = self
            .streams()
            .map(|(kind, _)| ForeignVideo::from_stream_type(kind));
        foreign
            .find_map(|foreign| foreign)
            .filter(|_| self.video().is_none())
    }

    /// Stream type and PID of each stream, when this is a PMT; none otherwise.
    pub(super) fn streams(&self) -> impl Iterator<Item = (u8, u16)> + use<'a> {
        self.entries().map(|entry| (entry.stream_type, entry.pid))
    }

    /// Pointer field and section as they are.
    pub(super) fn payload(&self) -> Vec<u8> {
        [&[0][..], self.whole].concat()
    }

    /// Pointer field and section of this PMT, in which the stream `pid` is coded with `codec`. Its descriptors go: they say how it
    /// was coded before. `None` when there is no such stream. It is not longer than this one.
    pub(super) fn recoded(&self, pid: u16, codec: VideoCodec) -> Option<Vec<u8>> {
        let list = self.stream_list()?;
        let head = &self.whole[..self.whole.len() - CRC_BYTES - list.len()];
        let (mut section, mut is_there) = (head.to_vec(), false);
        for entry in self.entries() {
            let is_it = entry.pid == pid;
            is_there |= is_it;
            let (stream_type, info) = if is_it {
                (codec.stream_type(), &[][..])
            } else {
                (entry.stream_type, entry.info)
            };
            let [pid_hi, pid_lo] = (entry.pid | 0xe000).to_be_bytes();
            let [info_hi, info_lo] = (info.len() as u16 | 0xf000).to_be_bytes();
            section.extend([stream_type, pid_hi, pid_lo, info_hi, info_lo]);
            section.extend(info);
        }
        is_there.then(|| closed(section))
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut rest = self.stream_list().unwrap_or(&[]);
        std::iter::from_fn(move || {
            let (&[stream_type, pid_hi, pid_lo, info_hi, info_lo], after) =
                rest.split_first_chunk::<5>()?;
            let length = usize::from(u16::from_be_bytes([info_hi & 0x0f, info_lo]));
            let (info, later) = after.split_at_checked(length).unwrap_or_default();
            rest = later;
            Some(Entry {
                stream_type,
                pid: u16::from_be_bytes([pid_hi & 0x1f, pid_lo]),
                info,
            })
        })
    }

    fn stream_list(&self) -> Option<&'a [u8]> {
        if self.table != TABLE_PMT {
            return None;
        }
        let (&[_, _, hi, lo], _) = self.body.split_first_chunk::<4>()?;
        self.body
            .get(4 + usize::from(u16::from_be_bytes([hi & 0x0f, lo]))..)
    }
}

/// The PAT of a stream with one programme.
pub(super) fn pat(map_pid: u16) -> Vec<u8> {
    let [hi, lo] = (map_pid | 0xe000).to_be_bytes();
    section(TABLE_PAT, &[0, 1, hi, lo])
}

/// The PMT of a programme with one video stream that also carries the clock.
pub(super) fn pmt(video_pid: u16, codec: VideoCodec) -> Vec<u8> {
    let [hi, lo] = (video_pid | 0xe000).to_be_bytes();
    section(
        TABLE_PMT,
        &[hi, lo, 0xf0, 0, codec.stream_type(), hi, lo, 0xf0, 0],
    )
}

/// Appends the packets of a table, of which pointer field and section are given; stuffed behind it, as some receivers expect.
pub(super) fn packets(pid: u16, count: &mut u8, table: &[u8], out: &mut Vec<u8>) {
    let mut start = UNIT_START;
    for part in table.chunks(PACKET_BYTES - 4) {
        let end = out.len() + PACKET_BYTES;
        header(pid | start, 0x10, count, out);
        out.extend_from_slice(part);
        out.resize(end, 0xff);
        start = 0;
    }
}

/// Pointer field and section.
fn section(table: u8, body: &[u8]) -> Vec<u8> {
    // Stream or programme 1, version 0 in force, section 0 of 0.
    let mut section = vec![table, 0xb0, 0, 0, 1, 0xc1, 0, 0];
    section.extend(body);
    closed(section)
}

/// Pointer field and a section that lacks its length and its CRC.
fn closed(mut section: Vec<u8>) -> Vec<u8> {
    let [hi, lo] = ((section.len() - HEAD_BYTES + CRC_BYTES) as u16).to_be_bytes();
    section[1] = section[1] & 0xf0 | hi & 0x0f;
    section[2] = lo;
    section.extend(crc32(&section).to_be_bytes());
    debug_assert!(section.len() <= SECTION_BYTES_MAX);
    section.insert(0, 0);
    section
}

/// CRC-32/MPEG-2; over a section with its CRC it is 0.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// A map that no packet holds: the video is behind sixty other streams.
#[cfg(test)]
pub(super) fn long_pmt(video_pid: u16, codec: VideoCodec) -> Vec<u8> {
    let [video_hi, video_lo] = (video_pid | 0xe000).to_be_bytes();
    let mut body = vec![video_hi, video_lo, 0xf0, 0];
    for pid in 0x300..0x33c_u16 {
        let [hi, lo] = (pid | 0xe000).to_be_bytes();
        body.extend([0x06, hi, lo, 0xf0, 6, 0x0a, 4, b'e', b'n', b'g', 0]);
    }
    body.extend([codec.stream_type(), video_hi, video_lo, 0xf0, 0]);
    section(TABLE_PMT, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of pointer field and section.
    fn parse(table: &[u8]) -> Option<Section<'_>> {
        assert_eq!(table[0], 0);
        Section::of(&table[1..])
    }

    #[test]
    fn tables_read_back() {
        assert_eq!(parse(&pat(0x1000)).unwrap().map_pid(), Some(0x1000));
        let pmt = pmt(0x100, VideoCodec::H264);
        let video = Some((0x100, VideoCodec::H264));
        assert_eq!(parse(&pmt).unwrap().video(), video);
    }

    /// What is found of the video after each packet.
    fn found(sections: &mut Sections, packets: &[[u8; PACKET_BYTES]]) -> Vec<Option<u16>> {
        let found = packets.iter().map(|packet| {
            let (section, _) = sections.push(packet)?;
            section.video().map(|(pid, _)| pid)
        });
        found.collect()
    }

    #[test]
    fn a_section_of_many_packets() {
        let (mut count, mut stream) = (0, Vec::new());
        let map = long_pmt(0x100, VideoCodec::H264);
        packets(0x1000, &mut count, &map, &mut stream);
        let long = stream.as_chunks::<PACKET_BYTES>().0.to_vec();
        assert_eq!((long.len(), count), (4, 4));
        let mut sections = Sections::default();
        let whole = [None, None, None, Some(0x100)];
        assert_eq!(found(&mut sections, &long), whole);
        // One is lost, or comes twice: this one is not read, and the next is.
        let holed = [long[0], long[2], long[3]];
        assert_eq!(found(&mut sections, &holed), [None; 3]);
        assert_eq!(found(&mut sections, &long), whole);
        let doubled = [long[0], long[1], long[1], long[2], long[3]];
        assert_eq!(found(&mut sections, &doubled), [None; 5]);
        assert_eq!(found(&mut sections, &long), whole);
        assert_eq!(sections.push(&long[0]).map(|_| ()), None);
        assert_eq!(sections.coming.packets.len(), PACKET_BYTES);
    }

    #[test]
    fn a_section_that_begins_where_another_ends() {
        let map = long_pmt(0x100, VideoCodec::H264);
        // Two of them, and the second begins in the packet that the first ends in.
        let tail = map.len() % 184;
        let pointer_at = map.len() - tail;
        let mut bytes = map.clone();
        bytes.insert(pointer_at, tail as u8);
        bytes.extend(&map[1..]);
        let mut stream = Vec::new();
        for (number, part) in bytes.chunks(184).enumerate() {
            let starts = [0, pointer_at].contains(&(number * 184));
            stream.extend([0x47, if starts { 0x50 } else { 0x10 }, 0, 0x10]);
            stream.extend(part);
            stream.resize((number + 1) * PACKET_BYTES, 0xff);
        }
        let found = found(
            &mut Sections::default(),
            stream.as_chunks::<PACKET_BYTES>().0,
        );
        assert_eq!(found.iter().flatten().count(), 2, "{found:?}");
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut sections = Sections::default();
        let mut packet = [0; PACKET_BYTES];
        // A section of 4 KiB, and packets that bring a byte of it each.
        packet[..9].copy_from_slice(&[0x47, 0x50, 0, 0x10, 0, 2, 0x0f, 0xff, 0]);
        assert!(sections.push(&packet).is_none());
        packet[..5].copy_from_slice(&[0x47, 0x10, 0, 0x30, 182]);
        for _ in 0..5000 {
            assert!(sections.push(&packet).is_none());
            assert!(sections.coming.packets.len() <= SECTION_PACKETS_MAX * PACKET_BYTES);
        }
        assert!(sections.coming.packets.is_empty());
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let good = pmt(0x100, VideoCodec::Mpeg2);
        for bit in 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bad).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn only_what_is_recoded_changes() {
        // Clock with the sound; a descriptor of the programme, of the video and of the sound.
        let body = [
            &[0xe1, 0x01, 0xf0, 2, 5, 0][..],
            &[0x1b, 0xe1, 0x00, 0xf0, 3, 0x28, 1, 7],
            &[0x0f, 0xe1, 0x01, 0xf0, 2, 0x0a, 0],
        ];
        let before = section(TABLE_PMT, &body.concat());
        let after = parse(&before).unwrap().recoded(0x100, VideoCodec::Mpeg2);
        let expected = [body[0], &[0x02, 0xe1, 0x00, 0xf0, 0], body[2]];
        assert_eq!(after.unwrap(), section(TABLE_PMT, &expected.concat()));
        let of = |table: &[u8], pid| parse(table).unwrap().recoded(pid, VideoCodec::H264);
        assert_eq!(of(&before, 0x1ff), None);
        assert_eq!(of(&pat(0x100), 0x100), None);
    }

    #[test]
    fn foreign_video() {
        // Sound, and video of two kinds.
        let sound = [0x0f, 0xe1, 0x01, 0xf0, 0];
        let video = |kind| [kind, 0xe1, 0x00, 0xf0, 0];
        let of = |streams: &[[u8; 5]]| {
            let body = [&[0xe1, 0x00, 0xf0, 0][..], &streams.concat()].concat();
            let map = section(TABLE_PMT, &body);
            let foreign = parse(&map).unwrap().foreign_video();
            foreign.map(|foreign| foreign.to_string())
        };
        let hevc = Some("H.265 (stream type 0x24)".to_owned());
        assert_eq!(of(&[sound, video(0x24)]), hevc);
        assert_eq!(of(&[video(0x24), video(0x1b)]), None, "one can be read");
        assert_eq!(of(&[sound]), None);
        assert!(parse(&pat(0x1000)).unwrap().foreign_video().is_none());
    }

    #[test]
    fn crc_is_the_published_one() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
    }
}

//! The two tables that say which packets carry the video: PAT and PMT.

use super::{ForeignVideo, PACKET_BYTES, VideoCodec};

const TABLE_PAT: u8 = 0;
const TABLE_PMT: u8 = 2;
/// Table header after the length field, and the CRC at its end.
const AFTER_LENGTH: usize = 5;
const CRC_BYTES: usize = 4;

/// A table section found in the payload of one packet. Sections that span packets are not looked at: a PMT that long
/// lists more than thirty streams.
pub(super) struct Section<'a> {
    table: u8,
    body: &'a [u8],
    /// With header and CRC.
    whole: &'a [u8],
}

/// A stream in a PMT.
struct Entry<'a> {
    stream_type: u8,
    pid: u16,
    /// Its descriptors.
    info: &'a [u8],
}

impl<'a> Section<'a> {
    /// Reads the section that begins in the payload of a packet with a payload unit start; `None` when it is cut off or
    /// its CRC is wrong.
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let pointer = usize::from(*payload.first()?);
        let section = payload.get(1 + pointer..)?;
        let (&[table, hi, lo], _) = section.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_be_bytes([hi & 0x0f, lo]));
        let whole = section.get(..3 + length)?;
        if length < AFTER_LENGTH + CRC_BYTES || crc32(whole) != 0 {
            return None;
        }
        Some(Self {
            table,
            body: &whole[3 + AFTER_LENGTH..whole.len() - CRC_BYTES],
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

    /// The payload of a packet with this PMT, in which the stream `pid` is coded with `codec`. Its descriptors go: they say how it
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

/// Pointer field and section: the payload of a packet.
fn section(table: u8, body: &[u8]) -> Vec<u8> {
    // Stream or programme 1, version 0 in force, section 0 of 0.
    let mut section = vec![table, 0xb0, 0, 0, 1, 0xc1, 0, 0];
    section.extend(body);
    closed(section)
}

/// The payload of a packet with a section that lacks its length and its CRC.
fn closed(mut section: Vec<u8>) -> Vec<u8> {
    let [hi, lo] = ((section.len() - 3 + CRC_BYTES) as u16).to_be_bytes();
    section[1] = section[1] & 0xf0 | hi & 0x0f;
    section[2] = lo;
    section.extend(crc32(&section).to_be_bytes());
    debug_assert!(section.len() < PACKET_BYTES - 4);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_read_back() {
        assert_eq!(
            Section::parse(&pat(0x1000)).unwrap().map_pid(),
            Some(0x1000)
        );
        let pmt = pmt(0x100, VideoCodec::H264);
        assert_eq!(
            Section::parse(&pmt).unwrap().video(),
            Some((0x100, VideoCodec::H264))
        );
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let good = pmt(0x100, VideoCodec::Mpeg2);
        for bit in 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Section::parse(&bad).is_none(), "bit {bit}");
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
        let after = Section::parse(&before)
            .unwrap()
            .recoded(0x100, VideoCodec::Mpeg2);
        let expected = [body[0], &[0x02, 0xe1, 0x00, 0xf0, 0], body[2]];
        assert_eq!(after.unwrap(), section(TABLE_PMT, &expected.concat()));
        let of = |payload: &[u8], pid| {
            Section::parse(payload)
                .unwrap()
                .recoded(pid, VideoCodec::H264)
        };
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
            let foreign = Section::parse(&map).unwrap().foreign_video();
            foreign.map(|foreign| foreign.to_string())
        };
        let hevc = Some("H.265 (stream type 0x24)".to_owned());
        assert_eq!(of(&[sound, video(0x24)]), hevc);
        assert_eq!(of(&[video(0x24), video(0x1b)]), None, "one can be read");
        assert_eq!(of(&[sound]), None);
        assert!(
            Section::parse(&pat(0x1000))
                .unwrap()
                .foreign_video()
                .is_none()
        );
    }

    #[test]
    fn crc_is_the_published_one() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
    }
}

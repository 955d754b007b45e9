//! Where pictures and key pictures begin, without taking the stream apart.

use super::packets::{FLAG_DISCONTINUITY, Fields, packet_pid, starts_unit, without_payload};
use super::psi::Sections;
use super::{PACKET_BYTES, PID_PAT, SYNC_BYTE, VideoCodec};

/// PES header up to and including its own length.
const PES_FIXED_BYTES: usize = 9;

/// What begins in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing of the leading stream.
    Nothing,
    /// A picture that needs others.
    Unit,
    /// A picture that a viewer can begin with.
    Key,
}

/// Follows the tables and the leading stream: the first video stream, or else the first stream there is. A key picture is
/// known by the random access indicator, or by how MPEG-2 and H.264 begin one.
#[derive(Debug, Default)]
pub struct Scanner {
    pat: Sections,
    map: Sections,
    /// The packets of the last PAT, and of the last PMT.
    pat_packets: Vec<u8>,
    map_packets: Vec<u8>,
    map_pid: Option<u16>,
    lead: Option<(u16, Option<VideoCodec>)>,
}

impl Scanner {
    /// Looks at the next packet.
    pub fn packet(&mut self, packet: &[u8; PACKET_BYTES]) -> Start {
        let has_error = packet[1] & 0x80 != 0;
        if packet[0] != SYNC_BYTE || has_error {
            return Start::Nothing;
        }
        let pid = packet_pid(packet);
        match self.lead {
            Some((lead, codec)) if lead == pid => return start(packet, codec),
            _ if pid == PID_PAT => self.take_pat(packet),
            _ if Some(pid) == self.map_pid => self.take_pmt(packet),
            _ => {}
        }
        Start::Nothing
    }

    /// The last PAT and PMT, as they came: what a decoder has to know before the next key picture.
    #[must_use]
    pub fn tables(&self) -> Vec<u8> {
        [&self.pat_packets[..], &self.map_packets].concat()
    }

    /// PID of the leading stream, once the tables have come.
    #[must_use]
    pub fn lead_pid(&self) -> Option<u16> {
        self.lead.map(|(pid, _)| pid)
    }

    /// Its codec, if it is a video stream that this knows.
    #[must_use]
    pub fn codec(&self) -> Option<VideoCodec> {
        self.lead.and_then(|(_, codec)| codec)
    }

    fn take_pat(&mut self, packet: &[u8; PACKET_BYTES]) {
        let Some((section, packets)) = self.pat.push(packet) else {
            return;
        };
        let Some(map_pid) = section.map_pid() else {
            return;
        };
        self.pat_packets = packets.to_vec();
        if self.map_pid != Some(map_pid) {
            self.map_pid = Some(map_pid);
            self.map_packets.clear();
            // Where the leading stream was, the map is now: it says where the stream is.
            self.lead = self.lead.filter(|(lead, _)| *lead != map_pid);
        }
    }

    fn take_pmt(&mut self, packet: &[u8; PACKET_BYTES]) {
        let Some((section, packets)) = self.map.push(packet) else {
            return;
        };
        let video = section.video().map(|(pid, codec)| (pid, Some(codec)));
        let first = || section.streams().next().map(|(_, pid)| (pid, None));
        if let Some(lead) = video.or_else(first) {
            self.lead = Some(lead);
            self.map_packets = packets.to_vec();
        }
    }
}

/// What begins in a packet of the leading stream.
fn start(packet: &[u8; PACKET_BYTES], codec: Option<VideoCodec>) -> Start {
    let fields = Fields::of(packet).filter(|_| starts_unit(packet));
    let Some(fields) = fields else {
        return Start::Nothing;
    };
    let is_key =
        fields.random_access || codec.is_some_and(|codec| begins_with_key(fields.payload, codec));
    if is_key { Start::Key } else { Start::Unit }
}

/// Whether the coded picture that begins in the payload stands alone, as far as this packet shows it.
fn begins_with_key(payload: &[u8], codec: VideoCodec) -> bool {
    let Some(&header_data_bytes) = payload.get(PES_FIXED_BYTES - 1) else {
        return false;
    };
    let header_bytes = PES_FIXED_BYTES + usize::from(header_data_bytes);
    let Some(coded) = payload
        .get(header_bytes..)
        .filter(|_| payload.starts_with(&[0, 0, 1]))
    else {
        return false;
    };
    let mut codes = coded.windows(4).filter(|code| code.starts_with(&[0, 0, 1]));
    match codec {
        // A sequence or a group of pictures begins.
        VideoCodec::Mpeg2 => codes
            .next()
            .is_some_and(|code| matches!(code[3], 0xb3 | 0xb8)),
        // Parameters of a sequence, or a picture that clears the decoder.
        VideoCodec::H264 => codes.any(|code| matches!(code[3] & 0x1f, 5 | 7)),
    }
}

/// A packet without a payload which says that on `pid` counter and clock jump, and that the next packet with a payload has
/// the counter `next_counter`.
#[must_use]
pub fn discontinuity(pid: u16, next_counter: u8) -> [u8; PACKET_BYTES] {
    without_payload(pid, next_counter.wrapping_sub(1), &[FLAG_DISCONTINUITY])
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, UnitKind, Writer};
    use super::*;

    fn starts(scanner: &mut Scanner, stream: &[u8]) -> Vec<Start> {
        let (packets, _) = stream.as_chunks::<PACKET_BYTES>();
        packets
            .iter()
            .map(|packet| scanner.packet(packet))
            .collect()
    }

    #[test]
    fn pictures_and_key_pictures_are_told_apart() {
        let (mut scanner, mut writer) = (Scanner::default(), Writer::new(VideoCodec::Mpeg2));
        let mut stream = Vec::new();
        writer.write(&[1; 300], 0, UnitKind::Key, &mut stream);
        let tables = stream[..2 * PACKET_BYTES].to_vec();
        writer.write(&[2; 100], 0, UnitKind::Predicted, &mut stream);
        let found = starts(&mut scanner, &stream);
        use Start::{Key, Nothing, Unit};
        assert_eq!(found, [Nothing, Nothing, Key, Nothing, Unit]);
        assert_eq!(scanner.tables(), tables);
        assert_eq!(scanner.lead_pid(), Some(0x100));
        assert_eq!(scanner.codec(), Some(VideoCodec::Mpeg2));
    }

    /// Without the random access indicator.
    fn is_key(codec: VideoCodec, coded: &[u8]) -> bool {
        let (mut scanner, mut writer) = (Scanner::default(), Writer::new(codec));
        let mut stream = Vec::new();
        writer.write(&[1], 0, UnitKind::Key, &mut stream);
        writer.write(coded, 0, UnitKind::Predicted, &mut stream);
        starts(&mut scanner, &stream)[3] == Start::Key
    }

    #[test]
    fn start_codes_show_a_key_picture() {
        assert!(is_key(VideoCodec::Mpeg2, &[0, 0, 1, 0xb3, 1]));
        assert!(is_key(VideoCodec::Mpeg2, &[0, 0, 1, 0xb8, 1]));
        assert!(!is_key(VideoCodec::Mpeg2, &[0, 0, 1, 0, 1]));
        let aud_and_parameters = [0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x67, 1];
        assert!(is_key(VideoCodec::H264, &aud_and_parameters));
        assert!(is_key(VideoCodec::H264, &[0, 0, 1, 0x65, 1]));
        assert!(!is_key(
            VideoCodec::H264,
            &[0, 0, 0, 1, 9, 0x30, 0, 0, 1, 0x41]
        ));
    }

    #[test]
    fn an_announced_jump_damages_only_what_it_cuts() {
        let (mut reader, mut writer) = (Reader::new(), Writer::new(VideoCodec::Mpeg2));
        let mut stream = Vec::new();
        writer.write(&[1; 1000], 0, UnitKind::Key, &mut stream);
        let cut = stream.len() - PACKET_BYTES;
        stream.truncate(cut);
        for _ in 0..9 {
            writer.write(&[2; 1000], 0, UnitKind::Predicted, &mut Vec::new());
        }
        let mut rest = Vec::new();
        writer.write(&[3; 1000], 0, UnitKind::Key, &mut rest);
        let counter = rest[2 * PACKET_BYTES + 3] & 0x0f;
        stream.extend(discontinuity(0x100, counter));
        stream.extend(rest);
        let units = reader.push(&stream);
        let seen: Vec<_> = units
            .iter()
            .map(|unit| (unit.data[0], unit.damaged))
            .collect();
        assert_eq!(seen, [(1, true), (3, false)]);
        assert_eq!(reader.counters().continuity_errors, 0);
    }
}

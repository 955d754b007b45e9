//! Fuzzing: any input, no panic, bounded memory.
//!
//! `cargo test` runs each target for about a second with random inputs. Longer, still on a stable toolchain:
//!
//! ```text
//! BOLERO_RANDOM_TEST_TIME_MS=600000 BOLERO_RANDOM_ITERATIONS=1000000000 cargo test --release -p forestall-wire --test fuzz
//! ```
//! Coverage-guided (needs a nightly toolchain and `cargo install cargo-bolero`):
//! `cargo bolero test -p forestall-wire --test fuzz reader_takes_anything`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bolero::{TypeGenerator, check};
use forestall_wire::code_strip::{Place, Plane, PlaneMut, Strip, expand_time_us};
use forestall_wire::mpegts::{
    Continuity, DATAGRAM_BYTES_MAX, PACKET_BYTES, Reader, Replacer, Scanner, Splitter, UnitKind,
    VideoCodec, Writer, unit_starts,
};
use forestall_wire::rtp::{self, Reorderer};

/// An unfinished picture, and an unfinished packet.
const HELD_BYTES_MAX: usize = (2 << 20) + PACKET_BYTES;
const RANDOM_BYTES_MAX: usize = 16 << 10;

/// Feeds `bytes` in pieces of the sizes that they themselves name.
fn feed(reader: &mut Reader, mut bytes: &[u8]) {
    while let Some(&size) = bytes.first() {
        let (now, later) = bytes.split_at((usize::from(size) * 6 + 1).min(bytes.len()));
        for unit in reader.push(now) {
            assert!(!unit.data.is_empty());
        }
        assert!(reader.held_bytes() <= HELD_BYTES_MAX);
        bytes = later;
    }
}

#[test]
fn reader_takes_anything() {
    check!()
        .with_max_len(RANDOM_BYTES_MAX)
        .for_each(|bytes: &[u8]| {
            let mut reader = Reader::new();
            feed(&mut reader, bytes);
            let _ = unit_starts(bytes, 0x100);
            for codec in [VideoCodec::Mpeg2, VideoCodec::H264] {
                let _ = forestall_wire::mpegts::PictureKind::of(codec, bytes);
            }
            let _ = forestall_wire::mpegts::TemporalReference::of(bytes);
        });
}

/// Random bytes hardly ever make a packet, so these are: the bytes are the packets' insides.
#[test]
fn reader_takes_any_packets() {
    check!()
        .with_max_len(RANDOM_BYTES_MAX)
        .for_each(|bytes: &[u8]| {
            let mut reader = Reader::new();
            let mut stream = Vec::new();
            Writer::new(VideoCodec::H264).write(&[1], 0, UnitKind::Key, &mut stream);
            reader.push(&stream);
            for inside in bytes.chunks(40) {
                // PID 0x100 (video), 0x1000 (map) or 0 (PAT); everything else as it comes.
                let pid = [[0x41, 0x00], [0x01, 0x00], [0x50, 0x00], [0x40, 0x00]]
                    [usize::from(inside[0]) % 4];
                let mut packet = vec![0x47, pid[0], pid[1]];
                packet.extend(inside);
                packet.resize(PACKET_BYTES, inside[0]);
                reader.push(&packet);
                assert!(reader.held_bytes() <= HELD_BYTES_MAX);
            }
        });
}

/// What a relay and a server look at.
#[test]
fn scanner_takes_any_packets() {
    check!()
        .with_max_len(RANDOM_BYTES_MAX)
        .for_each(|bytes: &[u8]| {
            let (mut scanner, mut continuity) = (Scanner::default(), Continuity::default());
            let mut stream = Vec::new();
            Writer::new(VideoCodec::H264).write(&[1], 0, UnitKind::Key, &mut stream);
            for inside in bytes.chunks(60) {
                let pid = [[0x41, 0x00], [0x01, 0x00], [0x50, 0x00], [0x40, 0x00]]
                    [usize::from(inside[0]) % 4];
                let at = stream.len();
                stream.extend([0x47, pid[0], pid[1]]);
                stream.extend(inside);
                stream.resize(at + PACKET_BYTES, inside[0]);
            }
            stream.extend(bytes);
            continuity.follow(&stream);
            let mut splitter = Splitter::default();
            for piece in stream.chunks(1 + usize::from(bytes.first().copied().unwrap_or(0)) * 9) {
                splitter.push(piece, |packet| {
                    scanner.packet(packet);
                });
                assert!(splitter.held_bytes() < PACKET_BYTES);
            }
            // Two sections of 4 KiB.
            assert!(scanner.tables().len() <= 48 * PACKET_BYTES);
        });
}

/// What an overlay passes on.
#[test]
fn replacer_takes_any_packets() {
    check!()
        .with_max_len(RANDOM_BYTES_MAX)
        .for_each(|bytes: &[u8]| {
            let mut replacer = Replacer::new(VideoCodec::Mpeg2);
            let (mut stream, mut out, mut came) = (Vec::new(), Vec::new(), 0);
            Writer::new(VideoCodec::H264).write(&[1], 0, UnitKind::Key, &mut stream);
            for inside in bytes.chunks(60) {
                // Of the video, its map, the PAT and another stream; a packet with an adaptation field as often as not.
                let pid = [
                    [0x41, 0x00],
                    [0x01, 0x00],
                    [0x50, 0x00],
                    [0x40, 0x00],
                    [0x01, 0x01],
                ][usize::from(inside[0]) % 5];
                stream.extend([0x47, pid[0], pid[1]]);
                stream.extend(inside);
                let end = stream.len().next_multiple_of(PACKET_BYTES);
                stream.resize(end, inside[0]);
            }
            stream.extend(bytes);
            for piece in stream.chunks(DATAGRAM_BYTES_MAX) {
                came += piece.len();
                let units = replacer.push(piece, &mut out);
                assert_eq!(out.len() % PACKET_BYTES, 0);
                // For each packet that came at most one passes: itself, or a clock that waited.
                assert!(out.len() <= came + PACKET_BYTES);
                let mut pictures = Vec::new();
                for unit in units {
                    let kind = UnitKind::Predicted;
                    replacer.write(&[7; 500], unit.pts.unwrap_or(0), kind, &mut pictures);
                }
                assert_eq!(pictures.len() % PACKET_BYTES, 0);
            }
            // Whatever came: the map of the next good stream passes, and says how the video is coded now.
            stream.clear();
            for _ in 0..2 {
                Writer::new(VideoCodec::H264).write(&[1], 0, UnitKind::Key, &mut stream);
            }
            out.clear();
            replacer.push(&stream, &mut out);
            let mut reader = Reader::new();
            reader.push(&out);
            assert_eq!(reader.video(), Some((0x100, VideoCodec::Mpeg2)));
        });
}

#[test]
fn codec_strings_take_anything() {
    check!().with_type::<Vec<u8>>().for_each(|unit| {
        if let Some(codec) = forestall_wire::h264::codec_string(unit) {
            assert!(codec.len() == 11 && codec.starts_with("avc1."), "{codec}");
        }
    });
}

#[test]
fn rtp_takes_anything() {
    check!()
        .with_type::<(Vec<u8>, Vec<(u8, u16)>)>()
        .for_each(|(datagram, sequences)| {
            let _ = rtp::Packet::parse(datagram);
            let mut with_header = rtp::header(1, 2, 3).to_vec();
            with_header[0] |= datagram.first().copied().unwrap_or(0) & 0x3f;
            with_header.extend(datagram);
            if let Ok(packet) = rtp::Packet::parse(&with_header) {
                assert!(packet.payload.len() <= datagram.len());
            }
            let (mut reorderer, mut out) = (Reorderer::default(), Vec::new());
            for (source, sequence) in sequences {
                reorderer.push(u32::from(source % 2), *sequence, (), &mut out);
            }
            reorderer.give_up(&mut out);
            assert!(!reorderer.is_holding());
            let late = reorderer.counters().late as usize;
            assert_eq!(out.len() + late, sequences.len(), "nothing is kept or made");
        });
}

#[derive(Debug, TypeGenerator)]
struct BadPlane {
    data: Vec<u8>,
    stride: usize,
    width: usize,
    height: usize,
    /// Small sizes reach further in.
    small: Option<(u8, u8, u8)>,
    a: u32,
    b: u32,
    now_us: u64,
}

#[test]
fn strips_take_any_plane() {
    check!().with_type::<BadPlane>().for_each(|bad| {
        let (stride, width, height) = match bad.small {
            Some((stride, width, height)) => {
                (usize::from(stride), usize::from(width), usize::from(height))
            }
            None => (bad.stride, bad.width, bad.height),
        };
        let mut data = bad.data.repeat(64);
        for place in [Place::Bottom, Place::AboveBottom] {
            let _ = Strip::read(
                place,
                Plane {
                    data: &data,
                    stride,
                    width,
                    height,
                },
            );
            let _ = place.rows(width, height);
        }
        let strip = Strip {
            a: bad.a,
            b: bad.b,
            ..Strip::capture(bad.now_us, bad.b)
        };
        let _ = strip.draw(&mut PlaneMut {
            data: &mut data,
            stride,
            width,
            height,
        });
        let _ = expand_time_us(bad.a, bad.now_us);
    });
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Fate {
    Arrives,
    ArrivesToo,
    Lost,
    Doubled,
    /// Changes places with the one before.
    Overtakes,
    /// A bit flips.
    Spoilt(u16, u8),
    CutOff(u16),
}

#[test]
fn reader_survives_a_bad_network() {
    check!()
        .with_type::<(Vec<(Vec<u8>, u64, bool)>, Vec<Fate>)>()
        .for_each(|(units, fates)| {
            let mut writer = Writer::new(VideoCodec::Mpeg2);
            let mut stream = Vec::new();
            for (data, pts, is_key) in units {
                let kind = if *is_key {
                    UnitKind::Key
                } else {
                    UnitKind::Predicted
                };
                writer.write(&data.repeat(20), *pts, kind, &mut stream);
            }
            let mut datagrams: Vec<Vec<u8>> = stream
                .chunks(DATAGRAM_BYTES_MAX)
                .map(<[u8]>::to_vec)
                .collect();
            for (at, fate) in fates.iter().enumerate().take(datagrams.len()) {
                match *fate {
                    Fate::Arrives | Fate::ArrivesToo => {}
                    Fate::Lost => datagrams[at].clear(),
                    Fate::Doubled => datagrams[at] = datagrams[at].repeat(2),
                    Fate::Overtakes => datagrams.swap(at, at.saturating_sub(1)),
                    Fate::Spoilt(byte, bit) => {
                        let length = datagrams[at].len().max(1);
                        if let Some(byte) = datagrams[at].get_mut(usize::from(byte) % length) {
                            *byte ^= 1 << (bit % 8);
                        }
                    }
                    Fate::CutOff(length) => {
                        datagrams[at].truncate(usize::from(length) % DATAGRAM_BYTES_MAX)
                    }
                }
            }
            let mut reader = Reader::new();
            for datagram in &datagrams {
                reader.push(datagram);
                assert!(reader.held_bytes() <= HELD_BYTES_MAX);
            }
            // After the network has become good again, the second whole key picture at the latest comes whole.
            let mut found = Vec::new();
            for byte in 1..=2 {
                stream.clear();
                writer.write(&[byte; 3000], 0, UnitKind::Key, &mut stream);
                found = reader.push(&stream);
            }
            assert!(
                found
                    .last()
                    .is_some_and(|unit| unit.data == [2; 3000] && !unit.damaged),
                "{found:?}"
            );
        });
}

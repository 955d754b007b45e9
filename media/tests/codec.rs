//! What the codecs promise: no frame held, code strips that survive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use forestall_media::clock_picture::ClockPicture;
use forestall_media::codec::{Decoder, Encoder, EncoderConfig};
use forestall_media::text::{DEFAULT_FONT, Font, Ink, Tile};
use record::Timestamp;
use wire::code_strip::{Kind, Place, Strip};
use wire::mpegts::{Reader, UnitKind, VideoCodec, Writer};

const START_US: u64 = 1_790_000_000_000_000;
const FRAMES: u32 = 300;

/// Sends frame after frame through camera, encoder, MPEG-TS and decoder, twice, as the pipeline does, and expects each out
/// before the next goes in and both code strips readable in every one.
fn check_chain(codec: VideoCodec, width: u32, height: u32, bitrate: u32) {
    let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
    let mut camera = ClockPicture::new(width, height, &font).unwrap();
    let text = Tile::text(&font, "Robot 7\nboot 1a2b3c4d vm 2", 11.0, Ink::default());
    let config = EncoderConfig {
        codec,
        width,
        height,
        fps: (30, 1),
        bitrate,
        gop: 30,
    };
    let mut hops = [(); 2].map(|()| {
        let encoder = Encoder::open(&config).unwrap();
        (
            encoder,
            Writer::new(codec),
            Reader::new(),
            Decoder::open(codec).unwrap(),
        )
    });
    let mut on_the_way = forestall_media::picture::Picture::new(width, height).unwrap();
    let mut largest = 0;
    for frame in 0..FRAMES {
        let captured = Timestamp(START_US + u64::from(frame) * 33_300);
        let overlay = Strip {
            kind: Kind::Overlay,
            a: 0x1a2b_3c4d,
            b: 2,
        };
        on_the_way.copy_from(camera.take(captured, frame).unwrap());
        for (at, (encoder, writer, reader, decoder)) in hops.iter_mut().enumerate() {
            if at == 1 {
                on_the_way.draw_strip(&overlay).unwrap();
                text.draw(&mut on_the_way, 4, 4);
            }
            let coded = encoder
                .encode(&mut on_the_way, UnitKind::Predicted)
                .unwrap();
            largest = largest.max(coded.data.len());
            let mut packets = Vec::new();
            writer.write(
                coded.data,
                u64::from(frame) * 3000,
                coded.kind,
                &mut packets,
            );
            let units = reader.push(&packets);
            assert_eq!(units.len(), 1, "reader holds frame {frame}");
            assert_eq!(reader.held_bytes(), 0);
            assert_eq!(units[0].data, coded.data);
            assert_eq!(units[0].random_access, coded.kind == UnitKind::Key);
            let decoded = decoder
                .decode(&units[0].data)
                .unwrap()
                .expect("decoder holds no frame");
            on_the_way.copy_from(decoded.picture);
        }
        assert_eq!(
            on_the_way.read_strip(Place::Bottom),
            Some(Strip::capture(captured.as_micros(), frame))
        );
        assert_eq!(
            on_the_way.read_strip(Place::AboveBottom),
            Some(overlay),
            "frame {frame}"
        );
    }
    let mean = bitrate as usize / 8 / 30;
    println!("{width}x{height}: largest frame {largest} bytes, mean allowed {mean}");
    assert!(
        largest < 6 * mean,
        "largest frame {largest} bytes, mean {mean}"
    );
}

#[test]
fn strips_survive_at_320x240_600k() {
    check_chain(VideoCodec::Mpeg2, 320, 240, 600_000);
}

#[test]
fn strips_survive_at_160x120_300k() {
    check_chain(VideoCodec::Mpeg2, 160, 120, 300_000);
}

#[test]
fn strips_survive_h264_at_320x240_600k() {
    check_chain(VideoCodec::H264, 320, 240, 600_000);
}

/// Two groups of pictures, coded.
fn two_groups(codec: VideoCodec) -> Vec<Vec<u8>> {
    let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
    let mut camera = ClockPicture::new(160, 120, &font).unwrap();
    let mut encoder = Encoder::open(&EncoderConfig {
        codec,
        width: 160,
        height: 120,
        fps: (30, 1),
        bitrate: 300_000,
        gop: SPOILT_GOP,
    })
    .unwrap();
    let mut taken = forestall_media::picture::Picture::new(160, 120).unwrap();
    let code = |frame: u32| {
        let captured = Timestamp(START_US + u64::from(frame) * 33_300);
        taken.copy_from(camera.take(captured, frame).unwrap());
        let coded = encoder.encode(&mut taken, UnitKind::Predicted).unwrap();
        assert_eq!(
            coded.kind == UnitKind::Key,
            frame.is_multiple_of(SPOILT_GOP)
        );
        coded.data.to_vec()
    };
    (0..2 * SPOILT_GOP).map(code).collect()
}

const SPOILT_GOP: u32 = 15;

/// Whatever bits were flipped, lost or cut off: after the first clean key picture each picture comes out before the next goes in.
fn check_spoilt(codec: VideoCodec) {
    let units = two_groups(codec);
    let mut decoder = Decoder::open(codec).unwrap();
    let mut chance = 1_u64;
    let mut below = |end: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance % end as u64) as usize
    };
    for round in 0..150 {
        for unit in &units {
            let mut spoilt = unit.clone();
            match below(8) {
                0 => continue,
                1 => spoilt.truncate(below(unit.len()) + 1),
                // Where headers are.
                2 | 3 => spoilt[below(unit.len().min(60))] ^= 1 << below(8),
                4 => spoilt[below(unit.len())] ^= 1 << below(8),
                _ => {}
            }
            let _ = decoder.decode(&spoilt);
        }
        for (frame, unit) in units.iter().enumerate() {
            let decoded = decoder
                .decode(unit)
                .unwrap_or_else(|error| panic!("round {round}, {frame}: {error}"));
            let strip = decoded.and_then(|decoded| decoded.picture.read_strip(Place::Bottom));
            assert_eq!(
                strip.map(|strip| strip.b),
                Some(frame as u32),
                "round {round}"
            );
        }
    }
}

#[test]
fn mpeg2_is_whole_again_with_the_next_key_picture() {
    check_spoilt(VideoCodec::Mpeg2);
}

#[test]
fn h264_is_whole_again_with_the_next_key_picture() {
    check_spoilt(VideoCodec::H264);
}

//! What a frame costs the overlay, step by step, and what its encoder makes of the picture.
//!
//! ```text
//! cargo run --release -p forestall-media --example stage_cost
//! ```
//! Under `qemu-x86_64 -cpu max` the same program tells what it costs in an emulated guest.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use forestall_media::clock_picture::ClockPicture;
use forestall_media::codec::{Decoder, Encoder, EncoderConfig};
use forestall_media::picture::Picture;
use forestall_media::text::{DEFAULT_FONT, Font, Ink, Tile};
use record::Timestamp;
use wire::code_strip::{Kind, Place, Strip};
use wire::mpegts::VideoCodec;

const FRAMES: u32 = 300;

fn main() {
    for (width, height, bitrate) in [(320, 240, 600_000), (160, 120, 300_000)] {
        measure(&EncoderConfig {
            codec: VideoCodec::Mpeg2,
            width,
            height,
            fps: (30, 1),
            bitrate,
            gop: 30,
        });
    }
}

fn measure(config: &EncoderConfig) {
    let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
    let text = Tile::text(&font, "Robot 7\nboot 1a2b3c4d vm 2", 15.0, Ink::default());
    let mut camera = ClockPicture::new(config.width, config.height, &font).unwrap();
    let [mut camera_encoder, mut encoder] = [(); 2].map(|()| Encoder::open(config).unwrap());
    let [mut decoder, mut player] = [(); 2].map(|()| Decoder::open(VideoCodec::Mpeg2).unwrap());
    let mut picture = Picture::new(config.width, config.height).unwrap();
    let mut steps = [Duration::ZERO; 3];
    let (mut bytes, mut largest, mut unread, mut error) = (0, 0, 0, 0.0);
    for frame in 0..FRAMES {
        let captured = Timestamp(1_790_000_000_000_000 + u64::from(frame) * 33_300);
        let taken = camera.take(captured, frame).unwrap();
        let coded = camera_encoder
            .encode(taken, wire::mpegts::UnitKind::Predicted)
            .unwrap();
        let mut start = Instant::now();
        let mut lap =
            |step: &mut Duration| *step += std::mem::replace(&mut start, Instant::now()).elapsed();
        let decoded = decoder.decode(coded.data).unwrap().unwrap();
        lap(&mut steps[0]);
        picture.copy_from(decoded.picture);
        picture
            .draw_strip(&Strip {
                kind: Kind::Overlay,
                a: 7,
                b: 2,
            })
            .unwrap();
        text.draw(&mut picture, 4, 4);
        lap(&mut steps[1]);
        let coded = encoder.encode(&mut picture, coded.kind).unwrap();
        lap(&mut steps[2]);
        bytes += coded.data.len();
        largest = largest.max(coded.data.len());
        let shown = player.decode(coded.data).unwrap().unwrap().picture;
        unread += u32::from(shown.read_strip(Place::Bottom).is_none());
        error += mean_square_error(shown, &picture);
    }
    let [decode, draw, encode] = steps.map(|step| step.as_secs_f64() * 1e6 / f64::from(FRAMES));
    println!(
        "{}x{}: decode {decode:.0} draw {draw:.0} encode {encode:.0} µs a frame; {} bytes a frame, at most {largest}; \
         {:.1} dB; {unread} strips unread",
        config.width,
        config.height,
        bytes / FRAMES as usize,
        10.0 * (255.0 * 255.0 * f64::from(FRAMES) / error).log10(),
    );
}

fn mean_square_error(one: &Picture, other: &Picture) -> f64 {
    let (one, other) = (one.plane(0), other.plane(0));
    let rows = one
        .data
        .chunks(one.stride)
        .zip(other.data.chunks(other.stride));
    let squares = rows
        .flat_map(|(a, b)| a[..one.width].iter().zip(b))
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    squares.sum::<f64>() / (one.width * one.height) as f64
}

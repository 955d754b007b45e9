//! Fuzzing: any input, no panic, bounded memory. How to run it longer: see `wire/tests/fuzz.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bolero::check;
use forestall_media::StreamUrl;
use forestall_media::net::answer::Head;
use forestall_media::serve::Asked;
use record::VmName;
use record::name::ViewerName;
use record::report::Report;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn answers() {
    check!().for_each(|bytes: &[u8]| {
        let _ = Head::parse(bytes);
        let mut answer = CHUNKED.as_bytes().to_vec();
        answer.extend(bytes);
        let head = Head::parse(&answer).unwrap().unwrap();
        let (mut body, mut length) = (head.body, 0);
        for piece in answer[head.bytes..].chunks(7) {
            if body.push(piece, |bytes| length += bytes.len()).is_err() {
                break;
            }
        }
        assert!(length <= bytes.len());
    });
}

#[test]
fn addresses() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for scheme in [
            "",
            "udp://",
            "rtp://127.0.0.1:",
            "tcp://[",
            "http://a/",
            "https://",
        ] {
            if let Ok(url) = format!("{scheme}{text}").parse::<StreamUrl>() {
                assert!(!url.to_string().is_empty());
            }
        }
    });
}

/// Any text, a report with any bits flipped, and one with any figures. What is passed on of it an orchestrator believes.
#[test]
fn what_browsers_say() {
    let names = (VmName::new("f").unwrap(), ViewerName::new("v").unwrap());
    let hear = |text: &str| {
        if let Ok(Asked::Report(seen)) = serde_json::from_str(text)
            && let Ok(report) = seen.report(names.0.clone(), names.1.clone())
        {
            let passed_on = serde_json::to_string(&report).unwrap();
            let taken: Report = serde_json::from_str(&passed_on).unwrap();
            assert_eq!(taken.check(), Ok(()), "{text}");
            return true;
        }
        false
    };
    let report = |[span, median, p95, max]: [f64; 4], frames: u32| {
        let age = format!(r#"{{"median":{median},"p95":{p95},"max":{max}}}"#);
        format!(
            r#"{{"type":"report","span_ms":{span},"frames":{frames},"freezes":0,"picture_age_ms":{age},"frame_interval_ms":null}}"#
        )
    };
    let good = report([1000.0, 9.0, 11.5, 40.0], 30);
    assert!(hear(&good));
    check!()
        .with_type::<(Vec<u8>, Vec<(u16, u8)>, [f64; 4], u32)>()
        .for_each(|(bytes, flips, figures, frames)| {
            hear(&String::from_utf8_lossy(bytes));
            let mut spoilt = good.clone().into_bytes();
            for (at, bits) in flips {
                let at = usize::from(*at) % spoilt.len();
                spoilt[at] ^= bits;
            }
            hear(&String::from_utf8_lossy(&spoilt));
            let is_range = |ms: &f64| (0.0..=3_600_000.0).contains(ms);
            if hear(&report(*figures, *frames)) {
                assert!(figures.iter().all(is_range));
            }
        });
}

#[test]
#[cfg(feature = "codec")]
fn raw_pictures() {
    use forestall_media::y4m::Y4m;

    check!().for_each(|bytes: &[u8]| {
        let _ = Y4m::new(bytes).map(|mut stream| stream.take_next().map(drop));
        let stream = [b"YUV4MPEG2 W4 H2 F30:1 C420jpeg\n".as_slice(), bytes].concat();
        let mut pictures = Y4m::new(stream.as_slice()).unwrap();
        while let Ok(Some(picture)) = pictures.take_next() {
            assert_eq!(picture.len(), 12);
        }
    });
}

/// Any bytes, and any behind the head of an image. What is unpacked is as large as its head says.
#[test]
#[cfg(feature = "codec")]
fn images() {
    use forestall_media::bitmap::{Bitmap, PIXELS_MAX};

    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 5, 3);
    encoder.set_color(png::ColorType::Rgba);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[7; 60]).unwrap();
    drop(writer);
    check!()
        .with_type::<(Vec<u8>, Vec<(u8, u8)>)>()
        .for_each(|(bytes, flips)| {
            let behind = [&file[..33], bytes].concat();
            let mut spoilt = file.clone();
            for (at, bits) in flips {
                let at = usize::from(*at) % spoilt.len();
                spoilt[at] ^= bits;
            }
            for bytes in [bytes, &behind, &spoilt] {
                if let Ok(bitmap) = Bitmap::from_png(bytes) {
                    assert!((bitmap.width() * bitmap.height()) as u64 <= PIXELS_MAX);
                    let tile = bitmap.tile(7, 2);
                    assert_eq!((tile.width(), tile.height()), (8, 2));
                }
            }
        });
}

/// Pictures with wrong bits, cut off, and any bytes between them: nothing is held for ever, and with good ones there are pictures
/// again.
#[test]
#[cfg(feature = "codec")]
fn decoders() {
    use std::path::Path;

    use forestall_media::clock_picture::ClockPicture;
    use forestall_media::codec::{Arrival, Decoder, Encoder, EncoderConfig};
    use forestall_media::picture::Picture;
    use forestall_media::text::{DEFAULT_FONT, Font};
    use record::Timestamp;
    use wire::code_strip::Place;
    use wire::mpegts::{AccessUnit, UnitKind, VideoCodec};

    const GROUP: u32 = 6;
    let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
    let coded = [VideoCodec::Mpeg2, VideoCodec::H264].map(|codec| {
        let mut camera = ClockPicture::new(160, 120, &font).unwrap();
        let mut encoder = Encoder::open(&EncoderConfig {
            codec,
            width: 160,
            height: 120,
            fps: (30, 1),
            bitrate: 600_000,
            gop: GROUP,
        })
        .unwrap();
        let mut taken = Picture::new(160, 120).unwrap();
        let mut code = |frame: u32| {
            let captured = Timestamp(1_790_000_000_000_000 + u64::from(frame) * 33_300);
            taken.copy_from(camera.take(captured, frame).unwrap());
            let coded = encoder.encode(&mut taken, UnitKind::Predicted).unwrap();
            AccessUnit {
                data: coded.data.to_vec(),
                codec,
                pts: Some(u64::from(frame) * 3000),
                random_access: coded.kind == UnitKind::Key,
                damaged: false,
                lost_before: false,
                number: u64::from(frame),
            }
        };
        let units: Vec<AccessUnit> = (0..4 * GROUP).map(&mut code).collect();
        (codec, units)
    });
    // What becomes of a picture: bits that flip, where it is cut off, bytes in its place, another time.
    type Fate = (Vec<(u16, u8)>, Option<u16>, Option<Vec<u8>>, Option<u64>);
    check!().with_type::<Vec<Fate>>().for_each(|fates| {
        for (codec, units) in &coded {
            let mut decoder = Decoder::open(*codec).unwrap();
            let mut send = |unit: &AccessUnit| {
                let _ = decoder.send(unit, Arrival::default());
                let mut seen = Vec::new();
                while let Some(decoded) = decoder.receive() {
                    let strip = decoded.picture.read_strip(Place::Bottom);
                    seen.push(strip.map(|strip| strip.b));
                }
                assert!(decoder.held() <= 18);
                seen
            };
            for (unit, (flips, cut, bytes, pts)) in units.iter().cycle().zip(fates) {
                let mut spoilt = unit.clone();
                for (at, bits) in flips {
                    let at = usize::from(*at) % spoilt.data.len();
                    spoilt.data[at] ^= bits;
                }
                spoilt.data.truncate(cut.map_or(usize::MAX, usize::from));
                if let Some(bytes) = bytes {
                    spoilt.data.clone_from(bytes);
                }
                spoilt.pts = pts.or(spoilt.pts);
                send(&spoilt);
            }
            // After wrong bits a decoder of H.264 may allow for any order.
            let shown: Vec<Option<u32>> = units.iter().flat_map(&mut send).collect();
            assert!(shown.iter().any(Option::is_some), "{codec:?}: {shown:?}");
            if *codec == VideoCodec::Mpeg2 {
                let last = shown.last().copied().flatten();
                assert_eq!(last, Some(4 * GROUP - 1), "{shown:?}");
            }
        }
    });
}

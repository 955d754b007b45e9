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

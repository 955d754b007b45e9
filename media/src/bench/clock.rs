//! Can the code strip be trusted? How fast it is read, how often spoilt ones are, and that none is read wrongly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use record::Timestamp;
use serde::Serialize;
use wire::code_strip::{Place, Plane, Strip};
use wire::mpegts::{UnitKind, VideoCodec};

use super::degrade::{self, Chance, Damage, Grey, Spoilt};
use super::{Bench, BenchError};
use crate::clock_picture::{ClockPicture, clock_rows, clock_text};
use crate::codec::{Decoder, Encoder, EncoderConfig};
use crate::picture::Picture;
use crate::tesseract::{self, binarised};
use crate::text::{DEFAULT_FONT, Font};

/// Bits for each pixel of MPEG-2 with few bits: 640x480 at 30 a second in 700 kbit/s.
const BITS_PER_PIXEL: f64 = 0.076;
/// The last of so many is read: it is predicted from all the others.
const LOW_RATE_GOP: u32 = 30;
const READ_FOR: Duration = Duration::from_secs(1);
/// Digits as they are, and as a camera before the screen or a codec leaves them.
const CLEAN: &str = "clean";
const DIGITS: [&str; 3] = [CLEAN, "blurred", "noisy"];
/// Grain of the noisy ones, the most of its standard deviation in luma.
const DIGITS_NOISE_MAX: f64 = 40.0;

/// Figures of the reader.
#[derive(Clone, Debug, Serialize)]
pub struct Clock {
    /// Code strips of 640x480 read in a second by one core.
    pub frames_per_s: f64,
    /// Of spoilt pictures.
    pub degraded: Reading,
    /// Tesseract on the clean digits of the clock; `None` where it is not installed.
    pub tesseract: Option<Reading>,
    /// The same on digits that are `blurred` or `noisy`.
    pub tesseract_spoilt: Option<BTreeMap<&'static str, Reading>>,
}

/// What was read of so many pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Pictures.
    pub frames: u64,
    /// Read rightly.
    pub read: u64,
    /// Read wrongly: something else than is there, or something where nothing is.
    pub wrong: u64,
    /// Pictures that should be read: neither covered nor without a code.
    pub readable: u64,
    /// Of these, read.
    pub readable_read: u64,
}

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<Clock, BenchError> {
    (bench.say)("clock reader");
    let frames_per_s = speed(bench)?;
    let mut degraded = Reading::default();
    for number in 0..bench.options.degraded {
        bench.check()?;
        if number.is_multiple_of(1_000) {
            let all = bench.options.degraded;
            (bench.say)(&format!("clock reader, {number} of {all} spoilt pictures"));
        }
        degraded.take(&degrade::picture(number))?;
    }
    (bench.say)("Tesseract");
    let tesseract = by_tesseract(bench);
    let mut digits = bench.or_note("Tesseract", tesseract)?;
    Ok(Clock {
        frames_per_s,
        degraded,
        tesseract: digits.as_mut().and_then(|digits| digits.remove(CLEAN)),
        tesseract_spoilt: digits,
    })
}

impl Reading {
    fn take(&mut self, spoilt: &Spoilt) -> Result<(), BenchError> {
        let seen = match spoilt.says {
            Some(says) if spoilt.damage == Damage::LowRate => at_low_rate(&spoilt.picture, says)?,
            _ => read(&spoilt.picture),
        };
        self.count(spoilt.says, seen, spoilt.damage.is_readable());
        Ok(())
    }

    fn count(&mut self, says: Option<(u32, u32)>, seen: Option<(u32, u32)>, is_readable: bool) {
        self.frames += 1;
        self.readable += u64::from(is_readable);
        if seen.is_some() && seen == says {
            self.read += 1;
            self.readable_read += u64::from(is_readable);
        } else if seen.is_some() {
            self.wrong += 1;
        }
    }
}

fn read(picture: &Grey) -> Option<(u32, u32)> {
    let plane = Plane {
        data: &picture.data,
        stride: picture.width,
        width: picture.width,
        height: picture.height,
    };
    Strip::read(Place::Bottom, plane).map(|strip| (strip.a, strip.b))
}

/// Read after MPEG-2 with few bits, as the last of a group of pictures.
fn at_low_rate(grey: &Grey, says: (u32, u32)) -> Result<Option<(u32, u32)>, BenchError> {
    let (width, height) = (grey.width as u32, grey.height as u32);
    let bits = grey.data.len() as f64 * BITS_PER_PIXEL * 30.0;
    let config = EncoderConfig {
        codec: VideoCodec::Mpeg2,
        width,
        height,
        fps: (30, 1),
        bitrate: bits as u32,
        gop: LOW_RATE_GOP,
    };
    let codec = crate::MediaError::from;
    let mut picture = Picture::new(width, height)?;
    let mut encoder = Encoder::open(&config).map_err(codec)?;
    let mut decoder = Decoder::open(config.codec).map_err(codec)?;
    let mut strip = None;
    let before = degrade::leading_to(grey, says, LOW_RATE_GOP - 1);
    for mut earlier in before.chain([grey.clone()]) {
        earlier
            .data
            .resize(picture.raw_bytes(), wire::code_strip::NEUTRAL);
        picture.from_raw(&earlier.data);
        let coded = encoder
            .encode(&mut picture, UnitKind::Predicted)
            .map_err(codec)?;
        let decoded = decoder.decode(coded.data).map_err(codec)?;
        strip = decoded.and_then(|decoded| decoded.picture.read_strip(Place::Bottom));
    }
    Ok(strip.map(|strip| (strip.a, strip.b)))
}

fn speed(bench: &Bench<'_>) -> Result<f64, BenchError> {
    let font = Font::load(std::path::Path::new(DEFAULT_FONT))?;
    let mut camera = ClockPicture::new(640, 480, &font)?;
    let picture = camera.take(Timestamp::now(), 7)?;
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < READ_FOR {
        for _ in 0..100 {
            if std::hint::black_box(&*picture)
                .read_strip(Place::Bottom)
                .is_none()
            {
                return Err(BenchError::Stage("a clean strip was not read".into()));
            }
            count += 1;
        }
        bench.check()?;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Pictures of the clock, cut to the line of digits, by what was done to them.
fn by_tesseract(bench: &Bench<'_>) -> Result<BTreeMap<&'static str, Reading>, BenchError> {
    let font = Font::load(std::path::Path::new(DEFAULT_FONT))?;
    let mut camera = ClockPicture::new(640, 480, &font)?;
    let mut readings = DIGITS.map(|name| (name, Reading::default()));
    for number in 0..bench.options.tesseract {
        // Steps that leave no digit where it is.
        let captured = Timestamp(1_790_000_000_000_000 + u64::from(number) * 4_937_123_000);
        let rows = clock_rows(&camera);
        let digits = digits(camera.take(captured, number)?, rows);
        let truth = clock_text(captured);
        for (name, reading) in &mut readings {
            bench.check()?;
            let chance = &mut Chance::new(u64::from(number) + 1);
            let line = match *name {
                "blurred" => degrade::blurred(&digits, chance),
                "noisy" => degrade::noisy(digits.clone(), chance, DIGITS_NOISE_MAX),
                _ => digits.clone(),
            };
            let text = ask_tesseract(&line)?;
            reading.frames += 1;
            reading.readable += 1;
            if text == truth {
                reading.read += 1;
                reading.readable_read += 1;
            } else if text.len() == truth.len() {
                // All twelve characters, and not the right ones.
                reading.wrong += 1;
            }
        }
    }
    Ok(readings.into_iter().collect())
}

/// The line of the clock.
fn digits(picture: &Picture, rows: std::ops::Range<usize>) -> Grey {
    let luma = picture.plane(0);
    let height = rows.len();
    let lines = luma.data.chunks(luma.stride).skip(rows.start).take(height);
    let pixels = lines.flat_map(|line| line.get(..luma.width).unwrap_or_default());
    Grey {
        width: luma.width,
        height,
        data: pixels.copied().collect(),
    }
}

/// What Tesseract reads of a line in black and white, as the thesis gives it to it (3.1.1).
fn ask_tesseract(picture: &Grey) -> Result<String, BenchError> {
    let pixels = binarised(picture.data.iter().copied());
    let read = tesseract::read_line(picture.width, &pixels, 7);
    read.map_err(|source| BenchError::Io {
        what: "run tesseract (Debian: tesseract-ocr)".into(),
        source,
    })
}

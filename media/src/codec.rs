//! MPEG-2 and H.264 in and out, one picture at a time: none is held, unless a stream that comes in has B-pictures.
//!
//! What holds frames elsewhere, and is off here: B-pictures, frame threads (N hold N-1), a parser in front of the decoder, and
//! the reordering that encoder and decoder allow for unless both are told `low_delay`.

mod order;

use std::collections::VecDeque;

use ffmpeg_the_third as ffmpeg;
use ffmpeg_the_third::codec::{self, context::Context, decoder, encoder, threading};
use ffmpeg_the_third::{Dictionary, Packet, Rational, format, frame, picture};
use nix::libc::EAGAIN;
use record::Timestamp;
use wire::mpegts::{AccessUnit, CLOCK_WRAP, PictureKind, TemporalReference, UnitKind, VideoCodec};

use crate::picture::{Picture, SIDES};
use order::{Order, Place};

/// Key pictures are capped: the encoder's model of the receiver's buffer holds this many mean pictures, so none can be
/// larger, and none takes longer on a link of the video's rate than that many frame times.
const BUFFER_FRAMES: u32 = 4;
/// The buffer is written in the stream in these steps (ISO/IEC 13818-2, `vbv_buffer_size`).
const BUFFER_STEP_BITS: u32 = 16 * 1024;

/// Frame rates of MPEG-2 (ISO/IEC 13818-2, table 6-4), which may be multiplied and divided by whole numbers up to these
/// (6.3.3).
const MPEG2_RATES: [(u32, u32); 8] = [
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (50, 1),
    (60_000, 1001),
    (60, 1),
];
const MPEG2_RATE_TIMES: u32 = 4;
const MPEG2_RATE_PARTS: u32 = 32;

/// A decoder of H.264 holds so many pictures at most (ITU-T H.264, `max_dec_frame_buffering`): older ones will not come any more.
const HELD_MAX: i64 = 16;

/// Why a codec refused.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// FFmpeg was built without it.
    #[error("this FFmpeg has no {name}; on Debian: apt install libavcodec-extra or libavcodec59")]
    Absent {
        /// Encoder or decoder.
        name: &'static str,
    },
    /// It could not be opened.
    #[error("cannot open the {name} for {setting}")]
    Open {
        /// Encoder or decoder.
        name: &'static str,
        /// What was asked of it.
        setting: String,
        /// What FFmpeg said.
        source: ffmpeg::Error,
    },
    /// A picture could not be encoded.
    #[error("cannot encode a picture")]
    Encode(#[source] ffmpeg::Error),
    /// The encoder wants another picture before it gives this one back.
    #[error("the encoder holds a picture back")]
    Held,
    /// A coded picture could not be decoded.
    #[error("cannot decode a picture")]
    Decode(#[source] ffmpeg::Error),
    /// What was to be a coded picture is none, or refers to what never came.
    #[error("there is no picture to decode")]
    NoPicture,
    /// Not 8-bit 4:2:0, or a size that is not worked on.
    #[error("the picture has {0}, which is not supported")]
    Unsupported(String),
}

/// What an encoder is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// What the pictures are coded with.
    pub codec: VideoCodec,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Pictures per second, numerator and denominator.
    pub fps: (u32, u32),
    /// Bits per second, mean and peak.
    pub bitrate: u32,
    /// A key picture at least every so many.
    pub gop: u32,
}

/// Makes coded pictures.
pub struct Encoder {
    inner: encoder::Video,
    packet: Packet,
    count: i64,
}

/// A coded picture, valid until the next is made.
#[derive(Clone, Copy, Debug)]
pub struct Coded<'a> {
    /// Video as [`EncoderConfig::codec`] says, with all that a decoder needs to begin with if it stands alone.
    pub data: &'a [u8],
    /// Whether it stands alone.
    pub kind: UnitKind,
}

impl Encoder {
    /// An encoder for pictures of one size.
    ///
    /// # Errors
    /// FFmpeg lacks it, or refuses the size or the frame rate.
    pub fn open(config: &EncoderConfig) -> Result<Self, CodecError> {
        ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
        let (codec, name) = match config.codec {
            VideoCodec::Mpeg2 => (encoder::find(codec::Id::MPEG2VIDEO), "MPEG-2 encoder"),
            // By its name: other encoders of FFmpeg hold frames, or need a device.
            VideoCodec::H264 => (encoder::find_by_name("libx264"), "H.264 encoder libx264"),
        };
        let codec = codec.ok_or(CodecError::Absent { name })?;
        let failed = |source| CodecError::Open {
            name,
            setting: format!("{config:?}"),
            source,
        };
        let mut context = Context::new_with_codec(codec);
        context.set_flags(codec::Flags::LOW_DELAY | codec::Flags::CLOSED_GOP);
        context.set_threading(single_thread());
        let mut video = context.encoder().video().map_err(failed)?;
        let (fps, per) = rate(config.codec, config.fps);
        video.set_width(config.width);
        video.set_height(config.height);
        video.set_format(format::Pixel::YUV420P);
        video.set_time_base(Rational::new(per, fps));
        video.set_frame_rate(Some(Rational::new(fps, per)));
        video.set_bit_rate(config.bitrate as usize);
        video.set_max_bit_rate(config.bitrate as usize);
        video.set_gop(config.gop);
        video.set_max_b_frames(0);
        let buffer = u64::from(config.bitrate) * u64::from(BUFFER_FRAMES) * per as u64 / fps as u64;
        let steps = buffer.div_ceil(BUFFER_STEP_BITS.into());
        let steps = steps.clamp(1, u64::from(i32::MAX as u32 / BUFFER_STEP_BITS)) as u32;
        let buffer = steps * BUFFER_STEP_BITS;
        let options: Dictionary = [("bufsize", buffer.to_string().as_str())]
            .into_iter()
            .chain(options(config.codec).iter().copied())
            .chain(emulated_options(config.codec).iter().copied())
            .collect();
        let inner = video.open_as_with(codec, options).map_err(failed)?;
        Ok(Self {
            inner,
            packet: Packet::empty(),
            count: 0,
        })
    }

    /// Encodes `picture`; `kind` [`UnitKind::Key`] forces a key picture, otherwise the encoder decides.
    ///
    /// # Errors
    /// FFmpeg refuses the picture, or it does not come out at once.
    pub fn encode(
        &mut self,
        picture: &mut Picture,
        kind: UnitKind,
    ) -> Result<Coded<'_>, CodecError> {
        picture.0.set_pts(Some(self.count));
        picture.0.set_kind(match kind {
            UnitKind::Key => picture::Type::I,
            UnitKind::Predicted => picture::Type::None,
        });
        self.count += 1;
        self.inner
            .send_frame(&picture.0)
            .map_err(CodecError::Encode)?;
        self.inner.receive_packet(&mut self.packet).map_err(|e| {
            if is_again(e) {
                CodecError::Held
            } else {
                CodecError::Encode(e)
            }
        })?;
        Ok(Coded {
            data: self.packet.data().unwrap_or(&[]),
            kind: if self.packet.is_key() {
                UnitKind::Key
            } else {
                UnitKind::Predicted
            },
        })
    }
}

/// The frame rate that is announced. A stream's is what its sender says, and need not be sensible: MPEG-2 gets the nearest
/// that it has. It is for the encoder's arithmetic; pictures come when they come.
fn rate(codec: VideoCodec, (fps, per): (u32, u32)) -> (i32, i32) {
    let (fps, per) = (fps.clamp(1, 1 << 16), per.clamp(1, 1 << 16));
    let wanted = f64::from(fps) / f64::from(per);
    let distance =
        |(fps, per): &(u32, u32)| (f64::from(*fps) / f64::from(*per) / wanted).ln().abs();
    let nearest = match codec {
        VideoCodec::H264 => None,
        VideoCodec::Mpeg2 => MPEG2_RATES
            .into_iter()
            .flat_map(|(fps, per)| {
                let times = move |n| (1..=MPEG2_RATE_PARTS).map(move |d| (fps * n, per * d));
                (1..=MPEG2_RATE_TIMES).flat_map(times)
            })
            .min_by(|a, b| distance(a).total_cmp(&distance(b))),
    };
    let (fps, per) = nearest.unwrap_or((fps, per));
    (fps as i32, per as i32)
}

/// What makes an encoder give each picture back at once, and key pictures only when they are due.
fn options(codec: VideoCodec) -> &'static [(&'static str, &'static str)] {
    match codec {
        VideoCodec::Mpeg2 => &[
            // A cut does not make a key picture: only the camera's rhythm and the caller do.
            ("sc_threshold", "1000000000"),
        ],
        VideoCodec::H264 => &[
            // Of the time from camera to screen most is x264's and its decoder's: this preset takes half the instructions of
            // `superfast` on both sides (8.9 to 16.4 million a picture of 640x480 to encode, 4.2 to 8.4 to decode) and costs
            // 0.3 dB of the clock's picture at the same 2 Mbit/s.
            ("preset", "ultrafast"),
            // No look-ahead, no B-frames, no frame threads.
            ("tune", "zerolatency"),
            // A key picture that the caller asks for clears the decoder, so that a viewer can begin with it.
            ("forced-idr", "1"),
            // MPEG-TS wants each picture to begin with a delimiter (ISO/IEC 13818-1, 2.14.1).
            ("aud", "1"),
            ("sc_threshold", "0"),
        ],
    }
}

/// What is faster than FFmpeg's choice where vector instructions are emulated one by one.
fn emulated_options(codec: VideoCodec) -> &'static [(&'static str, &'static str)] {
    match codec {
        // The plain integer transform takes a sixth less of encoding there (5.0 -> 4.2 ms at 320x240), but four times the
        // instructions of the vector one elsewhere. The picture is as good.
        VideoCodec::Mpeg2 if is_emulated() => &[("dct", "fastint")],
        VideoCodec::Mpeg2 | VideoCodec::H264 => &[],
    }
}

/// Whether the processor says that it is QEMU's emulation of one.
fn is_emulated() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(": QEMU TCG CPU"))
}

/// What its receiver knows of a coded picture. It stays with the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// When the last of it came in.
    pub received: Timestamp,
    /// Parts of it, or of a picture that it refers to, were lost on the way.
    pub is_damaged: bool,
}

/// A decoded picture, valid until the next is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// To look at: the decoder predicts the next from it.
    pub picture: &'a Picture,
    /// Pictures per second that the stream announces, numerator and denominator.
    pub fps: Option<(u32, u32)>,
    /// Presentation time of this picture, which is not that of the last coded one where they come in another order.
    pub pts: Option<u64>,
    /// A decoder can begin with it.
    pub random_access: bool,
    /// What was known of it when it came.
    pub arrival: Arrival,
}

/// Takes coded pictures apart. Of a stream with B-pictures, and of no other, it holds some: one of MPEG-2, of H.264 as many as
/// the stream says. The last of a stream stay with it.
pub struct Decoder {
    codec: VideoCodec,
    inner: decoder::Video,
    sent: i64,
    /// What FFmpeg has not given back.
    inside: VecDeque<Inside>,
    order: Order<(frame::Video, Inside)>,
    ready: VecDeque<(frame::Video, Inside)>,
    picture: Picture,
    next: frame::Video,
}

/// A coded picture on its way through.
#[derive(Clone, Copy, Debug)]
struct Inside {
    /// It is known again by this: for FFmpeg it is the presentation time.
    number: i64,
    pts: Option<u64>,
    random_access: bool,
    /// Something was lost in it or before it.
    lost: bool,
    arrival: Arrival,
}

impl Decoder {
    /// A decoder; it learns size and frame rate from the stream.
    ///
    /// # Errors
    /// FFmpeg lacks it.
    pub fn open(video: VideoCodec) -> Result<Self, CodecError> {
        ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
        let (id, name) = match video {
            VideoCodec::Mpeg2 => (codec::Id::MPEG2VIDEO, "MPEG-2 decoder"),
            VideoCodec::H264 => (codec::Id::H264, "H.264 decoder"),
        };
        let codec = decoder::find(id).ok_or(CodecError::Absent { name })?;
        let mut context = Context::new_with_codec(codec);
        context.set_flags(codec::Flags::LOW_DELAY | codec::Flags::OUTPUT_CORRUPT);
        context.set_threading(single_thread());
        let mut decoder = context.decoder();
        decoder.conceal(decoder::Conceal::GUESS_MVS | decoder::Conceal::DEBLOCK);
        let opened = decoder.open_as(codec).and_then(decoder::Opened::video);
        let inner = opened.map_err(|source| CodecError::Open {
            name,
            setting: "low delay".to_owned(),
            source,
        })?;
        Ok(Self {
            codec: video,
            inner,
            sent: 0,
            inside: VecDeque::new(),
            order: Order::new(),
            ready: VecDeque::new(),
            picture: Picture(frame::Video::empty()),
            next: frame::Video::empty(),
        })
    }

    /// Decodes one coded picture of which nothing else is known, and returns the newest picture that comes of it. `None`: it is
    /// held.
    ///
    /// # Errors
    /// FFmpeg can make nothing of it; the next may be decoded all the same.
    pub fn decode(&mut self, data: &[u8]) -> Result<Option<Decoded<'_>>, CodecError> {
        let inside = Inside {
            number: self.sent,
            pts: None,
            random_access: false,
            lost: false,
            arrival: Arrival::default(),
        };
        self.push(data, inside)?;
        let older = self.ready.len().saturating_sub(1);
        self.ready.drain(..older);
        Ok(self.receive())
    }

    /// Decodes the next coded picture; [`Decoder::receive`] gives what comes of it. Holes are concealed with what was there
    /// before.
    ///
    /// # Errors
    /// FFmpeg can make nothing of it; the next may be decoded all the same.
    pub fn send(&mut self, unit: &AccessUnit, arrival: Arrival) -> Result<(), CodecError> {
        let inside = Inside {
            number: self.sent,
            pts: unit.pts,
            random_access: unit.random_access,
            lost: unit.damaged || unit.lost_before,
            arrival,
        };
        self.push(&unit.data, inside)
    }

    /// The next picture in the order in which they are shown, if it is there: after a coded picture none, one, or two.
    pub fn receive(&mut self) -> Option<Decoded<'_>> {
        let (frame, inside) = self.ready.pop_front()?;
        self.picture.0 = frame;
        Some(Decoded {
            picture: &self.picture,
            fps: self.fps(),
            pts: inside.pts,
            random_access: inside.random_access,
            arrival: inside.arrival,
        })
    }

    /// Pictures that were sent and will be received later.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inside.len() + self.order.held() + self.ready.len()
    }

    fn push(&mut self, data: &[u8], inside: Inside) -> Result<(), CodecError> {
        if data.is_empty() {
            return Err(CodecError::NoPicture); // An empty packet would mean the end of the stream.
        }
        self.sent += 1;
        self.inside
            .retain(|other| inside.number - other.number <= HELD_MAX);
        self.inside.push_back(inside);
        let outcome = self.through_ffmpeg(data, inside);
        if outcome.is_err() {
            self.inside.retain(|other| other.number != inside.number);
        }
        outcome
    }

    fn through_ffmpeg(&mut self, data: &[u8], sent: Inside) -> Result<(), CodecError> {
        let mut packet = Packet::copy(data);
        packet.set_pts(Some(sent.number));
        self.inner
            .send_packet(&packet)
            .map_err(CodecError::Decode)?;
        let mut is_found = false;
        loop {
            // Asking empties the frame that it is given, also when there is nothing.
            match self.inner.receive_frame(&mut self.next) {
                Ok(()) => {}
                Err(error) if is_again(error) => break,
                Err(error) => return Err(CodecError::Decode(error)),
            }
            is_found = true;
            let frame = std::mem::replace(&mut self.next, frame::Video::empty());
            let out = self.came_out(&frame).unwrap_or(sent);
            check_decoded(&frame)?;
            match self.codec {
                VideoCodec::H264 => self.ready.push_back((frame, out)),
                VideoCodec::Mpeg2 => {
                    let place = Place {
                        kind: PictureKind::of(self.codec, data),
                        reference: TemporalReference::of(data),
                        lost: sent.lost,
                    };
                    self.order.push((frame, out), place, &mut self.ready);
                }
            }
        }
        let is_held = self.codec == VideoCodec::H264 && self.inner.has_b_frames();
        if is_found || is_held {
            Ok(())
        } else {
            Err(CodecError::NoPicture)
        }
    }

    /// The coded picture of which this is. Those that are presented before it will not come any more.
    fn came_out(&mut self, frame: &frame::Video) -> Option<Inside> {
        let number = frame.pts()?;
        let at = self
            .inside
            .iter()
            .position(|inside| inside.number == number)?;
        let out = self.inside.remove(at)?;
        self.inside
            .retain(|inside| inside.number > number || is_presented_after(inside.pts, out.pts));
        Some(out)
    }

    fn fps(&self) -> Option<(u32, u32)> {
        let rate = self.inner.frame_rate()?;
        (rate.numerator() > 0 && rate.denominator() > 0)
            .then(|| (rate.numerator() as u32, rate.denominator() as u32))
    }
}

/// The nearer way round; unknown times say nothing.
fn is_presented_after(pts: Option<u64>, other: Option<u64>) -> bool {
    pts.zip(other).is_some_and(|(pts, other)| {
        (1..CLOCK_WRAP / 2).contains(&(pts.wrapping_sub(other) % CLOCK_WRAP))
    })
}

fn check_decoded(frame: &frame::Video) -> Result<(), CodecError> {
    if !matches!(
        frame.format(),
        format::Pixel::YUV420P | format::Pixel::YUVJ420P
    ) {
        return Err(CodecError::Unsupported(format!(
            "the pixel format {:?}",
            frame.format()
        )));
    }
    let is_odd = !frame.width().is_multiple_of(2) || !frame.height().is_multiple_of(2);
    if is_odd || !SIDES.contains(&frame.width()) || !SIDES.contains(&frame.height()) {
        return Err(CodecError::Unsupported(format!(
            "{}x{} pixels",
            frame.width(),
            frame.height()
        )));
    }
    Ok(())
}

fn single_thread() -> threading::Config {
    threading::Config {
        count: 1,
        ..threading::Config::kind(threading::Type::Slice)
    }
}

fn is_again(error: ffmpeg::Error) -> bool {
    matches!(error, ffmpeg::Error::Other { errno } if errno == EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_takes_any_frame_rate() {
        let rates = [
            (30, 1),
            (7, 1),
            (1, 1),
            (120, 1),
            (0, 0),
            (1, u32::MAX),
            (u32::MAX, 1),
            (30_000, 1001),
        ];
        for codec in [VideoCodec::Mpeg2, VideoCodec::H264] {
            for fps in rates {
                for bitrate in [10_000, 100_000_000] {
                    let config = EncoderConfig {
                        codec,
                        width: 160,
                        height: 120,
                        fps,
                        bitrate,
                        gop: 30,
                    };
                    let mut encoder = Encoder::open(&config).unwrap();
                    let mut picture = Picture::new(160, 120).unwrap();
                    encoder.encode(&mut picture, UnitKind::Key).unwrap();
                }
            }
        }
    }

    #[test]
    fn rates_that_mpeg2_has_stay() {
        for fps in [(30, 1), (25, 1), (30_000, 1001), (15, 1), (10, 1), (120, 1)] {
            let (is, per) = rate(VideoCodec::Mpeg2, fps);
            assert_eq!(u64::from(fps.0) * per as u64, u64::from(fps.1) * is as u64);
        }
        let (fps, per) = rate(VideoCodec::Mpeg2, (7, 1));
        assert!((f64::from(fps) / f64::from(per) - 7.0).abs() < 0.1);
    }
}

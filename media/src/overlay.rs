//! The function that moves: draws text, images and its identity over each picture. What is beside the video passes.

mod canvas;
mod control;
mod image;
mod label;
mod shown;

pub use control::ControlAddress;
pub use image::{Image, ImageError, ImageSpelling};
pub use label::{Change, Colour, ColourError, IMAGES_MAX, Label, LabelError};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use record::Timestamp;
use wire::mpegts::{
    AccessUnit, CLOCK_HZ, CLOCK_WRAP, PictureKind, Replacer, UnitKind, VideoCodec,
    ticks_from_micros,
};

use crate::codec::{Arrival, CodecError, Decoder, EncoderConfig};
use crate::identity::{Identity, IdentityFiles};
use crate::net::{Input, Output};
use crate::stats::{Meter, StatsOutput, Totals};
use crate::text::Font;
use crate::{MediaError, StreamUrl};
use canvas::Canvas;
use control::Control;
use shown::Shown;

/// Frame rate for the encoder's arithmetic when the stream announces none.
const FPS_UNKNOWN: (u32, u32) = (30, 1);

/// Whole key pictures in a row in a form that is not worked on, after which the video is refused.
const UNSUPPORTED_MAX: u32 = 2;

/// Settings of the overlay.
#[derive(Clone, Debug)]
pub struct OverlayConfig {
    /// Where the video comes from.
    pub input: StreamUrl,
    /// Where it goes.
    pub output: StreamUrl,
    /// Written and laid over the picture, at first.
    pub label: Label,
    /// Where changes of that are taken from.
    pub control: Option<ControlAddress>,
    /// Font of the text.
    pub font: PathBuf,
    /// What the output is coded with.
    pub codec: VideoCodec,
    /// Bits per second of the output.
    pub bitrate: u32,
    /// A key picture at least every so many; each key picture of the input makes one too.
    pub gop: u32,
    /// Where the function runs; without it no overlay strip is drawn.
    pub identity: Option<IdentityFiles>,
    /// Ends after this; `None`: when it is stopped.
    pub duration: Option<Duration>,
    /// Figures once a second.
    pub stats: StatsOutput,
}

/// Draws over pictures until `stop` is set or the time is up. Damaged pictures are drawn over and sent as they are.
///
/// # Errors
/// The font, a glyph, an image or an identity file is missing, there is no socket or codec, the video is coded with something else, the
/// encoder refuses a picture, or a server the stream.
pub fn run(config: &OverlayConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    let mut stage = Stage::open(config)?;
    let _control = match &config.control {
        Some(address) => Some(Control::open(address, Arc::clone(&stage.shown))?),
        None => None,
    };
    let mut input = Input::open(&config.input)?;
    let start = Timestamp::now();
    let mut meter = Meter::new("overlay", config.stats, start);
    while !stop.load(Ordering::Relaxed)
        && config
            .duration
            .is_none_or(|duration| Timestamp::now().since(start) < duration)
    {
        for chunk in input.receive()? {
            for unit in stage.pass(chunk.bytes)? {
                stage.unit(&unit, chunk.received, &mut meter)?;
            }
        }
        meter.follow(&input, stage.output.refused(), Timestamp::now());
    }
    Ok(meter.totals)
}

/// Whether pictures are whole: a hole stays visible in what is predicted from it, until a whole key picture.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    is_damaged: bool,
    /// Whole key pictures that followed each other in a form that is not worked on.
    unsupported: u32,
}

impl Damage {
    /// Whether the picture of `unit`, the next one, is damaged.
    pub(crate) fn follow(&mut self, unit: &AccessUnit) -> bool {
        let is_fresh = unit.random_access && !unit.damaged;
        self.is_damaged = !is_fresh && (self.is_damaged || unit.damaged || unit.lost_before);
        self.is_damaged
    }

    /// What came of sending `unit` to the decoder: whether there is a picture, now or later. One that nothing can be made of leaves
    /// a hole, if others refer to it: go on with the next.
    ///
    /// # Errors
    /// In which form the video is, where it is one that is not worked on: once two whole key pictures in a row had it, for one of them
    /// may be a bit that was turned over on the way.
    pub(crate) fn sent(
        &mut self,
        unit: &AccessUnit,
        outcome: Result<(), CodecError>,
    ) -> Result<bool, String> {
        let is_fresh = unit.random_access && !unit.damaged;
        match outcome {
            Ok(()) => {
                if is_fresh {
                    self.unsupported = 0;
                }
                return Ok(true);
            }
            Err(CodecError::Unsupported(form)) if is_fresh => {
                self.unsupported += 1;
                if self.unsupported == UNSUPPORTED_MAX {
                    return Err(form);
                }
            }
            Err(_) => {}
        }
        // Behind the first key picture there may be B-pictures that refer to what was before it: nothing refers to them.
        self.is_damaged |= unit.codec != VideoCodec::Mpeg2
            || PictureKind::of(unit.codec, &unit.data) != Some(PictureKind::B);
        Ok(false)
    }
}

struct Stage<'a> {
    config: &'a OverlayConfig,
    shown: Arc<Shown>,
    identity: Option<Identity>,
    output: Output,
    replacer: Replacer,
    packets: Vec<u8>,
    last_pts: Option<u64>,
    decoder: Option<(VideoCodec, Decoder)>,
    damage: Damage,
    canvas: Option<Canvas>,
}

impl<'a> Stage<'a> {
    fn open(config: &'a OverlayConfig) -> Result<Self, MediaError> {
        let font = Font::load(&config.font)?;
        Ok(Self {
            config,
            shown: Arc::new(Shown::new(config.label.clone(), font)?),
            identity: config.identity.as_ref().map(Identity::open).transpose()?,
            output: Output::open(&config.output)?,
            replacer: Replacer::new(config.codec),
            packets: Vec::new(),
            last_pts: None,
            decoder: None,
            damage: Damage::default(),
            canvas: None,
        })
    }

    /// Sends what is beside the video on, and returns the pictures. Sound does not wait until a picture is drawn on.
    fn pass(&mut self, bytes: &[u8]) -> Result<Vec<AccessUnit>, MediaError> {
        self.packets.clear();
        let units = self.replacer.push(bytes, &mut self.packets);
        if let Some(video) = self.replacer.foreign_video() {
            let url = self.config.input.to_string();
            return Err(MediaError::Foreign { url, video });
        }
        if !self.packets.is_empty() {
            self.output.send(&self.packets)?;
        }
        Ok(units)
    }

    /// Decodes one coded picture; draws on, encodes and sends what comes of it.
    fn unit(
        &mut self,
        unit: &AccessUnit,
        received: Timestamp,
        meter: &mut Meter,
    ) -> Result<(), MediaError> {
        meter.totals.frames_in += 1;
        let arrival = Arrival {
            received,
            is_damaged: self.damage.follow(unit),
        };
        let decoder = match &mut self.decoder {
            Some((opened, decoder)) if *opened == unit.codec => decoder,
            // Nothing can be made of predicted pictures before the first key picture.
            _ if !unit.random_access => {
                meter.totals.frames_dropped += 1;
                return Ok(());
            }
            none_or_other => {
                let decoder = Decoder::open(unit.codec)?;
                &mut none_or_other.insert((unit.codec, decoder)).1
            }
        };
        let outcome = decoder.send(unit, arrival);
        let is_picture = self.damage.sent(unit, outcome).map_err(|form| {
            let url = self.config.input.to_string();
            MediaError::Form { url, form }
        })?;
        meter.totals.frames_dropped += u64::from(!is_picture);
        while let Some(decoded) = decoder.receive() {
            let Arrival {
                received,
                is_damaged,
            } = decoded.arrival;
            let fps = decoded.fps.unwrap_or(FPS_UNKNOWN);
            let pts = presented(decoded.pts, &mut self.last_pts, fps, received);
            let size = (decoded.picture.width(), decoded.picture.height());
            let canvas = match &mut self.canvas {
                Some(canvas) if canvas.size() == size => canvas,
                none_or_other => {
                    let encoder = EncoderConfig {
                        codec: self.config.codec,
                        width: size.0 as u32,
                        height: size.1 as u32,
                        fps,
                        bitrate: self.config.bitrate,
                        gop: self.config.gop,
                    };
                    none_or_other.insert(Canvas::open(encoder)?)
                }
            };
            canvas.draw(
                decoded.picture,
                &self.shown,
                self.identity.as_mut(),
                is_damaged,
            );
            let kind = if decoded.random_access {
                UnitKind::Key
            } else {
                UnitKind::Predicted
            };
            let coded = canvas.encode(kind)?;
            self.packets.clear();
            self.replacer
                .write(coded.data, pts, coded.kind, &mut self.packets);
            self.output.send(&self.packets)?;
            meter.bytes += coded.data.len() as u64;
            meter.totals.frames_damaged += u64::from(is_damaged);
            meter.frame_out(Some(Timestamp::now().since(received)));
        }
        meter.frames_held = decoder.held() as u64;
        Ok(())
    }
}

/// When a picture is presented: at its time, so that it stays in step with what is beside it. One without a time follows the
/// last, and the first of a stream without times is presented when it came.
fn presented(
    pts: Option<u64>,
    last: &mut Option<u64>,
    fps: (u32, u32),
    received: Timestamp,
) -> u64 {
    let step = CLOCK_HZ * u64::from(fps.1) / u64::from(fps.0.max(1));
    let follows = last.map(|last| (last + step) % CLOCK_WRAP);
    let pts = pts.or(follows);
    *last.insert(pts.unwrap_or_else(|| ticks_from_micros(received.as_micros())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> AccessUnit {
        AccessUnit {
            data: vec![1],
            codec: VideoCodec::Mpeg2,
            pts: None,
            random_access: false,
            damaged: false,
            lost_before: false,
            number: 0,
        }
    }

    #[test]
    fn a_picture_that_cannot_be_decoded_is_a_hole_until_a_key_picture() {
        let mut damage = Damage::default();
        let mut unit = unit();
        assert!(!damage.follow(&unit));
        let outcome = damage.sent(&unit, Err(CodecError::NoPicture));
        assert_eq!(outcome, Ok(false));
        assert!(damage.follow(&unit) && damage.follow(&unit));
        unit.random_access = true;
        assert!(!damage.follow(&unit));
    }

    #[test]
    fn a_picture_that_comes_later_or_that_nothing_refers_to_is_no_hole() {
        let mut damage = Damage::default();
        let mut unit = unit();
        assert_eq!(damage.sent(&unit, Ok(())), Ok(true));
        assert!(!damage.follow(&unit));
        // A B-picture of MPEG-2.
        unit.data = vec![0, 0, 1, 0, 0, 3 << 3];
        let outcome = damage.sent(&unit, Err(CodecError::NoPicture));
        assert_eq!(outcome, Ok(false));
        assert!(!damage.follow(&unit));
    }

    #[test]
    fn one_key_picture_in_another_form_may_be_a_wrong_bit_and_two_are_not() {
        let mut damage = Damage::default();
        let mut unit = unit();
        let form = || Err(CodecError::Unsupported("10 bits".into()));
        // Predicted or damaged ones prove nothing.
        for (random_access, damaged) in [(false, false), (true, true), (true, false)] {
            (unit.random_access, unit.damaged) = (random_access, damaged);
            assert_eq!(damage.sent(&unit, form()), Ok(false));
        }
        assert_eq!(damage.sent(&unit, form()), Err("10 bits".to_owned()));
    }

    #[test]
    fn a_picture_without_a_time_follows_the_last() {
        let mut last = None;
        let mut next = |pts| presented(pts, &mut last, (25, 1), Timestamp(2_000_000));
        assert_eq!(next(None), 180_000);
        assert_eq!(next(Some(CLOCK_WRAP - 600)), CLOCK_WRAP - 600);
        assert_eq!(next(None), 3000);
        assert_eq!(next(Some(9)), 9);
    }
}

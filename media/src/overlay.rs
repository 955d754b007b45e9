//! The function that moves: writes text and its identity over each picture.

mod control;
mod label;

pub use control::ControlAddress;
pub use label::{Change, Colour, ColourError, Label, LabelError};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use record::Timestamp;
use wire::code_strip::{Kind, Strip};
use wire::mpegts::{AccessUnit, Reader, UnitKind, VideoCodec, Writer, ticks_from_micros};

use crate::codec::{Decoder, Encoder, EncoderConfig};
use crate::identity::{Identity, IdentityFiles};
use crate::net::{Input, Output};
use crate::picture::Picture;
use crate::stats::{Meter, StatsOutput, Totals};
use crate::text::{Font, Tile};
use crate::{MediaError, StreamUrl};
use control::{Control, Shown};

/// Frame rate for the encoder's arithmetic when the stream announces none.
const FPS_UNKNOWN: (u32, u32) = (30, 1);

/// Settings of the overlay.
#[derive(Clone, Debug)]
pub struct OverlayConfig {
    /// Where the video comes from.
    pub input: StreamUrl,
    /// Where it goes.
    pub output: StreamUrl,
    /// Written over the picture, at first.
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
/// The font, a glyph or an identity file is missing, there is no socket or codec, the encoder refuses a picture, or a server
/// the stream.
pub fn run(config: &OverlayConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    let mut stage = Stage::open(config)?;
    let _control = match &config.control {
        Some(address) => Some(Control::open(address, Arc::clone(&stage.shown))?),
        None => None,
    };
    let mut input = Input::open(&config.input)?;
    let mut reader = Reader::new();
    let start = Timestamp::now();
    let mut meter = Meter::new("overlay", config.stats, start);
    while !stop.load(Ordering::Relaxed)
        && config
            .duration
            .is_none_or(|duration| Timestamp::now().since(start) < duration)
    {
        for chunk in input.receive()? {
            for unit in reader.push(chunk.bytes) {
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
}

impl Damage {
    /// Whether the picture of `unit`, the next one, is damaged.
    pub(crate) fn follow(&mut self, unit: &AccessUnit) -> bool {
        let is_fresh = unit.random_access && !unit.damaged;
        self.is_damaged = !is_fresh && (self.is_damaged || unit.damaged || unit.lost_before);
        self.is_damaged
    }

    /// Nothing could be made of the last picture: there is a hole where it was.
    pub(crate) fn undecoded(&mut self) {
        self.is_damaged = true;
    }
}

struct Stage<'a> {
    config: &'a OverlayConfig,
    shown: Arc<Shown>,
    identity: Option<Identity>,
    output: Output,
    writer: Writer,
    packets: Vec<u8>,
    decoder: Option<(VideoCodec, Decoder)>,
    damage: Damage,
    canvas: Option<Canvas>,
}

/// What depends on the size of the picture.
struct Canvas {
    picture: Picture,
    encoder: Encoder,
    text: Option<Text>,
}

/// The text as it is drawn, and what it was made from.
struct Text {
    tile: Tile,
    x: usize,
    y: usize,
    version: u64,
    runner: Option<u32>,
}

impl<'a> Stage<'a> {
    fn open(config: &'a OverlayConfig) -> Result<Self, MediaError> {
        let font = Font::load(&config.font)?;
        config.label.check(&font)?;
        Ok(Self {
            config,
            shown: Arc::new(Shown::new(config.label.clone(), font)),
            identity: config.identity.as_ref().map(Identity::open).transpose()?,
            output: Output::open(&config.output)?,
            writer: Writer::new(config.codec),
            packets: Vec::new(),
            decoder: None,
            damage: Damage::default(),
            canvas: None,
        })
    }

    /// Decodes, draws, encodes and sends one picture.
    fn unit(
        &mut self,
        unit: &AccessUnit,
        received: Timestamp,
        meter: &mut Meter,
    ) -> Result<(), MediaError> {
        meter.totals.frames_in += 1;
        let is_damaged = self.damage.follow(unit);
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
        // An error is lost data too: go on with the next.
        let Ok(Some(decoded)) = decoder.decode(&unit.data) else {
            self.damage.undecoded();
            meter.totals.frames_dropped += 1;
            return Ok(());
        };
        let size = (decoded.picture.width(), decoded.picture.height());
        let canvas = match &mut self.canvas {
            Some(canvas) if (canvas.picture.width(), canvas.picture.height()) == size => canvas,
            none_or_other => {
                let encoder = EncoderConfig {
                    codec: self.config.codec,
                    width: size.0 as u32,
                    height: size.1 as u32,
                    fps: decoded.fps.unwrap_or(FPS_UNKNOWN),
                    bitrate: self.config.bitrate,
                    gop: self.config.gop,
                };
                none_or_other.insert(Canvas::open(encoder)?)
            }
        };
        canvas.picture.copy_from(decoded.picture);
        canvas.draw(&self.shown, self.identity.as_mut(), is_damaged);
        let kind = if unit.random_access {
            UnitKind::Key
        } else {
            UnitKind::Predicted
        };
        let coded = canvas.encoder.encode(&mut canvas.picture, kind)?;
        self.packets.clear();
        let pts = unit
            .pts
            .unwrap_or_else(|| ticks_from_micros(received.as_micros()));
        self.writer
            .write(coded.data, pts, coded.kind, &mut self.packets);
        self.output.send(&self.packets)?;
        meter.bytes += coded.data.len() as u64;
        meter.totals.frames_damaged += u64::from(is_damaged);
        meter.frame_out(Some(Timestamp::now().since(received)));
        Ok(())
    }
}

impl Canvas {
    fn open(encoder: EncoderConfig) -> Result<Self, MediaError> {
        Ok(Self {
            picture: Picture::new(encoder.width, encoder.height)?,
            encoder: Encoder::open(&encoder)?,
            text: None,
        })
    }

    /// Writes the text, and with an identity its line and the strip.
    fn draw(&mut self, shown: &Shown, mut identity: Option<&mut Identity>, is_damaged: bool) {
        let version = shown.version();
        let runner = identity.as_mut().map(|identity| identity.runner());
        if let Some((identity, runner)) = identity.as_ref().zip(runner) {
            let kind = if is_damaged {
                Kind::OverlayDamaged
            } else {
                Kind::Overlay
            };
            // A picture without room for it goes without.
            let _ = self.picture.draw_strip(&Strip {
                kind,
                a: identity.boot(),
                b: runner,
            });
        }
        let height = self.picture.height();
        let text = match &mut self.text {
            Some(text) if text.version == version && text.runner == runner => text,
            none_or_old => {
                let boot = identity.map(|identity| identity.boot());
                none_or_old.insert(Text::new(shown, version, boot.zip(runner), height))
            }
        };
        text.tile.draw(&mut self.picture, text.x, text.y);
    }
}

impl Text {
    fn new(shown: &Shown, version: u64, identity: Option<(u32, u32)>, height: usize) -> Self {
        let label = shown.label();
        let mut lines = label.text.clone();
        if let Some((boot, runner)) = identity {
            lines += &format!("\nboot {boot:08x} vm {runner}");
        }
        Self {
            tile: Tile::new(shown.font(), &lines, label.size_in(height), label.ink()),
            x: label.x as usize,
            y: label.y as usize,
            version,
            runner: identity.map(|(_, runner)| runner),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::text::DEFAULT_FONT;

    #[test]
    fn a_picture_that_cannot_be_decoded_is_a_hole_until_a_key_picture() {
        let mut damage = Damage::default();
        let mut unit = AccessUnit {
            data: vec![1],
            codec: VideoCodec::Mpeg2,
            pts: None,
            random_access: false,
            damaged: false,
            lost_before: false,
            number: 0,
        };
        assert!(!damage.follow(&unit));
        damage.undecoded();
        assert!(damage.follow(&unit) && damage.follow(&unit));
        unit.random_access = true;
        assert!(!damage.follow(&unit));
    }

    #[test]
    fn the_next_picture_shows_a_change_and_a_bad_one_changes_nothing() {
        let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
        let shown = Shown::new(Label::default(), font);
        let mut canvas = Canvas::open(EncoderConfig {
            codec: VideoCodec::Mpeg2,
            width: 160,
            height: 120,
            fps: (30, 1),
            bitrate: 300_000,
            gop: 30,
        })
        .unwrap();
        let mut drawn = || {
            for index in 0..3 {
                canvas.picture.plane_mut(index).data.fill(128);
            }
            canvas.draw(&shown, None, false);
            canvas.picture.to_rgb()
        };
        let before = drawn();
        assert!(shown.change(br#"{"text": "other", "size": -1}"#).is_err());
        assert_eq!(drawn(), before);
        shown
            .change(br##"{"text": "\u2588", "x": 20, "size": 40, "colour": "#ff0000"}"##)
            .unwrap();
        let after = drawn();
        // In the middle of the block.
        let at = 3 * (30 * 160 + 32);
        let [red, green, blue] = [0, 1, 2].map(|part| after[at + part]);
        assert!(red > 240 && green < 15 && blue < 15, "{red} {green} {blue}");
    }
}

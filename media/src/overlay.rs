//! The function that moves: writes text and its identity over each picture.

use std::path::PathBuf;
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

/// Frame rate for the encoder's arithmetic when the stream announces none.
const FPS_UNKNOWN: (u32, u32) = (30, 1);
/// Text height, of the picture's height, and its lower limit in pixels.
const TEXT_SIZE: f32 = 1.0 / 16.0;
const TEXT_SIZE_MIN: f32 = 9.0;
/// Distance of the text from the picture's corner.
const TEXT_CORNER: usize = 4;

/// Settings of the overlay.
#[derive(Clone, Debug)]
pub struct OverlayConfig {
    /// Where the video comes from.
    pub input: StreamUrl,
    /// Where it goes.
    pub output: StreamUrl,
    /// Written over the picture.
    pub text: String,
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
/// The font or an identity file is missing, there is no socket or codec, the encoder refuses a picture, or a server
/// the stream.
pub fn run(config: &OverlayConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    let mut stage = Stage::open(config)?;
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
                let codec = reader.video().map_or(VideoCodec::Mpeg2, |(_, codec)| codec);
                stage.unit(&unit, codec, chunk.received, &mut meter)?;
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
}

struct Stage<'a> {
    config: &'a OverlayConfig,
    font: Font,
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
    text: Tile,
    text_runner: Option<u32>,
}

impl<'a> Stage<'a> {
    fn open(config: &'a OverlayConfig) -> Result<Self, MediaError> {
        Ok(Self {
            config,
            font: Font::load(&config.font)?,
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
        codec: VideoCodec,
        received: Timestamp,
        meter: &mut Meter,
    ) -> Result<(), MediaError> {
        meter.totals.frames_in += 1;
        let is_damaged = self.damage.follow(unit);
        let decoder = match &mut self.decoder {
            Some((opened, decoder)) if *opened == codec => decoder,
            // Nothing can be made of predicted pictures before the first key picture.
            _ if !unit.random_access => {
                meter.totals.frames_dropped += 1;
                return Ok(());
            }
            none_or_other => &mut none_or_other.insert((codec, Decoder::open(codec)?)).1,
        };
        // An error is lost data too: go on with the next.
        let Ok(Some(decoded)) = decoder.decode(&unit.data) else {
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
                none_or_other.insert(Canvas::open(encoder, &self.font, &self.config.text)?)
            }
        };
        canvas.picture.copy_from(decoded.picture);
        canvas.draw(
            &self.font,
            &self.config.text,
            self.identity.as_mut(),
            is_damaged,
        );
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
    fn open(encoder: EncoderConfig, font: &Font, text: &str) -> Result<Self, MediaError> {
        Ok(Self {
            picture: Picture::new(encoder.width, encoder.height)?,
            encoder: Encoder::open(&encoder)?,
            text: Tile::new(font, text, text_size(encoder.height as usize)),
            text_runner: None,
        })
    }

    /// Writes the text, and with an identity its line and the strip.
    fn draw(&mut self, font: &Font, text: &str, identity: Option<&mut Identity>, is_damaged: bool) {
        if let Some(identity) = identity {
            let runner = identity.runner();
            if self.text_runner != Some(runner) {
                self.text_runner = Some(runner);
                let lines = format!("{text}\nboot {:08x} vm {runner}", identity.boot());
                self.text = Tile::new(font, &lines, text_size(self.picture.height()));
            }
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
        self.text.draw(&mut self.picture, TEXT_CORNER, TEXT_CORNER);
    }
}

fn text_size(picture_height: usize) -> f32 {
    (picture_height as f32 * TEXT_SIZE).max(TEXT_SIZE_MIN)
}

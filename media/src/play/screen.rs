//! What is shown, written down.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use record::Timestamp;
use record::raw::{FrameRow, FrameStatus};
use wire::code_strip::{Kind, Place, expand_time_us};

use super::PlayConfig;
use super::viewing::Viewing;
use crate::MediaError;
use crate::picture::Picture;
use crate::stats::{Meter, Totals};
use crate::table::Table;

/// Takes pictures, and keeps the last one if it is wanted at the end.
pub(super) struct Screen {
    frames: Option<Table>,
    pub(super) meter: Meter,
    last_frame: Option<u32>,
    viewing: Option<Viewing>,
    keeps_picture: bool,
    last_picture: Option<Picture>,
}

impl Screen {
    pub(super) fn open(config: &PlayConfig) -> Result<Self, MediaError> {
        Ok(Self {
            frames: config
                .frames_csv
                .as_deref()
                .map(Table::create)
                .transpose()?,
            meter: Meter::new("play", config.stats, Timestamp::now()),
            last_frame: None,
            viewing: config
                .reporting
                .clone()
                .map(|to| Viewing::new(to, Timestamp::now())),
            keeps_picture: config.png.is_some(),
            last_picture: None,
        })
    }

    /// Shows a picture. `received`: when its last datagram came in, if known.
    pub(super) fn show(
        &mut self,
        picture: &Picture,
        is_damaged: bool,
        shown: Timestamp,
        received: Option<Timestamp>,
    ) -> Result<(), MediaError> {
        let capture = picture.read_strip(Place::Bottom);
        let overlay = picture.read_strip(Place::AboveBottom);
        let is_damaged =
            is_damaged || overlay.is_some_and(|strip| strip.kind == Kind::OverlayDamaged);
        let frame = capture.map(|strip| strip.b);
        let captured = capture.map(|strip| Timestamp(expand_time_us(strip.a, shown.as_micros())));
        let status = match frame {
            None => FrameStatus::Unreadable,
            Some(_) if frame == self.last_frame => FrameStatus::Repeated,
            Some(_) if is_damaged => FrameStatus::Damaged,
            Some(_) => FrameStatus::Ok,
        };
        if let Some(frames) = &mut self.frames {
            frames.write(&FrameRow {
                frame,
                captured_us: captured,
                shown_us: shown,
                delay_ms: captured.map(|captured| shown.seconds_after(captured) * 1e3),
                status,
                boot: overlay.map(|strip| format!("{:08x}", strip.a)),
                runner: overlay.map(|strip| strip.b),
            })?;
            frames.flush()?;
        }
        if let Some(viewing) = &mut self.viewing
            && status != FrameStatus::Repeated
        {
            viewing.shown(captured, shown);
        }
        self.last_frame = frame.or(self.last_frame);
        self.meter.on_screen = captured.or(self.meter.on_screen);
        self.meter.totals.frames_damaged += u64::from(is_damaged);
        self.meter
            .frame_out(received.map(|received| shown.since(received)));
        if self.keeps_picture {
            self.keep(picture)?;
        }
        Ok(())
    }

    /// Time has passed without a new picture.
    pub(super) fn look(&mut self, now: Timestamp) {
        if let Some(viewing) = &mut self.viewing {
            viewing.look(now);
        }
    }

    fn keep(&mut self, picture: &Picture) -> Result<(), MediaError> {
        let kept = match &mut self.last_picture {
            Some(kept) if kept.width() == picture.width() && kept.height() == picture.height() => {
                kept
            }
            none_or_other => none_or_other.insert(Picture::new(
                picture.width() as u32,
                picture.height() as u32,
            )?),
        };
        kept.copy_from(picture);
        Ok(())
    }

    /// Brings everything to the files; writes the last picture to `png`.
    pub(super) fn close(mut self, png: Option<&Path>) -> Result<Totals, MediaError> {
        if let Some(frames) = &mut self.frames {
            frames.flush()?;
        }
        if let (Some(path), Some(picture)) = (png, &self.last_picture) {
            write_png(path, picture)?;
        }
        Ok(self.meter.totals)
    }
}

fn write_png(path: &Path, picture: &Picture) -> Result<(), MediaError> {
    let failed = |source| MediaError::Write {
        path: path.to_owned(),
        source,
    };
    let file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut encoder = png::Encoder::new(file, picture.width() as u32, picture.height() as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|e| failed(e.into()))?;
    writer
        .write_image_data(&picture.to_rgb())
        .map_err(|e| failed(e.into()))?;
    writer.finish().map_err(|e| failed(e.into()))
}

//! What is shown, written down.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use record::Timestamp;
use record::raw::FrameStatus;

use super::PlayConfig;
use super::viewing::Viewing;
use super::window::Window;
use crate::MediaError;
use crate::picture::Picture;
use crate::seen::Strips;
use crate::stats::{Meter, Totals};
use crate::table::Table;

/// Takes pictures, has a window show them if there is one, and keeps the last one if it is wanted at the end.
pub(super) struct Screen {
    frames: Option<Table>,
    pub(super) meter: Meter,
    last_frame: Option<u32>,
    viewing: Option<Viewing>,
    window: Option<Window>,
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
            window: config
                .window
                .then(|| Window::open(&config.input))
                .transpose()?,
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
        let strips = Strips::read(picture.plane(0));
        let is_damaged = is_damaged || strips.says_damaged();
        let row = strips.row(shown, self.last_frame, is_damaged);
        let (frame, captured, status) = (row.frame, row.captured_us, row.status);
        if let Some(window) = &self.window {
            let is_replaced = window.show(picture, captured)?;
            self.meter.totals.frames_dropped += u64::from(is_replaced);
        }
        if let Some(frames) = &mut self.frames {
            frames.write(&row)?;
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
            self.last_picture = Some(picture.copy(self.last_picture.take())?);
        }
        Ok(())
    }

    /// Becomes true when whoever looks at the window has closed it, or when it has failed.
    pub(super) fn closed(&self) -> Arc<AtomicBool> {
        self.window
            .as_ref()
            .map_or_else(Arc::default, Window::closed)
    }

    /// Time has passed without a new picture.
    pub(super) fn look(&mut self, now: Timestamp) {
        if let Some(viewing) = &mut self.viewing {
            viewing.look(now);
        }
    }

    /// Brings everything to the files; writes the last picture to `png`; says why the window ended, if nobody wanted that.
    pub(super) fn close(mut self, png: Option<&Path>) -> Result<Totals, MediaError> {
        if let Some(frames) = &mut self.frames {
            frames.flush()?;
        }
        if let (Some(path), Some(picture)) = (png, &self.last_picture) {
            let size = (picture.width() as u32, picture.height() as u32);
            write_png(path, size, &picture.to_rgb())?;
        }
        if let Some(window) = self.window {
            window.close()?;
        }
        Ok(self.meter.totals)
    }
}

/// Writes red, green and blue of `width` times `height` pixels, rows from the top.
pub(crate) fn write_png(
    path: &Path,
    (width, height): (u32, u32),
    rgb: &[u8],
) -> Result<(), MediaError> {
    let failed = |source| MediaError::Write {
        path: path.to_owned(),
        source,
    };
    let file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|e| failed(e.into()))?;
    writer.write_image_data(rgb).map_err(|e| failed(e.into()))?;
    writer.finish().map_err(|e| failed(e.into()))
}

//! What is over the picture now, shared by the stage and those who change it.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::image::{Image, ImageError};
use super::label::{Change, Label};
use crate::MediaError;
use crate::text::{Font, Tile};

pub(super) struct Shown {
    now: Mutex<Content>,
    /// Counts changes, so that the stage looks at a number for each picture and not at a lock.
    version: AtomicU64,
    /// Held by who changes something, while the stage goes on with what is there.
    change: Mutex<()>,
    font: Font,
}

/// A label, and what was made of its images.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) label: Label,
    pub(super) images: Arc<[Placed]>,
}

/// An image in its place.
pub(super) struct Placed {
    pub(super) tile: Tile,
    pub(super) x: usize,
    pub(super) y: usize,
}

impl Shown {
    pub(super) fn new(label: Label, font: Font) -> Result<Self, MediaError> {
        label.check(&font)?;
        let images = load(&label.images)?;
        Ok(Self {
            now: Mutex::new(Content { label, images }),
            version: AtomicU64::new(0),
            change: Mutex::new(()),
            font,
        })
    }

    pub(super) fn font(&self) -> &Font {
        &self.font
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn content(&self) -> Content {
        lock(&self.now).clone()
    }

    pub(super) fn label(&self) -> Label {
        lock(&self.now).label.clone()
    }

    /// Changes all of it or, if something is wrong, nothing.
    pub(super) fn change(&self, json: &[u8]) -> Result<Label, String> {
        let change: Change = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let _turn = lock(&self.change);
        let has_images = change.has_images();
        let label = self.label().with(change, &self.font);
        let label = label.map_err(|error| error.to_string())?;
        // Reading takes its time: no picture waits for it.
        let images = has_images.then(|| load(&label.images)).transpose();
        let images = images.map_err(|error| with_causes(&error))?;
        let mut now = lock(&self.now);
        now.label = label.clone();
        if let Some(images) = images {
            now.images = images;
        }
        self.version.fetch_add(1, Ordering::Release);
        Ok(label)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load(images: &[Image]) -> Result<Arc<[Placed]>, ImageError> {
    let place = |image: &Image| {
        let placed = |tile| Placed {
            tile,
            x: image.x as usize,
            y: image.y as usize,
        };
        image.load().map(placed)
    };
    images.iter().map(place).collect()
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::path::Path;

    use super::*;
    use crate::text::DEFAULT_FONT;

    /// Any bytes, and a good change with any bits flipped: all of it is shown, or nothing of it.
    #[test]
    fn fuzz_changes() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.png");
        let mut encoder = png::Encoder::new(std::fs::File::create(&image).unwrap(), 2, 2);
        encoder.set_color(png::ColorType::Rgba);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[9; 16]).unwrap();
        drop(writer);
        let good = format!(
            r##"{{"text": "Shoes, 25 €", "x": 20, "y": 60, "size": 24, "colour": "#ffcc00", "box_opacity": 0.5,
                "images": [{{"file": "{}", "x": 7, "width": 30}}]}}"##,
            image.display()
        );
        let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
        // A panic ends the test: nobody looks at what it left.
        let shown = AssertUnwindSafe(Shown::new(Label::default(), font).unwrap());
        assert!(shown.change(good.as_bytes()).is_ok());
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<(u16, u8)>)>()
            .for_each(|(bytes, flips)| {
                let mut spoilt = good.clone().into_bytes();
                for (at, bits) in flips {
                    let at = usize::from(*at) % spoilt.len();
                    spoilt[at] ^= bits;
                }
                for json in [bytes, &spoilt] {
                    let before = (shown.label(), shown.version());
                    match shown.change(json) {
                        Ok(label) => {
                            assert_eq!(label.check(shown.font()), Ok(()));
                            assert_eq!((label, before.1 + 1), (shown.label(), shown.version()));
                        }
                        Err(error) => {
                            assert!(!error.is_empty());
                            assert_eq!((shown.label(), shown.version()), before);
                        }
                    }
                    let content = shown.content();
                    assert_eq!(content.images.len(), content.label.images.len());
                    let (size, ink) = (content.label.size_in(240), content.label.ink());
                    let tile = Tile::text(shown.font(), &content.label.text, size, ink);
                    assert!(tile.width() <= 2048 && tile.height() <= 2048);
                }
            });
    }
}

//! The picture that is drawn on, and encoded.

use std::sync::Arc;

use wire::code_strip::{Kind, Strip};
use wire::mpegts::UnitKind;

use super::shown::{Placed, Shown};
use crate::MediaError;
use crate::codec::{CodecError, Coded, Encoder, EncoderConfig};
use crate::identity::Identity;
use crate::picture::Picture;
use crate::text::Tile;

/// All that depends on the size of the picture.
pub(super) struct Canvas {
    picture: Picture,
    encoder: Encoder,
    content: Option<Drawing>,
}

/// What is over the picture as it is drawn, and what it was made from.
struct Drawing {
    images: Arc<[Placed]>,
    text: Option<Placed>,
    version: u64,
    runner: Option<u32>,
}

impl Canvas {
    pub(super) fn open(encoder: EncoderConfig) -> Result<Self, MediaError> {
        Ok(Self {
            picture: Picture::new(encoder.width, encoder.height)?,
            encoder: Encoder::open(&encoder)?,
            content: None,
        })
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.picture.width(), self.picture.height())
    }

    /// Takes a picture over, with what is shown now on it; with an identity, also its line and the strip.
    pub(super) fn draw(
        &mut self,
        picture: &Picture,
        shown: &Shown,
        mut identity: Option<&mut Identity>,
        is_damaged: bool,
    ) {
        self.picture.copy_from(picture);
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
        let content = match &mut self.content {
            Some(content) if content.version == version && content.runner == runner => content,
            none_or_old => {
                let boot = identity.map(|identity| identity.boot());
                none_or_old.insert(Drawing::new(shown, version, boot.zip(runner), height))
            }
        };
        for placed in content.images.iter().chain(&content.text) {
            placed.tile.draw(&mut self.picture, placed.x, placed.y);
        }
    }

    pub(super) fn encode(&mut self, kind: UnitKind) -> Result<Coded<'_>, CodecError> {
        self.encoder.encode(&mut self.picture, kind)
    }
}

impl Drawing {
    fn new(shown: &Shown, version: u64, identity: Option<(u32, u32)>, height: usize) -> Self {
        let content = shown.content();
        let label = content.label;
        let mut lines = label.text.clone();
        if let Some((boot, runner)) = identity {
            lines += &format!("\nboot {boot:08x} vm {runner}");
        }
        let has_text = label.has_text() || identity.is_some();
        Self {
            images: content.images,
            text: has_text.then(|| Placed {
                tile: Tile::text(shown.font(), &lines, label.size_in(height), label.ink()),
                x: label.x as usize,
                y: label.y as usize,
            }),
            version,
            runner: identity.map(|(_, runner)| runner),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use wire::mpegts::VideoCodec;

    use super::super::label::Label;
    use super::*;
    use crate::text::{DEFAULT_FONT, Font};

    const SIZE: (u32, u32) = (160, 120);

    fn shown(label: Label) -> Shown {
        let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
        Shown::new(label, font).unwrap()
    }

    /// What a grey picture looks like with what is shown: red, green and blue at a place.
    fn eyes(shown: &Shown) -> impl FnMut() -> Box<dyn Fn(usize, usize) -> [u8; 3]> {
        let mut canvas = Canvas::open(EncoderConfig {
            codec: VideoCodec::Mpeg2,
            width: SIZE.0,
            height: SIZE.1,
            fps: (30, 1),
            bitrate: 300_000,
            gop: 30,
        })
        .unwrap();
        let mut grey = Picture::new(SIZE.0, SIZE.1).unwrap();
        for index in 0..3 {
            grey.plane_mut(index).data.fill(128);
        }
        move || {
            canvas.draw(&grey, shown, None, false);
            let rgb = canvas.picture.to_rgb();
            Box::new(move |x, y| [0, 1, 2].map(|part| rgb[3 * (y * SIZE.0 as usize + x) + part]))
        }
    }

    fn is_red([red, green, blue]: [u8; 3]) -> bool {
        red > 240 && green < 15 && blue < 15
    }

    #[test]
    fn the_next_picture_shows_a_change_and_a_bad_one_changes_nothing() {
        let shown = shown(Label::default());
        let mut look = eyes(&shown);
        let before = look();
        assert!(shown.change(br#"{"text": "other", "size": -1}"#).is_err());
        let after = look();
        for (y, x) in (0..120).flat_map(|y| (0..160).map(move |x| (y, x))) {
            assert_eq!(after(x, y), before(x, y));
        }
        shown
            .change(br##"{"text": "\u2588", "x": 20, "size": 40, "colour": "#ff0000"}"##)
            .unwrap();
        // In the middle of the block.
        assert!(is_red(look()(32, 30)), "{:?}", look()(32, 30));
    }

    #[test]
    fn the_box_has_a_colour() {
        let shown = shown(Label::default());
        let mut look = eyes(&shown);
        let change = br##"{"x": 20, "y": 30, "box_colour": "#ff0000", "box_opacity": 1}"##;
        shown.change(change).unwrap();
        // In the margin around the text.
        assert!(is_red(look()(21, 31)), "{:?}", look()(21, 31));
    }

    /// A red square with a hole of 4 times 4 in its middle.
    fn write_square(path: &Path) {
        let mut encoder = png::Encoder::new(File::create(path).unwrap(), 16, 16);
        encoder.set_color(png::ColorType::Rgba);
        let pixel = |at: usize| {
            let is_hole = (6..10).contains(&(at % 16)) && (6..10).contains(&(at / 16));
            [255, 0, 0, if is_hole { 0 } else { 255 }]
        };
        let pixels: Vec<u8> = (0..256).flat_map(pixel).collect();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels).unwrap();
    }

    #[test]
    fn images_come_and_go_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (square, text) = (folder.path().join("a.png"), folder.path().join("b.png"));
        write_square(&square);
        std::fs::write(&text, "no image").unwrap();
        let (square, text) = (square.to_str().unwrap(), text.to_str().unwrap());
        let shown = shown(Label {
            text: String::new(),
            images: vec![format!("{square}@40,20").parse().unwrap()],
            ..Label::default()
        });
        let mut look = eyes(&shown);
        let there = look();
        // No text: no box for it either.
        assert_eq!(there(4, 4), there(150, 100));
        assert!(is_red(there(42, 22)) && is_red(there(54, 34)));
        assert_eq!(there(48, 28), there(150, 100), "the hole");
        for (bad, why) in [
            (text, "it is not a PNG image that can be read: "),
            (
                "/no/such.png",
                "cannot read the image /no/such.png: No such file",
            ),
        ] {
            let change = format!(
                r#"{{"text": "new", "images": [{{"file": "{square}"}}, {{"file": "{bad}"}}]}}"#
            );
            let error = shown.change(change.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(shown.label().text.is_empty());
            assert!(is_red(look()(42, 22)));
            assert_eq!(look()(2, 2), there(2, 2));
        }
        // Twice as large, elsewhere, and over the right edge of the picture.
        let change = format!(
            r#"{{"images": [{{"file": "{square}", "x": 80, "y": 60, "width": 32}},
                {{"file": "{square}", "x": 152, "y": 112, "width": 1000, "height": 3}}]}}"#
        );
        shown.change(change.as_bytes()).unwrap();
        let after = look();
        assert_eq!(after(42, 22), there(150, 100));
        assert!(is_red(after(82, 62)) && is_red(after(110, 90)) && is_red(after(156, 112)));
        assert_eq!(after(96, 76), there(150, 100), "the hole has grown");
        // What is not given stays.
        shown.change(br#"{"text": "x"}"#).unwrap();
        assert!(is_red(look()(82, 62)));
        shown.change(br#"{"images": []}"#).unwrap();
        assert_eq!(look()(82, 62), there(150, 100));
    }
}

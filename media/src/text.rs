//! Text on a picture, rasterised once and drawn often.

use std::fs;
use std::path::Path;

use ab_glyph::{Font as _, FontVec, ScaleFont as _, point};

use crate::MediaError;
use crate::picture::SIDES;
use crate::tile::{Cover, yuv};

pub use crate::tile::Tile;

/// Where Debian's `fonts-dejavu-core` puts a monospaced font.
pub const DEFAULT_FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";

/// The box behind the text is black.
const BOX_LUMA: f32 = 16.0;
const NEUTRAL: f32 = 128.0;
/// Longer lines are cut.
const LINE_CHARS_MAX: usize = 200;
/// More lines are cut.
const LINES_MAX: usize = 8;

/// A font file.
pub struct Font(FontVec);

impl Font {
    /// Reads a TrueType or OpenType font.
    ///
    /// # Errors
    /// It is not there (the message names Debian's package) or is no font.
    pub fn load(path: &Path) -> Result<Self, MediaError> {
        let bytes = fs::read(path).map_err(|source| MediaError::FontMissing {
            path: path.to_owned(),
            source,
        })?;
        let font = FontVec::try_from_vec(bytes).map_err(|_| MediaError::FontInvalid {
            path: path.to_owned(),
        })?;
        Ok(Self(font))
    }

    /// The first character that it has no glyph for.
    #[must_use]
    pub fn missing(&self, text: &str) -> Option<char> {
        // Glyph 0 is the box that stands for what is not there.
        text.chars()
            .find(|&c| !c.is_control() && self.0.glyph_id(c).0 == 0)
    }

    /// How wide a character is at size 1.
    pub(crate) fn advance(&self, character: char) -> f32 {
        let scaled = self.0.as_scaled(1.0);
        scaled.h_advance(scaled.glyph_id(character))
    }
}

/// Colour of a text, and how much of the picture the box behind it hides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ink {
    luma: f32,
    blue: f32,
    red: f32,
    box_opacity: f32,
}

impl Default for Ink {
    /// White, over a box that hides a little more than half.
    fn default() -> Self {
        Self::new([255; 3], 0.6)
    }
}

impl Ink {
    /// From red, green and blue; `box_opacity` is from 0 to 1.
    #[must_use]
    pub fn new(colour: [u8; 3], box_opacity: f32) -> Self {
        let [luma, blue, red] = yuv(colour.map(|part| f32::from(part) / 255.0), 1.0);
        Self {
            luma,
            blue,
            red,
            box_opacity: box_opacity.clamp(0.0, 1.0),
        }
    }
}

impl Tile {
    /// Lines of text of `size` pixels each, with a margin and a half-transparent box around them.
    #[must_use]
    pub fn text(font: &Font, lines: &str, size: f32, ink: Ink) -> Self {
        Self::with_side_margin(font, lines, size, margin(size), ink)
    }

    /// One character without a margin at its sides, so that several make a line.
    pub(crate) fn character(font: &Font, character: char, size: f32) -> Self {
        let mut bytes = [0; 4];
        let text = character.encode_utf8(&mut bytes);
        Self::with_side_margin(font, text, size, 0.0, Ink::default())
    }

    fn with_side_margin(font: &Font, lines: &str, size: f32, side_margin: f32, ink: Ink) -> Self {
        let scaled = font.0.as_scaled(size);
        let line_height = (scaled.ascent() - scaled.descent()).ceil();
        let margin = margin(size);
        let lines: Vec<&str> = lines.lines().take(LINES_MAX).collect();
        let mut glyphs = Vec::new();
        let mut right = 0f32;
        for (row, line) in lines.iter().enumerate() {
            let mut pen = point(
                side_margin,
                margin + row as f32 * line_height + scaled.ascent(),
            );
            for character in line
                .chars()
                .filter(|c| !c.is_control())
                .take(LINE_CHARS_MAX)
            {
                let id = scaled.glyph_id(character);
                glyphs.push(id.with_scale_and_position(size, pen));
                pen.x += scaled.h_advance(id);
            }
            right = right.max(pen.x);
        }
        // More than the largest picture is never seen.
        let side_max = *SIDES.end() as usize;
        let width = ((right + side_margin).ceil() as usize).min(side_max);
        let height = (line_height * lines.len() as f32 + 2.0 * margin).ceil() as usize;
        let height = height.min(side_max);
        let mut coverage = Coverage::new(width.next_multiple_of(2), height.next_multiple_of(2));
        for outlined in glyphs
            .into_iter()
            .filter_map(|glyph| font.0.outline_glyph(glyph))
        {
            let bounds = outlined.px_bounds();
            outlined.draw(|x, y, share| {
                coverage.add(
                    bounds.min.x as i64 + i64::from(x),
                    bounds.min.y as i64 + i64::from(y),
                    share,
                )
            });
        }
        coverage.into_tile(ink)
    }
}

fn margin(size: f32) -> f32 {
    (size / 6.0).ceil()
}

/// How much of each pixel the text covers, of 1.
struct Coverage {
    width: usize,
    height: usize,
    shares: Vec<f32>,
}

impl Coverage {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            shares: vec![0.0; width * height],
        }
    }

    fn add(&mut self, x: i64, y: i64, share: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else {
            return;
        };
        if x < self.width && y < self.height {
            let total = &mut self.shares[y * self.width + x];
            *total = (*total + share).clamp(0.0, 1.0);
        }
    }

    fn into_tile(self, ink: Ink) -> Tile {
        Tile::new(self.width, self.height, |x, y| {
            // `share` of the text, then of what is left `box_opacity` of the box, then the picture.
            let share = self.shares[y * self.width + x];
            let hidden = ink.box_opacity * (1.0 - share);
            Cover {
                hides: share + hidden,
                luma: ink.luma * share + BOX_LUMA * hidden,
                blue: ink.blue * share + NEUTRAL * hidden,
                red: ink.red * share + NEUTRAL * hidden,
            }
        })
    }
}

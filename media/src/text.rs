//! Text on a picture, rasterised once and drawn often.

mod line;

use std::fs;
use std::path::Path;

use ab_glyph::{Font as _, FontVec, GlyphId, ScaleFont as _, point};
use harfrust::{FontRef, ShaperData};

use crate::MediaError;
use crate::picture::SIDES;
use crate::tile::{Cover, yuv};
use line::Glyph;

pub use crate::tile::Tile;

/// Where Debian's `fonts-dejavu-core` puts a monospaced font.
pub const DEFAULT_FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";

/// Longer lines are cut.
const LINE_CHARS_MAX: usize = 200;
/// More lines are cut.
const LINES_MAX: usize = 8;

/// A font file, or the first font of a collection.
pub struct Font {
    outlines: FontVec,
    shaping: ShaperData,
}

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
        let invalid = || MediaError::FontInvalid {
            path: path.to_owned(),
        };
        let outlines = FontVec::try_from_vec(bytes).map_err(|_| invalid())?;
        let font = FontRef::from_index(outlines.as_slice(), 0).map_err(|_| invalid())?;
        let shaping = ShaperData::new(&font);
        Ok(Self { outlines, shaping })
    }

    /// The first character that it has no glyph for.
    #[must_use]
    pub fn missing(&self, text: &str) -> Option<char> {
        text.lines().map(written).find_map(|line| {
            let (glyphs, _) = self.line(&line);
            // Glyph 0 is the box that stands for what is not there.
            let missing = glyphs.iter().filter(|glyph| glyph.id == 0);
            let at = missing.map(|glyph| glyph.at).min()?;
            let mut characters = line.get(at..)?.chars();
            // Of a letter and its marks one may be there.
            characters.find(|&character| self.outlines.glyph_id(character).0 == 0)
        })
    }

    /// The glyphs of a line from left to right, and how long it is, in units of the font.
    fn line(&self, text: &str) -> (Vec<Glyph>, f32) {
        match FontRef::from_index(self.outlines.as_slice(), 0) {
            Ok(font) => line::glyphs(&font, &self.shaping, text),
            // It could be read when it was loaded.
            Err(_) => (Vec::new(), 0.0),
        }
    }

    /// How wide a character is at size 1.
    pub(crate) fn advance(&self, character: char) -> f32 {
        let scaled = self.outlines.as_scaled(1.0);
        scaled.h_advance(scaled.glyph_id(character))
    }
}

/// Colours of a text and of the box behind it, and how much of the picture that hides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ink {
    text: [f32; 3],
    behind: [f32; 3],
    box_opacity: f32,
}

impl Default for Ink {
    /// White, over a black box that hides a little more than half.
    fn default() -> Self {
        Self::new([255; 3], [0; 3], 0.6)
    }
}

impl Ink {
    /// From red, green and blue of the text and of the box; `box_opacity` is from 0 to 1.
    #[must_use]
    pub fn new(text: [u8; 3], behind: [u8; 3], box_opacity: f32) -> Self {
        let [text, behind] =
            [text, behind].map(|colour| yuv(colour.map(|part| f32::from(part) / 255.0), 1.0));
        Self {
            text,
            behind,
            box_opacity: box_opacity.clamp(0.0, 1.0),
        }
    }
}

impl Tile {
    /// Lines of text of `size` pixels each, with a margin and a box around them.
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
        let scaled = font.outlines.as_scaled(size);
        let line_height = (scaled.ascent() - scaled.descent()).ceil();
        let margin = margin(size);
        let lines: Vec<&str> = lines.lines().take(LINES_MAX).collect();
        let mut glyphs = Vec::new();
        let mut right = 0f32;
        for (row, line) in lines.iter().enumerate() {
            let baseline = margin + row as f32 * line_height + scaled.ascent();
            let (line, length) = font.line(&written(line));
            for glyph in line {
                let x = side_margin + glyph.x * scaled.h_scale_factor();
                let y = baseline - glyph.y * scaled.v_scale_factor();
                glyphs.push(GlyphId(glyph.id).with_scale_and_position(size, point(x, y)));
            }
            right = right.max(side_margin + length * scaled.h_scale_factor());
        }
        // More than the largest picture is never seen.
        let side_max = *SIDES.end() as usize;
        let width = ((right + side_margin).ceil() as usize).min(side_max);
        let height = (line_height * lines.len() as f32 + 2.0 * margin).ceil() as usize;
        let height = height.min(side_max);
        let mut coverage = Coverage::new(width.next_multiple_of(2), height.next_multiple_of(2));
        for outlined in glyphs
            .into_iter()
            .filter_map(|glyph| font.outlines.outline_glyph(glyph))
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

/// What of a line is written.
fn written(line: &str) -> String {
    let characters = line.chars().filter(|character| !character.is_control());
    characters.take(LINE_CHARS_MAX).collect()
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
            let mixed = |part: usize| ink.text[part] * share + ink.behind[part] * hidden;
            Cover {
                hides: share + hidden,
                luma: mixed(0),
                blue: mixed(1),
                red: mixed(2),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Picture;

    const CJK: &str = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc";

    fn load(file: &str) -> Font {
        Font::load(Path::new(file)).unwrap_or_else(|error| {
            panic!("{error}; scripts/setup.sh --tests installs what is missing")
        })
    }

    #[test]
    fn what_a_font_lacks() {
        let (mono, cjk) = (load(DEFAULT_FONT), load(CJK));
        assert_eq!(mono.missing("Grüße\n2 €\tx"), None);
        assert_eq!(mono.missing("Shoes, 製品"), Some('製'));
        assert_eq!(cjk.missing("Shoes, 製品\n25 €"), None);
        assert_eq!(mono.missing(""), None);
    }

    #[test]
    fn chinese_is_drawn() {
        let tile = Tile::text(&load(CJK), "製品", 48.0, Ink::new([255; 3], [0; 3], 1.0));
        let mut picture = Picture::new(128, 64).unwrap();
        picture.plane_mut(0).data.fill(128);
        tile.draw(&mut picture, 0, 0);
        let plane = picture.plane(0);
        let bright = |from: usize, to: usize| {
            let rows = plane.data.chunks(plane.stride).take(plane.height);
            rows.flat_map(|row| &row[from..to])
                .filter(|luma| **luma > 200)
                .count()
        };
        let middle = tile.width() / 2;
        let (left, right) = (bright(0, middle), bright(middle, tile.width()));
        assert!(left > 100 && right > 100, "{left} {right}");
        // The first has more strokes.
        assert_ne!(left, right);
    }
}

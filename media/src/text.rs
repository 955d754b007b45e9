//! Text on a picture, rasterised once and drawn often.

use std::fs;
use std::path::Path;

use ab_glyph::{Font as _, FontVec, ScaleFont as _, point};

use crate::MediaError;
use crate::picture::{Picture, SIDES};

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
        let [r, g, b] = colour.map(|part| f32::from(part) / 255.0);
        // BT.601, limited range, as `Picture::to_rgb` the other way round.
        Self {
            luma: 16.0 + 65.481 * r + 128.553 * g + 24.966 * b,
            blue: NEUTRAL - 37.797 * r - 74.203 * g + 112.0 * b,
            red: NEUTRAL + 112.0 * r - 93.786 * g - 18.214 * b,
            box_opacity: box_opacity.clamp(0.0, 1.0),
        }
    }
}

/// Text with its half-transparent box, ready to be blended: each pixel becomes `pixel * keep + add`, in 1/256.
///
/// The work of rasterising is done once; drawing is a multiplication a pixel, which the compiler turns into vector
/// instructions. That matters in an emulated guest.
pub struct Tile {
    /// Even, so that it covers whole chroma pixels.
    width: usize,
    height: usize,
    luma: Blend,
    blue: Blend,
    red: Blend,
}

#[derive(Default)]
struct Blend {
    keep: Vec<u16>,
    add: Vec<u16>,
}

impl Blend {
    /// Sums stay below 2^16: `keep` and the weight inside `add` are shares of one 256, and no colour is above 240.
    fn push(&mut self, keep: f32, add: f32) {
        self.keep.push((keep * 256.0) as u16);
        self.add.push((add * 256.0) as u16);
    }
}

impl Tile {
    /// Lines of text of `size` pixels each, with a margin around them.
    #[must_use]
    pub fn new(font: &Font, lines: &str, size: f32, ink: Ink) -> Self {
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

    /// Width in pixels, even.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, even.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Blends it over the picture with its top left corner at (`x`, `y`), made even; what does not fit is cut off.
    pub fn draw(&self, picture: &mut Picture, x: usize, y: usize) {
        let (x, y) = (x / 2 * 2, y / 2 * 2);
        for index in 0..3 {
            let (blend, shrink) = match index {
                0 => (&self.luma, 1),
                1 => (&self.blue, 2),
                _ => (&self.red, 2),
            };
            let (x, y, tile_width) = (x / shrink, y / shrink, self.width / shrink);
            let plane = picture.plane_mut(index);
            let visible = tile_width.min(plane.width.saturating_sub(x));
            if visible == 0 {
                return;
            }
            let rows = plane
                .data
                .chunks_mut(plane.stride)
                .take(plane.height)
                .skip(y);
            let blends = blend
                .keep
                .chunks(tile_width)
                .zip(blend.add.chunks(tile_width));
            for (row, (keep, add)) in rows.zip(blends) {
                for ((pixel, keep), add) in row[x..x + visible].iter_mut().zip(keep).zip(add) {
                    *pixel = ((u16::from(*pixel) * keep + add) >> 8) as u8;
                }
            }
        }
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
        let [mut luma, mut blue, mut red] = [(); 3].map(|()| Blend::default());
        // `share` of the text, then of what is left `box_opacity` of the box, then the picture.
        let push = |blend: &mut Blend, share: f32, text: f32, behind: f32| {
            let hidden = ink.box_opacity * (1.0 - share);
            blend.push(1.0 - share - hidden, text * share + behind * hidden);
        };
        for &share in &self.shares {
            push(&mut luma, share, ink.luma, BOX_LUMA);
        }
        for (y, x) in (0..self.height / 2).flat_map(|y| (0..self.width / 2).map(move |x| (y, x))) {
            let at = 2 * y * self.width + 2 * x;
            let share = [0, 1, self.width, self.width + 1]
                .iter()
                .map(|offset| self.shares[at + offset])
                .sum::<f32>()
                / 4.0;
            push(&mut blue, share, ink.blue, NEUTRAL);
            push(&mut red, share, ink.red, NEUTRAL);
        }
        Tile {
            width: self.width,
            height: self.height,
            luma,
            blue,
            red,
        }
    }
}

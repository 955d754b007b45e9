//! What is blended over a picture, worked out once and drawn often.

use crate::picture::Picture;

/// How much of a pixel of the picture is hidden, of 1, and what is put there: a colour of luma and chroma (BT.601, limited
/// range) times that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cover {
    pub(crate) hides: f32,
    pub(crate) luma: f32,
    pub(crate) blue: f32,
    pub(crate) red: f32,
}

/// A rectangle ready to be blended: each pixel becomes `pixel * keep + add`, in 1/256.
///
/// All that can be is done beforehand; drawing is a multiplication a pixel, which the compiler turns into vector instructions.
/// That matters in an emulated guest.
#[derive(Debug, PartialEq, Eq)]
pub struct Tile {
    /// Even, so that it covers whole chroma pixels.
    width: usize,
    height: usize,
    luma: Blend,
    blue: Blend,
    red: Blend,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Blend {
    keep: Vec<u16>,
    add: Vec<u16>,
}

impl Blend {
    /// Sums stay below 2^16: `keep` and the weight inside `add` are shares of one 256, and no colour is above 240.
    fn push(&mut self, hides: f32, add: f32) {
        self.keep.push(((1.0 - hides) * 256.0) as u16);
        self.add.push((add * 256.0) as u16);
    }
}

impl Tile {
    /// From what covers each pixel of `width` times `height`, at (x, y). An odd side is filled up with a row that hides nothing.
    pub(crate) fn new(width: usize, height: usize, cover: impl Fn(usize, usize) -> Cover) -> Self {
        let inside = |x, y| {
            if x < width && y < height {
                cover(x, y)
            } else {
                Cover::default()
            }
        };
        let mut tile = Self {
            width: width.next_multiple_of(2),
            height: height.next_multiple_of(2),
            luma: Blend::default(),
            blue: Blend::default(),
            red: Blend::default(),
        };
        for (y, x) in (0..tile.height).flat_map(|y| (0..tile.width).map(move |x| (y, x))) {
            let cover = inside(x, y);
            tile.luma.push(cover.hides, cover.luma);
        }
        for (y, x) in (0..tile.height / 2).flat_map(|y| (0..tile.width / 2).map(move |x| (y, x))) {
            let four =
                [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| inside(2 * x + dx, 2 * y + dy));
            let mean = |part: fn(&Cover) -> f32| four.iter().map(part).sum::<f32>() / 4.0;
            let hides = mean(|cover| cover.hides);
            tile.blue.push(hides, mean(|cover| cover.blue));
            tile.red.push(hides, mean(|cover| cover.red));
        }
        tile
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

/// Luma, blue and red chroma of a colour of red, green and blue from 0 to 1 (BT.601, limited range); of one that was
/// multiplied by a share, with that share, likewise multiplied.
pub(crate) fn yuv([r, g, b]: [f32; 3], share: f32) -> [f32; 3] {
    [
        16.0 * share + 65.481 * r + 128.553 * g + 24.966 * b,
        128.0 * share - 37.797 * r - 74.203 * g + 112.0 * b,
        128.0 * share + 112.0 * r - 93.786 * g - 18.214 * b,
    ]
}

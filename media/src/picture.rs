//! A picture in memory.

use ffmpeg_the_third::format::Pixel;
use ffmpeg_the_third::{color, frame};
use wire::code_strip::{NEUTRAL, PictureTooSmall, Place, Plane, PlaneMut, Strip};

use crate::MediaError;

/// Smallest and largest side, in pixels. The code strips need the lower one, memory the upper.
pub const SIDES: std::ops::RangeInclusive<u32> = 48..=2048;

/// A picture of luma and, at half its width and height, two planes of chroma (YUV 4:2:0, 8 bits; limited range, unless a
/// stream said otherwise). It is the codec library's own frame, so that decoder and encoder work on it without another copy.
pub struct Picture(pub(crate) frame::Video);

impl Picture {
    /// A picture with undefined contents.
    ///
    /// # Errors
    /// A side is odd or out of [`SIDES`].
    pub fn new(width: u32, height: u32) -> Result<Self, MediaError> {
        for (setting, side) in [("width", width), ("height", height)] {
            if !SIDES.contains(&side) || !side.is_multiple_of(2) {
                let expected = format!("an even number from {} to {}", SIDES.start(), SIDES.end());
                return Err(MediaError::Setting {
                    setting,
                    expected,
                    given: side.to_string(),
                });
            }
        }
        Ok(Self(frame::Video::new(Pixel::YUV420P, width, height)))
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.0.width() as usize
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.0.height() as usize
    }

    /// Plane 0 is luma, 1 and 2 are blue and red chroma.
    #[must_use]
    pub fn plane(&self, index: usize) -> Plane<'_> {
        Plane {
            data: self.0.data(index),
            stride: self.0.stride(index),
            width: self.0.plane_width(index) as usize,
            height: self.0.plane_height(index) as usize,
        }
    }

    /// The same to draw on.
    pub fn plane_mut(&mut self, index: usize) -> PlaneMut<'_> {
        PlaneMut {
            stride: self.0.stride(index),
            width: self.0.plane_width(index) as usize,
            height: self.0.plane_height(index) as usize,
            data: self.0.data_mut(index),
        }
    }

    /// A copy, in the memory of `spare` if that has the same size.
    ///
    /// # Errors
    /// A side is odd or out of [`SIDES`].
    pub fn copy(&self, spare: Option<Self>) -> Result<Self, MediaError> {
        let is_same =
            |spare: &Self| (spare.width(), spare.height()) == (self.width(), self.height());
        let mut copy = match spare.filter(is_same) {
            Some(spare) => spare,
            None => Self::new(self.width() as u32, self.height() as u32)?,
        };
        copy.copy_from(self);
        Ok(copy)
    }

    /// Copies a picture of the same size; of another size, the part that fits.
    pub fn copy_from(&mut self, other: &Self) {
        let range = if other.is_full_range() {
            color::Range::JPEG
        } else {
            color::Range::MPEG
        };
        self.0.set_color_range(range);
        for index in 0..3 {
            let (from, to) = (other.plane(index), self.plane_mut(index));
            let width = from.width.min(to.width);
            for (from, to) in from
                .data
                .chunks(from.stride)
                .zip(to.data.chunks_mut(to.stride))
            {
                to[..width].copy_from_slice(&from[..width]);
            }
        }
    }

    /// Draws a code strip in its place.
    ///
    /// # Errors
    /// The picture is too small for it.
    pub fn draw_strip(&mut self, strip: &Strip) -> Result<(), PictureTooSmall> {
        strip.draw(&mut self.plane_mut(0))?;
        let covered = strip
            .kind
            .place()
            .rows(self.width(), self.height())
            .unwrap_or_default();
        for index in 1..3 {
            let chroma = self.plane_mut(index);
            let rows = chroma.data.chunks_mut(chroma.stride);
            rows.skip(covered.start / 2)
                .take(covered.len().div_ceil(2))
                .for_each(|row| row.fill(NEUTRAL));
        }
        Ok(())
    }

    /// Reads the code strip at `place`.
    #[must_use]
    pub fn read_strip(&self, place: Place) -> Option<Strip> {
        Strip::read(place, self.plane(0))
    }

    /// Bytes of a raw picture of this size: luma, blue, red, without gaps.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.width() * self.height() * 3 / 2
    }

    /// Replaces `raw` by the raw picture.
    pub fn to_raw(&self, raw: &mut Vec<u8>) {
        raw.clear();
        for index in 0..3 {
            let plane = self.plane(index);
            plane
                .data
                .chunks(plane.stride)
                .for_each(|row| raw.extend_from_slice(&row[..plane.width]));
        }
    }

    /// Takes over a raw picture of this size; of a shorter one, the rows that are there.
    pub fn from_raw(&mut self, mut raw: &[u8]) {
        for index in 0..3 {
            let plane = self.plane_mut(index);
            for row in plane.data.chunks_mut(plane.stride) {
                let Some((now, later)) = raw.split_at_checked(plane.width) else {
                    return;
                };
                row[..plane.width].copy_from_slice(now);
                raw = later;
            }
        }
    }

    /// Whether luma and chroma take all of 0 to 255, as JPEG's do, instead of television's 16 to 235 and 240.
    fn is_full_range(&self) -> bool {
        self.0.format() == Pixel::YUVJ420P || self.0.color_range() == color::Range::JPEG
    }

    /// Red, green and blue of each pixel, rows from the top.
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(self.width() * self.height() * 3);
        self.each_rgb(|pixel| rgb.extend(pixel));
        rgb
    }

    /// Gives red, green and blue of each pixel to `take`, rows from the top. Chroma becomes colour as in BT.601: what a stream
    /// says of its matrix is not looked at, since FFmpeg passes on whatever number stands there.
    pub fn each_rgb(&self, mut take: impl FnMut([u8; 3])) {
        let (black, scale, chroma_scale) = if self.is_full_range() {
            (0.0, 1.0, 1.0)
        } else {
            (16.0, 255.0 / 219.0, 255.0 / 224.0)
        };
        let planes = [self.plane(0), self.plane(1), self.plane(2)];
        let row = |index: usize, y: usize| {
            let plane = planes[index];
            &plane.data[y * plane.stride..][..plane.width]
        };
        for y in 0..self.height() {
            let chroma = row(1, y / 2).iter().zip(row(2, y / 2));
            for (pair, (&blue, &red)) in row(0, y).chunks(2).zip(chroma) {
                let [blue, red] = [blue, red].map(|c| chroma_scale * (f32::from(c) - 128.0));
                let [red, green, blue] = [1.402 * red, -0.714 * red - 0.344 * blue, 1.772 * blue];
                for &luma in pair {
                    let luma = scale * (f32::from(luma) - black) + 0.5;
                    // A cast to u8 saturates.
                    take([red, green, blue].map(|more| (luma + more) as u8));
                }
            }
        }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width(), self.height())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one colour, luma and both chroma, in red, green and blue.
    fn rgb(yuv: [u8; 3], range: color::Range) -> [u8; 3] {
        let mut picture = Picture::new(48, 48).unwrap();
        picture.0.set_color_range(range);
        for (index, value) in yuv.into_iter().enumerate() {
            picture.plane_mut(index).data.fill(value);
        }
        let copy = picture.copy(None).unwrap();
        let all = copy.to_rgb();
        assert_eq!(all.len(), 48 * 48 * 3);
        assert!(all.chunks(3).all(|pixel| *pixel == all[..3]));
        [all[0], all[1], all[2]]
    }

    #[test]
    fn colours_of_both_ranges() {
        // ITU-R BT.601-7, 2.5.1 and 2.5.3: black, white, and the 100 % red of 8 bits.
        for range in [color::Range::Unspecified, color::Range::MPEG] {
            assert_eq!(rgb([16, 128, 128], range), [0; 3]);
            assert_eq!(rgb([235, 128, 128], range), [255; 3]);
            let [red, green, blue] = rgb([81, 90, 240], range);
            assert!(
                red >= 253 && green <= 2 && blue <= 2,
                "{red} {green} {blue}"
            );
        }
        assert_eq!(rgb([16, 128, 128], color::Range::JPEG), [16; 3]);
        assert_eq!(rgb([255, 128, 128], color::Range::JPEG), [255; 3]);
    }
}

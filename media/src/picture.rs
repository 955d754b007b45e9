//! A picture in memory.

use ffmpeg_the_third::format::Pixel;
use ffmpeg_the_third::frame;
use wire::code_strip::{NEUTRAL, PictureTooSmall, Place, Plane, PlaneMut, Strip};

use crate::MediaError;

/// Smallest and largest side, in pixels. The code strips need the lower one, memory the upper.
pub const SIDES: std::ops::RangeInclusive<u32> = 48..=2048;

/// A picture of luma and, at half its width and height, two planes of chroma (YUV 4:2:0, 8 bits, limited range). It is the
/// codec library's own frame, so that decoder and encoder work on it without another copy.
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

    /// Copies a picture of the same size; of another size, the part that fits.
    pub fn copy_from(&mut self, other: &Self) {
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

    /// Red, green and blue of each pixel (BT.601), rows from the top.
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let [luma, blue, red] = [self.plane(0), self.plane(1), self.plane(2)];
        let mut rgb = Vec::with_capacity(self.width() * self.height() * 3);
        for y in 0..self.height() {
            for x in 0..self.width() {
                let l = 1.164 * (f32::from(luma.data[y * luma.stride + x]) - 16.0);
                let b = f32::from(blue.data[y / 2 * blue.stride + x / 2]) - 128.0;
                let r = f32::from(red.data[y / 2 * red.stride + x / 2]) - 128.0;
                // A cast to u8 saturates.
                rgb.extend(
                    [l + 1.596 * r, l - 0.813 * r - 0.392 * b, l + 2.017 * b]
                        .map(|value| value as u8),
                );
            }
        }
        rgb
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width(), self.height())
    }
}

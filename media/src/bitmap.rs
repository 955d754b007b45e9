//! An image with transparent parts, out of a PNG file.

use std::io::Cursor;

use png::{Decoder, DecodingError, Limits, Transformations};

use crate::tile::{Cover, Tile, yuv};

/// Largest image that is unpacked: four bytes a pixel make 16 MiB.
pub const PIXELS_MAX: u64 = 4 << 20;
/// Longest side of it, so that a row is short.
pub const SIDE_MAX: u32 = 8192;
/// What unpacking takes beside the pixels.
const DECODER_BYTES_MAX: usize = 8 << 20;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BitmapError {
    /// It is none, or it is damaged.
    #[error("it is not a PNG image that can be read")]
    Unreadable(#[source] DecodingError),
    /// Its head announces more than is unpacked. A file of a few bytes can announce gigabytes.
    #[error(
        "it has {width}x{height} pixels; {PIXELS_MAX} are allowed, and {SIDE_MAX} a side: make it smaller"
    )]
    TooLarge {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
}

/// Pixels as they are in the file: red, green, blue, and how much they hide of what is behind them.
pub struct Bitmap {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 4]>,
}

impl Bitmap {
    /// Unpacks a PNG of any kind; of an animated one, the first picture.
    ///
    /// # Errors
    /// It is none, or too large; nothing was unpacked then.
    pub fn from_png(bytes: &[u8]) -> Result<Self, BitmapError> {
        let bytes_max = DECODER_BYTES_MAX;
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: bytes_max });
        decoder.set_transformations(Transformations::normalize_to_color8());
        // Both may be packed, and are not looked at.
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        let header = decoder
            .read_header_info()
            .map_err(BitmapError::Unreadable)?;
        let (width, height) = (header.width, header.height);
        let is_long = width > SIDE_MAX || height > SIDE_MAX;
        if is_long || u64::from(width) * u64::from(height) > PIXELS_MAX {
            return Err(BitmapError::TooLarge { width, height });
        }
        let mut reader = decoder.read_info().map_err(BitmapError::Unreadable)?;
        let samples = reader.output_color_type().0.samples();
        let mut packed = vec![0; width as usize * height as usize * samples];
        let frame = reader.next_frame(&mut packed);
        let frame = frame.map_err(BitmapError::Unreadable)?;
        packed.truncate(frame.buffer_size());
        let pixel = |samples: &[u8]| match *samples {
            [grey] => [grey, grey, grey, 255],
            [grey, hides] => [grey, grey, grey, hides],
            [red, green, blue] => [red, green, blue, 255],
            [red, green, blue, hides, ..] => [red, green, blue, hides],
            [] => [0; 4],
        };
        Ok(Self {
            width: frame.width as usize,
            height: frame.height as usize,
            pixels: packed.chunks_exact(samples).map(pixel).collect(),
        })
    }

    /// Pixels in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Brought to this size and ready to be drawn. A smaller one is averaged.
    #[must_use]
    pub fn tile(&self, width: usize, height: usize) -> Tile {
        let pixels = self.scaled(width, height);
        Tile::new(width, height, |x, y| {
            let [red, green, blue, hides] = pixels[y * width + x];
            let [luma, blue, red] = yuv([red, green, blue], hides);
            Cover {
                hides,
                luma,
                blue,
                red,
            }
        })
    }

    /// Pixels from 0 to 1, the colours times how much they hide: what is transparent has no colour that could run into others.
    fn scaled(&self, width: usize, height: usize) -> Vec<[f32; 4]> {
        let columns = shares(self.width, width);
        let row = |y: usize| -> Vec<[f32; 4]> {
            let pixels = &self.pixels[y * self.width..][..self.width];
            let mean = |(first, shares): &(usize, Vec<f32>)| {
                let covered = pixels[*first..].iter().zip(shares);
                covered.fold([0.0; 4], |mut sum, (pixel, share)| {
                    add(&mut sum, premultiplied(*pixel), *share);
                    sum
                })
            };
            columns.iter().map(mean).collect()
        };
        let mut scaled = Vec::with_capacity(width * height);
        // Two rows in turn may share one: it is not made twice.
        let (mut last, mut last_at) = (Vec::new(), None);
        for (first, shares) in shares(self.height, height) {
            let mut sums = vec![[0.0; 4]; width];
            for (y, share) in (first..).zip(shares) {
                if last_at != Some(y) {
                    (last, last_at) = (row(y), Some(y));
                }
                for (sum, pixel) in sums.iter_mut().zip(&last) {
                    add(sum, *pixel, share);
                }
            }
            scaled.append(&mut sums);
        }
        scaled
    }
}

fn premultiplied(pixel: [u8; 4]) -> [f32; 4] {
    let [red, green, blue, hides] = pixel.map(|part| f32::from(part) / 255.0);
    [red * hides, green * hides, blue * hides, hides]
}

fn add(sum: &mut [f32; 4], pixel: [f32; 4], share: f32) {
    for (sum, part) in sum.iter_mut().zip(pixel) {
        *sum += part * share;
    }
}

/// For each of `to` pixels in a row the first of `from` pixels that it covers, and the shares of that and the next ones in it.
fn shares(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    // In parts of a pixel, `to` of which make one of `from`, and `from` one of `to`.
    let covered = |at: usize| {
        let (begin, end) = (at * from, (at + 1) * from);
        let share = |pixel: usize| {
            let both = end.min((pixel + 1) * to) - begin.max(pixel * to);
            both as f32 / from as f32
        };
        let (first, behind) = (begin / to, end.div_ceil(to));
        (first, (first..behind).map(share).collect())
    };
    (0..to).map(covered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Picture;

    fn png(width: u32, height: u32, colour: png::ColorType, bytes: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(bytes)
            .unwrap();
        file
    }

    /// A grey picture with the tile at (2, 2): luma of its rows, and blue chroma.
    fn drawn(tile: &Tile) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut picture = Picture::new(48, 48).unwrap();
        for index in 0..3 {
            picture.plane_mut(index).data.fill(100);
        }
        tile.draw(&mut picture, 2, 2);
        let rows = |index: usize| {
            let plane = picture.plane(index);
            let rows = plane.data.chunks(plane.stride).take(6);
            rows.map(|row| row[..6].to_vec()).collect()
        };
        (rows(0), rows(1))
    }

    #[test]
    fn alpha_lets_the_picture_through() {
        // White: whole, half, not at all, and black.
        let bytes = [
            [255, 255, 255, 255],
            [255, 255, 255, 128],
            [255, 255, 255, 0],
            [0, 0, 0, 255],
        ];
        let file = png(4, 1, png::ColorType::Rgba, bytes.as_flattened());
        let (luma, blue) = drawn(&Bitmap::from_png(&file).unwrap().tile(4, 1));
        let near = |is: u8, should: u8| assert!(is.abs_diff(should) <= 1, "{luma:?}");
        near(luma[2][2], 235);
        near(luma[2][3], 167);
        near(luma[2][4], 100);
        near(luma[2][5], 16);
        // Nothing above, left, or in the row that makes the height even.
        assert_eq!((luma[1][2], luma[2][1], luma[3][2]), (100, 100, 100));
        // A chroma pixel is four: one whole, one half, two not there.
        assert!(blue[1][1].abs_diff(110) <= 1, "{blue:?}");
    }

    #[test]
    fn every_kind_of_pixel() {
        use png::ColorType::{Grayscale, GrayscaleAlpha, Rgb, Rgba};
        for (colour, pixel) in [
            (Grayscale, &[255][..]),
            (GrayscaleAlpha, &[255, 255]),
            (Rgb, &[255, 255, 255]),
            (Rgba, &[255, 255, 255, 255]),
        ] {
            let bitmap = Bitmap::from_png(&png(2, 2, colour, &pixel.repeat(4))).unwrap();
            assert_eq!(bitmap.pixels, [[255; 4]; 4], "{colour:?}");
        }
    }

    #[test]
    fn a_smaller_one_is_averaged_and_a_larger_one_repeated() {
        let line = [0, 0, 255, 255, 255, 255].map(|grey| [grey, grey, grey, 255]);
        let file = png(6, 1, png::ColorType::Rgba, line.as_flattened());
        let bitmap = Bitmap::from_png(&file).unwrap();
        let red = |width, height| -> Vec<f32> {
            bitmap
                .scaled(width, height)
                .iter()
                .map(|pixel| pixel[0])
                .collect()
        };
        assert_eq!(red(3, 1), [0.0, 1.0, 1.0]);
        assert_eq!(red(2, 1), [1.0 / 3.0, 1.0]);
        assert_eq!(red(6, 2), [[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]; 2].concat());
        // Shares make a whole, whatever the sizes.
        for (from, to) in [(7, 3), (3, 7), (1, 2048), (8192, 1), (5, 5)] {
            for (first, shares) in shares(from, to) {
                let sum: f32 = shares.iter().sum();
                assert!((sum - 1.0).abs() < 1e-3 && first + shares.len() <= from);
            }
        }
    }

    /// The colour of what is transparent does not run into what is beside it.
    #[test]
    fn no_fringe() {
        let pixels = [[255, 255, 255, 255], [0, 0, 0, 0]];
        let file = png(2, 1, png::ColorType::Rgba, pixels.as_flattened());
        let scaled = Bitmap::from_png(&file).unwrap().scaled(1, 1);
        assert_eq!(scaled, [[0.5; 4]]);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut file = png(1, 1, png::ColorType::Rgba, &[0; 4]);
        // Width and height in the head, and the check sum of it.
        file[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
        let crc = file[12..29].iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
            })
        });
        file[29..33].copy_from_slice(&(!crc).to_be_bytes());
        let error = Bitmap::from_png(&file).err().unwrap();
        let is_large = matches!(
            error,
            BitmapError::TooLarge {
                width: 8192,
                height: 8192
            }
        );
        assert!(is_large, "{error:?}");
    }

    #[test]
    fn what_is_no_png() {
        let file = png(4, 4, png::ColorType::Rgba, &[7; 64]);
        for bytes in [&b""[..], b"GIF89a", b"\xff\xd8\xff\xe0 JFIF", &file[..40]] {
            let error = Bitmap::from_png(bytes).err().unwrap();
            assert!(matches!(error, BitmapError::Unreadable(_)), "{error:?}");
        }
    }
}

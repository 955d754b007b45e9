//! An image over the picture: which file, where, how large.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::label::LabelError;
use crate::bitmap::{Bitmap, BitmapError};
use crate::picture::SIDES;
use crate::tile::Tile;

/// Larger files are refused.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A PNG file over the picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The file, where the overlay runs.
    pub file: String,
    /// Pixels from the left of the picture.
    #[serde(default)]
    pub x: u32,
    /// Pixels from the top of the picture.
    #[serde(default)]
    pub y: u32,
    /// Pixels that it is brought to; without it the image's own, or what fits the height.
    pub width: Option<u32>,
    /// Pixels that it is brought to; without it the image's own, or what fits the width.
    pub height: Option<u32>,
}

/// Why an image cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Its file is not there, or may not be read.
    #[error("cannot read the image {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, a pipe, a device.
    #[error("{0} is not a file")]
    NotAFile(String),
    /// More bytes than are read.
    #[error("the image {file} has {bytes} bytes; {FILE_BYTES_MAX} are allowed")]
    Bytes {
        /// The file.
        file: String,
        /// Its length.
        bytes: u64,
    },
    /// It is no image, or too large a one.
    #[error("cannot show the image {file}")]
    Content {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: BitmapError,
    },
    /// Larger than any picture, and not told to be smaller.
    #[error("the image {file} would be {width}x{height}; give it a width and a height up to {}", SIDES.end())]
    Size {
        /// The file.
        file: String,
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
    },
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an image is written like FILE@X,Y or FILE@X,Y,WIDTHxHEIGHT, in pixels")]
pub struct ImageSpelling;

impl FromStr for Image {
    type Err = ImageSpelling;

    fn from_str(text: &str) -> Result<Self, ImageSpelling> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| ImageSpelling);
        let (file, place) = text.rsplit_once('@').ok_or(ImageSpelling)?;
        let mut parts = place.split(',');
        let (Some(x), Some(y), size, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ImageSpelling);
        };
        let size = size.map(|size| size.split_once('x').ok_or(ImageSpelling));
        let (width, height) = size.transpose()?.unzip();
        if file.is_empty() {
            return Err(ImageSpelling);
        }
        Ok(Self {
            file: file.to_owned(),
            x: number(x)?,
            y: number(y)?,
            width: width.map(number).transpose()?,
            height: height.map(number).transpose()?,
        })
    }
}

impl Image {
    /// Whether its numbers are in range; the file is not looked at.
    pub(super) fn check(&self) -> Result<(), LabelError> {
        let is_side = |side: u32| (1..=*SIDES.end()).contains(&side);
        if !self.width.is_none_or(is_side) || !self.height.is_none_or(is_side) {
            return Err(LabelError::ImageSize);
        }
        Ok(())
    }

    /// Reads, unpacks and scales it.
    pub(super) fn load(&self) -> Result<Tile, ImageError> {
        let file = self.file.clone();
        let bitmap = match Bitmap::from_png(&self.read()?) {
            Ok(bitmap) => bitmap,
            Err(source) => return Err(ImageError::Content { file, source }),
        };
        let (width, height) = self.size_of(&bitmap);
        if width.max(height) > *SIDES.end() as usize {
            return Err(ImageError::Size {
                file,
                width,
                height,
            });
        }
        Ok(bitmap.tile(width, height))
    }

    fn read(&self) -> Result<Vec<u8>, ImageError> {
        let failed = |source| ImageError::Read {
            file: self.file.clone(),
            source,
        };
        // Nobody may write to a pipe of that name: opening it must not wait.
        let flags = nix::libc::O_NONBLOCK;
        let mut options = File::options();
        let options = options.read(true).custom_flags(flags);
        let file = options.open(&self.file).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(ImageError::NotAFile(self.file.clone()));
        }
        if about.len() > FILE_BYTES_MAX {
            return Err(ImageError::Bytes {
                file: self.file.clone(),
                bytes: about.len(),
            });
        }
        let mut bytes = Vec::new();
        // It may grow meanwhile.
        let mut file = file.take(FILE_BYTES_MAX);
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Pixels that it is brought to. One side alone keeps the shape.
    fn size_of(&self, bitmap: &Bitmap) -> (usize, usize) {
        let (width, height) = (bitmap.width(), bitmap.height());
        let fitting = |side: usize, to: usize, of: usize| (side * to).div_ceil(of).max(1);
        match (self.width, self.height) {
            (Some(wide), Some(high)) => (wide as usize, high as usize),
            (Some(wide), None) => (wide as usize, fitting(height, wide as usize, width)),
            (None, Some(high)) => (fitting(width, high as usize, height), high as usize),
            (None, None) => (width, height),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn image(file: &str, width: Option<u32>, height: Option<u32>) -> Image {
        Image {
            file: file.to_owned(),
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    #[test]
    fn spelling() {
        let whole: Image = "a@b/shoe.png@20,40,120x90".parse().unwrap();
        assert_eq!(
            (whole.file.as_str(), whole.x, whole.y),
            ("a@b/shoe.png", 20, 40)
        );
        assert_eq!((whole.width, whole.height), (Some(120), Some(90)));
        let plain: Image = "shoe.png@0,7".parse().unwrap();
        assert_eq!(plain.width.or(plain.height), None);
        for wrong in [
            "shoe.png",
            "@1,2",
            "a@1",
            "a@1,2,3",
            "a@1,2,3x",
            "a@-1,2",
            "a@1,2,3x4,5",
            "a@1,b",
        ] {
            assert_eq!(wrong.parse::<Image>(), Err(ImageSpelling), "{wrong}");
        }
    }

    /// A file of this size, unpacked as asked for.
    fn loaded(
        size: (u32, u32),
        width: Option<u32>,
        height: Option<u32>,
    ) -> Result<Tile, ImageError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), size.0, size.1);
        encoder.set_color(png::ColorType::Grayscale);
        let pixels = vec![255; (size.0 * size.1) as usize];
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&pixels)
            .unwrap();
        image(path.to_str().unwrap(), width, height).load()
    }

    #[test]
    fn one_side_keeps_the_shape() {
        let size = |width, height| {
            let tile = loaded((100, 50), width, height).unwrap();
            (tile.width(), tile.height())
        };
        assert_eq!(size(None, None), (100, 50));
        assert_eq!(size(Some(40), None), (40, 20));
        assert_eq!(size(None, Some(100)), (200, 100));
        assert_eq!(size(Some(10), Some(30)), (10, 30));
    }

    #[test]
    fn larger_than_any_picture() {
        let error = loaded((3000, 10), None, None).unwrap_err();
        assert!(
            matches!(error, ImageError::Size { width: 3000, .. }),
            "{error}"
        );
        assert!(loaded((3000, 10), Some(300), None).is_ok());
        let error = loaded((2, 3000), Some(40), None).unwrap_err();
        assert!(
            matches!(error, ImageError::Size { height: 60_000, .. }),
            "{error}"
        );
    }

    #[test]
    fn not_there() {
        let error = image("/no/such/shoe.png", None, None).load().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cannot read the image /no/such/shoe.png")
        );
    }

    #[test]
    fn not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [folder.path(), &pipe] {
            let error = image(path.to_str().unwrap(), None, None)
                .load()
                .unwrap_err();
            assert!(matches!(error, ImageError::NotAFile(_)), "{error}");
        }
    }

    #[test]
    fn too_many_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.png");
        File::create(&path)
            .unwrap()
            .set_len(FILE_BYTES_MAX + 1)
            .unwrap();
        let error = image(path.to_str().unwrap(), None, None)
            .load()
            .unwrap_err();
        assert!(matches!(error, ImageError::Bytes { .. }), "{error}");
    }

    #[test]
    fn no_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shoe.png");
        fs::write(&path, "shoe").unwrap();
        let error = image(path.to_str().unwrap(), None, None)
            .load()
            .unwrap_err();
        assert!(matches!(error, ImageError::Content { .. }), "{error}");
    }
}

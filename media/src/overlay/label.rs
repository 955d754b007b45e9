//! What is written and laid over the picture, and how it may change while it runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::image::Image;
use crate::text::{Font, Ink};

/// Longer texts are refused; the picture has no room for them.
const TEXT_CHARS_MAX: usize = 1000;
/// Furthest corner: the largest picture.
const PLACE_MAX: u32 = 2048;
/// Images at once: a product, and whatever belongs to it.
pub const IMAGES_MAX: usize = 4;
const SIZE: std::ops::RangeInclusive<f32> = 6.0..=200.0;
/// Text height, of the picture's height, and its lower limit in pixels, when no size is given.
const SIZE_SHARE: f32 = 1.0 / 16.0;
const SIZE_MIN: f32 = 9.0;

/// What is over the picture, where and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// Lines of text.
    pub text: String,
    /// Pixels from the left of the picture.
    pub x: u32,
    /// Pixels from the top of the picture.
    pub y: u32,
    /// Height of a line in pixels; without it a sixteenth of the picture.
    pub size: Option<f32>,
    /// Colour of the text.
    pub colour: Colour,
    /// Colour of the box behind the text.
    pub box_colour: Colour,
    /// How much of the picture the box hides, 0 to 1.
    pub box_opacity: f32,
    /// Below the text, the first one lowest.
    pub images: Vec<Image>,
}

/// A colour, written `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

/// What of a [`Label`] changes; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    text: Option<String>,
    x: Option<u32>,
    y: Option<u32>,
    size: Option<f32>,
    colour: Option<Colour>,
    box_colour: Option<Colour>,
    box_opacity: Option<f32>,
    /// All of them: an image that is not in the list goes.
    images: Option<Vec<Image>>,
}

/// Why a label is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Too much text.
    #[error("text must have {TEXT_CHARS_MAX} characters or fewer, not {0}")]
    Length(usize),
    /// A character that would come out as an empty box.
    #[error("the font has no '{0}'; name another with --font")]
    Glyph(char),
    /// Outside of any picture.
    #[error("x and y must be from 0 to {PLACE_MAX}")]
    Place,
    /// Unreadable, or larger than a picture.
    #[error("size must be from 6 to 200 pixels")]
    Size,
    /// Not a share.
    #[error("box_opacity must be from 0 to 1")]
    Opacity,
    /// Too many images.
    #[error("there may be {IMAGES_MAX} images, not {0}")]
    Images(usize),
    /// None, or larger than a picture.
    #[error("width and height of an image must be from 1 to {PLACE_MAX}")]
    ImageSize,
}

impl Default for Label {
    fn default() -> Self {
        Self {
            text: "Forestall".to_owned(),
            x: 4,
            y: 4,
            size: None,
            colour: Colour {
                red: 255,
                green: 255,
                blue: 255,
            },
            box_colour: Colour {
                red: 0,
                green: 0,
                blue: 0,
            },
            box_opacity: 0.6,
            images: Vec::new(),
        }
    }
}

impl Label {
    /// With `change`, if `font` can draw that.
    ///
    /// # Errors
    /// A value is out of range, or a character is missing in the font.
    pub fn with(&self, change: Change, font: &Font) -> Result<Self, LabelError> {
        let label = Self {
            text: change.text.unwrap_or_else(|| self.text.clone()),
            x: change.x.unwrap_or(self.x),
            y: change.y.unwrap_or(self.y),
            size: change.size.or(self.size),
            colour: change.colour.unwrap_or(self.colour),
            box_colour: change.box_colour.unwrap_or(self.box_colour),
            box_opacity: change.box_opacity.unwrap_or(self.box_opacity),
            images: change.images.unwrap_or_else(|| self.images.clone()),
        };
        label.check(font)?;
        Ok(label)
    }

    /// Whether it can be drawn.
    ///
    /// # Errors
    /// A value is out of range, or a character is missing in the font.
    pub fn check(&self, font: &Font) -> Result<(), LabelError> {
        let length = self.text.chars().count();
        if length > TEXT_CHARS_MAX {
            return Err(LabelError::Length(length));
        }
        if let Some(missing) = font.missing(&self.text) {
            return Err(LabelError::Glyph(missing));
        }
        let images = &self.images;
        if images.len() > IMAGES_MAX {
            return Err(LabelError::Images(images.len()));
        }
        let mut places = images.iter().map(|image| (image.x, image.y));
        if places.any(is_far) || is_far((self.x, self.y)) {
            return Err(LabelError::Place);
        }
        images.iter().try_for_each(Image::check)?;
        if self.size.is_some_and(|size| !SIZE.contains(&size)) {
            return Err(LabelError::Size);
        }
        if !(0.0..=1.0).contains(&self.box_opacity) {
            return Err(LabelError::Opacity);
        }
        Ok(())
    }

    /// Whether there is anything to write.
    pub(super) fn has_text(&self) -> bool {
        !self.text.trim().is_empty()
    }

    /// Height of a line in a picture of this height.
    pub(super) fn size_in(&self, picture_height: usize) -> f32 {
        self.size
            .unwrap_or((picture_height as f32 * SIZE_SHARE).max(SIZE_MIN))
    }

    pub(super) fn ink(&self) -> Ink {
        let [text, behind] =
            [self.colour, self.box_colour].map(|Colour { red, green, blue }| [red, green, blue]);
        Ink::new(text, behind, self.box_opacity)
    }
}

impl Change {
    /// Whether images are to be read.
    pub(super) fn has_images(&self) -> bool {
        self.images.is_some()
    }
}

fn is_far((x, y): (u32, u32)) -> bool {
    x > PLACE_MAX || y > PLACE_MAX
}

/// Why a text is no colour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a colour is written like #ff8800")]
pub struct ColourError;

impl TryFrom<String> for Colour {
    type Error = ColourError;

    fn try_from(text: String) -> Result<Self, ColourError> {
        text.parse()
    }
}

impl FromStr for Colour {
    type Err = ColourError;

    fn from_str(text: &str) -> Result<Self, ColourError> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] = number.ok_or(ColourError)?.to_be_bytes();
        Ok(Self { red, green, blue })
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        colour.to_string()
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::text::DEFAULT_FONT;

    fn change(json: &str) -> Result<Label, String> {
        let font = Font::load(Path::new(DEFAULT_FONT)).unwrap();
        let change = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Label::default()
            .with(change, &font)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_given_stays() {
        let label = change(r##"{"text": "Grüße\n2 €", "colour": "#FF8800"}"##).unwrap();
        assert_eq!(label.text, "Grüße\n2 €");
        assert_eq!(label.colour.to_string(), "#ff8800");
        assert_eq!(label.box_colour.to_string(), "#000000");
        assert_eq!((label.x, label.y, label.size), (4, 4, None));
        assert_eq!(change("{}").unwrap(), Label::default());
    }

    fn check(json: &str, expected: &str) {
        let error = change(json).unwrap_err();
        assert!(error.contains(expected), "{json}: {error}");
    }

    #[test]
    fn length() {
        let text = "x".repeat(TEXT_CHARS_MAX + 1);
        check(
            &format!(r#"{{"text": "{text}"}}"#),
            "1000 characters or fewer, not 1001",
        );
    }

    #[test]
    fn glyph() {
        check(r#"{"text": "製品"}"#, "the font has no '製'");
    }

    #[test]
    fn place() {
        check(r#"{"x": 2049}"#, "from 0 to 2048");
        check(r#"{"y": -1}"#, "invalid value");
    }

    #[test]
    fn images() {
        let label = change(r#"{"images": [{"file": "shoe.png", "x": 20, "height": 90}]}"#).unwrap();
        assert_eq!(label.images.len(), 1);
        assert_eq!((label.images[0].x, label.images[0].y), (20, 0));
        assert_eq!(label.images[0].height, Some(90));
        let one = r#"{"file": "a"}"#;
        let five = [one; 5].join(",");
        check(&format!(r#"{{"images": [{five}]}}"#), "4 images, not 5");
        check(
            r#"{"images": [{"file": "a", "y": 2049}]}"#,
            "from 0 to 2048",
        );
    }

    #[test]
    fn image_size() {
        let expected = "width and height of an image must be from 1 to 2048";
        check(r#"{"images": [{"file": "a", "width": 0}]}"#, expected);
        check(r#"{"images": [{"file": "a", "height": 2049}]}"#, expected);
    }

    #[test]
    fn size() {
        check(r#"{"size": 1e30}"#, "from 6 to 200");
        check(r#"{"size": 0}"#, "from 6 to 200");
    }

    #[test]
    fn opacity() {
        check(r#"{"box_opacity": 1.5}"#, "from 0 to 1");
    }

    #[test]
    fn nonsense() {
        check(r#"{"text": 7}"#, "expected a string");
        check(r#"{"txt": "a"}"#, "unknown field `txt`");
        check(r#"{"images": "a.png"}"#, "expected a sequence");
        check(r#"{"images": [{"x": 1}]}"#, "missing field `file`");
        check(
            r#"{"images": [{"file": "a", "w": 1}]}"#,
            "unknown field `w`",
        );
        check("text", "expected");
        check(r##"{"colour": "#ff880"}"##, "like #ff8800");
        check(r#"{"colour": "red"}"#, "like #ff8800");
        check(r##"{"box_colour": "#12345g"}"##, "like #ff8800");
    }
}

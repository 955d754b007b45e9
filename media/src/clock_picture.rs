//! The camera's picture: a moving scene, a clock that people (and text recognition) can read, and the code strip.

use std::collections::HashMap;

use record::Timestamp;
use wire::code_strip::Strip;

use crate::MediaError;
use crate::picture::Picture;
use crate::scene;
use crate::text::{Font, Tile};

const CLOCK_CHARACTERS: &str = "0123456789:.#";
/// `HH:MM:SS.mmm`.
const CLOCK_CHARS: u32 = 12;
/// Narrowest character that can be read, in pixels.
const CHARACTER_WIDTH_MIN: u32 = 6;
/// Where the clock stands, of the picture's height.
const CLOCK_TOP: f32 = 0.34;

/// Draws the pictures of one camera.
pub struct ClockPicture {
    picture: Picture,
    clock: HashMap<char, Tile>,
    number: HashMap<char, Tile>,
    /// The scene of the next picture is drawn.
    is_prepared: bool,
}

impl ClockPicture {
    /// A camera of this size.
    ///
    /// # Errors
    /// The size is odd or out of range.
    pub fn new(width: u32, height: u32, font: &Font) -> Result<Self, MediaError> {
        let picture = Picture::new(width, height)?;
        // Characters stand at even columns, with whole chroma pixels.
        let wide = (width * 19 / 20 / CLOCK_CHARS / 2 * 2).max(CHARACTER_WIDTH_MIN);
        let narrow = (wide / 2).next_multiple_of(2).max(CHARACTER_WIDTH_MIN);
        Ok(Self {
            picture,
            clock: characters(font, wide),
            number: characters(font, narrow),
            is_prepared: false,
        })
    }

    /// Draws what will be before the camera at `at`, if that is not done; whether it was to do. A real camera has its picture when it
    /// takes it: the time that this one needs for drawing is no part of the delay, so it is spent before.
    pub fn prepare(&mut self, at: Timestamp) -> bool {
        if self.is_prepared {
            return false;
        }
        // Repeats after an hour, so that the single-precision scene stays smooth.
        let seconds = (at.as_micros() % 3_600_000_000) as f32 / 1e6;
        scene::draw(&mut self.picture, seconds);
        self.is_prepared = true;
        true
    }

    /// Takes the picture numbered `frame` at `captured`.
    ///
    /// # Errors
    /// The picture is too small for the code strip.
    pub fn take(&mut self, captured: Timestamp, frame: u32) -> Result<&mut Picture, MediaError> {
        self.prepare(captured);
        self.is_prepared = false;
        let top = (self.picture.height() as f32 * CLOCK_TOP) as usize;
        let below = draw_line(&mut self.picture, &self.clock, &clock_text(captured), top);
        draw_line(
            &mut self.picture,
            &self.number,
            &format!("#{frame:06}"),
            below,
        );
        self.picture
            .draw_strip(&Strip::capture(captured.as_micros(), frame))
            .map_err(|e| MediaError::Setting {
                setting: "size",
                expected: "at least 48x48 pixels, and higher than a fifth of its width".to_owned(),
                given: format!("{}x{}", e.width, e.height),
            })?;
        Ok(&mut self.picture)
    }
}

/// Where the line of the clock stands in a picture of this height, whose characters are so high.
pub(crate) fn clock_rows(camera: &ClockPicture) -> std::ops::Range<usize> {
    let top = (camera.picture.height() as f32 * CLOCK_TOP) as usize;
    let height = camera.clock.values().map(Tile::height).max().unwrap_or(0);
    top..top + height
}

/// The columns that the line of the clock takes.
pub(crate) fn clock_columns(camera: &ClockPicture) -> std::ops::Range<usize> {
    let text = clock_text(Timestamp(0));
    let begin = line_begin(&camera.picture, &camera.clock, &text);
    begin..begin + line_width(&camera.clock, &text)
}

/// Each character, `width` pixels wide.
fn characters(font: &Font, width: u32) -> HashMap<char, Tile> {
    // A little less than fits, so that rounding does not make it wider.
    let size = width as f32 * 0.999 / font.advance('0');
    let tile = |character| (character, Tile::character(font, character, size));
    CLOCK_CHARACTERS.chars().map(tile).collect()
}

/// Draws a centred line; returns the row below it.
fn draw_line(picture: &mut Picture, tiles: &HashMap<char, Tile>, text: &str, top: usize) -> usize {
    let line = || text.chars().filter_map(|c| tiles.get(&c));
    let mut x = line_begin(picture, tiles, text);
    for tile in line() {
        tile.draw(picture, x, top);
        x += tile.width();
    }
    top + line().map(Tile::height).max().unwrap_or(0)
}

fn line_width(tiles: &HashMap<char, Tile>, text: &str) -> usize {
    let line = text.chars().filter_map(|c| tiles.get(&c));
    line.map(Tile::width).sum()
}

/// First column of a centred line.
fn line_begin(picture: &Picture, tiles: &HashMap<char, Tile>, text: &str) -> usize {
    picture.width().saturating_sub(line_width(tiles, text)) / 4 * 2
}

/// UTC, `HH:MM:SS.mmm`.
pub(crate) fn clock_text(time: Timestamp) -> String {
    let millis = time.as_micros() / 1000;
    let (seconds, minutes, hours) = (
        millis / 1000 % 60,
        millis / 60_000 % 60,
        millis / 3_600_000 % 24,
    );
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_utc() {
        assert_eq!(clock_text(Timestamp(1_700_000_000_123_999)), "22:13:20.123");
    }
}

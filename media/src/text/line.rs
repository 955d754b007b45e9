//! A line of text as glyphs in the order in which they stand.

use std::ops::Range;

use harfrust::{Direction, FontRef, Script, ShapeOptions, ShaperData, UnicodeBuffer, script};
use unicode_bidi::BidiInfo;

/// A glyph and its place: right of where the line begins and above its baseline, in units of the font.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glyph {
    pub(super) id: u16,
    pub(super) x: f32,
    pub(super) y: f32,
    /// Byte of the text at which its characters begin.
    pub(super) at: usize,
}

/// The glyphs of a line from left to right, and how long it is, in units of the font.
///
/// A character is not a glyph: Hebrew and Arabic stand from right to left, Arabic letters have the form of their place in a
/// word, vowels of Devanagari stand before the letter that they follow, and marks of Thai above others. First the line is cut
/// where its direction changes (Unicode's UAX #9), then where its script does, for each script is shaped in its own way.
pub(super) fn glyphs(font: &FontRef<'_>, data: &ShaperData, text: &str) -> (Vec<Glyph>, f32) {
    let shaper = data.shaper(font).build();
    let bidi = BidiInfo::new(text, None);
    let (mut glyphs, mut pen) = (Vec::new(), 0);
    for paragraph in &bidi.paragraphs {
        let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        for run in runs {
            let is_leftwards = levels.get(run.start).is_some_and(|level| level.is_rtl());
            let mut pieces = pieces(text, run);
            let direction = if is_leftwards {
                pieces.reverse();
                Direction::RightToLeft
            } else {
                Direction::LeftToRight
            };
            for piece in pieces {
                let mut buffer = UnicodeBuffer::new();
                for (at, character) in text[piece.clone()].char_indices() {
                    buffer.add(character, (piece.start + at) as u32);
                }
                buffer.set_direction(direction);
                buffer.guess_segment_properties();
                let shaped = shaper.shape(buffer, ShapeOptions::new());
                for (info, place) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()) {
                    glyphs.push(Glyph {
                        // A font has no more than 2^16.
                        id: info.glyph_id as u16,
                        x: (pen + place.x_offset) as f32,
                        y: place.y_offset as f32,
                        at: info.cluster as usize,
                    });
                    pen += place.x_advance;
                }
            }
        }
    }
    (glyphs, pen as f32)
}

/// A run cut where its script changes. What all scripts use goes with what is before it, and at the beginning with the first.
fn pieces(text: &str, run: Range<usize>) -> Vec<Range<usize>> {
    let (mut pieces, mut start, mut last) = (Vec::new(), run.start, None);
    for (at, character) in text[run.clone()].char_indices() {
        let script = script_of(character);
        if script.is_some() && last.is_some() && script != last {
            pieces.push(start..run.start + at);
            start = run.start + at;
        }
        last = script.or(last);
    }
    pieces.push(start..run.end);
    pieces
}

/// The script that a character belongs to; `None`: to many, as digits and signs do.
fn script_of(character: char) -> Option<Script> {
    let mut buffer = UnicodeBuffer::new();
    buffer.add(character, 0);
    buffer.guess_segment_properties();
    Some(buffer.script()).filter(|script| *script != script::UNKNOWN)
}

#[cfg(test)]
mod tests {
    use ab_glyph::{Font as _, FontVec};

    use super::*;

    const SANS: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
    const LOHIT: &str = "/usr/share/fonts/truetype/lohit-devanagari/Lohit-Devanagari.ttf";

    fn read(file: &str) -> Vec<u8> {
        std::fs::read(file).unwrap_or_else(|error| {
            panic!("{file}: {error}; scripts/setup.sh --tests installs what is missing")
        })
    }

    fn line(file: &str, text: &str) -> Vec<Glyph> {
        let bytes = read(file);
        let font = FontRef::from_index(&bytes, 0).unwrap();
        let (glyphs, length) = glyphs(&font, &ShaperData::new(&font), text);
        assert!(length > 0.0);
        glyphs
    }

    fn ids(file: &str, text: &str) -> Vec<u16> {
        line(file, text).iter().map(|glyph| glyph.id).collect()
    }

    /// The glyph of each character by itself.
    fn alone(file: &str, text: &str) -> Vec<u16> {
        let font = FontVec::try_from_vec(read(file)).unwrap();
        text.chars().map(|c| font.glyph_id(c).0).collect()
    }

    #[test]
    fn from_left_to_right() {
        assert_eq!(ids(SANS, "Robot 7"), alone(SANS, "Robot 7"));
        let glyphs = line(SANS, "Robot 7");
        assert!(glyphs.windows(2).all(|pair| pair[0].x < pair[1].x));
        let at: Vec<usize> = line(SANS, "é7").iter().map(|glyph| glyph.at).collect();
        assert_eq!(at, [0, 2]);
    }

    #[test]
    fn from_right_to_left() {
        assert_eq!(ids(SANS, "אבג"), alone(SANS, "גבא"));
        assert_eq!(ids(SANS, "a אב b"), alone(SANS, "a בא b"));
        // Numbers stand in it as they are.
        assert_eq!(ids(SANS, "אב 25"), alone(SANS, "25 בא"));
    }

    #[test]
    fn letters_take_the_form_of_their_place() {
        let glyphs = line(SANS, "سلام");
        // The first letter is the last from the left, and does not look as it does alone.
        assert_eq!(glyphs.last().map(|glyph| glyph.at), Some(0));
        assert_ne!(glyphs.last().map(|glyph| glyph.id), alone(SANS, "س").pop());
        assert!(glyphs.windows(2).all(|pair| pair[0].at > pair[1].at));
    }

    #[test]
    fn marks_go_to_their_letter() {
        assert_eq!(ids(SANS, "e\u{301}"), alone(SANS, "é"));
    }

    #[test]
    fn vowels_stand_before_their_letter_also_behind_another_script() {
        let [letter] = alone(LOHIT, "क")[..] else {
            panic!("one glyph");
        };
        for text in ["कि", "7 कि", "Robot कि"] {
            let ids = ids(LOHIT, text);
            assert_eq!(ids.last(), Some(&letter), "{text}: {ids:?}");
        }
    }
}

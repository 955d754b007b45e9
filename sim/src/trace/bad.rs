//! Rows and values that could not be used.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// How many are kept with their text.
pub const EXAMPLES_MAX: usize = 20;
/// How much of a text is kept, in characters.
pub const TEXT_CHARS_MAX: usize = 80;

/// Why a row or a value was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRow {
    /// More or fewer columns than the layout has.
    WrongColumns,
    /// The load, the time or the name is empty.
    MissingValue,
    /// The load is text or not-a-number.
    NotANumber,
    /// The load is below 0.
    Negative,
    /// The load is over 100 %.
    Over100,
    /// The time is text, negative, or further away than time goes.
    BadTime,
    /// The machine has a value of that instant already.
    SameInstant,
    /// The line is longer than any row.
    TooLong,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongColumns => "wrong number of columns",
            Self::MissingValue => "a value is missing",
            Self::NotANumber => "not a number",
            Self::Negative => "negative",
            Self::Over100 => "over 100 %",
            Self::BadTime => "not a time",
            Self::SameInstant => "the same machine and instant again",
            Self::TooLong => "the line is too long",
        })
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What stands there, shortened.
    pub text: String,
    /// Why it was not used.
    pub reason: BadRow,
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, .. } = self;
        write!(f, "{file}:{line}: {}: `{}`", self.reason, self.text)
    }
}

/// What could not be used of a trace. In a layout with many values in a row, each bad value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BadRows {
    /// How many.
    pub total: u64,
    /// How many for each reason.
    pub by_reason: BTreeMap<BadRow, u64>,
    /// The first of them.
    pub first: Vec<Example>,
}

impl BadRows {
    /// Counts one.
    pub(super) fn add(&mut self, file: &str, line: u64, text: &[u8], reason: BadRow) {
        self.total += 1;
        *self.by_reason.entry(reason).or_default() += 1;
        if self.first.len() < EXAMPLES_MAX {
            self.first.push(Example {
                file: file.to_owned(),
                line,
                text: shortened(text),
                reason,
            });
        }
    }
}

/// For a person to read: no control characters, not too long.
pub(super) fn shortened(text: &[u8]) -> String {
    // Four bytes make a character at most.
    let some = &text[..text.len().min(4 * TEXT_CHARS_MAX)];
    let clean = String::from_utf8_lossy(some);
    let visible = clean.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = visible.take(TEXT_CHARS_MAX).collect();
    if short.chars().count() < clean.chars().count() || some.len() < text.len() {
        short.push('…');
    }
    short.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_kept() {
        let mut bad = BadRows::default();
        for line in 1..=30 {
            bad.add("a.csv", line, b"x,-1", BadRow::Negative);
        }
        bad.add("a.csv", 31, b"x,140", BadRow::Over100);
        assert_eq!(bad.total, 31);
        assert_eq!(bad.by_reason[&BadRow::Negative], 30);
        assert_eq!(bad.by_reason[&BadRow::Over100], 1);
        assert_eq!(bad.first.len(), EXAMPLES_MAX);
        assert_eq!(bad.first[0].to_string(), "a.csv:1: negative: `x,-1`");
    }

    #[test]
    fn texts_are_shortened_and_clean() {
        assert_eq!(shortened(b"a\tb\r"), "a b");
        assert_eq!(shortened(&[b'x'; 500]).chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(shortened(&[0xff, 0xfe]), "\u{fffd}\u{fffd}");
    }
}

//! A file, line by line, in bounded memory.

use std::io::{self, BufRead, Read};
use std::path::Path;

use super::error::TraceError;
use super::layout::Layout;

/// The longest row: 288 values of a day with room for a year of them in one line.
const ROW_BYTES_MAX: usize = 1 << 20;

/// What may separate columns, and how a person calls it.
const DELIMITERS: [(u8, &str); 5] = [
    (b',', "commas"),
    (b';', "semicolons"),
    (b'\t', "tabs"),
    (b'|', "bars"),
    (b' ', "spaces"),
];

/// A file that is read line by line.
pub(super) struct Lines<'a> {
    path: &'a Path,
    input: &'a mut dyn BufRead,
    /// Lines read, whole or not.
    number: u64,
    text: Vec<u8>,
}

/// A line, or in [`Lines::next_quoted`] the lines that make a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'l> {
    /// The line on which it begins, from 1.
    pub(super) number: u64,
    /// Without its end.
    pub(super) text: &'l [u8],
    /// It is longer than a row may be; `text` is its beginning.
    pub(super) too_long: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, input: &'a mut dyn BufRead) -> Self {
        Self {
            path,
            input,
            number: 0,
            text: Vec::new(),
        }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, TraceError> {
        self.text.clear();
        let Some(whole) = self.append_line()? else {
            return Ok(None);
        };
        Ok(Some(Row {
            number: self.number,
            text: trim_end(&self.text),
            too_long: !whole,
        }))
    }

    /// The next row of a file in which a field between quotation marks may go over several lines.
    pub(super) fn next_quoted(&mut self) -> Result<Option<Row<'_>>, TraceError> {
        self.text.clear();
        let Some(mut whole) = self.append_line()? else {
            return Ok(None);
        };
        let number = self.number;
        // A mark within a quoted field is doubled, so that an odd number of them means that a field goes on.
        let open = |text: &[u8]| text.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        while whole && open(&self.text) {
            match self.append_line()? {
                Some(next_whole) => whole = next_whole,
                None => break,
            }
        }
        Ok(Some(Row {
            number,
            text: trim_end(&self.text),
            too_long: !whole,
        }))
    }

    /// Whether what was appended is whole; `None` at the end of the file.
    fn append_line(&mut self) -> Result<Option<bool>, TraceError> {
        let room = ROW_BYTES_MAX.saturating_sub(self.text.len());
        let mut within = (&mut *self.input).take(room as u64 + 1);
        let read = within.read_until(b'\n', &mut self.text);
        let read = read.map_err(|error| self.error(error))?;
        if read == 0 {
            return Ok(None);
        }
        let whole = read <= room;
        if !whole && self.text.last() != Some(&b'\n') {
            self.skip_line()?;
        }
        self.number += 1;
        Ok(Some(whole))
    }

    fn skip_line(&mut self) -> Result<(), TraceError> {
        let skipped = self.input.skip_until(b'\n');
        skipped.map(drop).map_err(|error| self.error(error))
    }

    fn error(&self, source: io::Error) -> TraceError {
        let (path, line) = (self.path.to_owned(), self.number);
        match source.kind() {
            // What flate2 calls an end within a packed file, and anything in it that is wrong.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidData => TraceError::Gzip { path, line, source },
            _ => TraceError::Read { path, line, source },
        }
    }
}

fn trim_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Refuses a file whose columns are separated by something else than the layout's delimiter.
pub(super) fn check_delimiter(
    path: &Path,
    row: Row<'_>,
    layout: Layout,
    expected: u8,
) -> Result<(), TraceError> {
    let count = |delimiter: u8| row.text.iter().filter(|byte| **byte == delimiter).count();
    if count(expected) > 0 {
        return Ok(());
    }
    let called = |delimiter: u8| DELIMITERS.iter().find(|(byte, _)| *byte == delimiter);
    let found = DELIMITERS.iter().find(|(byte, _)| count(*byte) > 1);
    match (found, called(expected)) {
        (Some((_, found)), Some((_, expected))) => Err(TraceError::Delimiter {
            path: path.to_owned(),
            line: row.number,
            layout,
            found,
            expected,
        }),
        // Of a line without columns at all, each row says so.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8], quoted: bool) -> Vec<(u64, String, bool)> {
        let mut input = text;
        let mut lines = Lines::new(Path::new("x"), &mut input);
        let mut rows = Vec::new();
        loop {
            let row = if quoted {
                lines.next_quoted()
            } else {
                lines.next()
            };
            let Some(row) = row.unwrap() else { break };
            let text = String::from_utf8_lossy(row.text).into_owned();
            rows.push((row.number, text, row.too_long));
        }
        rows
    }

    #[test]
    fn lines_with_any_end() {
        let found = rows(b"a\r\nb\n\nc", false);
        let expected = [(1, "a"), (2, "b"), (3, ""), (4, "c")];
        assert!(found.iter().map(|(n, t, _)| (*n, t.as_str())).eq(expected));
    }

    #[test]
    fn a_quoted_field_goes_over_lines() {
        let found = rows(b"a,\"x\ny\"\nb,\"{\"\"c\"\"}\"\n", true);
        assert_eq!(found[0], (1, "a,\"x\ny\"".into(), false));
        assert_eq!(found[1], (3, "b,\"{\"\"c\"\"}\"".into(), false));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_passed_over() {
        let mut text = vec![b'x'; 3 * ROW_BYTES_MAX];
        text.extend(b"\nb\n");
        let found = rows(&text, false);
        assert!(found[0].2 && found[0].1.len() <= ROW_BYTES_MAX + 1);
        assert_eq!(found[1], (2, "b".into(), false));
        // The same with an open quotation mark, which would go on to the end of the file.
        text[0] = b'"';
        let found = rows(&text, true);
        assert!(found[0].2);
        assert_eq!(found[1], (2, "b".into(), false));
    }

    #[test]
    fn delimiters() {
        let check = |text: &str| {
            let row = Row {
                number: 1,
                text: text.as_bytes(),
                too_long: false,
            };
            check_delimiter(Path::new("x.csv"), row, Layout::Plain, b',')
        };
        assert!(check("time,host,cpu").is_ok());
        assert!(check("nothing").is_ok());
        let error = check("time;host;cpu").unwrap_err().to_string();
        assert_eq!(
            error,
            "x.csv:1: columns are separated by semicolons; in the layout plain they are by commas"
        );
    }
}

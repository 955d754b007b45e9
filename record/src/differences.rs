//! A CSV file as differences between its lines, which pack to a half or a third of what the file itself packs to.
//!
//! Times and counters of successive rows resemble each other. A field that is a whole number is written as what it is more than the last
//! whole number in its column; every other field as it is, so that nothing is lost, of whatever text:
//!
//! ```text
//! frame,shown_us,status          #differences
//! 7,1790000000000000,ok          frame,shown_us,status
//! 8,1790000000033400,ok          7,1790000000000000,ok
//!                                1,33400,ok
//! ```
//!
//! Before that, columns that follow from others are left out ([`derived`]); the first line says so.

use crate::derived;

/// First line of a text of differences.
const MARK: &str = "#differences\n";
/// First line of one without the columns that follow from others.
const MARK_LEFT_OUT: &str = "#differences, = follows\n";

/// The differences of a CSV text.
#[must_use]
pub fn of(text: &str) -> String {
    let short = derived::left_out(text);
    let coded = coded(
        short.as_deref().unwrap_or(text),
        |value, last| value.wrapping_sub(last),
        |value, _| value,
    );
    let mark = if short.is_some() { MARK_LEFT_OUT } else { MARK };
    format!("{mark}{coded}")
}

/// The CSV text of its differences; other text as it is.
#[must_use]
pub fn undone(text: String) -> String {
    let whole = |coded_text| {
        coded(
            coded_text,
            |difference, last| last.wrapping_add(difference),
            |_, value| value,
        )
    };
    if let Some(coded_text) = text.strip_prefix(MARK) {
        whole(coded_text)
    } else if let Some(coded_text) = text.strip_prefix(MARK_LEFT_OUT) {
        derived::put_back(&whole(coded_text))
    } else {
        text
    }
}

/// Each whole number of `text` replaced by what `code` makes of it and the last in its column; the next one meets `last` of the two.
fn coded(text: &str, code: impl Fn(i64, i64) -> i64, last: impl Fn(i64, i64) -> i64) -> String {
    let mut columns: Vec<i64> = Vec::new();
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (fields, end) = line
            .strip_suffix('\n')
            .map_or((line, ""), |line| (line, "\n"));
        for (at, field) in fields.split(',').enumerate() {
            if at > 0 {
                out.push(',');
            }
            if columns.len() <= at {
                columns.push(0);
            }
            match (whole(field), columns.get_mut(at)) {
                (Some(value), Some(column)) => {
                    let made = code(value, *column);
                    *column = last(value, made);
                    out.push_str(&made.to_string());
                }
                _ => out.push_str(field),
            }
        }
        out.push_str(end);
    }
    out
}

/// A whole number that is written as we would write it.
fn whole(field: &str) -> Option<i64> {
    let value: i64 = field.parse().ok()?;
    (value.to_string() == field).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_differences_and_all_else_stays() {
        let text = "frame,shown_us,age_ms\n7,1000,1.5\n8,1033,\n,1066,007\n12,1099,-3\n";
        let coded = "#differences\nframe,shown_us,age_ms\n7,1000,1.5\n1,33,\n,33,007\n4,33,-3\n";
        assert_eq!(of(text), coded);
        assert_eq!(undone(coded.to_owned()), text);
        assert_eq!(undone(text.to_owned()), text, "not coded at all");
    }

    #[test]
    fn columns_that_follow_from_others_are_left_out() {
        let text = "captured_us,shown_us,delay_ms\n1000,2000,1.0\n1500,2600,1.1\n";
        let coded =
            "#differences, = follows\ncaptured_us,shown_us,delay_ms\n1000,2000,=\n500,600,=\n";
        assert_eq!(of(text), coded);
        assert_eq!(undone(coded.to_owned()), text);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(text in "([-+]?[0-9]{0,20}|[a-z.\"#]{0,3}|,|\n|\r\n){0,40}") {
            proptest::prop_assert_eq!(undone(of(&text)), text);
        }

        #[test]
        fn numbers_of_any_size_come_back(rows: Vec<(i64, u64, f64)>) {
            let text: String = rows.iter().map(|(a, b, c)| format!("{a},{b},{c}\n")).collect();
            proptest::prop_assert_eq!(undone(of(&text)), text);
        }

        #[test]
        fn whatever_is_there_does_not_panic(text: String) {
            for mark in [MARK, MARK_LEFT_OUT] {
                let _ = undone(format!("{mark}{text}"));
            }
        }
    }
}

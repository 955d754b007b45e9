//! What a figure in a trace may be.

use super::bad::BadRow;

/// The furthest time that is one, in seconds: three thousand years.
const TIME_S_MAX: f64 = 1e11;

/// A finite number.
pub(super) fn number(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    number.is_finite().then_some(number)
}

/// Columns without the spaces, tabs and carriage returns around them.
pub(super) fn columns(row: &[u8], delimiter: u8) -> Vec<&[u8]> {
    row.split(|byte| *byte == delimiter)
        .map(<[u8]>::trim_ascii)
        .collect()
}

/// A time in units of which `per_second` make a second.
pub(super) fn seconds(field: &[u8], per_second: f64) -> Result<f64, BadRow> {
    let text = present(field)?;
    let time_s = number(text).ok_or(BadRow::BadTime)? / per_second;
    if (0.0..=TIME_S_MAX).contains(&time_s) {
        Ok(time_s)
    } else {
        Err(BadRow::BadTime)
    }
}

/// A number that has to be there.
pub(super) fn number_of(field: &[u8]) -> Result<f64, BadRow> {
    number(present(field)?).ok_or(BadRow::NotANumber)
}

/// A load in which `full` is all of the CPU, as a share `0..=1`.
pub(super) fn load(field: &[u8], full: f64) -> Result<f64, BadRow> {
    share_of(number_of(field)?, full)
}

/// A load in which `full` is all of the CPU, as a share `0..=1`.
pub(super) fn share_of(load: f64, full: f64) -> Result<f64, BadRow> {
    if load < 0.0 {
        Err(BadRow::Negative)
    } else if load > full {
        Err(BadRow::Over100)
    } else {
        Ok(load / full)
    }
}

/// A name of a machine.
pub(super) fn name(field: &[u8]) -> Result<String, BadRow> {
    present(field)?;
    Ok(String::from_utf8_lossy(field).into_owned())
}

/// What is there; what is no text is no number either, and told by the reader of the number.
fn present(field: &[u8]) -> Result<&str, BadRow> {
    if field.is_empty() {
        return Err(BadRow::MissingValue);
    }
    Ok(std::str::from_utf8(field).unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads() {
        for (text, load_is) in [
            ("0", Ok(0.0)),
            ("24", Ok(0.24)),
            ("100", Ok(1.0)),
            ("93.5", Ok(0.935)),
            ("1e1", Ok(0.1)),
            ("140", Err(BadRow::Over100)),
            ("100.01", Err(BadRow::Over100)),
            ("-1", Err(BadRow::Negative)),
            ("", Err(BadRow::MissingValue)),
            ("NaN", Err(BadRow::NotANumber)),
            ("inf", Err(BadRow::NotANumber)),
            ("24%", Err(BadRow::NotANumber)),
            ("12,5", Err(BadRow::NotANumber)),
        ] {
            assert_eq!(load(text.as_bytes(), 100.0), load_is, "{text}");
        }
        assert_eq!(load(&[0xff], 100.0), Err(BadRow::NotANumber));
    }

    #[test]
    fn times() {
        for (text, time) in [
            ("300", Ok(300.0)),
            ("1.5e2", Ok(150.0)),
            ("-300", Err(BadRow::BadTime)),
            ("yesterday", Err(BadRow::BadTime)),
            ("1e300", Err(BadRow::BadTime)),
            ("", Err(BadRow::MissingValue)),
        ] {
            assert_eq!(seconds(text.as_bytes(), 1.0), time, "{text}");
        }
        assert_eq!(seconds(b"300000000", 1e6), Ok(300.0));
    }

    #[test]
    fn columns_are_trimmed() {
        let row = columns(b"a;\tb ; c\r", b';');
        assert_eq!(row, [b"a", b"b", b"c"]);
        assert_eq!(columns(b"", b';').len(), 1);
    }
}

//! Computes everything again from the raw data and compares it with what was written.

use std::fmt;
use std::path::Path;

use record::file::{RecordError, read_csv, read_json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::experiment::measure_all;
use crate::folder::MeasureError;

/// Relative difference of two numbers that counts as noise of floating point arithmetic.
pub const NOISE: f64 = 1e-9;

/// Characters of a line that are shown.
const LINE_SHOWN: usize = 60;

/// A value that is written otherwise than the raw data say.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// File below the experiment's directory.
    pub file: String,
    /// JSON pointer (RFC 6901), or the line in a CSV file.
    pub place: String,
    /// What stands there; `None` if nothing does.
    pub written: Option<Value>,
    /// What the raw data say; `None` if nothing.
    pub recomputed: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), Value::to_string)
        };
        let Self {
            file,
            place,
            written,
            recomputed,
        } = self;
        write!(
            f,
            "{file} {place}: written {}, recomputed {}",
            say(written),
            say(recomputed)
        )
    }
}

/// All differences between the written results, `age.csv` and `intervals.csv` and what the raw data say; none when the
/// experiment is as it was measured. At most one is reported per CSV file: the rest follow from it.
///
/// # Errors
/// A file is absent or broken, so that nothing can be compared.
pub fn verify(dir: &Path) -> Result<Vec<Difference>, MeasureError> {
    let measured = measure_all(dir)?;
    let mut differences = of_results(dir, &measured.results)?;
    for run in &measured.runs {
        let file = |name: &str| format!("runs/{}/{name}", run.run.plan.folder);
        differences.extend(of_csv(dir, &file("age.csv"), &run.ages)?);
        differences.extend(of_csv(dir, &file("intervals.csv"), &run.intervals)?);
    }
    Ok(differences)
}

/// What `results.json` says otherwise than `recomputed`.
pub(crate) fn of_results(
    dir: &Path,
    recomputed: &impl Serialize,
) -> Result<Vec<Difference>, MeasureError> {
    let written: Value = read_json(&dir.join("results.json"))?;
    let recomputed = serde_json::to_value(recomputed).map_err(|error| RecordError::Encode {
        path: dir.join("results.json"),
        text: error.to_string(),
    })?;
    let mut differences = Vec::new();
    compare(
        &mut String::new(),
        &written,
        &recomputed,
        &mut |place, written, recomputed| {
            differences.push(Difference {
                file: "results.json".into(),
                place: place.to_owned(),
                written: written.cloned(),
                recomputed: recomputed.cloned(),
            });
        },
    );
    Ok(differences)
}

/// The first row of a derived CSV file below `dir` that is not as recomputed.
pub(crate) fn of_csv<Row>(
    dir: &Path,
    file: &str,
    rows: &[Row],
) -> Result<Option<Difference>, MeasureError>
where
    Row: Serialize + DeserializeOwned + PartialEq,
{
    let written: Vec<Row> = read_csv(&dir.join(file))?;
    let longest = written.len().max(rows.len());
    let value = |row: Option<&Row>| row.and_then(|row| serde_json::to_value(row).ok());
    let mut pairs = (0..longest).map(|at| (at, written.get(at), rows.get(at)));
    // Line 1 is the header.
    Ok(pairs
        .find(|(_, written, recomputed)| !same_row(*written, *recomputed))
        .map(|(at, written, recomputed)| Difference {
            file: file.to_owned(),
            place: format!("line {}", at + 2),
            written: value(written),
            recomputed: value(recomputed),
        }))
}

/// The first line of a text below `dir` that is not as made again.
pub(crate) fn of_text(
    dir: &Path,
    file: &str,
    text: &str,
) -> Result<Option<Difference>, MeasureError> {
    let path = dir.join(file);
    let written = std::fs::read_to_string(&path).map_err(|error| MeasureError::Nonsense {
        path,
        text: error.to_string(),
    })?;
    if written == text {
        return Ok(None);
    }
    let same = written.lines().zip(text.lines());
    let at = same.take_while(|(written, again)| written == again).count();
    // A line of a drawing may be all of it.
    let value = |text: &str| {
        let line = text.lines().nth(at)?;
        Some(Value::from(
            line.chars().take(LINE_SHOWN).collect::<String>(),
        ))
    };
    Ok(Some(Difference {
        file: file.to_owned(),
        place: format!("line {}", at + 1),
        written: value(&written),
        recomputed: value(text),
    }))
}

fn same_row<Row: Serialize + PartialEq>(written: Option<&Row>, recomputed: Option<&Row>) -> bool {
    if written == recomputed {
        return true;
    }
    let value = |row: Option<&Row>| row.and_then(|row| serde_json::to_value(row).ok());
    let mut same = written.is_some() && recomputed.is_some();
    if let (Some(written), Some(recomputed)) = (value(written), value(recomputed)) {
        compare(&mut String::new(), &written, &recomputed, &mut |_, _, _| {
            same = false
        });
    }
    same
}

/// Calls `report` with the JSON pointer of each difference.
fn compare(
    place: &mut String,
    written: &Value,
    recomputed: &Value,
    report: &mut impl FnMut(&str, Option<&Value>, Option<&Value>),
) {
    let mut step = |name: &str, written: Option<&Value>, recomputed: Option<&Value>| {
        let length = place.len();
        place.push('/');
        place.push_str(&name.replace('~', "~0").replace('/', "~1"));
        match (written, recomputed) {
            (Some(written), Some(recomputed)) => compare(place, written, recomputed, report),
            _ => report(place, written, recomputed),
        }
        place.truncate(length);
    };
    match (written, recomputed) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                step(name, Some(value), new.get(name));
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                step(name, None, Some(value));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for at in 0..old.len().max(new.len()) {
                step(&at.to_string(), old.get(at), new.get(at));
            }
        }
        (Value::Number(old), Value::Number(new)) if same_number(old.as_f64(), new.as_f64()) => {}
        _ if written == recomputed => {}
        _ => report(place, Some(written), Some(recomputed)),
    }
}

fn same_number(a: Option<f64>, b: Option<f64>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    a == b || (a - b).abs() <= NOISE * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(written: Value, recomputed: Value, expected: &[&str]) {
        let mut places = Vec::new();
        compare(
            &mut String::new(),
            &written,
            &recomputed,
            &mut |place, _, _| places.push(place.to_owned()),
        );
        assert_eq!(places, expected);
    }

    #[test]
    fn each_difference_has_its_pointer() {
        check(
            json!({"a": [1, {"b/c": 2}]}),
            json!({"a": [1, {"b/c": 3}]}),
            &["/a/1/b~1c"],
        );
        check(json!({"a": 1}), json!({"b": 1}), &["/a", "/b"]);
        check(json!([1]), json!([1, 2]), &["/1"]);
        check(json!(null), json!(0), &[""]);
    }

    #[test]
    fn only_noise_is_tolerated() {
        check(json!([1.0, 0.1 + 0.2]), json!([1, 0.3]), &[]);
        check(json!(1.0), json!(1.000_000_01), &[""]);
        check(json!(0.0), json!(1e-12), &[""]);
    }
}

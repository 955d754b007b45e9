//! Google 2019 (ClusterData2019, "Google cluster-usage traces v3"), the table `instance_usage` as CSV.
//!
//! Described in the document that `https://github.com/google/cluster-data/blob/master/ClusterData2019.md` links to. The
//! table is published in BigQuery and as JSON; as CSV it is what people export, so a header line is needed, and from it
//! `start_time` (microseconds), `machine_id`, and either `average_usage` (the structure as text,
//! `{"cpus": 0.02, "memory": 0.01}`, or in Python's way of writing it) or `average_usage.cpus` (a dot or an underscore).
//! With `end_time` a row counts for the part of the window that it covers.
//!
//! What is assumed: a row is the mean usage of one instance from `start_time` to `end_time`, which lies in one window of
//! 300 s. The load of a machine in a window is the sum over its instances. CPUs are normalised, so that 1 is the largest
//! machine of the cell: on a smaller one the share is lower than its own load is. Rows of allocs are summed up as they
//! are; who exports both an alloc and what runs in it gets both. A sum over 1 is a bad row, named by the last row in it.

use super::bad::BadRow;
use super::error::TraceError;
use super::field;
use super::gather::Gather;
use super::header::{self, GOOGLE_CPUS};
use super::layout::Layout;
use super::lines::{Lines, Row, check_delimiter};

/// Length of a window of measurement.
const WINDOW_S: f64 = 300.0;
/// Units of time in a second.
const MICROSECONDS: f64 = 1e6;

/// Where the columns stand.
struct Columns {
    start: usize,
    end: Option<usize>,
    machine: usize,
    usage: usize,
    width: usize,
}

/// Usage of one instance.
struct Usage {
    machine: String,
    /// Beginning of the window in which it begins.
    window_s: f64,
    /// Mean over the whole window.
    cpus: f64,
}

/// Rows of all instances; those of a machine and window may be in several files, as BigQuery exports them.
pub(super) fn read(lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    let Some(columns) = Columns::read(lines)? else {
        return Ok(());
    };
    while let Some(row) = lines.next_quoted()? {
        if !gather.take_row(row) {
            continue;
        }
        match columns.usage(row) {
            Ok(usage) => gather.add(&usage.machine, row.number, usage.window_s, usage.cpus),
            Err(reason) => gather.bad(row, reason),
        }
    }
    Ok(())
}

impl Columns {
    fn read(lines: &mut Lines<'_>) -> Result<Option<Self>, TraceError> {
        let path = lines.path();
        let Some(first) = lines.next_quoted()? else {
            return Ok(None);
        };
        check_delimiter(path, first, Layout::Google2019, b',')?;
        let text = String::from_utf8_lossy(first.text);
        let names: Vec<&str> = text.split(',').collect();
        let usage_names = ["average_usage", GOOGLE_CPUS[0], GOOGLE_CPUS[1]];
        Ok(Some(Self {
            start: header::required(path, first.text, &names, &["start_time"])?,
            end: header::position(&names, &["end_time"]),
            machine: header::required(path, first.text, &names, &["machine_id"])?,
            usage: header::required(path, first.text, &names, &usage_names)?,
            width: names.len(),
        }))
    }

    fn usage(&self, row: Row<'_>) -> Result<Usage, BadRow> {
        let fields = quoted_columns(row.text).ok_or(BadRow::WrongColumns)?;
        if fields.len() != self.width {
            return Err(BadRow::WrongColumns);
        }
        let of = |column: usize| fields.get(column).unwrap_or_default().trim_ascii();
        let start_s = field::seconds(of(self.start), MICROSECONDS)?;
        let covered = match self.end {
            Some(end) => covered(start_s, field::seconds(of(end), MICROSECONDS)?)?,
            None => 1.0,
        };
        Ok(Usage {
            machine: field::name(of(self.machine))?,
            window_s: (start_s / WINDOW_S).floor() * WINDOW_S,
            cpus: field::share_of(cpus(of(self.usage))?, 1.0)? * covered,
        })
    }
}

/// The part of a window that a row covers.
fn covered(start_s: f64, end_s: f64) -> Result<f64, BadRow> {
    if end_s < start_s {
        return Err(BadRow::BadTime);
    }
    Ok(((end_s - start_s) / WINDOW_S).min(1.0))
}

fn quoted_columns(row: &[u8]) -> Option<csv::ByteRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(row.len().max(1))
        .from_reader(row);
    let mut record = csv::ByteRecord::new();
    matches!(reader.read_byte_record(&mut record), Ok(true)).then_some(record)
}

/// A number, or the member `cpus` of a structure that is written as JSON or as Python does.
fn cpus(field: &[u8]) -> Result<f64, BadRow> {
    if field.first() != Some(&b'{') {
        return field::number_of(field);
    }
    let text = std::str::from_utf8(field).map_err(|_| BadRow::NotANumber)?;
    let json = text.replace('\'', "\"").replace("None", "null");
    let usage: serde_json::Value = serde_json::from_str(&json).map_err(|_| BadRow::NotANumber)?;
    match usage.get("cpus") {
        None | Some(serde_json::Value::Null) => Err(BadRow::MissingValue),
        // BigQuery writes some numbers as text.
        Some(serde_json::Value::String(text)) => field::number_of(text.as_bytes()),
        Some(number) => number.as_f64().ok_or(BadRow::NotANumber),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_in_any_dress() {
        for (text, expected) in [
            ("0.25", Ok(0.25)),
            ("{\"cpus\": 0.25, \"memory\": 0.1}", Ok(0.25)),
            ("{'cpus': 0.25, 'memory': None}", Ok(0.25)),
            ("{\"cpus\": \"0.25\"}", Ok(0.25)),
            ("{'cpus': None, 'memory': 0.1}", Err(BadRow::MissingValue)),
            ("{\"memory\": 0.1}", Err(BadRow::MissingValue)),
            ("{\"cpus\": [1]}", Err(BadRow::NotANumber)),
            ("{cpus}", Err(BadRow::NotANumber)),
            ("", Err(BadRow::MissingValue)),
            ("much", Err(BadRow::NotANumber)),
        ] {
            assert_eq!(cpus(text.as_bytes()), expected, "{text}");
        }
    }
}

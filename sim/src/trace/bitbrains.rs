//! Bitbrains, GWA-T-12: performance metrics of 1,750 virtual machines, a file each, a row every five minutes.
//!
//! Described at `http://gwa.ewi.tudelft.nl/datasets/gwa-t-12-bitbrains`: columns are separated by `;` and a tab; a first
//! line names them (`Timestamp [ms];\tCPU cores;\t...`); the fifth is the CPU usage in per cent of what the machine has.
//! The description and the first line call the time milliseconds since 1970, but the published files hold seconds
//! (`1376314846` is the 12th of August 2013), so that what is too small for milliseconds of this age is taken for seconds.
//! Usage over 100 % does occur there; as everywhere it is a bad row.

use super::bad::BadRow;
use super::error::TraceError;
use super::field;
use super::files::shown_name;
use super::gather::Gather;
use super::header;
use super::layout::Layout;
use super::lines::{Lines, check_delimiter};

/// Milliseconds since 1970 were fewer until March 1973; seconds are fewer for three thousand years to come.
const MILLISECONDS_MIN: f64 = 1e11;

/// A machine.
pub(super) fn read(lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    let path = lines.path();
    let shown = shown_name(path);
    let shown = shown.strip_suffix(".gz").unwrap_or(&shown);
    let name = shown.strip_suffix(".csv").unwrap_or(shown);
    let Some(first) = lines.next()? else {
        return Ok(());
    };
    check_delimiter(path, first, Layout::Bitbrains, b';')?;
    let text = String::from_utf8_lossy(first.text);
    let columns: Vec<&str> = text.split(';').map(str::trim).collect();
    let width = columns.len();
    let time = header::required(path, first.text, &columns, &["Timestamp [ms]"])?;
    let usage = header::required(path, first.text, &columns, &["CPU usage [%]"])?;
    while let Some(row) = lines.next()? {
        if !gather.take_row(row) {
            continue;
        }
        let columns = field::columns(row.text, b';');
        if columns.len() != width {
            gather.bad(row, BadRow::WrongColumns);
            continue;
        }
        let load = field::load(columns[usage], 100.0);
        match seconds(columns[time]).and_then(|at_s| load.map(|share| (at_s, share))) {
            Ok((at_s, share)) => gather.put(name, row.number, at_s, share),
            Err(reason) => gather.bad(row, reason),
        }
    }
    Ok(())
}

fn seconds(field: &[u8]) -> Result<f64, BadRow> {
    let milliseconds = field::seconds(field, 1e3)?;
    if milliseconds * 1e3 >= MILLISECONDS_MIN {
        Ok(milliseconds)
    } else {
        field::seconds(field, 1.0)
    }
}

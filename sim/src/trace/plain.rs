//! The layout of our own: `time,host,cpu` with a header line.
//!
//! `time` is in seconds from any beginning, `host` a name, `cpu` a share of 0 to 1; a column `cpu_percent` holds per cent
//! instead. Columns may stand in any order, and further ones beside them.

use super::bad::BadRow;
use super::error::TraceError;
use super::field;
use super::gather::Gather;
use super::header;
use super::layout::Layout;
use super::lines::{Lines, check_delimiter};

/// Where the columns stand, and what all of a CPU is in the last.
struct Columns {
    time: usize,
    host: usize,
    cpu: usize,
    full: f64,
    width: usize,
}

/// Rows of all hosts.
pub(super) fn read(lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    let path = lines.path();
    let Some(first) = lines.next()? else {
        return Ok(());
    };
    check_delimiter(path, first, Layout::Plain, b',')?;
    let text = String::from_utf8_lossy(first.text);
    let names: Vec<&str> = text.split(',').collect();
    let percent = header::position(&names, &["cpu_percent"]);
    let columns = Columns {
        time: header::required(path, first.text, &names, &["time"])?,
        host: header::required(path, first.text, &names, &["host"])?,
        cpu: match percent {
            Some(cpu) => cpu,
            None => header::required(path, first.text, &names, &["cpu"])?,
        },
        full: if percent.is_some() { 100.0 } else { 1.0 },
        width: names.len(),
    };
    while let Some(row) = lines.next()? {
        if !gather.take_row(row) {
            continue;
        }
        match columns.value(row.text) {
            Ok((name, at_s, share)) => gather.put(&name, row.number, at_s, share),
            Err(reason) => gather.bad(row, reason),
        }
    }
    Ok(())
}

impl Columns {
    fn value(&self, row: &[u8]) -> Result<(String, f64, f64), BadRow> {
        let fields = field::columns(row, b',');
        if fields.len() != self.width {
            return Err(BadRow::WrongColumns);
        }
        Ok((
            field::name(fields[self.host])?,
            field::seconds(fields[self.time], 1.0)?,
            field::load(fields[self.cpu], self.full)?,
        ))
    }
}

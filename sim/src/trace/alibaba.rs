//! Alibaba 2018 (cluster-trace-v2018), `machine_usage.csv` and `container_usage.csv`.
//!
//! Described at `https://github.com/alibaba/clusterdata/blob/master/cluster-trace-v2018/schema.md`: no header line.
//! `machine_usage` has nine columns: `machine_id`, `time_stamp` in seconds, `cpu_util_percent`, and memory, network and
//! disk; `container_usage` has eleven: `container_id`, `machine_id`, `time_stamp`, `cpu_util_percent` and others. Load is in
//! per cent; the published -1 and 101 mark what went wrong there, and are bad rows. A container is a machine here, under its
//! own name. Rows go machine by machine, but not always forward in time.

use super::bad::BadRow;
use super::error::TraceError;
use super::field;
use super::gather::Gather;
use super::layout::Layout;
use super::lines::{Lines, check_delimiter};

/// Rows of all machines or containers.
pub(super) fn read(lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    let path = lines.path();
    while let Some(row) = lines.next()? {
        if row.number == 1 {
            check_delimiter(path, row, Layout::Alibaba2018, b',')?;
        }
        if !gather.take_row(row) {
            continue;
        }
        match value(row.text) {
            Ok((name, at_s, share)) => gather.put(&name, row.number, at_s, share),
            Err(reason) => gather.bad(row, reason),
        }
    }
    Ok(())
}

fn value(row: &[u8]) -> Result<(String, f64, f64), BadRow> {
    let columns = field::columns(row, b',');
    let (name, time, load) = match columns.as_slice() {
        [machine, time, load, _, _, _, _, _, _] => (machine, time, load),
        [container, _, time, load, _, _, _, _, _, _, _] => (container, time, load),
        _ => return Err(BadRow::WrongColumns),
    };
    Ok((
        field::name(name)?,
        field::seconds(time, 1.0)?,
        field::load(load, 100.0)?,
    ))
}

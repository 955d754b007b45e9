//! Azure 2019 (AzurePublicDatasetV2), `vm_cpu_readings-file-N-of-195.csv.gz`.
//!
//! Described at `https://github.com/Azure/AzurePublicDataset/blob/master/AzurePublicDatasetV2.md`: no header line, five
//! columns: time in seconds from 0 (every five minutes), encrypted name of the virtual machine, least, highest and mean CPU
//! load in the five minutes, in per cent. The mean is used. Rows go by time, so that machines alternate. The trace of 2017
//! (V1) has the same columns.

use super::bad::BadRow;
use super::error::TraceError;
use super::field;
use super::gather::Gather;
use super::layout::Layout;
use super::lines::{Lines, check_delimiter};

/// Rows of all machines.
pub(super) fn read(lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    let path = lines.path();
    while let Some(row) = lines.next()? {
        if row.number == 1 {
            check_delimiter(path, row, Layout::Azure2019, b',')?;
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
    match field::columns(row, b',').as_slice() {
        [time, machine, _, _, mean] => Ok((
            field::name(machine)?,
            field::seconds(time, 1.0)?,
            field::load(mean, 100.0)?,
        )),
        _ => Err(BadRow::WrongColumns),
    }
}

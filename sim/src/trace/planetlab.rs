//! PlanetLab: CPU load of virtual machines, whole percentages, one every five minutes.
//!
//! As published (`beloglazov/planetlab-workload-traces`, taken from the CoMon monitor of PlanetLab; described in Beloglazov
//! and Buyya, "Optimal online deterministic algorithms and adaptive heuristics for energy and performance efficient dynamic
//! consolidation of virtual machines in Cloud data centers", CCPE 24(13), 2012): a folder for each day, in it a file for
//! each machine, named after it, of 288 lines. Repacked: a file for each day, in it a line for each machine, its name and
//! 288 values.
//!
//! Of a folder of repacked days each file is a day; days are laid end to end in the order of their names, whatever dates
//! they have, so that a machine that is there on several days has one series. A line that is not as long as a day says
//! nothing of when its values were, so none of it is used.

use super::bad::BadRow;
use super::error::TraceError;
use super::field;
use super::files::shown_name;
use super::gather::Gather;
use super::layout::Layout;
use super::lines::{Lines, check_delimiter};

/// Distance of two values.
const STEP_S: f64 = 300.0;
/// Values of a day.
const VALUES_A_DAY: usize = 288;

/// A day, repacked: a machine a line.
pub(super) fn read_days(lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    let path = lines.path();
    let begin_s = gather.files_before() as f64 * VALUES_A_DAY as f64 * STEP_S;
    while let Some(row) = lines.next()? {
        if row.number == 1 {
            check_delimiter(path, row, Layout::PlanetLab, b',')?;
        }
        if !gather.take_row(row) {
            continue;
        }
        let columns = field::columns(row.text, b',');
        let Some((name, values)) = columns.split_first() else {
            continue;
        };
        if values.len() != VALUES_A_DAY {
            gather.bad(row, BadRow::WrongColumns);
            continue;
        }
        let name = match field::name(name) {
            Ok(name) => name,
            Err(reason) => {
                gather.bad(row, reason);
                continue;
            }
        };
        for (step, &value) in values.iter().enumerate() {
            match field::load(value, 100.0) {
                Ok(share) => gather.put(&name, row.number, begin_s + step as f64 * STEP_S, share),
                Err(reason) => {
                    let text = format!("{name}, value {}: ", step + 1);
                    gather.bad_text(row.number, &[text.as_bytes(), value].concat(), reason);
                }
            }
        }
    }
    Ok(())
}

/// A machine, as published: a value a line. Each line is a step of time, also one that cannot be used.
pub(super) fn read_machine(lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    let path = lines.path();
    let name = shown_name(path);
    while let Some(row) = lines.next()? {
        if row.number == 1 && row.text.contains(&b',') {
            // A table under the wrong layout: each of its rows would be bad, and the reason hard to see.
            return Err(TraceError::Delimiter {
                path: path.to_owned(),
                line: 1,
                layout: Layout::PlanetLabFolder,
                found: "commas",
                expected: "ends of lines",
            });
        }
        if !gather.take_row(row) {
            continue;
        }
        match field::load(row.text.trim_ascii(), 100.0) {
            Ok(share) => gather.put(&name, row.number, (row.number - 1) as f64 * STEP_S, share),
            Err(reason) => gather.bad(row, reason),
        }
    }
    Ok(())
}

//! A first line that names the columns.

use std::path::Path;

use super::bad::shortened;
use super::error::TraceError;

/// Names that the mean CPU usage of an instance has when the structure is taken apart (Google).
pub(super) const GOOGLE_CPUS: [&str; 2] = ["average_usage.cpus", "average_usage_cpus"];

/// Where a column of one of these names stands; letters of any case.
pub(super) fn position(columns: &[&str], names: &[&str]) -> Option<usize> {
    let is = |column: &&str| {
        let column = column
            .trim()
            .trim_matches('"')
            .trim_start_matches('\u{feff}');
        names.iter().any(|name| column.eq_ignore_ascii_case(name))
    };
    columns.iter().position(is)
}

/// Where a column stands that has to be there.
pub(super) fn required(
    path: &Path,
    line: &[u8],
    columns: &[&str],
    names: &[&'static str],
) -> Result<usize, TraceError> {
    position(columns, names).ok_or_else(|| TraceError::Header {
        path: path.to_owned(),
        missing: names.first().copied().unwrap_or_default(),
        found: shortened(line),
    })
}

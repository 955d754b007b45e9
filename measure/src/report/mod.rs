//! `report.html`: one file that needs nothing else, to read on a screen, in the dark or on paper.

mod definitions;
mod legend;
mod overview;
mod page;
mod run_figure;
mod summary;
mod tables;

use std::path::{Path, PathBuf};

use record::file::write_atomically;

use crate::experiment::Measured;
use crate::folder::MeasureError;

/// Writes `DIR/report.html` and says where.
///
/// # Errors
/// The file cannot be written.
pub fn write_report(dir: &Path, measured: &Measured) -> Result<PathBuf, MeasureError> {
    let path = dir.join("report.html");
    write_atomically(&path, html(measured).as_bytes())?;
    Ok(path)
}

/// The report as one HTML document.
#[must_use]
pub fn html(measured: &Measured) -> String {
    page::document(measured).into_string()
}

/// The class that colours a policy. Names come from a file: only known ones become part of the style.
fn policy_class(name: &str) -> &'static str {
    match name {
        "none" => "none",
        "threshold" => "threshold",
        "deadline" => "deadline",
        _ => "other",
    }
}

//! A campaign's cells to tables, figures and findings beside what the thesis prints.
//!
//! [`cells`] reads what the lab left and measures each cell; [`estimate`] says what several together say, with 95 % intervals;
//! [`tables`], [`figures`] and [`findings`] are in the thesis' order and with its numbers; [`page`] puts them on one page.

pub mod cells;
pub mod estimate;
pub mod figures;
pub mod findings;
pub mod page;
pub mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use record::file::{write_atomically, write_json};
use serde::{Deserialize, Serialize};

pub use cells::Cells;
pub use findings::Finding;
pub use tables::Table;

use crate::folder::MeasureError;
use crate::verify::{Difference, of_results};

/// `results.json` of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of the format, [`record::SCHEMA`].
    pub schema: u32,
    /// Which cells it is made of, part by part.
    pub parts: Vec<PartMade>,
    /// By name: `table2`, ….
    pub tables: BTreeMap<String, Table>,
    /// Files by name: `figure8`, ….
    pub figures: BTreeMap<String, String>,
    /// All that the thesis concludes, in its order.
    pub findings: Vec<Finding>,
}

/// Where and when a part was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartMade {
    /// Its name.
    pub part: String,
    /// Cells of it.
    pub cells: u64,
    /// Of these, with too much foreign load.
    pub spoilt: u64,
    /// The first and the last, RFC 3339.
    pub measured_at: [String; 2],
    /// Machines in words, each once.
    pub machines: Vec<String>,
    /// `netem`, `userspace`, `none`, each once.
    pub link_emulation: Vec<String>,
}

/// What a report is made of.
#[derive(Debug)]
pub struct Report {
    /// `results.json`.
    pub results: Results,
    /// SVG by file name.
    pub drawings: BTreeMap<String, String>,
    /// `report.html`.
    pub page: String,
}

/// Measures the cells in some folders together.
///
/// # Errors
/// When there is none, or one cannot be read or contradicts itself.
pub fn report(folders: &[PathBuf]) -> Result<Report, MeasureError> {
    let cells = Cells::read(folders)?;
    let tables = tables::all(&cells);
    let drawings = figures::all(&cells);
    let figures = drawings
        .keys()
        .map(|file| (file.trim_end_matches(".svg").to_owned(), file.clone()))
        .collect();
    let results = Results {
        schema: record::SCHEMA,
        parts: cells.parts(),
        tables,
        figures,
        findings: findings::all(&cells),
    };
    let page = page::page(&results, &drawings).into_string();
    Ok(Report {
        results,
        drawings,
        page,
    })
}

impl Report {
    /// Writes `report.html`, `results.json`, a CSV for each table and an SVG for each figure; says where the report is.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, MeasureError> {
        let put = |name: &str, text: &str| write_atomically(&folder.join(name), text.as_bytes());
        for (name, table) in &self.results.tables {
            put(&format!("{name}.csv"), &table.csv())?;
        }
        for (name, drawing) in &self.drawings {
            put(name, drawing)?;
        }
        write_json(&folder.join("results.json"), &self.results)?;
        put("report.html", &self.page)?;
        Ok(folder.join("report.html"))
    }
}

/// Where `results.json` of a folder differs from what the cells in it say; empty when nowhere.
///
/// # Errors
/// When results or cells cannot be read.
pub fn verify(folder: &Path) -> Result<Vec<Difference>, MeasureError> {
    let again = report(&[folder.to_owned()])?.results;
    of_results(folder, &again)
}

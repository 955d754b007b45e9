//! Load that was measured elsewhere, read from files.
//!
//! A [`Trace`] is one [`Series`] for each machine: shares of its CPU over time. Files are read as a stream, plain or
//! packed with gzip; nothing stays in memory but the values. What is wrong in a file is counted and named ([`BadRows`]),
//! what makes it unusable is an error ([`TraceError`]); nothing is corrected and nothing is left out without a word.
//!
//! Read in this order: [`layout`] (which files there are, and how one is told), [`series`](Series) (what comes out),
//! `lines` (a file, line by line), `gather` (rows in any order become series), `field` (what a figure may be), one file
//! for each layout, [`bad`], [`error`].

pub mod bad;
pub mod error;
pub mod layout;
pub mod series;

mod alibaba;
mod azure;
mod bitbrains;
mod field;
mod files;
mod gather;
mod google;
mod header;
mod lines;
mod plain;
mod planetlab;

use std::io::BufRead;
use std::path::Path;

pub use bad::{BadRow, BadRows};
pub use error::TraceError;
pub use layout::Layout;
pub use series::{Series, Trace};

use files::Files;
use gather::Gather;
use lines::Lines;

/// Reads a file, plain or packed with gzip, or all files of a folder as one trace.
///
/// Without a layout it is told from the name and the first line of the first file. Of a folder the files are taken in the
/// order of their names; where some are called `.csv` or `.csv.gz`, only these are ([`Trace::left_out`] names the others).
///
/// # Errors
/// When a file cannot be read to its end, is not of the layout, or nothing usable is in it.
pub fn open(path: &Path, layout: Option<Layout>) -> Result<Trace, TraceError> {
    let files = Files::at(path)?;
    let mut known = layout;
    let mut gather = Gather::default();
    for file in &files.paths {
        let layout = match known {
            Some(layout) => layout,
            None => files::layout_of(file)?,
        };
        known = Some(layout);
        gather.begin_file(file);
        let mut input = files::reader(file)?;
        read_into(layout, &mut Lines::new(file, &mut input), &mut gather)?;
    }
    let mut trace = gather.finish(path)?;
    trace.left_out = files.left_out;
    Ok(trace)
}

/// Reads one stream of a known layout; `name` stands for the file in errors, and for the machine where a file is one.
///
/// # Errors
/// As [`open`].
pub fn read(layout: Layout, name: &Path, mut input: impl BufRead) -> Result<Trace, TraceError> {
    let mut gather = Gather::default();
    gather.begin_file(name);
    read_into(layout, &mut Lines::new(name, &mut input), &mut gather)?;
    gather.finish(name)
}

fn read_into(layout: Layout, lines: &mut Lines<'_>, gather: &mut Gather) -> Result<(), TraceError> {
    match layout {
        Layout::PlanetLab => planetlab::read_days(lines, gather),
        Layout::PlanetLabFolder => planetlab::read_machine(lines, gather),
        Layout::Bitbrains => bitbrains::read(lines, gather),
        Layout::Azure2019 => azure::read(lines, gather),
        Layout::Alibaba2018 => alibaba::read(lines, gather),
        Layout::Google2019 => google::read(lines, gather),
        Layout::Plain => plain::read(lines, gather),
    }
}

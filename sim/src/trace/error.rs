//! Why a trace could not be used.

use std::path::PathBuf;

use super::bad::Example;
use super::layout::Layout;

/// Why a trace could not be used. Nothing of it is used then, whatever had been read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The operating system refused a file or folder.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A file cannot be read further.
    #[error("cannot read {} beyond line {line}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The last line that was read.
        line: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// A packed file is cut off or spoilt.
    #[error("{} is packed with gzip, but cut off or spoilt after line {line}", path.display())]
    Gzip {
        /// Which.
        path: PathBuf,
        /// The last line that could be unpacked.
        line: u64,
        /// What the unpacker said.
        source: std::io::Error,
    },
    /// Columns are separated by something else.
    #[error(
        "{}:{line}: columns are separated by {found}; in the layout {} they are by {expected}",
        path.display(), layout.name()
    )]
    Delimiter {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The layout that was read.
        layout: Layout,
        /// By what they are.
        found: &'static str,
        /// By what they should be.
        expected: &'static str,
    },
    /// The first line does not name a column that is needed.
    #[error("{}:1: the first line must name the column {missing}; it says `{found}`", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The column.
        missing: &'static str,
        /// What the line says, shortened.
        found: String,
    },
    /// There are no rows, hence no machines.
    #[error("{} has no rows: no machine, nothing to replay", path.display())]
    NoRows {
        /// The file or folder.
        path: PathBuf,
    },
    /// None of the rows can be used.
    #[error("none of the {rows} rows of {} can be used; the first: {first}", path.display())]
    NoUsableRows {
        /// The file or folder.
        path: PathBuf,
        /// How many there are.
        rows: u64,
        /// The first.
        first: Box<Example>,
    },
    /// No machine has two values: there is no load over time.
    #[error("no machine of {} has values of two instants", path.display())]
    OneInstant {
        /// The file or folder.
        path: PathBuf,
    },
    /// A folder holds no files.
    #[error("the folder {} holds no files, but {folders} folders: name one that holds them", path.display())]
    NoFiles {
        /// Which.
        path: PathBuf,
        /// How many folders are in it.
        folders: usize,
    },
    /// The layout cannot be told.
    #[error(
        "cannot tell the layout of {} from its name or its first line `{line}`; say which: {}",
        path.display(), layout_names()
    )]
    UnknownLayout {
        /// The file.
        path: PathBuf,
        /// Its first line, shortened.
        line: String,
    },
}

fn layout_names() -> String {
    Layout::ALL.map(Layout::name).join(", ")
}

//! Which files a trace is in.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::bad::shortened;
use super::error::TraceError;
use super::layout::Layout;
use super::lines::Lines;

/// Bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// What a file packed with gzip begins with (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The files of a trace.
#[derive(Debug)]
pub(super) struct Files {
    /// In order of their names; at least one.
    pub(super) paths: Vec<PathBuf>,
    /// Names of those in the folder that are not of the trace.
    pub(super) left_out: Vec<String>,
}

impl Files {
    /// The file, or those of the folder.
    pub(super) fn at(path: &Path) -> Result<Self, TraceError> {
        let cannot_open = |source| TraceError::Open {
            path: path.to_owned(),
            source,
        };
        if !fs::metadata(path).map_err(cannot_open)?.is_dir() {
            return Ok(Self {
                paths: vec![path.to_owned()],
                left_out: Vec::new(),
            });
        }
        let mut paths = Vec::new();
        let mut folders = 0;
        for entry in fs::read_dir(path).map_err(cannot_open)? {
            let entry = entry.map_err(cannot_open)?.path();
            if entry.is_dir() {
                folders += 1;
            } else {
                paths.push(entry);
            }
        }
        if paths.is_empty() {
            return Err(TraceError::NoFiles {
                path: path.to_owned(),
                folders,
            });
        }
        paths.sort();
        Ok(Self::of_folder(paths))
    }

    /// Published folders hold a README or checksums beside the data.
    fn of_folder(paths: Vec<PathBuf>) -> Self {
        let (tables, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| is_table(path));
        let (paths, others) = if tables.is_empty() {
            others.into_iter().partition(|path| !is_hidden(path))
        } else {
            (tables, others)
        };
        let name = |path: PathBuf| shown_name(&path);
        Self {
            paths,
            left_out: others.into_iter().map(name).collect(),
        }
    }
}

/// The layout of a file, told from its name and first line.
pub(super) fn layout_of(path: &Path) -> Result<Layout, TraceError> {
    let mut input = reader(path)?;
    let mut lines = Lines::new(path, &mut input);
    let line = match lines.next()? {
        Some(row) => row.text.to_vec(),
        None => Vec::new(),
    };
    if line.is_empty() && lines.next()?.is_none() {
        return Err(TraceError::NoRows {
            path: path.to_owned(),
        });
    }
    Layout::told_from(path, &line).ok_or_else(|| TraceError::UnknownLayout {
        path: path.to_owned(),
        line: shortened(&line),
    })
}

/// The last part of a path.
pub(super) fn shown_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn is_table(path: &Path) -> bool {
    let name = shown_name(path).to_ascii_lowercase();
    !is_hidden(path) && (name.ends_with(".csv") || name.ends_with(".csv.gz"))
}

fn is_hidden(path: &Path) -> bool {
    shown_name(path).starts_with('.')
}

/// A file as it is, or unpacked.
pub(super) fn reader(path: &Path) -> Result<Box<dyn BufRead>, TraceError> {
    let cannot_open = |source| TraceError::Open {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(cannot_open)?;
    let mut magic = Vec::new();
    let mut first = (&mut file).take(GZIP_MAGIC.len() as u64);
    first.read_to_end(&mut magic).map_err(cannot_open)?;
    let is_packed = magic == GZIP_MAGIC || path.extension().is_some_and(|last| last == "gz");
    let all = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(magic).chain(file));
    Ok(if is_packed {
        let unpacked = MultiGzDecoder::new(all);
        Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked))
    } else {
        Box::new(all)
    })
}

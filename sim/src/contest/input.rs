//! What a contest is about: fleets and their load.

use std::path::Path;

use crate::fleet::{Fleet, PackError, Packing, pack};
use crate::generate;
use crate::refine::Refinement;
use crate::trace::{Layout, Trace, TraceError, open};

/// Hosts of a fleet that is packed from a trace.
pub const HOSTS: usize = 40;

/// A fleet by name.
#[derive(Clone, Debug)]
pub struct Input {
    /// What it is made from: a trace's file with its refinement, or a family of generators.
    pub name: String,
    /// The seed that it was made with.
    pub seed: u64,
    /// Hosts, functions and load.
    pub fleet: Fleet,
}

/// Why there is no input.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The folder cannot be listed.
    #[error("cannot list traces in {folder}")]
    Folder {
        /// The folder.
        folder: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It holds none.
    #[error("there is no trace in {0}")]
    Empty(String),
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A trace is no fleet.
    #[error("{name} cannot be packed on {HOSTS} hosts")]
    Pack {
        /// The trace.
        name: String,
        /// The cause.
        source: PackError,
    },
}

/// The traces of a folder, by name: each file is one, and so is each folder in it. Without a layout each is told by its name or
/// its first line.
///
/// # Errors
/// When it cannot be listed, holds none, or one cannot be read.
pub fn traces(folder: &Path, layout: Option<Layout>) -> Result<Vec<(String, Trace)>, InputError> {
    let shown = folder.display().to_string();
    let list = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = list.map_err(|source| InputError::Folder {
        folder: shown.clone(),
        source,
    })?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if name.starts_with('.') || name.to_lowercase().starts_with("readme") {
            continue;
        }
        let short = name.split('.').next().unwrap_or(&name).to_owned();
        found.push((short, open(&path, layout)?));
    }
    if found.is_empty() {
        return Err(InputError::Empty(shown));
    }
    Ok(found)
}

/// A trace in each refinement.
///
/// # Errors
/// When it cannot be packed.
pub fn of_trace(name: &str, trace: &Trace, seed: u64) -> Result<Vec<Input>, InputError> {
    let refined = |refinement: Refinement| {
        let packing = Packing::standard(HOSTS, refinement, seed);
        let fleet = pack(trace, &packing).map_err(|source| InputError::Pack {
            name: name.to_owned(),
            source,
        })?;
        Ok(Input {
            name: format!("{name}-{}", refinement.name()),
            seed,
            fleet,
        })
    };
    Refinement::ALL.into_iter().map(refined).collect()
}

/// Every family of generators.
#[must_use]
pub fn generated(seed: u64) -> Vec<Input> {
    let input = |made: generate::Generated| Input {
        name: made.family.to_owned(),
        seed,
        fleet: made.fleet,
    };
    generate::all(seed).into_iter().map(input).collect()
}

/// A trace in words: what it holds, and what of it could not be used, with the first of those.
#[must_use]
pub fn describe(trace: &Trace) -> String {
    let mut text = format!(
        "{} machines, {} rows, {} bad values",
        trace.series.len(),
        trace.rows,
        trace.bad.total
    );
    let reasons = trace.bad.by_reason.iter();
    let reasons: Vec<String> = reasons
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    if !reasons.is_empty() {
        text.push_str(&format!(" ({})", reasons.join(", ")));
    }
    for example in &trace.bad.first {
        text.push_str(&format!("\n  {example}"));
    }
    text
}

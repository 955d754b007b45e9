//! What can be wrong with a scenario.

use std::path::{Path, PathBuf};

/// Why a scenario cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// There is no such file.
    #[error(
        "cannot read {path}: {source}. A scenario is a folder with a scenario.toml; `forestall lab list` shows those that are here"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There is no such inventory.
    #[error(
        "cannot read {path}: {source}. An inventory says which machines the hosts of a scenario are; docs/hosts.md has one"
    )]
    ReadInventory {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong and what is allowed.
        message: String,
    },
}

impl ScenarioError {
    pub(crate) fn at(path: &Path, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let line = text
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1;
        Self::Wrong {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

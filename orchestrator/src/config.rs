//! The orchestrator's configuration, one TOML file.

use std::path::{Path, PathBuf};

use control::Settings;
use drivers::qemu::QemuConfig;
use serde::{Deserialize, Serialize};

use crate::snmp::Snmp;

/// Version of the file. 2: what a controller is told of functions and limits has grown, secrets are not in it.
pub const SCHEMA: u32 = 2;

/// Everything that `forestall orchestrate` has to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the format; 1.
    pub schema: u32,
    /// Folder for `inputs.jsonl`, `decisions.jsonl` and `moves.jsonl`; it must exist.
    pub journal: PathBuf,
    /// Where load is read.
    pub snmp: Snmp,
    /// When and where to move.
    pub control: Settings,
    /// How to move.
    pub qemu: QemuConfig,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error("{path}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where it is known.
        message: String,
    },
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// With the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |message: String| ConfigError::Wrong {
            path: path.to_owned(),
            message,
        };
        let config: Self = toml::from_str(&text).map_err(|error| wrong(place(&text, &error)))?;
        if config.schema != SCHEMA {
            return Err(wrong(format!(
                "schema is {}; this program reads {SCHEMA}",
                config.schema
            )));
        }
        config
            .control
            .check()
            .map_err(|error| wrong(format!("control: {error}")))?;
        if let Some(host) = config
            .control
            .hosts
            .iter()
            .find(|host| !config.snmp.agents.contains_key(*host))
        {
            return Err(wrong(format!("snmp.agents names no agent for host {host}")));
        }
        config
            .snmp
            .check()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(config)
    }
}

/// An error with its line, but without the line's text: somebody may have written a password there.
fn place(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.matches('\n').count() + 1);
    line.map_or_else(
        || error.message().to_owned(),
        |line| format!("line {line}: {}", error.message()),
    )
}

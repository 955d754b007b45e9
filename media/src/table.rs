//! A CSV file that another process can follow while it grows.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use record::Timestamp;
use serde::Serialize;

use crate::MediaError;

/// Rows reach the file at the latest after this and one wait for a datagram.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Rows of one type, with a header.
pub(crate) struct Table {
    path: PathBuf,
    writer: csv::Writer<File>,
    flushed: Timestamp,
}

impl Table {
    pub(crate) fn create(path: &Path) -> Result<Self, MediaError> {
        let file = File::create(path).map_err(|source| MediaError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            writer: csv::Writer::from_writer(file),
            flushed: Timestamp::default(),
        })
    }

    pub(crate) fn write(&mut self, row: &impl Serialize) -> Result<(), MediaError> {
        self.writer
            .serialize(row)
            .map_err(|e| self.failed(io::Error::other(e)))
    }

    /// Brings the rows to the file if it is time to.
    pub(crate) fn flush_due(&mut self, now: Timestamp) -> Result<(), MediaError> {
        if now.since(self.flushed) < FLUSH_EVERY {
            return Ok(());
        }
        self.flushed = now;
        self.flush()
    }

    pub(crate) fn flush(&mut self) -> Result<(), MediaError> {
        self.writer.flush().map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> MediaError {
        MediaError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

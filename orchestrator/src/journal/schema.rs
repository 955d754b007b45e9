//! Tables of the journal, and how an older file gets those of today.

use std::path::Path;

use record::HostName;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::JournalError;

/// Steps from one version to the next, in order: a file of version n has had the first n of them. A step that was released is
/// never changed; a new one is added at the end.
const STEPS: [&str; 3] = [
    "CREATE TABLE run (id INTEGER PRIMARY KEY, begun_us INTEGER NOT NULL, settings TEXT NOT NULL) STRICT;
     CREATE TABLE host (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
     CREATE TABLE sample (id INTEGER PRIMARY KEY, host INTEGER NOT NULL, heard_us INTEGER NOT NULL,
         measured_us INTEGER NOT NULL, interval_ms REAL NOT NULL, load REAL NOT NULL) STRICT;
     CREATE INDEX sample_by_time ON sample (measured_us);
     CREATE INDEX sample_by_host ON sample (host, measured_us);
     CREATE TABLE mean (host INTEGER NOT NULL, begin_us INTEGER NOT NULL, span_us INTEGER NOT NULL, load REAL NOT NULL,
         load_max REAL NOT NULL, samples INTEGER NOT NULL, PRIMARY KEY (host, span_us, begin_us)) STRICT, WITHOUT ROWID;
     CREATE TABLE decision (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, at_us INTEGER NOT NULL, kind TEXT NOT NULL,
         host TEXT, vm TEXT, migration INTEGER, json TEXT NOT NULL) STRICT;
     CREATE INDEX decision_by_time ON decision (kind, at_us);
     CREATE INDEX decision_by_host ON decision (host, at_us);
     CREATE INDEX decision_by_vm ON decision (vm, at_us);
     CREATE INDEX decision_by_move ON decision (migration) WHERE migration IS NOT NULL;
     CREATE TABLE fact (id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, migration INTEGER NOT NULL, json TEXT NOT NULL) STRICT;
     CREATE INDEX fact_by_move ON fact (migration);
     CREATE TABLE standing (kind TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
         PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;",
    "CREATE TABLE viewed (id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, vm TEXT NOT NULL, json TEXT NOT NULL) STRICT;
     CREATE INDEX viewed_by_time ON viewed (at_us);",
    "CREATE TABLE taught (host TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;",
];

/// Version of a file that has had all steps.
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// Makes what is missing.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let database = |source| JournalError::Database {
        path: path.to_owned(),
        source,
    };
    // Readers do not hinder the writer, and a killed writer leaves the last whole transaction.
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(database)?;
    let version: u32 = version(connection).map_err(database)?;
    if version > VERSION {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    for (number, step) in (1..).zip(STEPS).skip(version as usize) {
        // A step and its version together, or not at all.
        let transaction = connection.transaction().map_err(database)?;
        transaction.execute_batch(step).map_err(database)?;
        transaction
            .pragma_update(None, "user_version", number)
            .map_err(database)?;
        transaction.commit().map_err(database)?;
    }
    Ok(())
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The number of a host's name in this file.
pub(super) fn host_id(transaction: &Transaction<'_>, host: &HostName) -> rusqlite::Result<i64> {
    let found = transaction
        .prepare_cached("SELECT id FROM host WHERE name = ?1")?
        .query_row(params![host.as_str()], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => {
            transaction.execute("INSERT INTO host (name) VALUES (?1)", [host.as_str()])?;
            Ok(transaction.last_insert_rowid())
        }
    }
}

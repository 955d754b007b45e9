//! What an orchestrator remembers: one SQLite file.
//!
//! Each turn of the loop is one transaction: samples that came in, decisions made of them, and what has to be known after a
//! restart ([`Standing`]). It is committed before anything is done, and synced first when the decision can change something
//! outside, so that after `kill -9` at any instant every move that may have begun is known.
//!
//! `schema.rs` makes the tables and brings older files up to date, `standing.rs` is what a restart goes on with, `thin.rs`
//! keeps the file small, `history.rs` reads it while it is written.

pub mod history;
mod schema;
mod standing;
mod thin;

use std::fs::File;
use std::path::{Path, PathBuf};

use control::{Input, Settings};
use nix::fcntl::{Flock, FlockArg};
use record::{Decision, Event, HostName, Sample, Timestamp, VmName};
use rusqlite::{Connection, Transaction, params};

use crate::knees::Taught;
use crate::recording::MoveFact;
use crate::reports::Views;

pub use history::History;
pub use standing::{Learned, Standing};

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite cannot do it.
    #[error("the journal {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The file beside it that says whose it is cannot be opened.
    #[error("cannot lock the journal: {path}: {source}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another orchestrator has it.
    #[error(
        "another orchestrator runs with the journal {path}: two would move the same functions. `forestall status` says what it does"
    )]
    Leased {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "the journal {path} has version {found}; this program knows up to {known}: use the newer program, or another file"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// What stands in it is not what this program wrote.
    #[error("the journal {path}: {what} does not read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
        /// Why.
        why: String,
    },
}

/// The journal, open for writing by one orchestrator.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: Connection,
    /// Which start of an orchestrator this is.
    run: i64,
    thinned: Timestamp,
    size_max_bytes: u64,
    /// Held as long as this lives; the kernel frees it when the process ends, however it ends.
    _lease: Flock<File>,
}

/// What came of one turn of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// What came in.
    pub inputs: &'a [(Timestamp, Input)],
    /// What was decided.
    pub decisions: &'a [Decision],
    /// What is true of the functions named in them from now on, as [`control::Controller::known`] says it.
    pub known: &'a [Input],
    /// What it taught of functions.
    pub learned: &'a [(VmName, Learned)],
    /// What viewers have taught of hosts, where that has changed; `None` where nothing is known any more.
    pub taught: &'a [(HostName, Option<Taught>)],
}

impl Journal {
    /// Opens a journal, makes it if there is none, and brings an older one up to date.
    ///
    /// # Errors
    /// When another orchestrator has it, a newer program wrote it, or it cannot be written.
    pub fn open(path: &Path, size_max_bytes: u64) -> Result<Self, JournalError> {
        let lease = lease(path)?;
        let database = |source| JournalError::Database {
            path: path.to_owned(),
            source,
        };
        let mut connection = Connection::open(path).map_err(database)?;
        schema::prepare(&mut connection, path)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            run: 0,
            thinned: Timestamp(0),
            size_max_bytes,
            _lease: lease,
        })
    }

    /// What a restart goes on with.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn standing(&self) -> Result<Standing, JournalError> {
        standing::read(&self.connection, &self.path)
    }

    /// A controller with these settings begins.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&mut self, now: Timestamp, settings: &Settings) -> Result<(), JournalError> {
        let settings = json("settings", settings, &self.path)?;
        self.write(true, |transaction| {
            transaction.execute(
                "INSERT INTO run (begun_us, settings) VALUES (?1, ?2)",
                params![now.0 as i64, settings],
            )
        })?;
        self.run = self.connection.last_insert_rowid();
        Ok(())
    }

    /// Writes one turn down: all of it, or nothing of it. What can change something outside is on the disk when it returns.
    ///
    /// # Errors
    /// When it cannot be written: then nothing of it may be done.
    pub fn turn(&mut self, turn: Turn<'_>) -> Result<(), JournalError> {
        let lasting = turn.decisions.iter().any(|decision| lasts(&decision.event))
            || turn.inputs.iter().any(|(_, input)| standing::keeps(input));
        let path = self.path.clone();
        let run = self.run;
        let lines: Result<Vec<String>, _> = turn
            .decisions
            .iter()
            .map(|decision| json("a decision", decision, &path))
            .collect();
        let lines = lines?;
        self.write(lasting, |transaction| {
            for (now, input) in turn.inputs {
                if let Input::Sample(sample) = input {
                    insert_sample(transaction, *now, sample)?;
                }
                standing::take_input(transaction, input)?;
            }
            for (decision, line) in turn.decisions.iter().zip(lines) {
                insert_decision(transaction, run, decision, &line)?;
                standing::take_decision(transaction, &decision.event)?;
            }
            for known in turn.known {
                standing::keep_known(transaction, known)?;
            }
            for (vm, learned) in turn.learned {
                standing::keep_learned(transaction, vm, learned)?;
            }
            for (host, taught) in turn.taught {
                standing::keep_taught(transaction, host, taught.as_ref())?;
            }
            Ok(())
        })
    }

    /// Writes down what a driver saw of a move.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fact(
        &mut self,
        at: Timestamp,
        migration: u64,
        fact: &MoveFact,
    ) -> Result<(), JournalError> {
        let line = json("a fact", fact, &self.path)?;
        self.write(false, |transaction| {
            transaction
                .prepare_cached("INSERT INTO fact (at_us, migration, json) VALUES (?1, ?2, ?3)")?
                .execute(params![at.0 as i64, migration as i64, line])
        })
        .map(drop)
    }

    /// Writes down what viewers see; call it now and then.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn views(&mut self, at: Timestamp, views: &Views) -> Result<(), JournalError> {
        if views.is_empty() {
            return Ok(());
        }
        let line = |(vm, view)| Ok((vm, json("what viewers see", view, &self.path)?));
        let lines: Result<Vec<(&VmName, String)>, JournalError> = views.iter().map(line).collect();
        let lines = lines?;
        self.write(false, |transaction| {
            let mut insert = transaction
                .prepare_cached("INSERT INTO viewed (at_us, vm, json) VALUES (?1, ?2, ?3)")?;
            for (vm, line) in lines {
                insert.execute(params![at.0 as i64, vm.as_str(), line])?;
            }
            Ok(())
        })
    }

    /// Makes old samples fewer, and the file small enough, when it is time for it; call it now and then.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn thin(&mut self, now: Timestamp) -> Result<(), JournalError> {
        if now.since(self.thinned) < thin::EVERY {
            return Ok(());
        }
        self.thinned = now;
        let size_max = self.size_max_bytes;
        self.write(false, |transaction| thin::thin(transaction, now, size_max))
    }

    fn write<T>(
        &mut self,
        synced: bool,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let path = &self.path;
        let database = |source| JournalError::Database {
            path: path.clone(),
            source,
        };
        // Between transactions only: SQLite does not change it within one.
        let level = if synced { "FULL" } else { "NORMAL" };
        let connection = &mut self.connection;
        connection
            .pragma_update(None, "synchronous", level)
            .map_err(database)?;
        let transaction = connection.transaction().map_err(database)?;
        let done = work(&transaction).map_err(database)?;
        transaction.commit().map_err(database)?;
        Ok(done)
    }
}

/// Whether a decision can change something outside, or says how something ended.
const fn lasts(event: &Event) -> bool {
    !matches!(event, Event::Hold { .. } | Event::Inspect { .. })
}

fn lease(path: &Path) -> Result<Flock<File>, JournalError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let opened = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&beside)
        .map_err(|source| JournalError::Lock {
            path: beside.clone(),
            source,
        })?;
    Flock::lock(opened, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => JournalError::Leased {
            path: path.to_owned(),
        },
        other => JournalError::Lock {
            path: beside,
            source: other.into(),
        },
    })
}

fn insert_sample(
    transaction: &Transaction<'_>,
    now: Timestamp,
    sample: &Sample,
) -> rusqlite::Result<()> {
    let host = schema::host_id(transaction, &sample.host)?;
    transaction
        .prepare_cached(
            "INSERT INTO sample (host, heard_us, measured_us, interval_ms, load) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            host,
            now.0 as i64,
            sample.measured_at_us.0 as i64,
            sample.interval_ms,
            sample.utilization.share()
        ])
        .map(drop)
}

fn insert_decision(
    transaction: &Transaction<'_>,
    run: i64,
    decision: &Decision,
    line: &str,
) -> rusqlite::Result<()> {
    let about = About::of(&decision.event);
    transaction
        .prepare_cached(
            "INSERT INTO decision (run, at_us, kind, host, vm, migration, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            run,
            decision.at_us.0 as i64,
            about.kind,
            about.host,
            about.vm,
            about.migration.map(|id| id as i64),
            line
        ])
        .map(drop)
}

/// What a decision is found by.
struct About<'a> {
    kind: &'static str,
    host: Option<&'a str>,
    vm: Option<&'a str>,
    migration: Option<u64>,
}

impl<'a> About<'a> {
    fn of(event: &'a Event) -> Self {
        let of = |kind| Self {
            kind,
            host: None,
            vm: None,
            migration: None,
        };
        let moving = |kind, migration: &u64| Self {
            migration: Some(*migration),
            ..of(kind)
        };
        match event {
            Event::Hold { host, .. } => Self {
                host: Some(host.as_str()),
                ..of("hold")
            },
            Event::Start {
                migration,
                vm,
                source,
                ..
            } => Self {
                host: Some(source.as_str()),
                vm: Some(vm.as_str()),
                ..moving("start", migration)
            },
            Event::Inspect { migration } => moving("inspect", migration),
            Event::Cancel { migration, .. } => moving("cancel", migration),
            Event::Run { migration, .. } => moving("run", migration),
            Event::Discard { migration, .. } => moving("discard", migration),
            Event::Settled { migration, .. } => moving("settled", migration),
            Event::Relocated { vm, from, .. } => Self {
                host: Some(from.as_str()),
                vm: Some(vm.as_str()),
                ..of("relocated")
            },
            Event::Declined { vm, .. } => Self {
                vm: Some(vm.as_str()),
                ..of("declined")
            },
            Event::Alarm { migration, vm, .. } => Self {
                vm: Some(vm.as_str()),
                ..moving("alarm", migration)
            },
        }
    }
}

fn json(what: &str, value: &impl serde::Serialize, path: &Path) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| unreadable(path, what, &error))
}

fn unreadable(path: &Path, what: &str, why: &dyn std::fmt::Display) -> JournalError {
    JournalError::Unreadable {
        path: path.to_owned(),
        what: what.into(),
        why: why.to_string(),
    }
}

//! The journal, read while an orchestrator writes it.

use std::path::{Path, PathBuf};

use record::decision::{Cause, MigrationId};
use record::{Decision, Event, HostName, Timestamp, Verdict, VmName};
use rusqlite::{Connection, OpenFlags, ToSql};
use serde::{Deserialize, Serialize};

use super::{JournalError, schema, unreadable};
use crate::progress::CopyProgress;
use crate::recording::MoveFact;

/// Decisions that are read at once at most.
pub const DECISIONS_MAX: usize = 1000;

/// A move, from its start to what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveRecord {
    /// Its number.
    pub migration: MigrationId,
    /// What moved.
    pub vm: VmName,
    /// From where.
    pub source: HostName,
    /// To where.
    pub target: HostName,
    /// What made it due.
    pub cause: Cause,
    /// When it was decided.
    pub decided_at_us: Timestamp,
    /// How long it was expected to take, 95th percentile; `null` for a policy that does not predict.
    pub predicted_ms: Option<f64>,
    /// When the load was expected to reach the knee; `null` when it was not.
    pub knee_at_us: Option<Timestamp>,
    /// When the guest ran at the target.
    pub runs_at_us: Option<Timestamp>,
    /// From the decision until the guest ran at the target.
    pub took_ms: Option<f64>,
    /// The engine's total migration time.
    pub engine_total_ms: Option<f64>,
    /// The engine's downtime.
    pub engine_downtime_ms: Option<f64>,
    /// The expected knee minus the instant at which the guest ran at the target: positive when it was in time.
    pub margin_ms: Option<f64>,
    /// When it was over; `null` while it is not.
    pub settled_at_us: Option<Timestamp>,
    /// How it ended; `null` while it has not.
    pub verdict: Option<Verdict>,
    /// What went wrong.
    pub failure: Option<String>,
    /// How far copying is, of a move that is open: that is not in the journal, but with who makes it.
    #[serde(default)]
    pub progress: Option<CopyProgress>,
}

/// Mean load of a host over a span.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// End of the span.
    pub at_us: Timestamp,
    /// Mean.
    pub load: f64,
    /// Highest sample in it.
    pub load_max: f64,
}

/// A journal, open for reading.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    connection: Connection,
}

impl History {
    /// Opens a journal that is there.
    ///
    /// # Errors
    /// When it cannot be read, or has another version.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let database = |source| JournalError::Database {
            path: path.to_owned(),
            source,
        };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(database)?;
        let found = schema::version(&connection).map_err(database)?;
        if found != schema::VERSION {
            return Err(JournalError::Newer {
                path: path.to_owned(),
                found,
                known: schema::VERSION,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            connection,
        })
    }

    /// The last moves, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn moves(&self, limit: usize) -> Result<Vec<MoveRecord>, JournalError> {
        let starts = self.decisions(
            "kind = 'start' ORDER BY id DESC LIMIT ?1",
            &[&(limit.min(DECISIONS_MAX) as i64)],
        )?;
        let records = starts.iter().map(|start| self.record(start));
        Ok(records
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Everything that was decided about a move, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_move(&self, migration: MigrationId) -> Result<Vec<Decision>, JournalError> {
        self.decisions("migration = ?1 ORDER BY id", &[&(migration as i64)])
    }

    /// A move; `None` where there is none of this number.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn one_move(&self, migration: MigrationId) -> Result<Option<MoveRecord>, JournalError> {
        let decisions = self.of_move(migration)?;
        match decisions.first() {
            Some(start) => self.record(start),
            None => Ok(None),
        }
    }

    /// The last decisions about a host, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of_host(&self, host: &HostName, limit: usize) -> Result<Vec<Decision>, JournalError> {
        self.decisions(
            "host = ?1 ORDER BY id DESC LIMIT ?2",
            &[&host.as_str(), &(limit.min(DECISIONS_MAX) as i64)],
        )
    }

    /// The last decisions about a function, newest first, with how its moves ended: a verdict bears the number of its move alone.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of_function(&self, vm: &VmName, limit: usize) -> Result<Vec<Decision>, JournalError> {
        self.decisions(
            "vm = ?1 OR (kind = 'settled' AND migration IN
                 (SELECT migration FROM decision WHERE vm = ?1 AND kind = 'start'))
             ORDER BY id DESC LIMIT ?2",
            &[&vm.as_str(), &(limit.min(DECISIONS_MAX) as i64)],
        )
    }

    /// Load of a host since an instant, oldest first: single samples where they are kept, means before that.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(&self, host: &HostName, since: Timestamp) -> Result<Vec<Load>, JournalError> {
        let sql = "SELECT begin_us + span_us, mean.load, load_max FROM mean JOIN host ON host.id = host
                       WHERE name = ?1 AND begin_us >= ?2
                   UNION ALL SELECT measured_us, sample.load, sample.load FROM sample JOIN host ON host.id = host
                       WHERE name = ?1 AND measured_us >= ?2
                   ORDER BY 1";
        let since = since.0 as i64;
        let read = || {
            self.connection
                .prepare_cached(sql)?
                .query_map(rusqlite::params![host.as_str(), since], |row| {
                    Ok(Load {
                        at_us: Timestamp(row.get::<_, i64>(0)?.max(0) as u64),
                        load: row.get(1)?,
                        load_max: row.get(2)?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.database(source))
    }

    fn record(&self, start: &Decision) -> Result<Option<MoveRecord>, JournalError> {
        let Event::Start {
            migration,
            vm,
            source,
            target,
            cause,
            predicted_total_ms,
            evidence,
            ..
        } = &start.event
        else {
            return Ok(None);
        };
        let mut record = MoveRecord {
            migration: *migration,
            vm: vm.clone(),
            source: source.clone(),
            target: target.clone(),
            cause: *cause,
            decided_at_us: start.at_us,
            predicted_ms: *predicted_total_ms,
            knee_at_us: evidence.forecast.and_then(|forecast| forecast.knee_at_us),
            runs_at_us: None,
            took_ms: None,
            engine_total_ms: None,
            engine_downtime_ms: None,
            margin_ms: None,
            settled_at_us: None,
            verdict: None,
            failure: None,
            progress: None,
        };
        for (at, fact) in self.facts(*migration)? {
            match fact {
                MoveFact::RunsAtTarget => record.runs_at_us = Some(at),
                MoveFact::Figures {
                    total_ms,
                    downtime_ms,
                    ..
                } => (record.engine_total_ms, record.engine_downtime_ms) = (total_ms, downtime_ms),
                MoveFact::CopyingBegan | MoveFact::RunsAtSource => {}
            }
        }
        let runs_at = record.runs_at_us;
        record.took_ms = runs_at.map(|at| at.seconds_after(start.at_us) * 1e3);
        let knee = record.knee_at_us.zip(runs_at);
        record.margin_ms = knee.map(|(knee, at)| knee.seconds_after(at) * 1e3);
        for decision in self.of_move(*migration)? {
            if let Event::Settled {
                verdict, failure, ..
            } = decision.event
            {
                record.settled_at_us = Some(decision.at_us);
                record.verdict = Some(verdict);
                record.failure = failure;
            }
        }
        Ok(Some(record))
    }

    fn facts(&self, migration: MigrationId) -> Result<Vec<(Timestamp, MoveFact)>, JournalError> {
        let rows = self.rows(
            "SELECT at_us, json FROM fact WHERE migration = ?1 ORDER BY id",
            &[&(migration as i64)],
        )?;
        let fact = |(at, json): (i64, String)| {
            let fact = serde_json::from_str(&json)
                .map_err(|error| unreadable(&self.path, "a fact", &error))?;
            Ok((Timestamp(at.max(0) as u64), fact))
        };
        rows.into_iter().map(fact).collect()
    }

    fn decisions(&self, which: &str, values: &[&dyn ToSql]) -> Result<Vec<Decision>, JournalError> {
        let rows = self.rows(
            &format!("SELECT at_us, json FROM decision WHERE {which}"),
            values,
        )?;
        let decision = |(_, json): (i64, String)| {
            serde_json::from_str(&json)
                .map_err(|error| unreadable(&self.path, "a decision", &error))
        };
        rows.into_iter().map(decision).collect()
    }

    fn rows(&self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<(i64, String)>, JournalError> {
        let read = || {
            self.connection
                .prepare_cached(sql)?
                .query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.database(source))
    }

    fn database(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Database {
            path: self.path.clone(),
            source,
        }
    }
}

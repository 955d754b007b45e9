//! What is true until something else is decided, and what a restart goes on with. One row for each such thing; decisions and
//! samples may be thinned, these are not.

use std::collections::BTreeMap;
use std::path::Path;

use control::Input;
use record::decision::MigrationId;
use record::{Event, HostName, Timestamp, VmName};
use rusqlite::{Connection, Transaction, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{JournalError, unreadable};
use crate::knees::Taught;

/// Kinds of rows.
const MOVE: &str = "move";
const MOVES_BEGUN: &str = "moves_begun";
const KNOWN: &str = "known";
const DRAIN: &str = "drain";
const DISARMED: &str = "disarmed";
const LEARNED: &str = "learned";

/// An open move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenMove {
    /// What moves.
    pub vm: VmName,
    /// From where.
    pub source: HostName,
    /// To where.
    pub target: HostName,
}

/// What moves of a function have taught.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// From the decision until the guest ran at the target, of the last moves, oldest first.
    pub migrations_ms: Vec<f64>,
    /// The engine's downtimes of the last moves, oldest first.
    pub downtimes_ms: Vec<f64>,
    /// How long viewers saw nothing new at the switch, as they reported it, of the last moves of which any did, oldest first; empty in
    /// journals from before that was kept.
    #[serde(default)]
    pub gaps_ms: Vec<f64>,
    /// When the last of them got its verdict; `None` in journals from before that was kept.
    #[serde(default)]
    pub last_at_us: Option<Timestamp>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// So many moves were begun in all.
    pub moves_begun: MigrationId,
    /// Moves without a verdict.
    pub open: BTreeMap<MigrationId, OpenMove>,
    /// What was known of functions: [`Input::Known`] each.
    pub known: Vec<Input>,
    /// Hosts that are being emptied.
    pub drained: Vec<HostName>,
    /// Whether the right to begin moves was taken away.
    pub disarmed: bool,
    /// What was learned of functions.
    pub learned: BTreeMap<VmName, Learned>,
    /// What viewers have taught of hosts.
    pub taught: BTreeMap<HostName, Taught>,
}

impl Standing {
    /// What a new controller is told first: what was known, then what persons want, then what was open.
    #[must_use]
    pub fn inputs(&self) -> Vec<Input> {
        let mut inputs = self.known.clone();
        let drained = self.drained.iter().cloned();
        inputs.extend(drained.map(|host| Input::Drain { host }));
        inputs.extend(self.disarmed.then_some(Input::Disarm));
        inputs.extend(self.open.iter().map(|(id, open)| Input::Resumed {
            migration: *id,
            vm: open.vm.clone(),
            source: open.source.clone(),
            target: open.target.clone(),
        }));
        inputs
    }

    /// What was known of a function that runs on this host now.
    pub(crate) fn known_of(&self, function: &VmName, host: &HostName) -> Option<Input> {
        let mut known = self.known.iter();
        let known = known.find(|known| matches!(known, Input::Known { vm, .. } if vm == function));
        let mut known = known?.clone();
        if let Input::Known { host: there, .. } = &mut known {
            there.clone_from(host);
        }
        Some(known)
    }
}

/// Whether an input is one that has to be known after a restart.
pub(super) const fn keeps(input: &Input) -> bool {
    matches!(
        input,
        Input::Drain { .. }
            | Input::Undrain { .. }
            | Input::Disarm
            | Input::Arm
            | Input::Knee { .. }
            | Input::Looked { .. }
    )
}

pub(super) fn take_input(transaction: &Transaction<'_>, input: &Input) -> rusqlite::Result<()> {
    match input {
        Input::Drain { host } => put(transaction, DRAIN, host.as_str(), &()),
        Input::Undrain { host } => remove(transaction, DRAIN, host.as_str()),
        Input::Disarm => put(transaction, DISARMED, "", &()),
        Input::Arm => remove(transaction, DISARMED, ""),
        _ => Ok(()),
    }
}

pub(super) fn take_decision(transaction: &Transaction<'_>, event: &Event) -> rusqlite::Result<()> {
    match event {
        Event::Start {
            migration,
            vm,
            source,
            target,
            ..
        } => {
            let open = OpenMove {
                vm: vm.clone(),
                source: source.clone(),
                target: target.clone(),
            };
            put(transaction, MOVES_BEGUN, "", migration)?;
            put(transaction, MOVE, &migration.to_string(), &open)
        }
        Event::Settled { migration, .. } => remove(transaction, MOVE, &migration.to_string()),
        _ => Ok(()),
    }
}

pub(super) fn keep_known(transaction: &Transaction<'_>, known: &Input) -> rusqlite::Result<()> {
    match known {
        Input::Known { vm, .. } => put(transaction, KNOWN, vm.as_str(), known),
        _ => Ok(()),
    }
}

pub(super) fn keep_learned(
    transaction: &Transaction<'_>,
    vm: &VmName,
    learned: &Learned,
) -> rusqlite::Result<()> {
    put(transaction, LEARNED, vm.as_str(), learned)
}

/// In a table of its own: it is written as often as samples come.
pub(super) fn keep_taught(
    transaction: &Transaction<'_>,
    host: &HostName,
    taught: Option<&Taught>,
) -> rusqlite::Result<()> {
    let Some(taught) = taught else {
        let mut delete = transaction.prepare_cached("DELETE FROM taught WHERE host = ?1")?;
        return delete.execute([host.as_str()]).map(drop);
    };
    transaction
        .prepare_cached("INSERT OR REPLACE INTO taught (host, json) VALUES (?1, ?2)")?
        .execute(params![host.as_str(), json(taught)?])
        .map(drop)
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn put(
    transaction: &Transaction<'_>,
    kind: &str,
    name: &str,
    value: &impl Serialize,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO standing (kind, name, json) VALUES (?1, ?2, ?3)")?
        .execute(params![kind, name, json(value)?])
        .map(drop)
}

fn remove(transaction: &Transaction<'_>, kind: &str, name: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM standing WHERE kind = ?1 AND name = ?2")?
        .execute([kind, name])
        .map(drop)
}

pub(super) fn read(connection: &Connection, path: &Path) -> Result<Standing, JournalError> {
    let mut standing = Standing::default();
    let database = |source| JournalError::Database {
        path: path.to_owned(),
        source,
    };
    for (kind, name, json) in rows(connection).map_err(database)? {
        let what = format!("what stands of {kind} {name:?}");
        let wrong = |why: &dyn std::fmt::Display| unreadable(path, &what, why);
        match kind.as_str() {
            MOVES_BEGUN => standing.moves_begun = value(&json, wrong)?,
            MOVE => {
                let id = name.parse().map_err(|error| wrong(&error))?;
                standing.open.insert(id, value(&json, wrong)?);
            }
            KNOWN => standing.known.push(value(&json, wrong)?),
            DRAIN => {
                let host = HostName::new(&name).map_err(|error| wrong(&error))?;
                standing.drained.push(host);
            }
            DISARMED => standing.disarmed = true,
            LEARNED => {
                let vm = VmName::new(&name).map_err(|error| wrong(&error))?;
                standing.learned.insert(vm, value(&json, wrong)?);
            }
            _ => return Err(wrong(&"this program knows no such kind")),
        }
    }
    for (name, json) in rows_of_taught(connection).map_err(database)? {
        let what = format!("what viewers taught of {name:?}");
        let wrong = |why: &dyn std::fmt::Display| unreadable(path, &what, why);
        let host = HostName::new(&name).map_err(|error| wrong(&error))?;
        standing.taught.insert(host, value(&json, wrong)?);
    }
    Ok(standing)
}

fn rows_of_taught(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare("SELECT host, json FROM taught")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn rows(connection: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    connection
        .prepare("SELECT kind, name, json FROM standing")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

fn value<T: DeserializeOwned>(
    json: &str,
    wrong: impl Fn(&dyn std::fmt::Display) -> JournalError,
) -> Result<T, JournalError> {
    serde_json::from_str(json).map_err(|error| wrong(&error))
}

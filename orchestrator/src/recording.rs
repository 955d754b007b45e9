//! What came in, what was decided, what came of it, all of it, in three files of JSON lines: for experiments and replays. It
//! grows without end; what an orchestrator remembers is in its [`crate::journal`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use control::journal::{Entry, Head, INPUTS};
use control::{Input, Settings};
use record::decision::Copied;
use record::{Decision, Timestamp};
use serde::{Deserialize, Serialize};

/// File of the decisions: [`Decision`]s.
pub const DECISIONS: &str = "decisions.jsonl";
/// File of the moves: [`MoveEvent`]s.
pub const MOVES: &str = "moves.jsonl";

/// What a driver saw of a move, beside what the controller needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveEvent {
    /// When.
    pub at_us: Timestamp,
    /// Number of the move.
    pub migration: u64,
    /// What.
    #[serde(flatten)]
    pub what: MoveFact,
}

/// A fact about a move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum MoveFact {
    /// The target stands ready; copying begins.
    CopyingBegan,
    /// The guest was let run at the target, and the engine says that it does.
    RunsAtTarget,
    /// The guest was let run at the source again.
    RunsAtSource,
    /// The engine's figures.
    Figures {
        /// Total migration time.
        total_ms: Option<f64>,
        /// Downtime.
        downtime_ms: Option<f64>,
        /// What was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copied: Option<Copied>,
    },
}

/// The three files, open for appending.
#[derive(Debug)]
pub(crate) struct Recording {
    inputs: File,
    decisions: File,
    moves: File,
}

impl Recording {
    pub(crate) fn create(folder: &Path, settings: &Settings) -> Result<Self, (PathBuf, io::Error)> {
        let open = |name| {
            let path = folder.join(name);
            OpenOptions::new()
                .create_new(true)
                .append(true)
                .open(&path)
                .map_err(|error| (path, error))
        };
        let mut recording = Self {
            inputs: open(INPUTS)?,
            decisions: open(DECISIONS)?,
            moves: open(MOVES)?,
        };
        let head = Head {
            schema: control::journal::SCHEMA,
            settings: settings.clone(),
        };
        write_line(&mut recording.inputs, &head).map_err(|error| (folder.join(INPUTS), error))?;
        Ok(recording)
    }

    pub(crate) fn input(&mut self, now_us: Timestamp, input: &Input) -> io::Result<()> {
        write_line(
            &mut self.inputs,
            &Entry {
                now_us,
                input: input.clone(),
            },
        )
    }

    pub(crate) fn decision(&mut self, decision: &Decision) -> io::Result<()> {
        write_line(&mut self.decisions, decision)
    }

    pub(crate) fn fact(
        &mut self,
        at_us: Timestamp,
        migration: u64,
        what: MoveFact,
    ) -> io::Result<()> {
        write_line(
            &mut self.moves,
            &MoveEvent {
                at_us,
                migration,
                what,
            },
        )
    }
}

/// One line in one write, so that a reader never sees half a line for long, and a killed writer leaves whole ones.
fn write_line(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line)
}

//! The raw data of one run, read and checked.

use std::path::{Path, PathBuf};

use record::raw::{FrameRow, LoadRow, MigrationRow, PacketRow, PhaseRow, SentRow};
use record::{RecordError, Timestamp, read_csv};

use crate::decisions::{self, Log};
use crate::span::{Span, ms_between};

/// Why an experiment could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A file is absent or its content is wrong.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The files contradict each other or what a run is.
    #[error("{}: {text}", path.display())]
    Nonsense {
        /// File or folder.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
}

/// Longest run that is measured: more than a day says that a clock jumped.
pub const RUN_S_MAX: f64 = 86_400.0;

/// What a run left in its folder. Rows are in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRun {
    /// `sent.csv`
    pub sent: Vec<SentRow>,
    /// `frames.csv`
    pub frames: Vec<FrameRow>,
    /// `packets.csv`
    pub packets: Vec<PacketRow>,
    /// `load.csv`
    pub load: Vec<LoadRow>,
    /// `migration.csv`; none where the file is absent, too.
    pub migrations: Vec<MigrationRow>,
    /// `decisions.jsonl`
    pub decisions: Log,
    /// The phase `idle`, if the run had one.
    pub idle: Option<Span>,
    /// The phase `load`.
    pub under_load: Span,
    /// From the start of the first phase to the end of the last.
    pub phases: Span,
}

impl RawRun {
    /// Reads the run's folder.
    ///
    /// # Errors
    /// A file is absent or broken, a phase is missing or ends before it starts, a time or figure is nonsense.
    pub fn read(folder: &Path) -> Result<Self, MeasureError> {
        let phases_path = folder.join("phases.csv");
        let phases: Vec<PhaseRow> = read_csv(&phases_path)?;
        let nonsense = |text: String| MeasureError::Nonsense {
            path: phases_path.clone(),
            text,
        };
        let phase = |name: &str| phases.iter().find(|row| row.phase == name).map(span_of);
        let under_load = phase("load").ok_or_else(|| nonsense("no phase `load`".into()))?;
        if let Some(row) = phases.iter().find(|row| row.end_us <= row.start_us) {
            return Err(nonsense(format!(
                "phase `{}` ends before it starts",
                row.phase
            )));
        }
        let whole = Span {
            start: phases
                .iter()
                .map(|row| row.start_us)
                .min()
                .unwrap_or(under_load.start),
            end: phases
                .iter()
                .map(|row| row.end_us)
                .max()
                .unwrap_or(under_load.end),
        };
        if whole.seconds() > RUN_S_MAX {
            return Err(nonsense(format!(
                "the phases span {:.0} s; a run has at most {RUN_S_MAX} s",
                whole.seconds()
            )));
        }
        let migration_path = folder.join("migration.csv");
        let raw = Self {
            sent: read_csv(&folder.join("sent.csv"))?,
            frames: in_order(read_csv(&folder.join("frames.csv"))?, |row: &FrameRow| {
                row.shown_us
            }),
            packets: in_order(read_csv(&folder.join("packets.csv"))?, |row: &PacketRow| {
                row.received_us
            }),
            load: in_order(read_csv(&folder.join("load.csv"))?, |row: &LoadRow| {
                row.time_us
            }),
            migrations: if migration_path.exists() {
                read_csv(&migration_path)?
            } else {
                Vec::new()
            },
            decisions: decisions::read(&folder.join("decisions.jsonl")),
            idle: phase("idle"),
            under_load,
            phases: whole,
        };
        raw.check(folder)?;
        Ok(raw)
    }

    /// What the types of the rows do not say.
    fn check(&self, folder: &Path) -> Result<(), MeasureError> {
        let wrong = |file: &str, text: String| {
            Err(MeasureError::Nonsense {
                path: folder.join(file),
                text,
            })
        };
        for row in &self.frames {
            let readable =
                row.frame.is_some() && row.captured_us.is_some() && row.delay_ms.is_some();
            if readable == (row.status == record::raw::FrameStatus::Unreadable) {
                return wrong(
                    "frames.csv",
                    format!(
                        "frame shown at {} us: its status and its fields disagree",
                        row.shown_us.0
                    ),
                );
            }
            // Written with at least three decimals, the delay repeats what the two instants say.
            if let (Some(captured), Some(delay_ms)) = (row.captured_us, row.delay_ms) {
                let expected = ms_between(captured, row.shown_us);
                let repeats = (delay_ms - expected).abs() <= 0.001 + expected.abs() * 1e-9;
                if !repeats {
                    let text = format!(
                        "frame shown at {} us: delay_ms is {delay_ms}, shown_us - captured_us is {expected} ms",
                        row.shown_us.0
                    );
                    return wrong("frames.csv", text);
                }
            }
        }
        for row in &self.load {
            let shares = [row.snmp, row.actual, row.vm, row.background];
            if let Some(share) = shares
                .into_iter()
                .flatten()
                .find(|share| !(-0.5..=1.5).contains(share))
            {
                return wrong(
                    "load.csv",
                    format!(
                        "host `{}` at {} us: {share} is not a share",
                        row.host, row.time_us.0
                    ),
                );
            }
        }
        for row in &self.migrations {
            let figures = [row.total_ms, row.downtime_ms, row.predicted_total_ms];
            if let Some(figure) = figures
                .into_iter()
                .flatten()
                .find(|figure| !figure.is_finite() || *figure < 0.0)
            {
                return wrong("migration.csv", format!("{figure} is not a duration in ms"));
            }
        }
        Ok(())
    }

    /// Seconds from the start of the `load` phase to `time`.
    #[must_use]
    pub fn seconds(&self, time: Timestamp) -> f64 {
        ms_between(self.under_load.start, time) / 1e3
    }
}

fn span_of(row: &PhaseRow) -> Span {
    Span {
        start: row.start_us,
        end: row.end_us,
    }
}

/// Two threads may write one file: their rows are nearly in order. Equal times keep their order.
fn in_order<Row>(mut rows: Vec<Row>, time: impl Fn(&Row) -> Timestamp) -> Vec<Row> {
    rows.sort_by_key(time);
    rows
}

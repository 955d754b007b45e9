//! How much the journal takes.

use std::time::{Duration, Instant};

use control::Input;
use record::decision::End;
use record::{Decision, Event, HostName, Sample, Timestamp, Utilization};

use super::{BenchError, Spread};
use crate::journal::{Journal, Turn};

/// How long each way of writing is measured.
const MEASURED: Duration = Duration::from_secs(3);
/// Samples of a turn: as many as the loop takes at once when it has much to do.
const SAMPLES_A_TURN: usize = 256;
/// Largest size: nothing is taken away while it is measured.
const SIZE_MAX_BYTES: u64 = 16 << 30;

/// Figures of a journal.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Writing {
    /// Records a second, in turns of 256 samples.
    pub records_per_s: f64,
    /// A turn that has to be on the disk before anything is done.
    pub synced_turn_ms: Spread,
}

/// Writes to a new journal.
pub(super) fn measure(hosts: &[HostName]) -> Result<Writing, BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::Folder)?;
    let mut journal = Journal::open(&folder.path().join("journal"), SIZE_MAX_BYTES)?;
    let (begun, mut written) = (Instant::now(), 0);
    let mut hosts = hosts.iter().cycle();
    while begun.elapsed() < MEASURED {
        let now = Timestamp::now();
        let sample = |host: &HostName| (now, Input::Sample(sample(host, now, 0.3)));
        let inputs: Vec<_> = hosts.by_ref().take(SAMPLES_A_TURN).map(sample).collect();
        written += inputs.len();
        journal.turn(Turn {
            inputs: &inputs,
            decisions: &[],
            known: &[],
            learned: &[],
            taught: &[],
        })?;
    }
    let records_per_s = written as f64 / begun.elapsed().as_secs_f64();
    Ok(Writing {
        records_per_s,
        synced_turn_ms: synced(&mut journal)?,
    })
}

/// Turns with a decision that changes something outside.
fn synced(journal: &mut Journal) -> Result<Spread, BenchError> {
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < MEASURED {
        let run = Event::Run {
            migration: 1,
            end: End::Target,
        };
        let decision = Decision::new(Timestamp::now(), run);
        let at = Instant::now();
        journal.turn(Turn {
            inputs: &[],
            decisions: &[decision],
            known: &[],
            learned: &[],
            taught: &[],
        })?;
        took.push(at.elapsed());
    }
    Ok(Spread::of(took))
}

pub(super) fn sample(host: &HostName, measured_at_us: Timestamp, load: f64) -> Sample {
    Sample {
        host: host.clone(),
        utilization: Utilization::clamped(load),
        measured_at_us,
        interval_ms: 1000.0,
    }
}

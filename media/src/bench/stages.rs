//! How long frames are in each of our stages: what the stages themselves say each second (`--stats json`) while the chain is measured.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use record::Timestamp;
use serde::{Deserialize, Serialize};

use super::process::Stage;
use super::{Bench, BenchError, quantile};

/// Names of the stages, in the order in which frames pass them.
pub const STAGES: [&str; 5] = ["capture", "overlay", "relay", "serve", "play"];

/// Time that frames are in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageMs {
    /// Median over the seconds of each second's median.
    pub p50: f64,
    /// Median over the seconds of each second's 95th percentile.
    pub p95: f64,
    /// Seconds.
    pub n: u64,
}

/// By stage.
pub(super) type ByStage = BTreeMap<&'static str, Vec<Second>>;

/// As much of a report as is looked at.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Second {
    time_us: Timestamp,
    stage_ms_p50: Option<f64>,
    stage_ms_p95: Option<f64>,
}

impl StageMs {
    pub(super) fn of(seconds: &[Second]) -> Option<Self> {
        let median = |figure: fn(&Second) -> Option<f64>| {
            let mut all: Vec<f64> = seconds.iter().filter_map(figure).collect();
            all.sort_by(f64::total_cmp);
            quantile(&all, 0.5)
        };
        Some(Self {
            p50: median(|second| second.stage_ms_p50)?,
            p95: median(|second| second.stage_ms_p95)?,
            n: seconds.len() as u64,
        })
    }
}

/// Starts a stage that writes its figures into `folder`.
pub(super) fn start(
    bench: &Bench<'_>,
    folder: &Path,
    name: &str,
    arguments: &str,
) -> Result<Stage, BenchError> {
    let figures = File::create(folder.join(name)).map_err(|source| BenchError::Io {
        what: format!("write what {name} says"),
        source,
    })?;
    let line = format!("{name} {arguments} --stats json");
    Stage::start_into(&bench.options.own, &line, "Forestall", figures.into())
}

/// What stages have written into `folder` of the time since `begun`.
pub(super) fn seconds(folder: &Path, begun: Timestamp) -> ByStage {
    let of = |name: &'static str| {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        // A stage that is ended may not have written its last line whole.
        let seconds = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Second>(line).ok());
        let since = |second: &Second| second.time_us >= begun && second.stage_ms_p50.is_some();
        (name, seconds.filter(since).collect())
    };
    STAGES.map(of).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_of_the_measured_time_count() {
        let folder = tempfile::tempdir().unwrap();
        let line = |time: u32, p50: &str| {
            format!(
                r#"{{"stage":"play","time_us":{time},"stage_ms_p50":{p50},"stage_ms_p95":9.0}}"#
            )
        };
        // One before, one without a frame, one that is cut off.
        let lines = [
            line(9, "7.0"),
            line(10, "1.0"),
            line(11, "null"),
            line(12, "2.0"),
            line(13, "3.0"),
            line(14, "8.0"),
        ];
        let text = lines.join("\n");
        fs::write(folder.path().join("play"), &text[..text.len() - 5]).unwrap();
        let seconds = seconds(folder.path(), Timestamp(10));
        let expected = StageMs {
            p50: 2.0,
            p95: 9.0,
            n: 3,
        };
        assert_eq!(StageMs::of(&seconds["play"]), Some(expected));
        assert_eq!(StageMs::of(&seconds["relay"]), None);
    }
}

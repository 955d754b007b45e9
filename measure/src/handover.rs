//! When the viewer saw the function at its new place, and what the move cost it.

use std::collections::BTreeSet;
use std::time::Duration;

use record::Timestamp;
use record::raw::{FrameRow, LoadRow, MigrationRow};
use record::results::{DrawnBy, Migration};

use crate::folder::RawRun;
use crate::frames::gap_around;
use crate::span::Span;

/// The viewer's gap is looked for from this long before the guest was seen running at the target …
pub const GAP_BEFORE: Duration = Duration::from_secs(1);
/// … until this long after it.
pub const GAP_AFTER: Duration = Duration::from_secs(2);

/// What the first move of a run was; without the margin, which needs the unmoved run.
#[must_use]
pub fn migration(raw: &RawRun) -> Option<Migration> {
    let row = raw.migrations.first()?;
    let around = row.resumed_us.map(|resumed| Span {
        start: resumed - GAP_BEFORE,
        end: resumed + GAP_AFTER,
    });
    let of_source = |figure: fn(&LoadRow) -> Option<f64>| {
        last_before(&raw.load, &row.source, row.decided_us, figure)
    };
    Some(Migration {
        policy: row.policy.clone(),
        mode: row.mode.clone(),
        source: row.source.clone(),
        target: row.target.clone(),
        decided_at_s: raw.seconds(row.decided_us),
        started_at_s: row.started_us.map(|at| raw.seconds(at)),
        resumed_at_s: row.resumed_us.map(|at| raw.seconds(at)),
        first_frame_from_target_s: first_from_target(&raw.frames, row)
            .map(|frame| raw.seconds(frame.shown_us)),
        source_load_snmp: of_source(|row| row.snmp),
        source_load_true: of_source(|row| row.actual),
        total_ms: row.total_ms,
        downtime_ms: row.downtime_ms,
        viewer_gap_ms: around.and_then(|window| gap_around(&raw.frames, window)),
        predicted_total_ms: row.predicted_total_ms,
        margin_ms: None,
        deadline_met: None,
        verdict: row.verdict.clone(),
    })
}

/// The first shown frame that the target drew: its process number differs from that of the first frame. Where the chain
/// writes no process numbers: the first one that was both captured and shown after the guest was seen running at the
/// target, which is at most one delay too late and never too early.
#[must_use]
pub fn first_from_target<'a>(
    frames: &'a [FrameRow],
    migration: &MigrationRow,
) -> Option<&'a FrameRow> {
    let at_start = frames.iter().find_map(|frame| frame.runner);
    match at_start {
        Some(first) => frames
            .iter()
            .find(|frame| frame.runner.is_some_and(|runner| runner != first)),
        None => {
            let resumed = migration.resumed_us?;
            frames
                .iter()
                .find(|frame| frame.captured_us.is_some_and(|captured| captured > resumed))
        }
    }
}

/// Which processes and which guests drew the frames before and from the first one from the target on.
#[must_use]
pub fn drawn_by(raw: &RawRun) -> DrawnBy {
    let handed_over: Option<Timestamp> = raw
        .migrations
        .first()
        .and_then(|row| first_from_target(&raw.frames, row))
        .map(|frame| frame.shown_us);
    let before = |frame: &&FrameRow| handed_over.is_none_or(|at| frame.shown_us < at);
    let (old, new): (Vec<&FrameRow>, Vec<&FrameRow>) = raw.frames.iter().partition(before);
    DrawnBy {
        runners_before: distinct(&old, |frame| frame.runner),
        runners_after: distinct(&new, |frame| frame.runner),
        boots_before: distinct(&old, |frame| frame.boot.clone()),
        boots_after: distinct(&new, |frame| frame.boot.clone()),
    }
}

fn distinct<T: Ord>(frames: &[&FrameRow], field: impl Fn(&FrameRow) -> Option<T>) -> Vec<T> {
    frames
        .iter()
        .filter_map(|frame| field(frame))
        .collect::<BTreeSet<T>>()
        .into_iter()
        .collect()
}

fn last_before(
    load: &[LoadRow],
    host: &str,
    until: Timestamp,
    figure: impl Fn(&LoadRow) -> Option<f64>,
) -> Option<f64> {
    load.iter()
        .rev()
        .filter(|row| row.host == host && row.time_us <= until)
        .find_map(figure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::readable;

    fn row(resumed_ms: Option<u64>) -> MigrationRow {
        MigrationRow {
            policy: "deadline".into(),
            mode: "pre-copy".into(),
            source: "a".into(),
            target: "b".into(),
            decided_us: Timestamp(0),
            started_us: None,
            resumed_us: resumed_ms.map(|ms| Timestamp(ms * 1_000)),
            settled_us: None,
            total_ms: None,
            downtime_ms: None,
            predicted_total_ms: None,
            verdict: "moved".into(),
        }
    }

    fn by(runner: Option<u32>, captured_ms: u64, shown_ms: u64) -> FrameRow {
        FrameRow {
            runner,
            ..readable(0, captured_ms, shown_ms)
        }
    }

    fn check(frames: &[FrameRow], migration: &MigrationRow, shown_ms: Option<u64>) {
        let found = first_from_target(frames, migration).map(|frame| frame.shown_us.0 / 1_000);
        assert_eq!(found, shown_ms);
    }

    #[test]
    fn the_process_number_tells_the_target() {
        let frames = [
            by(None, 0, 80),
            by(Some(1), 33, 113),
            by(None, 66, 146),
            by(Some(2), 99, 179),
        ];
        check(&frames, &row(Some(50)), Some(179));
        check(&frames[..3], &row(Some(50)), None);
    }

    #[test]
    fn without_process_numbers_the_capture_after_resumption_tells() {
        let frames = [by(None, 0, 80), by(None, 33, 113), by(None, 66, 146)];
        check(&frames, &row(Some(50)), Some(146));
        check(&frames, &row(None), None);
    }
}

//! One run, measured.

use std::path::Path;
use std::time::Duration;

use record::Timestamp;
use record::raw::{AgeRow, IntervalRow};
use record::results::{Delay, ExperimentRun, Limits, PictureAge, Run};

use crate::folder::{MeasureError, RawRun};
use crate::span::Span;
use crate::statistics::Values;
use crate::{frames, handover, intervals, picture_age};

/// The median after a move is taken from this long after the first frame from the target: the switches have learnt the
/// new way and the backlog of the copying is gone.
pub const SETTLING: Duration = Duration::from_secs(3);

/// Name of the host in `load.csv` that stands for the machine under the lab.
pub const MACHINE: &str = "machine";

/// A run with everything that was computed from its raw data.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredRun {
    /// The raw data.
    pub raw: RawRun,
    /// Rows of `age.csv`.
    pub ages: Vec<AgeRow>,
    /// Rows of `intervals.csv`.
    pub intervals: Vec<IntervalRow>,
    /// The figures.
    pub run: Run,
}

/// Measures the run in `folder`. Margins need other runs and are `None` here.
///
/// # Errors
/// See [`RawRun::read`].
pub fn measure(
    folder: &Path,
    plan: &ExperimentRun,
    limits: &Limits,
) -> Result<MeasuredRun, MeasureError> {
    let raw = RawRun::read(folder)?;
    let ages = picture_age::sample(&raw.frames, raw.phases);
    let intervals = intervals::rows(&raw.packets);
    let foreign_load = foreign_load(&raw);
    let migration = handover::migration(&raw);
    let from_target = raw
        .migrations
        .first()
        .and_then(|row| handover::first_from_target(&raw.frames, row));
    let settled = from_target.map(|frame| Span {
        start: frame.shown_us + SETTLING,
        end: raw.phases.end,
    });
    let over_budget = picture_age::over_budget_at(&ages, raw.under_load, plan.budget_ms);
    let run = Run {
        plan: plan.clone(),
        spoilt: foreign_load.is_some_and(|load| load > limits.foreign_load),
        foreign_load,
        idle_s: raw.idle.map(Span::seconds),
        load_s: raw.under_load.seconds(),
        picture_age_ms: summarise_age(&ages, &raw, settled, plan.budget_ms),
        frame_delay_ms: delay(&raw),
        frame_intervals_ms: intervals::summarise(
            &intervals,
            intervals::FRAME,
            raw.idle,
            raw.under_load,
        ),
        packet_intervals_ms: intervals::summarise(
            &intervals,
            intervals::PACKET,
            raw.idle,
            raw.under_load,
        ),
        frames: frames::count(&raw.sent, &raw.frames, raw.phases),
        over_budget_at_s: over_budget.map(|at: Timestamp| raw.seconds(at)),
        over_budget_for_good_at_s: picture_age::over_budget_for_good_at(
            &ages,
            raw.under_load,
            plan.budget_ms,
        )
        .map(|at| raw.seconds(at)),
        moves: u32::try_from(raw.migrations.len()).unwrap_or(u32::MAX),
        migration,
        drawn_by: handover::drawn_by(&raw),
    };
    Ok(MeasuredRun {
        raw,
        ages,
        intervals,
        run,
    })
}

fn summarise_age(
    ages: &[AgeRow],
    raw: &RawRun,
    settled: Option<Span>,
    budget_ms: f64,
) -> PictureAge {
    let values = |span| -> Values {
        picture_age::within(ages, span)
            .iter()
            .map(|row| row.picture_age_ms)
            .collect()
    };
    let load = values(raw.under_load);
    let idle = raw.idle.map(values).unwrap_or_default();
    PictureAge {
        mean: load.mean(),
        median: load.median(),
        p95: load.quantile(0.95),
        p99: load.quantile(0.99),
        max: load.max(),
        n: load.n(),
        share_under_budget: load.share_up_to(budget_ms),
        idle_median: idle.median(),
        idle_p95: idle.quantile(0.95),
        after_move_median: settled.and_then(|span| values(span).median()),
    }
}

fn delay(raw: &RawRun) -> Delay {
    let new = raw
        .frames
        .iter()
        .filter(|frame| frames::is_new(frame) && raw.under_load.contains(frame.shown_us));
    let delays: Values = new.filter_map(|frame| frame.delay_ms).collect();
    Delay {
        mean: delays.mean(),
        median: delays.median(),
        p95: delays.quantile(0.95),
        p99: delays.quantile(0.99),
        max: delays.max(),
        n: delays.n(),
    }
}

fn foreign_load(raw: &RawRun) -> Option<f64> {
    let of_machine = raw
        .load
        .iter()
        .filter(|row| row.host == MACHINE && raw.under_load.contains(row.time_us));
    of_machine
        .filter_map(|row| row.actual)
        .collect::<Values>()
        .mean()
}

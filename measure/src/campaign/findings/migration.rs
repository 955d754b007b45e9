//! Findings on how long a move takes (4.2), by the load of its two ends.

use record::campaign::MoveRow;

use super::super::cells::{Cells, MigrationCell};
use super::super::estimate::{Estimate, share_interval95};
use super::super::tables::{migrations, total_s};
use super::{Judged, Verdict, effect, load, negligible, no_part, unmeasured, words};
use crate::reference::THESIS;
use crate::statistics::Values;

/// Moves that did not fail.
fn made<'a>(cells: impl IntoIterator<Item = &'a MigrationCell>) -> usize {
    let moves = cells.into_iter().flat_map(|cell| &cell.moves);
    moves.filter(|one| one.failure.is_none()).count()
}

/// Total times, source at 100 % over the fastest, for each load of the target.
pub(super) fn ratio(cells: &Cells) -> Judged {
    let all = migrations(cells);
    let mut targets: Vec<f64> = all.iter().map(|(_, target, _)| *target).collect();
    targets.dedup();
    let ratios: Vec<(f64, Estimate)> = targets
        .into_iter()
        .filter_map(|target| Some((target, over_fastest(&all, target)?)))
        .collect();
    let each: Vec<Estimate> = ratios.iter().map(|(_, ratio)| *ratio).collect();
    let Some(mean) = Estimate::mean(&each) else {
        return no_part("migration", Some(0.5), "times, less 1");
    };
    let by_target: Vec<String> = ratios
        .iter()
        .map(|(target, ratio)| {
            let thesis = printed(*target).map(|ratio| format!(", the thesis {ratio:.2}"));
            let thesis = thesis.unwrap_or_default();
            let percent = target * 100.0;
            format!("target at {percent:.0} % {}{thesis}", words(ratio, 2))
        })
        .collect();
    let what = format!(
        "source at 100 % over the fastest: {}; the mean over the loads of the target, of {} moves",
        by_target.join("; "),
        made(all.iter().map(|(.., cell)| *cell))
    );
    let more = Estimate {
        value: mean.value - 1.0,
        ..mean
    };
    effect(more, 0.5, "times, less 1", &what)
}

fn over_fastest(all: &[(f64, f64, &MigrationCell)], target: f64) -> Option<Estimate> {
    let own = all.iter().filter(|(_, to, _)| *to == target);
    let times: Vec<(f64, Estimate)> = own
        .filter_map(|(source, _, cell)| Some((*source, total_s(cell)?)))
        .collect();
    let (_, full) = times.iter().find(|(source, _)| *source == 1.0)?;
    let fastest = times.iter().map(|(_, time)| time);
    full.over(fastest.min_by(|a, b| a.value.total_cmp(&b.value))?)
}

/// The same in Table 7.
fn printed(target: f64) -> Option<f64> {
    let table = &THESIS.table7_total_migration_time;
    let rows = [
        (0.0, &table.destination_0_s),
        (0.5, &table.destination_50_s),
        (1.0, &table.destination_100_s),
    ];
    let (_, row) = rows.into_iter().find(|(at, _)| *at == target)?;
    Some(THESIS.at(row, 100.0)? / row.iter().copied().reduce(f64::min)?)
}

/// Largest difference of total times that is called none.
const MARGIN_S: f64 = 0.5;

pub(super) fn target_load(cells: &Cells) -> Judged {
    let all = migrations(cells);
    let pairs: Vec<[&MigrationCell; 2]> = all
        .iter()
        .filter(|(_, target, _)| *target == 0.0)
        .filter_map(|(source, _, idle)| {
            let full = all.iter().find(|(s, t, _)| s == source && *t == 1.0)?;
            Some([full.2, *idle])
        })
        .collect();
    let differences: Vec<Estimate> = pairs
        .iter()
        .filter_map(|[full, idle]| Some(total_s(full)?.minus(&total_s(idle)?)))
        .collect();
    let Some(mean) = Estimate::mean(&differences) else {
        return no_part("migration", None, "s");
    };
    Judged {
        interval: None,
        verdict: negligible(&mean, MARGIN_S),
        estimate: Some(mean),
        printed: None,
        unit: "s",
        why: format!(
            "mean over {} loads of the source, {} moves: target at 100 % less target idle; equal within a margin of {MARGIN_S} s",
            differences.len(),
            made(pairs.into_iter().flatten())
        ),
    }
}

/// To begin so long before is right where more than this share of moves is over in time.
const MOST: f64 = 0.5;

/// Moves from a source to an idle target that begin as long before the knee as the thesis says.
struct InTime {
    /// Background load of the source, `0..=1`.
    source: f64,
    /// How many.
    moves: usize,
    /// Share that is over before the knee.
    at_once: f64,
    /// The same when the load is known from a sample, which is as likely of any age up to the time between two.
    by_sample: f64,
    /// Of that.
    interval95: [f64; 2],
}

impl InTime {
    fn of(source: f64, moves: &[MoveRow]) -> Option<Self> {
        let begun_s = THESIS.method.total_migration_time_at_knee_s;
        let age_s_max = THESIS.method.snmp_update_interval_s;
        // A move that failed is never over.
        let left_s = |one: &MoveRow| match (&one.failure, one.total_ms) {
            (None, Some(total_ms)) => begun_s - total_ms / 1e3,
            _ => f64::NEG_INFINITY,
        };
        let mean = |of: fn(f64, f64) -> f64| {
            let all = moves.iter().map(|one| of(left_s(one), age_s_max));
            all.collect::<Values>().mean()
        };
        let by_sample = mean(|left_s, age_s_max| (left_s / age_s_max).clamp(0.0, 1.0))?;
        Some(Self {
            source,
            moves: moves.len(),
            at_once: mean(|left_s, _| if left_s >= 0.0 { 1.0 } else { 0.0 })?,
            by_sample,
            interval95: share_interval95(by_sample, moves.len()),
        })
    }
}

/// What there is between the loads of Table 7: a source with more load moves no faster, so that what is in time from a source above the
/// knee would be at the knee, and what is too late from one below would be, too.
fn judged(idle: &[InTime], knee: f64) -> Option<(&InTime, Verdict)> {
    let below = idle.iter().rfind(|one| one.source <= knee);
    let above = idle.iter().find(|one| one.source >= knee);
    let in_time = above.filter(|one| one.interval95[0] > MOST);
    let too_late = below.filter(|one| one.interval95[1] < MOST);
    let told = in_time.map(|one| (one, Verdict::Holds));
    told.or(too_late.map(|one| (one, Verdict::DoesNotHold)))
        .or(below.or(above).map(|one| (one, Verdict::CannotTell)))
}

pub(super) fn eight_seconds(cells: &Cells) -> Judged {
    const UNIT: &str = "of all moves";
    let all = migrations(cells);
    let to_idle = all.iter().filter(|(_, target, _)| *target == 0.0);
    let to_idle: Vec<InTime> = to_idle
        .filter_map(|(source, _, cell)| InTime::of(*source, &cell.moves))
        .collect();
    if to_idle.is_empty() {
        return no_part("migration", None, UNIT);
    }
    let known = load::knee(cells);
    let Some((knee, (one, verdict))) = known.and_then(|knee| Some((knee, judged(&to_idle, knee)?)))
    else {
        return unmeasured(
            None,
            UNIT,
            "where the delay begins to rise is not known here, so that nothing can be in time before it",
        );
    };
    Judged {
        interval: Some(one.interval95),
        verdict,
        estimate: Some(Estimate::exactly(one.by_sample)),
        printed: None,
        unit: UNIT,
        why: format!(
            "share of {} moves from a source with a load of {:.0} % to an idle target that are over within {} s less the age of the sample \
             that began them, as likely any up to {} s; within {} s of the knee itself it is {:.2}. Here the delay rises at a load of {:.0} %, \
             and a source with more moves no faster. Right is taken to be more than half",
            one.moves,
            one.source * 100.0,
            THESIS.method.total_migration_time_at_knee_s,
            THESIS.method.snmp_update_interval_s,
            THESIS.method.total_migration_time_at_knee_s,
            one.at_once,
            knee * 100.0
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Timestamp;

    /// Ten moves from a source with a load.
    fn moves(source: f64, total_ms: Option<f64>) -> InTime {
        let row = |number: u32| MoveRow {
            number,
            source: "a".into(),
            target: "b".into(),
            decided_us: Timestamp(0),
            shown_us: None,
            total_ms,
            downtime_ms: None,
            sent_bytes: None,
            pages: None,
            zero_pages: None,
            rounds: None,
            failure: total_ms.is_none().then(|| "verdict stayed".into()),
        };
        let rows: Vec<MoveRow> = (1..=10).map(row).collect();
        InTime::of(source, &rows).unwrap()
    }

    #[test]
    fn a_sample_takes_its_age_from_what_is_left() {
        for (total_ms, at_once, by_sample) in [
            (Some(2_000.0), 1.0, 1.0),
            (Some(7_000.0), 1.0, 0.2),
            (Some(9_000.0), 0.0, 0.0),
            (None, 0.0, 0.0),
        ] {
            let found = moves(0.5, total_ms);
            assert!((found.by_sample - by_sample).abs() < 1e-9, "{total_ms:?}");
            assert!((found.at_once - at_once).abs() < 1e-9, "{total_ms:?}");
        }
    }

    #[test]
    fn a_knee_between_two_sources_is_judged_by_the_one_that_tells() {
        for (below_ms, above_ms, verdict) in [
            (2_000.0, 2_500.0, Verdict::Holds),
            (7_900.0, 11_000.0, Verdict::DoesNotHold),
            (2_000.0, 11_000.0, Verdict::CannotTell),
        ] {
            let all = [moves(0.5, Some(below_ms)), moves(1.0, Some(above_ms))];
            let (_, found) = judged(&all, 0.7).unwrap();
            assert_eq!(found, verdict, "{below_ms} {above_ms}");
        }
        // Nothing was measured above the knee.
        let (_, found) = judged(&[moves(0.5, Some(2_000.0))], 0.7).unwrap();
        assert_eq!(found, Verdict::CannotTell);
    }

    #[test]
    fn ratios_of_table_7_as_printed() {
        for (target, ratio) in [(0.0, 1.78), (0.5, 1.57), (1.0, 1.74)] {
            assert!((printed(target).unwrap() - ratio).abs() < 0.01, "{target}");
        }
        assert_eq!(printed(0.3), None);
    }
}

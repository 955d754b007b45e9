//! Figure 6 as a sweep: one path with more and more jitter.

use super::super::cells::{Cells, PlacementCell};
use super::super::estimate::{Estimate, Line, Repeatability};
use super::{Entry, OURS, PLAIN, Table, carried, mean_age, packet_intervals};
use crate::statistics::Values;

/// How late the 95th of 100 frames is behind the earliest: what a play-out buffer has to hold so that no more than 5 % come too late.
pub(in crate::campaign) fn lateness(cell: &PlacementCell) -> Option<f64> {
    let delays: Values = cell.frame_delays_ms.iter().copied().collect();
    Some(delays.quantile(0.95)? - delays.min()?)
}

/// A column for each level of jitter.
pub(super) fn jitter(cells: &Cells, chain: &str) -> Table {
    let all = cells.with_jitter(chain);
    let mut levels: Vec<f64> = all.iter().map(|(sd_ms, _)| *sd_ms).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let columns = levels.iter().map(|sd| format!("{sd} ms")).collect();
    let title = "Figure 6 as a sweep: one path with more and more jitter (by S.D. of its delay)";
    let title = format!("{title}{}", carried(chain));
    let mut table = Table::new(&title, "ms", columns);
    let at = |sd: f64| -> Vec<&PlacementCell> {
        let own = all.iter().filter(|(sd_ms, _)| *sd_ms == sd);
        own.map(|(_, cell)| *cell).collect()
    };
    let row = |of: &dyn Fn(&PlacementCell) -> Option<Estimate>| -> Vec<Entry> {
        let runs = |sd: &f64| -> Vec<Estimate> { at(*sd).into_iter().filter_map(of).collect() };
        let runs: Vec<Vec<Estimate>> = levels.iter().map(runs).collect();
        let spread = Repeatability::of(&runs);
        let means = runs.iter().map(|runs| spread.mean(runs));
        means.map(|mean| Entry::of(mean, None)).collect()
    };
    table.row(
        "C.V. of packet intervals (no unit)",
        &row(&|cell| packet_intervals(cell, Values::cv)),
    );
    table.row("picture age, mean", &row(&mean_age));
    if let Some(fit) = by_cv(&all, |cell| Some(mean_age(cell)?.value)) {
        let left = |cell: &PlacementCell| {
            let line = fit.at_zero + fit.slope.value * packet_intervals(cell, Values::cv)?.value;
            Some(mean_age(cell)?.value - line)
        };
        let left = |sd: &f64| Estimate::of_independent(at(*sd).into_iter().filter_map(left));
        let left: Vec<Entry> = levels.iter().map(|sd| Entry::of(left(sd), None)).collect();
        table.row(
            "of that, what the straight line by C.V. leaves over (residual)",
            &left,
        );
    }
    // The more jitter the farther its runs lie apart: each level by its own.
    let late = |sd: &f64| Estimate::of_independent(at(*sd).into_iter().filter_map(lateness));
    let late: Vec<Entry> = levels.iter().map(|sd| Entry::of(late(sd), None)).collect();
    table.row("lateness of frames, 95th percentile", &late);
    table
}

/// The straight line of a figure by the C.V. of packet intervals, through all measurements of a sweep.
fn by_cv(
    all: &[(f64, &PlacementCell)],
    of: impl Fn(&PlacementCell) -> Option<f64>,
) -> Option<Line> {
    let point = |(_, cell): &(f64, &PlacementCell)| {
        let cv = packet_intervals(cell, Values::cv)?;
        Some((cv.value, of(cell)?))
    };
    let points: Vec<(f64, f64)> = all.iter().filter_map(point).collect();
    Line::through(&points)
}

/// A figure of a run.
type OfRun = fn(&PlacementCell) -> Option<f64>;

/// What grows with the C.V. of packet intervals, and how well it is explained by it.
pub(super) fn fit(cells: &Cells) -> Table {
    let chains = [(OURS, "Forestall"), (PLAIN, "FFmpeg, plain")];
    let swept = chains.map(|(chain, name)| (name, cells.with_jitter(chain)));
    let swept: Vec<_> = swept.iter().filter(|(_, all)| !all.is_empty()).collect();
    let columns = swept.iter().map(|(name, _)| (*name).to_owned()).collect();
    let title = "Figure 6 as a sweep: straight lines by the C.V. of packet intervals";
    let mut table = Table::new(title, "ms", columns);
    let figures: [(&str, OfRun); 2] = [
        ("picture age, mean", |cell| Some(mean_age(cell)?.value)),
        ("lateness of frames, 95th percentile", lateness),
    ];
    for (name, figure) in figures {
        let fits: Vec<_> = swept.iter().map(|(_, all)| by_cv(all, figure)).collect();
        let mut row = |what: &str, of: &dyn Fn(&Line) -> Entry| {
            let entries: Vec<Entry> = fits
                .iter()
                .map(|fit| fit.as_ref().map_or_else(Entry::default, of))
                .collect();
            table.row(&format!("{name}: {what}"), &entries);
        };
        row("for each unit of C.V.", &|fit| {
            Entry::of(Some(fit.slope), None)
        });
        row("at a C.V. of 0", &|fit| {
            Entry::plain(Some(fit.at_zero), None)
        });
        row("R² (no unit)", &|fit| Entry::plain(Some(fit.r2), None));
    }
    table
}

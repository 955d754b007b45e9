//! Tables 5 and 6: what load does.

use record::campaign::Subject;

use super::super::cells::{Cells, LoadCell, Of};
use super::super::estimate::Estimate;
use super::{Entry, Figure, Table, percent_columns, printed};
use crate::reference::{ByLoad, THESIS};
use crate::statistics::Values;

/// What stands beside a level.
type Beside = fn(&LoadCell) -> Option<f64>;

/// Names of the sweeps, in the order of their folders.
pub(in crate::campaign) fn sweeps(cells: &Cells) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for of in &cells.loads {
        if let Subject::Load { sweep, .. } = &of.cell.subject
            && !names.contains(sweep)
        {
            names.push(sweep.clone());
        }
    }
    names
}

/// Levels of a sweep, rising.
pub(in crate::campaign) fn of_sweep<'a>(cells: &'a Cells, name: &str) -> Vec<(f64, &'a LoadCell)> {
    let mut own: Vec<(f64, &LoadCell)> = cells
        .loads
        .iter()
        .filter_map(|Of { cell, figures }| match &cell.subject {
            Subject::Load { sweep, level, .. } if sweep == name => Some((*level, figures)),
            _ => None,
        })
        .collect();
    own.sort_by(|a, b| a.0.total_cmp(&b.0));
    own
}

/// A figure of the intervals between frames at a level.
pub(in crate::campaign) fn frame_intervals(cell: &LoadCell, figure: Figure) -> Option<Estimate> {
    Estimate::of_series(&cell.frame_intervals_ms, figure)
}

/// A figure of the picture's age at a level.
pub(in crate::campaign) fn picture_age(cell: &LoadCell, figure: Figure) -> Option<Estimate> {
    Estimate::of_series(&cell.shots_ms, figure)
}

pub(super) fn table5(own: &[(f64, &LoadCell)], sweep: &str) -> Table {
    let thesis = &THESIS.table5_intervals_by_cpu_load;
    let title = format!("Table 5: arriving intervals of frames by CPU load (sweep {sweep})");
    let columns = percent_columns(own.iter().map(|(level, _)| *level));
    let mut table = Table::new(&title, "ms", columns);
    let figures: [(&str, Figure, &ByLoad); 3] = [
        ("mean", Values::mean, &thesis.mean_ms),
        ("S.D.", Values::sd, &thesis.sd_ms),
        ("C.V. (no unit)", Values::cv, &thesis.cv),
    ];
    for (name, figure, row) in figures {
        let entries: Vec<Entry> = own
            .iter()
            .map(|(level, cell)| Entry::of(frame_intervals(cell, figure), printed(row, *level)))
            .collect();
        table.row(name, &entries);
    }
    let beside: [(&str, Beside); 5] = [
        ("total load of the host (share)", |cell| cell.total),
        ("of it the virtual machine (share)", |cell| cell.machine),
        (
            "weight of the load, the virtual machine's being 1 (no unit)",
            |cell| Some(f64::from(cell.weight)),
        ),
        ("frequency of the CPU (MHz)", |cell| cell.cpu_mhz),
        ("foreign load of the machine (share)", |cell| cell.foreign),
    ];
    for (name, of) in beside {
        let entries: Vec<Entry> = own
            .iter()
            .map(|(_, cell)| Entry::plain(of(cell), None))
            .collect();
        table.row(name, &entries);
    }
    table
}

pub(super) fn table6(own: &[(f64, &LoadCell)], sweep: &str) -> Table {
    let thesis = &THESIS.table6_delay_by_cpu_load;
    let title = format!("Table 6: application-level delay by CPU load (sweep {sweep})");
    let columns = percent_columns(own.iter().map(|(level, _)| *level));
    let mut table = Table::new(&title, "ms", columns);
    let with_interval: [(&str, Figure, &ByLoad); 2] = [
        ("mean", Values::mean, &thesis.mean_ms),
        ("median", Values::median, &thesis.median_ms),
    ];
    for (name, figure, row) in with_interval {
        let entries: Vec<Entry> = own
            .iter()
            .map(|(level, cell)| Entry::of(picture_age(cell, figure), printed(row, *level)))
            .collect();
        table.row(name, &entries);
    }
    let plain: [(&str, Figure, &ByLoad); 4] = [
        ("maximum", Values::max, &thesis.max_ms),
        ("75th percentile", |all| all.quantile(0.75), &thesis.p75_ms),
        ("25th percentile", |all| all.quantile(0.25), &thesis.p25_ms),
        ("minimum", Values::min, &thesis.min_ms),
    ];
    for (name, figure, row) in plain {
        let entries: Vec<Entry> = own
            .iter()
            .map(|(level, cell)| {
                let all: Values = cell.shots_ms.iter().copied().collect();
                Entry::plain(figure(&all), printed(row, *level))
            })
            .collect();
        table.row(name, &entries);
    }
    let freezes: Vec<Entry> = own
        .iter()
        .map(|(_, cell)| Entry::plain(cell.longest_freeze_ms, None))
        .collect();
    table.row("longest freeze", &freezes);
    table
}

//! Migrations over paths along one axis after the other, from where the axes cross.

use record::campaign::{Copying, PathPoint, Subject};

use super::cells::{Cells, MigrationCell, Of};
use super::estimate::Estimate;
use crate::statistics::Values;

/// Something that a migration depends on.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Name of its table and its figure.
    pub name: &'static str,
    /// In words, with the unit.
    pub words: &'static str,
    /// Unit of its values.
    pub unit: &'static str,
    /// Its value.
    pub of: fn(&PathPoint) -> f64,
}

/// All of them.
pub const AXES: [Axis; 5] = [
    Axis {
        name: "paths-memory",
        words: "memory of the virtual machine, MiB",
        unit: "MiB",
        of: |point| f64::from(point.memory_mib),
    },
    Axis {
        name: "paths-dirty",
        words: "memory written anew each second, MiB/s",
        unit: "MiB/s",
        of: |point| point.dirty_mib_s,
    },
    Axis {
        name: "paths-bandwidth",
        words: "bandwidth that copying may use, MiB/s",
        unit: "MiB/s",
        of: |point| point.bandwidth_mib_s,
    },
    Axis {
        name: "paths-rtt",
        words: "round trip of the path, ms",
        unit: "ms",
        of: |point| point.rtt_ms,
    },
    Axis {
        name: "paths-loss",
        words: "frames that the path loses each way, %",
        unit: "%",
        of: |point| point.loss_percent,
    },
];

/// Ways to copy, in the order in which they are shown.
pub const WAYS: [Copying; 2] = [Copying::PreCopy, Copying::PostCopy];

/// A figure of a cell, with its name and unit.
pub type Figure = (&'static str, fn(&MigrationCell) -> Option<Estimate>);

/// What tables and figures show of a cell, first what figures show.
pub const FIGURES: [Figure; 6] = [
    ("total migration time (s)", super::tables::total_s),
    ("downtime (ms)", |cell| made(cell, |one| one.downtime_ms)),
    ("viewer's gap (ms)", |cell| {
        Estimate::of_independent(cell.gaps_ms().iter().copied())
    }),
    ("sent (MiB)", |cell| {
        made(cell, |one| Some(one.sent_bytes? as f64 / MIB))
    }),
    ("passes over memory (no unit)", |cell| {
        made(cell, |one| Some(one.rounds? as f64))
    }),
    ("failed (of all)", |cell| {
        let failed = |one: &record::campaign::MoveRow| f64::from(u8::from(one.failure.is_some()));
        let all: Values = cell.moves.iter().map(failed).collect();
        all.mean().map(Estimate::exactly)
    }),
];

const MIB: f64 = 1024.0 * 1024.0;

/// Of the moves that did not fail.
fn made(
    cell: &MigrationCell,
    of: fn(&record::campaign::MoveRow) -> Option<f64>,
) -> Option<Estimate> {
    let made = cell.moves.iter().filter(|one| one.failure.is_none());
    Estimate::of_independent(made.filter_map(of))
}

/// All cells of the part.
pub fn points(cells: &Cells) -> impl Iterator<Item = (&PathPoint, &MigrationCell)> {
    cells
        .paths
        .iter()
        .filter_map(|Of { cell, figures }| match &cell.subject {
            Subject::Paths(point) => Some((point, figures)),
            _ => None,
        })
}

/// Where the axes cross: on each the value that most cells have, the smallest of several.
fn crossing(cells: &Cells) -> [f64; AXES.len()] {
    AXES.map(|axis| {
        let mut values: Vec<f64> = points(cells).map(|(point, _)| (axis.of)(point)).collect();
        values.sort_by(f64::total_cmp);
        let longest = values.chunk_by(|a, b| a == b).rev();
        longest
            .max_by_key(|equal| equal.len())
            .and_then(|equal| equal.first().copied())
            .unwrap_or_default()
    })
}

/// The cells along an axis that copy in one way, by their value on it, rising.
#[must_use]
pub fn along<'a>(cells: &'a Cells, axis: &Axis, way: Copying) -> Vec<(f64, &'a MigrationCell)> {
    let crossing = crossing(cells);
    let lies_on = |point: &PathPoint| {
        let mut others = AXES.iter().zip(crossing);
        others.all(|(other, at)| other.name == axis.name || (other.of)(point) == at)
    };
    let mut own: Vec<(f64, &MigrationCell)> = points(cells)
        .filter(|(point, _)| point.copying == way && lies_on(point))
        .map(|(point, cell)| ((axis.of)(point), cell))
        .collect();
    own.sort_by(|a, b| a.0.total_cmp(&b.0));
    own
}

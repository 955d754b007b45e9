//! How many times longer a move takes by the load of its two ends, from the moves of Table 7.
//!
//! A product of two factors: in the thesis' own table such a product is 2.6 % off in the root mean square (`scenario/src/migration.rs`).
//! Each factor is the geometric mean of what moves with that load take over what those with the lowest take, the other end alike.

use record::Slowdown;
use record::profile::SlowdownByLoad;

use super::cells::{Cells, MigrationCell};
use super::tables::migrations;
use crate::statistics::Values;

/// Loads nearer to each other than this are one.
const LOAD_STEP_MIN: f64 = 0.005;

/// The moves between two loads.
struct Between {
    /// What was asked of the load at source and target.
    asked: [f64; 2],
    /// What the hosts' own accounting says, the function's part in that of the source.
    load: [f64; 2],
    /// Mean of the logarithms of the total times.
    log_ms: f64,
}

impl Between {
    fn of(asked: [f64; 2], cell: &MigrationCell) -> Option<Self> {
        let made = cell.moves.iter().filter(|one| one.failure.is_none());
        let logs: Values = made.filter_map(|one| Some(one.total_ms?.ln())).collect();
        Some(Self {
            asked,
            load: cell.loads?,
            log_ms: logs.mean()?,
        })
    }
}

/// `None` without moves between several loads; `measured_at` is that of the last.
#[must_use]
pub fn fitted(cells: &Cells, measured_at: &str) -> Option<SlowdownByLoad> {
    let all: Vec<Between> = migrations(cells)
        .into_iter()
        .filter_map(|(source, target, cell)| Between::of([source, target], cell))
        .collect();
    Some(SlowdownByLoad {
        measured_at: measured_at.to_owned(),
        source: by_end(&all, 0)?,
        target: by_end(&all, 1)?,
    })
}

/// The factors by the load of one end: 0 for the source, 1 for the target.
fn by_end(all: &[Between], end: usize) -> Option<Slowdown> {
    let mut asked: Vec<f64> = all.iter().map(|one| one.asked[end]).collect();
    asked.sort_by(f64::total_cmp);
    asked.dedup();
    let lowest = *asked.first()?;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for level in asked {
        let own = || all.iter().filter(|one| one.asked[end] == level);
        let calm = |one: &Between| {
            let mut same = all.iter().filter(|calm| {
                calm.asked[end] == lowest && calm.asked[1 - end] == one.asked[1 - end]
            });
            same.next().map(|calm| calm.log_ms)
        };
        let times: Values = own()
            .filter_map(|one| Some(one.log_ms - calm(one)?))
            .collect();
        let loads: Values = own().map(|one| one.load[end]).collect();
        let (Some(times), Some(load)) = (times.mean(), loads.mean()) else {
            continue;
        };
        // Load makes nothing faster: what seems so is chance.
        let factor = times.exp().max(1.0);
        let load = load.clamp(0.0, 1.0);
        match points.last_mut() {
            // A host that is full accounts the same for what is asked beyond that. The longer of the times counts: who expects the
            // shorter begins too late.
            Some((last, longest)) if load - *last < LOAD_STEP_MIN => *longest = longest.max(factor),
            _ => points.push((load, factor)),
        }
    }
    Slowdown::try_from(points).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(source: f64, target: f64, ms: f64) -> Between {
        Between {
            asked: [source, target],
            load: [0.2 + 0.8 * source, target],
            log_ms: f64::ln(ms),
        }
    }

    #[test]
    fn a_product_is_taken_apart() {
        let mut all = Vec::new();
        for (source, slower) in [(1.0, 1.7), (0.0, 1.0), (0.5, 1.1)] {
            for (target, slower_there) in [(0.0, 1.0), (0.5, 0.9), (1.0, 1.2)] {
                all.push(between(source, target, 6e3 * slower * slower_there));
            }
        }
        let source = by_end(&all, 0).unwrap();
        for (load, factor) in [(0.0, 1.0), (0.2, 1.0), (0.6, 1.1), (1.0, 1.7), (0.8, 1.4)] {
            assert!(
                (source.at(load) - factor).abs() < 1e-9,
                "{load}: {source:?}"
            );
        }
        // At half load it was faster, which is chance.
        let target = by_end(&all, 1).unwrap();
        for (load, factor) in [(0.0, 1.0), (0.5, 1.0), (1.0, 1.2)] {
            assert!(
                (target.at(load) - factor).abs() < 1e-9,
                "{load}: {target:?}"
            );
        }
        // A cell that is not there is not made up.
        all.retain(|one| one.asked != [0.0, 1.0]);
        let source = by_end(&all, 0).unwrap();
        assert!((source.at(1.0) - 1.7).abs() < 1e-9, "{source:?}");
    }

    #[test]
    fn of_loads_that_a_full_host_accounts_alike_the_longer_counts() {
        let full = |asked, ms| Between {
            load: [1.0, 0.0],
            ..between(asked, 0.0, ms)
        };
        let all = [between(0.0, 0.0, 6e3), full(0.9, 9e3), full(1.0, 8.4e3)];
        let source = by_end(&all, 0).unwrap();
        assert!((source.at(1.0) - 1.5).abs() < 1e-9, "{source:?}");
    }

    #[test]
    fn nothing_says_nothing() {
        assert_eq!(by_end(&[], 0), None);
        assert_eq!(fitted(&Cells::default(), "2026-11-30T12:00:00Z"), None);
    }
}

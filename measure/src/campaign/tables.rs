//! The thesis' tables, measured beside printed.

mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use record::campaign::Subject;
use serde::{Deserialize, Serialize};

use super::breakdown;
use super::cells::{Cells, LoadCell, MigrationCell, Of, PlacementCell};
use super::estimate::{Estimate, Repeatability};
use super::paths;
use crate::reference::{ByLoad, THESIS};
use crate::statistics::Values;

/// A table: rows of values by column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What it is of.
    pub title: String,
    /// Unit of every value that has none in its row's name.
    pub unit: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows, in order.
    pub rows: Vec<String>,
    /// By row: what was measured.
    pub measured: BTreeMap<String, Vec<Option<f64>>>,
    /// By row: where the truth is with 95 %.
    pub interval95: BTreeMap<String, Vec<Option<[f64; 2]>>>,
    /// By row: what the thesis prints.
    pub printed: BTreeMap<String, Vec<Option<f64>>>,
}

/// A cell of a table.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    measured: Option<f64>,
    interval: Option<[f64; 2]>,
    printed: Option<f64>,
}

impl Entry {
    fn of(estimate: Option<Estimate>, printed: Option<f64>) -> Self {
        Self {
            measured: estimate.map(|estimate| estimate.value),
            interval: estimate.and_then(|estimate| estimate.interval()),
            printed,
        }
    }

    const fn plain(measured: Option<f64>, printed: Option<f64>) -> Self {
        Self {
            measured,
            interval: None,
            printed,
        }
    }
}

impl Table {
    fn new(title: &str, unit: &str, columns: Vec<String>) -> Self {
        Self {
            title: title.to_owned(),
            unit: unit.to_owned(),
            columns,
            ..Self::default()
        }
    }

    fn row(&mut self, name: &str, entries: &[Entry]) {
        self.rows.push(name.to_owned());
        let of = |get: fn(&Entry) -> Option<f64>| entries.iter().map(get).collect();
        self.measured.insert(name.to_owned(), of(|e| e.measured));
        self.printed.insert(name.to_owned(), of(|e| e.printed));
        let intervals = entries.iter().map(|entry| entry.interval).collect();
        self.interval95.insert(name.to_owned(), intervals);
    }

    /// A line for each value: row, column, measured, interval, printed.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("row,column,measured,low95,high95,printed\n");
        let say = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        for row in &self.rows {
            for (at, column) in self.columns.iter().enumerate() {
                let of = |map: &BTreeMap<String, Vec<Option<f64>>>| {
                    map.get(row).and_then(|values| *values.get(at)?)
                };
                let interval = self.interval95.get(row).and_then(|all| *all.get(at)?);
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "{row},{column},{},{},{},{}",
                    say(of(&self.measured)),
                    say(interval.map(|[low, _]| low)),
                    say(interval.map(|[_, high]| high)),
                    say(of(&self.printed))
                );
            }
        }
        text
    }
}

/// Every table for which there is a cell.
#[must_use]
pub fn all(cells: &Cells) -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::new();
    if !cells.placements.is_empty() {
        tables.insert("table3".to_owned(), table3(cells));
        for chain in [OURS, PLAIN] {
            let direct = format!("{}{chain}", THESIS.table2_scenarios[0].name);
            if !placement(cells, &direct).is_empty() || chain == OURS {
                tables.insert(format!("table2{chain}"), table2(cells, chain));
                tables.insert(format!("table4{chain}"), table4(cells, chain));
            }
        }
        if VARIANTS
            .iter()
            .any(|(name, _)| !placement(cells, name).is_empty())
        {
            tables.insert("variants".to_owned(), variants(cells));
        }
        tables.insert("end-devices".to_owned(), stages::end_devices(cells));
    }
    for chain in [OURS, PLAIN] {
        if !cells.with_jitter(chain).is_empty() {
            tables.insert(format!("jitter{chain}"), jitter(cells, chain));
        }
    }
    if !cells.screenshots.is_empty() {
        tables.insert("screenshots".to_owned(), stages::screenshots(cells));
    }
    for sweep in sweeps(cells) {
        let own = of_sweep(cells, &sweep);
        // The thesis' own way is that of the sweep `all`.
        let suffix = if sweep == ALL {
            String::new()
        } else {
            format!("-{sweep}")
        };
        tables.insert(format!("table5{suffix}"), table5(&own, &sweep));
        tables.insert(format!("table6{suffix}"), table6(&own, &sweep));
    }
    for group in breakdown::groups(cells) {
        tables.insert(group.name.to_owned(), stages::figure7(&group));
    }
    if !cells.migrations.is_empty() {
        tables.insert("table7".to_owned(), table7(cells));
    }
    if !cells.paths.is_empty() {
        let own = paths::AXES.iter();
        tables.extend(own.map(|axis| (axis.name.to_owned(), over_paths(cells, axis))));
    }
    tables
}

/// Migrations along an axis.
fn over_paths(cells: &Cells, axis: &paths::Axis) -> Table {
    let all = paths::WAYS.map(|way| (way, paths::along(cells, axis, way)));
    let mut values: Vec<f64> = all
        .iter()
        .flat_map(|(_, own)| own.iter().map(|(value, _)| *value))
        .collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let columns = values
        .iter()
        .map(|value| format!("{value} {}", axis.unit))
        .collect();
    let title = format!("Live migration by {}", axis.words);
    let mut table = Table::new(&title, "", columns);
    for (way, own) in all.iter().filter(|(_, own)| !own.is_empty()) {
        for (name, of) in paths::FIGURES {
            let entry = |value: &f64| {
                let found = own.iter().find(|(at, _)| at == value);
                Entry::of(found.and_then(|(_, cell)| of(cell)), None)
            };
            let entries: Vec<Entry> = values.iter().map(entry).collect();
            table.row(&format!("{}: {name}", way.as_str()), &entries);
        }
    }
    table
}

/// Name of the sweep that is made as the thesis' own is.
pub const ALL: &str = "all";

/// What the name of a placement ends in, by the programs that carry the video: Forestall's own, …
pub(super) const OURS: &str = "";
/// … and the thesis' own, told nothing that lowers their delay.
pub(super) const PLAIN: &str = "-ffmpeg-plain";
/// … and those told what does.
const TUNED: &str = "-ffmpeg";

/// What a title says of that.
fn carried(chain: &str) -> &'static str {
    if chain == PLAIN {
        ", carried by stock FFmpeg, plain"
    } else {
        ""
    }
}

/// Measurements of a placement, in the order of repeats.
pub(super) fn placement<'a>(cells: &'a Cells, name: &str) -> Vec<&'a PlacementCell> {
    let own = cells.placements.iter().filter(|of| of.name() == name);
    own.map(|of| &of.figures).collect()
}

/// What a placement's name ends in by its chain.
fn chain_of(name: &str) -> &'static str {
    let mut chains = [PLAIN, TUNED].into_iter();
    chains
        .find(|chain| name.ends_with(*chain))
        .unwrap_or(OURS)
}

/// A figure of a placement, the mean of its runs; how far runs lie apart is known from all placements of the same chain.
pub(super) fn over_runs(
    cells: &Cells,
    name: &str,
    of: &dyn Fn(&PlacementCell) -> Option<Estimate>,
) -> Option<Estimate> {
    let runs = |name: &str| -> Vec<Estimate> {
        let own = placement(cells, name).into_iter();
        own.filter_map(of).collect()
    };
    let names: BTreeSet<&str> = cells.placements.iter().map(Of::name).collect();
    let alike = names
        .into_iter()
        .filter(|other| chain_of(other) == chain_of(name));
    let all: Vec<Vec<Estimate>> = alike.map(runs).collect();
    Repeatability::of(&all).mean(&runs(name))
}

/// Mean picture age of a placement over all shots.
pub(super) fn delay(cells: &Cells, name: &str) -> Option<Estimate> {
    over_runs(cells, name, &|cell| Estimate::mean_of(&cell.shots_ms))
}

/// Mean round trip of a placement. Pings are far enough apart in time not to depend on each other, in whichever run they are.
pub(super) fn rtt(cells: &Cells, name: &str) -> Option<Estimate> {
    let all = placement(cells, name);
    Estimate::of_independent(all.iter().flat_map(|cell| cell.rtt_ms.iter().copied()))
}

/// Mean round trip of a placement through a VPN.
pub(super) fn vpn_rtt(cells: &Cells, name: &str) -> Option<Estimate> {
    let all = placement(cells, name);
    Estimate::of_independent(all.iter().flat_map(|cell| cell.vpn_rtt_ms.iter().copied()))
}

/// The thesis' excess: what of a placement's delay its round trip does not explain.
pub(super) fn excess(cells: &Cells, name: &str, chain: &str) -> Option<Estimate> {
    let [name, base] = [name, "edge-user-side"].map(|name| format!("{name}{chain}"));
    let delay = delay(cells, &name)?.minus(&delay(cells, &base)?);
    Some(delay.minus(&rtt(cells, &name)?.minus(&rtt(cells, &base)?)))
}

fn table2(cells: &Cells, chain: &str) -> Table {
    let title = "Table 2: application-level delay of video live streaming in each scenario";
    let title = format!("{title}{}", carried(chain));
    let mut table = Table::new(&title, "ms", by_repeat(cells));
    for printed in &THESIS.table2_scenarios {
        let known = [printed.first_ms, printed.second_ms, printed.mean_ms];
        let name = format!("{}{chain}", printed.name);
        table.row(&printed.name, &delays(cells, &name, Some(known)));
    }
    table
}

/// What has one thing other than the placement `non-virtualized`.
const VARIANTS: [(&str, &str); 4] = [
    ("non-virtualized-udp", "by UDP, 30 frames a second"),
    ("non-virtualized-60fps", "by TCP, 60 frames a second"),
    (
        "non-virtualized-ffmpeg",
        "FFmpeg in every role, with what lowers its delay",
    ),
    (
        "non-virtualized-ffmpeg-plain",
        "FFmpeg in every role, plain",
    ),
];

fn variants(cells: &Cells) -> Table {
    let title = "On the path of non-virtualized: UDP against TCP (3.1.2), a camera of 60 frames a second (3.3), FFmpeg's programs (3.2.5)";
    let mut table = Table::new(title, "ms", by_repeat(cells));
    let as_it_is = ("non-virtualized", "by TCP, 30 frames a second");
    for (name, words) in std::iter::once(&as_it_is).chain(&VARIANTS) {
        table.row(words, &delays(cells, name, None));
    }
    table
}

/// How often a placement was measured at most.
fn repeats(cells: &Cells) -> u32 {
    let repeat = |of: &Of<PlacementCell>| match &of.cell.subject {
        Subject::Placement { repeat, .. } => Some(*repeat),
        _ => None,
    };
    cells
        .placements
        .iter()
        .filter_map(repeat)
        .max()
        .unwrap_or(1)
}

/// A column for each measurement, and one for their mean.
fn by_repeat(cells: &Cells) -> Vec<String> {
    let each = (1..=repeats(cells)).map(|repeat| repeat.to_string());
    each.chain(["mean".to_owned()]).collect()
}

/// The delays of a placement by measurement and their mean, beside the first, the second and the mean that are printed.
fn delays(cells: &Cells, name: &str, printed: Option<[f64; 3]>) -> Vec<Entry> {
    let own = placement(cells, name);
    let each = (0..repeats(cells) as usize).map(|at| {
        let estimate = own
            .get(at)
            .and_then(|cell| Estimate::mean_of(&cell.shots_ms));
        let known = printed.filter(|_| at < 2).map(|known| known[at]);
        Entry::of(estimate, known)
    });
    let mean = Entry::of(delay(cells, name), printed.map(|[.., mean]| mean));
    each.chain([mean]).collect()
}

/// The placement with the shortest path that has a VPN.
pub(super) const LAN: &str = "edge-user-side";

fn table3(cells: &Cells) -> Table {
    let columns = ["with VPN", "without VPN"].map(String::from).to_vec();
    let mut table = Table::new("Table 3: RTT of ICMP packets", "ms", columns);
    for printed in &THESIS.table3_rtt {
        let name = format!("dc-{}", printed.region);
        table.row(
            &printed.region,
            &[
                Entry::of(vpn_rtt(cells, &name), Some(printed.with_vpn_ms)),
                Entry::of(rtt(cells, &name), Some(printed.without_vpn_ms)),
            ],
        );
    }
    // Where there is no jitter that hides what the VPN itself takes.
    let lan = [vpn_rtt(cells, LAN), rtt(cells, LAN)].map(|measured| Entry::of(measured, None));
    table.row(LAN, &lan);
    table
}

fn table4(cells: &Cells, chain: &str) -> Table {
    let all = &THESIS.table4_intervals;
    let columns = all.iter().map(|one| one.scenario.clone()).collect();
    let title = "Table 4: packet arriving intervals and the unexpected increase of the delay";
    let title = format!("{title}{}", carried(chain));
    let named = |one: &crate::reference::ScenarioIntervals| format!("{}{chain}", one.scenario);
    let mut table = Table::new(&title, "ms", columns);
    let row = |of: &dyn Fn(&crate::reference::ScenarioIntervals) -> Entry| -> Vec<Entry> {
        all.iter().map(of).collect()
    };
    table.row(
        "delay",
        &row(&|one| Entry::of(delay(cells, &named(one)), Some(one.delay_ms))),
    );
    table.row(
        "RTT",
        &row(&|one| Entry::of(rtt(cells, &named(one)), Some(one.rtt_ms))),
    );
    table.row(
        "unexpected increase",
        &row(&|one| {
            Entry::of(
                excess(cells, &one.scenario, chain),
                Some(one.unexpected_increase_ms),
            )
        }),
    );
    for (name, figure, printed) in INTERVALS {
        let entry = |one: &crate::reference::ScenarioIntervals| {
            let of = |cell: &PlacementCell| packet_intervals(cell, figure);
            Entry::of(over_runs(cells, &named(one), &of), Some(printed(one)))
        };
        table.row(name, &row(&entry));
    }
    table
}

/// A share of a level's CPU.
type Share = fn(&LoadCell) -> Option<f64>;
type Figure = fn(&Values) -> Option<f64>;
type Printed = fn(&crate::reference::ScenarioIntervals) -> f64;

/// The last rows of Table 4.
const INTERVALS: [(&str, Figure, Printed); 3] = [
    ("mean of intervals", Values::mean, |one| one.mean_ms),
    ("S.D. of intervals", Values::sd, |one| one.sd_ms),
    ("C.V. of intervals (no unit)", Values::cv, |one| one.cv),
];

/// A figure of the intervals between packets of a run.
pub(super) fn packet_intervals(cell: &PlacementCell, figure: Figure) -> Option<Estimate> {
    let rows = cell.arrivals.iter();
    let intervals: Vec<f64> = rows.filter_map(|row| row.interval_ms).collect();
    Estimate::of_series(&intervals, figure)
}

/// How late the 95th of 100 frames is behind the earliest: what a play-out buffer has to hold so that no more than 5 % come too late.
pub(super) fn lateness(cell: &PlacementCell) -> Option<f64> {
    let delays: Values = cell.frame_delays_ms.iter().copied().collect();
    Some(delays.quantile(0.95)? - delays.min()?)
}

fn jitter(cells: &Cells, chain: &str) -> Table {
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
    table.row(
        "picture age, mean",
        &row(&|cell| Estimate::mean_of(&cell.shots_ms)),
    );
    // The more jitter the farther its runs lie apart: each level by its own.
    let late = |sd: &f64| Estimate::of_independent(at(*sd).into_iter().filter_map(lateness));
    let late: Vec<Entry> = levels.iter().map(|sd| Entry::of(late(sd), None)).collect();
    table.row("lateness of frames, 95th percentile", &late);
    table
}

/// Names of the sweeps, in the order of their folders.
pub(super) fn sweeps(cells: &Cells) -> Vec<String> {
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
pub(super) fn of_sweep<'a>(cells: &'a Cells, name: &str) -> Vec<(f64, &'a LoadCell)> {
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

/// What Tables 5 to 7 print at a level.
fn printed(row: &ByLoad, level: f64) -> Option<f64> {
    THESIS.at(row, (level * 100.0).round())
}

fn percent_columns(levels: impl Iterator<Item = f64>) -> Vec<String> {
    levels
        .map(|level| format!("{:.0} %", level * 100.0))
        .collect()
}

/// A figure of the intervals between frames at a level.
pub(super) fn frame_intervals(cell: &LoadCell, figure: Figure) -> Option<Estimate> {
    Estimate::of_series(&cell.frame_intervals_ms, figure)
}

/// A figure of the picture's age at a level.
pub(super) fn picture_age(cell: &LoadCell, figure: Figure) -> Option<Estimate> {
    Estimate::of_series(&cell.shots_ms, figure)
}

fn table5(own: &[(f64, &LoadCell)], sweep: &str) -> Table {
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
    let shares: [(&str, Share); 2] = [
        ("total load of the host (share)", |cell| cell.total),
        ("of it the virtual machine (share)", |cell| cell.machine),
    ];
    for (name, of) in shares {
        let entries: Vec<Entry> = own
            .iter()
            .map(|(_, cell)| Entry::plain(of(cell), None))
            .collect();
        table.row(name, &entries);
    }
    table
}

fn table6(own: &[(f64, &LoadCell)], sweep: &str) -> Table {
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

/// Loads of the source and of the target, and what was measured between them.
pub(super) fn migrations(cells: &Cells) -> Vec<(f64, f64, &MigrationCell)> {
    let mut own: Vec<(f64, f64, &MigrationCell)> = cells
        .migrations
        .iter()
        .filter_map(|Of { cell, figures }| match cell.subject {
            Subject::Migration { source, target } => Some((source, target, figures)),
            _ => None,
        })
        .collect();
    own.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.total_cmp(&b.0)));
    own
}

/// Total migration time between two loads, seconds.
pub(super) fn total_s(cell: &MigrationCell) -> Option<Estimate> {
    let made = cell.moves.iter().filter(|one| one.failure.is_none());
    Estimate::of_independent(made.filter_map(|one| Some(one.total_ms? / 1e3)))
}

fn table7(cells: &Cells) -> Table {
    let all = migrations(cells);
    let mut sources: Vec<f64> = all.iter().map(|(source, ..)| *source).collect();
    sources.sort_by(f64::total_cmp);
    sources.dedup();
    let mut targets: Vec<f64> = all.iter().map(|(_, target, _)| *target).collect();
    targets.dedup();
    let title = "Table 7: total migration time by CPU load of the source (columns) and of the target (rows)";
    let columns = percent_columns(sources.iter().copied());
    let mut table = Table::new(title, "s", columns);
    let thesis = &THESIS.table7_total_migration_time;
    let at = |source: f64, target: f64| {
        let found = all.iter().find(|(s, t, _)| *s == source && *t == target);
        found.map(|(_, _, cell)| *cell)
    };
    for target in &targets {
        let percent = (target * 100.0).round();
        let by_load = match percent as u32 {
            0 => Some(&thesis.destination_0_s),
            50 => Some(&thesis.destination_50_s),
            100 => Some(&thesis.destination_100_s),
            _ => None,
        };
        let row = |of: &dyn Fn(&MigrationCell) -> Entry| -> Vec<Entry> {
            let cells = sources.iter().map(|source| at(*source, *target));
            cells
                .map(|cell| cell.map_or_else(Entry::default, of))
                .collect()
        };
        let mut totals = row(&|cell| Entry::of(total_s(cell), None));
        for (entry, source) in totals.iter_mut().zip(&sources) {
            entry.printed = by_load.and_then(|by_load| printed(by_load, *source));
        }
        table.row(&format!("target at {percent} %"), &totals);
        let mean = |values: Values| Entry::plain(values.mean(), None);
        table.row(
            &format!("target at {percent} %: downtime (ms)"),
            &row(&|cell| {
                mean(
                    cell.moves
                        .iter()
                        .filter_map(|one| one.downtime_ms)
                        .collect(),
                )
            }),
        );
        table.row(
            &format!("target at {percent} %: viewer's gap (ms)"),
            &row(&|cell| mean(cell.gaps_ms())),
        );
        table.row(
            &format!("target at {percent} %: failed (of all)"),
            &row(&|cell| {
                let failed = cell.moves.iter().filter(|one| one.failure.is_some());
                let share = failed.count() as f64 / cell.moves.len().max(1) as f64;
                Entry::plain(Some(share), None)
            }),
        );
    }
    table
}

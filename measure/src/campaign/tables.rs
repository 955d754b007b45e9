//! The thesis' tables, measured beside printed.

mod jitter;
mod load;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

use record::campaign::Subject;
use serde::{Deserialize, Serialize};

use super::breakdown;
use super::cells::{Cells, MigrationCell, Of, PlacementCell};
use super::estimate::{Estimate, Repeatability};
use super::paths;
use crate::reference::{ByLoad, THESIS};
use crate::statistics::Values;
pub(super) use jitter::lateness;
pub(super) use load::{frame_intervals, of_sweep, picture_age, sweeps};

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

    /// A line for each value.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for row in &self.rows {
            for (at, column) in self.columns.iter().enumerate() {
                let of = |map: &BTreeMap<String, Vec<Option<f64>>>| {
                    map.get(row).and_then(|values| *values.get(at)?)
                };
                let interval = self.interval95.get(row).and_then(|all| *all.get(at)?);
                lines.push(Line {
                    row: row.clone(),
                    column: column.clone(),
                    measured: of(&self.measured),
                    low95: interval.map(|[low, _]| low),
                    high95: interval.map(|[_, high]| high),
                    printed: of(&self.printed),
                });
            }
        }
        lines
    }
}

/// A value of a table: a row of its CSV file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Row of the table.
    pub row: String,
    /// Column of the table.
    pub column: String,
    /// What was measured; empty where nothing was.
    pub measured: Option<f64>,
    /// Where the truth is with 95 %, …
    pub low95: Option<f64>,
    /// … up to here.
    pub high95: Option<f64>,
    /// What the thesis prints.
    pub printed: Option<f64>,
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
            tables.insert(format!("jitter{chain}"), jitter::jitter(cells, chain));
        }
    }
    if !cells.jitter.is_empty() {
        tables.insert("jitter-fit".to_owned(), jitter::fit(cells));
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
        tables.insert(format!("table5{suffix}"), load::table5(&own, &sweep));
        tables.insert(format!("table6{suffix}"), load::table6(&own, &sweep));
    }
    for group in breakdown::groups(cells) {
        tables.insert(group.name.to_owned(), stages::figure7(&group));
    }
    if !cells.starts.is_empty() {
        tables.insert("starts".to_owned(), stages::starts(cells));
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
    chains.find(|chain| name.ends_with(*chain)).unwrap_or(OURS)
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
    over_runs(cells, name, &mean_age)
}

/// The same of a run.
fn mean_age(cell: &PlacementCell) -> Option<Estimate> {
    Estimate::mean_of(&cell.shots_ms)
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
    // The thesis has them by packets alone; a frame's packets come together, whatever the jitter.
    for (name, figure, _) in INTERVALS {
        let entry = |one: &crate::reference::ScenarioIntervals| {
            let of = |cell: &PlacementCell| intervals_of_frames(cell, figure);
            Entry::of(over_runs(cells, &named(one), &of), None)
        };
        table.row(&format!("the same of frames: {name}"), &row(&entry));
    }
    table
}

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

/// A figure of the intervals between the first packets of successive frames of a run.
fn intervals_of_frames(cell: &PlacementCell, figure: Figure) -> Option<Estimate> {
    let firsts = cell.arrivals.iter().filter(|row| row.frame_starts > 0);
    let firsts: Vec<u64> = firsts.map(|row| row.time_ns).collect();
    let pairs = firsts.iter().zip(firsts.iter().skip(1));
    let intervals: Vec<f64> = pairs
        .map(|(before, at)| at.saturating_sub(*before) as f64 / 1e6)
        .collect();
    Estimate::of_series(&intervals, figure)
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
    Estimate::of_independent(totals_s(cell))
}

/// The same of each move that was made.
fn totals_s(cell: &MigrationCell) -> impl Iterator<Item = f64> {
    let made = cell.moves.iter().filter(|one| one.failure.is_none());
    made.filter_map(|one| Some(one.total_ms? / 1e3))
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
        let name = |what: &str| format!("target at {percent} %: {what}");
        table.row(
            &name("S.D. of moves"),
            &row(&|cell| Entry::plain(totals_s(cell).collect::<Values>().sd(), None)),
        );
        let mean =
            |values: Values| Entry::of(Estimate::of_independent(values.iter().copied()), None);
        table.row(
            &name("downtime (ms)"),
            &row(&|cell| {
                let moves = cell.moves.iter();
                mean(moves.filter_map(|one| one.downtime_ms).collect())
            }),
        );
        table.row(
            &name("viewer's gap (ms)"),
            &row(&|cell| mean(cell.gaps_ms())),
        );
        table.row(
            &name("failed (of all)"),
            &row(&|cell| {
                let failed = cell.moves.iter().filter(|one| one.failure.is_some());
                let share = failed.count() as f64 / cell.moves.len().max(1) as f64;
                Entry::plain(Some(share), None)
            }),
        );
    }
    table
}

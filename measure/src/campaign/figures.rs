//! The thesis' figures, drawn from what was measured here: each an SVG that needs nothing else.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use super::breakdown;
use super::cells::{Cells, LoadCell, PlacementCell};
use super::estimate::{Estimate, Line};
use super::paths;
use super::tables::{
    ALL, OURS, PLAIN, excess, frame_intervals, lateness, migrations, of_sweep, over_runs,
    packet_intervals, picture_age, placement, sweeps, total_s,
};
use crate::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use crate::drawing::svg::{self, Scale, Spacing, px, round_up};
use crate::reference::THESIS;
use crate::statistics::Values;

const PANEL: f64 = 150.0;
const BETWEEN: f64 = 46.0;
const TOP: f64 = 52.0;
pub(super) const UNDER: f64 = 50.0;
/// Room for a second axis below the first.
const BENEATH: f64 = 44.0;
/// Colours of series; they differ in lightness, too.
pub(super) const HUES: [&str; 5] = ["#2667a8", "#b3361e", "#0a7268", "#a36a00", "#7a4fc0"];
pub(super) const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1c2126}.tick,.limit{fill:#606a73}.title{font-weight:600}\
                     path{fill:none;stroke-width:1.6}.grid{stroke:#e9ecee;stroke-width:1}.axis{stroke:#606a73;stroke-width:1}\
                     .dots{stroke-width:2.4;stroke-linecap:round;opacity:.55}.thesis{stroke-dasharray:6 3;opacity:.7}\
                     .box{fill:#fff;fill-opacity:.8}";
/// What the horizontal axis of levels of load is of.
const ASKED: &str = "background CPU load asked, %";
/// Seconds of packets that Figures 4, 5, 8 and 9 show.
const SHOWN_S: f64 = 10.0;

/// Points of one kind in a panel.
#[derive(Clone, Debug)]
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    mark: Mark,
    hue: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    /// Many points.
    Dots,
    /// Few points and a line between them.
    Line,
    /// The same of the thesis.
    Thesis,
}

/// A panel of a figure.
#[derive(Clone, Debug)]
struct Panel {
    title: String,
    series: Vec<Series>,
}

/// Every figure for which there is a cell, by file name.
#[must_use]
pub fn all(cells: &Cells) -> BTreeMap<String, String> {
    let mut drawings = BTreeMap::new();
    let totals_asked = totals_asked(cells);
    let mut put = |name: &str, panels: Vec<Panel>, under: &str| {
        let panels: Vec<Panel> = panels
            .into_iter()
            .filter(|panel| {
                // What the thesis printed alone is no figure of ours.
                let mut own = panel
                    .series
                    .iter()
                    .filter(|series| series.mark != Mark::Thesis);
                own.any(|series| !series.points.is_empty())
            })
            .collect();
        if !panels.is_empty() {
            let second = if under == ASKED {
                totals_asked.as_slice()
            } else {
                &[]
            };
            drawings.insert(format!("{name}.svg"), draw(name, &panels, (under, second)));
        }
    };
    put("figure4", figure4(cells), "s");
    put("figure5", figure5(cells), "s");
    put(
        "figure6",
        figure6(cells),
        "C.V. of packet arriving intervals",
    );
    put("figure8", figure8(cells), "s");
    put("figure9", figure9(cells), "s");
    put(
        "figure10",
        by_load(
            cells,
            "C.V. of arriving intervals of frames",
            &[ALL, "ffmpeg", "fair"],
            cv,
            Some(&THESIS.table5_intervals_by_cpu_load.cv),
        ),
        ASKED,
    );
    // Not in the thesis: that it is the weights that make it explode.
    put(
        "table6",
        by_load(
            cells,
            "picture age, mean, ms",
            &[ALL, "ffmpeg", "ffmpeg-plain", "fair"],
            age,
            Some(&THESIS.table6_delay_by_cpu_load.mean_ms),
        ),
        ASKED,
    );
    put("figure11", figure11(cells), "s");
    put(
        "figure13",
        by_load(
            cells,
            "C.V. of arriving intervals of frames",
            &[ALL, "jenkin", "idct", "pi"],
            cv,
            None,
        ),
        ASKED,
    );
    put(
        "figure14",
        by_load(
            cells,
            "picture age, mean, ms",
            &[ALL, "jenkin", "idct", "pi"],
            age,
            None,
        ),
        ASKED,
    );
    put(
        "figure15",
        totals(cells, &[0.0]),
        "background CPU load of the source, %",
    );
    put(
        "figure16",
        totals(cells, &[0.5, 1.0]),
        "background CPU load of the source, %",
    );
    for axis in &paths::AXES {
        put(axis.name, over_paths(cells, axis), axis.words);
    }
    if let Some(drawing) = breakdown::figure7(cells) {
        drawings.insert("figure7.svg".to_owned(), drawing);
    }
    let boxes = figure12(cells);
    if !boxes.is_empty() {
        drawings.insert("figure12.svg".to_owned(), draw_boxes(&boxes));
    }
    drawings
}

fn cv(cell: &LoadCell) -> Option<Estimate> {
    frame_intervals(cell, Values::cv)
}

fn age(cell: &LoadCell) -> Option<Estimate> {
    picture_age(cell, Values::mean)
}

fn dots(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: name.to_owned(),
        points,
        mark: Mark::Dots,
        hue: HUES[0],
    }
}

fn panel(title: &str, series: Vec<Series>) -> Panel {
    Panel {
        title: title.to_owned(),
        series,
    }
}

/// The four placements of Figure 4.
const FIGURE_4: [&str; 4] = ["edge-user-side", "dc-ohio", "dc-singapore", "dc-tokyo"];

fn figure4(cells: &Cells) -> Vec<Panel> {
    let own = |name: &str| {
        let cell = placement(cells, name).first().copied();
        let points = cell.map_or_else(Vec::new, |cell| {
            let start = cell.arrivals.first().map_or(0, |row| row.time_ns);
            let since = |ns: u64| ns.saturating_sub(start) as f64 / 1e9;
            let rows = cell.arrivals.iter();
            rows.filter_map(|row| Some((since(row.time_ns), row.interval_ms?)))
                .take_while(|(at, _)| *at < SHOWN_S)
                .collect()
        });
        panel(
            &format!("{name}: intervals between packets, ms"),
            vec![dots("packets", points)],
        )
    };
    FIGURE_4.into_iter().map(own).collect()
}

fn cumulative(cell: &PlacementCell, kind: Option<&str>) -> Vec<(f64, f64)> {
    let start = cell.arrivals.first().map_or(0, |row| row.time_ns);
    let rows = cell
        .arrivals
        .iter()
        .filter(|row| kind.is_none_or(|kind| row.frame_kind == kind));
    rows.map(|row| {
        let at = row.time_ns.saturating_sub(start) as f64 / 1e9;
        (at, row.cumulative_bytes as f64 / 1e3)
    })
    .take_while(|(at, _)| *at < 2.0)
    .collect()
}

fn figure5(cells: &Cells) -> Vec<Panel> {
    let own = |name: &str| {
        let found = placement(cells, name).first().copied();
        let series = found.map_or_else(Vec::new, |cell| {
            let kind = |name: &str, kind, hue| Series {
                hue,
                ..dots(name, cumulative(cell, Some(kind)))
            };
            vec![
                kind("packets of I-frames", "I", HUES[1]),
                kind("packets of P-frames", "P", HUES[0]),
            ]
        });
        panel(&format!("{name}: video data received, kB"), series)
    };
    ["edge-user-side", "dc-ohio"].into_iter().map(own).collect()
}

fn figure6(cells: &Cells) -> Vec<Panel> {
    let line = |name: &str, points, mark, hue| Series {
        name: name.to_owned(),
        points,
        mark,
        hue,
    };
    let measured = |chain: &str| -> Vec<(f64, f64)> {
        let point = |name: &&str| {
            let own = format!("{name}{chain}");
            let cv = over_runs(cells, &own, &|cell| packet_intervals(cell, Values::cv))?;
            Some((cv.value, excess(cells, name, chain)?.value))
        };
        FIGURE_4.iter().filter_map(point).collect()
    };
    let thesis = THESIS
        .table4_intervals
        .iter()
        .map(|one| (one.cv, one.unexpected_increase_ms))
        .collect();
    let sweep = |chain: &str, of: &dyn Fn(&PlacementCell) -> Option<f64>| -> Vec<(f64, f64)> {
        let own = cells.with_jitter(chain).into_iter();
        let point = |(_, cell): (f64, &PlacementCell)| {
            let cv = packet_intervals(cell, Values::cv)?;
            Some((cv.value, of(cell)?))
        };
        let mut points: Vec<(f64, f64)> = own.filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let ages = |chain| {
        sweep(chain, &|cell| {
            Some(Estimate::mean_of(&cell.shots_ms)?.value)
        })
    };
    let fitted = |points: &[(f64, f64)]| {
        Line::through(points).map_or_else(Vec::new, |fit| {
            let ends = points.first().into_iter().chain(points.last());
            ends.map(|(x, _)| (*x, fit.at_zero + fit.slope.value * x))
                .collect()
        })
    };
    let (ours, plain) = (ages(OURS), ages(PLAIN));
    let (of_ours, of_plain) = (fitted(&ours), fitted(&plain));
    vec![
        panel(
            "unexpected increase of the delay, ms: placements",
            vec![
                line("Forestall", measured(OURS), Mark::Dots, HUES[0]),
                line("FFmpeg, plain", measured(PLAIN), Mark::Dots, HUES[3]),
                line("thesis", thesis, Mark::Thesis, HUES[1]),
            ],
        ),
        panel(
            "picture age, mean, ms: one path with more and more jitter",
            vec![
                line("Forestall", ours, Mark::Dots, HUES[0]),
                line("straight line", of_ours, Mark::Thesis, HUES[0]),
                line("FFmpeg, plain", plain, Mark::Dots, HUES[3]),
                line("straight line", of_plain, Mark::Thesis, HUES[3]),
            ],
        ),
        panel(
            "lateness of frames, 95th percentile, ms: the same path",
            vec![
                line("Forestall", sweep(OURS, &lateness), Mark::Dots, HUES[0]),
                line(
                    "FFmpeg, plain",
                    sweep(PLAIN, &lateness),
                    Mark::Dots,
                    HUES[3],
                ),
            ],
        ),
    ]
}

/// What the function's host used in all at each level asked, %: the second axis of load.
fn totals_asked(cells: &Cells) -> Vec<(f64, String)> {
    let used = |(level, cell): (f64, &LoadCell)| {
        Some((level * 100.0, format!("{:.0}", cell.total? * 100.0)))
    };
    of_sweep(cells, ALL).into_iter().filter_map(used).collect()
}

fn each_level(cells: &Cells) -> Vec<(String, &LoadCell)> {
    of_sweep(cells, ALL)
        .into_iter()
        .map(|(level, cell)| (format!("load {:.0} %", level * 100.0), cell))
        .collect()
}

fn figure8(cells: &Cells) -> Vec<Panel> {
    let own = |(name, cell): (String, &LoadCell)| {
        let points: Vec<(f64, f64)> = cell
            .packets
            .windows(2)
            .filter_map(|pair| match pair {
                [(before, _), (at, _)] => Some((*at, (at - before) * 1e3)),
                _ => None,
            })
            .take_while(|(at, _)| *at < SHOWN_S)
            .collect();
        panel(
            &format!("{name}: intervals between packets, ms"),
            vec![dots("packets", points)],
        )
    };
    each_level(cells).into_iter().map(own).collect()
}

fn figure9(cells: &Cells) -> Vec<Panel> {
    let levels = of_sweep(cells, ALL);
    let ends = levels
        .iter()
        .filter(|(level, _)| *level == 0.0 || *level == 1.0);
    let series = ends
        .enumerate()
        .map(|(number, (level, cell))| {
            let mut sum = 0.0;
            let points = cell
                .packets
                .iter()
                .take_while(|(at, _)| *at < SHOWN_S)
                .map(|(at, bytes)| {
                    sum += f64::from(*bytes) / 1e3;
                    (*at, sum)
                })
                .collect();
            Series {
                hue: HUES[number % HUES.len()],
                ..dots(&format!("load {:.0} %", level * 100.0), points)
            }
        })
        .collect();
    vec![panel("video data received, kB", series)]
}

fn figure11(cells: &Cells) -> Vec<Panel> {
    let own = |(name, cell): (String, &LoadCell)| {
        panel(
            &format!("{name}: delay of frames, ms"),
            vec![dots("frames", cell.delays.clone())],
        )
    };
    each_level(cells).into_iter().map(own).collect()
}

fn by_load(
    cells: &Cells,
    title: &str,
    wanted: &[&str],
    of: fn(&LoadCell) -> Option<Estimate>,
    printed: Option<&crate::reference::ByLoad>,
) -> Vec<Panel> {
    let there = sweeps(cells);
    let measured = wanted
        .iter()
        .filter(|name| there.iter().any(|there| there == *name));
    let mut series: Vec<Series> = measured
        .enumerate()
        .map(|(number, name)| Series {
            name: (*name).to_owned(),
            points: of_sweep(cells, name)
                .into_iter()
                .filter_map(|(level, cell)| Some((level * 100.0, of(cell)?.value)))
                .collect(),
            mark: Mark::Line,
            hue: HUES[number % HUES.len()],
        })
        .collect();
    // A comparison needs the sweep that the thesis has, and another.
    if series.len() < wanted.len().min(2) && printed.is_none() || series.is_empty() {
        return Vec::new();
    }
    if let Some(printed) = printed {
        series.push(Series {
            name: "thesis".to_owned(),
            points: THESIS
                .cpu_load
                .percent
                .iter()
                .zip(printed)
                .map(|(load, value)| (*load, *value))
                .collect(),
            mark: Mark::Thesis,
            hue: "#606a73",
        });
    }
    vec![panel(title, series)]
}

/// What figures show of migrations along an axis, each way to copy a series.
fn over_paths(cells: &Cells, axis: &paths::Axis) -> Vec<Panel> {
    let shown = paths::FIGURES.iter().take(3);
    shown
        .map(|(name, of)| {
            let series = paths::WAYS.iter().zip(HUES).map(|(way, hue)| Series {
                name: way.as_str().to_owned(),
                points: paths::along(cells, axis, *way)
                    .iter()
                    .filter_map(|(at, cell)| Some((*at, of(cell)?.value)))
                    .collect(),
                mark: Mark::Line,
                hue,
            });
            let series = series.filter(|series| !series.points.is_empty());
            panel(name, series.collect())
        })
        .collect()
}

fn totals(cells: &Cells, targets: &[f64]) -> Vec<Panel> {
    let all = migrations(cells);
    let series: Vec<Series> = targets
        .iter()
        .enumerate()
        .map(|(number, wanted)| Series {
            name: format!("target at {:.0} %", wanted * 100.0),
            points: all
                .iter()
                .filter(|(_, target, _)| target == wanted)
                .filter_map(|(source, _, cell)| Some((source * 100.0, total_s(cell)?.value)))
                .collect(),
            mark: Mark::Line,
            hue: HUES[number % HUES.len()],
        })
        .filter(|series| !series.points.is_empty())
        .collect();
    if series.is_empty() {
        return Vec::new();
    }
    vec![panel("total migration time, s", series)]
}

fn draw(name: &str, panels: &[Panel], (under, second): (&str, &[(f64, String)])) -> String {
    let points = || {
        let series = panels.iter().flat_map(|panel| &panel.series);
        series.flat_map(|series| series.points.iter().copied())
    };
    let (low, high) = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| {
        (low.min(x), high.max(x))
    });
    let edge = (high - low).max(1e-9) * 0.02;
    let x = Scale {
        domain: (low - edge, high + edge),
        place: (LEFT, RIGHT),
        spacing: Spacing::Linear,
    };
    let beneath = if second.is_empty() { 0.0 } else { BENEATH };
    let height = TOP + panels.len() as f64 * (PANEL + BETWEEN) - BETWEEN + UNDER + beneath;
    let drawing = html! {
        svg.figure xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (px(height)) } role="img" aria-label=(name) {
            style { (PreEscaped(STYLE)) }
            rect width="100%" height="100%" fill="#fff" {}
            @if let Some(first) = panels.iter().max_by_key(|panel| panel.series.len()) { (legend(&first.series)) }
            @for (number, panel) in panels.iter().enumerate() {
                @let frame = Frame { top: TOP + number as f64 * (PANEL + BETWEEN), height: PANEL };
                @let axes = Axes { x: &x, frame };
                (draw_panel(panel, &axes))
                @if number + 1 == panels.len() {
                    (axes.under(under, &x.ticks(12.0), tick))
                    @if !second.is_empty() { (axes.beneath("load of the function's host in all, % (sweep all)", second)) }
                }
            }
        }
    };
    drawing.into_string()
}

fn tick(value: f64) -> String {
    // A sum of steps is not exact.
    let value = (value * 1e6).round() / 1e6;
    format!("{value}")
}

fn legend(series: &[Series]) -> Markup {
    html! {
        @for (number, series) in series.iter().enumerate() {
            @let at = LEFT + number as f64 * 170.0;
            (marks(series.mark, series.hue, &[(at, 18.0), (at + 22.0, 18.0)]))
            text x=(at + 30.0) y="22" { (series.name) }
        }
    }
}

fn draw_panel(panel: &Panel, axes: &Axes<'_>) -> Markup {
    let values = || {
        let series = panel.series.iter();
        series.flat_map(|series| series.points.iter().map(|(_, y)| *y))
    };
    let high = values().fold(0.0, f64::max);
    let low = values().fold(0.0, f64::min);
    let y = Scale {
        domain: (low, round_up(high.max(1e-9)).min(high * 1.25).max(1e-9)),
        place: axes.frame.place(),
        spacing: Spacing::Linear,
    };
    html! {
        (axes.panel(&panel.title, &y, &y.ticks(4.0), tick))
        @for series in &panel.series {
            @let points: Vec<(f64, f64)> = series.points.iter().map(|(at, value)| (axes.x.at(*at), y.at(*value))).collect();
            (marks(series.mark, series.hue, &points))
        }
    }
}

fn marks(mark: Mark, hue: &str, points: &[(f64, f64)]) -> Markup {
    let all = || points.iter().copied();
    html! {
        @match mark {
            Mark::Dots => path.dots stroke=(hue) d=(svg::dots(all())) {},
            Mark::Thesis => path.thesis stroke=(hue) d=(svg::line(all())) {},
            Mark::Line => {
                path stroke=(hue) d=(svg::line(all())) {}
                @for (x, y) in all() { circle cx=(px(x)) cy=(px(y)) r="3" fill=(hue) {} }
            }
        }
    }
}

/// Minimum, quartiles, maximum and mean, as Figure 12 has them.
struct Box {
    level: f64,
    /// Minimum, 25th, 50th, 75th percentile, maximum.
    five: [f64; 5],
    mean: f64,
}

fn figure12(cells: &Cells) -> Vec<Box> {
    of_sweep(cells, ALL)
        .into_iter()
        .filter_map(|(level, cell)| {
            let all: Values = cell.shots_ms.iter().copied().collect();
            Some(Box {
                level,
                five: [
                    all.min()?,
                    all.quantile(0.25)?,
                    all.median()?,
                    all.quantile(0.75)?,
                    all.max()?,
                ],
                mean: all.mean()?,
            })
        })
        .collect()
}

/// On a logarithmic axis: at 100 % the delay is ten times that below.
fn draw_boxes(boxes: &[Box]) -> String {
    let ends = |at: usize| boxes.iter().map(move |one| one.five[at].max(1.0));
    let y = Scale {
        domain: (
            ends(0).fold(f64::INFINITY, f64::min) / 1.2,
            ends(4).fold(0.0, f64::max) * 1.2,
        ),
        place: Frame {
            top: TOP,
            height: 2.0 * PANEL,
        }
        .place(),
        spacing: Spacing::Logarithmic,
    };
    let x = Scale {
        domain: (-0.5, boxes.len() as f64 - 0.5),
        place: (LEFT, RIGHT),
        spacing: Spacing::Linear,
    };
    let axes = Axes {
        x: &x,
        frame: Frame {
            top: TOP,
            height: 2.0 * PANEL,
        },
    };
    let places: Vec<f64> = (0..boxes.len()).map(|at| at as f64).collect();
    let name = |at: f64| {
        let found = boxes.get(at as usize);
        found.map_or_else(String::new, |one| format!("{:.0}", one.level * 100.0))
    };
    let height = TOP + 2.0 * PANEL + UNDER;
    let drawing = html! {
        svg.figure xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="figure12" {
            style { (PreEscaped(STYLE)) }
            rect width="100%" height="100%" fill="#fff" {}
            (axes.panel("picture age, ms: minimum, quartiles, maximum; circle: mean", &y, &y.ticks(8.0), tick))
            @for (at, one) in boxes.iter().enumerate() {
                @let middle = x.at(at as f64);
                @let [low, first, median, third, high] = one.five.map(|value| px(y.at(value.max(1.0))));
                path stroke=(HUES[0]) d={ "M" (px(middle)) " " (low) "V" (high) "M" (px(middle - 12.0)) " " (low) "h24M" (px(middle - 12.0)) " " (high) "h24" } {}
                path.box stroke=(HUES[0]) d={ "M" (px(middle - 22.0)) " " (first) "h44V" (third) "h-44Z" } {}
                path stroke=(HUES[1]) d={ "M" (px(middle - 22.0)) " " (median) "h44" } {}
                circle cx=(px(middle)) cy=(px(y.at(one.mean.max(1.0)))) r="3.2" fill=(HUES[0]) {}
            }
            (axes.under("background CPU load asked, %", &places, name))
        }
    };
    drawing.into_string()
}

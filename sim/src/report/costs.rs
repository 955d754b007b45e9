//! What control costs against hosts and functions: one SVG that needs nothing else.

use maud::{Markup, PreEscaped, html};
use measure::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use measure::drawing::svg::{self, Scale, Spacing, px};

/// What it costs with so many hosts and functions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Hosts.
    pub hosts: usize,
    /// Functions.
    pub functions: usize,
    /// A sample, everything included, in a run of many.
    pub us_per_sample: f64,
    /// One sample through the controller, 99th percentile.
    pub sample_p99_us: Option<f64>,
    /// One that leads to a placement, 99th percentile; none where none was placed.
    pub placement_p99_ms: Option<f64>,
}

const PANEL: f64 = 200.0;
const BETWEEN: f64 = 58.0;
const TOP: f64 = 62.0;
const HEIGHT: f64 = TOP + 3.0 * PANEL + 2.0 * BETWEEN + 48.0;
/// Colours of the lines, from few functions to many; they differ in lightness, too.
const HUES: [&str; 4] = ["#7fa8d1", "#2667a8", "#0a7268", "#8a2f16"];

/// A panel: its title, and what it shows of a cost.
type Panel = (&'static str, fn(&Cost) -> Option<f64>, f64);

const PANELS: [Panel; 3] = [
    (
        "a sample, everything included, µs (aim 0.35 at 10,000 hosts)",
        |cost| Some(cost.us_per_sample),
        0.35,
    ),
    (
        "one sample through the controller, p99, µs (aim 100)",
        |cost| cost.sample_p99_us,
        100.0,
    ),
    (
        "one placement, p99, ms (aim 10)",
        |cost| cost.placement_p99_ms,
        10.0,
    ),
];

/// Draws them.
#[must_use]
pub fn draw(costs: &[Cost]) -> String {
    let hosts = ticks(costs.iter().map(|cost| cost.hosts));
    let functions = ticks(costs.iter().map(|cost| cost.functions));
    let (Some(fewest), Some(most)) = (hosts.first(), hosts.last()) else {
        return String::new();
    };
    let x = Scale {
        domain: (*fewest as f64 / 1.3, *most as f64 * 1.3),
        place: (LEFT, RIGHT),
        spacing: Spacing::Logarithmic,
    };
    let places: Vec<f64> = hosts.iter().map(|hosts| *hosts as f64).collect();
    let drawing = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="Cost of control against hosts and functions" {
            style { (PreEscaped(STYLE)) }
            rect width="100%" height="100%" fill="#fff" {}
            (legend(&functions))
            @for (number, panel) in PANELS.iter().enumerate() {
                @let frame = Frame { top: TOP + number as f64 * (PANEL + BETWEEN), height: PANEL };
                @let axes = Axes { x: &x, frame };
                (draw_panel(costs, &functions, panel, &axes))
                @if number + 1 == PANELS.len() { (axes.under("hosts", &places, |hosts| format!("{hosts}"))) }
            }
        }
    };
    drawing.into_string()
}

fn draw_panel(costs: &[Cost], functions: &[usize], panel: &Panel, axes: &Axes<'_>) -> Markup {
    let (title, of, aim) = panel;
    let values = || costs.iter().filter_map(of);
    let low = values().fold(*aim, f64::min) / 1.5;
    let high = values().fold(*aim, f64::max) * 1.5;
    let y = Scale {
        domain: (low, high),
        place: axes.frame.place(),
        spacing: Spacing::Logarithmic,
    };
    let curve = |functions: usize| -> Vec<(f64, f64)> {
        let here = costs.iter().filter(|cost| cost.functions == functions);
        here.filter_map(|cost| Some((axes.x.at(cost.hosts as f64), y.at(of(cost)?))))
            .collect()
    };
    html! {
        (axes.panel(title, &y, &y.ticks(8.0), |tick| format!("{tick}")))
        path.aim d={ "M" (LEFT) " " (px(y.at(*aim))) "H" (RIGHT) } {}
        @for (number, functions) in functions.iter().enumerate() {
            @let points = curve(*functions);
            @let hue = HUES[number % HUES.len()];
            path stroke=(hue) d=(svg::line(points.iter().copied())) {}
            @for (x, y) in points { circle cx=(px(x)) cy=(px(y)) r="3.5" fill=(hue) {} }
        }
    }
}

fn legend(functions: &[usize]) -> Markup {
    html! {
        @for (number, functions) in functions.iter().enumerate() {
            @let at = LEFT + number as f64 * 190.0;
            @let hue = HUES[number % HUES.len()];
            path stroke=(hue) d={ "M" (at) " 18h22" } {}
            circle cx=(at + 11.0) cy="18" r="3.5" fill=(hue) {}
            text x=(at + 30.0) y="22" { (functions) " functions" }
        }
    }
}

/// Those that there are, each once, rising.
fn ticks(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let set: std::collections::BTreeSet<usize> = values.collect();
    set.into_iter().collect()
}

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1c2126}.tick{fill:#606a73}.title{font-weight:600}\
                     path{fill:none;stroke-width:1.8}.grid{stroke:#e9ecee;stroke-width:1}.axis{stroke:#606a73;stroke-width:1}\
                     .aim{stroke:#b3361e;stroke-width:1.1;stroke-dasharray:6 3}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cost_has_its_mark() {
        let cost = |hosts, functions, placement_p99_ms| Cost {
            hosts,
            functions,
            us_per_sample: 0.3,
            sample_p99_us: Some(0.5),
            placement_p99_ms,
        };
        let costs = [
            cost(100, 100, None),
            cost(1000, 100, Some(0.1)),
            cost(100, 1000, Some(0.2)),
        ];
        let drawn = draw(&costs);
        // Two panels of three, one of two, and a mark in the legend for each number of functions.
        assert_eq!(drawn.matches("<circle").count(), 3 + 3 + 2 + 2);
        assert!(drawn.starts_with("<svg xmlns=") && drawn.contains(">1000 functions<"));
        assert_eq!(draw(&[]), "");
    }
}

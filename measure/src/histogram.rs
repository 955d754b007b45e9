//! Distributions side by side, on a page that needs nothing else.

use maud::{Markup, html};

use crate::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use crate::drawing::page::document;
use crate::drawing::svg::{self, Scale, Spacing, px};

const PANEL: f64 = 120.0;
const BETWEEN: f64 = 40.0;
const TOP: f64 = 30.0;
const UNDER: f64 = 50.0;
/// Bins of each decade.
const BINS: f64 = 20.0;
const STYLE: &str = "pre{overflow-x:auto;font-size:.85rem;line-height:1.5}.bars{fill:var(--age);opacity:.75}\
                     .middle{stroke:var(--none);stroke-width:1.2}";

/// Values of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Distribution<'a> {
    /// Its name.
    pub name: &'a str,
    /// Over 0; what is not is left out.
    pub values: &'a [f64],
}

/// A page with a text as it is, and a figure for each group of distributions.
#[must_use]
pub fn page(title: &str, text: &str, figures: &[(String, Vec<Distribution<'_>>)]) -> String {
    let body = html! {
        h1 { (title) }
        pre { (text) }
        @for (name, distributions) in figures {
            figure {
                div.scroll { (draw(name, distributions)) }
                figcaption { strong { (name) } ". Logarithmic; the line is the median." }
            }
        }
    };
    document(title, STYLE, &body).into_string()
}

fn draw(name: &str, distributions: &[Distribution<'_>]) -> Markup {
    let values = || {
        let all = distributions.iter().flat_map(|one| one.values);
        all.copied().filter(|value| *value > 0.0)
    };
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(0.0, f64::max),
    );
    if low > high {
        return html! { p { "nothing was measured" } };
    }
    let x = Scale {
        domain: (low / 1.2, high * 1.2),
        place: (LEFT, RIGHT),
        spacing: Spacing::Logarithmic,
    };
    let height = TOP + distributions.len() as f64 * (PANEL + BETWEEN) - BETWEEN + UNDER;
    html! {
        svg.figure viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(name) {
            @for (number, one) in distributions.iter().enumerate() {
                @let frame = Frame { top: TOP + number as f64 * (PANEL + BETWEEN), height: PANEL };
                (panel(one, &Axes { x: &x, frame }))
                @if number + 1 == distributions.len() {
                    (Axes { x: &x, frame }.under(name, &x.ticks(0.0), |tick| format!("{tick}")))
                }
            }
        }
    }
}

fn panel(one: &Distribution<'_>, axes: &Axes<'_>) -> Markup {
    let bins = bins(one.values);
    let most = bins.iter().map(|(_, share)| *share).fold(0.0, f64::max);
    let y = Scale {
        domain: (0.0, (most * 1.1).max(1e-9)),
        place: axes.frame.place(),
        spacing: Spacing::Linear,
    };
    let mut sorted: Vec<f64> = one.values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = crate::statistics::quantile_of_sorted(&sorted, 0.5).unwrap_or_default();
    let width = |bin: i32| axes.x.at(edge(bin + 1)) - axes.x.at(edge(bin));
    html! {
        (axes.panel(&format!("{}, {} frames", one.name, one.values.len()), &y, &y.ticks(2.0), |tick| format!("{:.0} %", tick * 100.0)))
        @for (bin, share) in &bins {
            rect.bars x=(px(axes.x.at(edge(*bin)))) y=(px(y.at(*share))) width=(px(width(*bin))) height=(px(y.at(0.0) - y.at(*share))) {}
        }
        @if median > 0.0 {
            path.middle d=(svg::line([(axes.x.at(median), y.at(0.0)), (axes.x.at(median), axes.frame.top)].into_iter())) {}
        }
    }
}

fn edge(bin: i32) -> f64 {
    10_f64.powf(f64::from(bin) / BINS)
}

/// Share of the values in each bin, lowest first.
fn bins(values: &[f64]) -> Vec<(i32, f64)> {
    let mut counts = std::collections::BTreeMap::new();
    for value in values.iter().filter(|value| **value > 0.0) {
        *counts
            .entry((value.log10() * BINS).floor() as i32)
            .or_insert(0_u32) += 1;
    }
    let all = values.len().max(1) as f64;
    counts
        .into_iter()
        .map(|(bin, count)| (bin, f64::from(count) / all))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bin() {
        let shares = bins(&[1.0, 1.05, 10.0, 0.0, -3.0]);
        assert_eq!(shares, [(0, 0.4), (20, 0.2)]);
        assert_eq!(bins(&[]), []);
    }

    #[test]
    fn a_page_of_nothing_and_of_something() {
        let none = [("a".to_owned(), vec![])];
        assert!(page("t", "<x>", &none).contains("nothing was measured"));
        let values = [5.0, 6.0, 400.0];
        let one = Distribution {
            name: "ours",
            values: &values,
        };
        let page = page("t", "<x>", &[("delay, ms".to_owned(), vec![one])]);
        assert!(page.contains("&lt;x&gt;") && page.contains("ours, 3 frames"));
        assert_eq!(page.matches("class=\"bars\"").count(), 3);
    }
}

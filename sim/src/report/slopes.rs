//! Ramps: what slope a policy is a match for.

use maud::{Markup, html};
use measure::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use measure::drawing::svg::{self, Scale, Spacing, px};
use measure::words::percent;

use super::figures::{Totals, share};
use super::groups::Group;
use super::policies::{DEADLINE, ORACLE, THRESHOLD, Table, class, is_rule, names};

const FRAME: Frame = Frame {
    top: 40.0,
    height: 240.0,
};
const HEIGHT: f64 = FRAME.top + FRAME.height + 44.0;
/// Between the points of two policies at one slope, so that neither hides the other.
const ASIDE: f64 = 5.0;
/// Room of a name in the legend: a sample of its line, and letters of a guessed width.
const SAMPLE: f64 = 46.0;
const LETTER: f64 = 6.7;

/// Shares prevented against slope, of ours, of the oracle and of the best of the others.
pub(super) fn draw(ramps: &[(f64, Group)]) -> Markup {
    let (Some((slowest, _)), Some((fastest, _))) = (ramps.first(), ramps.last()) else {
        return html! {};
    };
    let x = Scale {
        domain: (slowest / 1.3, fastest * 1.3),
        place: (LEFT, RIGHT),
        spacing: Spacing::Logarithmic,
    };
    let y = Scale {
        domain: (0.0, 1.0),
        place: FRAME.place(),
        spacing: Spacing::Linear,
    };
    let axes = Axes {
        x: &x,
        frame: FRAME,
    };
    let shown = shown(ramps);
    let slopes: Vec<f64> = ramps.iter().map(|(slope, _)| *slope).collect();
    html! {
        svg.figure viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="Share of preventable overloads prevented against the slope of the load" {
            (axes.panel("Share prevented", &y, &[0.0, 0.25, 0.5, 0.75, 1.0], percent))
            (axes.under("slope of the load, per cent of a host’s CPU in a second", &slopes, |slope| slope.to_string()))
            (legend(&shown))
            @for (number, name) in shown.iter().enumerate() {
                @let aside = (number as f64 - (shown.len() - 1) as f64 / 2.0) * ASIDE;
                (curve(name, ramps, &|slope, share| (x.at(slope) + aside, y.at(share))))
            }
        }
    }
}

/// Who has a curve.
fn shown<'a>(ramps: &[(f64, Group<'a>)]) -> Vec<&'a str> {
    let tables: Vec<&Table> = ramps.iter().map(|(_, group)| group.table).collect();
    let all = names(&tables);
    let ours = all.iter().filter(|name| [ORACLE, DEADLINE, THRESHOLD].contains(name));
    ours.copied().chain(best_rule(&tables, &all)).collect()
}

/// The rule of others that prevents the most; of equal ones that with the fewest seconds above the knee.
pub(super) fn best_rule<'a>(tables: &[&Table], names: &[&'a str]) -> Option<&'a str> {
    let rules = names.iter().filter(|name| is_rule(name));
    let totals = rules.filter_map(|name| Some((*name, Totals::of(tables, name)?)));
    let better = |a: &Totals, b: &Totals| {
        let fewer_seconds = b.seconds_above_knee.total_cmp(&a.seconds_above_knee);
        a.prevented.cmp(&b.prevented).then(fewer_seconds)
    };
    totals.max_by(|(_, a), (_, b)| better(a, b)).map(|(name, _)| name)
}

/// The rule of others is the only one here, and has a colour.
fn hue(name: &str) -> &str {
    if is_rule(name) { "other" } else { class(name) }
}

fn curve(name: &str, ramps: &[(f64, Group)], place: &dyn Fn(f64, f64) -> (f64, f64)) -> Markup {
    let points: Vec<(f64, f64)> = ramps
        .iter()
        .filter_map(|(slope, group)| Some(place(*slope, group.table.get(name)?.deadline_met_share?)))
        .collect();
    let intervals: Vec<(f64, f64, f64)> = ramps
        .iter()
        .filter_map(|(slope, group)| {
            let mean = group.table.get(name)?.deadline_met_share_95?;
            let (x, low) = place(*slope, mean.low);
            Some((x, low, place(*slope, mean.high).1))
        })
        .collect();
    html! {
        g class={ "policy " (hue(name)) } {
            path d=(svg::line(points.iter().copied())) {}
            @for (x, low, high) in intervals { path.interval d={ "M" (px(x)) " " (px(low)) "V" (px(high)) } {} }
            @for (x, y) in points { circle cx=(px(x)) cy=(px(y)) r="4" {} }
        }
    }
}

fn legend(names: &[&str]) -> Markup {
    let width = |name: &str| SAMPLE + LETTER * name.chars().count() as f64;
    let widths: f64 = names.iter().map(|name| width(name)).sum();
    let mut x = RIGHT - widths;
    let placed: Vec<(f64, &str)> = names
        .iter()
        .map(|name| {
            let at = x;
            x += width(name);
            (at, *name)
        })
        .collect();
    let y = FRAME.top - 17.0;
    html! {
        @for (x, name) in placed {
            g class={ "policy " (hue(name)) } {
                path d={ "M" (px(x)) " " (y) "h20" } {}
                circle cx=(px(x + 10.0)) cy=(y) r="4" {}
                text x=(px(x + 26.0)) y=(y + 4.0) { (name) }
            }
        }
    }
}

/// The same of everybody, in figures.
pub(super) fn table(ramps: &[(f64, Group)]) -> Markup {
    let tables: Vec<&Table> = ramps.iter().map(|(_, group)| group.table).collect();
    let of = |name: &str, group: &Group| group.table.get(name).and_then(|s| s.deadline_met_share);
    html! {
        div.scroll { table.runs.contest {
            thead { tr {
                th { "share prevented on ramps of" }
                @for (slope, _) in ramps { th.number { (slope) " %/s" } }
            } }
            tbody { @for name in names(&tables) { tr {
                td { span class={ "chip " (class(name)) } { (name) } }
                @for (_, group) in ramps { td.number { (share(of(name, group))) } }
            } } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::groups::Groups;
    use crate::report::testing::comparison;

    #[test]
    fn ours_the_bound_and_the_best_of_the_others_have_curves() {
        let comparison = comparison();
        let ramps = Groups::of(&comparison).ramps;
        assert_eq!(shown(&ramps), ["oracle", "deadline", "threshold", "sandpiper@5s"]);
        assert!(draw(&ramps).0.contains("sandpiper@5s"));
    }

    #[test]
    fn without_ramps_there_is_no_figure() {
        assert_eq!(draw(&[]).0, "");
        assert_eq!(best_rule(&[], &[]), None);
    }
}

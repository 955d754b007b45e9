//! Figures 2 and 3: a row a policy, with a bar in it.

use maud::{Markup, html};
use measure::drawing::axes::{RIGHT, WIDTH};
use measure::drawing::svg::{Scale, Spacing, px};
use measure::words::percent;

use super::figures::{share, signed_seconds};
use super::policies::{Row, class};
use crate::contest::Summary;
use crate::contest::summary::{Mean, Spread};

/// Where names end and bars begin.
pub(super) const LEFT: f64 = 262.0;
const TOP: f64 = 28.0;
const ROW: f64 = 20.0;
/// Half of a bar's height, …
const BAR: f64 = 6.0;
/// … and of the ends of an interval.
const END: f64 = 3.5;
/// Margins in seconds that are labelled, on both sides of 0.
const MARGINS_S: [f64; 8] = [0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// Figure 2: of the preventable overloads, the share prevented, with its interval over seeds.
pub(super) fn prevented(rows: &[Row]) -> Markup {
    let x = Scale {
        domain: (0.0, 1.0),
        place: (LEFT, RIGHT),
        spacing: Spacing::Linear,
    };
    let mark = |summary: &Summary, y: f64| {
        let end = summary.deadline_met_share.map(|share| x.at(share));
        html! {
            @if let Some(end) = end {
                rect.bar x=(LEFT) y=(y - BAR) width=(px(end - LEFT)) height=(2.0 * BAR) {}
            }
            @if let Some(Mean { low, high, .. }) = summary.deadline_met_share_95 {
                @let (low, high) = (px(x.at(low)), px(x.at(high)));
                path.interval d={ "M" (low) " " (y - END) "v" (2.0 * END) "M" (high) " " (y - END) "v" (2.0 * END) "M" (low) " " (y) "H" (high) } {}
            }
        }
    };
    let panel = Panel {
        rows,
        title: "Of the overloads that the oracle prevents, the share prevented",
        axis: "share of preventable overloads",
        ticks: [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(|tick| (x.at(tick), percent(tick))).into(),
    };
    panel.draw(mark, |summary| share(summary.deadline_met_share))
}

/// Figure 3: 5th to 95th percentile of the margins, and their median.
pub(super) fn margins(rows: &[Row]) -> Markup {
    let ends = rows.iter().filter_map(|row| {
        let Spread { p5, p95, .. } = row.summary.margin_s;
        Some((p5?, p95?))
    });
    let (low, high) = ends.fold((-1.0_f64, 1.0_f64), |(low, high), (p5, p95)| {
        (low.min(p5), high.max(p95))
    });
    let x = Scale {
        domain: (folded(low) - 0.2, folded(high) + 0.2),
        place: (LEFT, RIGHT),
        spacing: Spacing::Linear,
    };
    let at = |margin_s: f64| x.at(folded(margin_s));
    let mark = |summary: &Summary, y: f64| {
        let Spread { p5, p50, p95 } = summary.margin_s;
        html! {
            @if let (Some(p5), Some(p95)) = (p5, p95) {
                rect.bar x=(px(at(p5))) y=(y - BAR) width=(px(at(p95) - at(p5)).max(1.0)) height=(2.0 * BAR) {}
            }
            @if let Some(p50) = p50 { path.median d={ "M" (px(at(p50))) " " (y - BAR) "v" (2.0 * BAR) } {} }
        }
    };
    let both_sides = MARGINS_S.iter().flat_map(|tick| [-tick, *tick]).skip(1);
    let shown = both_sides.filter(|tick| (x.domain.0..=x.domain.1).contains(&folded(*tick)));
    let say = |tick: f64| if tick == 0.0 { "0".to_owned() } else { format!("{tick:+}") };
    let panel = Panel {
        rows,
        title: "Margin: 5th to 95th percentile, and median",
        axis: "too late  ←  seconds before the overload  →  in time",
        ticks: shown.map(|tick| (at(tick), say(tick))).collect(),
    };
    let origin = at(0.0);
    panel.draw(
        |summary, y| {
            html! {
                path.origin d={ "M" (px(origin)) " " (y - ROW / 2.0) "v" (ROW) } {}
                (mark(summary, y))
            }
        },
        |summary| measure::words::or_dash(summary.margin_s.p50, signed_seconds),
    )
}

/// Seconds on an axis that is logarithmic on both sides of 0: a margin of seconds and one of minutes are both seen.
fn folded(seconds: f64) -> f64 {
    seconds.signum() * seconds.abs().ln_1p()
}

/// The rows with their names, and the axis below.
struct Panel<'a> {
    rows: &'a [Row<'a>],
    title: &'a str,
    axis: &'a str,
    /// Where they are, and what stands there.
    ticks: Vec<(f64, String)>,
}

impl Panel<'_> {
    /// `mark` draws what is in a row, about the height that it is given; `say` says it.
    fn draw(
        &self,
        mark: impl Fn(&Summary, f64) -> Markup,
        say: impl Fn(&Summary) -> String,
    ) -> Markup {
        let bottom = TOP + ROW * self.rows.len() as f64;
        let middle = |number: usize| TOP + ROW * (number as f64 + 0.5);
        html! {
            svg.figure viewBox={ "0 0 " (WIDTH) " " (bottom + 44.0) } role="img" aria-label=(self.title) {
                text.title x=(LEFT) y=(TOP - 11.0) { (self.title) }
                @for (at, said) in &self.ticks {
                    path.grid d={ "M" (px(*at)) " " (TOP) "V" (bottom) } {}
                    text.tick x=(px(*at)) y=(bottom + 17.0) text-anchor="middle" { (said) }
                }
                @for (number, Row { name, summary }) in self.rows.iter().enumerate() {
                    g class={ "policy " (class(name)) } {
                        text x=(LEFT - 10.0) y=(middle(number) + 4.0) text-anchor="end" { (name) }
                        (mark(summary, middle(number)))
                        text.value x=(RIGHT + 8.0) y=(middle(number) + 4.0) { (say(summary)) }
                    }
                }
                path.axis d={ "M" (LEFT) " " (TOP) "V" (bottom) "H" (RIGHT) } {}
                text.tick x=((LEFT + RIGHT) / 2.0) y=(bottom + 36.0) text-anchor="middle" { (self.axis) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::policies::{Table, rows};
    use crate::report::testing::{comparison, summary};

    /// `x` and `width` of each bar.
    fn bars(figure: &str) -> Vec<(f64, f64)> {
        let number = |text: &str, name: &str| -> f64 {
            let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let bars = figure.split("<rect class=\"bar\"").skip(1);
        bars.map(|bar| (number(bar, " x"), number(bar, " width"))).collect()
    }

    fn check(figure: &Markup, count: usize) {
        let bars = bars(&figure.0);
        assert_eq!(bars.len(), count);
        for (x, width) in bars {
            assert!(width >= 0.0 && x >= LEFT && x + width <= RIGHT + 0.1, "{x} {width}");
        }
    }

    #[test]
    fn bars_are_within_their_frame() {
        let comparison = comparison();
        let rows = rows(&comparison.policies);
        let with_margins = rows.iter().filter(|row| row.summary.margin_s.p5.is_some()).count();
        check(&prevented(&rows), rows.len());
        check(&margins(&rows), with_margins);
        assert!(with_margins > 2);
    }

    #[test]
    fn what_reaches_beyond_is_cut() {
        let extreme = Summary {
            deadline_met_share: Some(1.0),
            deadline_met_share_95: Some(Mean {
                mean: 0.9,
                low: -0.4,
                high: 1.7,
            }),
            margin_s: Spread {
                p5: Some(-86_400.0),
                p50: Some(0.0),
                p95: Some(1e6),
            },
            ..summary()
        };
        let table: Table = [("x".to_owned(), extreme)].into();
        check(&prevented(&rows(&table)), 1);
        check(&margins(&rows(&table)), 1);
        let interval = prevented(&rows(&table)).0;
        assert!(interval.contains(&format!("M{LEFT} {}H{RIGHT}", TOP + ROW / 2.0)));
    }

    #[test]
    fn what_was_not_measured_has_no_bar() {
        let table: Table = [("x".to_owned(), summary())].into();
        check(&prevented(&rows(&table)), 0);
        check(&margins(&rows(&table)), 0);
        check(&margins(&[]), 0);
    }
}

//! Figures 17 to 19 of the thesis for one run, under each other on one time axis: load, picture age, frame intervals.

use maud::{Markup, html};
use record::results::{Results, Run};

use super::legend::legend;
use crate::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use crate::drawing::svg::{self, Scale, Spacing, px};
use crate::intervals::FRAME;
use crate::picture_age::sliding_p95;
use crate::run::MeasuredRun;
use crate::words;

/// Rows of labels over the panels.
const MARKS_HEIGHT: f64 = 50.0;
const TITLE_HEIGHT: f64 = 30.0;
const LOAD: Frame = Frame {
    top: MARKS_HEIGHT + TITLE_HEIGHT,
    height: 160.0,
};
const AGE: Frame = Frame {
    top: LOAD.top + LOAD.height + TITLE_HEIGHT,
    height: 210.0,
};
const GAPS: Frame = Frame {
    top: AGE.top + AGE.height + TITLE_HEIGHT,
    height: 150.0,
};
const PANELS: [Frame; 3] = [LOAD, AGE, GAPS];
const HEIGHT: f64 = GAPS.top + GAPS.height + 44.0;

/// A forecast is drawn at most this far ahead.
const FORECAST_S_MAX: f64 = 15.0;

/// What the figures of an experiment have in common, so that they can be compared by eye.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranges {
    /// Seconds since the start of the load.
    pub(super) time_s: (f64, f64),
    pub(super) age_ms: (f64, f64),
    pub(super) interval_ms: (f64, f64),
}

/// The three panels. `deadline_s`: when the unmoved run of the same seed goes over the budget.
pub(super) fn draw(
    measured: &MeasuredRun,
    results: &Results,
    ranges: Ranges,
    deadline_s: Option<f64>,
) -> Markup {
    let run = &measured.run;
    let x = Scale {
        domain: ranges.time_s,
        place: (LEFT, RIGHT),
        spacing: Spacing::Linear,
    };
    let label = format!(
        "{}, {}: load, picture age and frame intervals over time",
        run.plan.profile, run.plan.name
    );
    html! {
        svg.figure viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            (shading(run, &x))
            (load_panel(measured, results, &x))
            (age_panel(measured, &x, ranges.age_ms, deadline_s))
            (interval_panel(measured, &x, ranges.interval_ms))
            (marks(run, &x, deadline_s))
            (time(&Axes { x: &x, frame: GAPS }))
        }
    }
}

/// The idle phase and the copying, behind each panel.
fn shading(run: &Run, x: &Scale) -> Markup {
    let copying = run
        .migration
        .as_ref()
        .and_then(|migration| Some((migration.started_at_s?, migration.resumed_at_s?)));
    html! {
        @for Frame { top, height } in PANELS {
            rect.idle x=(LEFT) y=(top) width=(px(x.at(0.0) - LEFT)) height=(height) {}
            @if let Some((started_s, resumed_s)) = copying {
                rect.copying x=(px(x.at(started_s))) y=(top) width=(px(x.at(resumed_s) - x.at(started_s))) height=(height) {}
            }
        }
    }
}

fn load_panel(measured: &MeasuredRun, results: &Results, x: &Scale) -> Markup {
    let raw = &measured.raw;
    let source = raw
        .migrations
        .first()
        .map_or(results.setting.hosts.source.as_str(), |row| {
            row.source.as_str()
        });
    let target = raw
        .migrations
        .first()
        .map_or(results.setting.hosts.target.as_str(), |row| {
            row.target.as_str()
        });
    let y = Scale {
        domain: (0.0, 1.1),
        place: LOAD.place(),
        spacing: Spacing::Linear,
    };
    let of = |host: &'_ str, figure: fn(&record::raw::LoadRow) -> Option<f64>| -> Vec<(f64, f64)> {
        let rows = raw
            .load
            .iter()
            .filter(|row| row.host == host && raw.phases.contains(row.time_us));
        rows.filter_map(|row| Some((x.at(raw.seconds(row.time_us)), y.at(figure(row)?))))
            .collect()
    };
    let decisions = &raw.decisions.entries;
    let last = |figure: fn(&crate::decisions::Entry) -> Option<f64>| {
        decisions.iter().rev().find_map(figure)
    };
    let knee = last(|entry| entry.knee).or(results.setting.knee);
    let threshold = last(|entry| entry.threshold)
        .or(results.setting.threshold)
        .filter(|_| measured.run.plan.name == "threshold");
    let snmp = of(source, |row| row.snmp);
    let axes = Axes { x, frame: LOAD };
    html! {
        (axes.panel(&format!("(a) CPU load of {source}"), &y, &[0.0, 0.25, 0.5, 0.75, 1.0], words::percent))
        (legend(LOAD, &[("true", "load-true"), ("function", "load-vm"), (target, "load-target"), ("SNMP", "load-snmp"), ("forecast", "forecast")]))
        @if let Some(knee) = knee { (axes.limit(y.at(knee), "knee-line", -2.0, &format!("knee {}", words::percent(knee)))) }
        @if let Some(level) = threshold { (axes.limit(y.at(level), "threshold-line", 10.0, &format!("start at {}", words::percent(level)))) }
        path.load-vm d=(svg::line(of(source, |row| row.vm).into_iter())) {}
        path.load-target d=(svg::line(of(target, |row| row.actual).into_iter())) {}
        path.load-true d=(svg::line(of(source, |row| row.actual).into_iter())) {}
        path.load-snmp d=(svg::steps(snmp.iter().copied(), RIGHT)) {}
        @for (cx, cy) in snmp { circle.load-snmp cx=(px(cx)) cy=(px(cy)) r="2.4" {} }
        path.forecast d=(forecasts(measured, source, x, &y)) {}
    }
}

/// Each forecast as a short straight line from the instant of its decision.
fn forecasts(measured: &MeasuredRun, source: &str, x: &Scale, y: &Scale) -> String {
    let raw = &measured.raw;
    let about = raw
        .decisions
        .entries
        .iter()
        .filter(|entry| entry.host.as_deref().is_none_or(|host| host == source));
    let mut path = String::new();
    for entry in about.filter(|entry| raw.phases.contains(entry.at_us)) {
        let Some(forecast) = entry.forecast else {
            continue;
        };
        let from_s = raw.seconds(entry.at_us);
        let room_s = x.domain.1 - from_s;
        // Over the top of the panel it says nothing more.
        let to_top_s = if forecast.slope_per_s > 0.0 {
            (y.domain.1 - forecast.level) / forecast.slope_per_s
        } else {
            room_s
        };
        let ahead_s = FORECAST_S_MAX.min(room_s).min(to_top_s).max(0.0);
        let to = forecast.level + forecast.slope_per_s * ahead_s;
        path += &svg::line(
            [
                (x.at(from_s), y.at(forecast.level)),
                (x.at(from_s + ahead_s), y.at(to)),
            ]
            .into_iter(),
        );
    }
    path
}

fn age_panel(
    measured: &MeasuredRun,
    x: &Scale,
    domain: (f64, f64),
    deadline_s: Option<f64>,
) -> Markup {
    let raw = &measured.raw;
    let y = Scale {
        domain,
        place: AGE.place(),
        spacing: Spacing::Logarithmic,
    };
    let ages = measured
        .ages
        .iter()
        .map(|row| (x.at(raw.seconds(row.time_us)), y.at(row.picture_age_ms)));
    let p95 = sliding_p95(&measured.ages).map(|(time, p95)| (x.at(raw.seconds(time)), y.at(p95)));
    let worst: Vec<_> = svg::columns(p95)
        .into_iter()
        .map(|(x, high, _)| (x + 0.5, high))
        .collect();
    let budget = measured.run.plan.budget_ms;
    let axes = Axes { x, frame: AGE };
    html! {
        (axes.panel("(b) Picture age on the screen", &y, &y.ticks(0.0), words::ms))
        (legend(AGE, &[("smallest to largest", "age-band"), ("95th percentile of 1 s", "age-p95")]))
        path.age-band d=(svg::band(&svg::columns(ages))) {}
        path.age-p95 d=(svg::line(worst.into_iter())) {}
        (axes.limit(y.at(budget), "budget-line", -2.0, &format!("budget {}", words::ms(budget))))
        @if let Some(deadline_s) = deadline_s { (margin(&measured.run, x, deadline_s)) }
    }
}

/// From the first frame from the target to the instant at which the unmoved run goes over the budget, or back.
fn margin(run: &Run, x: &Scale, deadline_s: f64) -> Markup {
    let seen = run
        .migration
        .as_ref()
        .and_then(|migration| Some((migration.first_frame_from_target_s?, migration.margin_ms?)));
    let Some((seen_s, margin_ms)) = seen else {
        return html! {};
    };
    let (from, to) = (x.at(seen_s), x.at(deadline_s));
    let y = AGE.top + 16.0;
    let (class, said) = if margin_ms > 0.0 {
        (
            "margin met",
            format!("{} to spare", words::ms_as_s(margin_ms)),
        )
    } else {
        (
            "margin missed",
            format!("{} too late", words::ms_as_s(-margin_ms)),
        )
    };
    html! {
        g class=(class) {
            path d={ "M" (px(from)) " " (y - 4.0) "v8M" (px(to)) " " (y - 4.0) "v8M" (px(from)) " " (y) "H" (px(to)) } {}
            text x=(px(from.max(to) + 6.0)) y=(y + 4.0) { (said) }
        }
    }
}

fn interval_panel(measured: &MeasuredRun, x: &Scale, domain: (f64, f64)) -> Markup {
    let raw = &measured.raw;
    let y = Scale {
        domain,
        place: GAPS.place(),
        spacing: Spacing::Logarithmic,
    };
    let frames = measured
        .intervals
        .iter()
        .filter(|row| row.kind == FRAME && raw.phases.contains(row.time_us));
    let points = frames.map(|row| (x.at(raw.seconds(row.time_us)), y.at(row.interval_ms)));
    let ticks: Vec<f64> = y
        .ticks(0.0)
        .into_iter()
        .filter(|tick| [1.0, 10.0, 100.0, 1e3, 1e4, 1e5].contains(tick))
        .collect();
    let axes = Axes { x, frame: GAPS };
    html! {
        (axes.panel("(c) Arrival intervals of frames", &y, &ticks, |ms| words::ms(ms).replace(".0", "")))
        path.dots d=(svg::dots(points)) {}
        @if let Some(mean) = measured.run.frame_intervals_ms.idle_mean {
            (axes.limit(y.at(mean), "mean-line", 3.0, &format!("idle {}", words::ms(mean))))
        }
    }
}

/// The instants of the move, and the deadline, as lines through all panels with their labels on top.
fn marks(run: &Run, x: &Scale, deadline_s: Option<f64>) -> Markup {
    // Through the panels, and from their labels down to the first: not through titles and legends.
    let line = |s: f64, class: &str, from: f64| {
        let at = px(x.at(s));
        let panels: String = PANELS
            .iter()
            .map(|panel| format!("M{at} {}v{}", panel.top, panel.height))
            .collect();
        html! { path class=(class) d={ "M" (at) " " (from) "V" (MARKS_HEIGHT) (panels) } {} }
    };
    let unmoved = run.migration.is_none();
    html! {
        @if let Some(migration) = &run.migration {
            (line(migration.decided_at_s, "mark decided", 4.0))
            text.mark x=(px(x.at(migration.decided_at_s) - 6.0)) y="13" text-anchor="end" {
                "decided " (words::s(migration.decided_at_s))
            }
            @if let Some(seen_s) = migration.first_frame_from_target_s {
                (line(seen_s, "mark seen", 4.0))
                text.mark x=(px(x.at(seen_s) + 6.0)) y="13" { "seen from " (migration.target) " " (words::s(seen_s)) }
            } @else {
                text.mark x=(px(x.at(migration.decided_at_s) + 6.0)) y="13" { "verdict: " (migration.verdict) }
            }
            @if let (Some(started_s), Some(resumed_s)) = (migration.started_at_s, migration.resumed_at_s) {
                text.mark.quiet x=(px((x.at(started_s) + x.at(resumed_s)) / 2.0)) y="29" text-anchor="middle" {
                    "copying " (words::s(resumed_s - started_s))
                }
            }
        }
        @if let Some(deadline_s) = deadline_s {
            (line(deadline_s, "mark over", 34.0))
            @let late = x.at(deadline_s) > RIGHT - 190.0;
            text.mark.over x=(px(x.at(deadline_s) + if late { -6.0 } else { 6.0 })) y="45" text-anchor=(if late { "end" } else { "start" }) {
                @if unmoved { "over the budget " } @else { "unmoved: over the budget " }
                (words::s(deadline_s))
            }
        }
    }
}

/// The time axis under the lowest panel.
pub(super) fn time(axes: &Axes) -> Markup {
    let ticks = axes.x.ticks(12.0);
    axes.under("seconds since the load began", &ticks, |s| s.to_string())
}

//! The policies of one profile and repeat against each other: the same load, and what the viewer saw.

use maud::{Markup, html};
use record::results::Results;

use super::run_figure::{Ranges, time};
use crate::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use crate::drawing::svg::{self, Scale, Spacing, px};
use crate::experiment::UNMOVED;
use crate::picture_age::sliding_p95;
use crate::run::MeasuredRun;
use crate::words;

const LOAD: Frame = Frame {
    top: 26.0,
    height: 84.0,
};
const AGE: Frame = Frame {
    top: LOAD.top + LOAD.height + 32.0,
    height: 230.0,
};
const HEIGHT: f64 = AGE.top + AGE.height + 44.0;

/// One line a policy; `runs` are of one profile and repeat.
pub(super) fn draw(runs: &[&MeasuredRun], results: &Results, ranges: Ranges) -> Markup {
    let x = Scale {
        domain: ranges.time_s,
        place: (LEFT, RIGHT),
        spacing: Spacing::Linear,
    };
    let y = Scale {
        domain: ranges.age_ms,
        place: AGE.place(),
        spacing: Spacing::Logarithmic,
    };
    let budget = runs.first().map(|measured| measured.run.plan.budget_ms);
    let axes = Axes { x: &x, frame: AGE };
    html! {
        svg.figure viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="Picture age over time, all policies" {
            (load(runs, results, &x))
            (axes.panel("Picture age, 95th percentile of each second", &y, &y.ticks(0.0), words::ms))
            @if let Some(budget) = budget {
                (axes.limit(y.at(budget), "budget-line", -2.0, &format!("budget {}", words::ms(budget))))
            }
            @for measured in runs { (curve(measured, &x, &y)) }
            (names(runs, &y))
            (time(&axes))
        }
    }
}

/// The load that all of them had: as the server of the unmoved run shows it.
fn load(runs: &[&MeasuredRun], results: &Results, x: &Scale) -> Markup {
    let shown = runs
        .iter()
        .find(|measured| measured.run.plan.name == UNMOVED)
        .or(runs.first());
    let Some(raw) = shown.map(|measured| &measured.raw) else {
        return html! {};
    };
    let source = &results.setting.hosts.source;
    let y = Scale {
        domain: (0.0, 1.1),
        place: LOAD.place(),
        spacing: Spacing::Linear,
    };
    let rows = raw
        .load
        .iter()
        .filter(|row| row.host == *source && raw.phases.contains(row.time_us));
    let points = rows.filter_map(|row| Some((x.at(raw.seconds(row.time_us)), y.at(row.actual?))));
    let axes = Axes { x, frame: LOAD };
    html! {
        (axes.panel(&format!("CPU load of {source} when nothing is moved"), &y, &[0.0, 0.5, 1.0], words::percent))
        path.load-true d=(svg::line(points)) {}
        @if let Some(knee) = results.setting.knee {
            (axes.limit(y.at(knee), "knee-line", 4.0, &format!("knee {}", words::percent(knee))))
        }
    }
}

fn curve(measured: &MeasuredRun, x: &Scale, y: &Scale) -> Markup {
    let (run, raw) = (&measured.run, &measured.raw);
    let p95 = sliding_p95(&measured.ages).map(|(time, p95)| (x.at(raw.seconds(time)), y.at(p95)));
    let worst = svg::columns(p95)
        .into_iter()
        .map(|(x, high, _)| (x + 0.5, high));
    let seen_s = run
        .migration
        .as_ref()
        .and_then(|migration| migration.first_frame_from_target_s);
    let age_at = |s: f64| {
        let at = measured
            .ages
            .partition_point(|row| raw.seconds(row.time_us) < s);
        sliding_p95(
            measured
                .ages
                .get(at.saturating_sub(99)..=at)
                .unwrap_or_default(),
        )
        .last()
        .map(|(_, p95)| p95)
    };
    let dot = seen_s.and_then(|s| Some((x.at(s), y.at(age_at(s)?))));
    html! {
        g class={ "policy " (super::policy_class(&run.plan.name)) } {
            path d=(svg::line(worst)) {}
            @if let Some((cx, cy)) = dot {
                circle cx=(px(cx)) cy=(px(cy)) r="4.5" {}
            }
        }
    }
}

/// The policies' names at the ends of their curves, moved apart where they would overlap.
fn names(runs: &[&MeasuredRun], y: &Scale) -> Markup {
    let mut ends: Vec<(f64, &str)> = runs
        .iter()
        .filter_map(|measured| {
            Some((
                y.at(measured.ages.last()?.picture_age_ms) + 4.0,
                measured.run.plan.name.as_str(),
            ))
        })
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lowest = f64::NEG_INFINITY;
    for (at, _) in &mut ends {
        *at = at.max(lowest + 14.0);
        lowest = *at;
    }
    html! {
        @for (at, name) in ends {
            g class={ "policy " (super::policy_class(name)) } { text x=(RIGHT + 6.0) y=(at.round()) { (words::policy(name)) } }
        }
    }
}

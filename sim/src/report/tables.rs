//! The tables of the report.

use maud::{Markup, html};
use measure::words::or_dash;

use super::figures::{
    bare_seconds, count, part, ratio, seconds, seconds_with_interval, share, share_with_interval,
    signed_seconds,
};
use super::groups::Group;
use super::policies::{ORACLE, Row, class, rows};
use crate::contest::summary::Spread;
use crate::rules;

fn chip(name: &str) -> Markup {
    html! { span class={ "chip " (class(name)) } { (name) } }
}

/// All that judges a policy, over all inputs.
pub(super) fn main_table(rows: &[Row]) -> Markup {
    html! {
        div.scroll { table.runs.contest {
            thead { tr {
                th { "policy" }
                th.number { "prevented" } th.number { "share" } th.number { "above the knee, s" } th.number { "excess" }
                th.number { "viewer-s over 400 ms" }
                th.number { "moves" } th.number { "useless" } th.number { "undone" } th.number { "overflowing" } th.number { "median margin" }
            } }
            tbody { @for Row { name, summary: s } in rows { tr {
                td { (chip(name)) }
                td.number { (part(s.prevented, s.preventable)) }
                td.number { (share_with_interval(s.deadline_met_share, s.deadline_met_share_95)) }
                td.number { (seconds_with_interval(s.seconds_above_knee, s.seconds_above_knee_95)) }
                td.number { (ratio(s.excess_share)) }
                td.number { (or_dash(s.viewer_seconds_over_400ms, bare_seconds)) }
                td.number { (count(s.moves)) }
                td.number { (count(s.useless_moves)) }
                td.number { (count(s.undone_moves)) }
                td.number { (count(s.overflowing_moves)) }
                td.number { (or_dash(s.margin_s.p50, signed_seconds)) }
            } } }
        } }
    }
}

/// How well a policy foresees. The oracle's moves are no run's, so nothing is known of when they begin.
pub(super) fn foresight(rows: &[Row]) -> Markup {
    let runs = rows.iter().filter(|row| row.name != ORACLE);
    html! {
        div.scroll { table.runs.contest {
            thead {
                tr {
                    th {} th {} th {}
                    @for name in ["margin", "lead", "error of predicted moves"] { th.group colspan="3" { (name) } }
                }
                tr {
                    th { "policy" } th.number { "precision" } th.number { "recall" }
                    @for _ in 0..3 { th.number.first { "p5" } th.number { "p50" } th.number { "p95" } }
                }
            }
            tbody { @for Row { name, summary: s } in runs { tr {
                td { (chip(name)) }
                td.number { (share(s.precision)) }
                td.number { (share(s.recall)) }
                (spread(s.margin_s, signed_seconds))
                (spread(s.lead_s, signed_seconds))
                (spread(s.prediction_error, |error| format!("{:+.1} %", error * 100.0)))
            } } }
        } }
    }
}

fn spread(Spread { p5, p50, p95 }: Spread, say: fn(f64) -> String) -> Markup {
    html! {
        td.number.first { (or_dash(p5, say)) }
        td.number { (or_dash(p50, say)) }
        td.number { (or_dash(p95, say)) }
    }
}

/// One input: what it is, the headline, and a compact table to open.
pub(super) fn input(group: &Group) -> Markup {
    let rows = rows(group.table);
    let preventable = rows.iter().map(|row| row.summary.preventable).max();
    html! {
        details.run {
            summary {
                strong { (group.name) }
                @if !group.about.is_empty() { " · " (group.about) }
                span.quiet { " · " (count(preventable.unwrap_or(0))) " preventable overloads" }
            }
            div.scroll { table.runs.contest {
                thead { tr {
                    th { "policy" } th.number { "prevented" } th.number { "share" } th.number { "above the knee" } th.number { "excess" }
                    th.number { "moves" } th.number { "useless" } th.number { "undone" } th.number { "overflowing" } th.number { "median margin" }
                } }
                tbody { @for Row { name, summary: s } in &rows { tr {
                    td { (chip(name)) }
                    td.number { (part(s.prevented, s.preventable)) }
                    td.number { (share(s.deadline_met_share)) }
                    td.number { (seconds(s.seconds_above_knee)) }
                    td.number { (ratio(s.excess_share)) }
                    td.number { (count(s.moves)) }
                    td.number { (count(s.useless_moves)) }
                    td.number { (count(s.undone_moves)) }
                    td.number { (count(s.overflowing_moves)) }
                    td.number { (or_dash(s.margin_s.p50, signed_seconds)) }
                } } }
            } }
            (best_plan(&[("", group.feasible_s)]))
        }
    }
}

/// What can be reached at least, for each of the inputs that are named.
pub(super) fn best_plan(found: &[(&str, Option<f64>)]) -> Markup {
    html! {
        p.quiet {
            "Best plan found for all functions together by one who knows the future:"
            @for (at, (name, feasible_s)) in found.iter().enumerate() {
                @if at > 0 { "," }
                @if !name.is_empty() { " " (name) }
                " " (or_dash(*feasible_s, seconds))
            }
            " above the knee."
        }
    }
}

/// Where each rule was published.
pub(super) fn sources() -> Markup {
    html! {
        table.sources {
            thead { tr { th { "rule" } th { "published" } th.number { "its own interval" } } }
            tbody { @for rule in rules::all() { tr {
                td { (chip(rule.name)) }
                td { (rule.source) }
                td.number { (seconds((rule.make)().native_interval_s())) }
            } } }
        }
    }
}

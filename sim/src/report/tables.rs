//! The tables of the report.

use maud::{Markup, html};
use measure::words::or_dash;

use super::figures::{
    clamped_seconds, clamped_share, count, part, ratio, seconds, share, signed_seconds,
    with_interval,
};
use super::groups::Group;
use super::policies::{Row, class, rows};
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
                th.number { "prevented" } th.number { "share" } th.number { "above the knee" } th.number { "of one seed" }
                th.number { "excess" } th.number { "viewer-seconds over 400 ms" }
                th.number { "moves" } th.number { "useless" } th.number { "undone" } th.number { "over\u{ad}flowing" }
                th.number { "margin p5" } th.number { "p50" } th.number { "p95" }
            } }
            tbody { @for Row { name, summary: s } in rows { tr {
                td { (chip(name)) }
                td.number { (part(s.prevented, s.preventable)) }
                td.number { (with_interval(&share(s.deadline_met_share), s.deadline_met_share_95, clamped_share)) }
                td.number { (seconds(s.seconds_above_knee)) }
                td.number { (with_interval(&or_dash(s.seconds_above_knee_95.map(|mean| mean.mean), seconds), s.seconds_above_knee_95, clamped_seconds)) }
                td.number { (ratio(s.excess_share)) }
                td.number { (or_dash(s.viewer_seconds_over_400ms, seconds)) }
                td.number { (count(s.moves)) }
                td.number { (count(s.useless_moves)) }
                td.number { (count(s.undone_moves)) }
                td.number { (count(s.overflowing_moves)) }
                (spread(s.margin_s, signed_seconds))
            } } }
        } }
    }
}

/// How well a policy foresees.
pub(super) fn foresight(rows: &[Row]) -> Markup {
    html! {
        div.scroll { table.runs.contest {
            thead { tr {
                th { "policy" } th.number { "precision" } th.number { "recall" }
                th.number { "lead p5" } th.number { "p50" } th.number { "p95" }
                th.number { "error of predicted moves p5" } th.number { "p50" } th.number { "p95" }
            } }
            tbody { @for Row { name, summary: s } in rows { tr {
                td { (chip(name)) }
                td.number { (share(s.precision)) }
                td.number { (share(s.recall)) }
                (spread(s.lead_s, signed_seconds))
                (spread(s.prediction_error, |error| format!("{:+.1} %", error * 100.0)))
            } } }
        } }
    }
}

fn spread(Spread { p5, p50, p95 }: Spread, say: fn(f64) -> String) -> Markup {
    html! { @for value in [p5, p50, p95] { td.number { (or_dash(value, say)) } } }
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

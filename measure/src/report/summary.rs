//! What happened, at a glance: a card for each policy of a profile, and what was promised.

use maud::{Markup, html};
use record::results::{Promise, Results, Run};
use serde_json::Value;

use crate::experiment::UNMOVED;
use crate::statistics::Values;
use crate::words::{self, Spread, ms, ms_as_s, over_runs, percent, percent_of_time, s, spread};

/// A card for each policy.
pub(super) fn cards(policies: &[(&str, Vec<&Run>)]) -> Markup {
    html! {
        div.cards {
            @for (name, runs) in policies {
                div class={ "card " (super::policy_class(name)) } {
                    div.policy-name { (words::policy(name)) @if runs.len() > 1 { small { " · " (runs.len()) " runs" } } }
                    @if *name == UNMOVED { (unmoved(runs)) } @else { (moved(runs)) }
                }
            }
        }
    }
}

fn headline(spread: &Spread, after: &str) -> Markup {
    html! {
        div.headline {
            (spread.median) (after)
            @if let Some(range) = &spread.range { small { " " (range) } }
        }
    }
}

fn unmoved(runs: &[&Run]) -> Markup {
    let over: Values = runs.iter().filter_map(|run| run.over_budget_at_s).collect();
    html! {
        @if over.n() > 0 {
            (headline(&spread(&over, s), ""))
            p {
                "after the load began, the picture was older than the budget allows"
                (in_some(over.iter().count(), runs)) "."
            }
        } @else {
            div.headline { "within budget" }
            p { "The load did not make the delay explode: there was nothing to be saved from." }
        }
        (age_facts(runs))
    }
}

/// Says so where it is true of some of the runs only.
fn in_some(count: usize, runs: &[&Run]) -> String {
    if count < runs.len() {
        format!(", in {count} of {} runs", runs.len())
    } else {
        String::new()
    }
}

fn moved(runs: &[&Run]) -> Markup {
    let margins: Values = runs
        .iter()
        .filter_map(|run| run.migration.as_ref()?.margin_ms)
        .collect();
    let of = |figure: fn(&record::results::Migration) -> Option<f64>, say: fn(f64) -> String| {
        over_runs(runs, |run| run.migration.as_ref().and_then(figure), say)
    };
    html! {
        @match margins.median() {
            Some(median) if median > 0.0 => {
                (headline(&spread(&margins, ms_as_s), " to spare"))
                p {
                    "The viewer saw the function at its new place that long before the unmoved one was over the budget"
                    (in_some(margins.iter().filter(|margin| **margin > 0.0).count(), runs)) "."
                }
            }
            Some(_) => {
                @let late: Values = margins.iter().map(|margin| -margin).collect();
                (headline(&spread(&late, ms_as_s), " too late"))
                p {
                    "When the viewer saw the function at its new place, the unmoved one had been over the budget that long"
                    (in_some(late.iter().filter(|late| **late >= 0.0).count(), runs)) "."
                }
            }
            None if runs.iter().all(|run| run.migration.is_none()) => {
                div.headline { "no move" }
                p { "The decision log says why." }
            }
            None => {
                div.headline { "margin unknown" }
                p { "No unmoved run went over the budget, or the viewer never saw the function at its new place." }
            }
        }
        dl.facts {
            dt { "decided at" } dd { (of(|m| Some(m.decided_at_s), s)) }
            dt { "load then, SNMP" } dd { (of(|m| m.source_load_snmp, percent)) }
            dt { "migration" } dd { (of(|m| m.total_ms, ms_as_s)) }
            dt { "gap seen" } dd { (of(|m| m.viewer_gap_ms, ms)) }
        }
        (age_facts(runs))
    }
}

fn age_facts(runs: &[&Run]) -> Markup {
    html! {
        dl.facts {
            dt { "idle median" } dd { (over_runs(runs, |run| run.picture_age_ms.idle_median, ms)) }
            dt { "p95 under load" } dd { (over_runs(runs, |run| run.picture_age_ms.p95, ms)) }
            dt { "maximum" } dd { (over_runs(runs, |run| run.picture_age_ms.max, ms)) }
            dt { "within budget" } dd { (over_runs(runs, |run| run.picture_age_ms.share_under_budget, percent_of_time)) }
            dt { "longest freeze" } dd { (over_runs(runs, |run| run.frames.longest_freeze_ms, ms)) }
        }
    }
}

/// What is promised, and whether the runs keep it.
pub(super) fn promises(results: &Results) -> Markup {
    html! {
        table.promises {
            thead { tr { th {} th { "Promise" } th { "Profile" } th { "What the runs say" } } }
            tbody { @for promise in &results.promises { (promise_row(promise, results)) } }
        }
    }
}

fn promise_row(promise: &Promise, results: &Results) -> Markup {
    let (class, sign, word) = match promise.holds {
        Some(true) => ("yes", "✓", "holds"),
        Some(false) => ("no", "✗", "does not hold"),
        None => ("open", "?", "cannot be told"),
    };
    let repeats = results
        .runs
        .iter()
        .filter(|run| run.plan.profile == promise.profile)
        .map(|run| run.plan.repeat)
        .max();
    html! {
        tr class=(class) {
            td.sign title=(word) { (sign) }
            td { (promise.text) }
            td { (promise.profile) }
            td.evidence {
                @if promise.figures.is_empty() { "every run of it is spoilt" }
                @for figure in &promise.figures {
                    div class=[(figure.holds == Some(false)).then_some("no")] {
                        @if repeats > Some(1) { span.repeat { "run " (figure.repeat) ": " } }
                        @for (at, (name, value)) in figure.values.iter().enumerate() {
                            @if at > 0 { ", " }
                            span.whole { (said(name, value)) }
                        }
                    }
                }
            }
        }
    }
}

/// `p95_ms: 312.5` as `p95 313 ms`.
fn said(name: &str, value: &Value) -> String {
    let figure = match value {
        Value::Null => words::UNMEASURED.to_owned(),
        Value::String(text) => text.clone(),
        value => match value.as_f64() {
            Some(number) if name.ends_with("_ms") && name.starts_with("margin") => {
                words::signed_ms_as_s(number)
            }
            Some(number) if name.ends_with("_ms") => ms(number),
            Some(number) if name.ends_with("_s") => s(number),
            Some(number) if name.starts_with("share") => percent_of_time(number),
            _ => value.to_string(),
        },
    };
    let name = name
        .trim_end_matches("_ms")
        .trim_end_matches("_s")
        .replace('_', " ");
    format!("{name} {figure}")
}

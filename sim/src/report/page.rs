//! The parts of the report, from what was compared down to how to do it again.

use maud::{Markup, html};
use measure::drawing::page;

use super::figures::{part, ratio, share};
use super::groups::{Group, Groups, TraceGroup};
use super::policies::{DEADLINE, Row, Table, rows};
use super::side_by_side::{self, Column};
use super::{bars, definitions, scatter, slopes, tables};
use crate::contest::{Comparison, Parameters};
use crate::refine::Refinement;

const TITLE: &str = "The same controller against the rules that other systems ship";
const STYLE: &str = include_str!("style.css");

/// The whole document.
pub(super) fn document(comparison: &Comparison, command: &str) -> Markup {
    let groups = Groups::of(comparison);
    let rows = rows(&comparison.policies);
    let body = html! {
        header {
            div.kicker { "Forestall · comparison in virtual time" }
            h1 { (TITLE) }
            pre { code { (command) } }
            (lead(comparison, &rows))
        }
        main {
            (definitions::list())
            (all_inputs(&rows))
            @if !groups.traces.is_empty() { (traces(&groups)) }
            @if !groups.ramps.is_empty() { (ramps(&groups.ramps)) }
            @if !groups.others.is_empty() { (others(&groups.others)) }
            section { h2 { "Where the rules are from" } (tables::sources()) }
            (how_it_was_made(comparison))
        }
    };
    page::document(TITLE, STYLE, &body)
}

/// What was compared in two sentences, and the answer in one.
fn lead(comparison: &Comparison, rows: &[Row]) -> Markup {
    let deadline = comparison.policies.get(DEADLINE);
    html! {
        p.lead {
            (rows.len()) " policies moved the video functions of the same edge servers under the same load, in virtual time: "
            (comparison.by_input.len()) " kinds of load, from traces of real machines and from generators, each made anew from each seed. "
            "Each is judged by how often and how long its functions were on a server too busy for them, beside an oracle that knows the "
            "future and beside never moving anything, and by what it moved for that. "
            @if let Some(s) = deadline {
                strong {
                    "deadline prevented " (part(s.prevented, s.preventable)) " preventable overloads (" (share(s.deadline_met_share))
                    "); its excess over the oracle is " (ratio(s.excess_share)) "."
                }
            }
        }
    }
}

fn all_inputs(rows: &[Row]) -> Markup {
    html! {
        section {
            h2 { "All inputs together" }
            (tables::main_table(rows))
            figure {
                div.scroll { (scatter::draw(rows)) }
                figcaption {
                    strong { "Figure 1. What is left above the knee, and what it cost in moves. " }
                    "Better is lower and further left. Both axes are logarithmic, with 0 at their lower ends. "
                    "Rings: rules on the same 5 s samples as ours."
                }
            }
            figure {
                div.scroll { (bars::prevented(rows)) }
                figcaption { strong { "Figure 2. Preventable overloads prevented. " } "Bar: of all together; line: 95 % interval of the mean over seeds." }
            }
            figure {
                div.scroll { (bars::margins(rows)) }
                figcaption {
                    strong { "Figure 3. How early the function was away. " }
                    "Of preventable overloads that the function was moved away from; who seldom moves has few. The axis is logarithmic on both sides of 0."
                }
            }
            h3 { "Margins and foresight" }
            (tables::foresight(rows))
        }
    }
}

fn traces(groups: &Groups) -> Markup {
    let column = |refinement: Refinement| Column {
        name: refinement.name(),
        tables: groups.in_refinement(refinement),
    };
    html! {
        section {
            h2 { "Traces, by refinement" }
            p {
                "A trace has a value every few minutes; what happens in between is made up, in three ways: straight lines, "
                "steps, and lines with noise. No headline may rest on one of them."
            }
            @if groups.traces.len() > 1 {
                h3 { "All " (groups.traces.len()) " traces" }
                (side_by_side::draw(&Refinement::ALL.map(column)))
            }
            @for trace in &groups.traces { (one_trace(trace)) }
        }
    }
}

fn one_trace(trace: &TraceGroup) -> Markup {
    let refined = || trace.refined.iter();
    let columns: Vec<Column> = refined()
        .map(|(refinement, Group { table, .. })| Column {
            name: refinement.name(),
            tables: vec![*table],
        })
        .collect();
    let plans: Vec<(&str, Option<f64>)> = refined()
        .map(|(refinement, group)| (refinement.name(), group.feasible_s))
        .collect();
    html! {
        h3 { (trace.name) }
        (side_by_side::draw(&columns))
        (tables::best_plan(&plans))
        @for (_, group) in refined() { (tables::input(group)) }
    }
}

fn ramps(ramps: &[(f64, Group)]) -> Markup {
    let tables: Vec<&Table> = ramps.iter().map(|(_, group)| group.table).collect();
    let best = slopes::best_rule(&tables, &super::policies::names(&tables));
    html! {
        section {
            h2 { "Ramps, by slope" }
            figure {
                div.scroll { (slopes::draw(ramps)) }
                figcaption {
                    strong { "Figure 4. The slope that a policy is a match for. " }
                    @if let Some(best) = best { (best) " is the rule of others that prevents the most on these ramps. " }
                    "Points of one slope stand side by side, with their 95 % intervals over seeds; none where nothing was preventable."
                }
            }
            (slopes::table(ramps))
            @for (_, group) in ramps { (tables::input(group)) }
        }
    }
}

fn others(groups: &[Group]) -> Markup {
    html! {
        section {
            h2 { "Other load" }
            @for group in groups { (tables::input(group)) }
        }
    }
}

fn how_it_was_made(comparison: &Comparison) -> Markup {
    html! {
        section {
            h2 { "How it was made" }
            p { "Inputs, and from how many seeds each was made: " (comparison.inputs.join(", ")) "." }
            p { "Parameters, digest " code { (comparison.parameters) } ":" }
            pre.parameters { code { (format!("{:?}", Parameters::frozen())) } }
        }
    }
}

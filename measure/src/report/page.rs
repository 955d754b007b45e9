//! The parts of the report, from the answer down to how to do it again.

use maud::{Markup, html};
use record::results::{Results, Run};

use super::run_figure::{self, Ranges};
use super::{definitions, overview, summary, tables};
use crate::drawing::{page, svg};
use crate::experiment::{Measured, unmoved_of};
use crate::run::MeasuredRun;
use crate::statistics::Values;
use crate::words::{self, cv, ms, or_dash};

/// The whole document.
pub(super) fn document(measured: &Measured) -> Markup {
    let results = &measured.results;
    let setting = &results.setting;
    let body = html! {
        header {
            div.kicker { "Forestall · " (setting.scenario) " · " (setting.started_at) }
            h1 { (setting.title) }
            p.lead { (lead(results)) }
        }
        main {
            @for profile in profiles(results) { (profile_section(profile, measured)) }
            section {
                h2 { "What is promised, and what the runs say" }
                (summary::promises(results))
            }
            section {
                h2 { "All runs" }
                (tables::all_runs(results))
            }
            section { h2 { "How each figure is defined" } (definitions::list()) }
            section { h2 { "Where and how it was made" } (tables::environment(results)) }
        }
    };
    page::document(
        &format!("{} · {}", setting.title, setting.scenario),
        "",
        &body,
    )
}

/// The one paragraph for who reads no further.
fn lead(results: &Results) -> Markup {
    let held = results
        .promises
        .iter()
        .filter(|promise| promise.holds == Some(true))
        .count();
    let broken = results
        .promises
        .iter()
        .filter(|promise| promise.holds == Some(false))
        .count();
    let spoilt = results.runs.iter().filter(|run| run.spoilt).count();
    let setting = &results.setting;
    html! {
        "Live video passes through a virtual machine on the edge server " (setting.hosts.source) ", whose load rises until it is full. "
        (results.runs.len()) " runs: with the machine left there, and with it moved to " (setting.hosts.target) " by a policy. "
        strong { (held) " of " (results.promises.len()) " promises hold" }
        @if broken > 0 { ", " strong.no { (broken) " do not" } }
        "."
        @if spoilt > 0 { " " (spoilt) " of " (results.runs.len()) " runs are spoilt by other work on the machine and prove nothing." }
    }
}

fn profiles(results: &Results) -> Vec<&str> {
    let mut profiles: Vec<&str> = Vec::new();
    for run in &results.runs {
        if !profiles.contains(&run.plan.profile.as_str()) {
            profiles.push(&run.plan.profile);
        }
    }
    profiles
}

/// Runs of a profile by policy, in the order in which they appear.
fn by_policy<'a>(runs: &[&'a Run]) -> Vec<(&'a str, Vec<&'a Run>)> {
    let mut policies: Vec<(&str, Vec<&Run>)> = Vec::new();
    for run in runs {
        match policies.iter_mut().find(|(name, _)| *name == run.plan.name) {
            Some((_, of_policy)) => of_policy.push(run),
            None => policies.push((&run.plan.name, vec![run])),
        }
    }
    policies
}

fn profile_section(profile: &str, measured: &Measured) -> Markup {
    let results = &measured.results;
    let of_profile: Vec<&MeasuredRun> = measured
        .runs
        .iter()
        .filter(|one| one.run.plan.profile == profile)
        .collect();
    let figures: Vec<&Run> = of_profile.iter().map(|one| &one.run).collect();
    let first = figures.iter().map(|run| run.plan.repeat).min().unwrap_or(1);
    let of_first: Vec<&MeasuredRun> = of_profile
        .iter()
        .copied()
        .filter(|one| one.run.plan.repeat == first)
        .collect();
    let policies = by_policy(&figures);
    let ranges = ranges(&of_profile);
    html! {
        section {
            h2 { "Profile " em { (profile) } }
            (summary::cards(&policies))
            figure {
                div.scroll { (overview::draw(&of_first, results, ranges)) }
                figcaption {
                    strong { "What the viewer saw" }
                    @if figures.len() > of_first.len() { " (run " (first) ")" }
                    ". Dots mark the first frame from the target."
                }
            }
            h3 { "Beside the thesis" }
            div.scroll { (tables::beside_the_thesis(&policies)) }
            h3 { "Load, picture age and arrival intervals of each run" }
            @for one in of_profile {
                @let deadline_s = unmoved_of(&one.run, figures.iter().copied()).and_then(|unmoved| unmoved.over_budget_at_s);
                details.run open[one.run.plan.repeat == first] {
                    summary {
                        span class={ "chip " (super::policy_class(&one.run.plan.name)) } { (words::policy(&one.run.plan.name)) }
                        " profile " (profile) ", run " (one.run.plan.repeat) ", seed " (one.run.plan.seed)
                        @if one.run.spoilt { " · spoilt" }
                    }
                    figure {
                        div.scroll { (run_figure::draw(one, results, ranges, deadline_s)) }
                        figcaption { (caption(one)) }
                    }
                    (tables::decision_log(one))
                }
            }
        }
    }
}

/// The same axes for all runs of a profile.
fn ranges(runs: &[&MeasuredRun]) -> Ranges {
    let starts: Values = runs
        .iter()
        .map(|one| one.raw.seconds(one.raw.phases.start))
        .collect();
    let ends: Values = runs
        .iter()
        .map(|one| one.raw.seconds(one.raw.phases.end))
        .collect();
    let ages: Values = runs
        .iter()
        .flat_map(|one| one.ages.iter().map(|row| row.picture_age_ms))
        .collect();
    let gaps: Values = runs
        .iter()
        .flat_map(|one| one.intervals.iter().map(|row| row.interval_ms))
        .collect();
    let budget = runs.first().map_or(100.0, |one| one.run.plan.budget_ms);
    let lowest = ages.min().unwrap_or(10.0).max(1.0).min(budget);
    Ranges {
        time_s: (starts.min().unwrap_or(0.0), ends.max().unwrap_or(1.0)),
        age_ms: (
            svg::round_down(lowest),
            svg::round_up(ages.max().unwrap_or(1e3).max(budget * 1.2)),
        ),
        interval_ms: (1.0, svg::round_up(gaps.max().unwrap_or(100.0).max(100.0))),
    }
}

/// Figure 17 to 19 in words, for this run.
fn caption(one: &MeasuredRun) -> Markup {
    let run = &one.run;
    let drawn = &run.drawn_by;
    let boots: std::collections::BTreeSet<&String> = drawn
        .boots_before
        .iter()
        .chain(&drawn.boots_after)
        .collect();
    html! {
        @match &run.migration {
            None => { strong { "Figure 19, nothing moved. " } }
            Some(_) => { strong { "Figures 17 and 18, " (run.plan.name) ". " } }
        }
        (run.frames.sent) " frames sent, " (run.frames.lost) " lost, " (run.frames.damaged) " damaged, "
        (run.frames.repeated) " repeated, " (run.frames.unreadable) " unreadable; longest freeze "
        (or_dash(run.frames.longest_freeze_ms, ms)) ". C.V. of frame intervals "
        (or_dash(run.frame_intervals_ms.idle_cv, cv)) " idle, " (or_dash(run.frame_intervals_ms.cv, cv)) " under load."
        @if let Some(over_s) = run.over_budget_at_s {
            " Over the budget for the first time at " (words::s(over_s))
            @match run.over_budget_for_good_at_s {
                Some(for_good_s) if for_good_s > over_s => { ", for good from " (words::s(for_good_s)) " on." }
                Some(_) => { " and from then on." }
                None => { "; within it again later." }
            }
        }
        @if let Some(migration) = &run.migration {
            " Verdict: " strong { (migration.verdict) } "."
            @if run.moves > 1 { " The run had " (run.moves) " moves; the figures are of the first." }
            @if !drawn.runners_after.is_empty() {
                " The frames before and after came from different QEMU processes (" (list(&drawn.runners_before)) " and "
                (list(&drawn.runners_after)) ")"
                @if boots.len() == 1 { " and one guest (boot id " (list(&drawn.boots_after)) ")." }
                @else if boots.is_empty() { "; the guest’s boot id was not seen." }
                @else { " and, wrongly, from " (boots.len()) " guests." }
            }
        }
    }
}

pub(super) fn list<T: ToString>(values: &[T]) -> String {
    values
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

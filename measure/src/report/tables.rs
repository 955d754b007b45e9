//! The tables of the report.

use maud::{Markup, html};
use record::results::{Migration, Results, Run};
use serde_json::Value;

use super::page::list;
use crate::run::MeasuredRun;
use crate::thesis::QUANTITIES;
use crate::words::{self, ms, ms_as_s, or_dash, percent, percent_of_time, s, signed_ms_as_s};

/// Decisions shown below a run; the log has them all.
const DECISIONS_MAX: usize = 40;

/// Why the function was moved, and why it was not before.
pub(super) fn decision_log(one: &MeasuredRun) -> Markup {
    let log = &one.raw.decisions;
    if log.entries.is_empty() {
        return html! {};
    }
    html! {
        details.log {
            summary { "Decision log: " (log.entries.len()) " lines"
                @if log.unreadable > 0 { ", " (log.unreadable) " unreadable" } }
            table {
                thead { tr { th.number { "at" } th { "decision" } th { "host" } th { "why" } th.number { "forecast load" } th.number { "per second" } } }
                tbody {
                    @for entry in log.entries.iter().rev().take(DECISIONS_MAX).rev() {
                        tr {
                            td.number { (s(one.raw.seconds(entry.at_us))) }
                            td { (entry.kind) }
                            td { (entry.host.as_deref().unwrap_or("")) }
                            td { (entry.reason.as_deref().unwrap_or("").replace('_', " ")) }
                            td.number { (or_dash(entry.forecast.map(|forecast| forecast.level), |level| format!("{:.1} %", level * 100.0))) }
                            td.number { (or_dash(entry.forecast.map(|forecast| forecast.slope_per_s), |slope| format!("{:+.2} %", slope * 100.0))) }
                        }
                    }
                }
            }
            @if log.entries.len() > DECISIONS_MAX { p.quiet { "The last " (DECISIONS_MAX) "; decisions.jsonl has all of them." } }
        }
    }
}

/// What the thesis printed beside what these runs say.
pub(super) fn beside_the_thesis(policies: &[(&str, Vec<&Run>)]) -> Markup {
    html! {
        table.thesis {
            thead { tr {
                th { "Quantity" } th { "The thesis" }
                @for (name, runs) in policies {
                    th { span class={ "chip " (super::policy_class(name)) } { (words::policy(name)) }
                        @if runs.len() > 1 { br; small { "median (range) of " (runs.len()) } } }
                }
            } }
            tbody { @for quantity in &QUANTITIES { tr {
                td { (quantity.name) }
                td.words { ((quantity.thesis)()) }
                @for (_, runs) in policies { td.figure-cell { ((quantity.of)(runs)) } }
            } } }
        }
    }
}

/// One row a run.
pub(super) fn all_runs(results: &Results) -> Markup {
    let migration =
        |run: &Run, figure: fn(&Migration) -> Option<f64>| run.migration.as_ref().and_then(figure);
    html! {
        div.scroll { table.runs {
            thead { tr {
                th { "profile" } th { "policy" } th.number { "run" }
                th.number { "idle median" } th.number { "median" } th.number { "p95" } th.number { "max" } th.number { "in budget" }
                th.number { "over at" } th.number { "decided" } th.number { "seen at" } th.number { "margin" }
                th.number { "total" } th.number { "gap" } th.number { "lost" } th.number { "foreign" } th { "verdict" }
            } }
            tbody { @for run in &results.runs {
                @let age = &run.picture_age_ms;
                tr class=[run.spoilt.then_some("spoilt")] {
                    td { (run.plan.profile) }
                    td { span class={ "chip " (super::policy_class(&run.plan.name)) } { (run.plan.name) } }
                    td.number { (run.plan.repeat) }
                    td.number { (or_dash(age.idle_median, ms)) }
                    td.number { (or_dash(age.median, ms)) }
                    td.number { (or_dash(age.p95, ms)) }
                    td.number { (or_dash(age.max, ms)) }
                    td.number { (or_dash(age.share_under_budget, percent_of_time)) }
                    td.number { (or_dash(run.over_budget_at_s, s)) }
                    td.number { (or_dash(migration(run, |m| Some(m.decided_at_s)), s)) }
                    td.number { (or_dash(migration(run, |m| m.first_frame_from_target_s), s)) }
                    td.number { (or_dash(migration(run, |m| m.margin_ms), signed_ms_as_s)) }
                    td.number { (or_dash(migration(run, |m| m.total_ms), ms_as_s)) }
                    td.number { (or_dash(migration(run, |m| m.viewer_gap_ms), ms)) }
                    td.number { (run.frames.lost) }
                    td.number { (or_dash(run.foreign_load, percent)) }
                    td { (run.migration.as_ref().map_or("–", |m| m.verdict.as_str())) @if run.spoilt { " (spoilt)" } }
                }
            } }
        } }
        p.quiet { "Picture age under load, seconds since the load began. Budget: "
            (list(&budgets(results).into_iter().map(ms).collect::<Vec<_>>())) "." }
    }
}

fn budgets(results: &Results) -> Vec<f64> {
    let mut budgets: Vec<f64> = results.runs.iter().map(|run| run.plan.budget_ms).collect();
    budgets.sort_by(f64::total_cmp);
    budgets.dedup();
    budgets
}

/// The machine, the service, and the command.
pub(super) fn environment(results: &Results) -> Markup {
    let setting = &results.setting;
    let environment = &setting.environment;
    let row = |name: &str, value: &str| html! { @if !value.is_empty() { tr { th scope="row" { (name) } td { (value) } } } };
    let accelerator = match environment.accelerator.as_str() {
        "tcg" => "tcg (emulation: no hardware virtualisation was used)",
        "kvm" => "kvm (hardware virtualisation)",
        other => other,
    };
    html! {
        table.environment { tbody {
            (row("Machine", &setting.machine))
            (row("CPUs", &environment.cpus.to_string()))
            (row("Accelerator", accelerator))
            (row("Engine", setting.engine.as_deref().unwrap_or("")))
            (row("Link emulation", &environment.link_emulation))
            (row("Kernel", environment.kernel.as_deref().unwrap_or("")))
            (row("QEMU", environment.qemu.as_deref().unwrap_or("")))
            (row("FFmpeg", environment.ffmpeg.as_deref().unwrap_or("")))
            @for (name, value) in &environment.more {
                (row(&name.replace('_', " "), &value.as_str().map_or_else(|| Value::to_string(value), str::to_owned)))
            }
            (row("Chain", &setting.chain))
            (row("Video", &setting.video))
            (row("How load and function compete", &setting.competition))
            (row("Calibrated knee", &or_dash(setting.knee, percent)))
            (row("Calibrated migration time, p95", &or_dash(setting.migration_p95_s, s)))
            (row("Threshold", &or_dash(setting.threshold, percent)))
            (row("Foreign load allowed", &percent(setting.limits.foreign_load)))
            (row("Seed", &setting.seed.to_string()))
        } }
        p { "To make it again:" }
        pre { code { (setting.command) } }
        p { "To check that every figure follows from the raw data beside this file:" }
        pre { code { "forestall lab verify DIR" } }
    }
}

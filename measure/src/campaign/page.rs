//! The report: what was measured, in the thesis' order, on one page that needs nothing else.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use record::profile::SlowdownByLoad;
use record::results::Environment;

use super::findings::{Finding, Verdict};
use super::predictor::{self, Predictor};
use super::tables::Table;
use super::{PartMade, Results};
use crate::drawing::page::document;
use crate::words::UNMEASURED;

const STYLE: &str = "table{border-collapse:collapse;font-size:.88rem;margin:.4rem 0 1rem}th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--rule)}\
    th:first-child,td:first-child{text-align:left}td small{display:block;color:var(--quiet);white-space:nowrap}\
    .printed{color:var(--quiet)}.holds{color:var(--deadline)}.fails{color:var(--none)}.unsure{color:var(--quiet)}\
    .findings td{text-align:left;vertical-align:top}";

/// The section that has knees.
const LOAD: &str = "4.2 How load makes it worse";
/// How they are found.
const KNEE: &str = "x is what is asked of stress-ng, as in the thesis; under it, where there is room, what the host of the function used in all \
    (sweep “all”). Where a delay or a jitter begins to rise is the knee of a broken line, flat and then rising, fitted by least squares (Hudson, \
    Journal of the American Statistical Association 61, 1966), its interval that of the profile likelihood (Hinkley, the same journal 66, 1971).";

/// Figures and tables in the order in which they are shown, and where they stand in the thesis.
const SECTIONS: [(&str, &[&str]); 4] = [
    (
        "3.2 Where the delay comes from",
        &[
            "table2",
            "table3",
            "table4",
            "figure4",
            "figure5",
            "figure6",
            "jitter",
            "variants",
            "starts",
            "figure7",
            "end-devices",
            "screenshots",
        ],
    ),
    (
        LOAD,
        &[
            "table5", "table6", "figure8", "figure9", "figure10", "figure11", "figure12",
            "figure13", "figure14",
        ],
    ),
    (
        "4.2 How long a move takes",
        &["table7", "figure15", "figure16"],
    ),
    (
        "4.2 What a move over a longer path takes",
        &[
            "paths-memory",
            "paths-dirty",
            "paths-bandwidth",
            "paths-rtt",
            "paths-loss",
        ],
    ),
];

/// The page.
#[must_use]
pub fn page(results: &Results, drawings: &BTreeMap<String, String>) -> Markup {
    let body = html! {
        p.kicker { "Forestall · the thesis measured again" }
        h1 { "Where the delay comes from, how load makes it worse, how long a move takes" }
        p.lead { "“Service Function Reallocation Method for Low-latency Video Live Streaming in Multi-access Edge Computing” (Osaka University, 2019), \
            sections 3 and 4.2, on this machine. Small figures under a value: where the truth is with 95 %. Grey: what the thesis prints. \
            " (UNMEASURED) " was not measured." }
        h2 { "What was measured" }
        (parts(&results.parts))
        (differences(results))
        h2 { "Findings" }
        (findings(&results.findings))
        @for (title, members) in SECTIONS {
            @let shown: Vec<Markup> = members.iter().flat_map(|name| shown(name, results, drawings)).collect();
            @if !shown.is_empty() {
                h2 { (title) }
                @if title == LOAD { p { (KNEE) } }
                @for one in shown { (one) }
            }
        }
        @if results.predictor.is_some() || results.slowdown.is_some() {
            h2 { "4.2 How long a move will take" }
        }
        @if let Some(predictor) = &results.predictor { (predicted(predictor)) }
        @if let Some(slowdown) = &results.slowdown { (slowed(slowdown)) }
    };
    document("Forestall: the thesis measured again", STYLE, &body)
}

/// A table and those that vary it (`table5-fair`), or a figure.
fn shown(name: &str, results: &Results, drawings: &BTreeMap<String, String>) -> Vec<Markup> {
    let varied = format!("{name}-");
    let tables = results
        .tables
        .iter()
        .filter(|(own, _)| *own == name || own.starts_with(&varied));
    let mut all: Vec<Markup> = tables.map(|(_, own)| table(own)).collect();
    if let Some(drawing) = drawings.get(&format!("{name}.svg")) {
        // What the thesis has no figure of stands under the table that says what it is.
        let number = name.strip_prefix("figure");
        all.push(html! {
            figure {
                div.scroll { (PreEscaped(drawing.as_str())) }
                @if let Some(number) = number { figcaption { strong { "Figure " (number) } } }
            }
        });
    }
    all
}

fn parts(parts: &[PartMade]) -> Markup {
    html! {
        table {
            tr { th { "part" } th { "measurements" } th { "spoilt by foreign load" } th { "made again for it" } th { "from" } th { "to" } th { "links" } th { "machine" } }
            @for part in parts {
                tr {
                    td { (part.part) } td { (part.cells) } td { (part.spoilt) } td { (part.repeated) }
                    td { (part.measured_at[0]) } td { (part.measured_at[1]) }
                    td { (part.link_emulation.join(", ")) } td { (part.machines.join("; ")) }
                }
            }
        }
    }
}

/// What a reader has to know before comparing.
fn differences(results: &Results) -> Markup {
    let of = |word: &str| {
        let words = results
            .parts
            .iter()
            .flat_map(|part| part.machines.iter().chain(&part.link_emulation));
        words.into_iter().any(|text| text.contains(word))
    };
    let environment = results.environment.as_ref();
    let version =
        |of: fn(&Environment) -> &Option<String>| environment.and_then(|own| of(own).as_deref());
    html! {
        p { "What differs from the thesis' environment: " }
        ul {
            li { "One machine stands for all hosts; each edge server is a CPU share of one core, the thesis' has 28 cores." }
            @if of("tcg") { li { "The CPU of virtual machines is emulated (TCG): a function costs several times what it costs under KVM." } }
            @if of("userspace") { li { "Delay, jitter, loss and rate of links are made by Forestall's own forwarder (docs/links.md)." } }
            li { "Camera and screen are programs: delay is read from a code in the picture, so the camera's, the display's and Tesseract's part are not in it." }
            @if results.tables.contains_key("screenshots") {
                li { "Delay the thesis' way has a table of its own. Its clock is drawn every 8 ms, so that its delays are 4 ms too short on average, by digits and \
                    by codes alike; digits have whole milliseconds. What else lies between the two is what Tesseract misreads." }
            }
            @if let Some(ffmpeg) = version(|own| &own.ffmpeg) { li { "FFmpeg is " (ffmpeg) ", the thesis' of 2018; FFserver, which left FFmpeg in 4.0, is replaced by " code { "ffmpeg -listen 1" } "." } }
            @if let Some(qemu) = version(|own| &own.qemu) { li { "QEMU is " (qemu) "." } }
            li { "Camera and player have precedence on their core, so that the target's load does not spoil them." }
            li { "Where a table's name ends in “ffmpeg” the chain is stock FFmpeg of today told all that is known to lower its delay, in “ffmpeg-plain” told nothing of it, elsewhere Forestall's own, which holds no frame." }
        }
    }
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        table.findings {
            tr { th { "section" } th { "the thesis says" } th { "here" } th { "measured" } th { "printed" } th { "why" } }
            @for finding in findings {
                @let (class, word) = match finding.verdict {
                    Verdict::Holds => ("holds", "holds"),
                    Verdict::DoesNotHold => ("fails", "does not hold"),
                    Verdict::CannotTell => ("unsure", "cannot tell"),
                };
                tr {
                    td { (finding.section) } td { (finding.text) } td { strong class=(class) { (word) } }
                    td { (figure(finding.estimate)) " " (unit(finding)) @if let Some(interval) = finding.interval95 { small { (range(interval)) } } }
                    td.printed { (figure(finding.printed)) } td { (finding.why) }
                }
            }
        }
    }
}

fn predicted(predictor: &Predictor) -> Markup {
    html! {
        p { (predictor::WORDS) }
        p { "Fitted to " (predictor.moves) " moves of " (predictor.cells) " cells. “Not seen”: each pair of memory and bandwidth was left out of \
            the fit in turn, and what the others say of its moves was compared with them."
            @if let Some(mib) = predictor.window_mib { " A path lets through no more than a window of " (figure(Some(mib))) " MiB in a round trip." } }
        div.scroll {
            table {
                tr { th { "what" } th { "term" } th { "factor" } th { "S.D. of a move" } th { "not seen: moves" } th { "median error" } th { "in the 95 % interval" } }
                @for law in &predictor.laws {
                    @for (number, term) in law.terms.iter().enumerate() {
                        @let first = number == 0;
                        tr {
                            td { @if first { (law.what) } }
                            td { (term.name) }
                            td { (figure(Some(term.factor))) small { (range(term.interval95)) } }
                            td { @if first { (figure(Some(law.sd))) " " (law.sd_unit) } }
                            td { @if first { (law.unseen_moves) } }
                            td { @if first { (percent(law.unseen_error_median)) } }
                            td { @if first { (percent(law.unseen_within95)) } }
                        }
                    }
                }
            }
        }
    }
}

fn slowed(slowdown: &SlowdownByLoad) -> Markup {
    let ends = [("source", &slowdown.source), ("target", &slowdown.target)];
    html! {
        p { "Between loaded hosts it takes so many times longer, a factor for each end; load as the hosts account for it, at the source the \
            function's own in it." }
        table {
            tr { th { "end" } th { "load" } th { "times" } }
            @for (end, slowdown) in ends {
                @for (load, factor) in Vec::from(slowdown.clone()) {
                    tr { td { (end) } td { (percent(Some(load))) } td { (figure(Some(factor))) } }
                }
            }
        }
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || UNMEASURED.to_owned(),
        |share| format!("{:.1} %", share * 100.0),
    )
}

fn unit(finding: &Finding) -> &str {
    if finding.estimate.is_some() {
        &finding.unit
    } else {
        ""
    }
}

fn table(table: &Table) -> Markup {
    html! {
        h3 { (table.title) }
        div.scroll {
            table {
                tr { th { (table.unit) } @for column in &table.columns { th { (column) } } }
                @for row in &table.rows {
                    tr {
                        td { (row) }
                        @for at in 0..table.columns.len() {
                            @let measured = table.measured.get(row).and_then(|all| *all.get(at)?);
                            @let interval = table.interval95.get(row).and_then(|all| *all.get(at)?);
                            @let printed = table.printed.get(row).and_then(|all| *all.get(at)?);
                            td {
                                (figure(measured))
                                @if let Some(interval) = interval { small { (range(interval)) } }
                                @if printed.is_some() { span.printed { " · " (figure(printed)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A value with three digits that say something.
fn figure(value: Option<f64>) -> String {
    let Some(value) = value else {
        return UNMEASURED.to_owned();
    };
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{} to {}", figure(Some(low)), figure(Some(high)))
}

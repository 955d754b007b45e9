//! The runs as a table, for the terminal and for Markdown.

use record::results::{Results, Run};

use crate::words::{ms, ms_as_s, or_dash, percent_of_time, signed_ms_as_s};

/// Columns of the table and how wide their text may get.
const HEADER: [&str; 11] = [
    "profile",
    "policy",
    "run",
    "idle",
    "p95",
    "max",
    "in budget",
    "over at",
    "seen at",
    "margin",
    "verdict",
];

/// The rows of the table, in the order of the results.
fn rows(results: &Results) -> Vec<[String; 11]> {
    results.runs.iter().map(row).collect()
}

fn row(run: &Run) -> [String; 11] {
    let age = &run.picture_age_ms;
    let migration = run.migration.as_ref();
    let seconds = |value: Option<f64>| or_dash(value.map(|s| s * 1e3), ms_as_s);
    [
        run.plan.profile.clone(),
        run.plan.name.clone(),
        format!("{}{}", run.plan.repeat, if run.spoilt { " *" } else { "" }),
        or_dash(age.idle_median, ms),
        or_dash(age.p95, ms),
        or_dash(age.max, ms),
        or_dash(age.share_under_budget, percent_of_time),
        seconds(run.over_budget_at_s),
        seconds(migration.and_then(|migration| migration.first_frame_from_target_s)),
        or_dash(
            migration.and_then(|migration| migration.margin_ms),
            signed_ms_as_s,
        ),
        migration.map_or_else(|| "–".to_owned(), |migration| migration.verdict.clone()),
    ]
}

/// The table for a terminal, at most 110 columns wide, with a line on the promises.
#[must_use]
pub fn terminal_table(results: &Results) -> String {
    let rows = rows(results);
    let width = |at: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count());
        cells
            .chain(HEADER.get(at).map(|name| name.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (cell, width))| match at {
                // Words to the left, figures to the right.
                0 | 1 | 10 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&HEADER.map(str::to_owned));
    text += &("─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)) + "\n");
    let mut profile = None;
    for (cells, run) in rows.iter().zip(&results.runs) {
        if profile
            .replace(&run.plan.profile)
            .is_some_and(|before| *before != run.plan.profile)
        {
            text.push('\n');
        }
        text += &line(cells);
    }
    text.push('\n');
    text += "picture age under load (idle: before it); seconds since the load began; seen: first frame from the target\n";
    text += &footnotes(results);
    text
}

/// The table for Markdown.
#[must_use]
pub fn markdown_table(results: &Results) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEADER.map(str::to_owned));
    text += "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n";
    for cells in rows(results) {
        text += &line(&cells.map(|cell| cell.replace('|', "\\|")));
    }
    text.push('\n');
    text += "Picture age under load (idle: before it); seconds since the load began; seen: first frame from the target.\n";
    text += &footnotes(results);
    text
}

fn footnotes(results: &Results) -> String {
    let mut text = String::new();
    if results.runs.iter().any(|run| run.spoilt) {
        let limit = results.setting.limits.foreign_load * 100.0;
        text += &format!(
            "* spoilt: more than {limit:.0} % of the machine was busy with other work; proves nothing\n"
        );
    }
    let held = results
        .promises
        .iter()
        .filter(|promise| promise.holds == Some(true))
        .count();
    text += &format!("{held} of {} promises hold\n", results.promises.len());
    for promise in results
        .promises
        .iter()
        .filter(|promise| promise.holds != Some(true))
    {
        let word = if promise.holds.is_some() {
            "does not hold"
        } else {
            "cannot be told"
        };
        text += &format!("  {word}: {} ({})\n", promise.id, promise.text);
    }
    text
}

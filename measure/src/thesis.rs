//! What the thesis printed, for the column beside our runs.

use record::results::{Migration, Run};

use crate::reference::{ByLoad, THESIS};
use crate::words::{self, cv, ms, ms_as_s, over_runs, percent, percent_of_time, s, signed_ms_as_s};

/// A quantity, the thesis' word on it, and how it is read from runs of one policy.
pub struct Quantity {
    /// What is measured.
    pub name: &'static str,
    /// What the thesis prints, and where.
    pub thesis: fn() -> String,
    /// The figure over some runs, in words.
    pub of: fn(&[&Run]) -> String,
}

fn of_move(runs: &[&Run], figure: fn(&Migration) -> Option<f64>, say: fn(f64) -> String) -> String {
    over_runs(runs, |run| run.migration.as_ref().and_then(figure), say)
}

fn verdicts(runs: &[&Run]) -> String {
    let mut words: Vec<&str> = runs
        .iter()
        .map(|run| {
            run.migration
                .as_ref()
                .map_or("no move", |migration| migration.verdict.as_str())
        })
        .collect();
    words.dedup();
    if words.is_empty() {
        words::UNMEASURED.to_owned()
    } else {
        words.join(", ")
    }
}

/// A figure of Tables 5 to 7 as printed.
fn at(row: &ByLoad, percent: f64) -> String {
    let figure = THESIS.at(row, percent);
    figure.map_or_else(|| words::UNMEASURED.to_owned(), |figure| figure.to_string())
}

/// The rows of the table beside the thesis.
pub const QUANTITIES: [Quantity; 17] = [
    Quantity {
        name: "Picture age, idle, median",
        thesis: || {
            let delay = &THESIS.table6_delay_by_cpu_load;
            let (median, mean) = (at(&delay.median_ms, 0.0), at(&delay.mean_ms, 0.0));
            format!("{median} ms; mean {mean} ms (Table 6, 0 %)")
        },
        of: |runs| over_runs(runs, |run| run.picture_age_ms.idle_median, ms),
    },
    Quantity {
        name: "Picture age under load, mean",
        thesis: || {
            let mean = at(&THESIS.table6_delay_by_cpu_load.mean_ms, 100.0);
            format!("{mean} ms at 100 % (Table 6)")
        },
        of: |runs| over_runs(runs, |run| run.picture_age_ms.mean, ms),
    },
    Quantity {
        name: "Picture age under load, 95th percentile",
        thesis: || {
            let p75 = at(&THESIS.table6_delay_by_cpu_load.p75_ms, 100.0);
            format!("not printed; 75th: {p75} ms at 100 %")
        },
        of: |runs| over_runs(runs, |run| run.picture_age_ms.p95, ms),
    },
    Quantity {
        name: "Picture age under load, maximum",
        thesis: || {
            let max = at(&THESIS.table6_delay_by_cpu_load.max_ms, 100.0);
            let kept = THESIS.result.delay_kept_under_ms;
            format!("unmoved {max} ms at 100 %; moved: “kept under {kept} ms”")
        },
        of: |runs| over_runs(runs, |run| run.picture_age_ms.max, ms),
    },
    Quantity {
        name: "Time within the budget, under load",
        thesis: || "not printed".to_owned(),
        of: |runs| {
            over_runs(
                runs,
                |run| run.picture_age_ms.share_under_budget,
                percent_of_time,
            )
        },
    },
    Quantity {
        name: "Over the budget for the first time",
        thesis: || "“after the CPU load is over 85 %” it rises (4.3.2)".to_owned(),
        of: |runs| over_runs(runs, |run| run.over_budget_at_s, s),
    },
    Quantity {
        name: "Load at the start of the move, by SNMP",
        thesis: || {
            let start = THESIS.method.start_at_cpu_percent;
            format!("{start} %, without forecasting (4.3.1)")
        },
        of: |runs| of_move(runs, |migration| migration.source_load_snmp, percent),
    },
    Quantity {
        name: "Load at the start of the move, true",
        thesis: || "not printed".to_owned(),
        of: |runs| of_move(runs, |migration| migration.source_load_true, percent),
    },
    Quantity {
        name: "Total migration time",
        thesis: || {
            let (method, table7) = (&THESIS.method, &THESIS.table7_total_migration_time);
            let (about, knee) = (
                method.total_migration_time_at_knee_s,
                method.delay_rises_above_cpu_percent,
            );
            let (then, full) = (
                at(&table7.destination_0_s, knee),
                at(&table7.destination_0_s, 100.0),
            );
            format!("about {about} s at {knee} % ({then} s; {full} s at 100 %, Table 7)")
        },
        of: |runs| of_move(runs, |migration| migration.total_ms, ms_as_s),
    },
    Quantity {
        name: "Predicted total migration time (p95)",
        thesis: || {
            let fixed = THESIS.method.total_migration_time_at_knee_s;
            format!("fixed: {fixed} s (4.2)")
        },
        of: |runs| of_move(runs, |migration| migration.predicted_total_ms, ms_as_s),
    },
    Quantity {
        name: "Downtime, the engine's figure",
        thesis: || {
            let limit = THESIS.migration_settings.max_downtime_ms;
            format!("at most {limit} ms permitted (4.1)")
        },
        of: |runs| of_move(runs, |migration| migration.downtime_ms, ms),
    },
    Quantity {
        name: "Longest gap that the viewer saw at the move",
        thesis: || "not printed".to_owned(),
        of: |runs| of_move(runs, |migration| migration.viewer_gap_ms, ms),
    },
    Quantity {
        name: "Picture age after the move, median",
        thesis: || "“calm after it” (4.3.2)".to_owned(),
        of: |runs| over_runs(runs, |run| run.picture_age_ms.after_move_median, ms),
    },
    Quantity {
        name: "Margin before the unmoved run goes over the budget",
        thesis: || "not measured".to_owned(),
        of: |runs| of_move(runs, |migration| migration.margin_ms, signed_ms_as_s),
    },
    Quantity {
        name: "Frame intervals, C.V., idle",
        thesis: || {
            let idle = at(&THESIS.table5_intervals_by_cpu_load.cv, 0.0);
            format!("{idle} at 0 % (Table 5)")
        },
        of: |runs| over_runs(runs, |run| run.frame_intervals_ms.idle_cv, cv),
    },
    Quantity {
        name: "Frame intervals, C.V., under load",
        thesis: || {
            let cv = |percent| at(&THESIS.table5_intervals_by_cpu_load.cv, percent);
            let (at_90, at_95, at_100) = (cv(90.0), cv(95.0), cv(100.0));
            format!("{at_90} at 90 %, {at_95} at 95 %, {at_100} at 100 %")
        },
        of: |runs| over_runs(runs, |run| run.frame_intervals_ms.cv, cv),
    },
    Quantity {
        name: "Verdict",
        thesis: || words::UNMEASURED.to_owned(),
        of: verdicts,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_thesis_are_shown_as_printed() {
        let shown: Vec<String> = QUANTITIES.iter().map(|row| (row.thesis)()).collect();
        for expected in [
            "349 ms; mean 344.55 ms (Table 6, 0 %)",
            "3383.25 ms at 100 % (Table 6)",
            "unmoved 8067 ms at 100 %; moved: “kept under 400 ms”",
            "90 %, without forecasting (4.3.1)",
            "about 8 s at 95 % (8.13 s; 10.8 s at 100 %, Table 7)",
            "at most 500 ms permitted (4.1)",
            "0.46 at 90 %, 0.73 at 95 %, 1.62 at 100 %",
        ] {
            assert!(
                shown.iter().any(|text| text == expected),
                "{expected}: {shown:?}"
            );
        }
    }
}

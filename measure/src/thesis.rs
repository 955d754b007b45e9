//! What the thesis printed, for the column beside our runs: "Service Function Reallocation Method for Low-latency Video
//! Live Streaming in Multi-access Edge Computing", Osaka University, 2019.

use record::results::{Migration, Run};

use crate::words::{self, cv, ms, ms_as_s, over_runs, percent, percent_of_time, s, signed_ms_as_s};

/// A quantity, the thesis' word on it, and how it is read from runs of one policy.
pub struct Quantity {
    /// What is measured.
    pub name: &'static str,
    /// What the thesis prints, and where.
    pub thesis: &'static str,
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

/// The rows of the table beside the thesis.
pub const QUANTITIES: [Quantity; 17] = [
    Quantity {
        name: "Picture age, idle, median",
        thesis: "349 ms; mean 344.55 ms (Table 6, 0 %)",
        of: |runs| over_runs(runs, |run| run.picture_age_ms.idle_median, ms),
    },
    Quantity {
        name: "Picture age under load, mean",
        thesis: "3383 ms at 100 % (Table 6)",
        of: |runs| over_runs(runs, |run| run.picture_age_ms.mean, ms),
    },
    Quantity {
        name: "Picture age under load, 95th percentile",
        thesis: "not printed; 75th: 5026 ms at 100 %",
        of: |runs| over_runs(runs, |run| run.picture_age_ms.p95, ms),
    },
    Quantity {
        name: "Picture age under load, maximum",
        thesis: "unmoved 8067 ms at 100 %; moved: “kept under 400 ms”",
        of: |runs| over_runs(runs, |run| run.picture_age_ms.max, ms),
    },
    Quantity {
        name: "Time within the budget, under load",
        thesis: "not printed",
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
        thesis: "“after the CPU load is over 85 %” it rises (4.3.2)",
        of: |runs| over_runs(runs, |run| run.over_budget_at_s, s),
    },
    Quantity {
        name: "Load at the start of the move, by SNMP",
        thesis: "90 %, without forecasting (4.3.1)",
        of: |runs| of_move(runs, |migration| migration.source_load_snmp, percent),
    },
    Quantity {
        name: "Load at the start of the move, true",
        thesis: "not printed",
        of: |runs| of_move(runs, |migration| migration.source_load_true, percent),
    },
    Quantity {
        name: "Total migration time",
        thesis: "about 8 s at 95 % (8.13 s; 10.8 s at 100 %, Table 7)",
        of: |runs| of_move(runs, |migration| migration.total_ms, ms_as_s),
    },
    Quantity {
        name: "Predicted total migration time (p95)",
        thesis: "fixed: 8 s (4.2)",
        of: |runs| of_move(runs, |migration| migration.predicted_total_ms, ms_as_s),
    },
    Quantity {
        name: "Downtime, the engine's figure",
        thesis: "at most 500 ms permitted (4.1)",
        of: |runs| of_move(runs, |migration| migration.downtime_ms, ms),
    },
    Quantity {
        name: "Longest gap that the viewer saw at the move",
        thesis: "not printed",
        of: |runs| of_move(runs, |migration| migration.viewer_gap_ms, ms),
    },
    Quantity {
        name: "Picture age after the move, median",
        thesis: "“calm after it” (4.3.2)",
        of: |runs| over_runs(runs, |run| run.picture_age_ms.after_move_median, ms),
    },
    Quantity {
        name: "Margin before the unmoved run goes over the budget",
        thesis: "not measured",
        of: |runs| of_move(runs, |migration| migration.margin_ms, signed_ms_as_s),
    },
    Quantity {
        name: "Frame intervals, C.V., idle",
        thesis: "0.31 at 0 % (Table 5)",
        of: |runs| over_runs(runs, |run| run.frame_intervals_ms.idle_cv, cv),
    },
    Quantity {
        name: "Frame intervals, C.V., under load",
        thesis: "0.46 at 90 %, 0.73 at 95 %, 1.62 at 100 %",
        of: |runs| over_runs(runs, |run| run.frame_intervals_ms.cv, cv),
    },
    Quantity {
        name: "Verdict",
        thesis: "–",
        of: verdicts,
    },
];

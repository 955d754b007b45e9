//! Made-up comparisons.

use std::collections::BTreeMap;

use super::policies::Table;
use crate::contest::summary::{Mean, Spread};
use crate::contest::{Comparison, Contestant, Summary};

const NOTHING: Spread = Spread {
    p5: None,
    p50: None,
    p95: None,
};

/// Who never moved and had nothing to prevent.
pub(super) fn summary() -> Summary {
    Summary {
        preventable: 0,
        prevented: 0,
        deadline_met_share: None,
        deadline_met_share_95: None,
        seconds_above_knee: 0.0,
        seconds_above_knee_95: None,
        excess_share: None,
        viewer_seconds_over_400ms: None,
        moves: 0,
        useless_moves: 0,
        undone_moves: 0,
        overflowing_moves: 0,
        margin_s: NOTHING,
        precision: None,
        recall: None,
        lead_s: NOTHING,
        prediction_error: NOTHING,
    }
}

/// Who prevented `prevented` of 200, left `seconds` above the knee, and moved `moves` times.
fn judged(prevented: u64, seconds: f64, moves: u64) -> Summary {
    let share = prevented as f64 / 200.0;
    let about = |mean: f64| {
        Some(Mean {
            mean,
            low: mean * 0.9 - 0.01,
            high: mean * 1.1 + 0.01,
        })
    };
    let margins = Spread {
        p5: Some(share * 20.0 - 15.0),
        p50: Some(share * 8.0 - 2.0),
        p95: Some(share * 300.0),
    };
    Summary {
        preventable: 200,
        prevented,
        deadline_met_share: Some(share),
        deadline_met_share_95: about(share),
        seconds_above_knee: seconds,
        seconds_above_knee_95: about(seconds / 5.0),
        excess_share: Some((seconds - 100.0) / 100.0),
        viewer_seconds_over_400ms: Some(seconds * 1.5),
        moves,
        useless_moves: moves / 5,
        undone_moves: moves / 9,
        overflowing_moves: moves / 7,
        margin_s: if moves > 0 { margins } else { NOTHING },
        precision: (moves > 0).then_some(0.8),
        ..summary()
    }
}

/// Everybody, with figures that differ. `sandpiper@5s` is the best rule.
fn table() -> Table {
    let row = |(number, contestant): (usize, Contestant)| {
        let name = contestant.name();
        let number = number as u64;
        let summary = match name.as_str() {
            "oracle" => judged(200, 100.0, 210),
            "deadline" => judged(196, 110.0, 230),
            "threshold" => judged(120, 150.0, 240),
            "never" => judged(0, 200.0, 0),
            "sandpiper@5s" => judged(170, 130.0, 400),
            _ => judged(7 * number, 190.0 - 2.0 * number as f64, 50 * (number % 4)),
        };
        (name, summary)
    };
    Contestant::all().into_iter().enumerate().map(row).collect()
}

/// Of a trace, some families, and an input of which the name is no good.
pub(super) fn comparison() -> Comparison {
    let names = [
        "20110303-linear",
        "20110303-noisy",
        "20110303-step",
        "a <stranger> & \"more\"",
        "burst",
        "ramp-0.5",
        "ramp-10",
        "ramp-2",
        "step",
    ];
    Comparison {
        parameters: "0123456789abcdef".to_owned(),
        inputs: names.map(|name| format!("{name} x 5")).into(),
        policies: table(),
        by_input: names.map(|name| (name.to_owned(), table())).into(),
        feasible_s: names.map(|name| (name.to_owned(), 105.0)).into(),
    }
}

/// Nobody ran through nothing.
pub(super) fn nothing() -> Comparison {
    Comparison {
        parameters: "0123456789abcdef".to_owned(),
        inputs: Vec::new(),
        policies: BTreeMap::new(),
        by_input: BTreeMap::new(),
        feasible_s: BTreeMap::new(),
    }
}

//! What is claimed of the system, judged from the runs of each profile.

use std::collections::BTreeMap;

use record::results::{Evidence, Promise, Run};
use serde_json::{Value, json};

use crate::experiment::UNMOVED;

/// The unmoved p95 of picture age is at least this many times the idle p95 of the same run.
pub const EXPLOSION_MIN: f64 = 5.0;
/// With `deadline`, at least this share of the `load` phase is within the budget.
pub const SHARE_UNDER_BUDGET_MIN: f64 = 0.99;
/// The median after the move is within this share of the idle median …
pub const CALM_SHARE_MAX: f64 = 0.20;
/// … or within this many milliseconds of it.
pub const CALM_MS_MAX: f64 = 10.0;
/// Nothing freezes for this long.
pub const FREEZE_MS_MAX: f64 = 1_000.0;

/// A claim about the runs of one policy.
struct Claim {
    id: &'static str,
    policy: &'static str,
    /// The only profile that it is made for.
    only: Option<&'static str>,
    text: &'static str,
    judge: fn(&Run) -> Judgement,
}

struct Judgement {
    holds: Option<bool>,
    values: Value,
}

const CLAIMS: [Claim; 8] = [
    Claim {
        id: "unmoved-explodes",
        policy: UNMOVED,
        only: None,
        text: "Nothing moved: the p95 of picture age under load is at least five times the p95 while idle.",
        judge: |run| {
            let age = &run.picture_age_ms;
            Judgement {
                holds: age
                    .p95
                    .zip(age.idle_p95)
                    .map(|(load, idle)| load >= EXPLOSION_MIN * idle),
                values: json!({ "p95_ms": age.p95, "idle_p95_ms": age.idle_p95 }),
            }
        },
    },
    Claim {
        id: "unmoved-over-budget",
        policy: UNMOVED,
        only: None,
        text: "Nothing moved: the p95 of picture age under load is over the budget.",
        judge: |run| {
            let (p95, budget) = (run.picture_age_ms.p95, run.plan.budget_ms);
            Judgement {
                holds: p95.map(|p95| p95 > budget),
                values: json!({ "p95_ms": p95, "budget_ms": budget, "over_budget_at_s": run.over_budget_at_s }),
            }
        },
    },
    Claim {
        id: "deadline-margin",
        policy: "deadline",
        only: None,
        text: "With deadline, the viewer sees the function at its new place before the unmoved run goes over the budget.",
        judge: |run| {
            let migration = run.migration.as_ref();
            Judgement {
                holds: migration.map_or(Some(false), |migration| migration.deadline_met),
                values: json!({ "margin_ms": migration.and_then(|migration| migration.margin_ms) }),
            }
        },
    },
    Claim {
        id: "deadline-under-budget",
        policy: "deadline",
        only: None,
        text: "With deadline, the picture age is within the budget at least 99 % of the time under load.",
        judge: |run| {
            let share = run.picture_age_ms.share_under_budget;
            Judgement {
                holds: share.map(|share| share >= SHARE_UNDER_BUDGET_MIN),
                values: json!({ "share_under_budget": share, "max_ms": run.picture_age_ms.max }),
            }
        },
    },
    Claim {
        id: "deadline-calm-after",
        policy: "deadline",
        only: None,
        text: "With deadline, the median after the move is within 20 % or 10 ms of the idle one.",
        judge: |run| {
            let age = &run.picture_age_ms;
            let calm = |(after, idle): (f64, f64)| {
                (after - idle).abs() <= CALM_MS_MAX.max(CALM_SHARE_MAX * idle)
            };
            Judgement {
                holds: age.after_move_median.zip(age.idle_median).map(calm),
                values: json!({ "after_move_median_ms": age.after_move_median, "idle_median_ms": age.idle_median }),
            }
        },
    },
    Claim {
        id: "deadline-no-freeze",
        policy: "deadline",
        only: None,
        text: "With deadline, the picture never freezes for 1 s.",
        judge: |run| {
            let freeze = run.frames.longest_freeze_ms;
            Judgement {
                holds: freeze.map(|freeze| freeze < FREEZE_MS_MAX),
                values: json!({ "longest_freeze_ms": freeze }),
            }
        },
    },
    Claim {
        id: "deadline-moved",
        policy: "deadline",
        only: None,
        text: "With deadline, the function moves once, and the verdict is “moved”.",
        judge: |run| {
            let verdict = run
                .migration
                .as_ref()
                .map(|migration| migration.verdict.as_str());
            Judgement {
                holds: Some(verdict == Some("moved") && run.moves == 1),
                values: json!({ "verdict": verdict, "moves": run.moves }),
            }
        },
    },
    Claim {
        id: "threshold-late",
        policy: "threshold",
        only: Some("fast"),
        text: "With threshold, the move comes too late for this ramp: the deadline is missed.",
        judge: |run| {
            let migration = run.migration.as_ref();
            // Without a move only the run's own picture can tell that it came too late.
            let missed = match migration {
                Some(migration) => migration.deadline_met.map(|met| !met),
                None => run.over_budget_at_s.map(|_| true),
            };
            Judgement {
                holds: missed,
                values: json!({ "margin_ms": migration.and_then(|migration| migration.margin_ms) }),
            }
        },
    },
];

/// Judges each claim for each profile that has a run of its policy. A spoilt run proves nothing, neither way.
#[must_use]
pub fn judge(runs: &[Run]) -> Vec<Promise> {
    let mut profiles: Vec<&str> = Vec::new();
    for run in runs {
        if !profiles.contains(&run.plan.profile.as_str()) {
            profiles.push(&run.plan.profile);
        }
    }
    let pairs = profiles
        .iter()
        .flat_map(|profile| CLAIMS.iter().map(move |claim| (*profile, claim)));
    pairs
        .filter_map(|(profile, claim)| judge_one(claim, profile, runs))
        .collect()
}

fn judge_one(claim: &Claim, profile: &str, runs: &[Run]) -> Option<Promise> {
    if claim.only.is_some_and(|only| only != profile) {
        return None;
    }
    let of_claim: Vec<&Run> = runs
        .iter()
        .filter(|run| run.plan.name == claim.policy && run.plan.profile == profile)
        .collect();
    if of_claim.is_empty() {
        return None;
    }
    let figures: Vec<Evidence> = of_claim
        .into_iter()
        .filter(|run| !run.spoilt)
        .map(|run| evidence(claim, run))
        .collect();
    Some(Promise {
        id: format!("{profile}/{}", claim.id),
        profile: profile.to_owned(),
        text: claim.text.to_owned(),
        holds: all_hold(&figures),
        figures,
    })
}

fn evidence(claim: &Claim, run: &Run) -> Evidence {
    let Judgement { holds, values } = (claim.judge)(run);
    let values: BTreeMap<String, Value> = match values {
        Value::Object(values) => values.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    Evidence {
        repeat: run.plan.repeat,
        holds,
        values,
    }
}

/// One run in which it does not hold breaks a promise; one that cannot tell leaves it open.
fn all_hold(figures: &[Evidence]) -> Option<bool> {
    if figures.iter().any(|figure| figure.holds == Some(false)) {
        return Some(false);
    }
    (!figures.is_empty() && figures.iter().all(|figure| figure.holds == Some(true))).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::results::{
        Delay, DrawnBy, ExperimentRun, Frames, Intervals, Migration, PictureAge,
    };

    fn run(profile: &str, name: &str, repeat: u32) -> Run {
        let picture_age_ms = PictureAge {
            p95: Some(500.0),
            idle_p95: Some(100.0),
            share_under_budget: Some(0.99),
            idle_median: Some(80.0),
            after_move_median: Some(96.0),
            ..PictureAge::default()
        };
        Run {
            plan: ExperimentRun {
                folder: String::new(),
                name: name.into(),
                repeat,
                seed: 1,
                profile: profile.into(),
                budget_ms: 400.0,
            },
            spoilt: false,
            foreign_load: None,
            idle_s: None,
            load_s: 90.0,
            picture_age_ms,
            frame_delay_ms: Delay::default(),
            frame_intervals_ms: Intervals::default(),
            packet_intervals_ms: Intervals::default(),
            frames: Frames {
                longest_freeze_ms: Some(999.9),
                ..Frames::default()
            },
            over_budget_at_s: None,
            over_budget_for_good_at_s: None,
            moves: 0,
            migration: None,
            drawn_by: DrawnBy::default(),
        }
    }

    fn moved(mut run: Run, margin_ms: Option<f64>, verdict: &str) -> Run {
        run.moves = 1;
        run.migration = Some(Migration {
            policy: run.plan.name.clone(),
            mode: "pre-copy".into(),
            source: "a".into(),
            target: "b".into(),
            decided_at_s: 40.0,
            started_at_s: Some(41.0),
            resumed_at_s: Some(48.0),
            first_frame_from_target_s: Some(48.1),
            source_load_snmp: None,
            source_load_true: None,
            total_ms: Some(7_000.0),
            downtime_ms: None,
            viewer_gap_ms: None,
            predicted_total_ms: None,
            margin_ms,
            deadline_met: margin_ms.map(|margin| margin > 0.0),
            verdict: verdict.into(),
        });
        run
    }

    fn check(runs: &[Run], id: &str, expected: Option<bool>) {
        let promises = judge(runs);
        let promise = promises.iter().find(|promise| promise.id == id).unwrap();
        assert_eq!(promise.holds, expected, "{promise:?}");
    }

    #[test]
    fn limits_are_limits() {
        let at_limit = [
            run("fast", "none", 1),
            moved(run("fast", "deadline", 1), Some(0.1), "moved"),
        ];
        for promise in judge(&at_limit) {
            assert_eq!(promise.holds, Some(true), "{promise:?}");
        }
        let check_broken = |id: &str, break_it: fn(&mut Run)| {
            let mut runs = at_limit.clone();
            runs.iter_mut().for_each(break_it);
            check(&runs, id, Some(false));
        };
        check_broken("fast/unmoved-explodes", |run| {
            run.picture_age_ms.p95 = Some(499.9)
        });
        check_broken("fast/unmoved-over-budget", |run| {
            run.picture_age_ms.p95 = Some(400.0)
        });
        check_broken("fast/deadline-under-budget", |run| {
            run.picture_age_ms.share_under_budget = Some(0.9899)
        });
        check_broken("fast/deadline-calm-after", |run| {
            run.picture_age_ms.after_move_median = Some(96.1)
        });
        check_broken("fast/deadline-no-freeze", |run| {
            run.frames.longest_freeze_ms = Some(1_000.0)
        });
        check_broken("fast/deadline-moved", |run| run.moves = 2);
    }

    #[test]
    fn ten_milliseconds_are_calm_even_where_they_are_more_than_a_fifth() {
        let mut quick = moved(run("fast", "deadline", 1), Some(1.0), "moved");
        quick.picture_age_ms.idle_median = Some(30.0);
        quick.picture_age_ms.after_move_median = Some(40.0);
        check(&[quick.clone()], "fast/deadline-calm-after", Some(true));
        quick.picture_age_ms.after_move_median = Some(40.1);
        check(&[quick], "fast/deadline-calm-after", Some(false));
    }

    #[test]
    fn without_a_move_nothing_was_in_time() {
        let mut unmoved = run("fast", "deadline", 1);
        check(&[unmoved.clone()], "fast/deadline-margin", Some(false));
        check(&[unmoved.clone()], "fast/deadline-moved", Some(false));
        unmoved.plan.name = "threshold".into();
        check(&[unmoved.clone()], "fast/threshold-late", None);
        unmoved.over_budget_at_s = Some(60.0);
        check(&[unmoved], "fast/threshold-late", Some(true));
    }

    #[test]
    fn one_run_that_fails_breaks_the_promise_one_that_cannot_tell_leaves_it_open() {
        let with = |repeat, margin| moved(run("slow", "deadline", repeat), margin, "moved");
        check(
            &[with(1, Some(5.0)), with(2, Some(-5.0)), with(3, None)],
            "slow/deadline-margin",
            Some(false),
        );
        check(
            &[with(1, Some(5.0)), with(2, None)],
            "slow/deadline-margin",
            None,
        );
        check(
            &[with(1, Some(5.0)), with(2, Some(6.0))],
            "slow/deadline-margin",
            Some(true),
        );
    }

    #[test]
    fn a_spoilt_run_counts_neither_way() {
        let mut spoilt = moved(run("slow", "deadline", 2), Some(-5.0), "stayed");
        spoilt.spoilt = true;
        let good = moved(run("slow", "deadline", 1), Some(5.0), "moved");
        check(&[good, spoilt.clone()], "slow/deadline-margin", Some(true));
        check(&[spoilt], "slow/deadline-margin", None);
    }

    #[test]
    fn threshold_is_promised_to_be_late_on_fast_only() {
        let runs = [moved(run("slow", "threshold", 1), Some(5.0), "moved")];
        assert_eq!(judge(&runs), []);
    }
}

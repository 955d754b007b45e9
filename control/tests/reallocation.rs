//! One move, from its plan to its verdict.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Bench, host, seconds, settings, words};
use forestall_control::{HandOver, Input};
use record::Residency::{Absent, Paused, Running, Unreachable};
use record::{Event, Residency, VmName};

/// What comes in after a start.
enum In {
    Copied,
    CopyFailed,
    Seen(Residency, Residency),
    Acted,
    ActFailed,
    Refused,
    /// Seconds since the start.
    Until(f64),
}
use In::{ActFailed, Acted, Copied, CopyFailed, Refused, Seen, Until};

/// Gives each input to a function that began to move from `a` to `b`; what is decided is `expected`, in order.
fn check(steps: &[(In, &[&str])], residence: &str) -> Bench {
    check_with(HandOver::Held, steps, residence)
}

fn check_with(hand_over: HandOver, steps: &[(In, &[&str])], residence: &str) -> Bench {
    let mut told = settings();
    told.hand_over = hand_over;
    let mut bench = Bench::copying(told);
    for (number, (input, expected)) in steps.iter().enumerate() {
        let events = match input {
            Copied => bench.copied(1),
            CopyFailed => bench.copy_failed(1),
            Seen(target, source) => bench.seen(1, *target, *source),
            Acted => bench.acted(1),
            ActFailed => {
                let failure = Some("no answer".to_owned());
                bench.give(Input::Acted {
                    migration: 1,
                    failure,
                })
            }
            Refused => {
                let reason = "no room".to_owned();
                bench.give(Input::Refused {
                    migration: 1,
                    reason,
                })
            }
            Until(s) => bench.until(5.0 + s),
        };
        assert_eq!(words(&events), *expected, "step {number}");
    }
    let vm = VmName::new("f").unwrap();
    assert_eq!(bench.controller.residence(&vm), Some(&host(residence)));
    bench
}

#[test]
fn moved() {
    check(
        &[
            (Copied, &["inspect"]),
            (Seen(Paused, Paused), &["run target"]),
            (Acted, &["inspect"]),
            (Seen(Running, Paused), &["discard source"]),
            (Acted, &["inspect"]),
            (Seen(Running, Absent), &["settled moved"]),
        ],
        "b",
    );
}

#[test]
fn refused() {
    let mut bench = check(&[(Refused, &["inspect"]), (Copied, &[])], "a");
    // What is held at the target is not of this move's making: it is left alone.
    let events = bench.seen(1, Paused, Running);
    assert_eq!(words(&events), ["settled stayed"]);
    let Some(Event::Settled {
        target,
        source,
        failure,
        ..
    }) = events.first()
    else {
        panic!("{events:?}");
    };
    assert_eq!((*target, *source), (Paused, Running), "as it was seen");
    assert_eq!(failure.as_deref(), Some("no room"));
}

#[test]
fn refused_runs_and_discards_nothing() {
    for (target, source, expected, residence) in [
        (Absent, Absent, &["alarm lost", "settled lost"][..], "a"),
        (Paused, Paused, &["alarm blackout", "settled blackout"], "a"),
        (Absent, Paused, &["alarm blackout", "settled blackout"], "a"),
        (Running, Paused, &["settled moved"], "b"),
    ] {
        check(
            &[
                (Refused, &["inspect"]),
                (Seen(Absent, Unreachable), &["alarm unknown"]),
                (Until(0.5), &["inspect"]),
                (Seen(target, source), expected),
            ],
            residence,
        );
    }
}

#[test]
fn a_driver_that_never_answers_an_action() {
    check(
        &[
            (CopyFailed, &["inspect"]),
            (Seen(Absent, Running), &["discard target"]),
            (Until(29.9), &[]),
            (Until(30.0), &["inspect"]),
            // It was told once to clear away the target; the guest runs at the source, so the move is over.
            (Seen(Absent, Running), &["settled stayed"]),
        ],
        "a",
    );
    check(
        &[
            (Copied, &["inspect"]),
            (Seen(Paused, Paused), &["run target"]),
            (Until(30.0), &["inspect"]),
            // It is held still: the driver may not have reached it.
            (Seen(Paused, Paused), &["run target"]),
            (Acted, &["inspect"]),
            (Seen(Running, Paused), &["discard source"]),
        ],
        "a",
    );
}

#[test]
fn a_driver_that_never_answers_an_inspection() {
    check(
        &[
            (Copied, &["inspect"]),
            (Until(30.0), &["alarm unknown"]),
            (Until(30.5), &["inspect"]),
            (Until(60.5), &[]),
            (Until(61.0), &["inspect"]),
            (Seen(Running, Absent), &["discard source"]),
            (Acted, &["inspect"]),
            (Seen(Running, Absent), &["settled moved"]),
        ],
        "b",
    );
}

#[test]
fn copy_failed() {
    check(
        &[
            (CopyFailed, &["inspect"]),
            (Seen(Absent, Running), &["discard target"]),
            (Acted, &["inspect"]),
            (Seen(Absent, Running), &["settled stayed"]),
        ],
        "a",
    );
}

#[test]
fn target_killed() {
    check(
        &[
            (Copied, &["inspect"]),
            (Seen(Absent, Running), &["discard target"]),
            (ActFailed, &["inspect"]),
            (Seen(Absent, Running), &["settled stayed"]),
        ],
        "a",
    );
}

#[test]
fn a_peer_that_only_reads() {
    check(
        &[
            (Copied, &["inspect"]),
            (Seen(Absent, Paused), &["run source"]),
            (Acted, &["inspect"]),
            (Seen(Absent, Running), &["discard target"]),
            (Acted, &["inspect"]),
            (Seen(Absent, Running), &["settled stayed"]),
        ],
        "a",
    );
}

#[test]
fn an_end_that_does_not_answer() {
    check(
        &[
            (Copied, &["inspect"]),
            (Seen(Paused, Unreachable), &["alarm unknown"]),
            (Until(0.4), &[]),
            (Until(0.5), &["inspect"]),
            (Seen(Unreachable, Paused), &[]),
            (Until(1.0), &["inspect"]),
            (Seen(Paused, Paused), &["run target"]),
            (Acted, &["inspect"]),
            (Seen(Running, Paused), &["discard source"]),
            (Acted, &["inspect"]),
            (Seen(Running, Absent), &["settled moved"]),
        ],
        "b",
    );
}

#[test]
fn split_and_lost_wait_for_a_person() {
    for (target, source, verdict) in [(Running, Running, "split"), (Absent, Absent, "lost")] {
        let (alarm, settled) = (format!("alarm {verdict}"), format!("settled {verdict}"));
        let mut bench = check(
            &[
                (Copied, &["inspect"]),
                (Seen(target, source), &[]),
                (Until(0.5), &["inspect"]),
                (Seen(target, source), &[&alarm, &settled]),
            ],
            "a",
        );
        // Nothing is done to it any more, however full its host is.
        for at in [200.0, 205.0, 210.0] {
            bench.sample("b", at, 0.0);
            assert!(words(&bench.sample("a", at, 1.0)).is_empty(), "{verdict}");
        }
    }
}

#[test]
fn a_run_that_does_not_take_is_not_tried_for_ever() {
    check(
        &[
            (Copied, &["inspect"]),
            (Seen(Paused, Paused), &["run target"]),
            (ActFailed, &["inspect"]),
            (Seen(Paused, Paused), &["run target"]),
            (ActFailed, &["inspect"]),
            (Seen(Paused, Paused), &["run target"]),
            (ActFailed, &["inspect"]),
            (
                Seen(Paused, Paused),
                &["alarm blackout", "settled blackout"],
            ),
        ],
        "a",
    );
}

#[test]
fn a_refused_move_whose_target_does_not_answer_keeps_nobody() {
    check(
        &[
            (Refused, &["inspect"]),
            (Seen(Unreachable, Running), &["settled stayed"]),
        ],
        "a",
    );
}

#[test]
fn split_and_lost_are_looked_at_twice() {
    // An engine that hands over by itself did so between the two looks.
    check(
        &[
            (Copied, &["inspect"]),
            (Seen(Absent, Absent), &[]),
            (Until(0.5), &["inspect"]),
            (Seen(Running, Absent), &["discard source"]),
        ],
        "a",
    );
}

#[test]
fn copying_is_given_up_at_four_times_the_prediction() {
    // 10 s at least, and `migration_ms_max` (60 s) at most.
    for (predicted_s, given_up_s) in [(1.0, 10.0), (7.5, 30.0), (20.0, 60.0)] {
        let mut told = settings();
        told.functions[0].migration_ms = predicted_s * 1e3;
        let mut bench = Bench::copying(told);
        assert!(bench.until(5.0 + given_up_s - 0.001).is_empty());
        let events = bench.until(5.0 + given_up_s);
        assert_eq!(words(&events), ["cancel"], "{predicted_s}");
    }
}

#[test]
fn late_cancel_that_completed() {
    check(
        &[
            (Until(30.0), &["cancel"]),
            (Copied, &[]),
            (Acted, &["inspect"]),
            (Seen(Paused, Paused), &["run target"]),
            (Acted, &["inspect"]),
            (Seen(Running, Paused), &["discard source"]),
            (Acted, &["inspect"]),
            (Seen(Running, Absent), &["settled moved"]),
        ],
        "b",
    );
}

#[test]
fn an_engine_that_hands_over_by_itself() {
    check_with(
        HandOver::ByEngine,
        &[
            (Copied, &["inspect"]),
            (Seen(Paused, Paused), &["alarm blackout"]),
            (Until(0.5), &["inspect"]),
            (Seen(Running, Absent), &["discard source"]),
            (Acted, &["inspect"]),
            (Seen(Running, Absent), &["settled moved"]),
        ],
        "b",
    );
}

#[test]
fn cooldown_doubles_after_failures() {
    let mut bench = Bench::new(settings());
    let mut at = 5.0;
    for (migration, expected) in [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 1920.0]
        .into_iter()
        .enumerate()
    {
        let migration = migration as u64 + 1;
        bench.until(at);
        bench.sample("b", at, 0.0);
        let events = bench.sample("a", at, 0.95);
        assert_eq!(words(&events), ["start a>b"], "{at}");
        bench.copy_failed(migration);
        bench.seen(migration, Absent, Running);
        bench.acted(migration);
        let events = bench.seen(migration, Absent, Running);
        let Some(Event::Settled {
            cooldown_until_us, ..
        }) = events.first()
        else {
            panic!("{events:?}");
        };
        assert_eq!(*cooldown_until_us, seconds(at + expected));
        at += expected;
    }
}

#[test]
fn a_function_that_cools_down_does_not_keep_another_from_moving() {
    let mut told = settings();
    let mut second = told.functions[0].clone();
    second.vm = VmName::new("g").unwrap();
    told.functions.push(second);
    let mut bench = Bench::copying(told);
    bench.copy_failed(1);
    bench.seen(1, Absent, Running);
    bench.acted(1);
    let events = bench.seen(1, Absent, Running);
    assert_eq!(words(&events), ["settled stayed", "start a>b"]);
    assert!(matches!(&events[1], Event::Start { vm, .. } if vm.as_str() == "g"));
}

/// The cancel was not confirmed, and copying ended between the look and the discard: the guest stands still at the source, and
/// nobody would know.
#[test]
fn copy_that_ends_while_the_target_is_discarded() {
    check(
        &[
            (CopyFailed, &["inspect"]),
            (Seen(Absent, Running), &["discard target"]),
            (Acted, &["inspect"]),
            (Seen(Absent, Paused), &["run source"]),
            (Acted, &["inspect"]),
            (Seen(Absent, Running), &["settled stayed"]),
        ],
        "a",
    );
}

//! Every reason for not moving has a test of its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Bench, fleet, seconds, settings, share, words};
use forestall_control::{Mobility, Policy};
use record::Residency::{Absent, Running};
use record::decision::HoldReason;

fn deadline() -> Policy {
    Policy::Deadline {
        knee: share(0.95),
        copying_extra: 0.05,
        decision_ms: 500.0,
        margin_sd: 0.0,
    }
}

#[test]
fn never_moves() {
    let mut told = settings();
    told.policy = Policy::None;
    let events = Bench::new(told).sample("a", 5.0, 1.0);
    assert_eq!(Bench::reason(&events, "a"), HoldReason::NeverMoves);
}

#[test]
fn nothing_to_move() {
    let events = Bench::new(settings()).sample("b", 5.0, 1.0);
    assert_eq!(Bench::reason(&events, "b"), HoldReason::NothingToMove);
}

#[test]
fn no_sample() {
    // A host whose agent never answers is not passed over in silence.
    let mut bench = Bench::new(settings());
    for minute in 0..3 {
        let events = bench.until(f64::from(minute) * 60.0);
        assert_eq!(Bench::reason(&events, "a"), HoldReason::NoSample);
    }
}

#[test]
fn stale_sample() {
    let mut bench = Bench::new(settings());
    bench.until(5.0);
    bench.sample("a", 5.0, 0.5);
    assert!(
        bench.until(17.0).is_empty(),
        "a sample of exactly the limit is good"
    );
    let events = bench.until(17.1);
    assert_eq!(
        Bench::reason(&events, "a"),
        HoldReason::StaleSample { limit_ms: 12e3 }
    );
}

#[test]
fn sample_before_move() {
    let mut bench = Bench::copying(settings());
    bench.now = seconds(12.0);
    bench.copied(1);
    bench.seen(1, Running, Absent);
    bench.acted(1);
    let events = bench.seen(1, Running, Absent);
    let before = HoldReason::SampleBeforeMove {
        moved_at_us: seconds(12.0),
    };
    assert_eq!(Bench::reason(&events, "b"), before);
    // A mean over a time in which the function was not there decides nothing, however high.
    assert!(bench.sample("b", 15.0, 1.0).is_empty());
    let events = bench.sample("b", 17.0, 0.5);
    assert_eq!(Bench::reason(&events, "b"), HoldReason::BelowThreshold);
}

#[test]
fn below_threshold() {
    let events = Bench::new(settings()).sample("a", 5.0, 0.899);
    assert_eq!(Bench::reason(&events, "a"), HoldReason::BelowThreshold);
}

#[test]
fn not_due() {
    let mut told = settings();
    told.policy = deadline();
    let events = Bench::new(told).sample("a", 5.0, 0.5);
    assert_eq!(Bench::reason(&events, "a"), HoldReason::NotDue);
}

#[test]
fn not_sustained() {
    let mut told = settings();
    told.limits.sustained_samples = 2;
    let mut bench = Bench::new(told);
    bench.sample("b", 5.0, 0.0);
    let events = bench.sample("a", 5.0, 0.95);
    let (samples, needed) = (1, 2);
    assert_eq!(
        Bench::reason(&events, "a"),
        HoldReason::NotSustained { samples, needed }
    );
    // The same sample once more is no second one.
    assert!(common::words(&bench.sample("a", 5.0, 0.95)).is_empty());
    assert_eq!(common::words(&bench.sample("a", 10.0, 0.95)), ["start a>b"]);
}

#[test]
fn busy() {
    let events = Bench::copying(settings()).sample("a", 10.0, 1.0);
    assert_eq!(
        Bench::reason(&events, "a"),
        HoldReason::Busy { migration: 1 }
    );
}

#[test]
fn cooling_down() {
    let mut bench = Bench::copying(settings());
    bench.copy_failed(1);
    bench.seen(1, Absent, Running);
    bench.acted(1);
    let events = bench.seen(1, Absent, Running);
    // A failure doubles the 30 s.
    let until_us = seconds(65.0);
    assert_eq!(
        Bench::reason(&events, "a"),
        HoldReason::CoolingDown { until_us }
    );
}

#[test]
fn no_target_fits() {
    for (load_of_b, expected) in [(None, None), (Some(0.5), Some(0.8))] {
        let mut bench = Bench::new(settings());
        if let Some(load) = load_of_b {
            bench.sample("b", 5.0, load);
        }
        let events = bench.sample("a", 5.0, 0.95);
        let HoldReason::NoTargetFits {
            candidates,
            considered,
            ..
        } = Bench::reason(&events, "a")
        else {
            panic!("{events:?}");
        };
        assert_eq!((candidates.len(), considered), (1, 1));
        assert_eq!(candidates[0].load, expected);
    }
}

#[test]
fn no_gain() {
    let mut told = settings();
    told.limits.target_load_max = share(1.0);
    let mut bench = Bench::new(told);
    bench.sample("b", 5.0, 0.6);
    let events = bench.sample("a", 5.0, 0.95);
    let reason = Bench::reason(&events, "a");
    assert!(
        matches!(reason, HoldReason::NoGain { target_load, .. } if (target_load - 0.9).abs() < 1e-9)
    );
}

#[test]
fn nothing_free() {
    let mut told = settings();
    told.functions[0].mobility = Mobility::Pinned;
    let events = Bench::new(told).sample("a", 5.0, 1.0);
    assert_eq!(Bench::reason(&events, "a"), HoldReason::NothingFree);
}

#[test]
fn moves_at_once() {
    let mut bench = Bench::new(fleet(4, &[("f", "a"), ("g", "b")], |told| {
        told.limits.moves_at_once_max = 1;
    }));
    for host in ["c", "d"] {
        bench.sample(host, 5.0, 0.1);
    }
    assert_eq!(words(&bench.sample("a", 5.0, 0.95)), ["start a>c"]);
    let events = bench.sample("b", 5.0, 0.95);
    let limit = 1;
    assert_eq!(
        Bench::reason(&events, "b"),
        HoldReason::MovesAtOnce { limit }
    );
    // It waits for no sample of its own: the end of the other move is enough.
    bench.copied(1);
    bench.seen(1, Running, Absent);
    bench.acted(1);
    let events = bench.seen(1, Running, Absent);
    assert_eq!(words(&events), ["settled moved", "start b>d"]);
}

#[test]
fn no_useful_move() {
    let mut told = settings();
    told.policy = deadline();
    told.limits.sustained_samples = 4;
    // A fall that is believed: in a minute the host is as good as the target.
    let mut bench = Bench::new(told);
    bench.sample("b", 5.0, 0.3);
    let mut events = Vec::new();
    for (at_s, load) in [(5.0, 0.99), (10.0, 0.97), (15.0, 0.95)] {
        bench.sample("b", at_s, 0.3);
        events.extend(bench.sample("a", at_s, load));
    }
    let HoldReason::NoUsefulMove { target, gain, .. } = Bench::reason(&events, "a") else {
        panic!("{events:?}");
    };
    assert_eq!(target, common::host("b"));
    assert!(gain.move_ms >= gain.stay_ms, "{gain:?}");
}

#[test]
fn a_hold_is_said_once_a_minute() {
    let mut bench = Bench::new(settings());
    let said = (1..=24).map(|i| bench.sample("a", f64::from(i) * 5.0, 0.5).len());
    assert_eq!(said.sum::<usize>(), 2);
}

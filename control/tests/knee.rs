//! A knee of a host's own, as its viewers have taught it: when it is left, how it is a target, and who does not know of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Bench, fleet, host, seconds, share, words};
use forestall_control::{Input, Policy, Settings};
use record::Event;
use record::Residency::{Absent, Running};
use record::decision::{Evidence, HoldReason, Unfit};

fn deadline(told: &mut Settings) {
    told.policy = Policy::Deadline {
        knee: share(0.95),
        copying_extra: 0.0,
        decision_ms: 500.0,
        margin_sd: 0.0,
    };
    told.limits.sustained_samples = 2;
}

fn knee(name: &str, knee: impl Into<Option<f64>>) -> Input {
    Input::Knee {
        host: host(name),
        knee: knee.into().map(share),
    }
}

/// Three samples each of `a`, which has the function, and of the others; nothing is due at the configured knee.
fn steady(loads: &[(&str, f64)], change: impl FnOnce(&mut Settings)) -> Bench {
    let told = fleet(loads.len(), &[("f", "a")], |told| {
        deadline(told);
        change(told);
    });
    let mut bench = Bench::new(told);
    for at_s in [5.0, 10.0, 15.0] {
        for (name, load) in loads {
            let events = bench.sample(name, at_s, *load);
            assert!(words(&events).is_empty(), "{events:?}");
        }
    }
    bench
}

fn evidence(bench: &Bench) -> Evidence {
    bench.controller.view(bench.now).hosts[0].evidence.clone()
}

#[test]
fn late_pictures_now_are_a_move_now() {
    for (own, expected) in [
        (Some(0.72), &["start a>b"][..]),
        (Some(0.8), &[]),
        (Some(1.0), &[]),
        (None, &[]),
    ] {
        let mut bench = steady(&[("a", 0.75), ("b", 0.1)], |_| {});
        let events = bench.give(knee("a", own));
        assert_eq!(words(&events), expected, "{own:?}: {events:?}");
    }
}

#[test]
fn the_log_names_the_knee_that_was_used() {
    let mut bench = steady(&[("a", 0.75), ("b", 0.1)], |_| {});
    let before = evidence(&bench);
    assert_eq!(
        (before.knee, before.knee_configured),
        (Some(share(0.95)), None)
    );
    let events = bench.give(knee("a", 0.72));
    let [Event::Start { gain, evidence, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(evidence.knee, Some(share(0.72)));
    assert_eq!(evidence.knee_configured, Some(share(0.95)));
    // By the curve as it was measured the pictures would be 57 ms old: viewers have said otherwise.
    let gain = gain.unwrap();
    assert!(
        gain.stay_ms > 200.0 && gain.move_ms < gain.stay_ms / 2.0,
        "{gain:?}"
    );
}

#[test]
fn a_knee_is_taken_back() {
    let mut bench = steady(&[("a", 0.75), ("b", 0.75)], |_| {});
    bench.give(knee("a", 0.72));
    bench.give(knee("a", None));
    let after = evidence(&bench);
    assert_eq!(
        (after.knee, after.knee_configured),
        (Some(share(0.95)), None)
    );
    assert!(words(&bench.sample("a", 20.0, 0.75)).is_empty());
    // The configured one, taught, is no other.
    bench.give(knee("a", 0.95));
    assert_eq!(evidence(&bench).knee_configured, None);
}

#[test]
fn one_sample_over_it_is_not_sustained() {
    let mut bench = steady(&[("a", 0.5), ("b", 0.1)], |_| {});
    bench.sample("a", 20.0, 0.75);
    let events = bench.give(knee("a", 0.72));
    let (samples, needed) = (1, 2);
    assert_eq!(
        Bench::reason(&events, "a"),
        HoldReason::NotSustained { samples, needed }
    );
    assert_eq!(words(&bench.sample("a", 25.0, 0.75)), ["start a>b"]);
}

#[test]
fn a_target_is_limited_and_ranked_by_its_own_knee() {
    // Each with the function on it at 0.3 more, under a limit of 0.75.
    for (of_b, of_c, expected) in [
        (None, None, "start a>b"),
        // As far under its knee as the other is at 0.3.
        (Some(0.8), None, "start a>c"),
        (Some(0.6), Some(0.6), "none fits"),
        // A higher one is no reason to fill a host up.
        (None, Some(1.0), "start a>b"),
    ] {
        let mut bench = steady(&[("a", 0.75), ("b", 0.2), ("c", 0.25)], |_| {});
        bench.give(knee("b", of_b));
        bench.give(knee("c", of_c));
        let events = bench.give(knee("a", 0.72));
        if expected == "none fits" {
            let HoldReason::NoTargetFits { candidates, .. } = Bench::reason(&events, "a") else {
                panic!("{events:?}");
            };
            let b = &candidates[0];
            assert_eq!((b.unfit, b.host.clone()), (Unfit::OverLimit, host("b")));
            assert!((b.limit.share() - 0.4).abs() < 1e-9, "{b:?}");
        } else {
            assert_eq!(words(&events), [expected], "{of_b:?} {of_c:?}");
        }
    }
}

#[test]
fn a_higher_knee_does_not_raise_the_limit_of_a_target() {
    let mut bench = steady(&[("a", 0.9), ("b", 0.5)], |_| {});
    bench.give(knee("b", 1.0));
    let events = bench.give(knee("a", 0.88));
    let reason = Bench::reason(&events, "a");
    assert!(
        matches!(reason, HoldReason::NoTargetFits { .. }),
        "{reason:?}"
    );
}

#[test]
fn other_policies_do_not_know_of_it() {
    let (start_at, none) = (share(0.9), Policy::None);
    for policy in [Policy::Threshold { start_at }, none] {
        let mut bench = steady(&[("a", 0.75), ("b", 0.1), ("c", 0.2)], |told| {
            told.policy = policy.clone();
        });
        for own in [0.0, 0.5, 1.0] {
            for name in ["a", "b"] {
                assert!(bench.give(knee(name, own)).is_empty());
            }
        }
        let evidence = evidence(&bench);
        assert_eq!((evidence.knee, evidence.knee_configured), (None, None));
        if policy != Policy::None {
            bench.give(knee("b", 0.2));
            bench.sample("a", 20.0, 0.95);
            assert_eq!(words(&bench.sample("a", 25.0, 0.95)), ["start a>b"]);
        }
    }
}

#[test]
fn it_is_refused_at_the_door() {
    let line = |host: &str, knee: &str| {
        serde_json::from_str::<Input>(&format!(
            r#"{{ "input": "knee", "host": "{host}", "knee": {knee} }}"#
        ))
    };
    assert_eq!(line("a", "0.72").unwrap(), knee("a", 0.72));
    assert_eq!(line("a", "null").unwrap(), knee("a", None));
    for nonsense in ["1.01", "-0.1", "NaN", "1e999", "\"0.7\""] {
        assert!(line("a", nonsense).is_err(), "{nonsense}");
    }
    // Of a host that is none nothing is learned.
    let mut bench = steady(&[("a", 0.75), ("b", 0.1)], |_| {});
    assert!(bench.give(knee("stranger", 0.1)).is_empty());
}

#[test]
fn a_host_rests_while_nothing_is_on_its_way() {
    let mut bench = steady(&[("a", 0.75), ("b", 0.1), ("c", 0.1)], |_| {});
    let rests = |bench: &Bench, name| bench.controller.rests_since(&host(name));
    assert_eq!(rests(&bench, "a"), Some(seconds(0.0)));
    assert_eq!(rests(&bench, "stranger"), None);
    bench.give(knee("a", 0.72));
    assert_eq!((rests(&bench, "a"), rests(&bench, "b")), (None, None));
    assert_eq!(rests(&bench, "c"), Some(seconds(0.0)));
    bench.now = seconds(20.0);
    bench.copy_failed(1);
    bench.seen(1, Absent, Running);
    bench.acted(1);
    bench.seen(1, Absent, Running);
    // It stayed, and was copied all the same.
    for name in ["a", "b"] {
        assert_eq!(rests(&bench, name), Some(seconds(20.0)), "{name}");
    }
}

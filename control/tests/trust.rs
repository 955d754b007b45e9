//! What a person says to a controller: how far it is trusted, what is approved, ordered, released; and what others do to its
//! functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Bench, fleet, host, seconds, settings, share, words};
use forestall_control::view::Freshness;
use forestall_control::{Input, Mobility, Trust};
use record::Residency::{Absent, Running};
use record::decision::{Cause, HoldReason, Restraint};
use record::{Doubt, Event, HostName, Verdict, VmName};

fn vm() -> VmName {
    VmName::new("f").unwrap()
}

/// A bench so trusted, with a free host `b`, in which a move of `f` from `a` is due at 5 s. What was said then.
fn due(trust: Trust) -> (Bench, Vec<Event>) {
    let mut told = settings();
    told.trust = trust;
    let mut bench = Bench::new(told);
    bench.sample("b", 5.0, 0.0);
    let events = bench.sample("a", 5.0, 0.96);
    (bench, events)
}

fn held_by(events: &[Event]) -> Restraint {
    let HoldReason::HeldBack {
        restraint,
        vm: held,
        target,
        ..
    } = Bench::reason(events, "a")
    else {
        panic!("{events:?}");
    };
    assert_eq!((held, target), (vm(), host("b")));
    restraint
}

fn declined(events: &[Event]) -> HoldReason {
    match events {
        [.., Event::Declined { why, .. }] => why.clone(),
        _ => panic!("{events:?}"),
    }
}

fn approve(target: &str) -> Input {
    let target = host(target);
    Input::Approve { vm: vm(), target }
}

fn order(target: &str) -> Input {
    let target = host(target);
    Input::Order { vm: vm(), target }
}

#[test]
fn an_observer_says_what_it_would_do() {
    let (bench, events) = due(Trust::Observe);
    assert_eq!(held_by(&events), Restraint::Observe);
    assert!(bench.controller.view(seconds(5.0)).moves.is_empty());
}

#[test]
fn a_recommended_move_begins_when_it_is_approved() {
    let (mut bench, events) = due(Trust::Recommend);
    assert_eq!(held_by(&events), Restraint::Approval);
    assert_eq!(words(&bench.give(approve("b"))), ["start a>b"]);
    // One approval is one move.
    bench.copied(1);
    bench.seen(1, Running, Absent);
    bench.acted(1);
    bench.seen(1, Running, Absent);
    bench.sample("a", 40.0, 0.0);
    let events = bench.sample("b", 40.0, 0.96);
    let reason = Bench::reason(&events, "b");
    assert!(matches!(reason, HoldReason::HeldBack { .. }), "{reason:?}");
}

#[test]
fn an_approval_of_what_is_not_due_or_goes_elsewhere_is_declined() {
    let mut told = fleet(3, &[("f", "a")], |_| {});
    told.trust = Trust::Recommend;
    let mut bench = Bench::new(told);
    for idle in ["b", "c"] {
        bench.sample(idle, 5.0, if idle == "b" { 0.0 } else { 0.3 });
    }
    bench.sample("a", 5.0, 0.5);
    assert_eq!(
        declined(&bench.give(approve("b"))),
        HoldReason::BelowThreshold
    );
    bench.sample("a", 10.0, 0.96);
    let reason = declined(&bench.give(approve("c")));
    assert!(
        matches!(&reason, HoldReason::HeldBack { target, .. } if *target == host("b")),
        "{reason:?}"
    );
    // It was for that one time.
    let events = bench.sample("a", 15.0, 0.96);
    assert!(words(&events).is_empty(), "{events:?}");
}

#[test]
fn an_approval_of_what_has_begun_already_is_declined() {
    let (mut bench, _) = due(Trust::Recommend);
    bench.give(approve("b"));
    assert_eq!(
        declined(&bench.give(approve("b"))),
        HoldReason::Busy { migration: 1 }
    );
}

#[test]
fn who_empties_a_host_needs_not_approve_of_each_move() {
    let mut told = settings();
    told.trust = Trust::Recommend;
    let mut bench = Bench::new(told);
    bench.sample("b", 5.0, 0.0);
    bench.sample("a", 5.0, 0.3);
    let events = bench.give(Input::Drain { host: host("a") });
    assert_eq!(words(&events), ["start a>b"]);
}

#[test]
fn disarmed_it_begins_nothing_and_ends_what_is_open() {
    let mut bench = Bench::copying(settings());
    assert!(words(&bench.give(Input::Disarm)).is_empty());
    assert_eq!(words(&bench.copied(1)), ["inspect"]);
    bench.seen(1, Running, Absent);
    bench.acted(1);
    assert_eq!(words(&bench.seen(1, Running, Absent)), ["settled moved"]);
    bench.sample("a", 40.0, 0.0);
    let events = bench.sample("b", 40.0, 0.96);
    let reason = Bench::reason(&events, "b");
    let HoldReason::HeldBack { restraint, .. } = reason else {
        panic!("{reason:?}");
    };
    assert_eq!(restraint, Restraint::Disarmed);
    assert!(matches!(
        declined(&bench.give(order("a"))),
        HoldReason::HeldBack { .. }
    ));
    assert_eq!(words(&bench.give(Input::Arm)), ["start b>a"]);
}

#[test]
fn an_order_moves_what_is_not_due() {
    for trust in [Trust::Observe, Trust::Recommend, Trust::Automatic] {
        let mut told = settings();
        told.trust = trust;
        let mut bench = Bench::new(told);
        bench.sample("b", 5.0, 0.2);
        bench.sample("a", 5.0, 0.3);
        let events = bench.give(order("b"));
        assert!(
            matches!(
                events[..],
                [Event::Start {
                    cause: Cause::Order,
                    ..
                }]
            ),
            "{trust:?} {events:?}"
        );
    }
}

#[test]
fn an_order_that_cannot_be_followed_is_declined() {
    let reason = |change: fn(&mut forestall_control::Settings), load_b, target: &str| {
        let mut told = settings();
        change(&mut told);
        let mut bench = Bench::new(told);
        bench.sample("b", 5.0, load_b);
        bench.sample("a", 5.0, 0.3);
        declined(&bench.give(order(target)))
    };
    assert_eq!(reason(|_| {}, 0.2, "a"), HoldReason::AlreadyThere);
    assert!(matches!(
        reason(|_| {}, 0.7, "b"),
        HoldReason::NoTargetFits { .. }
    ));
    let pinned = |told: &mut forestall_control::Settings| {
        told.functions[0].mobility = Mobility::Pinned;
    };
    assert_eq!(reason(pinned, 0.2, "b"), HoldReason::NothingFree);
    let mut bench = Bench::copying(settings());
    assert_eq!(
        declined(&bench.give(order("b"))),
        HoldReason::Busy { migration: 1 }
    );
}

#[test]
fn what_was_given_up_moves_again_once_a_person_has_released_it() {
    let mut bench = Bench::copying(settings());
    bench.copied(1);
    for _ in 0..2 {
        bench.seen(1, Absent, Absent);
        bench.until(bench.now.0 as f64 / 1e6 + 1.0);
    }
    let view = bench.controller.view(bench.now);
    assert!(view.functions[0].given_up, "{view:?}");
    bench.sample("b", 100.0, 0.0);
    let events = bench.sample("a", 100.0, 0.96);
    assert!(words(&events).is_empty(), "{events:?}");
    assert_eq!(
        words(&bench.give(Input::Release { vm: vm() })),
        ["start a>b"]
    );
}

#[test]
fn a_move_made_by_others_is_a_fact() {
    let mut bench = Bench::new(settings());
    bench.sample("a", 5.0, 0.5);
    bench.sample("b", 5.0, 0.5);
    let seen = |host: HostName| Input::Seen { vm: vm(), host };
    assert!(bench.give(seen(host("a"))).is_empty());
    let events = bench.give(seen(host("b")));
    assert_eq!(words(&events), ["relocated a>b"]);
    assert_eq!(bench.controller.residence(&vm()), Some(&host("b")));
    // Samples from before tell of other hosts than those that are there now.
    let view = bench.controller.view(seconds(5.0));
    assert!(
        view.hosts
            .iter()
            .all(|host| host.freshness == Freshness::Stale),
        "{view:?}"
    );
    assert_eq!(view.hosts[1].functions, [vm()]);
}

#[test]
fn a_host_that_is_not_heard_again_after_a_move_falls_silent() {
    let mut bench = Bench::new(settings());
    bench.sample("a", 5.0, 0.5);
    bench.give(Input::Seen {
        vm: vm(),
        host: host("b"),
    });
    let freshness = |at_s| bench.controller.view(seconds(at_s)).hosts[0].freshness;
    assert_eq!(freshness(50.0), Freshness::Stale);
    assert_eq!(freshness(55.0), Freshness::Silent);
}

#[test]
fn a_function_that_is_found_later_is_looked_after_like_any_other() {
    let mut told = settings();
    let function = told.functions.remove(0);
    let found = |change: fn(&mut forestall_control::Placement)| {
        let mut function = Box::new(function.clone());
        change(&mut function);
        Input::Found { function }
    };
    let mut bench = Bench::new(told);
    bench.sample("b", 5.0, 0.0);
    let events = bench.sample("a", 5.0, 0.96);
    assert_eq!(Bench::reason(&events, "a"), HoldReason::NothingToMove);
    // Nonsense, and a host that nobody knows.
    for wrong in [
        found(|function| function.migration_ms = 0.0),
        found(|function| function.host = host("gone")),
    ] {
        assert!(bench.give(wrong).is_empty());
        assert_eq!(bench.controller.residence(&vm()), None);
    }
    assert!(
        bench.give(found(|_| ())).is_empty(),
        "what was known of it may come yet"
    );
    assert_eq!(bench.controller.residence(&vm()), Some(&host("a")));
    assert_eq!(words(&bench.sample("a", 10.0, 0.96)), ["start a>b"]);
    // It is the same one still.
    assert!(
        bench
            .give(found(|function| function.host = host("b")))
            .is_empty()
    );
    let view = bench.controller.view(bench.now);
    assert_eq!((view.functions.len(), view.moves.len()), (1, 1));
}

#[test]
fn a_look_at_a_function_that_moves_changes_nothing() {
    let mut bench = Bench::copying(settings());
    let events = bench.give(Input::Seen {
        vm: vm(),
        host: host("b"),
    });
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(bench.controller.residence(&vm()), Some(&host("a")));
}

fn looked(doubt: Option<Verdict>) -> Input {
    let doubt = doubt.map(|verdict| Doubt {
        verdict,
        elsewhere: vec![host("b")],
    });
    Input::Looked { vm: vm(), doubt }
}

#[test]
fn what_may_run_twice_or_nowhere_is_not_moved_whoever_wants_it() {
    use Verdict::{Blackout, Lost, Split, Unknown};
    for verdict in [Split, Unknown, Blackout, Lost] {
        let mut bench = Bench::new(settings());
        bench.sample("b", 5.0, 0.0);
        bench.give(looked(Some(verdict)));
        let events = bench.sample("a", 5.0, 0.96);
        assert!(words(&events).is_empty(), "{verdict}: {events:?}");
        let in_doubt = |reason: &HoldReason| matches!(reason, HoldReason::InDoubt { vm: of, doubt } if *of == vm() && doubt.verdict == verdict);
        let reason = declined(&bench.give(order("b")));
        assert!(in_doubt(&reason), "{reason:?}");
        let view = bench.controller.view(bench.now);
        assert!(
            view.hosts[0].holding.as_ref().is_some_and(in_doubt),
            "{view:?}"
        );
        let drained = bench.give(Input::Drain { host: host("a") });
        assert!(words(&drained).is_empty(), "{drained:?}");
        // A person's word on a move does not say where it runs.
        assert!(words(&bench.give(Input::Release { vm: vm() })).is_empty());
        assert_eq!(words(&bench.give(looked(None))), ["start a>b"], "{verdict}");
    }
}

#[test]
fn what_belongs_together_with_one_in_doubt_stays_with_it_and_others_go() {
    let functions = [("f", "a"), ("g", "a"), ("h", "a")];
    let mut bench = Bench::new(fleet(2, &functions, |told| {
        for function in &mut told.functions[..2] {
            function.together = Some("pair".into());
        }
        told.functions[2].load = share(0.1);
    }));
    bench.sample("b", 5.0, 0.0);
    bench.give(looked(Some(Verdict::Split)));
    let ordered = Input::Order {
        vm: VmName::new("g").unwrap(),
        target: host("b"),
    };
    let reason = declined(&bench.give(ordered));
    assert!(matches!(reason, HoldReason::InDoubt { .. }), "{reason:?}");
    let events = bench.sample("a", 5.0, 0.96);
    let [Event::Start { vm: moved, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(moved.as_str(), "h");
}

#[test]
fn a_doubt_ends_with_a_move_by_others_and_none_arises_during_one_of_ours() {
    let mut bench = Bench::new(settings());
    bench.give(looked(Some(Verdict::Lost)));
    let to_b = Input::Seen {
        vm: vm(),
        host: host("b"),
    };
    bench.give(to_b);
    assert_eq!(bench.controller.doubt(&vm()), None);
    let mut bench = Bench::copying(settings());
    assert!(bench.give(looked(Some(Verdict::Split))).is_empty());
    assert_eq!(bench.controller.doubt(&vm()), None);
}

#[test]
fn what_is_learned_is_predicted_and_nonsense_is_not() {
    let mut told = settings();
    told.policy = forestall_control::Policy::Deadline {
        knee: share(0.95),
        copying_extra: 0.0,
        decision_ms: 0.0,
        margin_sd: 0.0,
    };
    let mut bench = Bench::new(told);
    for migration_ms in [12e3, f64::NAN, -1.0] {
        bench.give(Input::Learned {
            vm: vm(),
            migration_ms,
            gap_ms: 70.0,
        });
    }
    let function = &bench.controller.view(seconds(0.0)).functions[0];
    assert_eq!((function.migration_ms, function.gap_ms), (12e3, 70.0));
}

#[test]
fn what_an_earlier_controller_knew_is_gone_on_with() {
    let mut bench = Bench::new(settings());
    bench.give(Input::Known {
        vm: vm(),
        host: host("b"),
        cooldown_until_us: seconds(60.0),
        failures_in_a_row: 2,
        given_up: false,
        doubt: None,
    });
    bench.sample("a", 5.0, 0.0);
    let events = bench.sample("b", 5.0, 0.96);
    assert_eq!(
        Bench::reason(&events, "b"),
        HoldReason::CoolingDown {
            until_us: seconds(60.0)
        }
    );
    let function = &bench.controller.view(seconds(5.0)).functions[0];
    assert_eq!(
        (function.host.clone(), function.failures_in_a_row),
        (host("b"), 2)
    );
}

#[test]
fn a_clock_that_was_set_back_since_prolongs_no_cool_down() {
    let mut bench = Bench::new(settings());
    bench.give(Input::Known {
        vm: vm(),
        host: host("a"),
        cooldown_until_us: seconds(1e6),
        failures_in_a_row: 0,
        given_up: false,
        doubt: None,
    });
    let function = &bench.controller.view(seconds(0.0)).functions[0];
    // 30 s, doubled six times.
    assert_eq!(function.cooldown_until_us, Some(seconds(64.0 * 30.0)));
}

#[test]
fn a_function_that_was_given_up_stays_so_when_its_host_is_gone() {
    let mut bench = Bench::new(settings());
    bench.give(Input::Known {
        vm: vm(),
        host: host("gone"),
        cooldown_until_us: seconds(0.0),
        failures_in_a_row: 1,
        given_up: true,
        doubt: None,
    });
    let function = &bench.controller.view(seconds(0.0)).functions[0];
    assert_eq!((&function.host, function.given_up), (&host("a"), true));
}

#[test]
fn fresh_stale_silent() {
    let mut bench = Bench::new(settings());
    let freshness = |bench: &Bench, at_s| bench.controller.view(seconds(at_s)).hosts[0].freshness;
    assert_eq!(freshness(&bench, 0.0), Freshness::Silent);
    bench.sample("a", 5.0, 0.5);
    assert_eq!(freshness(&bench, 17.0), Freshness::Fresh);
    assert_eq!(freshness(&bench, 17.5), Freshness::Stale);
    assert_eq!(freshness(&bench, 60.0), Freshness::Silent);
}

//! The oracle against hand-made cases, and against trying every schedule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroUsize;

use forestall_sim::oracle::{Bound, Future, Mobile, Overload, ScheduledMove, bound, feasible};
use proptest::prelude::*;

const KNEE: f64 = 0.9;

fn mobile(home: usize, load: f64, hosts: usize) -> Mobile {
    Mobile {
        home,
        load,
        allowed: vec![true; hosts],
        move_steps: NonZeroUsize::new(2).unwrap(),
        copying_extra: 0.0,
        gap_s: 0.5,
    }
}

/// Demand of hosts in tenths.
fn future(tenths: &[&[u8]], functions: Vec<Mobile>) -> Future {
    let share = |tenth: &u8| f32::from(*tenth) / 10.0;
    Future {
        knee: KNEE,
        step_s: 5.0,
        immovable: tenths
            .iter()
            .map(|host| host.iter().map(share).collect())
            .collect(),
        functions,
    }
}

fn to(start_step: usize, target: usize) -> ScheduledMove {
    ScheduledMove { start_step, target }
}

fn check(future: &Future, cost_s: f64, moves: &[ScheduledMove]) -> Bound {
    let found = bound(future);
    let schedule = &found.functions[0].schedule;
    assert_eq!(schedule.moves, moves);
    assert!((schedule.cost_s() - cost_s).abs() < 1e-9, "{schedule:?}");
    found
}

#[test]
fn a_calm_function_stays() {
    let calm = future(&[&[5; 6], &[1; 6]], vec![mobile(0, 0.2, 2)]);
    let found = check(&calm, 0.0, &[]);
    assert_eq!(found.functions[0].overloads, []);
    assert_eq!(found.functions[0].never_s, 0.0);
}

#[test]
fn it_is_gone_before_the_knee() {
    let ramp = future(
        &[&[5, 6, 6, 8, 8, 8], &[1, 1, 1, 1, 1, 1]],
        vec![mobile(0, 0.2, 2)],
    );
    let found = check(&ramp, 0.5, &[to(0, 1)]);
    let expected = Overload {
        first_step: 3,
        steps: 3,
        preventable: true,
    };
    assert_eq!(found.functions[0].overloads, [expected]);
    assert_eq!(found.never_s(), 15.0);
    assert_eq!(found.total().moves, 1);
}

#[test]
fn what_begins_too_early_cannot_be_prevented() {
    let step = future(
        &[&[5, 8, 8, 8, 8, 8], &[1, 1, 1, 1, 1, 1]],
        vec![mobile(0, 0.2, 2)],
    );
    // It leaves at once and suffers the second step of the move.
    let found = check(&step, 5.5, &[to(0, 1)]);
    assert!(!found.functions[0].overloads[0].preventable);
}

#[test]
fn a_gap_that_is_longer_than_the_overload_is_not_paid() {
    let mut short = future(&[&[5, 5, 5, 8, 5], &[1; 5]], vec![mobile(0, 0.2, 2)]);
    short.functions[0].gap_s = 6.0;
    let found = check(&short, 5.0, &[]);
    assert!(!found.functions[0].overloads[0].preventable);
    short.functions[0].gap_s = 4.0;
    check(&short, 4.0, &[to(0, 1)]);
    // Of equal cost the one with fewer moves.
    short.functions[0].gap_s = 5.0;
    check(&short, 5.0, &[]);
}

#[test]
fn copying_brings_the_knee_nearer() {
    let mut ramp = future(&[&[6, 6, 8, 8, 8], &[1; 5]], vec![mobile(0, 0.2, 2)]);
    check(&ramp, 0.5, &[to(0, 1)]);
    ramp.functions[0].copying_extra = 0.1;
    check(&ramp, 10.5, &[to(0, 1)]);
}

#[test]
fn no_target_no_move() {
    let busy = future(&[&[8; 5], &[8; 5]], vec![mobile(0, 0.2, 2)]);
    let found = check(&busy, 25.0, &[]);
    assert!(!found.functions[0].overloads[0].preventable);
    let mut forbidden = future(&[&[8; 5], &[1; 5]], vec![mobile(0, 0.2, 2)]);
    forbidden.functions[0].allowed = vec![true, false];
    check(&forbidden, 25.0, &[]);
    forbidden.functions[0].allowed = vec![false, true];
    check(&forbidden, 10.5, &[to(0, 1)]);
}

#[test]
fn it_follows_the_free_host_and_comes_back() {
    let turns = future(
        &[
            &[1, 1, 8, 8, 8, 8, 1, 1, 1, 1],
            &[8, 8, 1, 1, 1, 1, 8, 8, 8, 8],
        ],
        vec![mobile(0, 0.2, 2)],
    );
    check(&turns, 1.0, &[to(0, 1), to(4, 0)]);
}

#[test]
fn a_function_alone_has_the_bound_that_it_can_reach() {
    let crowd = future(
        &[&[5, 5, 5, 7, 7, 7], &[1; 6]],
        vec![mobile(0, 0.15, 2), mobile(0, 0.15, 2)],
    );
    // Each alone stays below the knee; together they do not, and one of them has to go.
    let lower = bound(&crowd);
    assert_eq!(lower.total().cost_s(), 0.0);
    assert_eq!(lower.never_s(), 30.0);
    assert!(lower.functions[0].overloads[0].preventable);
    let upper = feasible(&crowd, 0.8).total();
    assert_eq!((upper.cost_s(), upper.moves), (0.5, 1));
}

#[test]
fn a_plan_keeps_its_targets_below_their_cap() {
    let ramp = future(&[&[5, 6, 6, 8, 8, 8], &[6; 6]], vec![mobile(0, 0.2, 2)]);
    assert_eq!(feasible(&ramp, 0.85).total().cost_s(), 0.5);
    assert_eq!(feasible(&ramp, 0.75).total().cost_s(), 15.0);
}

#[test]
fn a_plan_that_does_harm_is_not_taken() {
    // The first has room on the second host when it arrives; later they are over the knee there together.
    let mut pinned = future(
        &[&[8; 6], &[3, 3, 3, 7, 7, 7]],
        vec![mobile(0, 0.2, 2), mobile(1, 0.1, 2)],
    );
    pinned.functions[1].allowed = vec![false, false];
    let plan = feasible(&pinned, 0.8).total();
    assert_eq!((plan.cost_s(), plan.moves), (30.0, 0));
    assert_eq!(bound(&pinned).never_s(), 30.0);
}

#[test]
#[should_panic(expected = "steps of host 1")]
fn series_of_different_lengths_are_our_bug() {
    let _ = bound(&future(&[&[1, 1], &[1]], Vec::new()));
}

#[test]
fn nothing_at_all_costs_nothing() {
    assert_eq!(bound(&future(&[], Vec::new())).total().moves, 0);
    let no_steps = future(&[&[], &[]], vec![mobile(0, 0.2, 2)]);
    check(&no_steps, 0.0, &[]);
}

/// Cost in seconds, and moves, of the best schedule, by trying all.
fn try_all(future: &Future, function: &Mobile, step: usize, host: usize) -> (f64, usize) {
    let steps = future.immovable[0].len();
    let above = |step: usize, load: f64| {
        let demand = f64::from(future.immovable[host][step]);
        f64::from(u8::from(demand + load >= future.knee)) * future.step_s
    };
    if step == steps {
        return (0.0, 0);
    }
    let (rest, moves) = try_all(future, function, step + 1, host);
    let mut best = (rest + above(step, function.load), moves);
    let there = step + function.move_steps.get();
    for target in (0..future.immovable.len()).filter(|target| *target != host) {
        if there > steps || !function.allowed[target] {
            continue;
        }
        let copying: f64 = (step..there)
            .map(|step| above(step, function.load + function.copying_extra))
            .sum();
        let (rest, moves) = try_all(future, function, there, target);
        let cost = (copying + function.gap_s + rest, moves + 1);
        if cost.0 < best.0 - 1e-9 || (cost.0 < best.0 + 1e-9 && cost.1 < best.1) {
            best = cost;
        }
    }
    best
}

fn functions(hosts: usize) -> impl Strategy<Value = Vec<Mobile>> {
    let function = (
        0..hosts,
        0.0..0.5_f64,
        prop::collection::vec(any::<bool>(), hosts),
        1..4_usize,
        0.0..0.2_f64,
        0..40_u8,
    );
    let function = function.prop_map(|(home, load, allowed, steps, copying_extra, gap)| Mobile {
        home,
        load,
        allowed,
        move_steps: NonZeroUsize::new(steps).unwrap(),
        copying_extra,
        gap_s: f64::from(gap) / 4.0,
    });
    prop::collection::vec(function, 1..4)
}

fn futures() -> impl Strategy<Value = Future> {
    (1..4_usize, 1..7_usize).prop_flat_map(|(hosts, steps)| {
        let demand = prop::collection::vec(prop::collection::vec(0.0..1.0_f32, steps), hosts);
        (demand, functions(hosts)).prop_map(|(immovable, functions)| Future {
            knee: KNEE,
            step_s: 5.0,
            immovable,
            functions,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_schedule_is_cheaper_than_the_bound(future in futures()) {
        for (found, function) in bound(&future).functions.iter().zip(&future.functions) {
            let (cost_s, moves) = try_all(&future, function, 0, function.home);
            prop_assert!((found.schedule.cost_s() - cost_s).abs() < 1e-6);
            prop_assert_eq!(found.schedule.moves.len(), moves);
        }
    }

    #[test]
    fn the_bounds_enclose(future in futures(), cap in 0.3..1.2_f64) {
        let lower = bound(&future);
        let upper = feasible(&future, cap).total();
        prop_assert!(lower.total().cost_s() <= upper.cost_s() + 1e-6);
        prop_assert!(upper.cost_s() <= lower.never_s() + 1e-6);
        for function in &lower.functions {
            let steps: usize = function.overloads.iter().map(|overload| overload.steps).sum();
            prop_assert!((function.never_s - steps as f64 * future.step_s).abs() < 1e-9);
        }
    }
}

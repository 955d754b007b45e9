//! The comparison: what must hold of it whatever the figures are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use forestall_sim as sim;
use sim::contest::{Comparison, Contestant, Parameters, compare, input};

fn made_load(seed: u64) -> Comparison {
    let parameters = Parameters::frozen();
    compare(
        &input::generated(seed),
        &Contestant::all(),
        &parameters,
        |_| {},
    )
    .unwrap()
}

#[test]
fn nobody_is_better_than_one_who_knows_the_future() {
    let comparison = made_load(7);
    for (input, policies) in &comparison.by_input {
        let oracle = policies["oracle"].seconds_above_knee;
        for (name, summary) in policies {
            let seconds = summary.seconds_above_knee;
            assert!(
                seconds >= oracle - 1e-6,
                "{input} {name}: {seconds} under {oracle}"
            );
            assert!(summary.prevented <= summary.preventable, "{input} {name}");
        }
        let feasible = comparison.feasible_s[input];
        assert!(
            feasible >= oracle - 1e-6,
            "{input}: {feasible} under {oracle}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let json = |seed| serde_json::to_string(&made_load(seed)).unwrap();
    assert_eq!(json(3), json(3));
    assert_ne!(json(3), json(4));
}

#[test]
fn a_host_that_stays_under_the_knee_is_left_alone_but_for_chance() {
    // Noise may look like a trend once; it must not do so again and again.
    let plateau = &made_load(11).by_input["plateau"];
    let (ours, never) = (&plateau["deadline"], &plateau["never"]);
    assert!(ours.moves <= 1 && ours.undone_moves == 0, "{ours:?}");
    // The switch itself takes some milliseconds.
    assert!(ours.seconds_above_knee <= never.seconds_above_knee + 0.1);
}

//! The search for a broken promise, and that it finds one where there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use forestall_sim as sim;
use scenario::Scenario;
use sim::Flaw;
use sim::invariants::Promise;
use sim::sweep::{Failure, scenario_text, try_seed};

/// Seeds of the short form; `make test-long` has the long one.
const SEEDS: u64 = 400;
/// A flaw that so many seeds do not show would stay unseen.
const SEEDS_FOR_A_FLAW: u64 = 400;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/faults")
}

fn faults() -> Scenario {
    Scenario::read(&folder()).unwrap()
}

fn caught(flaw: Flaw) -> Failure {
    let scenario = faults();
    (1..=SEEDS_FOR_A_FLAW)
        .find_map(|seed| try_seed(&scenario, seed, flaw).unwrap())
        .unwrap_or_else(|| panic!("{flaw:?} was not caught"))
}

#[test]
fn every_promise_is_kept() {
    let scenario = faults();
    for seed in 1..=SEEDS {
        let found = try_seed(&scenario, seed, Flaw::None).unwrap();
        assert!(found.is_none(), "seed {seed}: {}", found.unwrap().broken);
    }
}

#[test]
fn a_mutant_without_a_cooldown_is_caught() {
    assert_eq!(caught(Flaw::NoCooldown).broken.promise, Promise::Cooldown);
}

#[test]
fn a_mutant_without_freshness_is_caught() {
    let promise = caught(Flaw::NoFreshness).broken.promise;
    assert_eq!(promise, Promise::FreshSamples);
}

#[test]
fn a_mutant_that_does_not_count_arrivals_is_caught() {
    let promise = caught(Flaw::ArrivalNotCounted).broken.promise;
    assert_eq!(promise, Promise::TargetLimit);
}

#[test]
fn a_mutant_whose_target_is_not_held_is_caught() {
    let promise = caught(Flaw::TargetNotHeld).broken.promise;
    assert_eq!(promise, Promise::HeldTarget);
}

#[test]
fn a_mutant_that_looks_at_the_source_first_is_caught() {
    let promise = caught(Flaw::SourceInspectedFirst).broken.promise;
    assert_eq!(promise, Promise::TargetFirst);
}

#[test]
fn a_seed_breaks_the_same_promise_again_and_from_its_file() {
    let (first, again) = (caught(Flaw::NoCooldown), caught(Flaw::NoCooldown));
    assert_eq!(first, again);
    let base = std::fs::read_to_string(folder().join("scenario.toml")).unwrap();
    let text = scenario_text(&base, &first).unwrap();
    let kept = Scenario::parse(Path::new("scenario.toml"), &text).unwrap();
    let profile = &kept.profiles[kept.default_profile.as_ref()];
    let policy = kept.policies[0];
    let run = sim::run_with(&kept, policy, profile, first.trial.seed, Flaw::NoCooldown).unwrap();
    assert_eq!(run.broken, Some(first.broken));
}

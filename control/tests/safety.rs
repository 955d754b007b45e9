//! Whatever comes in, in whatever order: nothing is lost, doubled or decided on nonsense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::{Bench, host, seconds, settings, share};
use forestall_control::{CopyOutcome, HandOver, Input, Policy};
use proptest::prelude::*;
use record::decision::End;
use record::{Event, HostName, Residency, Sample, Timestamp};

fn residency() -> impl Strategy<Value = Residency> {
    prop::sample::select(vec![
        Residency::Running,
        Residency::Paused,
        Residency::Absent,
        Residency::Unreachable,
    ])
}

fn input() -> impl Strategy<Value = Input> {
    let migration = 1..4_u64;
    let interval = prop_oneof![Just(5000.0), Just(-1.0), Just(f64::NAN), Just(1e300)];
    let load = prop_oneof![0.0..=1.0, Just(0.0), Just(1.0)];
    prop_oneof![
        4 => (0..3_usize, load, 0..400_u64, interval).prop_map(|(i, load, at, interval_ms)| {
            Input::Sample(Sample {
                host: host(["a", "b", "stranger"][i]),
                utilization: share(load),
                measured_at_us: Timestamp(at * 1_000_000),
                interval_ms,
            })
        }),
        2 => Just(Input::Timeout),
        1 => migration.clone().prop_map(|migration| Input::Refused { migration, reason: "no".into() }),
        2 => migration.clone().prop_map(|migration| Input::CopyEnded { migration, outcome: CopyOutcome::Completed }),
        1 => migration.clone().prop_map(|migration| Input::CopyEnded {
            migration,
            outcome: CopyOutcome::Failed { reason: "cut".into() },
        }),
        6 => (migration.clone(), residency(), residency())
            .prop_map(|(migration, target, source)| Input::Residency { migration, target, source }),
        2 => (0..3_usize, prop::option::of(0.0..=1.0)).prop_map(|(i, knee)| Input::Knee {
            host: host(["a", "b", "stranger"][i]),
            knee: knee.map(share),
        }),
        4 => (migration, any::<bool>()).prop_map(|(migration, fails)| Input::Acted {
            migration,
            failure: fails.then(|| "no answer".to_owned()),
        }),
    ]
}

/// What an observer knows of the open moves, and what must hold of each decision.
#[derive(Default)]
struct Observer {
    open: BTreeMap<u64, (HostName, HostName)>,
    seen: BTreeMap<u64, (Residency, Residency)>,
}

impl Observer {
    fn check(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Start {
                migration,
                source,
                target,
                ..
            } => {
                let taken = self
                    .open
                    .values()
                    .any(|(s, t)| [s, t].iter().any(|end| *end == source || *end == target));
                if taken || source == target {
                    return Err(format!("started while a move is open: {event:?}"));
                }
                self.open
                    .insert(*migration, (source.clone(), target.clone()));
            }
            Event::Run { migration, end } => {
                let (target, source) = self.last_seen(*migration)?;
                let (this, other) = match end {
                    End::Target => (target, source),
                    End::Source => (source, target),
                };
                let safe = matches!(other, Residency::Paused | Residency::Absent);
                if !safe || this != Residency::Paused {
                    return Err(format!(
                        "run {end:?} though target {target:?}, source {source:?}"
                    ));
                }
            }
            Event::Discard { migration, end } => {
                let (target, source) = self.last_seen(*migration)?;
                let (this, other) = match end {
                    End::Target => (target, source),
                    End::Source => (source, target),
                };
                let safe = matches!(this, Residency::Paused | Residency::Absent);
                if !safe || other != Residency::Running {
                    return Err(format!(
                        "discard {end:?} though target {target:?}, source {source:?}"
                    ));
                }
            }
            Event::Settled { migration, .. } => {
                self.open.remove(migration);
            }
            _ => {}
        }
        // Not-a-number and infinity are written as null where a number must stand, and do not come back.
        let text = serde_json::to_string(event).map_err(|error| error.to_string())?;
        let back: Event =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if back != *event {
            return Err(format!("{event:?} comes back as {back:?}"));
        }
        Ok(())
    }

    fn last_seen(&self, migration: u64) -> Result<(Residency, Residency), String> {
        let seen = self.seen.get(&migration).copied();
        seen.ok_or_else(|| format!("acted on move {migration} unseen"))
    }
}

fn holds(inputs: Vec<(u64, Input)>, told: forestall_control::Settings) -> Result<(), String> {
    let mut bench = Bench::new(told);
    let mut observer = Observer::default();
    for (wait_ms, input) in inputs {
        bench.now = Timestamp(bench.now.0 + wait_ms * 1000);
        if let Input::Residency {
            migration,
            target,
            source,
        } = input
        {
            observer.seen.insert(migration, (target, source));
        }
        for event in bench.give(input) {
            observer.check(&event)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_lost_or_doubled(
        inputs in prop::collection::vec((0..8_000_u64, input()), 1..80),
        by_forecast in any::<bool>(),
        by_engine in any::<bool>(),
    ) {
        let mut told = settings();
        told.limits.cooldown_ms = 1000.0;
        told.limits.sample_age_ms_max = 400e3;
        if by_engine {
            told.hand_over = HandOver::ByEngine;
        }
        if by_forecast {
            told.policy = Policy::Deadline {
                knee: share(0.95),
                copying_extra: 0.05,
                decision_ms: 500.0,
                margin_sd: 0.0,
            };
        }
        if let Err(why) = holds(inputs, told) {
            prop_assert!(false, "{}", why);
        }
    }
}

/// Moves in ten minutes of two hosts whose background changes places as soon as the function has come.
fn moves_while_load_follows(cooldown_ms: f64) -> usize {
    let mut told = settings();
    told.limits.cooldown_ms = cooldown_ms;
    let mut bench = Bench::new(told);
    let (mut starts, mut on) = (0, "a");
    for tick in 1..=120_u32 {
        let at = f64::from(tick) * 5.0;
        let mut events = Vec::new();
        for name in ["a", "b"] {
            let load = if name == on { 0.95 } else { 0.1 };
            events.extend(bench.sample(name, at, load));
        }
        let Some(migration) = events.iter().find_map(|event| match event {
            Event::Start { migration, .. } => Some(*migration),
            _ => None,
        }) else {
            continue;
        };
        starts += 1;
        on = if on == "a" { "b" } else { "a" };
        bench.copied(migration);
        bench.seen(migration, Residency::Running, Residency::Absent);
        bench.acted(migration);
        bench.seen(migration, Residency::Running, Residency::Absent);
    }
    starts
}

// The checker is checked: a controller without one of its guards must be caught by what is looked at here.

#[test]
fn mutant_without_a_cooldown_plays_ping_pong() {
    let limit = 600 / 30 + 1;
    assert!(moves_while_load_follows(30e3) <= limit);
    assert!(moves_while_load_follows(0.0) > limit);
}

#[test]
fn mutant_without_freshness_decides_on_the_past() {
    let starts_at_100_s = |sample_age_ms_max| {
        let mut told = settings();
        told.limits.sample_age_ms_max = sample_age_ms_max;
        let mut bench = Bench::new(told);
        bench.sample("a", 5.0, 0.95);
        bench.now = seconds(100.0);
        let events = bench.sample("b", 100.0, 0.0);
        let mut events = [events, bench.give(Input::Timeout)].concat();
        events.extend(bench.sample("a", 5.0, 0.95));
        common::words(&events).contains(&"start a>b".to_owned())
    };
    assert!(!starts_at_100_s(12e3));
    assert!(starts_at_100_s(1e9));
}

#[test]
fn mutant_without_sustained_samples_follows_a_spike() {
    let starts = |sustained_samples| {
        let mut told = settings();
        told.limits.sustained_samples = sustained_samples;
        let mut bench = Bench::new(told);
        let mut events = Vec::new();
        for (tick, load) in (1..).zip([0.4, 0.4, 0.95, 0.4, 0.4]) {
            let at = f64::from(tick) * 5.0;
            events.extend(bench.sample("b", at, 0.0));
            events.extend(bench.sample("a", at, load));
        }
        !common::words(&events).is_empty()
    };
    assert!(!starts(2));
    assert!(starts(1));
}

#[test]
fn mutant_with_a_target_run_unseen_is_caught() {
    let mut observer = Observer::default();
    let (migration, end) = (1, End::Target);
    assert!(observer.check(&Event::Run { migration, end }).is_err());
    for (target, source) in [
        (Residency::Paused, Residency::Running),
        (Residency::Paused, Residency::Unreachable),
    ] {
        observer.seen.insert(migration, (target, source));
        assert!(observer.check(&Event::Run { migration, end }).is_err());
        assert!(
            observer
                .check(&Event::Discard {
                    migration,
                    end: End::Source
                })
                .is_err()
        );
    }
}

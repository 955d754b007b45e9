//! A controller with two edge hosts, `a` (with the function `f`) and `b`, and what is said to it.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};

use forestall_control::{
    Controller, CopyOutcome, HandOver, Input, Limits, Mobility, PictureAge, Placement, Policy,
    Settings, Trust,
};
use record::decision::{HoldReason, Mode};
use record::{Event, HostName, Residency, Sample, Timestamp, Utilization, VmName};

pub fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub fn share(share: f64) -> Utilization {
    Utilization::new(share).unwrap()
}

pub fn seconds(s: f64) -> Timestamp {
    Timestamp::from_secs_f64(s)
}

/// Threshold 0.9, one sample is enough, targets up to 0.75, cool-down 30 s.
pub fn settings() -> Settings {
    Settings {
        hosts: vec![host("a"), host("b")],
        functions: vec![Placement {
            vm: VmName::new("f").unwrap(),
            host: host("a"),
            load: share(0.3),
            viewers: 1,
            migration_ms: 7500.0,
            gap_ms: 300.0,
            mobility: Mobility::Free,
            forbidden: BTreeSet::new(),
            together: None,
            apart: None,
            path_ms: BTreeMap::new(),
            path_late_ms: BTreeMap::new(),
        }],
        policy: Policy::Threshold {
            start_at: share(0.9),
        },
        picture_age: picture_age(),
        trust: Trust::Automatic,
        limits: Limits {
            sample_age_ms_max: 12e3,
            sustained_samples: 1,
            forecast_samples: 4,
            forecast_residual_max: 0.04,
            target_load_max: share(0.75),
            gain_min: 0.1,
            gain_horizon_ms: 60e3,
            moves_at_once_max: 2,
            arrivals_at_once_max: 1,
            cooldown_ms: 30e3,
            migration_ms_max: 60e3,
            inspect_again_ms: 500.0,
        },
        mode: Mode::PreCopy,
        hand_over: HandOver::Held,
        moves_begun: 0,
    }
}

/// As [`settings`], with so many hosts, `a`, `b`, …, and these functions, each with a load of 0.3.
pub fn fleet(
    hosts: usize,
    functions: &[(&str, &str)],
    change: impl FnOnce(&mut Settings),
) -> Settings {
    let mut told = settings();
    let one = told.functions[0].clone();
    told.hosts = ["a", "b", "c", "d", "e", "f"][..hosts]
        .iter()
        .map(|name| host(name))
        .collect();
    let function = |(vm, home): &(&str, &str)| Placement {
        vm: VmName::new(vm).unwrap(),
        host: host(home),
        ..one.clone()
    };
    told.functions = functions.iter().map(function).collect();
    change(&mut told);
    told
}

/// 40 ms until 90 %, the budget of 200 ms at 95 %, 1.4 s when full.
fn picture_age() -> PictureAge {
    let points = [(0.0, 40.0), (0.9, 60.0), (0.95, 200.0), (1.0, 1400.0)];
    let points = points.map(|(load, ms)| (share(load), ms));
    PictureAge::try_from(points.to_vec()).unwrap()
}

pub struct Bench {
    pub controller: Controller,
    pub now: Timestamp,
}

impl Bench {
    pub fn new(settings: Settings) -> Self {
        Self {
            controller: Controller::new(settings).unwrap(),
            now: Timestamp(0),
        }
    }

    /// A bench whose function has begun to move, as move 1.
    pub fn copying(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.sample("b", 5.0, 0.0);
        let events = bench.sample("a", 5.0, 0.95);
        assert!(matches!(events[..], [Event::Start { .. }]), "{events:?}");
        bench
    }

    pub fn give(&mut self, input: Input) -> Vec<Event> {
        self.controller.handle(self.now, input);
        std::iter::from_fn(|| self.controller.poll_output())
            .map(|decision| decision.event)
            .collect()
    }

    /// A mean over the 5 s before `at_s`, seen at once.
    pub fn sample(&mut self, name: &str, at_s: f64, utilization: f64) -> Vec<Event> {
        self.now = seconds(at_s).max(self.now);
        self.give(Input::Sample(Sample {
            host: host(name),
            utilization: share(utilization),
            measured_at_us: seconds(at_s),
            interval_ms: 5000.0,
        }))
    }

    /// Waits until `at_s`, giving each time-out that is asked for.
    pub fn until(&mut self, at_s: f64) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(at) = self
            .controller
            .poll_timeout()
            .filter(|at| *at <= seconds(at_s))
        {
            self.now = at.max(self.now);
            events.extend(self.give(Input::Timeout));
        }
        self.now = seconds(at_s);
        events
    }

    pub fn copied(&mut self, migration: u64) -> Vec<Event> {
        let outcome = CopyOutcome::Completed;
        self.give(Input::CopyEnded { migration, outcome })
    }

    pub fn copy_failed(&mut self, migration: u64) -> Vec<Event> {
        let reason = "connection reset".to_owned();
        let outcome = CopyOutcome::Failed { reason };
        self.give(Input::CopyEnded { migration, outcome })
    }

    pub fn seen(&mut self, migration: u64, target: Residency, source: Residency) -> Vec<Event> {
        self.give(Input::Residency {
            migration,
            target,
            source,
        })
    }

    pub fn acted(&mut self, migration: u64) -> Vec<Event> {
        let failure = None;
        self.give(Input::Acted { migration, failure })
    }

    /// The reason of the newest hold of a host among `events`.
    pub fn reason(events: &[Event], name: &str) -> HoldReason {
        let reason = |event: &Event| match event {
            Event::Hold {
                host: h, reason, ..
            } if *h == host(name) => Some(reason.clone()),
            _ => None,
        };
        events
            .iter()
            .rev()
            .find_map(reason)
            .unwrap_or_else(|| panic!("no hold of {name} in {events:?}"))
    }
}

/// Events in words: what they are and where.
pub fn words(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match event {
        Event::Hold { .. } => None,
        Event::Start { source, target, .. } => Some(format!("start {source}>{target}")),
        Event::Inspect { .. } => Some("inspect".to_owned()),
        Event::Cancel { .. } => Some("cancel".to_owned()),
        Event::Run { end, .. } => Some(format!("run {end:?}").to_lowercase()),
        Event::Discard { end, .. } => Some(format!("discard {end:?}").to_lowercase()),
        Event::Settled { verdict, .. } => Some(format!("settled {verdict}")),
        Event::Alarm { verdict, .. } => Some(format!("alarm {verdict}")),
        Event::Relocated { from, to, .. } => Some(format!("relocated {from}>{to}")),
        Event::Declined { target, .. } => Some(format!("declined {target}")),
    };
    events.iter().filter_map(word).collect()
}

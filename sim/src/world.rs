//! What the machines are taken to do.
//!
//! One function in one virtual machine. Background load follows the scenario's profile on the host that the function is on
//! at the start; every other edge host has none. A host's load is `min(1, background + function + copying)`, where
//! background is what the profile offers less the function's own part.

use record::{HostName, Residency, Sample, Timestamp, Utilization};
use scenario::{LoadProfile, Scenario};

/// Steps in which a load is summed up to a mean, in microseconds.
const STEP_US: u64 = 10_000;
/// Digits of a mean that are kept: those that counters of a kernel give.
const DIGITS: f64 = 1e6;

/// Where the function is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Guest {
    /// It runs; what is left of it at the other end of its last move is held there until it is discarded.
    Runs {
        on: HostName,
        left_at: Option<HostName>,
    },
    /// It runs and is being copied.
    Copied { from: HostName, to: HostName },
    /// All is copied; it is held at both ends and runs at neither.
    Held { from: HostName, to: HostName },
}

/// The machines of a scenario.
#[derive(Debug)]
pub(crate) struct World<'a> {
    profile: &'a LoadProfile,
    loaded: HostName,
    function_load: f64,
    copying_extra: f64,
    /// What the guest did since when; never empty, in order of time.
    history: Vec<(Timestamp, Guest)>,
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &Scenario, profile: &'a LoadProfile) -> Self {
        let loaded = scenario.function.host.as_ref().clone();
        Self {
            profile,
            function_load: scenario.model.function_load.share(),
            copying_extra: scenario.model.copying_extra,
            history: vec![(
                Timestamp(0),
                Guest::Runs {
                    on: loaded.clone(),
                    left_at: None,
                },
            )],
            loaded,
        }
    }

    pub(crate) fn guest(&self) -> &Guest {
        &self.history[self.history.len() - 1].1
    }

    pub(crate) fn change(&mut self, now: Timestamp, guest: Guest) {
        self.history.push((now, guest));
    }

    /// What `target` and `source` of a move say.
    pub(crate) fn residency(&self, target: &HostName, source: &HostName) -> (Residency, Residency) {
        let at = |host: &HostName| match self.guest() {
            Guest::Runs { on, .. } if on == host => Residency::Running,
            Guest::Runs {
                left_at: Some(left),
                ..
            } if left == host => Residency::Paused,
            Guest::Copied { from, .. } if from == host => Residency::Running,
            Guest::Held { from, to } if from == host || to == host => Residency::Paused,
            _ => Residency::Absent,
        };
        (at(target), at(source))
    }

    /// Load of the function's first host if the function stayed there and were never copied.
    pub(crate) fn load_unmoved(&self, at: Timestamp) -> f64 {
        (self.background(at) + self.function_load).min(1.0)
    }

    /// True load of a host.
    pub(crate) fn load(&self, host: &HostName, at: Timestamp) -> f64 {
        self.load_with(self.guest_at(at), host, at)
    }

    /// True load of the host that the function runs on; `None` while it runs nowhere.
    pub(crate) fn load_at_function(&self, at: Timestamp) -> Option<f64> {
        let guest = self.guest_at(at);
        match guest {
            Guest::Runs { on: host, .. } | Guest::Copied { from: host, .. } => {
                Some(self.load_with(guest, host, at))
            }
            Guest::Held { .. } => None,
        }
    }

    /// What the agent of a host says at the end of a refresh interval.
    pub(crate) fn sample(&self, host: &HostName, begin: Timestamp, end: Timestamp) -> Sample {
        let mut sum = 0.0;
        let mut at = begin.0;
        while at < end.0 {
            // Steps end where the guest changes, so that a mean is one of whole states.
            let change = self.history.iter().map(|(since, _)| since.0);
            let change = change.filter(|since| *since > at).min();
            let next = (at + STEP_US).min(end.0).min(change.unwrap_or(u64::MAX));
            let width = next - at;
            sum += self.load(host, Timestamp(at + width / 2)) * width as f64;
            at = next;
        }
        let mean = sum / end.0.saturating_sub(begin.0).max(1) as f64;
        Sample {
            host: host.clone(),
            utilization: Utilization::clamped((mean * DIGITS).round() / DIGITS),
            measured_at_us: end,
            interval_ms: end.since(begin).as_micros() as f64 / 1e3,
        }
    }

    fn guest_at(&self, at: Timestamp) -> &Guest {
        let after = self.history.partition_point(|(since, _)| *since <= at);
        &self.history[after.saturating_sub(1)].1
    }

    fn background(&self, at: Timestamp) -> f64 {
        let offered = self.profile.offered(at.as_secs_f64() - self.profile.idle_s);
        (offered - self.function_load).max(0.0)
    }

    fn load_with(&self, guest: &Guest, host: &HostName, at: Timestamp) -> f64 {
        let background = if *host == self.loaded {
            self.background(at)
        } else {
            0.0
        };
        let function = match guest {
            Guest::Runs { on, .. } if on == host => self.function_load,
            Guest::Copied { from, .. } if from == host => self.function_load + self.copying_extra,
            _ => 0.0,
        };
        (background + function).min(1.0)
    }
}

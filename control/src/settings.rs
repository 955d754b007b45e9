//! Everything that a controller has to be told. There are no defaults in here: who drives the controller says it all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use record::decision::{MigrationId, Mode};
use record::{HostName, Utilization, VmName};
use serde::{Deserialize, Serialize};

use crate::picture_age::PictureAge;

/// Settings of one controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Hosts that can carry functions.
    pub hosts: Vec<HostName>,
    /// Functions and where they are at the start.
    pub functions: Vec<Placement>,
    /// When to start.
    pub policy: Policy,
    /// Picture age by the load of a function's host, as measured; what a move gains is reckoned with it.
    pub picture_age: PictureAge,
    /// What it may do by itself.
    pub trust: Trust,
    /// What keeps it from making things worse.
    pub limits: Limits,
    /// How functions are moved.
    pub mode: Mode,
    /// Who lets the guest run at the target.
    pub hand_over: HandOver,
    /// So many moves were begun by earlier controllers of the same journal: numbers go on from there.
    pub moves_begun: MigrationId,
}

/// How far a controller is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It says what it would do.
    Observe,
    /// A person approves of each move; what a person asked for (a host emptied) needs no further word.
    Recommend,
    /// It moves.
    Automatic,
}

/// A function in its virtual machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The virtual machine.
    pub vm: VmName,
    /// Where it runs at the start.
    pub host: HostName,
    /// Load that it brings to a host.
    pub load: Utilization,
    /// How many people see its video: their picture age is what counts.
    pub viewers: u32,
    /// Time from a decision until the viewer is served from the target, 95th percentile, as measured.
    pub migration_ms: f64,
    /// How long viewers see nothing new at the switch, as measured.
    pub gap_ms: f64,
    /// Whether it may be moved at all.
    pub mobility: Mobility,
    /// Hosts that it may not run on.
    pub forbidden: BTreeSet<HostName>,
    /// Functions of one such group run on one host: when one has moved, the others follow.
    pub together: Option<String>,
    /// Functions of one such group run on different hosts.
    pub apart: Option<String>,
    /// Delay of the network from the camera by a host to the viewers, where it differs between hosts; 0 where not named.
    pub path_ms: BTreeMap<HostName, f64>,
    /// Jitter of that network: by how much later than in the mean 95 of 100 pictures come at most. A play-out buffer holds each
    /// picture for so long, so viewers see it as delay; 0 where not named.
    #[serde(default)]
    pub path_late_ms: BTreeMap<HostName, f64>,
}

impl Placement {
    /// Checks its figures.
    ///
    /// # Errors
    /// The first that is wrong.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        figures_of_moves(self.migration_ms, self.gap_ms)?;
        for (key, paths) in [
            ("path_ms", &self.path_ms),
            ("path_late_ms", &self.path_late_ms),
        ] {
            for ms in paths.values() {
                not_negative(key, *ms)?;
            }
        }
        Ok(())
    }

    /// Delay of the network by each host that is named, with what its jitter adds, in order of name.
    pub fn paths(&self) -> impl Iterator<Item = (&HostName, f64)> {
        let by = |ms: &BTreeMap<HostName, f64>, host| ms.get(host).copied().unwrap_or_default();
        let named: BTreeSet<&HostName> = self
            .path_ms
            .keys()
            .chain(self.path_late_ms.keys())
            .collect();
        named
            .into_iter()
            .map(move |host| (host, by(&self.path_ms, host) + by(&self.path_late_ms, host)))
    }
}

/// Whether a function may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mobility {
    /// Anywhere that is not forbidden.
    Free,
    /// Never away from where it is.
    Pinned,
}

/// When a move is due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Policy {
    /// Never: for the runs that show what happens then.
    None,
    /// The thesis' rule (section 4.3.1): when the load of the source reaches a fixed value.
    Threshold {
        /// That value; 0.9 in the thesis.
        start_at: Utilization,
    },
    /// When the forecast load reaches the knee within the time that a move takes.
    Deadline {
        /// Load at which the delay explodes, as measured.
        knee: Utilization,
        /// What copying adds to the load of the source, as measured: the knee comes that much earlier during a move.
        copying_extra: f64,
        /// Time from the instant that a move is due until the decision is acted on.
        decision_ms: f64,
        /// So many standard deviations of the forecast's own error are kept away from the knee.
        margin_sd: f64,
    },
}

impl Policy {
    /// Its name on the command line and in logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Threshold { .. } => "threshold",
            Self::Deadline { .. } => "deadline",
        }
    }
}

/// What keeps a controller from making things worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// A sample older than this decides nothing.
    pub sample_age_ms_max: f64,
    /// So many samples in a row must agree that a move is due, unless a trend is believed.
    pub sustained_samples: u32,
    /// Samples that a forecast is made from.
    pub forecast_samples: usize,
    /// A slope is believed while the samples' standard error about the line is at most this.
    pub forecast_residual_max: f64,
    /// Highest forecast load of a target with the function on it.
    pub target_load_max: Utilization,
    /// A target must be lower than the source by at least this.
    pub gain_min: f64,
    /// What is gained by a move is reckoned over this time.
    pub gain_horizon_ms: f64,
    /// So many moves may be under way at once.
    pub moves_at_once_max: u32,
    /// So many functions may be on their way to one host at once.
    pub arrivals_at_once_max: u32,
    /// No second move of a function sooner than this; doubles after a failure, up to [`COOLDOWN_DOUBLINGS_MAX`] times.
    pub cooldown_ms: f64,
    /// Copying is given up after this, and before when it takes four times what is predicted for the function (10 s at least).
    pub migration_ms_max: f64,
    /// An end that does not answer is asked again after this.
    pub inspect_again_ms: f64,
}

/// A cool-down grows to at most 2^6 times its first length.
pub const COOLDOWN_DOUBLINGS_MAX: u32 = 6;

/// Who lets the guest run at the target: a capability of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOver {
    /// The target is held; the controller lets it run once the source was seen stopped (QEMU).
    Held,
    /// The engine does it by itself (libvirt, Nova).
    ByEngine,
}

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A name stands twice.
    #[error("{0:?} stands twice")]
    Twice(String),
    /// Something names a host that is not listed.
    #[error("function {vm}: {what} names {host}, which is not among the hosts")]
    UnknownHost {
        /// The function.
        vm: VmName,
        /// Which of its settings.
        what: &'static str,
        /// The host.
        host: HostName,
    },
    /// A number is out of its range.
    #[error("{name} is {value}: {allowed}")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl Settings {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_names()?;
        let limits = &self.limits;
        positive("sample_age_ms_max", limits.sample_age_ms_max)?;
        positive("migration_ms_max", limits.migration_ms_max)?;
        positive("inspect_again_ms", limits.inspect_again_ms)?;
        positive("sustained_samples", limits.sustained_samples.into())?;
        positive("forecast_residual_max", limits.forecast_residual_max)?;
        positive("gain_horizon_ms", limits.gain_horizon_ms)?;
        positive("moves_at_once_max", limits.moves_at_once_max.into())?;
        positive("arrivals_at_once_max", limits.arrivals_at_once_max.into())?;
        not_negative("cooldown_ms", limits.cooldown_ms)?;
        not_negative("gain_min", limits.gain_min)?;
        for function in &self.functions {
            function.check()?;
        }
        if let Policy::Deadline {
            copying_extra,
            decision_ms,
            margin_sd,
            ..
        } = self.policy
        {
            not_negative("copying_extra", copying_extra)?;
            not_negative("decision_ms", decision_ms)?;
            not_negative("margin_sd", margin_sd)?;
        }
        if limits.forecast_samples < 2 {
            return Err(SettingsError::Range {
                name: "forecast_samples",
                value: limits.forecast_samples as f64,
                allowed: "a line needs 2 or more",
            });
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), SettingsError> {
        let mut hosts = BTreeSet::new();
        for host in &self.hosts {
            if !hosts.insert(host) {
                return Err(SettingsError::Twice(host.to_string()));
            }
        }
        let mut vms = BTreeSet::new();
        for function in &self.functions {
            if !vms.insert(&function.vm) {
                return Err(SettingsError::Twice(function.vm.to_string()));
            }
            let home = std::iter::once(("host", &function.host));
            let forbidden = function.forbidden.iter().map(|host| ("forbidden", host));
            let paths = function.path_ms.keys().map(|host| ("path_ms", host));
            let late = function.path_late_ms.keys();
            let paths = paths.chain(late.map(|host| ("path_late_ms", host)));
            for (what, host) in home.chain(forbidden).chain(paths) {
                if !hosts.contains(host) {
                    return Err(SettingsError::UnknownHost {
                        vm: function.vm.clone(),
                        what,
                        host: host.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Checks the figures of a function's moves.
pub(crate) fn figures_of_moves(migration_ms: f64, gap_ms: f64) -> Result<(), SettingsError> {
    positive("migration_ms", migration_ms)?;
    not_negative("gap_ms", gap_ms)
}

const fn positive(name: &'static str, value: f64) -> Result<(), SettingsError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(SettingsError::Range {
        name,
        value,
        allowed: "it must be over 0",
    })
}

const fn not_negative(name: &'static str, value: f64) -> Result<(), SettingsError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(SettingsError::Range {
        name,
        value,
        allowed: "it must be 0 or more",
    })
}

/// A length of time given in milliseconds by settings that were checked.
pub(crate) fn milliseconds(ms: f64) -> Duration {
    Duration::from_micros((ms * 1e3) as u64)
}

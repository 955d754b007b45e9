//! Everything that a controller has to be told. There are no defaults in here: who drives the controller says it all.

use std::collections::BTreeSet;
use std::time::Duration;

use record::decision::Mode;
use record::{HostName, Utilization, VmName};
use serde::{Deserialize, Serialize};

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
    /// What keeps it from making things worse.
    pub limits: Limits,
    /// How functions are moved.
    pub mode: Mode,
    /// Who lets the guest run at the target.
    pub hand_over: HandOver,
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
        /// Time from a decision until the viewer is served from the target, 95th percentile, as measured.
        migration_ms: f64,
        /// Time from the instant that a move is due until the decision is acted on.
        decision_ms: f64,
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
    /// No second move of a function sooner than this; doubles after a failure, up to [`COOLDOWN_DOUBLINGS_MAX`] times.
    pub cooldown_ms: f64,
    /// Copying is given up after this.
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
    /// A function is on a host that is not listed.
    #[error("function {vm} is placed on {host}, which is not among the hosts")]
    UnknownHost {
        /// The function.
        vm: VmName,
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
            if !hosts.contains(&function.host) {
                return Err(SettingsError::UnknownHost {
                    vm: function.vm.clone(),
                    host: function.host.clone(),
                });
            }
        }
        let limits = &self.limits;
        let mut positive = vec![
            ("sample_age_ms_max", limits.sample_age_ms_max),
            ("migration_ms_max", limits.migration_ms_max),
            ("inspect_again_ms", limits.inspect_again_ms),
            ("sustained_samples", f64::from(limits.sustained_samples)),
            ("forecast_residual_max", limits.forecast_residual_max),
        ];
        let mut not_negative = vec![
            ("cooldown_ms", limits.cooldown_ms),
            ("gain_min", limits.gain_min),
        ];
        if let Policy::Deadline {
            copying_extra,
            migration_ms,
            decision_ms,
            ..
        } = self.policy
        {
            positive.push(("migration_ms", migration_ms));
            not_negative.extend([
                ("copying_extra", copying_extra),
                ("decision_ms", decision_ms),
            ]);
        }
        for (name, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(SettingsError::Range {
                    name,
                    value,
                    allowed: "it must be over 0",
                });
            }
        }
        for (name, value) in not_negative {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(SettingsError::Range {
                    name,
                    value,
                    allowed: "it must be 0 or more",
                });
            }
        }
        if limits.forecast_samples < 2 {
            let value = limits.forecast_samples as f64;
            return Err(SettingsError::Range {
                name: "forecast_samples",
                value,
                allowed: "a line needs 2 or more",
            });
        }
        Ok(())
    }
}

/// A length of time given in milliseconds by settings that were checked.
pub(crate) fn milliseconds(ms: f64) -> Duration {
    Duration::from_micros((ms * 1e3) as u64)
}

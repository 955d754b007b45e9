//! What a scenario says to the control core.

use control::{HandOver, Limits, Placement, Policy, Settings};
use record::{HostName, Profile, Utilization};

use crate::types::{PolicyName, Role, Scenario};

/// The figures that a policy rests on: measured on a machine, or those of the simulator's model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Load at which the delay explodes.
    pub knee: Utilization,
    /// What copying adds to the load of the source.
    pub copying_extra: f64,
    /// Time from a decision until the viewer is served from the target, 95th percentile.
    pub migration_ms: f64,
    /// Share of a host that the function needs.
    pub function_load: Utilization,
}

impl From<&Profile> for Figures {
    fn from(profile: &Profile) -> Self {
        Self {
            knee: profile.knee.utilization,
            copying_extra: profile.function.copying_extra,
            migration_ms: profile.migration.p95_ms,
            function_load: profile.function.idle,
        }
    }
}

impl Scenario {
    /// The figures of the simulator's model.
    #[must_use]
    pub const fn model_figures(&self) -> Figures {
        Figures {
            knee: self.model.knee,
            copying_extra: self.model.copying_extra,
            migration_ms: self.model.migration_ms,
            function_load: self.model.function_load,
        }
    }

    /// Settings of a controller for one run.
    #[must_use]
    pub fn controller_settings(&self, policy: PolicyName, figures: &Figures) -> Settings {
        let limits = &self.limits;
        let policy = match policy {
            PolicyName::None => Policy::None,
            PolicyName::Threshold => Policy::Threshold {
                start_at: self.threshold.start_at,
            },
            PolicyName::Deadline => Policy::Deadline {
                knee: figures.knee,
                copying_extra: figures.copying_extra,
                migration_ms: figures.migration_ms,
                decision_ms: limits.decision_ms,
            },
        };
        // The thesis' rule acts on the first sample that is over its threshold.
        let sustained_samples = if matches!(policy, Policy::Threshold { .. }) {
            1
        } else {
            limits.sustained_samples
        };
        let hosts: Vec<HostName> = self
            .hosts_of(Role::Edge)
            .map(|(name, _)| name.clone())
            .collect();
        let function = &self.function;
        Settings {
            hosts,
            functions: vec![Placement {
                vm: function.name.clone(),
                host: function.host.as_ref().clone(),
                load: figures.function_load,
            }],
            policy,
            limits: Limits {
                sample_age_ms_max: self.telemetry.sample_age_ms_max,
                sustained_samples,
                forecast_samples: limits.forecast_samples,
                forecast_residual_max: limits.forecast_residual_max,
                target_load_max: limits.target_load_max,
                gain_min: limits.gain_min,
                cooldown_ms: limits.cooldown_ms,
                migration_ms_max: self.migration.timeout_s_per_gib
                    * 1e3
                    * f64::from(function.memory_mib)
                    / 1024.0,
                inspect_again_ms: limits.inspect_again_ms,
            },
            mode: self.migration.mode,
            hand_over: HandOver::Held,
        }
    }
}

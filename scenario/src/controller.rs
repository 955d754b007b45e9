//! What a scenario says to the control core.

use control::{HandOver, Limits, PictureAge, Placement, Policy, Settings, Trust};
use record::{HostName, Profile, Utilization};

use crate::types::{Function, PolicyName, Role, Scenario};

/// The figures that a policy rests on: measured on a machine, or those of the simulator's model.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Load at which the delay explodes.
    pub knee: Utilization,
    /// Picture age by load, 95th percentile.
    pub picture_age: PictureAge,
    /// What copying adds to the load of the source.
    pub copying_extra: f64,
    /// What was measured of the function; what the model says of each one where nothing was.
    pub measured: Option<MeasuredFunction>,
}

/// A function's figures as measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredFunction {
    /// Share of a host that it needs.
    pub load: Utilization,
    /// Time from a decision until the viewer is served from the target, 95th percentile.
    pub migration_ms: f64,
    /// How long viewers see nothing new at the switch: as long as the engine's longest downtime.
    pub gap_ms: f64,
}

impl TryFrom<&Profile> for Figures {
    type Error = control::PictureAgeError;

    /// # Errors
    /// When the sweep of the profile gives no curve.
    fn try_from(profile: &Profile) -> Result<Self, Self::Error> {
        Ok(Self {
            knee: profile.knee.utilization,
            picture_age: profile.try_into()?,
            copying_extra: profile.function.copying_extra,
            measured: Some(MeasuredFunction {
                load: profile.function.idle,
                migration_ms: profile.migration.p95_ms,
                gap_ms: profile.migration.longest_downtime_ms(),
            }),
        })
    }
}

impl Scenario {
    /// The same scenario with machines as a profile has measured them in place of its own model: knee, picture age, what copying
    /// adds, what a function needs, and the time of a move from a calm source.
    ///
    /// # Errors
    /// When the sweep of the profile gives no curve.
    pub fn measured(mut self, profile: &Profile) -> Result<Self, control::PictureAgeError> {
        self.model.picture_age = profile.try_into()?;
        self.model.knee = profile.knee.utilization;
        self.model.copying_extra = profile.function.copying_extra;
        let migration = &self.migration;
        // What is fixed was measured, so the rest of the mean is copying's. Else the scenario's share is copied, and the rest is fixed.
        let fixed_ms = profile.migration.law.as_ref().map(|law| law.total.fixed_ms);
        for function in self.functions.values_mut() {
            function.load = profile.function.idle;
            let copying_s = self.model.migration.copying_s(
                function,
                migration.bandwidth_mib_s,
                migration.downtime_limit_ms,
            );
            if let (Some(copying_s), Some(fixed_ms)) = (copying_s, fixed_ms) {
                let law = &mut self.model.migration;
                law.fixed_ms = fixed_ms.clamp(0.0, profile.migration.mean_ms);
                // Copying is in proportion to what is used of memory.
                law.memory_used *= (profile.migration.mean_ms - law.fixed_ms) / (copying_s * 1e3);
            } else if let Some(copying_s) = copying_s {
                self.model.migration.fixed_ms =
                    (profile.migration.mean_ms - copying_s * 1e3).max(0.0);
            }
        }
        if let Some(slowdown) = &profile.migration.slowdown {
            self.model.migration.slowdown = slowdown.source.clone();
            self.model.migration.slowdown_by_target = slowdown.target.clone();
        }
        Ok(self)
    }

    /// The figures of the simulator's model.
    #[must_use]
    pub fn model_figures(&self) -> Figures {
        Figures {
            knee: self.model.knee,
            picture_age: self.model.picture_age.clone(),
            copying_extra: self.model.copying_extra,
            measured: None,
        }
    }

    /// Time of a move of a function as the model has it, alone on the link, from a source at the knee to the fullest target that is
    /// allowed; a function that writes faster than it is copied has the time after which copying is given up.
    #[must_use]
    pub fn migration_ms(&self, function: &Function) -> f64 {
        let (law, migration) = (&self.model.migration, &self.migration);
        let copying_s = law.copying_s(
            function,
            migration.bandwidth_mib_s,
            migration.downtime_limit_ms,
        );
        let slowdown = law.slowdown.at(self.model.knee.share())
            * law
                .slowdown_by_target
                .at(self.limits.target_load_max.share());
        copying_s.map_or_else(
            || self.migration_ms_max(function),
            |copying_s| law.fixed_ms + copying_s * slowdown * 1e3,
        )
    }

    /// Copying a function is given up after this.
    #[must_use]
    pub fn migration_ms_max(&self, function: &Function) -> f64 {
        self.migration.timeout_s_per_gib * 1e3 * f64::from(function.memory_mib) / 1024.0
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
                decision_ms: limits.decision_ms,
                margin_sd: limits.margin_sd,
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
        let placement = |(vm, function): (&record::VmName, &Function)| {
            let modelled = MeasuredFunction {
                load: function.load,
                migration_ms: self.migration_ms(function),
                gap_ms: self.migration.downtime_limit_ms,
            };
            let figures = figures.measured.unwrap_or(modelled);
            Placement {
                vm: vm.clone(),
                host: function.host.as_ref().clone(),
                load: figures.load,
                viewers: function.viewers,
                migration_ms: figures.migration_ms,
                gap_ms: figures.gap_ms,
                mobility: function.mobility,
                forbidden: function.forbidden.clone(),
                together: function.together.clone(),
                apart: function.apart.clone(),
                path_ms: function.path_ms.clone(),
                path_late_ms: function.path_late_ms.clone(),
            }
        };
        let longest = self.functions.values().map(|f| self.migration_ms_max(f));
        Settings {
            hosts,
            functions: self.functions.iter().map(placement).collect(),
            policy,
            picture_age: figures.picture_age.clone(),
            trust: Trust::Automatic,
            limits: Limits {
                sample_age_ms_max: self.telemetry.sample_age_ms_max,
                sustained_samples,
                forecast_samples: limits.forecast_samples,
                forecast_residual_max: limits.forecast_residual_max,
                target_load_max: limits.target_load_max,
                gain_min: limits.gain_min,
                gain_horizon_ms: limits.gain_horizon_ms,
                moves_at_once_max: limits.moves_at_once_max,
                arrivals_at_once_max: limits.arrivals_at_once_max,
                cooldown_ms: limits.cooldown_ms,
                migration_ms_max: longest.fold(0.0, f64::max),
                inspect_again_ms: limits.inspect_again_ms,
            },
            mode: self.migration.mode,
            hand_over: HandOver::Held,
            moves_begun: 0,
        }
    }
}

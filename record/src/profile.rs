//! `profile.toml`: what `forestall lab calibrate` measured on a machine, and the only place that a knee or a migration
//! time comes from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::precopy::Precopy;
use crate::{SCHEMA, Slowdown, Utilization};

/// Of 100 moves as many standard deviations over what is expected as 95 do not pass.
const P95_SD: f64 = 1.645;

/// What was measured on one machine for one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// RFC 3339.
    pub measured_at: String,
    /// Processor, cores and accelerator of the machine.
    pub machine: String,
    /// What was measured: a digest of the scenario's video, function, competition and migration settings. A profile of
    /// another service is refused.
    pub service: String,
    /// The knee.
    pub knee: Knee,
    /// The function's demand.
    pub function: FunctionLoad,
    /// Migrations.
    pub migration: MigrationTimes,
}

/// Load at which the picture's age explodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knee {
    /// Measured utilization at which the 95th percentile of picture age crosses the budget.
    pub utilization: Utilization,
    /// The budget.
    pub budget_ms: f64,
    /// The sweep that it was read from, in order of offered load.
    pub sweep: Vec<SweepCell>,
    /// Where delay and jitter begin to rise, by a broken line through a longer sweep: `forestall report FOLDER --profile FILE` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rises: Option<Rises>,
}

/// Loads at which something begins to rise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rises {
    /// RFC 3339, when the last level was measured.
    pub measured_at: String,
    /// Of the picture's age; absent where the sweep does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture_age: Option<Rise>,
    /// Of the jitter (coefficient of variation of frames' intervals).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Rise>,
}

/// A load at which something begins to rise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rise {
    /// Demand of function and background together, as a share of the edge server's CPU.
    pub offered: f64,
    /// Where it is with 95 %.
    pub interval95: [f64; 2],
}

/// One level of the sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepCell {
    /// Demand of function and background together; over 1 it cannot be met.
    pub offered: f64,
    /// What the host's CPU accounting said.
    pub utilization: Utilization,
    /// Median of picture age.
    pub age_median_ms: f64,
    /// 95th percentile of picture age.
    pub age_p95_ms: f64,
    /// Coefficient of variation of the intervals of frames.
    pub frame_interval_cv: f64,
}

/// What the function needs of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionLoad {
    /// Share of a host's CPU, with no other load.
    pub idle: Utilization,
    /// What it needs more while it is copied: the highest mean over 1 s of a move.
    pub copying_extra: f64,
}

/// Total migration times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationTimes {
    /// Mean of the moves.
    pub mean_ms: f64,
    /// 95th percentile from the start of preparing until the viewer's first frame from the target; with fewer than 20
    /// moves, the longest seen.
    pub p95_ms: f64,
    /// The moves.
    pub moves: Vec<MeasuredMove>,
    /// How long others take, where that was measured: `forestall report FOLDER --profile FILE` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law: Option<MigrationLaw>,
    /// How many times longer they take by the load of either end, where that was measured: written with the law.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown: Option<SlowdownByLoad>,
}

/// How many times longer a move takes: a factor by the load of its source, times one by that of its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowdownByLoad {
    /// RFC 3339, when the last of the moves was measured.
    pub measured_at: String,
    /// By the load of the source, the function's own in it.
    pub source: Slowdown,
    /// By the load of the target before the function is there.
    pub target: Slowdown,
}

/// Pre-copy's geometric law as it was fitted to moves over paths. `passes` is the time of all passes over memory over that of the
/// first, `rest` what is left when the guest is stopped; both follow from memory, dirty rate, bandwidth and downtime limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationLaw {
    /// RFC 3339, when the last of the moves was measured.
    pub measured_at: String,
    /// Moves that it was fitted to.
    pub moves: u64,
    /// What a path lets through in a round trip at most, where that is less than the bandwidth allowed; absent where no path showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_mib: Option<f64>,
    /// The engine's total migration time.
    pub total: TotalLaw,
    /// The engine's downtime.
    pub downtime: StoppedLaw,
    /// Longest time without a new frame on the screen.
    pub gap: StoppedLaw,
}

/// `fixed_ms + times · (filled + own_mib) / bandwidth · passes + round_trips · RTT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalLaw {
    /// The same in every move.
    pub fixed_ms: f64,
    /// How many times longer copying takes than at the bandwidth that it may use.
    pub times: f64,
    /// What the guest has itself that is not zero.
    pub own_mib: f64,
    /// Round trips of the path.
    pub round_trips: f64,
    /// Standard deviation of a move about it, as a share of it.
    pub sd_share: f64,
}

/// `fixed_ms + ms_per_mib · rest + round_trips · RTT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppedLaw {
    /// The same in every move.
    pub fixed_ms: f64,
    /// For each MiB that is left when the guest is stopped.
    pub ms_per_mib: f64,
    /// Round trips of the path.
    pub round_trips: f64,
    /// Standard deviation of a move about it.
    pub sd_ms: f64,
}

/// A virtual machine, and the path that it is to be moved over, as [`MigrationLaw::predict`] has to know them.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// Memory that is not zero: what the engine's process has resident.
    pub used_mib: f64,
    /// Memory that is written anew each second.
    pub dirty_mib_s: f64,
    /// What copying may use of the path.
    pub bandwidth_mib_s: f64,
    /// Longest stop that the engine may plan.
    pub downtime_limit_ms: f64,
    /// Round trip of the path.
    pub rtt_ms: f64,
}

/// What a move takes, each so that 95 of 100 take no longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The engine's total migration time.
    pub total_ms: f64,
    /// Longest time without a new frame on the screen.
    pub gap_ms: f64,
}

impl Moved {
    /// Whether a move can be reckoned from it.
    ///
    /// # Errors
    /// The first figure that is none.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, least) in [
            ("used_mib", self.used_mib, f64::MIN_POSITIVE),
            ("bandwidth_mib_s", self.bandwidth_mib_s, f64::MIN_POSITIVE),
            ("dirty_mib_s", self.dirty_mib_s, 0.0),
            ("downtime_limit_ms", self.downtime_limit_ms, 0.0),
            ("rtt_ms", self.rtt_ms, 0.0),
        ] {
            if !(value >= least && value.is_finite()) {
                return Err(format!("moved: {name} is {value}"));
            }
        }
        Ok(())
    }
}

impl MigrationTimes {
    /// Longest downtime of the moves: viewers see nothing new for longer.
    #[must_use]
    pub fn longest_downtime_ms(&self) -> f64 {
        let moves = self.moves.iter();
        moves.map(|one| one.downtime_ms).fold(0.0, f64::max)
    }

    /// Longest time without a new picture that the moves can have had at the switch: the guest stood still for the engine's downtime
    /// at the end of the engine's time, and the viewer had the first picture from the target when the move was complete. What was
    /// prepared before copying is in it, too: it is a bound, where the downtime alone is less than any viewer sees.
    #[must_use]
    pub fn gap_ms_max(&self) -> f64 {
        let moves = self.moves.iter();
        moves
            .map(|one| one.downtime_ms + (one.complete_ms - one.total_ms).max(0.0))
            .fold(0.0, f64::max)
    }

    /// Longest time of the moves before and after the engine's.
    #[must_use]
    pub fn around_ms(&self) -> f64 {
        let moves = self.moves.iter();
        moves
            .map(|one| one.complete_ms - one.total_ms)
            .fold(0.0, f64::max)
    }
}

impl MigrationLaw {
    /// How long a move takes. `None` when it never ends: memory is written faster than it is sent.
    #[must_use]
    pub fn predict(&self, moved: &Moved) -> Option<Prediction> {
        let through = self.window_mib.filter(|_| moved.rtt_ms > 0.0);
        let through = through.map_or(f64::INFINITY, |mib| mib / (moved.rtt_ms / 1e3));
        let bandwidth_mib_s = moved.bandwidth_mib_s.min(through);
        let copied = Precopy {
            first_mib: moved.used_mib,
            written_mib: moved.used_mib,
            dirty_mib_s: moved.dirty_mib_s,
            bandwidth_mib_s,
            downtime_limit_ms: moved.downtime_limit_ms,
        };
        let passes = copied.passes()?;
        let (total, gap) = (&self.total, &self.gap);
        let copying_ms = moved.used_mib / bandwidth_mib_s * passes.over_first * 1e3;
        let total_ms = total.fixed_ms + total.times * copying_ms + total.round_trips * moved.rtt_ms;
        let gap_ms =
            gap.fixed_ms + gap.ms_per_mib * passes.rest_mib + gap.round_trips * moved.rtt_ms;
        Some(Prediction {
            total_ms: total_ms * (1.0 + P95_SD * total.sd_share),
            gap_ms: gap_ms + P95_SD * gap.sd_ms,
        })
    }
}

/// One move of the calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredMove {
    /// Utilization of the source when it began.
    pub source_utilization: Utilization,
    /// The engine's total migration time.
    pub total_ms: f64,
    /// The engine's downtime.
    pub downtime_ms: f64,
    /// From the decision until the viewer's first frame from the target.
    pub complete_ms: f64,
}

#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file could not be read.
    #[error("cannot read the profile {path}: run `forestall lab calibrate` to measure one")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It is not a profile.
    #[error("{path} is not a profile: {message}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong, with the line.
        message: String,
    },
    /// It is of another version.
    #[error(
        "{path} has schema {found}; this program reads {SCHEMA}: measure again with `forestall lab calibrate`"
    )]
    Schema {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
}

impl Profile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// When the file cannot be read, is not a profile, or is one of another version.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ProfileError::Read {
            path: name.clone(),
            source,
        })?;
        let format = |error: toml::de::Error| ProfileError::Format {
            path: name.clone(),
            message: error.to_string(),
        };
        // First: in another version other keys may be wrong.
        let Version { schema } = toml::from_str(&text).map_err(format)?;
        if schema != SCHEMA {
            return Err(ProfileError::Schema {
                path: name,
                found: schema,
            });
        }
        toml::from_str(&text).map_err(format)
    }

    /// The text of the file, with the units as comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).unwrap_or_default();
        format!(
            "# Measured by `forestall lab calibrate`. Utilizations and `offered` are shares of one edge server's CPU (0 to 1),\n\
             # times are milliseconds. [migration.law] and [migration.slowdown] are there once `forestall report FOLDER --profile FILE` has fitted them.\n\
             # Delete the file to measure again.\n{body}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        schema = 1
        measured_at = "2026-11-30T12:00:00Z"
        machine = "a machine"
        service = "a service"
        [knee]
        utilization = 0.97
        budget_ms = 200.0
        sweep = []
        [function]
        idle = 0.25
        copying_extra = 0.04
        [migration]
        mean_ms = 7000.0
        p95_ms = 7200.0
        moves = []
    "#;

    #[test]
    fn what_is_no_profile_of_this_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Profile::read(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read(GOOD).unwrap().schema, SCHEMA);
        for (old, new, said) in [
            ("schema = 1", "schema = 2\ncolour = 3", "has schema 2"),
            ("schema = 1", "", "missing field `schema`"),
            ("utilization = 0.97", "utilization = 1.4", "1.4"),
            ("utilization = 0.97", "utilization = -0.1", "-0.1"),
            ("idle = 0.25", "idle = nan", "NaN"),
            ("budget_ms", "budget_s", "budget_s"),
            ("[knee]", "[knee", "line 6"),
        ] {
            let error = read(&GOOD.replace(old, new)).unwrap_err();
            assert!(error.contains(said), "{new}: {error}");
            assert!(error.contains("profile.toml"), "{error}");
        }
    }
}

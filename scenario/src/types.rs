//! The scenario as the file has it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use record::decision::Mode;
use record::{HostName, Utilization, VmName};
use serde::Deserialize;
use toml::Spanned;

use crate::load::LoadProfile;

/// An experiment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Version of the format; 1.
    pub schema: u32,
    /// Name of the folder, and of the results.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Picture age allowed.
    pub budget_ms: f64,
    /// The runs, in this order.
    pub policies: Vec<PolicyName>,
    /// Profile of a run for which none was chosen.
    pub default_profile: Spanned<String>,
    /// The camera's picture and its coding.
    pub video: Video,
    /// The machines.
    pub hosts: BTreeMap<HostName, Host>,
    /// The service function.
    pub function: Function,
    /// How load and virtual machine compete.
    pub competition: Competition,
    /// How load is watched.
    pub telemetry: Telemetry,
    /// How the function is moved.
    pub migration: Migration,
    /// The threshold policy.
    pub threshold: Threshold,
    /// What keeps the controller from making things worse.
    pub limits: Limits,
    /// Load over time, by name.
    pub profiles: BTreeMap<String, LoadProfile>,
    /// What `lab calibrate` does.
    pub calibration: Calibration,
    /// The machine as the simulator models it.
    pub model: Model,
}

/// A policy by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyName {
    /// Nothing is moved.
    None,
    /// Fixed load.
    Threshold,
    /// Forecast against knee and migration time.
    Deadline,
}

impl PolicyName {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Threshold => "threshold",
            Self::Deadline => "deadline",
        }
    }
}

/// Which programs carry the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// `forestall capture`, `overlay` and `play`.
    Forestall,
    /// Stock `ffmpeg` processes, as in the thesis; Forestall draws the clock and reads it.
    Ffmpeg,
}

/// Picture and coding.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// Programs.
    pub chain: Chain,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Bit rate.
    pub bitrate_kbps: u32,
    /// Frames from one I-frame to the next.
    pub gop: u32,
}

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The camera.
    Robot,
    /// The viewer.
    User,
    /// An edge server.
    Edge,
    /// The orchestrator.
    Orchestrator,
}

/// A machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// What it is for.
    pub role: Spanned<Role>,
    /// Address on the data plane.
    pub data: Option<Ipv4Addr>,
    /// Address on the management network.
    pub management: Option<Ipv4Addr>,
}

/// The service function in its virtual machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Name of the virtual machine.
    pub name: VmName,
    /// Where it is at the start.
    pub host: Spanned<HostName>,
    /// Its address on the data plane.
    pub data: Ipv4Addr,
    /// Memory of the virtual machine.
    pub memory_mib: u32,
    /// The text that it inserts.
    pub text: String,
}

/// How load and virtual machine compete for an edge server's core.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Competition {
    /// CPU weight of the background load, with that of the virtual machine as 1.
    pub load_weight: u32,
    /// The background load uses its share of each such period in one piece.
    pub burst_ms: f64,
}

/// How load is watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// How often agents are asked.
    pub poll_ms: f64,
    /// A sample older than this decides nothing.
    pub sample_age_ms_max: f64,
}

/// How the function is moved.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// How.
    pub mode: Mode,
    /// Longest stop of the guest that the engine may plan.
    pub downtime_limit_ms: f64,
    /// Copying is given up after this time per GiB of the machine's memory.
    pub timeout_s_per_gib: f64,
    /// What copying may use of the management link.
    pub bandwidth_mib_s: f64,
    /// Rate of the management link.
    pub link_mbit_s: f64,
}

/// The threshold policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Load of the source at which it starts.
    pub start_at: Utilization,
}

/// See [`control::Limits`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Limits {
    pub decision_ms: f64,
    pub sustained_samples: u32,
    pub forecast_samples: usize,
    pub forecast_residual_max: f64,
    pub target_load_max: Utilization,
    pub gain_min: f64,
    pub cooldown_ms: f64,
    pub inspect_again_ms: f64,
}

/// What `lab calibrate` does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Offered loads of the sweep, rising.
    pub levels: Vec<f64>,
    /// Time for a level to take effect.
    pub settle_s: f64,
    /// Time for which a level is measured.
    pub cell_s: f64,
    /// Offered load at which moves are measured.
    pub move_at: f64,
    /// How many moves.
    pub moves: u32,
}

/// The machine as the simulator models it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Share of a host that the function needs.
    pub function_load: Utilization,
    /// Load at which the delay explodes.
    pub knee: Utilization,
    /// What copying adds to the load of the source.
    pub copying_extra: f64,
    /// Time of a move, from the decision to the viewer's first frame.
    pub migration_ms: f64,
    /// Refresh period of the agents.
    pub refresh_ms: f64,
}

impl Scenario {
    /// Hosts of one role, in order of name.
    pub fn hosts_of(&self, role: Role) -> impl Iterator<Item = (&HostName, &Host)> {
        self.hosts
            .iter()
            .filter(move |(_, host)| *host.role.as_ref() == role)
    }

    /// Everything that the measured figures of a profile depend on, as one line: a profile measured for another line is of
    /// no use here.
    #[must_use]
    pub fn service(&self) -> String {
        let (v, m, c, f) = (
            &self.video,
            &self.migration,
            &self.competition,
            &self.function,
        );
        let chain = match v.chain {
            Chain::Forestall => "forestall",
            Chain::Ffmpeg => "ffmpeg",
        };
        let video = format!(
            "{chain} {}x{}@{} {} kbit/s gop {}",
            v.width, v.height, v.fps, v.bitrate_kbps, v.gop
        );
        let copying = format!(
            "downtime {} ms, copying {} MiB/s, link {} Mbit/s",
            m.downtime_limit_ms, m.bandwidth_mib_s, m.link_mbit_s
        );
        format!(
            "{video}, VM {} MiB, weight 1:{} burst {} ms, budget {} ms, {copying}, text {:?}",
            f.memory_mib, c.load_weight, c.burst_ms, self.budget_ms, f.text
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_another_service_has_another_line() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../scenarios/reallocation/scenario.toml"
        );
        let scenario = Scenario::read(std::path::Path::new(file)).unwrap();
        let changes: [fn(&mut Scenario); 14] = [
            |s| s.video.chain = Chain::Ffmpeg,
            |s| s.video.width += 2,
            |s| s.video.height += 2,
            |s| s.video.fps += 1,
            |s| s.video.bitrate_kbps += 1,
            |s| s.video.gop += 1,
            |s| s.function.memory_mib += 1,
            |s| s.function.text = s.function.text.to_uppercase(),
            |s| s.competition.load_weight += 1,
            |s| s.competition.burst_ms += 1.0,
            |s| s.budget_ms += 1.0,
            |s| s.migration.downtime_limit_ms += 1.0,
            |s| s.migration.bandwidth_mib_s += 1.0,
            |s| s.migration.link_mbit_s += 1.0,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = scenario.clone();
            change(&mut other);
            assert_ne!(other.service(), scenario.service(), "change {number}");
        }
    }
}

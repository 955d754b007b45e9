//! The scenario as the file has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use control::{Mobility, PictureAge};
use record::decision::Mode;
use record::{HostName, Utilization, VmName};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::load::LoadProfile;
use crate::migration::MigrationLaw;

/// An experiment. The lab needs all of it, the simulator all but what is optional here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Version of the format; [`crate::SCHEMA`].
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
    /// The camera's picture and its coding; for the lab.
    pub video: Option<Video>,
    /// The machines.
    pub hosts: BTreeMap<HostName, Host>,
    /// The service functions, by the names of their virtual machines.
    pub functions: BTreeMap<VmName, Function>,
    /// How load and virtual machine compete; for the lab.
    pub competition: Option<Competition>,
    /// How load is watched.
    pub telemetry: Telemetry,
    /// How functions are moved.
    pub migration: Migration,
    /// The threshold policy.
    pub threshold: Threshold,
    /// What keeps the controller from making things worse.
    pub limits: Limits,
    /// Load over time, by name.
    pub profiles: BTreeMap<String, LoadProfile>,
    /// What happens besides load, in order of time; for the simulator.
    #[serde(default)]
    pub events: Vec<TimedEvent>,
    /// What `lab calibrate` does; for the lab.
    pub calibration: Option<Calibration>,
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
#[serde(rename_all = "kebab-case")]
pub enum Chain {
    /// `forestall capture`, `overlay` and `play`.
    Forestall,
    /// Stock `ffmpeg` processes, as in the thesis, told what is known to lower the delay; Forestall draws the clock and reads it.
    Ffmpeg,
    /// The same as one writes them down first.
    FfmpegPlain,
}

impl Chain {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forestall => "forestall",
            Self::Ffmpeg => "ffmpeg",
            Self::FfmpegPlain => "ffmpeg-plain",
        }
    }
}

/// Which program shows the video to the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Viewer {
    /// `forestall play`.
    #[default]
    Forestall,
    /// `ffplay` with options for low delay, on a screen that is read.
    Ffplay,
    /// The same without options.
    FfplayPlain,
}

impl Viewer {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forestall => "forestall",
            Self::Ffplay => "ffplay",
            Self::FfplayPlain => "ffplay-plain",
        }
    }
}

/// Picture and coding.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// Programs.
    pub chain: Chain,
    /// Who shows it, of whatever chain; for the lab.
    #[serde(default)]
    pub viewer: Viewer,
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

/// A service function in its virtual machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Where it is at the start.
    pub host: Spanned<HostName>,
    /// Share of a host that it needs, as the simulator models it; the lab measures it.
    pub load: Utilization,
    /// Memory of the virtual machine.
    pub memory_mib: u32,
    /// Memory that it writes anew each second, as the simulator models it.
    #[serde(default)]
    pub dirty_mib_s: f64,
    /// How many people see its video.
    #[serde(default = "one")]
    pub viewers: u32,
    /// Its address on the data plane; for the lab.
    pub data: Option<Ipv4Addr>,
    /// The text that it inserts; for the lab.
    pub text: Option<String>,
    /// Whether it may be moved.
    #[serde(default = "free")]
    pub mobility: Mobility,
    /// Hosts that it may not run on.
    #[serde(default)]
    pub forbidden: BTreeSet<HostName>,
    /// Functions of one such group run on one host.
    pub together: Option<String>,
    /// Functions of one such group run on different hosts.
    pub apart: Option<String>,
    /// Delay of the network from the camera by a host to the viewers, where hosts differ.
    #[serde(default)]
    pub path_ms: BTreeMap<HostName, f64>,
    /// By how much later than in the mean 95 of 100 pictures come at most by a host: jitter, which a play-out buffer holds.
    #[serde(default)]
    pub path_late_ms: BTreeMap<HostName, f64>,
}

const fn one() -> u32 {
    1
}

const fn free() -> Mobility {
    Mobility::Free
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

/// See [`control::Limits`] and [`control::Policy::Deadline`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Limits {
    pub decision_ms: f64,
    pub margin_sd: f64,
    pub sustained_samples: u32,
    pub forecast_samples: usize,
    pub forecast_residual_max: f64,
    pub target_load_max: Utilization,
    pub gain_min: f64,
    pub gain_horizon_ms: f64,
    pub moves_at_once_max: u32,
    pub arrivals_at_once_max: u32,
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

/// The machines as the simulator models them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Load at which the delay explodes.
    pub knee: Utilization,
    /// Picture age by load.
    pub picture_age: PictureAge,
    /// What copying adds to the load of the source.
    pub copying_extra: f64,
    /// Time of a move.
    pub migration: MigrationLaw,
    /// Refresh period of the agents.
    pub refresh_ms: f64,
}

/// Something that happens at an instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Seconds after the profile's beginning.
    pub at_s: f64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What may happen besides load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The agent of a host does not answer, or its counters stand still: no sample comes of it.
    AgentSilent {
        /// The host.
        host: HostName,
        /// For how long.
        for_s: f64,
    },
    /// Samples of a host come late.
    SamplesLate {
        /// The host.
        host: HostName,
        /// For how long they do.
        for_s: f64,
        /// By how much.
        late_s: f64,
    },
    /// The engine of a host cannot be reached: neither asked nor told. What it does it goes on doing.
    Unreachable {
        /// The host.
        host: HostName,
        /// For how long.
        for_s: f64,
    },
    /// The engine refuses the next move of a function: nothing happens.
    NextMoveRefused {
        /// The function.
        vm: VmName,
    },
    /// The next move of a function fails when half is copied.
    NextCopyFails {
        /// The function.
        vm: VmName,
    },
    /// The next move of a function is never done: it writes memory faster than it is copied.
    NextCopyStalls {
        /// The function.
        vm: VmName,
    },
    /// The process of a function at the target of its move is killed.
    TargetKilled {
        /// The function.
        vm: VmName,
    },
    /// The process of a function where it runs is killed.
    SourceKilled {
        /// The function.
        vm: VmName,
    },
    /// A person wants a host emptied.
    Drain {
        /// The host.
        host: HostName,
    },
    /// A person gives it back.
    Undrain {
        /// The host.
        host: HostName,
    },
    /// The orchestrator is killed and started again: it knows its settings, where functions were at the start, and the moves that
    /// were begun.
    Restart,
}

impl Host {
    /// Whether it has the addresses that a lab gives a host of its role, and no others.
    #[must_use]
    pub fn addressed(&self) -> bool {
        let (data, management) = match self.role.as_ref() {
            Role::Robot | Role::User => (true, false),
            Role::Edge => (true, true),
            Role::Orchestrator => (false, true),
        };
        self.data.is_some() == data && self.management.is_some() == management
    }
}

impl Event {
    /// The host that it names.
    #[must_use]
    pub const fn host(&self) -> Option<&HostName> {
        match self {
            Self::AgentSilent { host, .. }
            | Self::SamplesLate { host, .. }
            | Self::Unreachable { host, .. }
            | Self::Drain { host }
            | Self::Undrain { host } => Some(host),
            _ => None,
        }
    }

    /// The function that it names.
    #[must_use]
    pub const fn vm(&self) -> Option<&VmName> {
        match self {
            Self::NextMoveRefused { vm }
            | Self::NextCopyFails { vm }
            | Self::NextCopyStalls { vm }
            | Self::TargetKilled { vm }
            | Self::SourceKilled { vm } => Some(vm),
            _ => None,
        }
    }
}

impl Scenario {
    /// Hosts of one role, in order of name.
    pub fn hosts_of(&self, role: Role) -> impl Iterator<Item = (&HostName, &Host)> {
        self.hosts
            .iter()
            .filter(move |(_, host)| *host.role.as_ref() == role)
    }
}

//! `experiment.json`, what the lab says about an experiment, and `results.json`, what was measured in it.
//!
//! Keys and units are relied on outside the project. All `*_at_s` instants are seconds since the start of the run's
//! `load` phase. What was not measured is `None`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the raw CSV files do not say: `experiment.json`, written by the lab. Lists the runs that are complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Version of the format, [`crate::SCHEMA`].
    pub schema: u32,
    /// Everything that goes over into the results unchanged.
    #[serde(flatten)]
    pub setting: Setting,
    /// The complete runs, in the order in which they were made.
    pub runs: Vec<ExperimentRun>,
}

/// What an experiment was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// For the heading of the report.
    pub title: String,
    /// Name of the scenario.
    pub scenario: String,
    /// RFC 3339.
    pub started_at: String,
    /// The command line that makes the experiment again.
    pub command: String,
    /// Seed of the experiment; each run has one derived from it.
    pub seed: u64,
    /// The machine as programs see it.
    pub environment: Environment,
    /// The machine in words.
    #[serde(default)]
    pub machine: String,
    /// What ran and moved the virtual machine: `qemu`, `libvirt` or `nova`. `None`: QEMU, before there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The chain of programs from camera to screen, in words.
    #[serde(default)]
    pub chain: String,
    /// Picture size, rate and codec, in words.
    #[serde(default)]
    pub video: String,
    /// How background load and virtual machine compete for the CPU, in words.
    #[serde(default)]
    pub competition: String,
    /// Names of the hosts.
    pub hosts: Hosts,
    /// Calibrated load at which the delay explodes, `0..=1`.
    pub knee: Option<f64>,
    /// Calibrated total migration time, 95th percentile.
    pub migration_p95_s: Option<f64>,
    /// Load at which the policy `threshold` starts, `0..=1`.
    pub threshold: Option<f64>,
    /// What makes a run worthless.
    #[serde(default)]
    pub limits: Limits,
}

/// The machine that an experiment ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// `netem`, `userspace` or `none`.
    pub link_emulation: String,
    /// Logical CPUs.
    pub cpus: u32,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// Version of QEMU.
    pub qemu: Option<String>,
    /// Version of FFmpeg.
    pub ffmpeg: Option<String>,
    /// Whatever else the lab found worth saying.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// Names of the hosts of the reallocation experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hosts {
    /// Where the camera is.
    pub camera: String,
    /// Where the player is.
    pub viewer: String,
    /// The edge server whose load rises.
    pub source: String,
    /// The edge server to move to.
    pub target: String,
}

/// What makes a run worthless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest mean load from outside the lab, `0..=1`, at which a run still counts.
    pub foreign_load: f64,
}

impl Default for Limits {
    fn default() -> Self {
        // Prototype runs on a noisy machine agreed with quiet ones below this.
        Self { foreign_load: 0.15 }
    }
}

/// One run as the lab made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExperimentRun {
    /// Its folder below `DIR/runs/`.
    pub folder: String,
    /// Policy: `none`, `threshold`, `deadline`.
    pub name: String,
    /// From 1.
    pub repeat: u32,
    /// Seed of this run: the same for all policies of a repeat.
    pub seed: u64,
    /// Load profile: `slow`, `fast`.
    pub profile: String,
    /// The picture age that the scenario allows.
    pub budget_ms: f64,
}

/// `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of the format, [`crate::SCHEMA`].
    pub schema: u32,
    /// From `experiment.json`.
    #[serde(flatten)]
    pub setting: Setting,
    /// As in `experiment.json`.
    pub runs: Vec<Run>,
    /// What is claimed of the system, judged from the runs.
    pub promises: Vec<Promise>,
}

/// What was measured in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// As the lab made it.
    #[serde(flatten)]
    pub plan: ExperimentRun,
    /// The foreign load was over its limit: the run proves nothing.
    pub spoilt: bool,
    /// Mean load on the machine from outside the lab during the `load` phase, `0..=1`.
    pub foreign_load: Option<f64>,
    /// Length of the `idle` phase.
    pub idle_s: Option<f64>,
    /// Length of the `load` phase.
    pub load_s: f64,
    /// Age of the picture on the screen, each 10 ms.
    pub picture_age_ms: PictureAge,
    /// Delay of each newly shown frame in the `load` phase.
    pub frame_delay_ms: Delay,
    /// Between the first datagrams of successive coded frames.
    pub frame_intervals_ms: Intervals,
    /// Between successive datagrams.
    pub packet_intervals_ms: Intervals,
    /// Counts of frames.
    pub frames: Frames,
    /// First instant at which the p95 of picture age over 1 s exceeds the budget.
    pub over_budget_at_s: Option<f64>,
    /// The instant from which it stays over the budget until the end of the load.
    pub over_budget_for_good_at_s: Option<f64>,
    /// How many moves were begun; `migration` is the first.
    pub moves: u32,
    /// The move, if there was one.
    pub migration: Option<Migration>,
    /// Which virtual machine processes and which guest drew the frames.
    pub drawn_by: DrawnBy,
}

/// Statistics of picture age. Without a prefix: over the `load` phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PictureAge {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub median: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// Number of samples.
    pub n: u64,
    /// Share of the samples that do not exceed the budget, `0..=1`.
    pub share_under_budget: Option<f64>,
    /// Median over the `idle` phase.
    pub idle_median: Option<f64>,
    /// 95th percentile over the `idle` phase.
    pub idle_p95: Option<f64>,
    /// Median from 3 s after the first frame from the target until the end of the run.
    pub after_move_median: Option<f64>,
}

/// Statistics of a delay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub median: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// Number of frames.
    pub n: u64,
}

/// Statistics of arrival intervals. Without a prefix: over the `load` phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Standard deviation (of a sample: n - 1).
    pub sd: Option<f64>,
    /// Coefficient of variation, sd / mean: a share, without a unit.
    pub cv: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// Number of intervals.
    pub n: u64,
    /// Mean over the `idle` phase.
    pub idle_mean: Option<f64>,
    /// Standard deviation over the `idle` phase.
    pub idle_sd: Option<f64>,
    /// Coefficient of variation over the `idle` phase.
    pub idle_cv: Option<f64>,
}

/// Counts of frames over all phases. `sent = before_first + shown + lost + in_flight_at_end`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frames {
    /// Taken by the camera within the phases.
    pub sent: u64,
    /// Of these, shown at least once with a readable number.
    pub shown: u64,
    /// Of these, never shown readably although an earlier and a later one were.
    pub lost: u64,
    /// Shown with parts lost.
    pub damaged: u64,
    /// Times that the same frame was shown again.
    pub repeated: u64,
    /// Shown, but without a readable number.
    pub unreadable: u64,
    /// Sent before the first one that was shown.
    pub before_first: u64,
    /// Sent after the last one that was shown: on their way, or lost, at the end.
    pub in_flight_at_end: u64,
    /// Longest time within the phases without a new frame on the screen.
    pub longest_freeze_ms: Option<f64>,
}

/// What was measured of a move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    /// Policy that decided it.
    pub policy: String,
    /// `pre-copy`, ….
    pub mode: String,
    /// Host that the function left.
    pub source: String,
    /// Host that it went to.
    pub target: String,
    /// When the controller decided.
    pub decided_at_s: f64,
    /// When copying began.
    pub started_at_s: Option<f64>,
    /// When the guest was seen running at the target.
    pub resumed_at_s: Option<f64>,
    /// When the viewer was shown its first frame from the target.
    pub first_frame_from_target_s: Option<f64>,
    /// Load of the source by the last SNMP sample before the decision, `0..=1`.
    pub source_load_snmp: Option<f64>,
    /// True load of the source at the decision, `0..=1`.
    pub source_load_true: Option<f64>,
    /// The engine's total migration time.
    pub total_ms: Option<f64>,
    /// The engine's own figure of the downtime.
    pub downtime_ms: Option<f64>,
    /// Longest time without a new frame around the hand-over.
    pub viewer_gap_ms: Option<f64>,
    /// What the controller had predicted of `total_ms` (95th percentile).
    pub predicted_total_ms: Option<f64>,
    /// `over_budget_at_s` of the unmoved run minus `first_frame_from_target_s`.
    pub margin_ms: Option<f64>,
    /// The margin is positive.
    pub deadline_met: Option<bool>,
    /// `moved`, `stayed`, `blackout`, `unknown`, `split`, `lost`.
    pub verdict: String,
}

/// Who drew the frames, before and from the first frame from the target on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrawnBy {
    /// Virtual machine processes (1 the first, 2 the target of the first move).
    pub runners_before: Vec<u32>,
    /// The same, afterwards.
    pub runners_after: Vec<u32>,
    /// Boot ids of the guest (first 32 bits, hexadecimal).
    pub boots_before: Vec<String>,
    /// The same, afterwards.
    pub boots_after: Vec<String>,
}

/// Something that is claimed of the system, judged from the runs of one profile that are not spoilt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// `PROFILE/CLAIM`.
    pub id: String,
    /// Load profile.
    pub profile: String,
    /// The claim in words.
    pub text: String,
    /// True in every run; `None` where no run can tell.
    pub holds: Option<bool>,
    /// What each run says.
    pub figures: Vec<Evidence>,
}

/// What one run says about a promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Repeat of the run.
    pub repeat: u32,
    /// Whether the claim holds in it.
    pub holds: Option<bool>,
    /// The figures that it was judged by, units last in their names.
    pub values: BTreeMap<String, Value>,
}

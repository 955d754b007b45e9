//! The decision log, `decisions.jsonl`: one JSON object a line for every decision, and for every change of the reason
//! for holding. It is also what the control core says it wants done: log and action cannot differ.

use serde::{Deserialize, Serialize};

use crate::{Doubt, HostName, Residency, SCHEMA, Timestamp, Utilization, Verdict, VmName};

/// Number of a move, counted from 1 by one controller.
pub type MigrationId = u64;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When it was decided.
    pub at_us: Timestamp,
    /// What was decided.
    #[serde(flatten)]
    pub event: Event,
}

impl Decision {
    /// A line of today's schema.
    #[must_use]
    pub const fn new(at_us: Timestamp, event: Event) -> Self {
        Self {
            schema: SCHEMA,
            at_us,
            event,
        }
    }
}

/// What a controller decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// Nothing is moved away from this host, and why.
    Hold {
        /// The host.
        host: HostName,
        /// Why.
        #[serde(flatten)]
        reason: HoldReason,
        /// The figures that it rests on.
        #[serde(flatten)]
        evidence: Evidence,
    },
    /// Move: prepare a held target and begin to copy. Until a verdict is known the move cannot be forgotten.
    Start {
        /// Number of the move.
        migration: MigrationId,
        /// What moves.
        vm: VmName,
        /// From where.
        source: HostName,
        /// To where.
        target: HostName,
        /// How.
        mode: Mode,
        /// What made the move due; the load, in logs from before there was anything else.
        #[serde(default)]
        cause: Cause,
        /// Forecast load of the target with the function on it.
        target_load: f64,
        /// What viewers are expected to see; `null` for a move that is made whatever they see.
        gain: Option<Gain>,
        /// Predicted total migration time, 95th percentile; `null` for a policy that does not predict.
        predicted_total_ms: Option<f64>,
        /// The source, and the figures that the decision rests on.
        host: HostName,
        /// The figures.
        #[serde(flatten)]
        evidence: Evidence,
    },
    /// Look where the guest is: the target first, then the source.
    Inspect {
        /// Number of the move.
        migration: MigrationId,
    },
    /// Give up copying.
    Cancel {
        /// Number of the move.
        migration: MigrationId,
        /// Why.
        why: CancelReason,
    },
    /// Let the held guest run at one end; the other end was seen not to run it.
    Run {
        /// Number of the move.
        migration: MigrationId,
        /// Where.
        end: End,
    },
    /// Clear away what is left at one end, where the guest was seen not to run.
    Discard {
        /// Number of the move.
        migration: MigrationId,
        /// Where.
        end: End,
    },
    /// The move is over.
    Settled {
        /// Number of the move.
        migration: MigrationId,
        /// How it ended.
        verdict: Verdict,
        /// What the target said.
        target: Residency,
        /// What the source said.
        source: Residency,
        /// What a driver said of a failure.
        failure: Option<String>,
        /// No further move of this function before this.
        cooldown_until_us: Timestamp,
    },
    /// A function was seen to run elsewhere than it was taken to be, and no move of ours is open: somebody else moved it.
    Relocated {
        /// The function.
        vm: VmName,
        /// Where it was taken to be.
        from: HostName,
        /// Where it runs.
        to: HostName,
    },
    /// A person asked for a move that cannot begin.
    Declined {
        /// What was to move.
        vm: VmName,
        /// Where to.
        target: HostName,
        /// Why not. Not flattened: reasons name functions and targets of their own.
        why: HoldReason,
    },
    /// A person is needed, or patience: the verdict is one that no further step may follow from.
    Alarm {
        /// Number of the move.
        migration: MigrationId,
        /// The function.
        vm: VmName,
        /// What is known.
        verdict: Verdict,
        /// What the target said.
        target: Residency,
        /// What the source said.
        source: Residency,
    },
}

/// What made a move due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The load of the source.
    #[default]
    Load,
    /// The source is being emptied.
    Drain,
    /// A function that it belongs together with is elsewhere.
    Together,
    /// A person asked for it.
    Order,
}

/// What keeps a move from beginning that is due and chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restraint {
    /// A person took the right to begin moves away, for the time being.
    Disarmed,
    /// The orchestrator only says what it would do.
    Observe,
    /// A person has to approve.
    Approval,
}

/// Mean picture age of the viewers of a host's functions over the horizon of gain, as expected from the forecasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// When nothing is moved.
    pub stay_ms: f64,
    /// With the move: slower while it is copied, the gap at the switch, and the target afterwards.
    pub move_ms: f64,
}

/// The figures behind a decision about a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Load that the newest sample says.
    pub utilization: Option<Utilization>,
    /// How old that sample is.
    pub sample_age_ms: Option<f64>,
    /// The forecast made from the samples.
    pub forecast: Option<ForecastRecord>,
    /// The load at which the policy would start regardless of a forecast.
    pub threshold: Option<Utilization>,
    /// The knee of the host, for a policy that has one: as viewers' reports have taught it, else as configured.
    pub knee: Option<Utilization>,
    /// The knee that is configured, where viewers' reports have taught another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee_configured: Option<Utilization>,
    /// Latest instant at which a move may start and still finish before the knee.
    pub start_by_us: Option<Timestamp>,
}

/// A forecast: a straight line from now on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastRecord {
    /// Load now, `0..=1` (unclamped: an extrapolation may pass 1).
    pub level: f64,
    /// Its change per second.
    pub slope_per_s: f64,
    /// Standard error of the samples about the line; `null` with fewer than three samples.
    pub residual: Option<f64>,
    /// Whether the samples lie close enough to a line for the slope to be believed.
    pub trusted: bool,
    /// Standard deviation of the forecast when a move that begins now would be over, by the errors of forecasts so far: twice
    /// that to either side is its 95 % interval. `null` in logs from before it was written.
    pub sd: Option<f64>,
    /// When it reaches the knee; `null` when it does not, or when there is no knee.
    pub knee_at_us: Option<Timestamp>,
}

/// Why nothing is moved away from a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum HoldReason {
    /// The policy is never to move.
    NeverMoves,
    /// No function is on it.
    NothingToMove,
    /// All functions on it are pinned to it, or given up until a person has looked.
    NothingFree,
    /// Where a function runs is not clear, and no other may leave. Nothing is moved that may run twice, or nowhere.
    InDoubt {
        /// The function.
        vm: VmName,
        /// What was seen of it.
        #[serde(flatten)]
        doubt: Doubt,
    },
    /// No sample has come yet.
    NoSample,
    /// The newest sample is too old to decide on.
    StaleSample {
        /// Limit of age.
        limit_ms: f64,
    },
    /// The newest sample began before a function came or left: it tells of another host than the one that is there now.
    SampleBeforeMove {
        /// When the function came or left.
        moved_at_us: Timestamp,
    },
    /// The load is under the start threshold.
    BelowThreshold,
    /// The forecast gives time still.
    NotDue,
    /// It would be time by the load as it is, with no trend to believe, but not for enough samples in a row.
    NotSustained {
        /// Samples in a row so far.
        samples: u32,
        /// Samples needed.
        needed: u32,
    },
    /// A move is under way, or its verdict is not known.
    Busy {
        /// Number of the move.
        migration: MigrationId,
    },
    /// As many moves are under way as are allowed at once.
    MovesAtOnce {
        /// The limit.
        limit: u32,
    },
    /// Too soon after the last move or failure.
    CoolingDown {
        /// Until then.
        until_us: Timestamp,
    },
    /// No other host could carry the function.
    NoTargetFits {
        /// The function that was to be moved.
        vm: VmName,
        /// The candidates that came nearest, and why not.
        candidates: Vec<Candidate>,
        /// How many hosts were looked at.
        considered: usize,
    },
    /// The best target would be no better than the source.
    NoGain {
        /// The best target.
        target: HostName,
        /// Its forecast load with the function on it.
        target_load: f64,
    },
    /// A move is due and its target is known, but it may not begin.
    HeldBack {
        /// By what.
        restraint: Restraint,
        /// What would move.
        vm: VmName,
        /// Where to.
        target: HostName,
        /// What viewers are expected to see; `null` for a move that would be made whatever they see.
        gain: Option<Gain>,
    },
    /// A move was asked for to the host on which the function is.
    AlreadyThere,
    /// With the best move viewers would be expected to see no younger picture than without one.
    NoUsefulMove {
        /// The function that would be moved.
        vm: VmName,
        /// The best target.
        target: HostName,
        /// What viewers are expected to see.
        #[serde(flatten)]
        gain: Gain,
    },
}

/// A host considered as a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The host.
    pub host: HostName,
    /// Forecast load with the function on it; `null` when it has no sample that is fresh.
    pub load: Option<f64>,
    /// Highest load allowed.
    pub limit: Utilization,
    /// Why it is none.
    pub unfit: Unfit,
}

/// Why a host is no target for a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    // What passes soonest comes first: that is the order in which candidates are shown.
    /// As many functions are on their way to it as are allowed at once.
    Arrivals,
    /// Its newest sample is too old, or from before a function came or left.
    NotFresh,
    /// A function is being moved away from it.
    Source,
    /// With the function on it, it would be over the limit.
    OverLimit,
    /// It is being emptied.
    Draining,
    /// A function is on it, or on its way, that this one must stay apart from.
    Apart,
    /// The function may not run there.
    Forbidden,
}

/// How a function is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Live migration: memory first, then the switch.
    PreCopy,
}

/// What copying sent, in the engine's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Bytes of memory and of what says which page it is.
    pub bytes: u64,
    /// Pages sent whole, each time that one was.
    pub pages: u64,
    /// Pages of which was only said that they are zero.
    pub zero_pages: u64,
    /// Passes over memory: the first, and one for what was written meanwhile, and so on.
    pub rounds: u64,
}

/// Why copying is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// It took longer than the setting allows.
    TimedOut,
}

/// An end of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Where the function came from.
    Source,
    /// Where it goes.
    Target,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declined_move_reads_back_whatever_its_reason_names() {
        let (vm, host) = (VmName::new("f").unwrap(), HostName::new("a").unwrap());
        let restraint = Restraint::Disarmed;
        for why in [
            HoldReason::AlreadyThere,
            HoldReason::InDoubt {
                vm: vm.clone(),
                doubt: Doubt {
                    verdict: Verdict::Split,
                    elsewhere: vec![host.clone()],
                },
            },
            HoldReason::NoTargetFits {
                vm: vm.clone(),
                candidates: Vec::new(),
                considered: 1,
            },
            HoldReason::HeldBack {
                restraint,
                vm: vm.clone(),
                target: host.clone(),
                gain: None,
            },
        ] {
            let event = Event::Declined {
                vm: vm.clone(),
                target: host.clone(),
                why,
            };
            let line = serde_json::to_string(&Decision::new(Timestamp(1), event.clone())).unwrap();
            let again: Decision = serde_json::from_str(&line).unwrap();
            assert_eq!(again.event, event, "{line}");
        }
    }
}

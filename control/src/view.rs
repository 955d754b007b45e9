//! What a controller shows of itself: every host, function and open move, with the figures that it decides on.

use record::decision::{Evidence, HoldReason, MigrationId};
use record::{Doubt, HostName, Timestamp, VmName};
use serde::{Deserialize, Serialize};

use crate::controller::Controller;
use crate::host::HostId;
use crate::settings::{Mobility, Trust, milliseconds};

/// A host whose newest sample is older than this many times the oldest that decides is silent, no longer only stale.
const SILENT_AFTER: u32 = 4;

/// All of it at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// When.
    pub at_us: Timestamp,
    /// Name of the policy.
    pub policy: String,
    /// What the controller may do by itself.
    pub trust: Trust,
    /// Whether it may begin moves at all.
    pub armed: bool,
    /// In the order of the settings.
    pub hosts: Vec<HostView>,
    /// In the order of the settings.
    pub functions: Vec<FunctionView>,
    /// Moves that have no verdict yet, by number.
    pub moves: Vec<MoveView>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub host: HostName,
    /// What its samples are worth.
    pub freshness: Freshness,
    /// Functions on it.
    pub functions: Vec<VmName>,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Why nothing is moved away from it; `null` while something is.
    pub holding: Option<HoldReason>,
    /// Load, forecast, knee.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// What the samples of a host are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// The newest may decide.
    Fresh,
    /// The newest is too old to decide on, or from before a move.
    Stale,
    /// There is none, or it is several times too old.
    Silent,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionView {
    /// The virtual machine.
    pub vm: VmName,
    /// Where it runs, as far as is known.
    pub host: HostName,
    /// How many people see its video.
    pub viewers: u32,
    /// Load that it brings to a host: as measured where it is, else as configured.
    pub load: f64,
    /// When that was measured; `null` where it is the configured one.
    #[serde(default)]
    pub load_measured_at_us: Option<Timestamp>,
    /// Whether it may be moved.
    pub mobility: Mobility,
    /// Time of a move, 95th percentile, as measured or learned.
    pub migration_ms: f64,
    /// How long viewers see nothing new at the switch, as measured or learned.
    pub gap_ms: f64,
    /// The move that it is in.
    pub migration: Option<MigrationId>,
    /// No move before this; `null` when it does not cool down.
    pub cooldown_until_us: Option<Timestamp>,
    /// Moves in a row that did not arrive.
    pub failures_in_a_row: u32,
    /// A person has to look and release it.
    pub given_up: bool,
    /// Why it is not clear where it runs, so that nothing moves it; `null` where it is.
    #[serde(default)]
    pub doubt: Option<Doubt>,
}

/// A move without a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveView {
    /// Its number.
    pub migration: MigrationId,
    /// What moves.
    pub vm: VmName,
    /// From where.
    pub source: HostName,
    /// To where.
    pub target: HostName,
    /// What it waits for: `copying`, `inspecting`, `waiting` or `acting`.
    pub stage: String,
    /// What went wrong so far.
    pub failure: Option<String>,
}

impl Controller {
    /// What there is to see now.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> View {
        let hosts = (0..).map(HostId).take(self.hosts.len());
        View {
            at_us: now,
            policy: self.settings.policy.name().into(),
            trust: self.settings.trust,
            armed: !self.disarmed,
            hosts: hosts.map(|id| self.host_view(now, id)).collect(),
            functions: (0..self.functions.len())
                .map(|function| self.function_view(now, function))
                .collect(),
            moves: self.move_views(),
        }
    }

    fn host_view(&self, now: Timestamp, id: HostId) -> HostView {
        let host = &self.hosts[id.0 as usize];
        let limits = &self.settings.limits;
        let oldest = milliseconds(limits.sample_age_ms_max) * SILENT_AFTER;
        let heard = host
            .newest()
            .is_some_and(|reading| reading.age(now) <= oldest);
        let freshness = match host.unusable(now, limits) {
            None => Freshness::Fresh,
            // Its next sample cannot be there yet.
            Some(HoldReason::SampleBeforeMove { moved_at_us })
                if now.since(moved_at_us) <= oldest =>
            {
                Freshness::Stale
            }
            Some(_) if heard => Freshness::Stale,
            Some(_) => Freshness::Silent,
        };
        let judged = self.settings.policy.judge(now, host);
        let names = host.functions.iter();
        HostView {
            host: host.name.clone(),
            freshness,
            functions: names
                .map(|function| self.functions[*function].told.vm.clone())
                .collect(),
            draining: host.draining,
            holding: host.holding.clone(),
            evidence: self.settings.policy.evidence(now, host, &judged),
        }
    }

    fn function_view(&self, now: Timestamp, number: usize) -> FunctionView {
        let function = &self.functions[number];
        let told = &function.told;
        let mut moves = self.moves.iter();
        FunctionView {
            vm: told.vm.clone(),
            host: self.hosts[function.host.0 as usize].name.clone(),
            viewers: told.viewers,
            load: function.load(now).share(),
            load_measured_at_us: function.measured(now).map(|(_, at)| at),
            mobility: told.mobility,
            migration_ms: told.migration_ms,
            gap_ms: told.gap_ms,
            migration: moves
                .find(|(_, open)| open.function == number)
                .map(|(id, _)| *id),
            cooldown_until_us: (function.cooldown_until > now).then_some(function.cooldown_until),
            failures_in_a_row: function.failures_in_a_row,
            given_up: function.given_up,
            doubt: function.doubt.clone(),
        }
    }

    fn move_views(&self) -> Vec<MoveView> {
        let views = self.moves.iter().map(|(id, open)| MoveView {
            migration: *id,
            vm: self.functions[open.function].told.vm.clone(),
            source: self.hosts[open.source.0 as usize].name.clone(),
            target: self.hosts[open.target.0 as usize].name.clone(),
            stage: open.reallocation.stage().into(),
            failure: open.reallocation.failure().map(str::to_owned),
        });
        views.collect()
    }
}

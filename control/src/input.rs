//! What comes in from outside.

use record::decision::MigrationId;
use record::{Doubt, HostName, Residency, Sample, Timestamp, Utilization, VmName};
use serde::{Deserialize, Serialize};

use crate::settings::Placement;

/// Something that happened outside. It is recorded as it came, so that a run can be replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "snake_case")]
pub enum Input {
    /// An agent's reading of a host.
    Sample(Sample),
    /// Time has passed: the instant that `poll_timeout` named has come.
    Timeout,
    /// A driver refused to start a move: it changed nothing. Where the guest is, is inspected next all the same.
    Refused {
        /// Number of the move.
        migration: MigrationId,
        /// The driver's words.
        reason: String,
    },
    /// Copying came to an end, well or not. It proves nothing about where the guest is.
    CopyEnded {
        /// Number of the move.
        migration: MigrationId,
        /// How.
        outcome: CopyOutcome,
    },
    /// Where the guest was seen, in answer to `inspect`.
    Residency {
        /// Number of the move.
        migration: MigrationId,
        /// What the target said (asked first).
        target: Residency,
        /// What the source said.
        source: Residency,
    },
    /// A driver has run or discarded an end, or could not; what is true now is inspected next.
    Acted {
        /// Number of the move.
        migration: MigrationId,
        /// The driver's words when it could not.
        failure: Option<String>,
    },
    /// A person wants a host emptied: all that may move away from it is moved, and nothing comes to it.
    Drain {
        /// The host.
        host: HostName,
    },
    /// A person gives a host that was to be emptied back.
    Undrain {
        /// The host.
        host: HostName,
    },
    /// A person takes the right to begin moves away: running ones go on to their verdict.
    Disarm,
    /// A person gives that right back.
    Arm,
    /// A person agrees to a move that waits for it. It begins if it would be chosen now, too.
    Approve {
        /// What moves.
        vm: VmName,
        /// Where to.
        target: HostName,
    },
    /// A person wants a move, whatever it gains. It begins if the target fits.
    Order {
        /// What moves.
        vm: VmName,
        /// Where to.
        target: HostName,
    },
    /// A person has looked after a function whose last verdict was one that only a person can end.
    Release {
        /// The function.
        vm: VmName,
    },
    /// A function was seen to run on this host, and on no other.
    Seen {
        /// The function.
        vm: VmName,
        /// The host.
        host: HostName,
    },
    /// All hosts were asked about a function that nobody moves here.
    Looked {
        /// The function.
        vm: VmName,
        /// Why it is not clear where it runs; `None` when it runs where it is taken to be, and nowhere else.
        doubt: Option<Doubt>,
    },
    /// What a function that nobody moves used of its host's processors, over some seconds, as its engine counts it.
    Load {
        /// The function.
        vm: VmName,
        /// Mean share of all processors of the host.
        load: Utilization,
        /// End of those seconds.
        measured_at_us: Timestamp,
    },
    /// How long moves of a function take, and how long viewers see nothing new, as learned from its moves.
    Learned {
        /// The function.
        vm: VmName,
        /// From a decision until the viewer is served from the target, 95th percentile.
        migration_ms: f64,
        /// At the switch.
        gap_ms: f64,
    },
    /// The load of a host from which its viewers' pictures come late, as learned from what they reported.
    Knee {
        /// The host.
        host: HostName,
        /// That load; `None` for the configured one, whatever was learned.
        knee: Option<Utilization>,
    },
    /// A function that the settings do not name, and that an engine knows.
    Found {
        /// The function, where it was found.
        function: Box<Placement>,
    },
    /// What an earlier controller knew of a function.
    Known {
        /// The function.
        vm: VmName,
        /// Where it was.
        host: HostName,
        /// No move before this.
        cooldown_until_us: Timestamp,
        /// Moves in a row that did not arrive.
        failures_in_a_row: u32,
        /// Its last verdict was one that only a person can end.
        given_up: bool,
        /// Why it was not clear where it runs; absent where it was, and in journals from before that was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doubt: Option<Doubt>,
    },
    /// An earlier controller began this move and did not see its end. Nothing is known of it but that.
    Resumed {
        /// Number of the move.
        migration: MigrationId,
        /// What moves.
        vm: VmName,
        /// From where.
        source: HostName,
        /// To where.
        target: HostName,
    },
}

/// How copying ended, in the engine's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CopyOutcome {
    /// The engine reports that all is copied.
    Completed,
    /// The engine, or the way to it, failed.
    Failed {
        /// The driver's words.
        reason: String,
    },
}

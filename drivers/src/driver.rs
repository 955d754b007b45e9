//! What a driver of an engine does.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use control::HandOver;
use record::decision::{Copied, End, MigrationId, Mode};
use record::{HostName, Residency, VmName};

use crate::tagged::Found;

/// A move that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its number.
    pub migration: MigrationId,
    /// What moves.
    pub vm: VmName,
    /// From where.
    pub source: HostName,
    /// To where.
    pub target: HostName,
    /// How.
    pub mode: Mode,
}

impl Plan {
    /// The host at one end.
    #[must_use]
    pub const fn host(&self, end: End) -> &HostName {
        match end {
            End::Source => &self.source,
            End::Target => &self.target,
        }
    }
}

/// What the engine says of a move.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Total migration time, in the engine's words.
    pub total_ms: Option<f64>,
    /// Downtime, in the engine's words; it under-reports what a viewer sees.
    pub downtime_ms: Option<f64>,
    /// What was sent, where the engine says it.
    pub copied: Option<Copied>,
}

/// How far copying is, in the engine's words: memory, and disks where the engine copies them in the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobProgress {
    /// All that there is, once.
    pub total_bytes: u64,
    /// What was sent: more than all, where the guest writes to what was sent already.
    pub copied_bytes: u64,
    /// What is left as of now.
    pub remaining_bytes: u64,
}

/// What virtual machines on one host have used of its processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// CPU time of each that the engine tells of, since some instant that stays the same while it is on this host.
    pub used: BTreeMap<VmName, Duration>,
    /// Why others may be missing of which the engine should tell.
    pub problem: Option<String>,
}

/// Why a driver could not do a thing.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The move was refused: nothing happened, and the target holds nothing.
    #[error("{what}: {why}")]
    Refused {
        /// What was tried on what.
        what: String,
        /// The answer.
        why: String,
    },
    /// Something may have changed: inspect first.
    #[error("{what}: {why}")]
    Uncertain {
        /// What was tried on what.
        what: String,
        /// The answer, or that there was none.
        why: String,
    },
}

/// An engine that moves virtual machines.
pub trait Driver: Send + Sync + 'static {
    /// Whether the engine lets the guest run at the target by itself.
    fn hand_over(&self) -> HandOver;

    /// Prepares the target, copies, and returns when copying has come to an end, well or not.
    ///
    /// `copying` is called once, when the target stands ready and copying begins.
    ///
    /// # Errors
    /// [`DriverError::Refused`] when nothing happened; [`DriverError::Uncertain`] when copying had begun.
    fn copy(
        &self,
        plan: &Plan,
        copying: impl FnOnce() + Send,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// How far copying is; `None` where nothing is copied, or the engine does not say.
    fn progress(&self, _plan: &Plan) -> impl Future<Output = Option<JobProgress>> + Send {
        async { None }
    }

    /// The engine's figures of a move; ask before the source is discarded. What it does not say stays `None`.
    fn figures(&self, plan: &Plan) -> impl Future<Output = Figures> + Send;

    /// Functions that the engine knows by their tags; none where it knows no tags.
    fn tagged(&self) -> impl Future<Output = Found> + Send {
        async { Found::default() }
    }

    /// What some virtual machines have used, all on this host; nothing where the engine does not count it.
    fn cpu_times(
        &self,
        _host: &HostName,
        _vms: &[VmName],
    ) -> impl Future<Output = CpuTimes> + Send {
        async { CpuTimes::default() }
    }

    /// What a host says of a virtual machine.
    ///
    /// # Errors
    /// In words, why it says nothing.
    fn look(
        &self,
        vm: &VmName,
        host: &HostName,
    ) -> impl Future<Output = Result<Residency, String>> + Send;

    /// What a host says of a virtual machine: [`Residency::Unreachable`] when it says nothing.
    fn residency(&self, vm: &VmName, host: &HostName) -> impl Future<Output = Residency> + Send {
        async { self.look(vm, host).await.unwrap_or(Residency::Unreachable) }
    }

    /// Where the guest is: the target is asked first, then the source.
    fn inspect(&self, plan: &Plan) -> impl Future<Output = (Residency, Residency)> + Send {
        async {
            let target = self.residency(&plan.vm, &plan.target).await;
            let source = self.residency(&plan.vm, &plan.source).await;
            (target, source)
        }
    }

    /// Lets the held guest run at one end. The caller has seen that the other does not run it.
    ///
    /// An engine that hands over by itself is never asked to.
    ///
    /// # Errors
    /// When the engine does not say that it runs.
    fn run(&self, plan: &Plan, end: End) -> impl Future<Output = Result<(), DriverError>> + Send {
        async move {
            Err(DriverError::Refused {
                what: format!("run {} on {}", plan.vm, plan.host(end)),
                why: "this engine does so by itself".into(),
            })
        }
    }

    /// Clears away what is left of the guest at one end. The caller has seen that it does not run there.
    ///
    /// # Errors
    /// When something is still there afterwards.
    fn discard(
        &self,
        plan: &Plan,
        end: End,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// Asks the engine to give up copying. What came of it is seen by [`Driver::inspect`].
    ///
    /// # Errors
    /// When the engine does not take the request.
    fn cancel(&self, plan: &Plan) -> impl Future<Output = Result<(), DriverError>> + Send;
}

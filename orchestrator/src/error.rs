//! Why an orchestrator ends.

use std::io;
use std::path::PathBuf;

use drivers::nova::CredentialsError;
use record::{HostName, VmName};

use crate::alarm::AlarmError;
use crate::api::{AccessError, ApiError};
use crate::journal::JournalError;
use crate::prometheus::PrometheusError;
use crate::snmp::SnmpError;

/// Why an orchestrator ended.
#[derive(Debug, thiserror::Error)]
pub enum OrchestratorError {
    /// There is no journal to be had. Nothing is decided without it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The recording cannot be written.
    #[error("cannot write the recording {path}: {source}")]
    Recording {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] control::SettingsError),
    /// The journal has an open move that the configuration does not know.
    #[error(
        "move {migration} of {vm} from {source_host} to {target} has no verdict yet, and the configuration does not name them all any more: put them back until it has one"
    )]
    OpenMove {
        /// The move.
        migration: u64,
        /// What moves.
        vm: VmName,
        /// From where.
        source_host: HostName,
        /// To where.
        target: HostName,
    },
    /// It is not known who Forestall is to the cloud.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Nobody can be told of alarms.
    #[error(transparent)]
    Alarm(#[from] AlarmError),
    /// The agents cannot be asked.
    #[error(transparent)]
    Snmp(#[from] SnmpError),
    /// The exporters cannot be asked.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
    /// It is not known who may ask.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Nobody can be answered.
    #[error(transparent)]
    Api(#[from] ApiError),
}

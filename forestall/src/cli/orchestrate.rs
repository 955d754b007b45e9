//! `forestall orchestrate`.

use std::path::PathBuf;

use anyhow::Context;
use orchestrator::{Config, OrchestratorError};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall orchestrate --config forestall.toml

`forestall lab run` writes such a file (orchestrator.toml) into the folder of each run.";

/// Watch hosts, and move functions before their hosts get too busy
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Agents, limits, policy and engine, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let work = |error: anyhow::Error| Failure {
            kind: FailureKind::Work,
            error,
        };
        let config = Config::read(&self.config).map_err(|error| Failure {
            kind: FailureKind::Configuration,
            error: error.into(),
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the runtime")
            .map_err(work)?;
        runtime.block_on(async {
            let mut end = signal(SignalKind::terminate())
                .context("cannot watch for SIGTERM")
                .map_err(work)?;
            let mut interrupt = signal(SignalKind::interrupt())
                .context("cannot watch for Ctrl-C")
                .map_err(work)?;
            let stop = async {
                tokio::select! {
                    _ = end.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            orchestrator::run(config, stop)
                .await
                .map_err(|error| Failure {
                    kind: match error {
                        OrchestratorError::Settings(_)
                        | OrchestratorError::Snmp(_)
                        | OrchestratorError::Credentials(_)
                        | OrchestratorError::OpenMove { .. } => FailureKind::Configuration,
                        OrchestratorError::Journal(_)
                        | OrchestratorError::Recording { .. }
                        | OrchestratorError::Api(_) => FailureKind::Work,
                    },
                    error: error.into(),
                })
        })?;
        Ok(Outcome::Done)
    }
}

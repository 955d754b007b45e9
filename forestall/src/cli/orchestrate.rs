//! `forestall orchestrate`.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use orchestrator::api::Access;
use orchestrator::check::{self, Finding};
use orchestrator::{Config, OrchestratorError};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall orchestrate --config forestall.toml
  forestall orchestrate --config forestall.toml --check     # is all there that it names?

`forestall lab run` writes such a file (orchestrator.toml) into the folder of each run.";

/// Watch hosts, and move functions before their hosts get too busy
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Agents, limits, policy and engine, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Only reach every agent and every host's engine once, and say what is wrong; exit code 1 if anything is
    #[arg(long)]
    check: bool,

    /// With --check: JSON
    #[arg(long, requires = "check")]
    json: bool,
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
        if self.check {
            let access = config.api.as_ref().map(Access::read).transpose();
            access.map_err(|error| failure(error.into()))?;
            eprintln!(
                "asking {} agents and the engine, for up to {} s",
                config.control.hosts.len(),
                check::HEARD_WITHIN.as_secs()
            );
            let findings = runtime.block_on(check::check(&config)).map_err(failure)?;
            return self.show(&findings).map_err(work);
        }
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
            orchestrator::run(config, stop).await.map_err(failure)
        })?;
        Ok(Outcome::Done)
    }

    fn show(&self, findings: &[Finding]) -> anyhow::Result<Outcome> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(findings)?);
        } else {
            for finding in findings {
                let mark = if finding.good { "good " } else { "WRONG" };
                println!("{mark}  {}: {}", finding.what, finding.seen);
            }
        }
        match findings.iter().filter(|finding| !finding.good).count() {
            0 => Ok(Outcome::Done),
            wrong => Err(anyhow!(
                "{wrong} of {} are not as they have to be",
                findings.len()
            )),
        }
    }
}

fn failure(error: OrchestratorError) -> Failure {
    Failure {
        kind: match error {
            OrchestratorError::Settings(_)
            | OrchestratorError::Snmp(_)
            | OrchestratorError::Prometheus(_)
            | OrchestratorError::Credentials(_)
            | OrchestratorError::Alarm(_)
            | OrchestratorError::Access(_)
            | OrchestratorError::OpenMove { .. } => FailureKind::Configuration,
            OrchestratorError::Journal(_)
            | OrchestratorError::Recording { .. }
            | OrchestratorError::Api(_) => FailureKind::Work,
        },
        error: error.into(),
    }
}

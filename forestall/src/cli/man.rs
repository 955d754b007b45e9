//! `forestall man`.

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall man /usr/local/share/man/man1
  forestall man . && man ./forestall-lab-run.1";

/// Write manual pages, one for each command, into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(super::Arguments::command(), &self.folder))
            .with_context(|| format!("cannot write manual pages into {}", self.folder.display()))
            .map_err(|error| Failure {
                kind: FailureKind::Work,
                error,
            })?;
        Ok(Outcome::Done)
    }
}

//! `forestall completions`.

use std::io::Write;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall completions bash > /etc/bash_completion.d/forestall
  forestall completions zsh > /usr/local/share/zsh/site-functions/_forestall
  forestall completions fish > ~/.config/fish/completions/forestall.fish";

/// Print what a shell needs to complete command lines of `forestall`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let mut command = super::Arguments::command();
        // Made as a whole first: the generator panics where it cannot write.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "forestall", &mut text);
        std::io::stdout()
            .write_all(&text)
            .context("cannot write the completions")
            .map_err(|error| Failure {
                kind: FailureKind::Work,
                error,
            })?;
        Ok(Outcome::Done)
    }
}

//! The command line: `forestall COMMAND`. Each command reads its arguments and hands them to the crate that does the work.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // A wrong command line ends here, with clap's exit code 2.
    let arguments = cli::Arguments::parse();
    match arguments.command.run() {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            eprintln!("error: {}", with_causes(&failure.error));
            failure.kind.into()
        }
    }
}

/// An error and what it came of, each said once: many errors have their cause in their own words.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::with_causes;

    #[test]
    fn each_cause_is_said_once() {
        let error = anyhow!("no such file").context("cannot read a: no such file");
        assert_eq!(with_causes(&error), "cannot read a: no such file");
        let error = anyhow!("no such file").context("cannot start");
        assert_eq!(with_causes(&error), "cannot start: no such file");
    }
}

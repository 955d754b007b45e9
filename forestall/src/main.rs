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
            eprintln!("error: {:#}", failure.error);
            failure.kind.into()
        }
    }
}

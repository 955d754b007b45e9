//! `forestall report`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use measure::campaign;
use measure::campaign::findings::Verdict;

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall report out/thesis/2026-11-27_10-00-00            tables and figures again, into the same folder
  forestall report day-one day-two --out docs/thesis         parts of several days together";

/// Make tables, figures and findings of a campaign again from its raw data, several parts together
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Folders of campaigns, or of parts of them
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Where the report goes [default: the first folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let first = self.folders.first().cloned().unwrap_or_default();
        write(&self.folders, &self.out.unwrap_or(first))
    }
}

/// Measures the cells in some folders, writes the report, and says what came out.
pub(crate) fn write(folders: &[PathBuf], out: &Path) -> Result<Outcome, Failure> {
    let failure = |error: measure::MeasureError| Failure {
        kind: FailureKind::Work,
        error: error.into(),
    };
    let report = campaign::report(folders).map_err(failure)?;
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make {}", out.display()))
        .map_err(|error| Failure {
            kind: FailureKind::Work,
            error,
        })?;
    let path = report.write(out).map_err(failure)?;
    for part in &report.results.parts {
        println!(
            "{}: {} measurements, {} spoilt",
            part.part, part.cells, part.spoilt
        );
    }
    for finding in &report.results.findings {
        let verdict = match finding.verdict {
            Verdict::Holds => "holds",
            Verdict::DoesNotHold => "does not hold",
            Verdict::CannotTell => "cannot tell",
        };
        println!("{verdict:<13}  {} {}", finding.section, finding.text);
    }
    println!("Report: {}", path.display());
    Ok(Outcome::Done)
}

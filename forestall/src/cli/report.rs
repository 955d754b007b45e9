//! `forestall report`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use measure::campaign;
use measure::campaign::findings::{Verdict, rises};

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall report out/thesis/2026-11-27_10-00-00            tables and figures again, into the same folder
  forestall report day-one day-two --out docs/thesis         parts of several days together
  forestall report out/paths --profile profile.toml          how long a move takes, for what plans moves on this machine";

/// Make tables, figures and findings of a campaign again from its raw data, several parts together
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Folders of campaigns, or of parts of them
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Where the report goes, and all that it is made of, packed small: `forestall lab verify` then computes it again from there [default:
    /// the first folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A profile of the machine that `lab calibrate` wrote: the predictor of a move's time goes into it, as [migration.law], how much
    /// longer it takes between loaded hosts, as [migration.slowdown], and where delay and jitter begin to rise, as [knee.rises]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let first = self.folders.first().cloned().unwrap_or_default();
        let report = made(&self.folders, &self.out.unwrap_or(first))?;
        if let Some(profile) = &self.profile {
            put_law(&report, profile)?;
        }
        Ok(Outcome::Done)
    }
}

/// Puts the predictor into a profile of the same machine.
fn put_law(report: &campaign::Report, path: &Path) -> Result<(), Failure> {
    let wrong = |error| Failure {
        kind: FailureKind::Configuration,
        error,
    };
    let mut profile = record::Profile::read(path).map_err(|error| wrong(error.into()))?;
    let results = &report.results;
    let part = |name: &str| results.parts.iter().find(|part| part.part == name);
    let law = part("paths")
        .zip(results.predictor.as_ref())
        .and_then(|(part, predictor)| Some((part, predictor.profile(&part.measured_at[1])?)));
    let slowdown = part("migration").zip(results.slowdown.clone());
    let rises =
        part("load").and_then(|part| Some((part, rises(&results.findings, &part.measured_at[1])?)));
    if law.is_none() && slowdown.is_none() && rises.is_none() {
        return Err(wrong(anyhow!(
            "no predictor came of these folders: it needs moves by pre-copy with several memories, bandwidths, dirty rates and round \
             trips (`forestall lab run thesis --only paths` measures them), or moves between several loads (`--only table7`); and no knee: that \
             needs levels of load (`--only table6`)"
        )));
    }
    let measured = law.iter().map(|(part, _)| *part);
    let measured = measured.chain(slowdown.iter().map(|(part, _)| *part));
    for part in measured.chain(rises.iter().map(|(part, _)| *part)) {
        if part.machines != [profile.machine.clone()] {
            return Err(wrong(anyhow!(
                "{} is of another machine ({}) than the moves of {} ({})",
                path.display(),
                profile.machine,
                part.part,
                part.machines.join("; ")
            )));
        }
    }
    let migration = &mut profile.migration;
    migration.law = law.map(|(_, law)| law).or(migration.law.take());
    let slowdown = slowdown.map(|(_, slowdown)| slowdown);
    migration.slowdown = slowdown.or(migration.slowdown.take());
    profile.knee.rises = rises.map(|(_, rises)| rises).or(profile.knee.rises.take());
    record::file::write_atomically(path, profile.to_toml().as_bytes()).map_err(|error| {
        Failure {
            kind: FailureKind::Work,
            error: error.into(),
        }
    })?;
    println!("Profile: {}", path.display());
    Ok(())
}

/// Measures the cells in some folders, writes the report, and says what came out.
pub(crate) fn write(folders: &[PathBuf], out: &Path) -> Result<Outcome, Failure> {
    made(folders, out).map(|_| Outcome::Done)
}

fn made(folders: &[PathBuf], out: &Path) -> Result<campaign::Report, Failure> {
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
    campaign::keep::keep(folders, out).map_err(failure)?;
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
    for law in report.results.predictor.iter().flat_map(|one| &one.laws) {
        let percent = |share: Option<f64>| share.unwrap_or_default() * 100.0;
        if law.unseen_moves > 0 {
            println!(
                "predicted      {}: of {} moves not seen, median error {:.1} %, {:.1} % in the 95 % interval",
                law.what,
                law.unseen_moves,
                percent(law.unseen_error_median),
                percent(law.unseen_within95)
            );
        }
    }
    println!("Report: {}", path.display());
    Ok(report)
}

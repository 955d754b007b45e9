//! `forestall measure`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use measure::arrivals::Measured;
use measure::capture::{CaptureError, Endpoints};
use measure::knee::{self, Search, Verdict};
use serde::Serialize;

use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall measure intervals video.pcapng                         the flow with most bytes that carries video
  forestall measure intervals video.pcapng --flow '192.0.2.7:5000>192.0.2.9:5001' --json
  forestall measure intervals video.pcapng --csv packets.csv       a row for each packet, to draw
  forestall measure knee sweep.csv                                 columns load,value[,n][,sd]";

/// Measure what others made: arrival intervals in a capture, the knee of a sweep, the delay on a screen
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Arrival intervals of packets and frames in a capture (pcap, pcapng): mean, S.D., C.V.
    ///
    /// Counted are packets of UDP or TCP with a payload, of one flow: the one with most bytes among those that carry MPEG-TS
    /// with MPEG-2 or H.264, bare, in RTP or by TCP, otherwise among all. A frame arrives with the packet in which it begins.
    /// S.D. is that of a sample (n - 1), C.V. is S.D. / mean.
    #[command(after_help = EXAMPLES)]
    Intervals(IntervalsArguments),
    /// The load at which a value starts to rise, with its 95 % interval, from a sweep of the load
    ///
    /// A broken line, flat and then rising, is fitted by least squares, weighted by n / sd^2 where those columns are there.
    /// There is a knee if it fits better than a straight line, by an F test at 5 %; the interval is that of the profile
    /// likelihood. Where the rise is not straight, the knee moves towards its steep part.
    #[command(after_help = EXAMPLES)]
    Knee {
        /// CSV file with the columns load, value, and if known n (measurements behind the value) and sd (of one of them)
        sweep: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    #[cfg(feature = "media")]
    Passages(super::passages::Arguments),
    #[cfg(feature = "media")]
    Screen(super::screen::Arguments),
    #[cfg(feature = "media")]
    Screenshots(super::screenshots::Arguments),
}

#[derive(Debug, clap::Args)]
struct IntervalsArguments {
    /// Capture file, or the packets.csv of `forestall play`
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Measure this flow, ADDRESS:PORT>ADDRESS:PORT
    #[arg(long, value_name = "SRC:PORT>DST:PORT")]
    flow: Option<Endpoints>,
    /// Write a row for each packet: time, interval, bytes, cumulative bytes, frames that begin, kind of frame
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        match self.command {
            Command::Intervals(arguments) => intervals(&arguments),
            Command::Knee { sweep, json } => find_knee(&sweep, json),
            #[cfg(feature = "media")]
            Command::Passages(arguments) => arguments.run(),
            #[cfg(feature = "media")]
            Command::Screen(arguments) => arguments.run(),
            #[cfg(feature = "media")]
            Command::Screenshots(arguments) => arguments.run(),
        }
    }
}

pub(super) fn work(error: impl Into<anyhow::Error>) -> Failure {
    Failure {
        kind: FailureKind::Work,
        error: error.into(),
    }
}

pub(super) fn print_json(figures: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(figures).map_err(work)?);
    Ok(())
}

fn intervals(arguments: &IntervalsArguments) -> Result<Outcome, Failure> {
    let measured = Measured::read(&arguments.file, arguments.flow).map_err(capture_failure)?;
    if let Some(csv) = &arguments.csv {
        record::file::write_csv(csv, &measured.rows()).map_err(work)?;
    }
    let figures = measured.figures();
    if arguments.json {
        print_json(&figures)?;
    } else {
        println!("{figures}");
    }
    Ok(Outcome::Done)
}

/// A capture is the work, not the configuration; but which one, and which flow in it, is said on the command line.
pub(super) fn capture_failure(error: CaptureError) -> Failure {
    let kind = match &error {
        CaptureError::Io { .. }
        | CaptureError::NoSuchFlow { .. }
        | CaptureError::NoAddresses { .. } => FailureKind::Configuration,
        _ => FailureKind::Work,
    };
    Failure {
        kind,
        error: error.into(),
    }
}

fn find_knee(path: &Path, json: bool) -> Result<Outcome, Failure> {
    let configuration = |error: anyhow::Error| Failure {
        kind: FailureKind::Configuration,
        error,
    };
    let points = knee::read_sweep(path).map_err(|error| configuration(error.into()))?;
    let search = knee::find(&points).map_err(|error| {
        configuration(anyhow::Error::from(error).context(path.display().to_string()))
    })?;
    if json {
        print_json(&search)?;
    } else {
        println!("{}", in_words(&search));
    }
    Ok(Outcome::Done)
}

fn in_words(search: &Search) -> String {
    let f = search.f.map_or_else(
        || "the broken line leaves nothing over".to_owned(),
        |f| format!("F = {f:.2}"),
    );
    let test = format!(
        "{f}; over {:.2} is a knee; {} points",
        search.f_limit, search.points
    );
    match (
        search.verdict,
        search.knee,
        search.interval95,
        search.flat,
        search.slope,
    ) {
        (Verdict::Knee, Some(knee), Some([low, high]), Some(flat), Some(slope)) => format!(
            "knee at load {knee:.4}, 95 % interval {low:.4} to {high:.4}\n\
             before it {flat:.4}, behind it {slope:+.4} per unit of load\n({test})"
        ),
        _ => format!("no knee found: a straight line fits as well\n({test})"),
    }
}

//! What the video commands have in common.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use media::{ErrorKind, MediaError, StatsOutput, Totals, UdpUrl};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Failure, FailureKind, Outcome};

/// Arguments of every video command.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Print one JSON object a second: frames, time in this stage, bit rate
    #[arg(long)]
    stats: bool,
    /// End after so many seconds [default: when interrupted]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    duration: Option<Duration>,
}

impl Common {
    pub(crate) fn stats(&self) -> StatsOutput {
        if self.stats {
            StatsOutput::JsonLines
        } else {
            StatsOutput::Off
        }
    }

    pub(crate) fn duration(&self) -> Option<Duration> {
        self.duration
    }
}

/// Where text is drawn.
#[derive(Debug, clap::Args)]
pub(crate) struct FontArgument {
    /// TrueType or OpenType font
    #[arg(long, value_name = "FILE", default_value = media::text::DEFAULT_FONT)]
    pub(crate) font: PathBuf,
}

/// An address, or an error with its cause, which clap would leave out.
pub(crate) fn parse_url(text: &str) -> Result<UdpUrl, String> {
    let url = text.parse();
    url.map_err(|error: MediaError| format!("{:#}", anyhow::Error::from(error)))
}

/// Bits per second: a number, with `k` or `M` behind it for thousands or millions.
pub(crate) fn parse_bitrate(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text
            .strip_suffix('M')
            .map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    let bits: f64 = digits
        .parse()
        .map_err(|_| "expected a number like 600k, 1.5M or 600000".to_owned())?;
    let bits = bits * unit;
    if (10e3..=100e6).contains(&bits) {
        Ok(bits as u32)
    } else {
        Err("expected 10k to 100M".to_owned())
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| "expected a number of seconds, 0 or more".to_owned())
}

/// Runs a stage until it ends or a signal ends it, and sums it up on standard error.
pub(crate) fn run_stage(
    name: &str,
    stage: impl FnOnce(&AtomicBool) -> Result<Totals, MediaError>,
) -> Result<Outcome, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|error| Failure {
            kind: FailureKind::Work,
            error: error.into(),
        })?;
    }
    let totals = stage(&stop).map_err(failure)?;
    eprintln!(
        "{name}: {} frames in, {} out, {} dropped, {} damaged, {} datagrams dropped by the system",
        totals.frames_in,
        totals.frames_out,
        totals.frames_dropped,
        totals.frames_damaged,
        totals.datagrams_dropped
    );
    Ok(if stop.load(Ordering::Relaxed) {
        Outcome::Interrupted
    } else {
        Outcome::Done
    })
}

fn failure(error: MediaError) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Failed => FailureKind::Work,
        ErrorKind::Config => FailureKind::Configuration,
        ErrorKind::Missing => FailureKind::Missing,
    };
    Failure {
        kind,
        error: error.into(),
    }
}

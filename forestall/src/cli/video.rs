//! What the video commands have in common.

#[cfg(feature = "media")]
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use media::{ErrorKind, MediaError, StatsOutput, StreamUrl, Totals};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::place::Authorities;
use super::{Failure, FailureKind, Outcome};

/// Arguments of every video command.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Print figures once a second: frames in, out, dropped, held; time in this stage; bit rate
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "line")]
    stats: Option<StatsFormat>,
    /// End after so many seconds [default: when interrupted]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) authorities: Authorities,
}

impl Common {
    /// An address of the command line, with those who vouch for a server there.
    pub(crate) fn address(&self, url: StreamUrl) -> StreamUrl {
        url.vouched_for_by(self.authorities.ca.as_deref())
    }

    pub(crate) fn stats(&self) -> StatsOutput {
        match self.stats {
            None => StatsOutput::Off,
            Some(StatsFormat::Line) => StatsOutput::Lines,
            Some(StatsFormat::Json) => StatsOutput::JsonLines,
        }
    }

    pub(crate) fn duration(&self) -> Option<Duration> {
        self.duration
    }
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StatsFormat {
    /// A line for people
    Line,
    /// A JSON object
    Json,
}

/// Where text is drawn.
#[cfg(feature = "media")]
#[derive(Debug, clap::Args)]
pub(crate) struct FontArgument {
    /// TrueType or OpenType font
    #[arg(long, value_name = "FILE", default_value = media::text::DEFAULT_FONT)]
    pub(crate) font: PathBuf,
}

/// What video is coded with.
#[cfg(feature = "media")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Codec {
    /// MPEG-2, as in the thesis
    Mpeg2,
    /// H.264 by libx264: smaller, and more work
    H264,
}

#[cfg(feature = "media")]
impl From<Codec> for media::VideoCodec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Mpeg2 => Self::Mpeg2,
            Codec::H264 => Self::H264,
        }
    }
}

/// An address, or an error with its cause, which clap would leave out.
pub(crate) fn parse_url(text: &str) -> Result<StreamUrl, String> {
    let url = text.parse();
    url.map_err(|error: MediaError| format!("{:#}", anyhow::Error::from(error)))
}

/// What an address may be, for `--help`.
pub(crate) const ADDRESSES: &str = "\
Addresses:
  udp://HOST:PORT                  datagrams; to receive, HOST is an address of this machine
  udp://GROUP:PORT?interface=ADDRESS&ttl=NUMBER
                                   a multicast group, at the interface that has ADDRESS
  rtp://HOST:PORT                  the same in RTP, payload type 33
  tcp://HOST:PORT                  connects, and again when the connection ends
  tcp://ADDRESS:PORT?listen        waits for the other end to connect
  http://HOST:PORT/PATH            GET to receive, POST to send
  https://HOST:PORT/PATH           the same in TLS; --ca names who vouches for the server";

/// Bits per second: a number, with `k` or `M` behind it for thousands or millions.
#[cfg(feature = "media")]
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

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
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
    let (totals, outcome) = run_until_stopped(stage)?;
    eprintln!(
        "{name}: {} frames in, {} out, {} dropped, {} damaged, {} datagrams dropped by the system, {} packets lost on the way",
        totals.frames_in,
        totals.frames_out,
        totals.frames_dropped,
        totals.frames_damaged,
        totals.datagrams_dropped,
        totals.packets_lost
    );
    Ok(outcome)
}

/// Runs something until it ends or a signal ends it.
pub(crate) fn run_until_stopped<Done>(
    work: impl FnOnce(&AtomicBool) -> Result<Done, MediaError>,
) -> Result<(Done, Outcome), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|error| Failure {
            kind: FailureKind::Work,
            error: error.into(),
        })?;
    }
    let done = work(&stop).map_err(failure)?;
    let outcome = if stop.load(Ordering::Relaxed) {
        Outcome::Interrupted
    } else {
        Outcome::Done
    };
    Ok((done, outcome))
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

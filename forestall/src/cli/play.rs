//! `forestall play`.

use std::path::PathBuf;

use media::StreamUrl;
use media::play::{self, PlayConfig, PlayDecoder, Reporting};
use record::VmName;
use record::name::ViewerName;

use super::video::{ADDRESSES, Common, parse_url, run_stage};
use super::{Failure, Outcome, reporter};

const EXAMPLES: &str = "\
Examples:
  forestall play udp://0.0.0.0:5001 --frames-csv frames.csv --packets-csv packets.csv
  forestall play udp://0.0.0.0:5001 --window
  forestall play udp://0.0.0.0:5001 --stats --duration 10 --png last.png
  forestall play http://192.0.2.7:8080/robot.ts --playout 0.95 --stats json
  forestall play https://192.0.2.7:8443/robot.ts --ca chain.pem
  forestall play udp://0.0.0.0:5001 --report 127.0.0.1:7373 --function text-insertion
  forestall play udp://0.0.0.0:5001 --frames-csv frames.csv --width 320 --height 240 \\
      --decoder-command \"ffmpeg -v error -f mpegts -i - -f rawvideo -pix_fmt yuv420p -\"";

/// Be the screen: show video, in a window or to nobody, read how old each picture is, and write it down
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{ADDRESSES}"))]
pub(crate) struct Arguments {
    /// Where the video comes from, like udp://ADDRESS:PORT of this machine
    #[arg(value_parser = parse_url)]
    input: StreamUrl,
    /// Show pictures at a steady pace, so late that this share of them comes in time [default: each at once]
    #[arg(long, value_name = "SHARE", value_parser = parse_share, conflicts_with = "decoder_command")]
    playout: Option<f64>,
    /// Show the pictures in a window (X11); q, Escape or closing it ends this
    #[arg(long)]
    window: bool,
    /// Write a row for each frame shown: its number, when it was taken and shown, its state
    #[arg(long, value_name = "FILE")]
    frames_csv: Option<PathBuf>,
    /// Write a row for each datagram: when the kernel received it, its size
    #[arg(long, value_name = "FILE")]
    packets_csv: Option<PathBuf>,
    /// Write the last picture at the end
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Give the datagrams to this program and read raw pictures (YUV 4:2:0) from it
    #[arg(long, value_name = "COMMAND", requires_all = ["width", "height"], conflicts_with = "report")]
    decoder_command: Option<String>,
    /// Pixels of the pictures of --decoder-command
    #[arg(long, requires = "decoder_command")]
    width: Option<u32>,
    /// Pixels of the pictures of --decoder-command
    #[arg(long, requires = "decoder_command")]
    height: Option<u32>,
    #[command(flatten)]
    reporter: reporter::Arguments,
    /// The function whose video this is, as the orchestrator names it
    #[arg(long, value_name = "NAME", requires = "report")]
    function: Option<VmName>,
    /// Who sees it, where a function has several viewers
    #[arg(
        long,
        value_name = "NAME",
        requires = "report",
        default_value = "viewer"
    )]
    viewer: ViewerName,
    #[command(flatten)]
    common: Common,
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected 0 to 1, like 0.95".to_owned())
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let decoder = match (self.decoder_command, self.width, self.height) {
            (Some(command), Some(width), Some(height)) => PlayDecoder::Program {
                command,
                width,
                height,
            },
            _ => PlayDecoder::BuiltIn,
        };
        let (reports, reporter) = self.reporter.begin(&self.common.authorities)?.unzip();
        let viewer = self.viewer;
        let to = |(function, reports)| Reporting {
            function,
            viewer,
            reports,
        };
        let config = PlayConfig {
            input: self.common.address(self.input),
            decoder,
            playout: self.playout,
            window: self.window,
            frames_csv: self.frames_csv,
            packets_csv: self.packets_csv,
            png: self.png,
            duration: self.common.duration(),
            stats: self.common.stats(),
            reporting: self.function.zip(reports).map(to),
        };
        let outcome = run_stage("play", |stop| play::run(&config, stop));
        if let Some(reporter) = reporter {
            reporter.end();
        }
        outcome
    }
}

//! `forestall capture`.

use std::path::PathBuf;

use media::StreamUrl;
use media::capture::{self, CaptureConfig, CaptureSink};

use super::video::{ADDRESSES, Codec, Common, FontArgument, parse_bitrate, parse_url, run_stage};
use super::{Failure, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall capture udp://192.0.2.7:5000
  forestall capture udp://192.0.2.7:5000 --width 160 --height 120 --bitrate 300k --sent-csv sent.csv
  forestall capture 'http://192.0.2.7:8080/publish/robot?token=…'
  forestall capture --encoder-command \"ffmpeg -f rawvideo -pix_fmt yuv420p -s 320x240 -r 30 -i - \\
      -c:v mpeg2video -b:v 600k -f mpegts udp://192.0.2.7:5000?pkt_size=1316\"";

/// Be the camera: send a moving picture with a clock, and a code strip that says when it was taken
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{ADDRESSES}"))]
pub(crate) struct Arguments {
    /// Where to send the video, like udp://HOST:PORT
    #[arg(
        value_parser = parse_url,
        required_unless_present = "encoder_command",
        conflicts_with = "encoder_command"
    )]
    output: Option<StreamUrl>,
    /// Pixels
    #[arg(long, default_value_t = 320)]
    width: u32,
    /// Pixels
    #[arg(long, default_value_t = 240)]
    height: u32,
    /// Pictures per second
    #[arg(long, default_value_t = 30)]
    fps: u32,
    /// What the video is coded with
    #[arg(long, value_enum, default_value_t = Codec::Mpeg2)]
    codec: Codec,
    /// Bits per second, like 600k or 1.5M
    #[arg(long, default_value = "600k", value_parser = parse_bitrate)]
    bitrate: u32,
    /// A key picture every so many
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    gop: u32,
    /// Give raw pictures (YUV 4:2:0) to this program, which encodes and sends
    #[arg(long, value_name = "COMMAND")]
    encoder_command: Option<String>,
    /// Write a row for each frame sent: its number, when it was taken, its size
    #[arg(long, value_name = "FILE")]
    sent_csv: Option<PathBuf>,
    #[command(flatten)]
    font: FontArgument,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let sink = match (self.output, self.encoder_command) {
            (Some(output), _) => CaptureSink::Network {
                output,
                codec: self.codec.into(),
                bitrate: self.bitrate,
                gop: self.gop,
            },
            (None, command) => CaptureSink::Program {
                command: command.unwrap_or_default(),
            },
        };
        let config = CaptureConfig {
            sink,
            width: self.width,
            height: self.height,
            fps: self.fps,
            font: self.font.font,
            sent_csv: self.sent_csv,
            duration: self.common.duration(),
            stats: self.common.stats(),
        };
        run_stage("capture", |stop| capture::run(&config, stop))
    }
}

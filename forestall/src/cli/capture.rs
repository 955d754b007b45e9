//! `forestall capture`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use media::StreamUrl;
use media::capture::pictures::{self, Marking, PictureSource, PicturesConfig};
use media::capture::{self, CaptureConfig, CaptureSink};

use super::video::{ADDRESSES, Codec, Common, FontArgument, parse_bitrate, parse_url, run_stage};
use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall capture udp://192.0.2.7:5000
  forestall capture udp://192.0.2.7:5000 --width 160 --height 120 --bitrate 300k --sent-csv sent.csv
  forestall capture 'http://192.0.2.7:8080/publish/robot?token=…'
  forestall capture 'https://192.0.2.7:8443/publish/robot?token=…' --ca chain.pem
  forestall capture udp://192.0.2.7:5000 --input film.mp4 --bitrate 2M
  forestall capture udp://192.0.2.7:5000 --input /dev/video0 --width 640 --height 480 --fps 30 --code-strip
  some-program --y4m | forestall capture udp://192.0.2.7:5000 --input - --codec h264
  forestall capture --encoder-command \"ffmpeg -f rawvideo -pix_fmt yuv420p -s 320x240 -r 30 -i - \\
      -c:v mpeg2video -b:v 600k -f mpegts udp://192.0.2.7:5000?pkt_size=1316\"";

/// Be the camera: send a moving picture with a clock and a code strip that says when it was taken, or pictures from elsewhere
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
    /// Instead of the clock: a film, played in real time; a camera, /dev/videoN; or - for YUV4MPEG2 on standard input
    #[arg(long, value_name = "SOURCE")]
    input: Option<PathBuf>,
    /// Draw the code strip over the bottom of the pictures of --input, so that `play` can tell how old they are
    #[arg(long, requires = "input")]
    code_strip: bool,
    /// Pixels of the clock picture [default: 320], or to ask a camera for
    #[arg(long)]
    width: Option<u32>,
    /// Pixels of the clock picture [default: 240], or to ask a camera for
    #[arg(long)]
    height: Option<u32>,
    /// Pictures per second of the clock picture [default: 30], or to ask a camera for
    #[arg(long)]
    fps: Option<u32>,
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
                output: self.common.address(output),
                codec: self.codec.into(),
                bitrate: self.bitrate,
                gop: self.gop,
            },
            (None, command) => CaptureSink::Program {
                command: command.unwrap_or_default(),
            },
        };
        if let Some(input) = self.input {
            let config = PicturesConfig {
                source: source(input, (self.width, self.height), self.fps)?,
                marking: if self.code_strip {
                    Marking::CodeStrip
                } else {
                    Marking::None
                },
                sink,
                sent_csv: self.sent_csv,
                duration: self.common.duration(),
                stats: self.common.stats(),
            };
            return run_stage("capture", |stop| pictures::run(&config, stop));
        }
        let config = CaptureConfig {
            sink,
            width: self.width.unwrap_or(320),
            height: self.height.unwrap_or(240),
            fps: self.fps.unwrap_or(30),
            font: self.font.font,
            sent_csv: self.sent_csv,
            duration: self.common.duration(),
            stats: self.common.stats(),
        };
        run_stage("capture", |stop| capture::run(&config, stop))
    }
}

/// What `--input` means.
fn source(
    input: PathBuf,
    size: (Option<u32>, Option<u32>),
    fps: Option<u32>,
) -> Result<PictureSource, Failure> {
    let refuse = |text: &str| Failure {
        kind: FailureKind::Configuration,
        error: anyhow!("{text}"),
    };
    if input.starts_with("/dev") && input != Path::new("/dev/stdin") {
        let size = match size {
            (Some(width), Some(height)) => Some((width, height)),
            (None, None) => None,
            _ => return Err(refuse("--width and --height go together")),
        };
        return Ok(PictureSource::Camera {
            device: input,
            size,
            fps,
        });
    }
    if size != (None, None) || fps.is_some() {
        return Err(refuse(
            "a film and standard input have their own size and rate: leave out --width, --height and --fps",
        ));
    }
    Ok(if input == Path::new("-") {
        PictureSource::Stdin
    } else {
        PictureSource::File(input)
    })
}

//! `forestall overlay`.

use std::path::PathBuf;

use media::StreamUrl;
use media::identity::IdentityFiles;
use media::overlay::{self, Colour, ControlAddress, Image, Label, OverlayConfig};

use super::video::{ADDRESSES, Codec, Common, FontArgument, parse_bitrate, parse_url, run_stage};
use super::{Failure, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall overlay udp://0.0.0.0:5000 udp://192.0.2.9:5001 --text \"Robot 7\"
  forestall overlay udp://0.0.0.0:5000 udp://192.0.2.9:5001 --text \"Robot 7\" \\
      --boot-id-file /proc/sys/kernel/random/boot_id --runner-file /run/runner
  forestall overlay udp://0.0.0.0:5000 udp://192.0.2.9:5001 --text \"Shoes\" --x 20 --y 400 --size 24 --colour '#ffcc00'
  forestall overlay udp://0.0.0.0:5000 udp://192.0.2.9:5001 --text \"Shoes, 25 €\" --image shoe.png@20,60,120x90
  forestall overlay udp://0.0.0.0:5000 udp://192.0.2.9:5001 --control 127.0.0.1:5080
  curl http://127.0.0.1:5080/ -d '{\"text\": \"Shoes, 25 €\", \"x\": 20, \"size\": 24, \"colour\": \"#ffcc00\"}'
  curl http://127.0.0.1:5080/ -d '{\"images\": [{\"file\": \"shoe.png\", \"x\": 20, \"y\": 60, \"width\": 120}]}'

What is not given stays: text, x, y, size (pixels), colour and box_colour (#rrggbb), box_opacity (0 to 1), images (a list of all of them: \
file, x, y, width, height; read again when they are given). GET shows what there is now. A bad request changes nothing.

Sound, and whatever else is beside the video, passes as it came, in step with the pictures.";

/// Be the function: draw text and images over video on its way, and where it was done
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{ADDRESSES}"))]
pub(crate) struct Arguments {
    /// Where the video comes from, like udp://ADDRESS:PORT of this machine
    #[arg(value_parser = parse_url)]
    input: StreamUrl,
    /// Where to send it, like udp://HOST:PORT
    #[arg(value_parser = parse_url)]
    output: StreamUrl,
    /// Written over the picture
    #[arg(long, default_value = "Forestall")]
    text: String,
    /// Pixels between the left of the picture and the text
    #[arg(long, default_value_t = 4)]
    x: u32,
    /// Pixels between the top of the picture and the text
    #[arg(long, default_value_t = 4)]
    y: u32,
    /// Height of a line of text in pixels, 6 to 200 [default: a sixteenth of the picture]
    #[arg(long)]
    size: Option<f32>,
    /// Colour of the text
    #[arg(long, default_value = "#ffffff", value_name = "#RRGGBB")]
    colour: Colour,
    /// Colour of the box behind the text
    #[arg(long, default_value = "#000000", value_name = "#RRGGBB")]
    box_colour: Colour,
    /// How much of the picture that box hides, 0 to 1
    #[arg(long, default_value_t = 0.6)]
    box_opacity: f32,
    /// A PNG file over the picture, below the text: at X,Y, brought to WIDTHxHEIGHT if that is given; up to four of them
    #[arg(long = "image", value_name = "FILE@X,Y[,WIDTHxHEIGHT]")]
    images: Vec<Image>,
    /// Take changes of text and images while it runs: HTTP with JSON at ADDRESS:PORT or, with a slash, at a socket file
    #[arg(long, value_name = "ADDRESS")]
    control: Option<ControlAddress>,
    /// What the output is coded with
    #[arg(long, value_enum, default_value_t = Codec::Mpeg2)]
    codec: Codec,
    /// Bits per second of the output, like 600k or 1.5M
    #[arg(long, default_value = "600k", value_parser = parse_bitrate)]
    bitrate: u32,
    /// A key picture at least every so many; each key picture that comes in makes one too
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=600))]
    gop: u32,
    /// File with the guest's boot id; it is shown, and written into the code strip
    #[arg(long, value_name = "FILE", requires = "runner_file")]
    boot_id_file: Option<PathBuf>,
    /// File with the number of the virtual machine process that runs the guest now; read again for each frame
    #[arg(long, value_name = "FILE", requires = "boot_id_file")]
    runner_file: Option<PathBuf>,
    #[command(flatten)]
    font: FontArgument,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let identity = self.boot_id_file.zip(self.runner_file);
        let config = OverlayConfig {
            input: self.common.address(self.input),
            output: self.common.address(self.output),
            label: Label {
                text: self.text,
                x: self.x,
                y: self.y,
                size: self.size,
                colour: self.colour,
                box_colour: self.box_colour,
                box_opacity: self.box_opacity,
                images: self.images,
            },
            control: self.control,
            font: self.font.font,
            codec: self.codec.into(),
            bitrate: self.bitrate,
            gop: self.gop,
            identity: identity.map(|(boot_id, runner)| IdentityFiles { boot_id, runner }),
            duration: self.common.duration(),
            stats: self.common.stats(),
        };
        run_stage("overlay", |stop| overlay::run(&config, stop))
    }
}

//! `forestall relay`.

use media::StreamUrl;
use media::relay::{self, RelayConfig};

use super::video::{ADDRESSES, Common, parse_url, run_stage};
use super::{Failure, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall relay udp://0.0.0.0:5001 udp://192.0.2.9:5001
  forestall relay udp://0.0.0.0:5001 udp://192.0.2.9:5001 rtp://192.0.2.10:5004 tcp://0.0.0.0:6000?listen --stats
  forestall relay udp://239.1.2.3:5000?interface=192.0.2.1 'http://192.0.2.7:8080/publish/robot?token=…'";

/// Pass a stream on, to one or many, as it came; an output that cannot be reached costs the others nothing
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{ADDRESSES}"))]
pub(crate) struct Arguments {
    /// Where the stream comes from, like udp://ADDRESS:PORT of this machine
    #[arg(value_parser = parse_url)]
    input: StreamUrl,
    /// Where to send it, like udp://HOST:PORT
    #[arg(value_parser = parse_url, required = true, value_name = "OUTPUT")]
    outputs: Vec<StreamUrl>,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let outputs = self.outputs.into_iter();
        let config = RelayConfig {
            input: self.common.address(self.input),
            outputs: outputs.map(|url| self.common.address(url)).collect(),
            duration: self.common.duration(),
            stats: self.common.stats(),
        };
        run_stage("relay", |stop| relay::run(&config, stop))
    }
}

//! `forestall serve`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::StreamUrl;
use media::serve::{self, Access, Limits, Reporting, ServeConfig, StreamName, Tls};
use record::VmName;
use record::name::ViewerName;

use super::video::{ADDRESSES, Common, parse_seconds, parse_url, run_stage};
use super::{Failure, FailureKind, Outcome, reporter};

const EXAMPLES: &str = "\
Examples:
  forestall serve 0.0.0.0:8080 --stream robot=udp://0.0.0.0:5001
  forestall serve 0.0.0.0:8080 --publish-token-file publishers --view-token-file viewers
  forestall capture 'http://192.0.2.7:8080/publish/robot?token=…'
  ffmpeg -re -i video.mpg -c copy -f mpegts -omit_video_pes_length 0 -method PUT 'http://192.0.2.7:8080/publish/video?token=…'
  forestall serve 0.0.0.0:8443 --stream robot=udp://0.0.0.0:5001 --tls-cert chain.pem --tls-key key.pem
  forestall serve 0.0.0.0:8080 --stream robot=udp://0.0.0.0:5001 --report 127.0.0.1:7373 --function robot=text-insertion
  forestall play http://192.0.2.7:8080/robot.ts

Pages:
  /                 what is served to how many, at which rate
  /status.json      the same for programs
  /play/NAME        plays a stream in a browser (H.264), and says how old its picture is
  /NAME.ts          a stream, for as many viewers as there are
  /publish/NAME     POST or PUT a transport stream here

A file of tokens has a line TOKEN for all streams, or NAME TOKEN for one. A token is given as ?token=TOKEN or in a header
Authorization: Bearer TOKEN. With --tls-cert and --tls-key everything is encrypted (https://); without, put it where the network is
yours. A browser plays video only from https:// or from this same machine.

With --report what is seen in browsers that play the stream of a function is told to an orchestrator. A browser may say anything: where
functions are moved by it, give tokens to those who may watch.";

/// Give streams to many viewers over HTTP: a late one starts with the last key picture, a slow one delays nobody
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{ADDRESSES}"))]
pub(crate) struct Arguments {
    /// Where viewers connect, ADDRESS:PORT of this machine
    listen: SocketAddr,
    /// A stream and where it comes from; may be given many times
    #[arg(long = "stream", value_name = "NAME=ADDRESS", value_parser = parse_stream)]
    streams: Vec<(StreamName, StreamUrl)>,
    /// Who may publish [default: nobody]
    #[arg(long, value_name = "FILE")]
    publish_token_file: Option<PathBuf>,
    /// Who may watch and see the status [default: everybody]
    #[arg(long, value_name = "FILE")]
    view_token_file: Option<PathBuf>,
    /// Certificates for TLS, the server's own first (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the first of them (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Streams at once
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().streams_max)]
    streams_max: usize,
    /// Viewers at once
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().viewers_max)]
    viewers_max: u64,
    /// Connections at once
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections_max)]
    connections_max: u64,
    /// Bytes kept for each stream; a group of pictures that is longer cannot be joined
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().stream_bytes_max)]
    stream_bytes_max: usize,
    /// A viewer that is so many seconds late goes on from the last key picture
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    lag_max: Duration,
    /// A connection that says, sends or takes nothing for so many seconds is closed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_idle)]
    idle: Duration,
    #[command(flatten)]
    reporter: reporter::Arguments,
    /// A stream and the function whose video it is, as the orchestrator names it; NAME alone where both have the same; may be given many times
    #[arg(long, value_name = "STREAM=NAME", requires = "report", value_parser = parse_function)]
    function: Vec<(StreamName, VmName)>,
    /// Who sees it; each page has a number behind it. Two servers of one function need two names
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

fn parse_stream(text: &str) -> Result<(StreamName, StreamUrl), String> {
    let (name, url) = text
        .split_once('=')
        .ok_or("expected NAME=ADDRESS, like robot=udp://0.0.0.0:5000")?;
    let name = name
        .parse()
        .map_err(|error: serve::NameError| error.to_string())?;
    Ok((name, parse_url(url)?))
}

fn parse_function(text: &str) -> Result<(StreamName, VmName), String> {
    let (stream, function) = text.split_once('=').unwrap_or((text, text));
    let stream = stream
        .parse()
        .map_err(|error: serve::NameError| error.to_string())?;
    let function = VmName::new(function).map_err(|error| error.to_string())?;
    Ok((stream, function))
}

fn parse_idle(text: &str) -> Result<Duration, String> {
    let idle = parse_seconds(text)?;
    if (1.0..=86_400.0).contains(&idle.as_secs_f64()) {
        Ok(idle)
    } else {
        Err("expected 1 to 86400 seconds".to_owned())
    }
}

fn access(file: Option<&Path>, without: Access) -> Result<Access, Failure> {
    file.map_or(Ok(without), Access::read)
        .map_err(|error| Failure {
            kind: FailureKind::Configuration,
            error: error.into(),
        })
}

impl Arguments {
    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let Some((certificate, key)) = self.tls_cert.as_ref().zip(self.tls_key.as_ref()) else {
            return Ok(None);
        };
        Tls::read(certificate, key)
            .map(Some)
            .map_err(|error| Failure {
                kind: FailureKind::Configuration,
                error: error.into(),
            })
    }

    /// Whose video each stream is.
    fn functions(&self) -> Result<BTreeMap<StreamName, VmName>, Failure> {
        let mut functions = BTreeMap::new();
        for (stream, function) in &self.function {
            if functions.insert(stream.clone(), function.clone()).is_some() {
                return Err(Failure {
                    kind: FailureKind::Configuration,
                    error: anyhow::anyhow!("the stream '{stream}' has two functions"),
                });
            }
        }
        Ok(functions)
    }

    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let (tls, functions) = (self.tls()?, self.functions()?);
        let (reports, reporter) = self.reporter.begin(&self.common.authorities)?.unzip();
        let viewers = self.viewer;
        let inputs = self.streams.into_iter();
        let to = |reports| Reporting {
            functions,
            viewers,
            reports,
        };
        let config = ServeConfig {
            tls,
            listen: self.listen,
            publish: access(self.publish_token_file.as_deref(), Access::Closed)?,
            view: access(self.view_token_file.as_deref(), Access::Open)?,
            inputs: inputs
                .map(|(name, url)| (name, self.common.address(url)))
                .collect(),
            limits: Limits {
                streams_max: self.streams_max,
                viewers_max: self.viewers_max,
                connections_max: self.connections_max,
                stream_bytes_max: self.stream_bytes_max,
                lag_max: self.lag_max,
                idle: self.idle,
                ..Limits::default()
            },
            duration: self.common.duration(),
            stats: self.common.stats(),
            reporting: reports.map(to),
        };
        let outcome = run_stage("serve", |stop| serve::run(&config, stop));
        if let Some(reporter) = reporter {
            reporter.end();
        }
        outcome
    }
}

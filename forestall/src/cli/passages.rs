//! `forestall measure passages`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use measure::capture::packet::Flow;
use measure::capture::{CaptureError, Endpoints, pictures};
use measure::statistics::Values;
use media::codec::{Arrival, CodecError, Decoder};
use record::Timestamp;
use record::raw::PassageRow;
use serde::Serialize;
use wire::code_strip::{Place, expand_time_us};

use super::measure::{capture_failure, print_json, work};
use super::{Failure, Outcome};

const EXAMPLES: &str = "\
Examples:
  tcpdump -i eth0 -s 0 -w video.pcap udp port 5000          where the video passes
  forestall measure passages video.pcap                     how old frames were there, flow by flow
  forestall measure passages video.pcap --csv passages.csv  a row for each frame

Two captures, before and behind a function, tell what it takes: the difference of the times of the same frame. Their clocks have to
agree with the camera's.";

/// When frames of `forestall capture` passed where a capture was made (pcap, pcapng), and how old they were there
///
/// Of each flow of MPEG-TS with MPEG-2 or H.264 (UDP, RTP, TCP, HTTP) the pictures are decoded, and their code strips read. A frame has
/// passed with its last byte.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Capture file
    file: PathBuf,
    /// Write a row for each frame: flow, number, when it was captured and when it passed
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let mut flows: BTreeMap<Flow, Read> = BTreeMap::new();
        let opened = File::open(&self.file);
        let mut file = opened.map_err(|source| {
            let path = self.file.clone();
            capture_failure(CaptureError::Io { path, source })
        })?;
        pictures(&self.file, &mut file, |flow, time_ns, unit| {
            let own = flows.entry(*flow).or_default();
            own.picture(Timestamp(time_ns / 1_000), unit);
        })
        .map_err(capture_failure)?;
        for read in flows.values_mut() {
            if let Some(Err(error)) = read.decoder.take_if(|own| own.is_err()) {
                return Err(work(error));
            }
        }
        if let Some(path) = &self.csv {
            let rows = flows
                .iter()
                .flat_map(|(flow, read)| read.rows(&flow.endpoints));
            let rows: Vec<PassageRow> = rows.collect();
            record::file::write_csv(path, &rows).map_err(work)?;
        }
        let figures: Vec<Figures> = flows
            .into_iter()
            .map(|(flow, read)| Figures::of(&flow.endpoints, &read))
            .collect();
        if self.json {
            print_json(&figures)?;
        } else if figures.is_empty() {
            println!("no flow of the capture has MPEG-TS with MPEG-2 or H.264 in it");
        }
        for figures in figures.iter().filter(|_| !self.json) {
            println!("{figures}");
        }
        Ok(Outcome::Done)
    }
}

/// What was read of a flow.
#[derive(Default)]
struct Read {
    /// Once the first picture came; why there is none, where FFmpeg has none.
    decoder: Option<Result<Decoder, CodecError>>,
    /// Number, capture and passage of each frame.
    frames: Vec<(u32, Timestamp, Timestamp)>,
    unreadable: u64,
}

impl Read {
    fn picture(&mut self, passed: Timestamp, unit: &wire::mpegts::AccessUnit) {
        let decoder = self
            .decoder
            .get_or_insert_with(|| Decoder::open(unit.codec));
        let Ok(decoder) = decoder else {
            return;
        };
        let arrival = Arrival {
            received: passed,
            is_damaged: false,
        };
        // A picture of which nothing can be made is one that cannot be read.
        let is_picture = decoder.send(unit, arrival).is_ok();
        self.unreadable += u64::from(!is_picture);
        while let Some(decoded) = decoder.receive() {
            let Some(strip) = decoded.picture.read_strip(Place::Bottom) else {
                self.unreadable += 1;
                continue;
            };
            let passed = decoded.arrival.received;
            let captured = Timestamp(expand_time_us(strip.a, passed.as_micros()));
            self.frames.push((strip.b, captured, passed));
        }
    }

    fn rows(&self, flow: &Endpoints) -> impl Iterator<Item = PassageRow> {
        let (source, destination) = (flow.source, flow.destination);
        let row = move |(frame, captured_us, passed_us): &(u32, Timestamp, Timestamp)| PassageRow {
            source,
            destination,
            frame: *frame,
            captured_us: *captured_us,
            passed_us: *passed_us,
        };
        self.frames.iter().map(row)
    }
}

/// What is printed of a flow.
#[derive(Debug, Serialize)]
struct Figures {
    source: String,
    destination: String,
    /// Frames whose code strip was read.
    frames: u64,
    /// Pictures that could not be read.
    unreadable: u64,
    /// Age of a frame when its last byte passed.
    age_mean_ms: Option<f64>,
    age_p95_ms: Option<f64>,
}

impl Figures {
    fn of(flow: &Endpoints, read: &Read) -> Self {
        let age = |frame: &(u32, Timestamp, Timestamp)| frame.2.seconds_after(frame.1) * 1e3;
        let ages: Values = read.frames.iter().map(age).collect();
        Self {
            source: flow.source.to_string(),
            destination: flow.destination.to_string(),
            frames: read.frames.len() as u64,
            unreadable: read.unreadable,
            age_mean_ms: ages.mean(),
            age_p95_ms: ages.quantile(0.95),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
        write!(
            f,
            "{}>{}: {} frames, age {} ms (95th percentile {}); {} pictures could not be read",
            self.source,
            self.destination,
            self.frames,
            or_dash(self.age_mean_ms),
            or_dash(self.age_p95_ms),
            self.unreadable
        )
    }
}

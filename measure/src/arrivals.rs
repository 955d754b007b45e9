//! What the arrivals in one file say: `forestall measure intervals FILE`, of anybody's capture or of a player's
//! `packets.csv`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use record::raw::PacketRow;
use record::read_csv;
use serde::{Deserialize, Serialize};
use wire::mpegts::{PictureKind, VideoCodec};

use crate::capture::content::Carrier;
use crate::capture::timeline::{FrameArrival, PacketArrival};
use crate::capture::{CaptureError, Endpoints, Survey, Timeline, flows};
use crate::intervals::DATAGRAM_FRAMES_MAX;
use crate::statistics::Values;
use crate::words::{UNMEASURED, or_dash};

/// First bytes of a player's `packets.csv`.
const PACKETS_CSV: &[u8] = b"received_us,";
const NS_PER_MS: f64 = 1e6;

/// Figures of one flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arrivals {
    /// Packets with a payload.
    pub packets: u64,
    /// Frames that begin in them; `None` where they cannot be told.
    pub frames: Option<u64>,
    /// Between successive packets.
    pub packet_intervals_ms: Figures,
    /// Between the first packets of successive frames.
    pub frame_intervals_ms: Figures,
    /// Payload in all.
    pub bytes: u64,
    /// From the first packet to the last.
    pub duration_s: Option<f64>,
    /// The frames of each kind (`I`, `P`, `B`, `unknown`) apart; `None` where they cannot be told.
    pub frame_kinds: Option<BTreeMap<String, KindFigures>>,
    /// Which flow of the capture it is; `None` for a `packets.csv`.
    pub flow: Option<FlowFigures>,
    /// What a reader of the figures has to know.
    pub notes: Vec<String>,
}

/// Statistics of intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Standard deviation (of a sample: n - 1).
    pub sd: Option<f64>,
    /// Coefficient of variation, sd / mean.
    pub cv: Option<f64>,
}

/// Frames of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindFigures {
    /// How many.
    pub frames: u64,
    /// Bytes of those that came whole, without transport stream; `None` if none did.
    pub bytes: Option<u64>,
    /// Between the first packets of successive frames of this kind.
    pub intervals_ms: Figures,
}

/// Which flow was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowFigures {
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// Address and port of the sender.
    pub source: String,
    /// Address and port of the receiver.
    pub destination: String,
    /// `mpegts` or `rtp` (MPEG-TS in it); `None` if no video was found.
    pub carries: Option<&'static str>,
    /// `mpeg2` or `h264`; `None` if no video was found.
    pub codec: Option<&'static str>,
    /// Flows with a payload in the capture.
    pub of_flows: u64,
}

/// A packet, for drawing elsewhere: Figures 4, 5, 8 and 9 of the thesis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrivalRow {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Since the packet before it; none for the first.
    pub interval_ms: Option<f64>,
    /// Of payload.
    pub bytes: u64,
    /// Of payload in this and all packets before it.
    pub cumulative_bytes: u64,
    /// Frames that begin in it.
    pub frame_starts: u32,
    /// Kind of the frame that begins in it, or that it goes on with: `I`, `P`, `B`, `unknown`.
    pub frame_kind: String,
}

/// Arrivals of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    timeline: Timeline,
    survey: Option<Survey>,
}

impl Measured {
    /// Reads a capture (pcap, pcapng) or a `packets.csv`. `wanted` names the flow of a capture; otherwise
    /// [`flows::survey`] chooses.
    ///
    /// # Errors
    /// The file is neither, is broken, or the flow is not in it.
    pub fn read(path: &Path, wanted: Option<Endpoints>) -> Result<Self, CaptureError> {
        let mut file = File::open(path).map_err(|error| CaptureError::io(path, error))?;
        let mut head = Vec::new();
        file.by_ref()
            .take(PACKETS_CSV.len() as u64)
            .read_to_end(&mut head)
            .map_err(|error| CaptureError::io(path, error))?;
        if head != PACKETS_CSV {
            return Self::of_capture(path, &mut file, wanted);
        }
        if wanted.is_some() {
            return Err(CaptureError::NoAddresses {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            timeline: of_packets(&read_csv(path)?),
            survey: None,
        })
    }

    /// Reads an opened capture; `path` is what errors call it.
    ///
    /// # Errors
    /// It is none, is broken, or the flow is not in it.
    pub fn of_capture(
        path: &Path,
        capture: &mut (impl Read + std::io::Seek + Send),
        wanted: Option<Endpoints>,
    ) -> Result<Self, CaptureError> {
        let survey = flows::survey(path, capture, wanted)?;
        Ok(Self {
            timeline: Timeline::follow(path, capture, &survey)?,
            survey: Some(survey),
        })
    }

    /// The figures.
    #[must_use]
    pub fn figures(&self) -> Arrivals {
        let packets = &self.timeline.packets;
        let frames = self.timeline.frames.as_deref();
        let times = || packets.iter().map(|packet| packet.time_ns);
        let frame_times = |frame: &FrameArrival| frame.time_ns;
        let duration_ns = times()
            .max()
            .zip(times().min())
            .map(|(last, first)| last - first);
        Arrivals {
            packets: packets.len() as u64,
            frames: frames.map(|frames| frames.len() as u64),
            packet_intervals_ms: Figures::between(times()),
            frame_intervals_ms: frames.map_or_else(Figures::default, |frames| {
                Figures::between(frames.iter().map(frame_times))
            }),
            bytes: packets.iter().map(|packet| packet.bytes).sum(),
            duration_s: duration_ns.map(|ns| ns as f64 / 1e9),
            frame_kinds: frames.map(by_kind),
            flow: self.survey.as_ref().map(FlowFigures::of),
            notes: self.notes(),
        }
    }

    /// A row for each packet, in the order of time.
    #[must_use]
    pub fn rows(&self) -> Vec<ArrivalRow> {
        let (mut cumulative_bytes, mut last_ns) = (0, None);
        let row = |packet: &PacketArrival| {
            cumulative_bytes += packet.bytes;
            let since = |last: u64| ms_between(last, packet.time_ns);
            let frame = self.timeline.frames.as_ref().zip(packet.frame);
            let kind = frame.and_then(|(frames, at)| frames.get(at)?.kind);
            ArrivalRow {
                time_ns: packet.time_ns,
                interval_ms: last_ns.replace(packet.time_ns).map(since),
                bytes: packet.bytes,
                cumulative_bytes,
                frame_starts: packet.frame_starts,
                frame_kind: kind_name(kind).to_owned(),
            }
        };
        self.timeline.packets.iter().map(row).collect()
    }

    fn notes(&self) -> Vec<String> {
        let Some(survey) = &self.survey else {
            return Vec::new();
        };
        let mut notes = Vec::new();
        let mut note = |count: u64, text: &str| {
            if count > 0 {
                notes.push(format!("{count} {text}"));
            }
        };
        note(
            survey.cut_packets,
            "packets of the flow were not captured whole, so frames cannot be told: capture without a snapshot length",
        );
        note(
            self.timeline.missing_bytes,
            "bytes of the TCP stream are not in the capture",
        );
        note(
            survey.fragments,
            "parts of IP packets are in the capture, which are counted to no flow",
        );
        note(
            survey.of_unknown_link,
            "packets of link types that are not read are left out",
        );
        if survey.video.is_none() {
            notes.push(
                "no MPEG-TS with MPEG-2 or H.264 was found in the flow, so frames are not measured"
                    .to_owned(),
            );
        }
        notes
    }
}

/// The datagrams of a player.
fn of_packets(rows: &[PacketRow]) -> Timeline {
    let mut rows: Vec<&PacketRow> = rows.iter().collect();
    rows.sort_by_key(|row| row.received_us);
    let mut frames = Vec::new();
    let packet = |row: &&PacketRow| {
        let time_ns = row.received_us.0.saturating_mul(1_000);
        let frame_starts = row.frame_starts.min(DATAGRAM_FRAMES_MAX);
        for _ in 0..frame_starts {
            frames.push(FrameArrival {
                time_ns,
                ..FrameArrival::default()
            });
        }
        PacketArrival {
            time_ns,
            bytes: u64::from(row.bytes),
            frame_starts,
            frame: frames.len().checked_sub(1),
        }
    };
    Timeline {
        packets: rows.iter().map(packet).collect(),
        frames: Some(frames),
        missing_bytes: 0,
    }
}

fn ms_between(earlier_ns: u64, later_ns: u64) -> f64 {
    later_ns.saturating_sub(earlier_ns) as f64 / NS_PER_MS
}

impl Figures {
    /// Of the intervals between arrivals, whose times are put in order first.
    fn between(times_ns: impl Iterator<Item = u64>) -> Self {
        let mut times: Vec<u64> = times_ns.collect();
        times.sort_unstable();
        let pairs = times.iter().zip(times.iter().skip(1));
        let values: Values = pairs.map(|(one, next)| ms_between(*one, *next)).collect();
        Self {
            mean: values.mean(),
            sd: values.sd(),
            cv: values.cv(),
        }
    }
}

fn by_kind(frames: &[FrameArrival]) -> BTreeMap<String, KindFigures> {
    let mut kinds: BTreeMap<String, Vec<&FrameArrival>> = BTreeMap::new();
    for frame in frames {
        let kind = kinds.entry(kind_name(frame.kind).to_owned());
        kind.or_default().push(frame);
    }
    let figures = |frames: Vec<&FrameArrival>| {
        let mut whole = frames.iter().filter_map(|frame| frame.bytes).peekable();
        KindFigures {
            frames: frames.len() as u64,
            bytes: whole.peek().is_some().then(|| whole.sum()),
            intervals_ms: Figures::between(frames.iter().map(|frame| frame.time_ns)),
        }
    };
    kinds
        .into_iter()
        .map(|(kind, frames)| (kind, figures(frames)))
        .collect()
}

fn kind_name(kind: Option<PictureKind>) -> &'static str {
    match kind {
        Some(PictureKind::I) => "I",
        Some(PictureKind::P) => "P",
        Some(PictureKind::B) => "B",
        None => "unknown",
    }
}

impl FlowFigures {
    fn of(survey: &Survey) -> Self {
        let Survey { flow, video, .. } = survey;
        Self {
            transport: flow.transport.as_str(),
            source: flow.endpoints.source.to_string(),
            destination: flow.endpoints.destination.to_string(),
            carries: video.map(|video| match video.carrier {
                Carrier::Plain => "mpegts",
                Carrier::Rtp => "rtp",
            }),
            codec: video.map(|video| match video.codec {
                VideoCodec::Mpeg2 => "mpeg2",
                VideoCodec::H264 => "h264",
            }),
            of_flows: survey.flows,
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |value: Option<f64>| or_dash(value, |value| format!("{value:.2}"));
        let (mean, sd, cv) = (figure(self.mean), figure(self.sd), figure(self.cv));
        write!(f, "{mean:>10} {sd:>10} {cv:>8}")
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(flow) = &self.flow {
            let FlowFigures {
                transport,
                source,
                destination,
                ..
            } = flow;
            let carries = flow.carries.zip(flow.codec);
            let carries = carries.map_or_else(String::new, |(carrier, codec)| {
                format!(", {codec} in {carrier}")
            });
            writeln!(
                f,
                "{transport} {source}>{destination}{carries}; flows in the capture: {}",
                flow.of_flows
            )?;
        }
        let (intervals, duration_s) = (
            "intervals, ms:",
            or_dash(self.duration_s, |s| format!("{s:.3}")),
        );
        writeln!(
            f,
            "{:<10} {:>9} {:>12} {intervals:>16} {:>10} {:>10} {:>8}",
            "", "number", "bytes", "mean", "S.D.", "C.V."
        )?;
        let mut line =
            |name: &str, number: Option<u64>, bytes: Option<u64>, intervals: &Figures| {
                let said = |count: Option<u64>| {
                    count.map_or_else(|| UNMEASURED.to_owned(), |count| count.to_string())
                };
                let (number, bytes) = (said(number), said(bytes));
                writeln!(
                    f,
                    "{name:<10} {number:>9} {bytes:>12} {:>16} {intervals}",
                    ""
                )
            };
        line(
            "packets",
            Some(self.packets),
            Some(self.bytes),
            &self.packet_intervals_ms,
        )?;
        line("frames", self.frames, None, &self.frame_intervals_ms)?;
        for (kind, figures) in self.frame_kinds.iter().flatten() {
            line(
                &format!("  {kind}"),
                Some(figures.frames),
                figures.bytes,
                &figures.intervals_ms,
            )?;
        }
        write!(
            f,
            "over {duration_s} s; S.D. is that of a sample (n - 1), C.V. is S.D. / mean"
        )?;
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Timestamp;

    #[test]
    fn a_players_file_is_summarised_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packets.csv");
        let packets = [(0, 1), (10, 0), (80, 2), (40, 1)].map(|(ms, frame_starts)| PacketRow {
            received_us: Timestamp(ms * 1_000),
            bytes: 1_316,
            frame_starts,
        });
        record::file::write_csv(&path, &packets).unwrap();
        let measured = Measured::read(&path, None).unwrap();
        let arrivals = measured.figures();
        assert_eq!(
            (arrivals.packets, arrivals.frames, arrivals.bytes),
            (4, Some(4), 5_264)
        );
        assert_eq!(arrivals.packet_intervals_ms.mean, Some(80.0 / 3.0));
        // 40, 40 and 0 ms: two frames begin in one datagram.
        assert_eq!(arrivals.frame_intervals_ms.mean, Some(80.0 / 3.0));
        assert_eq!(arrivals.duration_s, Some(0.08));
        let rows = measured.rows();
        assert_eq!(rows[3].interval_ms, Some(40.0));
        assert_eq!((rows[3].cumulative_bytes, rows[3].frame_starts), (5_264, 2));
        let wanted = "192.0.2.1:1>192.0.2.2:2".parse().unwrap();
        let error = Measured::read(&path, Some(wanted)).unwrap_err();
        assert!(matches!(error, CaptureError::NoAddresses { .. }), "{error}");
        std::fs::write(&path, "received_us,bytes\n").unwrap();
        let error = Measured::read(&path, None).unwrap_err();
        assert!(matches!(error, CaptureError::Record(_)), "{error}");
    }

    #[test]
    fn of_nothing_nothing_is_said() {
        let figures = Figures::between([5].into_iter());
        assert_eq!(figures, Figures::default());
        assert_eq!(figures.to_string().replace(' ', ""), "–––");
    }
}

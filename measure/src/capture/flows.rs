//! All flows of a capture, and the one to measure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::Path;

use wire::mpegts::{Reader, VideoCodec};

use super::content::{Carrier, transport_stream};
use super::packet::{Content, Endpoints, Flow, Packet, link_name};
use super::tcp::Stream;
use super::{CaptureError, file};

/// Flows looked through at once. Each holds a few kilobytes and what is out of order.
const FLOWS_MAX: usize = 1 << 16;
/// Flows named in an error.
const NAMED_MAX: usize = 5;

/// Video in MPEG-TS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Video {
    /// How it is carried.
    pub carrier: Carrier,
    /// Which packets of the transport stream are the video.
    pub pid: u16,
    /// What it is coded with.
    pub codec: VideoCodec,
}

/// What a capture holds, and the flow in it that is to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The flow.
    pub flow: Flow,
    /// Its video, if it carries MPEG-TS with a codec that we know.
    pub video: Option<Video>,
    /// Packets of it that were not captured whole.
    pub cut_packets: u64,
    /// Flows with a payload.
    pub flows: u64,
    /// Parts of IP packets, which belong to no flow here.
    pub fragments: u64,
    /// Packets of link types that we do not read.
    pub of_unknown_link: u64,
}

/// Looks through the capture. Measured is the flow named, otherwise the one with most bytes among those that carry video,
/// otherwise among all. Where the same packets were seen more than once, those received are preferred.
///
/// # Errors
/// The capture cannot be read, or the flow is not in it.
pub fn survey(
    path: &Path,
    capture: &mut (impl Read + Seek + Send),
    wanted: Option<Endpoints>,
) -> Result<Survey, CaptureError> {
    let mut table = Table {
        wanted,
        flows: BTreeMap::new(),
        fragments: 0,
        of_unknown_link: 0,
        unknown_link: None,
    };
    let packets = file::read(path, capture, |frame| {
        match Content::of(frame) {
            Content::Packet(packet) => return table.take(path, &packet),
            Content::Fragment => table.fragments += 1,
            Content::Other => {}
            Content::UnknownLink => {
                table.of_unknown_link += 1;
                table.unknown_link = Some(frame.link);
            }
        }
        Ok(())
    })?;
    table.choose(path, packets)
}

struct Table {
    wanted: Option<Endpoints>,
    flows: BTreeMap<Flow, Candidate>,
    fragments: u64,
    of_unknown_link: u64,
    unknown_link: Option<i32>,
}

/// What is known of a flow.
#[derive(Default)]
struct Candidate {
    packets: u64,
    bytes: u64,
    cut_packets: u64,
    video: Option<Video>,
    /// Looks for video until it has found it.
    probe: Option<Box<Probe>>,
}

#[derive(Default)]
struct Probe {
    stream: Stream,
    reader: Reader,
}

impl Table {
    fn take(&mut self, path: &Path, packet: &Packet<'_>) -> Result<(), CaptureError> {
        let is_open = self
            .wanted
            .is_none_or(|wanted| wanted == packet.flow.endpoints);
        if self.flows.len() >= FLOWS_MAX && !self.flows.contains_key(&packet.flow) {
            if self.wanted.is_none() {
                return Err(CaptureError::TooManyFlows {
                    path: path.to_owned(),
                    max: FLOWS_MAX,
                });
            }
            if !is_open {
                return Ok(());
            }
        }
        let candidate = self.flows.entry(packet.flow).or_insert_with(|| Candidate {
            probe: is_open.then(Box::default),
            ..Candidate::default()
        });
        candidate.take(packet);
        Ok(())
    }

    fn choose(self, path: &Path, packets: u64) -> Result<Survey, CaptureError> {
        let path = || path.to_owned();
        if packets == 0 {
            return Err(CaptureError::NoPackets { path: path() });
        }
        let mut flows: Vec<(&Flow, &Candidate)> = self.flows.iter().collect();
        flows.retain(|(_, candidate)| candidate.packets > 0);
        flows.sort_by_key(|(flow, candidate)| {
            let is_wanted = self.wanted.is_none_or(|wanted| wanted == flow.endpoints);
            let has_video = candidate.video.is_some();
            Reverse((
                is_wanted,
                has_video,
                candidate.bytes,
                !flow.is_outgoing,
                Reverse(**flow),
            ))
        });
        let Some((flow, candidate)) = flows.first() else {
            return Err(match self.unknown_link {
                Some(link) => CaptureError::LinkType {
                    path: path(),
                    link: link_name(link),
                },
                None => CaptureError::NoFlow {
                    path: path(),
                    packets,
                },
            });
        };
        if let Some(wanted) = self.wanted.filter(|wanted| *wanted != flow.endpoints) {
            let said = |(flow, candidate): &(&Flow, &Candidate)| {
                format!("{} ({} bytes)", flow.endpoints, candidate.bytes)
            };
            return Err(CaptureError::NoSuchFlow {
                path: path(),
                wanted,
                largest: flows.iter().take(NAMED_MAX).map(said).collect(),
            });
        }
        Ok(Survey {
            flow: **flow,
            video: candidate.video,
            cut_packets: candidate.cut_packets,
            flows: flows.len() as u64,
            fragments: self.fragments,
            of_unknown_link: self.of_unknown_link,
        })
    }
}

impl Candidate {
    fn take(&mut self, packet: &Packet<'_>) {
        let bytes = packet.payload_bytes();
        if bytes > 0 {
            self.packets += 1;
            self.bytes += bytes;
            self.cut_packets += u64::from(packet.missing_bytes > 0);
        }
        let Some(probe) = &mut self.probe else { return };
        if let Some(carrier) = probe.take(packet)
            && let Some((pid, codec)) = probe.reader.video()
        {
            self.video = Some(Video {
                carrier,
                pid,
                codec,
            });
            self.probe = None;
        }
    }
}

impl Probe {
    /// Reads on; returns how what was read is carried.
    fn take(&mut self, packet: &Packet<'_>) -> Option<Carrier> {
        let mut in_order = Vec::new();
        let (carrier, bytes) = match packet.segment {
            Some(segment) => {
                self.stream.push(segment, packet.payload, &mut in_order);
                (Carrier::Plain, &in_order[..])
            }
            None => transport_stream(packet.payload)?,
        };
        self.reader.push(bytes);
        Some(carrier)
    }
}

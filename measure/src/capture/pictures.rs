//! The coded pictures of every flow of a capture, each with the time at which its last byte passed.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::Path;

use wire::mpegts::{AccessUnit, Reader, Splitter};

use super::content::transport_stream;
use super::packet::{Content, Flow, Packet};
use super::tcp::Stream;
use super::{CaptureError, file};

/// Flows that are followed at once; those that begin later are not.
const FLOWS_MAX: usize = 256;

/// Gives every coded picture to `take`, flow by flow in its order, with nanoseconds since 1970; `path` is what errors call the capture.
///
/// A picture whose length is not told ends where the next begins; its last byte passed before that all the same.
///
/// # Errors
/// The file is no capture, or broken.
pub fn pictures(
    path: &Path,
    capture: &mut (impl Read + Seek + Send),
    mut take: impl FnMut(&Flow, u64, &AccessUnit),
) -> Result<(), CaptureError> {
    let mut flows: BTreeMap<Flow, Following> = BTreeMap::new();
    file::read(path, capture, |frame| {
        if let Content::Packet(packet) = Content::of(frame)
            && (flows.len() < FLOWS_MAX || flows.contains_key(&packet.flow))
        {
            let own = flows.entry(packet.flow).or_default();
            own.take(frame.time_ns, &packet, |ns, unit| {
                take(&packet.flow, ns, unit);
            });
        }
        Ok(())
    })?;
    Ok(())
}

#[derive(Default)]
struct Following {
    stream: Stream,
    splitter: Splitter,
    reader: Reader,
    /// When the last packet of the video came.
    video_ns: u64,
}

impl Following {
    fn take(&mut self, time_ns: u64, packet: &Packet<'_>, mut whole: impl FnMut(u64, &AccessUnit)) {
        let mut in_order = Vec::new();
        let bytes = match packet.segment {
            Some(segment) => {
                self.stream.push(segment, packet.payload, &mut in_order);
                &in_order[..]
            }
            None => transport_stream(packet.payload).map_or(&[][..], |(_, bytes)| bytes),
        };
        let (reader, video_ns) = (&mut self.reader, &mut self.video_ns);
        self.splitter.push(bytes, |packet| {
            let begun = reader.counters().units_begun;
            let units = reader.push(packet);
            let is_next = reader.counters().units_begun > begun;
            for unit in &units {
                whole(if is_next { *video_ns } else { time_ns }, unit);
            }
            let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
            if reader.video().is_some_and(|(video, _)| video == pid) {
                *video_ns = time_ns;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::packet::{Endpoints, Transport};
    use wire::mpegts::{PACKET_BYTES, UnitKind, VideoCodec, Writer};

    fn datagram(payload: &[u8]) -> Packet<'_> {
        let endpoints: Endpoints = "192.0.2.1:1>192.0.2.2:2".parse().unwrap();
        Packet {
            flow: Flow {
                transport: Transport::Udp,
                endpoints,
                is_outgoing: false,
                interface: (0, 0),
            },
            payload,
            missing_bytes: 0,
            segment: None,
        }
    }

    /// Pictures of 1000 bytes, 100 ms apart, a packet of MPEG-TS each millisecond; `told` is whether a PES says how long it is.
    fn passed(told: bool) -> Vec<u64> {
        let mut writer = Writer::new(VideoCodec::Mpeg2);
        let (mut following, mut seen) = (Following::default(), Vec::new());
        for number in 0..4_u64 {
            let mut packets = Vec::new();
            writer.write(&[7; 1000], number * 9_000, UnitKind::Key, &mut packets);
            for (at, packet) in packets.chunks_mut(PACKET_BYTES).enumerate() {
                let start = packet.windows(4).position(|at| at == [0, 0, 1, 0xe0]);
                if let Some(start) = start.filter(|_| !told) {
                    packet[start + 4..start + 6].fill(0);
                }
                let time_ns = 1 + number * 100 + at as u64;
                following.take(time_ns, &datagram(packet), |ns, unit| {
                    assert_eq!(unit.data.len(), 1000);
                    seen.push(ns);
                });
            }
        }
        seen
    }

    #[test]
    fn a_picture_passed_with_its_last_byte() {
        let told = passed(true);
        assert_eq!(told.len(), 4);
        assert!(
            told.windows(2).all(|two| two[1] - two[0] == 100),
            "{told:?}"
        );
        assert_eq!(
            passed(false),
            told[..3],
            "the last is not known to be whole"
        );
    }
}

//! The arrivals of one flow, packet by packet and frame by frame.

use std::io::{Read, Seek};
use std::path::Path;

use wire::mpegts::{AccessUnit, PictureKind, Reader, VideoCodec};

use super::content::transport_stream;
use super::flows::{Survey, Video};
use super::packet::{Content, Packet};
use super::tcp::Stream;
use super::{CaptureError, file};

/// A packet with a payload that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketArrival {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Of payload.
    pub bytes: u64,
    /// Frames that begin in it.
    pub frame_starts: u32,
    /// Number of the frame that begins in it (the last one), or that it goes on with; `None` before the first.
    pub frame: Option<usize>,
}

/// A coded picture that began to arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameArrival {
    /// When the packet in which it begins came, in nanoseconds since 1970. In a TCP stream that is the packet with which its
    /// first bytes are in order.
    pub time_ns: u64,
    /// `None` if it did not come as far as that.
    pub kind: Option<PictureKind>,
    /// Bytes of the coded picture, without transport stream; `None` if it did not come whole.
    pub bytes: Option<u64>,
}

/// What arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// In the order of time.
    pub packets: Vec<PacketArrival>,
    /// As they are numbered in the packets; `None` where frames cannot be told.
    pub frames: Option<Vec<FrameArrival>>,
    /// Bytes of a TCP stream that are not in the capture.
    pub missing_bytes: u64,
}

impl Timeline {
    /// Follows the flow of a survey through its capture.
    ///
    /// # Errors
    /// The capture cannot be read.
    pub fn follow(
        path: &Path,
        capture: &mut (impl Read + Seek + Send),
        survey: &Survey,
    ) -> Result<Self, CaptureError> {
        // What was cut off may have been the start of a frame.
        let video = survey.video.filter(|_| survey.cut_packets == 0);
        let mut following = Following {
            frames: video.map(Frames::new),
            stream: Stream::default(),
            packets: Vec::new(),
        };
        file::read(path, capture, |frame| {
            if let Content::Packet(packet) = Content::of(frame)
                && packet.flow == survey.flow
            {
                following.take(frame.time_ns, &packet);
            }
            Ok(())
        })?;
        // A capture on several interfaces need not be in the order of time.
        following.packets.sort_by_key(|packet| packet.time_ns);
        Ok(Self {
            packets: following.packets,
            frames: following.frames.map(Frames::finish),
            missing_bytes: following.stream.missing_bytes(),
        })
    }
}

struct Following {
    frames: Option<Frames>,
    stream: Stream,
    packets: Vec<PacketArrival>,
}

impl Following {
    fn take(&mut self, time_ns: u64, packet: &Packet<'_>) {
        let mut in_order = Vec::new();
        let bytes = match packet.segment {
            Some(segment) => {
                self.stream.push(segment, packet.payload, &mut in_order);
                Some(&in_order[..])
            }
            None => transport_stream(packet.payload).map(|(_, bytes)| bytes),
        };
        let mut arrival = PacketArrival {
            time_ns,
            bytes: packet.payload_bytes(),
            frame_starts: 0,
            frame: None,
        };
        if let Some(frames) = &mut self.frames {
            arrival.frame_starts = frames.push(time_ns, bytes.unwrap_or(&[]));
            arrival.frame = frames.begun.len().checked_sub(1);
        }
        if arrival.bytes > 0 {
            self.packets.push(arrival);
        }
    }
}

/// The frames in a transport stream.
struct Frames {
    codec: VideoCodec,
    reader: Reader,
    begun: Vec<FrameArrival>,
}

impl Frames {
    fn new(video: Video) -> Self {
        Self {
            codec: video.codec,
            // The tables may come later than the first frames.
            reader: Reader::with_video(video.pid, video.codec),
            begun: Vec::new(),
        }
    }

    /// Returns how many frames begin in the bytes.
    fn push(&mut self, time_ns: u64, bytes: &[u8]) -> u32 {
        let before = self.begun.len();
        let units = self.reader.push(bytes);
        let begun = usize::try_from(self.reader.counters().units_begun).unwrap_or(before);
        let arrival = FrameArrival {
            time_ns,
            ..FrameArrival::default()
        };
        self.begun.resize(begun.max(before), arrival);
        units.iter().for_each(|unit| self.read(unit));
        u32::try_from(self.begun.len() - before).unwrap_or(u32::MAX)
    }

    fn read(&mut self, unit: &AccessUnit) {
        let number = usize::try_from(unit.number).ok();
        if let Some(frame) = number.and_then(|number| self.begun.get_mut(number)) {
            frame.kind = PictureKind::of(self.codec, &unit.data);
            frame.bytes = (!unit.damaged).then_some(unit.data.len() as u64);
        }
    }

    /// Of the last frame it may not be known that it has ended, but what it is.
    fn finish(mut self) -> Vec<FrameArrival> {
        if let Some(unit) = self.reader.finish() {
            self.read(&unit);
            if let Some(last) = self.begun.last_mut() {
                last.bytes = None;
            }
        }
        self.begun
    }
}

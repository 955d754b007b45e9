//! Transport packets -> coded pictures, each as soon as it is whole.

use super::packets::{Fields, Splitter, packet_pid, starts_unit};
use super::picture::stands_alone;
use super::recent::Recent;
use super::{ForeignVideo, PACKET_BYTES, PID_PAT, SYNC_BYTE, VideoCodec, psi::Sections};

/// A longer coded picture is given up: 2 MiB is a second of 16 Mbit/s.
const UNIT_BYTES_MAX: usize = 2 << 20;
const PES_START: [u8; 3] = [0, 0, 1];
/// PES header up to and including its own length.
const PES_FIXED_BYTES: usize = 9;

/// A coded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The coded picture, without any MPEG-TS.
    pub data: Vec<u8>,
    /// What it is coded with, by the tables that were in force when it began.
    pub codec: VideoCodec,
    /// Presentation time in ticks of [`CLOCK_HZ`](super::CLOCK_HZ), if there was one.
    pub pts: Option<u64>,
    /// A decoder can begin here.
    pub random_access: bool,
    /// Packets inside it were lost: `data` has a hole or ends early.
    pub damaged: bool,
    /// Packets before it were lost: pictures that it refers to may be missing or damaged.
    pub lost_before: bool,
    /// How many pictures had begun before it: [`Counters::units_begun`] just before its first packet. Pictures that are
    /// given up have a number, too.
    pub number: u64,
}

/// What a [`Reader`] has come across; all count up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Gaps in the continuity counter of the video.
    pub continuity_errors: u64,
    /// Video packets that came twice.
    pub duplicates: u64,
    /// Bytes between packets.
    pub skipped_bytes: u64,
    /// Coded pictures given up: unreadable header or longer than 2 MiB.
    pub units_dropped: u64,
    /// Coded pictures whose first packet came.
    pub units_begun: u64,
}

/// Reads the first video stream of the first programme. It holds one unfinished picture (at most 2 MiB), the last 64 packets,
/// and tables (at most 4 KiB each).
#[derive(Debug)]
pub struct Reader {
    splitter: Splitter,
    pat: Sections,
    map: Sections,
    map_pid: Option<u16>,
    video: Option<(u16, VideoCodec)>,
    foreign_video: Option<ForeignVideo>,
    last_counter: Option<u8>,
    /// Packets were lost since the last unit was handed over or given up.
    lost: bool,
    recent: Recent,
    unit: Option<Pending>,
    counters: Counters,
}

/// A unit that is not whole yet.
#[derive(Debug)]
struct Pending {
    /// PES header and what came of the picture.
    bytes: Vec<u8>,
    codec: VideoCodec,
    random_access: bool,
    damaged: bool,
    lost_before: bool,
    number: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader that waits for the tables.
    #[must_use]
    pub fn new() -> Self {
        Self {
            splitter: Splitter::default(),
            pat: Sections::default(),
            map: Sections::default(),
            map_pid: None,
            video: None,
            foreign_video: None,
            last_counter: None,
            lost: false,
            recent: Recent::default(),
            unit: None,
            counters: Counters::default(),
        }
    }

    /// A reader that has the tables from elsewhere: PID and codec of the video.
    #[must_use]
    pub fn with_video(pid: u16, codec: VideoCodec) -> Self {
        Self {
            video: Some((pid, codec)),
            ..Self::new()
        }
    }

    /// Takes bytes as they come, datagrams or any other pieces, and returns the coded pictures that they complete.
    ///
    /// A picture with a length ends with its last byte, one without where the next begins.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<AccessUnit> {
        let mut units = Vec::new();
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(bytes, |packet| self.packet(packet, &mut units));
        self.splitter = splitter;
        units
    }

    /// Ends the stream, and returns the picture that was not whole yet; whether it is now cannot be known.
    pub fn finish(&mut self) -> Option<AccessUnit> {
        let mut units = Vec::new();
        self.end_unit(&mut units);
        units.pop()
    }

    /// PID and codec of the video, once the tables have come.
    #[must_use]
    pub fn video(&self) -> Option<(u16, VideoCodec)> {
        self.video
    }

    /// What the video is coded with, if the last map names none that can be read.
    #[must_use]
    pub fn foreign_video(&self) -> Option<ForeignVideo> {
        self.foreign_video
    }

    /// What came in so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            skipped_bytes: self.splitter.skipped_bytes(),
            ..self.counters
        }
    }

    /// Bytes of the unfinished picture and of the unfinished packet.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.splitter.held_bytes() + self.unit.as_ref().map_or(0, |unit| unit.bytes.len())
    }

    /// Where the map is that says where the video is.
    pub(super) fn map_pid(&self) -> Option<u16> {
        self.map_pid
    }

    /// Takes one packet.
    pub(super) fn packet(&mut self, packet: &[u8; PACKET_BYTES], units: &mut Vec<AccessUnit>) {
        let has_error = packet[1] & 0x80 != 0;
        let is_scrambled = packet[3] & 0xc0 != 0;
        if has_error || is_scrambled {
            return; // Its header cannot be trusted either; the counter shows the gap.
        }
        let Some(fields) = Fields::of(packet) else {
            return;
        };
        let pid = packet_pid(packet);
        if let Some((_, codec)) = self.video.filter(|(video, _)| *video == pid) {
            self.video_packet(packet, &fields, codec, units);
        } else if pid == PID_PAT {
            let map_pid = self
                .pat
                .push(packet)
                .and_then(|(section, _)| section.map_pid());
            if let Some(map_pid) = map_pid {
                self.map_pid = Some(map_pid);
                // Where the video was, its map is now: it says where the video is.
                if self.video.is_some_and(|(video, _)| video == map_pid) {
                    self.video = None;
                }
            }
        } else if Some(pid) == self.map_pid {
            let Some((section, _)) = self.map.push(packet) else {
                return;
            };
            self.foreign_video = section.foreign_video();
            let video = section.video();
            if video.is_some() && video != self.video {
                self.video = video;
                self.last_counter = None;
                self.recent.clear();
                self.unit = None;
            }
        }
    }

    fn video_packet(
        &mut self,
        packet: &[u8; PACKET_BYTES],
        fields: &Fields<'_>,
        codec: VideoCodec,
        units: &mut Vec<AccessUnit>,
    ) {
        let counter = packet[3] & 0x0f;
        if fields.discontinuity {
            self.recent.clear();
        }
        if fields.payload.is_empty() {
            // A clock alone: the counter stands still. A jump is announced: it counts on from there.
            if fields.discontinuity && self.last_counter != Some(counter) {
                self.last_counter = Some(counter);
                self.lost = true;
                if let Some(unit) = &mut self.unit {
                    unit.damaged = true;
                }
            }
            return;
        }
        let last = self.last_counter.filter(|_| !fields.discontinuity);
        // Also where its counter is the one that is due: of those that come late, a sixteenth have it.
        if last.is_some_and(|last| self.recent.has_come(last, packet)) {
            self.counters.duplicates += 1;
            return;
        }
        if last.is_some_and(|last| (last + 1) & 0x0f != counter) {
            self.counters.continuity_errors += 1;
            self.lost = true;
            if let Some(unit) = &mut self.unit {
                unit.damaged = true;
            }
        }
        self.last_counter = Some(counter);
        self.recent.push(packet);

        if starts_unit(packet) {
            self.end_unit(units);
            self.unit = Some(Pending {
                bytes: Vec::with_capacity(8 * PACKET_BYTES),
                codec,
                random_access: fields.random_access,
                damaged: false,
                lost_before: std::mem::take(&mut self.lost),
                number: self.counters.units_begun,
            });
        }
        // Payload without a unit belongs to one whose start was lost.
        let Some(unit) = &mut self.unit else { return };
        if unit.bytes.len() + fields.payload.len() > UNIT_BYTES_MAX {
            self.unit = None;
            self.lost = true;
            self.counters.units_dropped += 1;
            return;
        }
        unit.bytes.extend_from_slice(fields.payload);
        if starts_unit(packet) && !unit.is_header_only() {
            self.counters.units_begun += 1;
        }
        if unit.missing_bytes() == Some(0) {
            self.end_unit(units);
        }
    }

    /// Hands over the unit, whole or not.
    fn end_unit(&mut self, units: &mut Vec<AccessUnit>) {
        let Some(unit) = self.unit.take() else { return };
        match unit.finish() {
            Some(unit) => {
                // A hole inside this one is also a hole before the next.
                self.lost |= unit.damaged;
                if !unit.data.is_empty() {
                    units.push(unit);
                }
            }
            None => {
                self.lost = true;
                self.counters.units_dropped += 1;
            }
        }
    }
}

impl Pending {
    /// Bytes that the length field announces: header and picture; `None` while unknown or if it gives no length.
    fn announced_bytes(&self) -> Option<usize> {
        let length = u16::from_be_bytes([*self.bytes.get(4)?, *self.bytes.get(5)?]);
        (length > 0).then(|| 6 + usize::from(length))
    }

    fn missing_bytes(&self) -> Option<usize> {
        Some(self.announced_bytes()?.saturating_sub(self.bytes.len()))
    }

    /// Nothing but a header is announced: all it says is that the unit before it has ended.
    fn is_header_only(&self) -> bool {
        let header_bytes = self
            .bytes
            .get(8)
            .map(|more| PES_FIXED_BYTES + usize::from(*more));
        header_bytes.is_some() && header_bytes == self.announced_bytes()
    }

    /// `None` if the PES header is not one.
    fn finish(mut self) -> Option<AccessUnit> {
        if !self.bytes.starts_with(&PES_START) || self.bytes.len() < PES_FIXED_BYTES {
            return None;
        }
        let has_pts = self.bytes[7] & 0x80 != 0;
        let header_bytes = PES_FIXED_BYTES + usize::from(self.bytes[8]);
        let pts = if has_pts {
            self.bytes
                .get(9..14)
                .and_then(|field| read_pts(field.try_into().ok()?))
        } else {
            None
        };
        if let Some(announced) = self.announced_bytes() {
            // More than announced means that the end of this one and the start of the next were lost.
            self.damaged |= self.bytes.len() != announced;
            self.bytes.truncate(announced);
        }
        if header_bytes > self.bytes.len() {
            return None;
        }
        self.bytes.drain(..header_bytes);
        Some(AccessUnit {
            // Not every multiplexer marks key pictures.
            random_access: self.random_access || stands_alone(self.codec, &self.bytes),
            data: self.bytes,
            codec: self.codec,
            pts,
            damaged: self.damaged,
            lost_before: self.lost_before,
            number: self.number,
        })
    }
}

fn read_pts(field: [u8; 5]) -> Option<u64> {
    let markers = field[0] & field[2] & field[4] & 1;
    let [a, b, c, d, e] = field.map(u64::from);
    (markers == 1).then_some((a & 0x0e) << 29 | b << 22 | (c & 0xfe) << 14 | d << 7 | e >> 1)
}

/// How many coded pictures begin in a datagram: packets of `video_pid` with a payload unit start. Looks at packet headers
/// only, and expects the datagram to begin with one.
#[must_use]
pub fn unit_starts(datagram: &[u8], video_pid: u16) -> u32 {
    let (packets, _) = datagram.as_chunks::<PACKET_BYTES>();
    let starts = packets
        .iter()
        .filter(|p| p[0] == SYNC_BYTE && packet_pid(p) == video_pid && starts_unit(p));
    starts.count() as u32
}

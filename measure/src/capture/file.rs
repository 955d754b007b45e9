//! Packets of a capture file with their times.

use std::io::{Read, Seek};
use std::path::Path;

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};

use super::CaptureError;

/// Read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// A longer packet or block is a damaged length field: capture programs cut packets at 256 KiB.
const BLOCK_BYTES_MAX: usize = 16 << 20;
/// First bytes of pcapng, and of pcap in both byte orders, with microseconds, nanoseconds, and as patched by Kuznetzov.
const MAGICS: [[u8; 4]; 6] = [
    [0x0a, 0x0d, 0x0d, 0x0a],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x34, 0xcd, 0xb2, 0xa1],
];
/// Shortest header of a file.
const HEADER_BYTES_MIN: usize = 24;
const NS_PER_S: u64 = 1_000_000_000;
/// The link type stands in the lower half of its field; the upper may tell of check sums.
const LINK_MASK: i32 = 0xffff;

/// A packet as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Number of the interface within the file.
    pub interface: u32,
    /// Registered number of the link type.
    pub link: i32,
    /// From the link layer on; may be cut off.
    pub data: &'a [u8],
    /// Bytes on the wire that were not captured.
    pub missing_bytes: u32,
}

/// Gives every packet to `each`, in the order of the file, and returns how many there were. Begins at the start of the file,
/// wherever that stands.
///
/// # Errors
/// The file is no capture, ends within a packet, or is damaged; `each` fails.
pub fn read(
    path: &Path,
    file: &mut (impl Read + Seek + Send),
    mut each: impl FnMut(&Frame<'_>) -> Result<(), CaptureError>,
) -> Result<u64, CaptureError> {
    let head_bytes = recognise(path, file)?;
    let mut capture = Capture::default();
    let mut reader = create_reader(BUFFER_BYTES, file).map_err(|_| {
        let is_cut_off = head_bytes < HEADER_BYTES_MIN;
        let no_header = Stop::Nonsense("no file header");
        if is_cut_off { Stop::CutOff } else { no_header }.on(path, 0)
    })?;
    let mut capacity = BUFFER_BYTES;
    loop {
        let is_full = reader.data().len() >= capacity;
        let next = match reader.next() {
            Ok((length, block)) => match capture.take(&block) {
                Ok(frame) => {
                    frame.map_or(Ok(()), |frame| each(&frame))?;
                    Next::Consume(length)
                }
                Err(text) => Next::Stop(Stop::Nonsense(text)),
            },
            Err(PcapError::Eof) => return Ok(capture.packets),
            Err(PcapError::Incomplete(_)) if !is_full => Next::Refill,
            Err(PcapError::Incomplete(_) | PcapError::BufferTooSmall) => Next::Grow,
            Err(PcapError::UnexpectedEof) => Next::Stop(Stop::CutOff),
            Err(PcapError::ReadError) => Next::Stop(Stop::Unreadable),
            Err(_) => Next::Stop(Stop::Nonsense("a block that is none")),
        };
        match next {
            Next::Consume(length) => {
                reader.consume(length);
                continue;
            }
            Next::Stop(stop) => return Err(stop.on(path, capture.packets)),
            Next::Grow if capacity >= BLOCK_BYTES_MAX => {
                let stop = Stop::Nonsense("a packet that claims more than 16 MiB");
                return Err(stop.on(path, capture.packets));
            }
            Next::Grow => {
                capacity *= 2;
                reader.grow(capacity);
            }
            Next::Refill => {}
        }
        let refilled = reader.refill().is_ok();
        if !refilled {
            return Err(Stop::Unreadable.on(path, capture.packets));
        }
    }
}

/// What to do before looking for the next packet.
enum Next {
    Consume(usize),
    Refill,
    /// A packet is longer than what can be held.
    Grow,
    Stop(Stop),
}

/// Why there is no next packet.
enum Stop {
    CutOff,
    Unreadable,
    Nonsense(&'static str),
}

impl Stop {
    fn on(self, path: &Path, whole: u64) -> CaptureError {
        let path = path.to_owned();
        match self {
            Self::CutOff => CaptureError::Truncated { path, whole },
            Self::Nonsense(text) => CaptureError::Damaged {
                path,
                whole,
                text: text.to_owned(),
            },
            // The library keeps the system's words to itself.
            Self::Unreadable => CaptureError::Io {
                source: std::io::Error::other(format!("reading failed after {whole} packets")),
                path,
            },
        }
    }
}

/// Looks at the first bytes, and returns how many of the header's there are.
fn recognise(path: &Path, file: &mut (impl Read + Seek)) -> Result<usize, CaptureError> {
    let mut head = Vec::new();
    let looked = file
        .rewind()
        .and_then(|()| {
            file.by_ref()
                .take(HEADER_BYTES_MIN as u64)
                .read_to_end(&mut head)
        })
        .and_then(|_| file.rewind());
    looked.map_err(|source| CaptureError::io(path, source))?;
    let path = || path.to_owned();
    if head.is_empty() {
        return Err(CaptureError::Empty { path: path() });
    }
    if !MAGICS.iter().any(|magic| head.starts_with(magic)) {
        return Err(CaptureError::NotACapture { path: path() });
    }
    Ok(head.len())
}

/// What was said so far that later packets need.
#[derive(Default)]
struct Capture {
    packets: u64,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: i32,
    resolution: u8,
    offset_s: i64,
}

impl Capture {
    /// The packet in a block, if it is one.
    fn take<'a>(
        &mut self,
        block: &'a PcapBlockOwned<'a>,
    ) -> Result<Option<Frame<'a>>, &'static str> {
        let (number, ticks, data, missing_bytes) = match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let resolution = if header.is_nanosecond_precision() {
                    9
                } else {
                    6
                };
                self.interfaces.push(Interface {
                    link: header.network.0 & LINK_MASK,
                    resolution,
                    offset_s: 0,
                });
                return Ok(None);
            }
            PcapBlockOwned::Legacy(packet) => {
                let is_fine = self
                    .interfaces
                    .first()
                    .is_some_and(|one| one.resolution == 9);
                let per_second = if is_fine { NS_PER_S } else { 1_000_000 };
                let ticks = u64::from(packet.ts_sec) * per_second + u64::from(packet.ts_usec);
                let missing = packet.origlen.saturating_sub(packet.caplen);
                (0, ticks, packet.data, missing)
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.interfaces.clear();
                return Ok(None);
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                self.interfaces.push(Interface {
                    link: interface.linktype.0,
                    resolution: interface.if_tsresol,
                    offset_s: interface.if_tsoffset,
                });
                return Ok(None);
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let missing = packet.origlen.saturating_sub(packet.caplen);
                (packet.if_id, ticks, packet.packet_data(), missing)
            }
            PcapBlockOwned::NG(Block::SimplePacket(_)) => {
                return Err("a packet without a time (simple packet block)");
            }
            PcapBlockOwned::NG(_) => return Ok(None),
        };
        let interface = usize::try_from(number)
            .ok()
            .and_then(|at| self.interfaces.get(at));
        let interface = interface.ok_or("a packet of an interface that is not described")?;
        let time_ns = interface
            .time_ns(ticks)
            .ok_or("a packet of a time before 1970 or after 2554")?;
        self.packets += 1;
        Ok(Some(Frame {
            time_ns,
            interface: number,
            link: interface.link,
            data,
            missing_bytes,
        }))
    }
}

impl Interface {
    /// Nanoseconds since 1970; `None` where they do not fit. The resolution is that of the pcapng option `if_tsresol`: ticks
    /// per second as a negative power of 10, or of 2 if the highest bit is set.
    fn time_ns(self, ticks: u64) -> Option<u64> {
        let base = if self.resolution & 0x80 == 0 {
            10_u128
        } else {
            2
        };
        let since_offset = u128::from(ticks) * u128::from(NS_PER_S);
        // Of a resolution that does not fit in 128 bits, 64 bits of ticks are less than a nanosecond.
        let ns = base
            .checked_pow(u32::from(self.resolution & 0x7f))
            .map_or(0, |per_second| since_offset / per_second);
        let offset_ns = i128::from(self.offset_s) * i128::from(NS_PER_S);
        u64::try_from(i128::try_from(ns).ok()? + offset_ns).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resolution: u8, offset_s: i64, ticks: u64, expected: Option<u64>) {
        let interface = Interface {
            link: 1,
            resolution,
            offset_s,
        };
        let what = format!("{ticks} ticks of {resolution} from {offset_s}");
        assert_eq!(interface.time_ns(ticks), expected, "{what}");
    }

    #[test]
    fn every_resolution_of_pcapng() {
        check(6, 0, 1_700_000_000_123_456, Some(1_700_000_000_123_456_000));
        check(
            9,
            0,
            1_700_000_000_123_456_789,
            Some(1_700_000_000_123_456_789),
        );
        check(0, 0, 1_700_000_000, Some(1_700_000_000_000_000_000));
        check(0x80 | 10, 0, 1_024 + 512, Some(1_500_000_000));
        check(6, 10, 2_000_000, Some(12_000_000_000));
        check(6, -1, 2_000_000, Some(1_000_000_000));
        check(12, 0, 5_999, Some(5));
        check(127, 0, u64::MAX, Some(0));
        check(0xff, 0, u64::MAX, Some(0));
    }

    #[test]
    fn times_that_no_clock_shows_are_none() {
        check(6, -3, 2_000_000, None);
        check(0, 0, u64::MAX, None);
        check(0, i64::MAX, u64::MAX, None);
        check(0, i64::MIN, 0, None);
    }
}

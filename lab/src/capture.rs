//! What arrives at a host's link, captured by `tcpdump`.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use measure::arrivals::{ArrivalRow, Measured};
use record::Timestamp;
use record::raw::PacketRow;

use crate::error::{LabError, file};
use crate::process::{Place, Process, tail};

/// Name of the capture at a player's link.
pub const ARRIVALS: &str = "arrivals";
/// A capture that began has written its header within this, and ends within this.
const WITHIN: Duration = Duration::from_secs(10);
/// A pcap file's header, and that of each packet in it.
const FILE_HEADER_BYTES: usize = 24;
const PACKET_HEADER_BYTES: usize = 16;

/// A capture that runs; it ends when it is dropped.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    path: PathBuf,
}

impl Capture {
    /// Begins to write `NAME.pcap` into `folder`: whole packets at an interface.
    ///
    /// # Errors
    /// When `tcpdump` does not start.
    pub fn start(at: &Place, interface: &str, folder: &Path, name: &str) -> Result<Self, LabError> {
        let path = folder.join(format!("{name}.pcap"));
        let log = folder.join(format!("{name}-tcpdump.log"));
        let line = "tcpdump -n -U -s 0 -B 4096 --time-stamp-precision=micro -Z root -i";
        let mut argv: Vec<String> = line.split(' ').map(String::from).collect();
        argv.extend([interface, "-w"].map(String::from));
        argv.push(path.to_string_lossy().into_owned());
        let mut process = Process::start(at, &argv, &log)?;
        let begun = Instant::now();
        while std::fs::metadata(&path).map_or(0, |meta| meta.len()) == 0 {
            process.check()?;
            if begun.elapsed() > WITHIN {
                return Err(LabError::Late {
                    what: "the start of tcpdump".into(),
                    seconds: WITHIN.as_secs_f64(),
                    hint: tail(&log),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { process, path })
    }

    /// An error when it has ended by itself.
    ///
    /// # Errors
    /// With what it said last.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.process.check()
    }

    /// The video's packets so far.
    ///
    /// # Errors
    /// When there is none yet, or the file cannot be read.
    pub fn packets(&self) -> Result<Vec<PacketRow>, LabError> {
        let bytes = std::fs::read(&self.path).map_err(file(&self.path))?;
        let mut whole = Cursor::new(whole_packets(&bytes));
        let measured = Measured::of_capture(&self.path, &mut whole, None);
        let measured = measured.map_err(|error| LabError::Measure(error.to_string()))?;
        let packet = |row: ArrivalRow| PacketRow {
            received_us: Timestamp(row.time_ns / 1_000),
            bytes: row.bytes as u32,
            frame_starts: row.frame_starts,
        };
        Ok(measured.rows().into_iter().map(packet).collect())
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it; its file is whole then.
    pub fn end(&mut self) {
        self.process.end_within(WITHIN);
    }
}

/// A capture without the packet at its end that is still being written. Its numbers are this machine's.
fn whole_packets(capture: &[u8]) -> &[u8] {
    let mut end = FILE_HEADER_BYTES.min(capture.len());
    while let Some(header) = capture.get(end..end + PACKET_HEADER_BYTES)
        && let Some(length) = header.get(8..).and_then(<[u8]>::first_chunk::<4>)
    {
        let next = end + PACKET_HEADER_BYTES + u32::from_ne_bytes(*length) as usize;
        if next > capture.len() {
            break;
        }
        end = next;
    }
    &capture[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_being_written_is_left_out() {
        let mut capture = vec![7; FILE_HEADER_BYTES];
        let mut ends = vec![capture.len()];
        for length in [5_u32, 0, 300] {
            capture.extend([1; 8]);
            capture.extend(length.to_ne_bytes());
            capture.extend(length.to_ne_bytes());
            capture.extend(vec![2; length as usize]);
            ends.push(capture.len());
        }
        for cut in FILE_HEADER_BYTES..=capture.len() {
            let wanted = ends.iter().rfind(|end| **end <= cut).unwrap();
            assert_eq!(whole_packets(&capture[..cut]).len(), *wanted, "{cut}");
        }
        assert_eq!(whole_packets(&capture[..10]).len(), 10);
    }
}

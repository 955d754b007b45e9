//! Arrival intervals of datagrams and of coded frames.

use std::path::Path;

use record::raw::{IntervalRow, PacketRow};
use record::results::Intervals;
use record::{RecordError, read_csv};
use serde::Serialize;

use crate::span::{Span, ms_between};
use crate::statistics::Values;

/// `kind` of the interval between successive datagrams.
pub const PACKET: &str = "packet";
/// `kind` of the interval between the first datagrams of successive coded frames.
pub const FRAME: &str = "frame";

/// All intervals, in the order of the later arrival. Where several coded frames begin in one datagram, 0 ms lie between
/// them: leaving them out would make the mean interval longer than the time per frame.
///
/// `packets` are in the order of arrival.
#[must_use]
pub fn rows(packets: &[PacketRow]) -> Vec<IntervalRow> {
    let mut rows = Vec::with_capacity(packets.len() * 2);
    let (mut last_packet, mut last_frame) = (None, None);
    for packet in packets {
        let time_us = packet.received_us;
        let since = |earlier| ms_between(earlier, time_us);
        if let Some(earlier) = last_packet.replace(time_us) {
            rows.push(IntervalRow {
                time_us,
                kind: PACKET.into(),
                interval_ms: since(earlier),
            });
        }
        // A datagram holds seven TS packets; what claims more frame starts than that is no datagram of ours.
        for _ in 0..packet.frame_starts.min(7) {
            if let Some(earlier) = last_frame.replace(time_us) {
                rows.push(IntervalRow {
                    time_us,
                    kind: FRAME.into(),
                    interval_ms: since(earlier),
                });
            }
        }
    }
    rows
}

/// What the arrivals in one file say: `forestall measure intervals FILE --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arrivals {
    /// Datagrams.
    pub packets: u64,
    /// Coded frames that begin in them.
    pub frames: u64,
    /// Between successive datagrams.
    pub packet_intervals_ms: Figures,
    /// Between the first datagrams of successive coded frames.
    pub frame_intervals_ms: Figures,
    /// UDP payload in all.
    pub bytes: u64,
}

/// Statistics of intervals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Standard deviation (of a sample: n - 1).
    pub sd: Option<f64>,
    /// Coefficient of variation, sd / mean.
    pub cv: Option<f64>,
}

/// Reads a `packets.csv` and summarises all of it.
///
/// # Errors
/// The file is absent or broken.
pub fn of_file(path: &Path) -> Result<Arrivals, RecordError> {
    let mut packets: Vec<PacketRow> = read_csv(path)?;
    packets.sort_by_key(|packet| packet.received_us);
    let rows = rows(&packets);
    let figures = |kind: &str| {
        let values: Values = rows
            .iter()
            .filter(|row| row.kind == kind)
            .map(|row| row.interval_ms)
            .collect();
        Figures {
            mean: values.mean(),
            sd: values.sd(),
            cv: values.cv(),
        }
    };
    Ok(Arrivals {
        packets: packets.len() as u64,
        frames: packets
            .iter()
            .map(|packet| u64::from(packet.frame_starts))
            .sum(),
        packet_intervals_ms: figures(PACKET),
        frame_intervals_ms: figures(FRAME),
        bytes: packets.iter().map(|packet| u64::from(packet.bytes)).sum(),
    })
}

/// Statistics of the intervals of one kind whose later arrival lies in the phase.
#[must_use]
pub fn summarise(rows: &[IntervalRow], kind: &str, idle: Option<Span>, load: Span) -> Intervals {
    let values = |span: Span| -> Values {
        rows.iter()
            .filter(|row| row.kind == kind && span.contains(row.time_us))
            .map(|row| row.interval_ms)
            .collect()
    };
    let (under_load, idle) = (values(load), idle.map(values).unwrap_or_default());
    Intervals {
        mean: under_load.mean(),
        sd: under_load.sd(),
        cv: under_load.cv(),
        max: under_load.max(),
        n: under_load.n(),
        idle_mean: idle.mean(),
        idle_sd: idle.sd(),
        idle_cv: idle.cv(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Timestamp;

    fn packets(arrivals: &[(u64, u32)]) -> Vec<PacketRow> {
        arrivals
            .iter()
            .map(|(ms, frame_starts)| PacketRow {
                received_us: Timestamp(ms * 1_000),
                bytes: 1_316,
                frame_starts: *frame_starts,
            })
            .collect()
    }

    fn check(arrivals: &[(u64, u32)], expected: &[(u64, &str, f64)]) {
        let rows = rows(&packets(arrivals));
        let found: Vec<_> = rows
            .iter()
            .map(|r| (r.time_us.0 / 1_000, r.kind.as_str(), r.interval_ms))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn frames_are_counted_from_first_datagram_to_first_datagram() {
        check(
            &[(0, 1), (2, 0), (33, 1), (35, 0), (70, 1)],
            &[
                (2, PACKET, 2.0),
                (33, PACKET, 31.0),
                (33, FRAME, 33.0),
                (35, PACKET, 2.0),
                (70, PACKET, 35.0),
                (70, FRAME, 37.0),
            ],
        );
    }

    #[test]
    fn two_frames_in_one_datagram_are_0_ms_apart() {
        check(
            &[(0, 1), (66, 2)],
            &[(66, PACKET, 66.0), (66, FRAME, 66.0), (66, FRAME, 0.0)],
        );
    }

    #[test]
    fn a_count_of_frame_starts_from_nowhere_is_bounded() {
        assert_eq!(rows(&packets(&[(0, u32::MAX)])).len(), 6);
        check(&[], &[]);
    }

    #[test]
    fn a_file_is_summarised_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packets.csv");
        record::file::write_csv(&path, &packets(&[(0, 1), (10, 0), (40, 1), (80, 2)])).unwrap();
        let arrivals = of_file(&path).unwrap();
        assert_eq!(
            (arrivals.packets, arrivals.frames, arrivals.bytes),
            (4, 4, 5_264)
        );
        assert_eq!(arrivals.packet_intervals_ms.mean, Some(80.0 / 3.0));
        assert_eq!(arrivals.frame_intervals_ms.mean, Some(80.0 / 3.0));
    }

    #[test]
    fn each_phase_has_its_own_figures() {
        let rows = rows(&packets(&[(0, 1), (30, 1), (60, 1), (100, 1), (160, 1)]));
        let span = |start: u64, end: u64| Span {
            start: Timestamp(start * 1_000),
            end: Timestamp(end * 1_000),
        };
        let figures = summarise(&rows, FRAME, Some(span(0, 100)), span(100, 200));
        // Under load: 40 and 60 ms, sd = sqrt((100 + 100) / 1).
        assert_eq!(
            (figures.n, figures.mean, figures.max),
            (2, Some(50.0), Some(60.0))
        );
        assert_eq!(figures.cv, Some(200.0_f64.sqrt() / 50.0));
        assert_eq!(
            (figures.idle_mean, figures.idle_sd),
            (Some(30.0), Some(0.0))
        );
    }
}

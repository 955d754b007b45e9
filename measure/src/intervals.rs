//! Arrival intervals of datagrams and of coded frames.

use record::raw::{IntervalRow, PacketRow};
use record::results::Intervals;

use crate::span::{Span, ms_between};
use crate::statistics::Values;

/// `kind` of the interval between successive datagrams.
pub const PACKET: &str = "packet";
/// `kind` of the interval between the first datagrams of successive coded frames.
pub const FRAME: &str = "frame";
/// A datagram holds seven TS packets; what claims more frame starts than that is no datagram of ours.
pub const DATAGRAM_FRAMES_MAX: u32 = 7;

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
        for _ in 0..packet.frame_starts.min(DATAGRAM_FRAMES_MAX) {
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

//! Fuzzing: any input, no panic.
//!
//! `cargo test` runs each target for about a second with random inputs. Longer, still on a stable toolchain:
//!
//! ```text
//! BOLERO_RANDOM_TEST_TIME_MS=600000 BOLERO_RANDOM_ITERATIONS=1000000000 cargo test --release -p forestall-measure --test fuzz
//! ```
//! Coverage-guided (needs a nightly toolchain and `cargo install cargo-bolero`):
//! `cargo bolero test -p forestall-measure --test fuzz captures_take_anything`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod made;

use std::io::Cursor;
use std::path::Path;

use bolero::{TypeGenerator, check};
use forestall_measure::arrivals::Measured;
use forestall_measure::capture::http::Body;
use forestall_measure::capture::{self, Endpoints};
use forestall_measure::knee::{self, Point};
use made::*;

/// Measures, and looks that the figures agree with each other.
fn measure(file: Vec<u8>) {
    let mut last = std::collections::BTreeMap::new();
    // A capture that is broken in its middle has given what is before that.
    let _ = capture::pictures(
        Path::new("fuzz"),
        &mut Cursor::new(&file),
        |flow, _, unit| {
            let before = last.insert(*flow, unit.number);
            assert!(before.is_none_or(|before| before < unit.number));
        },
    );
    let Ok(measured) = Measured::of_capture(Path::new("fuzz"), &mut Cursor::new(file), None) else {
        return;
    };
    let (figures, rows) = (measured.figures(), measured.rows());
    assert_eq!(figures.packets, rows.len() as u64);
    assert_eq!(
        rows.last().map_or(0, |row| row.cumulative_bytes),
        figures.bytes
    );
    let starts: u64 = rows.iter().map(|row| u64::from(row.frame_starts)).sum();
    assert!(figures.frames.is_none_or(|frames| frames >= starts));
    assert!(!figures.to_string().is_empty());
}

#[test]
fn captures_take_anything() {
    check!().with_max_len(4 << 10).for_each(|bytes: &[u8]| {
        measure(bytes.to_vec());
        measure([&pcap(ETHERNET, &[]), bytes].concat());
        measure([&pcap_big_endian(RAW, &[]), bytes].concat());
        measure([&pcapng(&[(SLL, true), (RAW, false)], &[]), bytes].concat());
    });
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Kind {
    Anything,
    Udp,
    Datagram,
    Segment(u32, u8),
    Ipv6,
    Video,
}

#[derive(Debug, TypeGenerator)]
struct Made {
    kind: Kind,
    link: u8,
    interface: u8,
    time_ns: u64,
    payload: Vec<u8>,
    cut: Option<u8>,
    /// Bytes that are changed, where and to what.
    spoilt: Vec<(u16, u8)>,
}

impl Made {
    fn packet(&self, link: u16) -> Vec<u8> {
        let payload = &self.payload[..];
        let stream = || pictures(&[(1 + self.link % 3, usize::from(self.interface) * 9)]).concat();
        let ip = match self.kind {
            Kind::Anything => payload.to_vec(),
            Kind::Udp => ipv4(UDP, CAMERA, PLAYER, payload),
            Kind::Datagram => udp(CAMERA, PLAYER, payload),
            Kind::Segment(sequence, flags) => {
                let bytes = if payload.len().is_multiple_of(2) {
                    payload.to_vec()
                } else {
                    stream()
                };
                tcp(CAMERA, PLAYER, sequence % 4_000, flags, &bytes)
            }
            Kind::Ipv6 => ipv6(self.link, CAMERA, PLAYER, payload),
            Kind::Video => udp(CAMERA, PLAYER, &stream()),
        };
        let mut packet = on_link(link, &ip);
        for (at, byte) in &self.spoilt {
            let length = packet.len().max(1);
            if let Some(spoilt) = packet.get_mut(usize::from(*at) % length) {
                *spoilt = *byte;
            }
        }
        packet
    }
}

/// Random bytes hardly ever make a packet, so these are, with a few bytes spoilt.
#[test]
fn captures_take_any_packets() {
    check!().with_type::<Vec<Made>>().for_each(|packets| {
        let links = [ETHERNET, RAW, SLL, SLL2, NULL, LOOP];
        let interfaces: Vec<_> = links
            .iter()
            .map(|link| (*link, link.is_multiple_of(2)))
            .collect();
        let mut in_pcapng = Vec::new();
        for packet in packets {
            let interface = packet.link % 6;
            let bytes = packet.packet(links[usize::from(interface)]);
            in_pcapng.push((u32::from(interface), packet.time_ns, bytes));
        }
        let mut file = pcapng(&interfaces, &in_pcapng);
        for packet in packets {
            for (at, byte) in packet.spoilt.iter().skip(3) {
                let length = file.len();
                file[usize::from(*at) * 3 % length] = *byte;
            }
        }
        measure(pcapng(&interfaces, &in_pcapng));
        measure(file);
        let link = links[packets.len() % 6];
        let in_pcap: Vec<_> = packets
            .iter()
            .map(|packet| (packet.time_ns, packet.packet(link)))
            .collect();
        let snapshot = packets
            .iter()
            .find_map(|packet| packet.cut)
            .map_or(usize::MAX, usize::from);
        measure(pcap_cut(link, &in_pcap, snapshot));
    });
}

#[test]
fn http_takes_anything() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check!()
        .with_type::<(bool, Vec<(Vec<u8>, Option<u8>, u16)>)>()
        .for_each(|(has_head, pieces)| {
            let (mut body, mut out, mut bytes) = (Body::default(), Vec::new(), 0);
            let mut push = |piece: &[u8]| {
                body.push(piece, &mut out);
                bytes += piece.len();
                assert!(out.len() <= bytes);
            };
            if *has_head {
                push(chunked);
            }
            for (piece, size, _) in pieces {
                if let Some(size) = size {
                    push(format!("{size:x}\r\n").as_bytes());
                    push(&piece.repeat(16)[..usize::from(*size).min(piece.len() * 16)]);
                    push(b"\r\n");
                } else {
                    push(piece);
                }
            }
            for (piece, _, missing) in pieces {
                body.skip(u64::from(*missing));
                body.push(piece, &mut out);
            }
        });
}

#[test]
fn flows_take_anything() {
    check!().with_type::<String>().for_each(|text| {
        if let Ok(endpoints) = text.parse::<Endpoints>() {
            assert_eq!(endpoints.to_string().parse(), Ok(endpoints));
        }
    });
}

#[test]
fn sweeps_take_anything() {
    check!()
        .with_type::<Vec<(f64, f64, f64, u8)>>()
        .for_each(|rows| {
            let point = |(load, value, weight, small): &(f64, f64, f64, u8)| {
                if small.is_multiple_of(4) {
                    let (load, value, weight) = (*load, *value, *weight);
                    return Point {
                        load,
                        value,
                        weight,
                    };
                }
                // Small numbers agree more often.
                let (load, value) = (f64::from(small % 16), f64::from(small / 16));
                Point {
                    load,
                    value,
                    weight: 1.0,
                }
            };
            let points: Vec<Point> = rows.iter().map(point).collect();
            if let Ok(search) = knee::find(&points)
                && let (Some(knee), Some([low, high])) = (search.knee, search.interval95)
            {
                assert!(low <= knee && knee <= high, "{search:?}");
            }
        });
}

//! Captures made by hand, with known answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod made;

use std::io::Cursor;
use std::path::Path;

use forestall_measure::arrivals::{Arrivals, Measured};
use forestall_measure::capture::CaptureError;
use made::*;

fn measure(file: Vec<u8>, flow: Option<&str>) -> Result<Measured, CaptureError> {
    let wanted = flow.map(|flow| flow.parse().unwrap());
    Measured::of_capture(Path::new("made.pcap"), &mut Cursor::new(file), wanted)
}

fn figures(file: Vec<u8>) -> Arrivals {
    measure(file, None).unwrap().figures()
}

fn refused(file: Vec<u8>) -> String {
    measure(file, None).unwrap_err().to_string()
}

/// An I frame of three datagrams and two P frames of one, 40 ms apart.
const VIDEO: [(u8, usize); 3] = [(1, 3_000), (2, 900), (2, 900)];

fn video() -> Vec<(u64, Vec<u8>)> {
    let ip = |(time_ns, datagram): (u64, Vec<u8>)| (time_ns, udp(CAMERA, PLAYER, &datagram));
    datagrams(&VIDEO, 40).into_iter().map(ip).collect()
}

fn on(link: u16, packets: &[(u64, Vec<u8>)]) -> Vec<(u64, Vec<u8>)> {
    packets
        .iter()
        .map(|(time_ns, ip)| (*time_ns, on_link(link, ip)))
        .collect()
}

fn check_video(what: &str, found: &Arrivals) {
    // 0, 1, 2, 40, 80 ms: intervals 1, 1, 38, 40.
    assert_eq!((found.packets, found.frames), (5, Some(3)), "{what}");
    let packets = found.packet_intervals_ms;
    assert_eq!(packets.mean, Some(20.0), "{what}");
    let sd = ((2.0 * 19.0_f64.powi(2) + 18.0_f64.powi(2) + 20.0_f64.powi(2)) / 3.0).sqrt();
    assert!((packets.sd.unwrap() - sd).abs() < 1e-9, "{what}");
    assert!((packets.cv.unwrap() - sd / 20.0).abs() < 1e-12, "{what}");
    let frames = found.frame_intervals_ms;
    assert_eq!(
        (frames.mean, frames.sd, frames.cv),
        (Some(40.0), Some(0.0), Some(0.0))
    );
    let bytes: usize = datagrams(&VIDEO, 40)
        .iter()
        .map(|(_, datagram)| datagram.len())
        .sum();
    assert_eq!(found.bytes, bytes as u64, "{what}");
    let kinds = found.frame_kinds.as_ref().unwrap();
    let counts: Vec<_> = kinds
        .iter()
        .map(|(kind, of)| (kind.as_str(), of.frames, of.bytes))
        .collect();
    assert_eq!(
        counts,
        [("I", 1, Some(3_000)), ("P", 2, Some(1_800))],
        "{what}"
    );
    assert_eq!(kinds["P"].intervals_ms.mean, Some(40.0));
    assert_eq!(found.notes, [""; 0], "{what}");
}

#[test]
fn every_link_type_in_every_format() {
    for link in [ETHERNET, RAW, SLL, SLL2, NULL, LOOP, 12, 14, 228] {
        let packets = on(link, &video());
        check_video(&format!("pcap, {link}"), &figures(pcap(link, &packets)));
        check_video(
            &format!("big-endian pcap, {link}"),
            &figures(pcap_big_endian(link, &packets)),
        );
        for has_nanoseconds in [false, true] {
            let packets: Vec<_> = packets
                .iter()
                .map(|(time, data)| (0, *time, data.clone()))
                .collect();
            let file = pcapng(&[(link, has_nanoseconds)], &packets);
            check_video(
                &format!("pcapng, {link}, {has_nanoseconds}"),
                &figures(file),
            );
        }
    }
}

#[test]
fn rows_are_the_packets() {
    let rows = measure(pcap(RAW, &video()), None).unwrap().rows();
    let times: Vec<u64> = rows.iter().map(|row| row.time_ns).collect();
    assert_eq!(times, [ms(0), ms(1), ms(2), ms(40), ms(80)]);
    let intervals: Vec<_> = rows.iter().map(|row| row.interval_ms).collect();
    assert_eq!(
        intervals,
        [None, Some(1.0), Some(1.0), Some(38.0), Some(40.0)]
    );
    let kinds: Vec<_> = rows.iter().map(|row| row.frame_kind.as_str()).collect();
    assert_eq!(kinds, ["I", "I", "I", "P", "P"]);
    let starts: Vec<_> = rows.iter().map(|row| row.frame_starts).collect();
    assert_eq!(starts, [1, 0, 0, 1, 1]);
    assert_eq!(rows[0].cumulative_bytes, 1_316);
    let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
    assert_eq!(rows[4].cumulative_bytes, bytes);
}

#[test]
fn ipv6_and_vlan() {
    let v6: Vec<_> = datagrams(&VIDEO, 40)
        .into_iter()
        .map(|(time, data)| {
            (
                time,
                ipv6(UDP, CAMERA, PLAYER, &udp_header(CAMERA, PLAYER, &data)),
            )
        })
        .collect();
    let found = figures(pcap(ETHERNET, &on(ETHERNET, &v6)));
    check_video("IPv6", &found);
    assert_eq!(found.flow.unwrap().source, "[2001:db8::7]:40000");
    let tagged: Vec<_> = video()
        .into_iter()
        .map(|(time, ip)| (time, [&[2; 12][..], &[0x81, 0, 0, 5, 8, 0], &ip].concat()))
        .collect();
    check_video("VLAN", &figures(pcap(ETHERNET, &tagged)));
}

#[test]
fn transport_stream_in_rtp() {
    let in_rtp = |(at, (time, data)): (usize, (u64, Vec<u8>))| {
        let header = [0x80, 33, 0, at as u8, 0, 0, 0, 0, 0, 0, 0, 9];
        (time, udp(CAMERA, PLAYER, &[&header[..], &data].concat()))
    };
    let packets: Vec<_> = datagrams(&VIDEO, 40)
        .into_iter()
        .enumerate()
        .map(in_rtp)
        .collect();
    let found = figures(pcap(RAW, &packets));
    assert_eq!((found.packets, found.frames), (5, Some(3)));
    assert_eq!(found.flow.unwrap().carries, Some("rtp"));
}

/// The stream of a server, in segments that begin anywhere in it.
fn segments(start: u32) -> Vec<(u64, Vec<u8>)> {
    let head = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n".to_vec();
    let mut packets = vec![(ms(0), tcp(CAMERA, PLAYER, start, 0x12, &[]))];
    let mut sequence = start.wrapping_add(1);
    let mut push = |time_ns: u64, bytes: &[u8]| {
        packets.push((time_ns, tcp(CAMERA, PLAYER, sequence, 0x18, bytes)));
        sequence = sequence.wrapping_add(bytes.len() as u32);
    };
    push(ms(1), &head);
    for (at, stream) in pictures(&VIDEO).iter().enumerate() {
        for (part, bytes) in stream.chunks(1_000).enumerate() {
            push(ms(10 + 40 * at as u64 + part as u64), bytes);
        }
    }
    packets
}

#[test]
fn a_tcp_stream_is_put_in_order() {
    for start in [1_000, u32::MAX - 2_000] {
        let mut packets = segments(start);
        let in_order = figures(pcap(RAW, &packets));
        assert_eq!((in_order.packets, in_order.frames), (9, Some(3)));
        assert_eq!(in_order.frame_intervals_ms.mean, Some(40.0));
        let flow = in_order.flow.unwrap();
        assert_eq!((flow.transport, flow.carries), ("tcp", Some("mpegts")));
        // A segment comes after the next frame has begun, and once more: what waits for it is in order only then.
        let (_, late) = packets.remove(3);
        packets.insert(6, (ms(50) + 500_000, late.clone()));
        packets.insert(7, (ms(50) + 600_000, late));
        let found = measure(pcap(RAW, &packets), None).unwrap();
        let rows = found.rows();
        let starts: Vec<_> = rows.iter().map(|row| row.frame_starts).collect();
        assert_eq!(starts, [0, 1, 0, 0, 0, 1, 0, 0, 1, 0], "{rows:?}");
        assert_eq!(found.figures().frames, Some(3));
    }
}

/// `forestall serve` and `ffmpeg -listen` send chunks, which begin and end anywhere in the transport stream.
#[test]
fn http_in_chunks() {
    let mut stream = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in pictures(&VIDEO).concat().chunks(777) {
        stream.extend(format!("{:x}\r\n", chunk.len()).bytes());
        stream.extend(chunk);
        stream.extend(b"\r\n");
    }
    let segment = |(at, bytes): (usize, &[u8])| {
        (
            ms(at as u64),
            tcp(CAMERA, PLAYER, 1 + at as u32 * 500, 0x18, bytes),
        )
    };
    let packets: Vec<_> = stream.chunks(500).enumerate().map(segment).collect();
    let found = figures(pcap(RAW, &packets));
    assert_eq!((found.frames, found.bytes), (Some(3), stream.len() as u64));
    let kinds = found.frame_kinds.unwrap();
    assert_eq!(
        (kinds["I"].bytes, kinds["P"].bytes),
        (Some(3_000), Some(1_800))
    );
}

#[test]
fn a_tcp_stream_that_is_not_captured_whole_says_so() {
    let mut packets = segments(7);
    packets.remove(3);
    let mut sequence = 100_000;
    for at in 0..400 {
        packets.push((ms(200 + at), tcp(CAMERA, PLAYER, sequence, 0x10, &[0; 100])));
        sequence += 100;
    }
    let found = figures(pcap(RAW, &packets));
    assert!(
        found.notes[0].contains("bytes of the TCP stream are not in the capture"),
        "{:?}",
        found.notes
    );
}

#[test]
fn frames_before_the_tables_count() {
    let mut packets = video();
    let tables = packets.remove(0);
    packets.push((ms(120), tables.1));
    let found = figures(pcap(RAW, &packets));
    // The rest of the first picture has lost its start; it begins with the last packet.
    assert_eq!(found.frames, Some(3));
    assert_eq!(found.frame_intervals_ms.mean, Some(40.0));
}

#[test]
fn what_is_not_video_has_no_frames() {
    let packets: Vec<_> = (0..10)
        .map(|at| (ms(at * 10), udp(CAMERA, PLAYER, &[1; 100])))
        .collect();
    let found = figures(pcap(RAW, &packets));
    assert_eq!(
        (found.packets, found.frames, found.bytes),
        (10, None, 1_000)
    );
    assert_eq!(found.packet_intervals_ms.mean, Some(10.0));
    assert_eq!(found.frame_intervals_ms.mean, None);
    assert_eq!(found.frame_kinds, None);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["frames"], serde_json::Value::Null);
    assert_eq!(json["frame_intervals_ms"]["cv"], serde_json::Value::Null);
}

#[test]
fn one_packet_has_no_intervals() {
    let found = figures(pcap(RAW, &[(ms(0), udp(CAMERA, PLAYER, b"x"))]));
    assert_eq!((found.packets, found.bytes), (1, 1));
    assert_eq!(found.packet_intervals_ms.mean, None);
    assert_eq!(found.duration_s, Some(0.0));
}

#[test]
fn the_largest_flow_with_video_is_taken_unless_another_is_named() {
    let (download, other) = ((1, 80), (3, 3));
    let mut packets = video();
    for at in 0..20 {
        packets.push((ms(at * 5), udp(download, PLAYER, &[7; 1_400])));
        packets.push((ms(at * 5), udp(other, PLAYER, &[])));
    }
    let small: Vec<_> = datagrams(&VIDEO[1..], 40)
        .into_iter()
        .map(|(time, data)| (time, udp(other, CAMERA, &data)))
        .collect();
    packets.extend(small);
    let file = pcap(RAW, &packets);
    let found = figures(file.clone());
    check_video("the video", &found);
    let flow = found.flow.unwrap();
    assert_eq!(
        (flow.source.as_str(), flow.of_flows),
        ("192.0.2.7:40000", 3)
    );
    let named = measure(file.clone(), Some("192.0.2.1:80>192.0.2.9:5001"))
        .unwrap()
        .figures();
    assert_eq!(
        (named.packets, named.bytes, named.frames),
        (20, 28_000, None)
    );
    let error = measure(file, Some("192.0.2.1:81>192.0.2.9:5001")).unwrap_err();
    assert!(matches!(error, CaptureError::NoSuchFlow { .. }));
    let expected = "no packets of 192.0.2.1:81>192.0.2.9:5001; the largest flows are 192.0.2.1:80>192.0.2.9:5001 (28000 bytes), ";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_packet_seen_twice_counts_once() {
    // On all interfaces, a loopback shows each packet going out and coming in.
    let mut packets = Vec::new();
    for (time, ip) in video() {
        let mut outgoing = on_link(SLL, &ip);
        outgoing[1] = 4;
        packets.push((time, outgoing));
        packets.push((time + 1_000, on_link(SLL, &ip)));
    }
    let found = measure(pcap(SLL, &packets), None).unwrap();
    check_video("received", &found.figures());
    assert_eq!(found.rows()[0].time_ns, ms(0) + 1_000);
    // Two interfaces of one file; one is of a kind that is not read.
    let packets: Vec<_> = video()
        .into_iter()
        .flat_map(|(time, ip)| [(0, time, ip.clone()), (1, time, ip.clone()), (2, time, ip)])
        .collect();
    let found = figures(pcapng(&[(RAW, true), (RAW, false), (147, false)], &packets));
    assert_eq!((found.packets, found.frames), (5, Some(3)));
    assert_eq!(
        found.notes,
        ["5 packets of link types that are not read are left out"]
    );
}

#[test]
fn cut_packets_have_bytes_but_no_frames() {
    let packets = video();
    let found = figures(pcap_cut(RAW, &packets, 96));
    let whole = figures(pcap(RAW, &packets));
    assert_eq!((found.packets, found.bytes), (5, whole.bytes));
    assert_eq!(found.packet_intervals_ms, whole.packet_intervals_ms);
    assert_eq!(found.frames, None);
    assert!(
        found.notes[0].starts_with("5 packets of the flow were not captured whole"),
        "{:?}",
        found.notes
    );
}

#[test]
fn parts_of_ip_packets_are_said() {
    let mut packets = video();
    let mut fragment = udp(CAMERA, PLAYER, &[1; 200]);
    fragment[6] = 0x20;
    packets.push((ms(90), fragment));
    let found = figures(pcap(RAW, &packets));
    assert_eq!(found.packets, 5);
    assert_eq!(
        found.notes,
        ["1 parts of IP packets are in the capture, which are counted to no flow"]
    );
}

#[test]
fn packets_out_of_order_of_time_are_sorted() {
    let mut packets = video();
    packets.swap(3, 4);
    let found = figures(pcap(RAW, &packets));
    assert_eq!(found.packet_intervals_ms.mean, Some(20.0));
    assert_eq!(found.frame_intervals_ms.mean, Some(40.0));
}

#[test]
fn a_truncated_file_says_how_many_packets_are_whole() {
    let packets = video();
    let with_interface: Vec<_> = packets
        .iter()
        .map(|(time, data)| (0, *time, data.clone()))
        .collect();
    let header = pcap(RAW, &[]).len();
    for (file, start) in [
        (pcap(RAW, &packets), header),
        (
            pcapng(&[(RAW, true)], &with_interface),
            pcapng(&[(RAW, true)], &[]).len(),
        ),
    ] {
        // Lengths of the file with so many whole packets.
        let is_pcapng = file[0] == 0x0a;
        let length = |(_, packet): &(u64, Vec<u8>)| {
            if is_pcapng {
                32 + packet.len().next_multiple_of(4)
            } else {
                16 + packet.len()
            }
        };
        let mut ends = vec![start];
        ends.extend(packets.iter().scan(start, |end, packet| {
            *end += length(packet);
            Some(*end)
        }));
        assert_eq!(ends.last(), Some(&file.len()));
        for cut in 1..file.len() {
            let result = measure(file[..cut].to_vec(), None);
            let whole = ends
                .iter()
                .filter(|end| **end <= cut)
                .count()
                .saturating_sub(1);
            match result {
                Err(CaptureError::Truncated { whole: said, .. }) => {
                    assert_eq!(said, whole as u64, "{cut} of {}", file.len());
                }
                Ok(measured) => {
                    assert!(ends.contains(&cut), "{cut}");
                    assert_eq!(measured.figures().packets, whole as u64);
                }
                Err(CaptureError::NoPackets { .. }) => assert_eq!(whole, 0),
                Err(CaptureError::NotACapture { .. }) => assert!(cut < 4, "{cut}"),
                Err(CaptureError::Damaged { .. }) => assert!(is_pcapng && cut < 28, "{cut}"),
                Err(error) => panic!("{cut}: {error}"),
            }
        }
    }
}

#[test]
fn refusals_name_the_file_and_what_is_wrong() {
    let check = |file: Vec<u8>, expected: &str| {
        let said = refused(file);
        assert_eq!(said.strip_prefix("made.pcap: "), Some(expected));
    };
    check(Vec::new(), "the file is empty");
    check(
        b"\x89PNG\r\n\x1a\n and more".to_vec(),
        "not a capture: it begins neither like pcap nor like pcapng",
    );
    check(pcap(RAW, &[]), "a capture without a packet");
    let arp = [(ms(0), [&[2; 12][..], &[8, 6], &[0; 28]].concat())];
    check(
        pcap(ETHERNET, &arp),
        "none of its 1 packets is UDP or TCP with a payload",
    );
    let wifi = [(ms(0), vec![0; 60])];
    check(
        pcap(127, &wifi),
        "link type IEEE 802.11 with radio information (127) is not read; those are Ethernet, Linux cooked (SLL and SLL2), raw IP and BSD loopback",
    );
    let mut long = pcap(RAW, &video());
    let at = 24 + 16 + video()[0].1.len() + 8;
    long[at..at + 4].fill(0xee);
    check(
        long.clone(),
        "the file is cut off; 1 packets before that are whole",
    );
    long.resize(17 << 20, 0);
    check(
        long,
        "a packet that claims more than 16 MiB after 1 whole packets",
    );
    let stranger = pcapng(
        &[(RAW, true)],
        &[(0, ms(0), video()[0].1.clone()), (1, ms(1), vec![0; 20])],
    );
    check(
        stranger,
        "a packet of an interface that is not described after 1 whole packets",
    );
}

#[test]
fn too_many_flows_ask_for_one_by_name() {
    let mut packets: Vec<_> = (0..=65_536_u32)
        .map(|at| {
            let from = ((at >> 15) as u8, (at & 0x7fff) as u16);
            (ms(0), udp(from, PLAYER, b"x"))
        })
        .collect();
    packets.push((ms(1), udp(CAMERA, PLAYER, b"here")));
    let file = pcap(RAW, &packets);
    assert_eq!(
        refused(file.clone()),
        "made.pcap: more than 65536 flows; name the one to measure"
    );
    let named = measure(file, Some("192.0.2.7:40000>192.0.2.9:5001")).unwrap();
    assert_eq!(named.figures().bytes, 4);
}

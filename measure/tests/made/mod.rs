//! Captures made by hand.
#![allow(dead_code, reason = "each test uses a part of it")]

use wire::mpegts::{DATAGRAM_BYTES_MAX, UnitKind, VideoCodec, Writer};

pub(crate) const ETHERNET: u16 = 1;
pub(crate) const RAW: u16 = 101;
pub(crate) const SLL: u16 = 113;
pub(crate) const SLL2: u16 = 276;
pub(crate) const NULL: u16 = 0;
pub(crate) const LOOP: u16 = 108;

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

/// Last byte of the address 192.0.2.x (or 2001:db8::x) and port.
pub(crate) type Place = (u8, u16);

pub(crate) const CAMERA: Place = (7, 40_000);
pub(crate) const PLAYER: Place = (9, 5_001);

/// 2026, so that seconds need more than 30 bits.
pub(crate) const START_NS: u64 = 1_790_000_000_000_000_000;

pub(crate) fn ms(ms: u64) -> u64 {
    START_NS + ms * 1_000_000
}

pub(crate) fn udp_header(from: Place, to: Place, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() + 8) as u16;
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    [&ports[..], &length.to_be_bytes(), &[0, 0], payload].concat()
}

pub(crate) fn tcp_header(
    from: Place,
    to: Place,
    sequence: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let rest = [0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0];
    [&ports[..], &sequence.to_be_bytes(), &rest, payload].concat()
}

pub(crate) fn ipv4(protocol: u8, from: Place, to: Place, payload: &[u8]) -> Vec<u8> {
    let length = ((payload.len() + 20) as u16).to_be_bytes();
    let mut header = vec![
        0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0,
    ];
    header.extend([192, 0, 2, from.0, 192, 0, 2, to.0]);
    [header, payload.to_vec()].concat()
}

pub(crate) fn ipv6(protocol: u8, from: Place, to: Place, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, length[0], length[1], protocol, 64];
    for end in [from.0, to.0] {
        header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
    }
    [header, payload.to_vec()].concat()
}

pub(crate) fn udp(from: Place, to: Place, payload: &[u8]) -> Vec<u8> {
    ipv4(UDP, from, to, &udp_header(from, to, payload))
}

pub(crate) fn tcp(from: Place, to: Place, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    ipv4(
        TCP,
        from,
        to,
        &tcp_header(from, to, sequence, flags, payload),
    )
}

/// An IP packet with what a link type puts before it.
pub(crate) fn on_link(link: u16, ip: &[u8]) -> Vec<u8> {
    let ether_type: [u8; 2] = if ip.first().is_some_and(|byte| byte >> 4 == 6) {
        [0x86, 0xdd]
    } else {
        [8, 0]
    };
    let before = match link {
        ETHERNET => [&[2; 12][..], &ether_type].concat(),
        SLL => [&[0, 0, 0, 1, 0, 6][..], &[2; 8], &ether_type].concat(),
        SLL2 => [&ether_type[..], &[0, 0, 0, 0, 0, 3, 0, 1, 0, 6], &[2; 8]].concat(),
        NULL => vec![2, 0, 0, 0],
        LOOP => vec![0, 0, 0, 2],
        _ => Vec::new(),
    };
    [before, ip.to_vec()].concat()
}

/// pcap with nanoseconds, little-endian.
pub(crate) fn pcap(link: u16, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    pcap_cut(link, packets, usize::MAX)
}

/// The same with a snapshot length.
pub(crate) fn pcap_cut(link: u16, packets: &[(u64, Vec<u8>)], snapshot: usize) -> Vec<u8> {
    let mut file = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(262_144_u32.to_le_bytes());
    file.extend(u32::from(link).to_le_bytes());
    for (time_ns, packet) in packets {
        let captured = &packet[..packet.len().min(snapshot)];
        file.extend(((time_ns / 1_000_000_000) as u32).to_le_bytes());
        file.extend(((time_ns % 1_000_000_000) as u32).to_le_bytes());
        file.extend((captured.len() as u32).to_le_bytes());
        file.extend((packet.len() as u32).to_le_bytes());
        file.extend(captured);
    }
    file
}

/// pcap with microseconds, big-endian.
pub(crate) fn pcap_big_endian(link: u16, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(262_144_u32.to_be_bytes());
    file.extend(u32::from(link).to_be_bytes());
    for (time_ns, packet) in packets {
        file.extend(((time_ns / 1_000_000_000) as u32).to_be_bytes());
        file.extend(((time_ns % 1_000_000_000 / 1_000) as u32).to_be_bytes());
        file.extend((packet.len() as u32).to_be_bytes());
        file.extend((packet.len() as u32).to_be_bytes());
        file.extend(packet);
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = ((12 + body.len() + padding.len()) as u32).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &padding, &length].concat()
}

/// pcapng; the times of an interface with nanoseconds are so, otherwise in microseconds.
pub(crate) fn pcapng(interfaces: &[(u16, bool)], packets: &[(u32, u64, Vec<u8>)]) -> Vec<u8> {
    let mut section = vec![0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
    section.extend([0xff; 8]);
    let mut file = block(0x0a0d_0d0a, &section);
    for (link, has_nanoseconds) in interfaces {
        let mut body = [&link.to_le_bytes()[..], &[0, 0], &[0, 0, 4, 0]].concat();
        if *has_nanoseconds {
            body.extend([9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        }
        file.extend(block(1, &body));
    }
    // A block of a kind that nobody knows is passed over.
    file.extend(block(0x0bad_cafe, &[1, 2, 3]));
    for (interface, time_ns, packet) in packets {
        let has_nanoseconds = interfaces.get(*interface as usize).is_some_and(|one| one.1);
        let ticks = if has_nanoseconds {
            *time_ns
        } else {
            time_ns / 1_000
        };
        let length = (packet.len() as u32).to_le_bytes();
        let head = [
            interface.to_le_bytes(),
            ((ticks >> 32) as u32).to_le_bytes(),
            (ticks as u32).to_le_bytes(),
            length,
            length,
        ];
        let padding = vec![0; packet.len().next_multiple_of(4) - packet.len()];
        file.extend(block(6, &[head.concat(), packet.clone(), padding].concat()));
    }
    file
}

/// A coded picture of MPEG-2 of a kind (1 I, 2 P, 3 B).
pub(crate) fn picture(kind: u8, bytes: usize) -> Vec<u8> {
    let mut picture = if kind == 1 {
        vec![0, 0, 1, 0xb3, 0x16, 0x01, 0x20, 0x13]
    } else {
        Vec::new()
    };
    picture.extend([0, 0, 1, 0, 0, kind << 3, 0xff, 0xf8]);
    picture.resize(picture.len().max(bytes), 0x55);
    picture
}

/// Coded pictures, given as kind and bytes, each as its transport stream.
pub(crate) fn pictures(kinds: &[(u8, usize)]) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(VideoCodec::Mpeg2);
    let write = |(at, (kind, bytes)): (usize, &(u8, usize))| {
        let unit_kind = if *kind == 1 {
            UnitKind::Key
        } else {
            UnitKind::Predicted
        };
        let mut stream = Vec::new();
        writer.write(
            &picture(*kind, *bytes),
            at as u64 * 3_000,
            unit_kind,
            &mut stream,
        );
        stream
    };
    kinds.iter().enumerate().map(write).collect()
}

/// What a camera sends: datagrams of coded pictures every `period_ms`, those of one picture 1 ms after each other.
pub(crate) fn datagrams(kinds: &[(u8, usize)], period_ms: u64) -> Vec<(u64, Vec<u8>)> {
    let mut sent = Vec::new();
    for (at, stream) in pictures(kinds).iter().enumerate() {
        for (part, datagram) in stream.chunks(DATAGRAM_BYTES_MAX).enumerate() {
            let time_ns = ms(at as u64 * period_ms + part as u64);
            sent.push((time_ns, datagram.to_vec()));
        }
    }
    sent
}

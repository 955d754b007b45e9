//! Properties of the MPEG-TS writer and reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use forestall_wire::mpegts::{
    AccessUnit, CLOCK_WRAP, DATAGRAM_BYTES_MAX, PACKET_BYTES, Reader, Scanner, Start, UnitKind,
    VideoCodec, Writer, ticks_from_micros, unit_starts,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Coded pictures with times; the first is a key picture, as the tables come with it.
fn units() -> impl Strategy<Value = Vec<(Vec<u8>, u64, UnitKind)>> {
    let kind = prop_oneof![1 => Just(UnitKind::Key), 4 => Just(UnitKind::Predicted)];
    vec((vec(any::<u8>(), 1..3000), 0..CLOCK_WRAP, kind), 1..20).prop_map(|mut units| {
        units[0].2 = UnitKind::Key;
        units
    })
}

/// Each unit as its packets.
fn write(units: &[(Vec<u8>, u64, UnitKind)]) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(VideoCodec::Mpeg2);
    let write = |(data, pts, kind): &(Vec<u8>, u64, UnitKind)| {
        let mut packets = Vec::new();
        writer.write(data, *pts, *kind, &mut packets);
        assert_eq!(packets.len() % PACKET_BYTES, 0);
        packets
    };
    units.iter().map(write).collect()
}

fn whole((number, (data, pts, kind)): (usize, &(Vec<u8>, u64, UnitKind))) -> AccessUnit {
    AccessUnit {
        data: data.clone(),
        codec: VideoCodec::Mpeg2,
        pts: Some(*pts),
        random_access: *kind == UnitKind::Key || data.starts_with(&[0, 0, 1, 0xb3]),
        damaged: false,
        lost_before: false,
        number: number as u64,
    }
}

proptest! {
    #[test]
    fn a_unit_comes_with_its_last_datagram(units in units()) {
        let mut reader = Reader::new();
        for (unit, packets) in units.iter().enumerate().zip(write(&units)) {
            let mut found = Vec::new();
            for datagram in packets.chunks(DATAGRAM_BYTES_MAX) {
                prop_assert!(found.is_empty());
                found = reader.push(datagram);
            }
            prop_assert_eq!(found, vec![whole(unit)]);
            prop_assert_eq!(reader.held_bytes(), 0);
        }
    }

    #[test]
    fn any_chunks_give_the_same_units(units in units(), sizes in vec(1usize..4000, 1..50)) {
        let stream = write(&units).concat();
        let (mut reader, mut found, mut rest) = (Reader::new(), Vec::new(), &stream[..]);
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at((*size).min(rest.len()));
            found.extend(reader.push(now));
            rest = later;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(found, units.iter().enumerate().map(whole).collect::<Vec<_>>());
        prop_assert_eq!(reader.counters().continuity_errors, 0);
    }

    #[test]
    fn duplicated_datagrams_change_nothing(units in units(), later in vec(proptest::option::of(0..4usize), 200)) {
        let stream = write(&units).concat();
        let (mut reader, mut found) = (Reader::new(), Vec::new());
        let datagrams: Vec<&[u8]> = stream.chunks(DATAGRAM_BYTES_MAX).collect();
        for (at, datagram) in datagrams.iter().enumerate() {
            found.extend(reader.push(datagram));
            for before in 0..=at.min(3) {
                if later.get(at - before) == Some(&Some(before)) {
                    found.extend(reader.push(datagrams[at - before]));
                }
            }
        }
        prop_assert_eq!(found, units.iter().enumerate().map(whole).collect::<Vec<_>>());
        prop_assert_eq!(reader.counters().continuity_errors, 0);
    }

    /// Fewer than 16 packets in a row, which the counter cannot miss.
    #[test]
    fn what_is_not_marked_damaged_is_whole(units in units(), lost in vec(proptest::bool::weighted(0.2), 400)) {
        let stream = write(&units).concat();
        let (mut reader, mut found, mut run) = (Reader::new(), Vec::new(), 0);
        for (at, packet) in stream.chunks(PACKET_BYTES).enumerate() {
            let is_lost = at > 1 && run < 15 && lost.get(at).copied().unwrap_or(false);
            run = if is_lost { run + 1 } else { 0 };
            if !is_lost {
                found.extend(reader.push(packet));
            }
        }
        let sent: Vec<_> = units.iter().enumerate().map(whole).collect();
        let mut last = None;
        for unit in found.iter().filter(|unit| !unit.damaged) {
            let at = sent.iter().position(|sent| sent.data == unit.data && sent.pts == unit.pts);
            prop_assert!(at.is_some(), "an undamaged unit that was never sent");
            // A missing one in between is announced.
            if let (Some(last), Some(at)) = (last, at) {
                prop_assert!(at == last + 1 || unit.lost_before || at <= last);
            }
            last = at;
        }
    }

    #[test]
    fn garbage_between_datagrams_is_skipped(units in units(), garbage in vec(0u8..0x47, 0..400)) {
        let (mut reader, mut found) = (Reader::new(), Vec::new());
        for packets in write(&units) {
            found.extend(reader.push(&packets));
            found.extend(reader.push(&garbage));
        }
        prop_assert_eq!(found, units.iter().enumerate().map(whole).collect::<Vec<_>>());
    }

    #[test]
    fn unit_starts_are_counted(units in units()) {
        let stream = write(&units).concat();
        let mut reader = Reader::new();
        reader.push(&stream);
        let (pid, codec) = reader.video().unwrap();
        prop_assert_eq!(codec, VideoCodec::Mpeg2);
        prop_assert_eq!(unit_starts(&stream, pid) as usize, units.len());
    }
}

#[test]
fn a_unit_too_long_for_its_length_field_is_not_held() {
    let unit = (vec![0x55; 200_000], 7, UnitKind::Key);
    let mut reader = Reader::new();
    assert_eq!(
        reader.push(&write(std::slice::from_ref(&unit)).concat()),
        [whole((0, &unit))]
    );
    assert_eq!(reader.held_bytes(), 0);
    // The empty unit behind it, which says that it has ended, is no picture.
    assert_eq!(reader.counters().units_begun, 1);
}

#[test]
fn a_reader_that_has_the_tables_needs_none() {
    let units = [1, 2].map(|byte| (vec![byte; 500], u64::from(byte), UnitKind::Predicted));
    let stream = write(&units).concat();
    assert_eq!(Reader::new().push(&stream), []);
    let mut reader = Reader::with_video(0x100, VideoCodec::Mpeg2);
    let expected: Vec<_> = units.iter().enumerate().map(whole).collect();
    assert_eq!(reader.push(&stream), expected);
    assert_eq!(reader.counters().units_begun, 2);
}

#[test]
fn a_unit_without_length_ends_where_the_next_begins() {
    let units = [
        (vec![1; 500], 1, UnitKind::Key),
        (vec![2; 500], 2, UnitKind::Predicted),
    ];
    let mut written = write(&units);
    for packets in &mut written {
        let pes = packets
            .windows(4)
            .position(|bytes| bytes == [0, 0, 1, 0xe0])
            .unwrap();
        packets[pes + 4..pes + 6].fill(0);
    }
    let mut reader = Reader::new();
    assert_eq!(reader.push(&written[0]), []);
    // The end of the first is known; the second lacks its own.
    let mut first = whole((0, &units[0]));
    first.data = units[0].0.clone();
    assert_eq!(reader.push(&written[1]), [first]);
    assert_eq!(reader.finish(), Some(whole((1, &units[1]))));
    assert_eq!(reader.finish(), None);
}

#[test]
fn a_cut_off_datagram_does_not_spoil_the_next() {
    let units = [1, 2, 3].map(|byte| (vec![byte; 900], u64::from(byte), UnitKind::Key));
    let written = write(&units);
    let mut reader = Reader::new();
    assert_eq!(reader.push(&written[0]).len(), 1);
    assert_eq!(reader.push(&written[1][..written[1].len() - 100]).len(), 0);
    let found = reader.push(&written[2]);
    assert_eq!(found.len(), 2);
    assert!(found[0].damaged);
    assert_eq!(
        found[1],
        AccessUnit {
            lost_before: true,
            ..whole((2, &units[2]))
        }
    );
}

#[test]
fn an_endless_unit_is_given_up() {
    let mut stream = write(&[(vec![9; 10_000], 0, UnitKind::Key)]).concat();
    let pes = stream
        .windows(4)
        .position(|bytes| bytes == [0, 0, 1, 0xe0])
        .unwrap();
    stream[pes + 4..pes + 6].fill(0);
    let mut reader = Reader::new();
    reader.push(&stream);
    let mut packet = stream[stream.len() - 3 * PACKET_BYTES..][..PACKET_BYTES].to_vec();
    for count in 0..30_000u32 {
        packet[3] = 0x10 | ((packet[3] + 1) & 0x0f);
        packet[100..104].copy_from_slice(&count.to_be_bytes());
        reader.push(&packet);
        assert!(reader.held_bytes() <= 2 << 20);
    }
    assert_eq!(reader.counters().units_dropped, 1);
}

#[test]
fn ticks_wrap() {
    assert_eq!(ticks_from_micros(1_000_000), 90_000);
    assert!(ticks_from_micros(u64::MAX) < CLOCK_WRAP);
}

/// Tables and a key picture with these PIDs.
fn renumbered(map: u16, video: u16) -> Vec<u8> {
    let mut stream = write(&[(vec![7; 100], 0, UnitKind::Key)]).concat();
    let set = |at: &mut [u8], pid: u16| at.copy_from_slice(&(pid | 0xe000).to_be_bytes());
    set(&mut stream[15..17], map);
    sign(&mut stream[5..]);
    let (_, pmt) = stream.split_at_mut(PACKET_BYTES);
    set(&mut pmt[13..15], video);
    set(&mut pmt[18..20], video);
    sign(&mut pmt[5..]);
    for (packet, pid) in stream.chunks_mut(PACKET_BYTES).zip([0, map, video]) {
        packet[1..3].copy_from_slice(&(pid | 0x4000).to_be_bytes());
    }
    stream
}

/// Writes the CRC of a table anew.
fn sign(table: &mut [u8]) {
    let length = 3 + usize::from(table[2]);
    let crc = table[..length - 4].iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    table[length - 4..length].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn a_picture_has_the_codec_of_its_tables_when_another_follows_in_the_same_piece() {
    let mut stream = Vec::new();
    for codec in [VideoCodec::Mpeg2, VideoCodec::H264] {
        Writer::new(codec).write(&[7; 500], 0, UnitKind::Key, &mut stream);
    }
    let units = Reader::new().push(&stream);
    let codecs: Vec<VideoCodec> = units.iter().map(|unit| unit.codec).collect();
    assert_eq!(codecs, [VideoCodec::Mpeg2, VideoCodec::H264]);
}

#[test]
fn map_and_video_change_places() {
    let (mut reader, mut scanner) = (Reader::new(), Scanner::default());
    for (map, video) in [
        (0x1000, 0x100),
        (0x100, 0x1000),
        (0x1000, 0x200),
        (0x20, 0x21),
    ] {
        let stream = renumbered(map, video);
        let units = reader.push(&stream);
        assert_eq!(units.len(), 1, "{video:x}");
        assert_eq!(reader.video(), Some((video, VideoCodec::Mpeg2)));
        let (packets, _) = stream.as_chunks::<PACKET_BYTES>();
        let starts: Vec<Start> = packets
            .iter()
            .map(|packet| scanner.packet(packet))
            .collect();
        assert_eq!(starts, [Start::Nothing, Start::Nothing, Start::Key]);
        assert_eq!(scanner.lead_pid(), Some(video));
    }
}

//! Time of a datagram through the relay, both ends in this process.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;
use wire::mpegts::{DATAGRAM_BYTES_MAX, UnitKind, VideoCodec, Writer};

use super::process::{Stage, udp_port, udp_socket};
use super::{Bench, BenchError, quantile};

/// A picture of 2 Mbit/s at 30 a second.
const PICTURE_BYTES: usize = 8_000;
const PICTURE_EVERY: Duration = Duration::from_millis(33);

/// Times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RelayMs {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Datagrams.
    pub n: u64,
    /// Those that did not come out.
    pub lost: u64,
}

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<RelayMs, BenchError> {
    (bench.say)("relay");
    let (sink, out) = udp_socket()?;
    let (source, _) = udp_socket()?;
    let into = udp_port()?;
    let failed = |source| BenchError::Io {
        what: "send through the relay".into(),
        source,
    };
    sink.set_read_timeout(Some(Duration::from_millis(5)))
        .map_err(failed)?;
    let line = format!("relay udp://127.0.0.1:{into} udp://127.0.0.1:{out}");
    let mut stage = Stage::start(&bench.options.own, &line, "")?;
    bench.wait(Duration::from_millis(500))?;
    let mut writer = Writer::new(VideoCodec::Mpeg2);
    let mut under_way: VecDeque<(Vec<u8>, Instant)> = VecDeque::new();
    let (mut times, mut lost, mut packets) = (Vec::new(), 0, Vec::new());
    let begun = Instant::now();
    let mut number = 0_u64;
    let mut buffer = vec![0; 2 * DATAGRAM_BYTES_MAX];
    while begun.elapsed() < bench.options.measured {
        bench.check()?;
        stage.check()?;
        let unit: Vec<u8> = number
            .to_be_bytes()
            .into_iter()
            .cycle()
            .take(PICTURE_BYTES)
            .collect();
        packets.clear();
        writer.write(&unit, number * 3_000, UnitKind::Predicted, &mut packets);
        for datagram in packets.chunks(DATAGRAM_BYTES_MAX) {
            under_way.push_back((datagram.to_vec(), Instant::now()));
            source
                .send_to(datagram, ("127.0.0.1", into))
                .map_err(failed)?;
        }
        number += 1;
        let next = begun + PICTURE_EVERY * u32::try_from(number).unwrap_or(u32::MAX);
        while Instant::now() < next {
            // A time-out is no datagram yet.
            let Ok(length) = sink.recv(&mut buffer) else {
                continue;
            };
            let now = Instant::now();
            let Some(at) = under_way
                .iter()
                .position(|(sent, _)| *sent == buffer[..length])
            else {
                continue;
            };
            lost += at as u64;
            if let Some((_, sent)) = under_way.drain(..=at).next_back() {
                times.push((now - sent).as_secs_f64() * 1e3);
            }
        }
    }
    times.sort_by(f64::total_cmp);
    let none = || BenchError::Stage("nothing came through the relay".into());
    Ok(RelayMs {
        p50: quantile(&times, 0.5).ok_or_else(none)?,
        p99: quantile(&times, 0.99).ok_or_else(none)?,
        n: times.len() as u64,
        lost,
    })
}

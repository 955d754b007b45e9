//! Passes packets on, to one or many, as they came.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use record::Timestamp;
use wire::mpegts::{PACKET_BYTES, Scanner, Start};

use crate::net::{Input, Output};
use crate::stats::{Meter, StatsOutput, Totals};
use crate::{MediaError, StreamUrl};

/// Settings of the relay.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where the stream comes from.
    pub input: StreamUrl,
    /// Where it goes.
    pub outputs: Vec<StreamUrl>,
    /// Ends after this; `None`: when it is stopped.
    pub duration: Option<Duration>,
    /// Figures once a second.
    pub stats: StatsOutput,
}

/// Passes packets on until `stop` is set or the time is up. An output that cannot be reached costs the others nothing; what
/// it did not take is counted in [`Totals::datagrams_dropped`]. Time in this stage is that of the datagram with which a
/// picture begins.
///
/// # Errors
/// There is no socket, the input is not there, or a server refuses the stream.
pub fn run(config: &RelayConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    let mut outputs: Vec<Output> = config
        .outputs
        .iter()
        .map(Output::open)
        .collect::<Result<_, _>>()?;
    let mut input = Input::open(&config.input)?;
    let start = Timestamp::now();
    let mut meter = Meter::new("relay", config.stats, start);
    let mut scanner = Scanner::default();
    while !stop.load(Ordering::Relaxed)
        && config
            .duration
            .is_none_or(|duration| Timestamp::now().since(start) < duration)
    {
        let chunks = input.receive()?;
        for output in &mut outputs {
            output.forward(&chunks)?;
        }
        // Looked at when it is on its way already.
        let sent = Timestamp::now();
        for chunk in &chunks {
            meter.bytes += chunk.bytes.len() as u64;
            for _ in 0..pictures(&mut scanner, chunk.bytes) {
                meter.totals.frames_in += 1;
                meter.frame_out(Some(sent.since(chunk.received)));
            }
        }
        let refused = outputs.iter().map(Output::refused).sum();
        meter.follow(&input, refused, Timestamp::now());
    }
    Ok(meter.totals)
}

/// How many pictures begin in a datagram.
fn pictures(scanner: &mut Scanner, bytes: &[u8]) -> usize {
    let (packets, _) = bytes.as_chunks::<PACKET_BYTES>();
    packets
        .iter()
        .filter(|packet| scanner.packet(packet) != Start::Nothing)
        .count()
}

//! Transport streams in RTP: in order again, and numbered.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use record::Timestamp;
use wire::mpegts::ticks_from_micros;
use wire::rtp::{Packet, Reorderer, SequenceCounters, header};

use super::Chunk;
use super::udp::{UdpReceiver, UdpSender};
use crate::MediaError;
use crate::url::{Multicast, StreamUrl};

/// Longest wait for a datagram that was overtaken. A third of a frame: later it would cost more than it is worth.
const OVERTAKEN_WAIT: Duration = Duration::from_millis(10);

/// Receives RTP.
#[derive(Debug)]
pub(super) struct RtpReceiver {
    udp: UdpReceiver,
    reorderer: Reorderer<Payload>,
    holds_since: Option<Instant>,
    ready: Vec<Payload>,
    /// Datagrams that are not RTP with MPEG-TS.
    foreign: u64,
}

#[derive(Debug)]
struct Payload {
    bytes: Vec<u8>,
    received: Timestamp,
    source: Option<SocketAddr>,
}

impl RtpReceiver {
    pub(super) fn open(url: &StreamUrl, group: &Multicast) -> Result<Self, MediaError> {
        Ok(Self {
            udp: UdpReceiver::open(url, group)?,
            reorderer: Reorderer::default(),
            holds_since: None,
            ready: Vec::new(),
            foreign: 0,
        })
    }

    pub(super) fn receive(
        &mut self,
        wait: Duration,
    ) -> Result<impl Iterator<Item = Chunk<'_>>, MediaError> {
        self.ready.clear();
        let wait = match self.holds_since {
            Some(since) => wait.min(OVERTAKEN_WAIT.saturating_sub(since.elapsed())),
            None => wait,
        };
        // Zero would mean for ever.
        for datagram in self.udp.receive(wait.max(Duration::from_millis(1)))? {
            let Ok(packet) = Packet::parse(datagram.bytes) else {
                self.foreign += 1;
                continue;
            };
            let payload = Payload {
                bytes: packet.payload.to_vec(),
                received: datagram.received,
                source: datagram.source,
            };
            self.reorderer
                .push(packet.source, packet.sequence, payload, &mut self.ready);
        }
        self.follow_held();
        Ok(self.ready.iter().map(|payload| Chunk {
            bytes: &payload.bytes,
            received: payload.received,
            source: payload.source,
        }))
    }

    /// Gives up a missing datagram in time.
    fn follow_held(&mut self) {
        let now = Instant::now();
        let is_late = |since: Instant| now.saturating_duration_since(since) >= OVERTAKEN_WAIT;
        if self.holds_since.is_some_and(is_late) {
            self.reorderer.give_up(&mut self.ready);
        }
        match (self.holds_since, self.reorderer.is_holding()) {
            (None, true) => self.holds_since = Some(now),
            (Some(_), false) => self.holds_since = None,
            _ => {}
        }
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.udp.overflowed()
    }

    pub(super) fn sequence(&self) -> SequenceCounters {
        self.reorderer.counters()
    }

    pub(super) fn foreign(&self) -> u64 {
        self.foreign
    }
}

/// Sends RTP.
#[derive(Debug)]
pub(super) struct RtpSender {
    udp: UdpSender,
    sequence: u16,
    source: u32,
}

impl RtpSender {
    pub(super) fn open(url: &StreamUrl, group: &Multicast) -> Result<Self, MediaError> {
        // Number and start may be any, but should differ between senders: the clock's fast digits do.
        let chance = Timestamp::now()
            .as_micros()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ok(Self {
            udp: UdpSender::open(url, group)?,
            sequence: (chance >> 16) as u16,
            source: (chance >> 32) as u32,
        })
    }

    pub(super) fn send(&mut self, datagrams: &[&[u8]]) {
        let timestamp = ticks_from_micros(Timestamp::now().as_micros()) as u32;
        let headers: Vec<_> = datagrams
            .iter()
            .map(|_| {
                let header = header(self.sequence, timestamp, self.source);
                self.sequence = self.sequence.wrapping_add(1);
                header
            })
            .collect();
        let messages: Vec<_> = headers
            .iter()
            .zip(datagrams)
            .map(|(header, datagram)| [IoSlice::new(header), IoSlice::new(datagram)])
            .collect();
        self.udp.send(&messages);
    }

    pub(super) fn refused(&self) -> u64 {
        self.udp.refused()
    }
}

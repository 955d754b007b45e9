//! A transport stream that comes in.

use std::net::SocketAddr;
use std::time::Duration;

use record::Timestamp;
use wire::mpegts::Continuity;

use super::RECEIVE_WAIT;
use super::rtp::RtpReceiver;
use super::tcp::StreamReceiver;
use super::udp::UdpReceiver;
use crate::MediaError;
use crate::url::{StreamUrl, Transport};

/// The kernel's clock ticks no finer.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// A piece of a transport stream: a datagram, or whole packets out of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Packets.
    pub bytes: &'a [u8],
    /// When the kernel received it; for a connection, when it was read.
    pub received: Timestamp,
    /// Who sent it, if known.
    pub source: Option<SocketAddr>,
}

/// What an [`Input`] has come across; all count up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputCounters {
    /// Datagrams that the kernel threw away because the receive buffer was full.
    pub overflowed: u64,
    /// RTP datagrams that never came.
    pub rtp_lost: u64,
    /// RTP datagrams that were overtaken and put back in order.
    pub rtp_reordered: u64,
    /// Datagrams that are not RTP with MPEG-TS.
    pub foreign: u64,
    /// Connections after the first.
    pub reconnects: u64,
}

/// Receives a transport stream, and counts what is missing in it.
#[derive(Debug)]
pub struct Input {
    carrier: Carrier,
    continuity: Continuity,
}

#[derive(Debug)]
enum Carrier {
    Udp(UdpReceiver),
    Rtp(RtpReceiver),
    Stream(Box<StreamReceiver>),
}

impl Input {
    /// An input from `url`. To a server it connects at once.
    ///
    /// # Errors
    /// The host cannot be resolved, there is no socket to be had, or the server is not there or refuses.
    pub fn open(url: &StreamUrl) -> Result<Self, MediaError> {
        let carrier = match &url.transport {
            Transport::Udp(group) => Carrier::Udp(UdpReceiver::open(url, group)?),
            Transport::Rtp(group) => Carrier::Rtp(RtpReceiver::open(url, group)?),
            Transport::Tcp | Transport::TcpListen | Transport::Http { .. } => {
                Carrier::Stream(Box::new(StreamReceiver::open(url)?))
            }
        };
        Ok(Self {
            carrier,
            continuity: Continuity::default(),
        })
    }

    /// Takes what is there; waits for `wait` at most if nothing is, and never longer than
    /// [`RECEIVE_WAIT`](super::RECEIVE_WAIT). A connection that ends is
    /// made anew in one of the next calls.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive_within(&mut self, wait: Duration) -> Result<Vec<Chunk<'_>>, MediaError> {
        // Zero would mean for ever.
        let wait = wait.clamp(WAIT_MIN, RECEIVE_WAIT);
        let chunks: Vec<Chunk<'_>> = match &mut self.carrier {
            Carrier::Udp(udp) => udp.receive(wait)?.collect(),
            Carrier::Rtp(rtp) => rtp.receive(wait)?.collect(),
            Carrier::Stream(stream) => stream.receive(wait).into_iter().collect(),
        };
        for chunk in &chunks {
            self.continuity.follow(chunk.bytes);
        }
        Ok(chunks)
    }

    /// The same with the longest wait.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive(&mut self) -> Result<Vec<Chunk<'_>>, MediaError> {
        self.receive_within(RECEIVE_WAIT)
    }

    /// What came in so far.
    #[must_use]
    pub fn counters(&self) -> InputCounters {
        match &self.carrier {
            Carrier::Udp(udp) => InputCounters {
                overflowed: udp.overflowed(),
                ..InputCounters::default()
            },
            Carrier::Rtp(rtp) => InputCounters {
                overflowed: rtp.overflowed(),
                rtp_lost: rtp.sequence().lost,
                rtp_reordered: rtp.sequence().reordered,
                foreign: rtp.foreign(),
                ..InputCounters::default()
            },
            Carrier::Stream(stream) => InputCounters {
                reconnects: stream.reconnects(),
                ..InputCounters::default()
            },
        }
    }

    /// Packets that are missing in what came.
    #[must_use]
    pub fn continuity(&self) -> &Continuity {
        &self.continuity
    }
}

//! A transport stream that goes out.

use std::io::IoSlice;

use wire::mpegts::DATAGRAM_BYTES_MAX;

use super::Chunk;
use super::push::StreamSender;
use super::rtp::RtpSender;
use super::udp::UdpSender;
use crate::MediaError;
use crate::url::{StreamUrl, Transport};

/// Sends a transport stream. It never waits: what the network or a slow receiver does not take is lost and counted.
#[derive(Debug)]
pub struct Output {
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Udp(UdpSender),
    Rtp(RtpSender),
    Stream(StreamSender),
}

impl Output {
    /// An output to `url`. Whether anybody receives is seen later, and changes.
    ///
    /// # Errors
    /// The host cannot be resolved or there is no socket to be had.
    pub fn open(url: &StreamUrl) -> Result<Self, MediaError> {
        let carrier = match &url.transport {
            Transport::Udp(group) => Carrier::Udp(UdpSender::open(url, group)?),
            Transport::Rtp(group) => Carrier::Rtp(RtpSender::open(url, group)?),
            Transport::Tcp | Transport::TcpListen | Transport::Http { .. } => {
                Carrier::Stream(StreamSender::open(url)?)
            }
        };
        Ok(Self { carrier })
    }

    /// Sends packets, as many in a datagram as fit.
    ///
    /// # Errors
    /// The server says that it will never take this stream.
    pub fn send(&mut self, packets: &[u8]) -> Result<(), MediaError> {
        let datagrams: Vec<&[u8]> = packets.chunks(DATAGRAM_BYTES_MAX).collect();
        self.datagrams(&datagrams)
    }

    /// Sends what came in as it came in.
    ///
    /// # Errors
    /// The server says that it will never take this stream.
    pub fn forward(&mut self, chunks: &[Chunk<'_>]) -> Result<(), MediaError> {
        let datagrams: Vec<&[u8]> = chunks
            .iter()
            // Packets out of a connection come in larger pieces.
            .flat_map(|chunk| {
                let is_large = chunk.bytes.len() > UNSPLIT_BYTES_MAX;
                let size = if is_large {
                    DATAGRAM_BYTES_MAX
                } else {
                    UNSPLIT_BYTES_MAX
                };
                chunk.bytes.chunks(size)
            })
            .collect();
        self.datagrams(&datagrams)
    }

    fn datagrams(&mut self, datagrams: &[&[u8]]) -> Result<(), MediaError> {
        match &mut self.carrier {
            Carrier::Udp(udp) => {
                let messages: Vec<_> = datagrams.iter().map(|d| [IoSlice::new(d)]).collect();
                udp.send(&messages);
                Ok(())
            }
            Carrier::Rtp(rtp) => {
                rtp.send(datagrams);
                Ok(())
            }
            Carrier::Stream(stream) => stream.send(datagrams.concat()),
        }
    }

    /// Datagrams that the system refused to send; for a connection, pieces that did not go out.
    #[must_use]
    pub fn refused(&self) -> u64 {
        match &self.carrier {
            Carrier::Udp(udp) => udp.refused(),
            Carrier::Rtp(rtp) => rtp.refused(),
            Carrier::Stream(stream) => stream.dropped(),
        }
    }
}

/// A datagram that came in goes out as it is up to this: what an Ethernet frame holds.
const UNSPLIT_BYTES_MAX: usize = 1472;

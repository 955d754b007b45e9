//! Datagrams in and out, with the kernel's receive times.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::str::FromStr;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use record::Timestamp;
use wire::mpegts::DATAGRAM_BYTES_MAX;

use crate::MediaError;

/// Receive buffer asked of the kernel: seconds of video, so that a busy machine delays and does not lose.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// A receiver looks at its stop flag at least this often.
pub const RECEIVE_WAIT: Duration = Duration::from_millis(50);
/// Larger than any datagram.
const DATAGRAM_BUFFER_BYTES: usize = 1 << 16;
const SCHEME: &str = "udp://";

/// `udp://host:port`. A sender sends there; a receiver binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpUrl {
    host: String,
    port: u16,
}

/// What is wrong with an address.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Another scheme or none.
    #[error("it must look like udp://192.0.2.1:5000 (only UDP is supported)")]
    Scheme,
    /// No host.
    #[error("the host is missing; to receive on every interface write udp://0.0.0.0:PORT")]
    Host,
    /// No port or not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// `?…` or `/…` behind the port.
    #[error("options behind the port are not supported: '{0}'")]
    Options(String),
    /// The host has no address.
    #[error("the host cannot be resolved")]
    Resolve(#[source] io::Error),
    /// The name service knows the host but gave no address.
    #[error("the host has no address")]
    NoAddress,
}

impl FromStr for UdpUrl {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        parse(text).map_err(|source| MediaError::Url {
            url: text.to_owned(),
            source,
        })
    }
}

fn parse(text: &str) -> Result<UdpUrl, UrlError> {
    let rest = text.strip_prefix(SCHEME).ok_or(UrlError::Scheme)?;
    if let Some(at) = rest.find(['?', '/']) {
        return Err(UrlError::Options(rest[at..].to_owned()));
    }
    let (host, port) = rest.rsplit_once(':').ok_or(UrlError::Port)?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains(':') && !is_bracketed {
        return Err(UrlError::Host);
    }
    let port = port
        .parse()
        .ok()
        .filter(|&port| port > 0)
        .ok_or(UrlError::Port)?;
    Ok(UdpUrl {
        host: host.to_owned(),
        port,
    })
}

impl fmt::Display for UdpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}:{}", self.host, self.port)
    }
}

impl UdpUrl {
    fn resolve(&self) -> Result<SocketAddr, MediaError> {
        let failed = |source| MediaError::Url {
            url: self.to_string(),
            source,
        };
        let mut addresses = format!("{}:{}", self.host, self.port)
            .to_socket_addrs()
            .map_err(|e| failed(UrlError::Resolve(e)))?;
        addresses.next().ok_or_else(|| failed(UrlError::NoAddress))
    }

    fn socket_error(&self, source: io::Error) -> MediaError {
        MediaError::Socket {
            url: self.to_string(),
            source,
        }
    }
}

/// Sends a transport stream.
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
    target: SocketAddr,
    refused: u64,
}

impl Sender {
    /// A sender to `url`.
    ///
    /// # Errors
    /// The host cannot be resolved or there is no socket to be had.
    pub fn open(url: &UdpUrl) -> Result<Self, MediaError> {
        let target = url.resolve()?;
        let any: SocketAddr = if target.is_ipv4() {
            ([0; 4], 0).into()
        } else {
            ([0; 16], 0).into()
        };
        // Not connected: a connected socket reports the receiver's absence, which is none of the sender's business.
        let socket = UdpSocket::bind(any).map_err(|e| url.socket_error(e))?;
        Ok(Self {
            socket,
            target,
            refused: 0,
        })
    }

    /// Sends packets, as many in a datagram as fit. What the network refuses is lost, as anywhere behind it.
    pub fn send(&mut self, packets: &[u8]) {
        for datagram in packets.chunks(DATAGRAM_BYTES_MAX) {
            if self.socket.send_to(datagram, self.target).is_err() {
                self.refused += 1;
            }
        }
    }

    /// Datagrams that the system refused to send.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// Receives datagrams.
#[derive(Debug)]
pub struct Receiver {
    socket: UdpSocket,
    url: UdpUrl,
    buffer: Vec<u8>,
    control: Vec<u8>,
    overflowed: u64,
}

/// A datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// UDP payload.
    pub bytes: &'a [u8],
    /// When the kernel received it.
    pub received: Timestamp,
}

impl Receiver {
    /// Binds `url`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn open(url: &UdpUrl) -> Result<Self, MediaError> {
        let address = url.resolve()?;
        let socket = UdpSocket::bind(address).map_err(|e| url.socket_error(e))?;
        socket
            .set_read_timeout(Some(RECEIVE_WAIT))
            .map_err(|e| url.socket_error(e))?;
        // Beyond the system's limit with the right to, up to it without.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)
                .map_err(|e| url.socket_error(e.into()))?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
            .map_err(|e| url.socket_error(e.into()))?;
        setsockopt(&socket, sockopt::RxqOvfl, &1).map_err(|e| url.socket_error(e.into()))?;
        Ok(Self {
            socket,
            url: url.clone(),
            buffer: vec![0; DATAGRAM_BUFFER_BYTES],
            control: nix::cmsg_space!(TimeSpec, u32),
            overflowed: 0,
        })
    }

    /// The next datagram; `None` if none came within [`RECEIVE_WAIT`].
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive(&mut self) -> Result<Option<Datagram<'_>>, MediaError> {
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut self.control),
            MsgFlags::empty(),
        );
        let message = match message {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(errno) => {
                return Err(MediaError::Receive {
                    url: self.url.to_string(),
                    source: errno.into(),
                });
            }
        };
        let mut received = None;
        let control = message.cmsgs();
        let control = control.map_err(|e| MediaError::Receive {
            url: self.url.to_string(),
            source: e.into(),
        })?;
        for part in control {
            match part {
                ControlMessageOwned::ScmTimestampns(time) => received = Some(Duration::from(time)),
                ControlMessageOwned::RxqOvfl(count) => self.overflowed = u64::from(count),
                _ => {}
            }
        }
        let bytes = message.bytes;
        let received = received.map_or_else(Timestamp::now, |since_epoch| {
            Timestamp(since_epoch.as_micros() as u64)
        });
        Ok(Some(Datagram {
            bytes: &self.buffer[..bytes],
            received,
        }))
    }

    /// Datagrams that the kernel threw away because the receive buffer was full.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// Whether an error says that the other end of a pipe has gone.
pub(crate) fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "udp://127.0.0.1:5000",
            "udp://0.0.0.0:1",
            "udp://[::1]:65535",
            "udp://edge-1:7000",
        ] {
            assert_eq!(good.parse::<UdpUrl>().unwrap().to_string(), good);
        }
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("rtp://127.0.0.1:5000", "only UDP");
        check("127.0.0.1:5000", "only UDP");
        check("udp://127.0.0.1", "port");
        check("udp://127.0.0.1:0", "port");
        check("udp://127.0.0.1:65536", "port");
        check("udp://:5000", "host is missing");
        check("udp://::1:5000", "host is missing");
        check(
            "udp://127.0.0.1:5000?pkt_size=1316",
            "not supported: '?pkt_size=1316'",
        );
    }
}

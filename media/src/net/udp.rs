//! Datagrams, many in one system call, with the kernel's receive times.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg,
    sendmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use record::Timestamp;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Chunk, RECEIVE_WAIT};
use crate::MediaError;
use crate::url::{Multicast, StreamUrl};

/// Receive buffer asked of the kernel: seconds of video, so that a busy machine delays and does not lose.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Larger than any datagram. Memory that no datagram reaches is never touched.
const DATAGRAM_BUFFER_BYTES: usize = 1 << 16;
/// Most datagrams taken at once: a large picture.
const BATCH_MAX: usize = 32;

/// Receives datagrams.
#[derive(Debug)]
pub(super) struct UdpReceiver {
    socket: UdpSocket,
    url: StreamUrl,
    buffer: Vec<u8>,
    batch: Vec<Meta>,
    /// How long the socket waits.
    wait: Duration,
    overflowed: u64,
}

/// What is known of a datagram but its bytes.
#[derive(Clone, Copy, Debug)]
struct Meta {
    bytes: usize,
    received: Timestamp,
    source: Option<SocketAddr>,
}

impl UdpReceiver {
    pub(super) fn open(url: &StreamUrl, group: &Multicast) -> Result<Self, MediaError> {
        let address = url.resolve()?;
        let failed = |e| url.socket_error(e);
        let socket = bind(address, group).map_err(failed)?;
        socket
            .set_read_timeout(Some(RECEIVE_WAIT))
            .map_err(failed)?;
        // Beyond the system's limit with the right to, up to it without.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)
                .map_err(|e| failed(e.into()))?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(|e| failed(e.into()))?;
        setsockopt(&socket, sockopt::RxqOvfl, &1).map_err(|e| failed(e.into()))?;
        Ok(Self {
            socket,
            url: url.clone(),
            buffer: vec![0; DATAGRAM_BUFFER_BYTES * BATCH_MAX],
            batch: Vec::with_capacity(BATCH_MAX),
            wait: RECEIVE_WAIT,
            overflowed: 0,
        })
    }

    /// Waits for a datagram and takes all that are there; none if none came in time.
    pub(super) fn receive(
        &mut self,
        wait: Duration,
    ) -> Result<impl Iterator<Item = Chunk<'_>>, MediaError> {
        if wait != self.wait {
            self.socket
                .set_read_timeout(Some(wait))
                .map_err(|e| self.url.socket_error(e))?;
            self.wait = wait;
        }
        self.batch.clear();
        match self.fill() {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => {
                return Err(MediaError::Receive {
                    url: self.url.to_string(),
                    source: errno.into(),
                });
            }
        }
        let buffers = self.buffer.chunks(DATAGRAM_BUFFER_BYTES);
        Ok(self.batch.iter().zip(buffers).map(|(meta, buffer)| Chunk {
            bytes: &buffer[..meta.bytes],
            received: meta.received,
            source: meta.source,
        }))
    }

    fn fill(&mut self) -> Result<(), Errno> {
        let Self {
            socket,
            buffer,
            batch,
            overflowed,
            ..
        } = self;
        // Made anew each time: the kernel shortens the room for control messages to what it used, and nobody resets it.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(
            BATCH_MAX,
            Some(nix::cmsg_space!(TimeSpec, u32)),
        );
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffer
            .chunks_mut(DATAGRAM_BUFFER_BYTES)
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let messages = recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        for message in messages {
            let mut received = None;
            for part in message.cmsgs()? {
                match part {
                    ControlMessageOwned::ScmTimestampns(time) => {
                        received = Some(Duration::from(time));
                    }
                    ControlMessageOwned::RxqOvfl(count) => *overflowed = u64::from(count),
                    _ => {}
                }
            }
            batch.push(Meta {
                bytes: message.bytes,
                received: received.map_or_else(Timestamp::now, |since_epoch| {
                    Timestamp(since_epoch.as_micros() as u64)
                }),
                source: message.address.as_ref().and_then(source),
            });
        }
        Ok(())
    }

    /// Datagrams that the kernel threw away because the receive buffer was full.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

fn source(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|address| SocketAddr::V6((*address).into()))
    })
}

fn bind(address: SocketAddr, group: &Multicast) -> io::Result<UdpSocket> {
    if !address.ip().is_multicast() {
        return UdpSocket::bind(address);
    }
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Others on this machine may listen to the group too.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    match address.ip() {
        IpAddr::V4(ip) => {
            socket.join_multicast_v4(&ip, &group.interface.unwrap_or(Ipv4Addr::UNSPECIFIED))?;
        }
        IpAddr::V6(ip) => socket.join_multicast_v6(&ip, 0)?,
    }
    Ok(socket.into())
}

/// Sends datagrams.
#[derive(Debug)]
pub(super) struct UdpSender {
    socket: UdpSocket,
    target: SockaddrStorage,
    headers: MultiHeaders<SockaddrStorage>,
    refused: u64,
}

impl UdpSender {
    pub(super) fn open(url: &StreamUrl, group: &Multicast) -> Result<Self, MediaError> {
        let target = url.resolve()?;
        let any: SocketAddr = if target.is_ipv4() {
            ([0; 4], 0).into()
        } else {
            ([0; 16], 0).into()
        };
        // Not connected: a connected socket reports the receiver's absence, which is none of the sender's business.
        let socket = UdpSocket::bind(any).map_err(|e| url.socket_error(e))?;
        if target.ip().is_multicast() {
            set_group(&socket, target.ip(), group).map_err(|e| url.socket_error(e))?;
        }
        Ok(Self {
            socket,
            target: target.into(),
            headers: MultiHeaders::preallocate(BATCH_MAX, None),
            refused: 0,
        })
    }

    /// Sends each message as one datagram. What the network refuses is lost, as anywhere behind it.
    pub(super) fn send<const PARTS: usize>(&mut self, messages: &[[IoSlice<'_>; PARTS]]) {
        for batch in messages.chunks(BATCH_MAX) {
            let mut rest = batch;
            while !rest.is_empty() {
                let sent = self.send_batch(rest);
                if sent == 0 {
                    // The first one is refused; the others may go.
                    self.refused += 1;
                }
                rest = &rest[sent.max(1).min(rest.len())..];
            }
        }
    }

    /// How many of the batch went out.
    fn send_batch<const PARTS: usize>(&mut self, batch: &[[IoSlice<'_>; PARTS]]) -> usize {
        let targets = vec![Some(self.target); batch.len()];
        let no_control: [ControlMessage<'_>; 0] = [];
        let results = sendmmsg(
            self.socket.as_raw_fd(),
            &mut self.headers,
            batch,
            targets,
            no_control,
            MsgFlags::empty(),
        );
        results.map_or(0, Iterator::count)
    }

    /// Datagrams that the system refused to send.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

fn set_group(socket: &UdpSocket, target: IpAddr, group: &Multicast) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    if let Some(interface) = &group.interface {
        socket.set_multicast_if_v4(interface)?;
    }
    if let Some(ttl) = group.ttl {
        match target {
            IpAddr::V4(_) => socket.set_multicast_ttl_v4(ttl.into())?,
            IpAddr::V6(_) => socket.set_multicast_hops_v6(ttl.into())?,
        }
    }
    Ok(())
}

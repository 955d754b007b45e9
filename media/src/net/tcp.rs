//! Connections: made or waited for, made again when they end, and the packets that come out of them.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use door::Trust;
use record::Timestamp;
use socket2::{SockRef, TcpKeepalive};
use wire::mpegts::Splitter;

use super::answer::{Body, BodyState, HttpError};
use super::socket::{Socket, encrypt, trust};
use super::{CONNECT_WAIT, Chunk, RECEIVE_WAIT, RECONNECT_WAIT, http};
use crate::MediaError;
use crate::url::{StreamUrl, Transport};

const READ_BYTES: usize = 64 << 10;
/// A silent peer is asked for a sign of life after this, thrice: after 11 s it counts as gone.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new();
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;

/// A connection to `url`, or why there is none.
pub(super) fn connect(url: &StreamUrl, trust: Option<&Trust>) -> Result<Socket, MediaError> {
    let failed = |source| MediaError::Connect {
        url: url.to_string(),
        source,
    };
    let socket = TcpStream::connect_timeout(&url.resolve()?, CONNECT_WAIT).map_err(failed)?;
    prepare(&socket).map_err(failed)?;
    encrypt(url, socket, trust)
}

/// What every connection of a live stream needs.
pub(super) fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let keepalive = KEEPALIVE
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// A socket that others connect to, and that does not block.
pub(super) fn listen(url: &StreamUrl) -> Result<TcpListener, MediaError> {
    let failed = |e| url.socket_error(e);
    let listener = TcpListener::bind(url.resolve()?).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// The newest of those who have connected.
pub(super) fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let mut newest = None;
    while let Ok((socket, _)) = listener.accept() {
        newest = Some(socket)
            .filter(|socket| prepare(socket).is_ok())
            .or(newest);
    }
    newest
}

/// Receives over a connection. Of several senders that connect to a listening one the newest counts: a sender that was
/// moved connects anew while its old connection still hangs.
#[derive(Debug)]
pub(super) struct StreamReceiver {
    url: StreamUrl,
    trust: Option<Trust>,
    listener: Option<TcpListener>,
    connection: Option<Connection>,
    connections: u64,
    next_try: Instant,
    buffer: Vec<u8>,
    packets: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    /// How long the socket waits.
    wait: Duration,
    peer: Option<SocketAddr>,
    body: Body,
    splitter: Splitter,
    /// What came with the head of the answer.
    first: Vec<u8>,
}

impl StreamReceiver {
    /// Connects to a server, or waits for a sender.
    pub(super) fn open(url: &StreamUrl) -> Result<Self, MediaError> {
        let is_listening = url.transport == Transport::TcpListen;
        let mut receiver = Self {
            url: url.clone(),
            trust: trust(url)?,
            listener: is_listening.then(|| listen(url)).transpose()?,
            connection: None,
            connections: 0,
            next_try: Instant::now(),
            buffer: vec![0; READ_BYTES],
            packets: Vec::with_capacity(READ_BYTES),
        };
        if !is_listening {
            let connection = Connection::open(url, receiver.trust.as_ref())?;
            receiver.take_connection(connection);
        }
        Ok(receiver)
    }

    /// Whole packets that are there, or none within `wait`.
    pub(super) fn receive(&mut self, wait: Duration) -> Option<Chunk<'_>> {
        self.packets.clear();
        self.find_connection(wait);
        let connection = self.connection.as_mut()?;
        let read = connection.read(wait, &mut self.buffer, &mut self.packets);
        let peer = connection.peer;
        if read == Err(Gone) {
            self.connection = None;
            self.next_try = Instant::now() + RECONNECT_WAIT;
        }
        (!self.packets.is_empty()).then_some(Chunk {
            bytes: &self.packets,
            received: Timestamp::now(),
            source: peer,
        })
    }

    /// Connections after the first.
    pub(super) fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }

    fn take_connection(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.connections += 1;
    }

    /// Looks for a new connection if there is none, or if a newer sender may have come.
    fn find_connection(&mut self, wait: Duration) {
        if let Some(listener) = &self.listener {
            let accepted = accept(listener).map(Socket::Bare);
            match accepted.and_then(|socket| Connection::of(socket).ok()) {
                Some(connection) => self.take_connection(connection),
                None if self.connection.is_none() => thread::sleep(wait / 2),
                None => {}
            }
        } else if self.connection.is_none() {
            let rest = self.next_try.saturating_duration_since(Instant::now());
            if !rest.is_zero() {
                thread::sleep(rest.min(wait));
                return;
            }
            match Connection::open(&self.url, self.trust.as_ref()) {
                Ok(connection) => self.take_connection(connection),
                Err(_) => self.next_try = Instant::now() + RECONNECT_WAIT,
            }
        }
    }
}

/// The connection has ended.
#[derive(Debug, PartialEq, Eq)]
struct Gone;

impl Connection {
    fn of(socket: Socket) -> std::io::Result<Self> {
        socket.tcp().set_read_timeout(Some(RECEIVE_WAIT))?;
        Ok(Self {
            peer: socket.tcp().peer_addr().ok(),
            wait: RECEIVE_WAIT,
            socket,
            body: Body::UntilClose,
            splitter: Splitter::default(),
            first: Vec::new(),
        })
    }

    /// Connects, and asks for the stream.
    fn open(url: &StreamUrl, trust: Option<&Trust>) -> Result<Self, MediaError> {
        let mut socket = connect(url, trust)?;
        let asked = match &url.transport {
            Transport::Http { target, .. } => http::get(&mut socket, &url.authority(), target),
            _ => Ok((Body::UntilClose, Vec::new())),
        };
        let failed = |source| MediaError::Http {
            url: url.to_string(),
            source,
        };
        let (body, first) = asked.map_err(failed)?;
        let connection = Self::of(socket).map_err(|e| failed(HttpError::Io(e)))?;
        Ok(Self {
            body,
            first,
            ..connection
        })
    }

    /// Appends the packets that come within `wait`.
    fn read(
        &mut self,
        wait: Duration,
        buffer: &mut [u8],
        packets: &mut Vec<u8>,
    ) -> Result<(), Gone> {
        if wait != self.wait {
            let set = self.socket.tcp().set_read_timeout(Some(wait));
            set.map_err(|_| Gone)?;
            self.wait = wait;
        }
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            return self.take(&first, packets);
        }
        match self.socket.read(buffer) {
            Ok(0) => Err(Gone),
            Ok(length) => self.take(&buffer[..length], packets),
            Err(error) if http::is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {
                Ok(())
            }
            Err(_) => Err(Gone),
        }
    }

    fn take(&mut self, bytes: &[u8], packets: &mut Vec<u8>) -> Result<(), Gone> {
        let Self { body, splitter, .. } = self;
        let state = body.push(bytes, |bytes| {
            splitter.push(bytes, |packet| packets.extend_from_slice(packet));
        });
        match state {
            Ok(BodyState::Open) => Ok(()),
            Ok(BodyState::Ended) | Err(_) => Err(Gone),
        }
    }
}

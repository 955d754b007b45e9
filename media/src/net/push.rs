//! Sending over a connection without ever waiting for it: a thread of its own writes, and a line with a limit leads to it.

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use door::Trust;

use super::answer::HttpError;
use super::socket::{Socket, trust};
use super::tcp::{accept, connect, listen};
use super::{RECEIVE_WAIT, RECONNECT_WAIT, http};
use crate::MediaError;
use crate::url::{StreamUrl, Transport};

/// Most that waits for a connection that is slower than the video; a second of 8 Mbit/s.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// What has waited for longer is stale: later pictures are worth more.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// A receiver that takes nothing for so long is given up.
const WRITE_WAIT: Duration = Duration::from_secs(2);

/// Sends over a connection that it makes, or waits for, again and again.
#[derive(Debug)]
pub(super) struct StreamSender {
    line: Option<Sender<Waiting>>,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

/// Packets in the line.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    packets: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
    /// Why there is no use in going on.
    refusal: Mutex<Option<MediaError>>,
}

impl StreamSender {
    pub(super) fn open(url: &StreamUrl) -> Result<Self, MediaError> {
        let is_listening = url.transport == Transport::TcpListen;
        let listener = is_listening.then(|| listen(url)).transpose()?;
        if !is_listening {
            url.resolve()?; // A name that does not exist is the caller's to know; an absent receiver is not.
        }
        let (line, waiting) = channel();
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            url: url.clone(),
            trust: trust(url)?,
            listener,
            waiting,
            shared: Arc::clone(&shared),
            is_told: false,
        };
        Ok(Self {
            line: Some(line),
            shared,
            worker: Some(thread::spawn(|| worker.run())),
        })
    }

    /// Puts packets in the line, all or none of them.
    pub(super) fn send(&mut self, packets: Vec<u8>) -> Result<(), MediaError> {
        // An empty chunk would be the end of a request.
        if packets.is_empty() {
            return Ok(());
        }
        let refusal = || {
            self.shared
                .refusal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let waiting = self.shared.waiting_bytes.load(Ordering::Relaxed);
        if waiting > 0 && waiting + packets.len() > WAITING_BYTES_MAX {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return refusal().take().map_or(Ok(()), Err);
        }
        let bytes = &self.shared.waiting_bytes;
        bytes.fetch_add(packets.len(), Ordering::Relaxed);
        let since = Instant::now();
        if let Some(line) = &self.line
            && line.send(Waiting { since, packets }).is_err()
        {
            // The worker has ended: only a refusal makes it.
            return refusal().take().map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// Pictures that did not go out: nobody connected, or the connection was too slow.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for StreamSender {
    /// What waits still goes out, within [`WRITE_WAIT`].
    fn drop(&mut self) {
        self.line = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join(); // What a panic there would say was said there.
        }
    }
}

struct Worker {
    url: StreamUrl,
    trust: Option<Trust>,
    listener: Option<TcpListener>,
    waiting: Receiver<Waiting>,
    shared: Arc<Shared>,
    /// A person was told that there is no connection.
    is_told: bool,
}

/// The stage has ended.
struct Over;

impl Worker {
    fn run(mut self) {
        while let Ok(mut socket) = self.find_connection() {
            self.is_told = false;
            match self.serve(&mut socket) {
                Ok(Over) => {
                    if matches!(self.url.transport, Transport::Http { .. }) {
                        let _ = socket.write_all(http::LAST_CHUNK); // The end is clear without it, too.
                    }
                    return;
                }
                Err(error) => self.tell(&error.to_string()),
            }
        }
    }

    /// Writes what comes until the stage or the connection has ended.
    fn serve(&mut self, socket: &mut Socket) -> io::Result<Over> {
        loop {
            if let Some(newer) = self.listener.as_ref().and_then(accept) {
                newer.set_write_timeout(Some(WRITE_WAIT))?;
                *socket = Socket::Bare(newer);
            }
            match self.next(RECEIVE_WAIT) {
                Ok(Some(waiting)) if waiting.since.elapsed() > STALE_AFTER => {
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Some(waiting)) => self.write(socket, &waiting.packets)?,
                Ok(None) => {}
                Err(over) => return Ok(over),
            }
        }
    }

    /// A connection that is ready to take packets. What comes meanwhile is stale when there is one, and thrown away.
    fn find_connection(&mut self) -> Result<Socket, Over> {
        loop {
            match self.try_connection() {
                Ok(Some(socket)) => return Ok(socket),
                Ok(None) => self.throw_away(RECEIVE_WAIT)?,
                Err(error) if is_final(&error) => {
                    *self
                        .shared
                        .refusal
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Err(Over);
                }
                Err(error) => {
                    self.tell(&causes(&error));
                    self.throw_away(RECONNECT_WAIT)?;
                }
            }
        }
    }

    fn try_connection(&self) -> Result<Option<Socket>, MediaError> {
        let mut socket = match &self.listener {
            Some(listener) => match accept(listener) {
                Some(socket) => Socket::Bare(socket),
                None => return Ok(None),
            },
            None => connect(&self.url, self.trust.as_ref())?,
        };
        let failed = |source| MediaError::Http {
            url: self.url.to_string(),
            source,
        };
        socket
            .tcp()
            .set_write_timeout(Some(WRITE_WAIT))
            .map_err(|e| failed(HttpError::Io(e)))?;
        if let Transport::Http { target, .. } = &self.url.transport {
            http::post(&mut socket, &self.url.authority(), target).map_err(failed)?;
        }
        Ok(Some(socket))
    }

    fn write(&self, socket: &mut Socket, packets: &[u8]) -> io::Result<()> {
        match self.url.transport {
            Transport::Http { .. } => http::write_chunk(socket, packets),
            _ => socket.write_all(packets),
        }
    }

    fn next(&self, wait: Duration) -> Result<Option<Waiting>, Over> {
        match self.waiting.recv_timeout(wait) {
            Ok(waiting) => {
                let bytes = &self.shared.waiting_bytes;
                bytes.fetch_sub(waiting.packets.len(), Ordering::Relaxed);
                Ok(Some(waiting))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Over),
        }
    }

    fn throw_away(&self, time: Duration) -> Result<(), Over> {
        let end = Instant::now() + time;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            if self.next(rest)?.is_some() {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            } else if rest.is_zero() {
                return Ok(());
            }
        }
    }

    /// Says once for each outage what is wrong: it may heal, so it is no error.
    fn tell(&mut self, what: &str) {
        if !std::mem::replace(&mut self.is_told, true) {
            eprintln!("{}: {what}; trying again", self.url);
        }
    }
}

fn is_final(error: &MediaError) -> bool {
    matches!(error, MediaError::Http { source, .. } if source.is_final())
}

fn causes(error: &MediaError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

//! One connection: what it may hold, and when it has been silent for too long.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use record::Timestamp;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Server, routes};

/// What the server holds for a viewer: references to chunks of up to so many bytes. Longer heads of requests are refused.
const BUFFER_BYTES: usize = 64 << 10;
/// What the kernel holds for a viewer: enough for 20 Mbit/s over 100 ms, and little enough that a slow viewer is found out
/// before what it gets is old.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// Looks at a connection's activity so often in the time that it may be silent.
const LOOKS: u32 = 4;

/// When a connection last did something, or that the server is who it waits for. Whoever has it has the connection: it counts until
/// the last one lets go.
#[derive(Debug)]
pub(super) struct Activity {
    last: AtomicU64,
    is_ours: AtomicBool,
    _counted: Option<Counted>,
}

impl Activity {
    fn new(now: Timestamp, counted: Option<Counted>) -> Self {
        Self {
            last: AtomicU64::new(now.as_micros()),
            is_ours: AtomicBool::new(false),
            _counted: counted,
        }
    }

    /// The peer took or sent something, and it is its turn again.
    pub(super) fn peer(&self, now: Timestamp) {
        self.last.store(now.as_micros(), Ordering::Relaxed);
        self.is_ours.store(false, Ordering::Relaxed);
    }

    /// The peer waits for the server.
    pub(super) fn ours(&self) {
        self.is_ours.store(true, Ordering::Relaxed);
    }

    fn is_silent(&self, now: Timestamp, idle: Duration) -> bool {
        let last = Timestamp(self.last.load(Ordering::Relaxed));
        !self.is_ours.load(Ordering::Relaxed) && now.since(last) >= idle
    }
}

/// Counts a connection while it lives.
#[derive(Debug)]
struct Counted(Arc<Server>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection, unless there are too many.
pub(super) fn spawn(server: &Arc<Server>, socket: TcpStream, peer: SocketAddr) {
    let others = server.connections.fetch_add(1, Ordering::Relaxed);
    let counted = Counted(Arc::clone(server));
    if others >= server.config.limits.connections_max {
        let refused = &server.counters.connections_refused;
        refused.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let server = Arc::clone(server);
    tokio::spawn(async move {
        if prepare(&socket).is_err() {
            return; // It has gone already.
        }
        match server.config.tls.clone() {
            None => run(&server, socket, peer, counted).await,
            Some(tls) => {
                let shaken = tls.accept(socket);
                match tokio::time::timeout(server.config.limits.idle, shaken).await {
                    Ok(Ok(socket)) => run(&server, socket, peer, counted).await,
                    // Plain HTTP, or a browser that does not know the certificate yet.
                    Ok(Err(_)) => {}
                    Err(_) => {
                        server.counters.timed_out.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    });
}

async fn run(
    server: &Arc<Server>,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    counted: Counted,
) {
    let activity = Arc::new(Activity::new(Timestamp::now(), Some(counted)));
    let service = service_fn(|request| {
        activity.ours();
        routes::answer(Arc::clone(server), Arc::clone(&activity), peer, request)
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let idle = server.config.limits.idle;
    let mut look = tokio::time::interval(idle / LOOKS);
    loop {
        tokio::select! {
            // How it ended is the peer's business.
            _ = &mut connection => return,
            _ = look.tick() => {
                if activity.is_silent(Timestamp::now(), idle) {
                    server.counters.timed_out.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }
}

fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_send_buffer_size(SEND_BUFFER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_the_server_is_not_silent() {
        let at = |seconds| Timestamp::from_secs_f64(f64::from(seconds));
        let idle = Duration::from_secs(10);
        let activity = Activity::new(at(0), None);
        assert!(!activity.is_silent(at(9), idle));
        assert!(activity.is_silent(at(10), idle));
        activity.ours();
        assert!(!activity.is_silent(at(100), idle));
        activity.peer(at(101));
        assert!(!activity.is_silent(at(110), idle));
        assert!(activity.is_silent(at(111), idle));
    }
}

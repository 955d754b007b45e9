//! One connection: what it may hold, and when it has been silent for too long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use door::until_silent;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Server, routes};

/// What the server holds for a viewer: references to chunks of up to so many bytes. Longer heads of requests are refused.
const BUFFER_BYTES: usize = 64 << 10;
/// What the kernel holds for a viewer: enough for 20 Mbit/s over 100 ms, and little enough that a slow viewer is found out
/// before what it gets is old.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// When a connection last did something; it counts until the last who has this lets go.
pub(super) type Activity = door::Activity<Counted>;

/// Counts a connection while it lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<Server>);

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
    let activity = Arc::new(Activity::new(Instant::now(), counted));
    let service = service_fn(|request| {
        activity.ours();
        routes::answer(Arc::clone(server), Arc::clone(&activity), peer, request)
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    if !until_silent(connection, &activity, server.config.limits.idle).await {
        server.counters.timed_out.fetch_add(1, Ordering::Relaxed);
    }
}

fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_send_buffer_size(SEND_BUFFER_BYTES)
}

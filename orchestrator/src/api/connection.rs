//! Connections: how many, how much of a head, and when one has been silent for too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::serve::Listener;
use door::{Activity, Tls, until_silent};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What may come to one place at which the API answers. Each place has its own, so that who fills one does not close the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at once; more are closed as they come.
    pub(super) connections_max: usize,
    /// A connection on which no whole head comes, or no answer is taken, is closed after this; one that is to be encrypted and is
    /// not, too. A client of ours waits for an answer no longer than a third of it.
    pub(super) silent: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 256,
            silent: Duration::from_secs(30),
        }
    }
}

/// Takes connections for ever; those that it took end with it.
pub(super) async fn accept<L: Listener>(
    mut listener: L,
    tls: Option<Tls>,
    router: Router,
    bounds: Bounds,
) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await;
        while connections.try_join_next().is_some() {}
        if connections.len() >= bounds.connections_max {
            continue;
        }
        let (tls, router) = (tls.clone(), router.clone());
        connections.spawn(async move {
            let Some(tls) = tls else {
                return converse(socket, router, bounds).await;
            };
            // Plain HTTP, or one who does not know the certificate: it is told by the connection's end.
            if let Ok(Ok(socket)) = timeout(bounds.silent, tls.accept(socket)).await {
                converse(socket, router, bounds).await;
            }
        });
    }
}

async fn converse(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    bounds: Bounds,
) {
    let activity = Arc::new(Activity::new(Instant::now(), ()));
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        // A body that does not come is looked after where it is read (`envelope.rs`).
        activity.ours();
        let (activity, answering) = (Arc::clone(&activity), router.call(request));
        async move {
            let answer = answering.await;
            // From here on it is the peer's turn: to take the answer, and to ask again.
            activity.peer(Instant::now());
            answer
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    until_silent(connection, &activity, bounds.silent).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    /// More than the kernel holds of an answer that nobody takes.
    const LONG: usize = 32 << 20;

    async fn served(tls: Option<Tls>, connections_max: usize) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/long", get(|| async { "x".repeat(LONG) }));
        let bounds = Bounds {
            connections_max,
            silent: Duration::from_millis(200),
        };
        tokio::spawn(accept(listener, tls, router, bounds));
        address
    }

    /// What comes until the other end closes the connection.
    async fn rest(socket: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A connection that is reset has ended, too.
        drop(socket.read_to_end(&mut bytes).await);
        bytes
    }

    #[tokio::test]
    async fn who_says_nothing_or_not_all_is_let_go() {
        let address = served(None, 8).await;
        for said in [&b""[..], b"GET / HTTP/1.1\r\nhost: ", ASK] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(said).await.unwrap();
            let answer = rest(&mut socket).await;
            assert_eq!(answer.is_empty(), said != ASK, "{}", answer.len());
        }
    }

    #[tokio::test]
    async fn who_takes_no_answer_is_let_go() {
        let address = served(None, 8).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket
            .write_all(b"GET /long HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rest(&mut socket).await.len() < LONG);
    }

    #[tokio::test]
    async fn who_shakes_no_hand_is_let_go() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c"), folder.path().join("k"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let address = served(Some(Tls::read(&certificate, &key).unwrap()), 8).await;
        for said in [&b""[..], b"\x16\x03\x01", ASK] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(said).await.unwrap();
            let answer = rest(&mut socket).await;
            assert!(!answer.starts_with(b"HTTP"), "plain HTTP is not answered");
        }
    }

    #[tokio::test]
    async fn so_many_and_no_more() {
        let address = served(None, 2).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        for socket in [&mut first, &mut second] {
            socket.write_all(ASK).await.unwrap();
            let mut answer = [0; 12];
            socket.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        drop(third.write_all(ASK).await);
        assert!(rest(&mut third).await.is_empty());
        // The first two end for their silence; then there is room again.
        rest(&mut first).await;
        rest(&mut second).await;
        loop {
            let mut another = TcpStream::connect(address).await.unwrap();
            drop(another.write_all(ASK).await);
            if rest(&mut another).await.starts_with(b"HTTP/1.1 200") {
                break;
            }
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let address = served(None, 2).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX)
        );
        drop(socket.write_all(head.as_bytes()).await);
        let answer = rest(&mut socket).await;
        assert!(
            !answer.starts_with(b"HTTP/1.1 2"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}

//! Changes what is shown while it runs: HTTP with JSON, at a local port or a socket in the file system.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::label::Label;
use super::shown::Shown;
use crate::MediaError;

/// Longest request; the longest text written with escapes fits.
const BODY_BYTES_MAX: usize = 16 << 10;
/// Longest time for a request. They come from this machine.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// How often the end of the stage is looked for.
const STOP_WAIT: Duration = Duration::from_millis(50);
/// Requests at once.
const CONNECTIONS_MAX: u64 = 16;

/// Where changes are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAddress {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for ControlAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|error| format!("{error}: 127.0.0.1:PORT, or the path of a socket"))?;
        // Whoever reaches it changes the picture: nobody is asked for a token.
        if !address.ip().is_loopback() {
            return Err(format!(
                "{address} can be reached from elsewhere, by whoever likes: 127.0.0.1:{}, or the path of a socket",
                address.port()
            ));
        }
        Ok(Self::Tcp(address))
    }
}

/// Takes changes in a thread of its own until it is dropped.
pub(super) struct Control {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    socket_file: Option<PathBuf>,
}

impl Control {
    pub(super) fn open(address: &ControlAddress, shown: Arc<Shown>) -> Result<Self, MediaError> {
        let failed = |source| MediaError::Socket {
            url: match address {
                ControlAddress::Tcp(address) => format!("http://{address}/"),
                ControlAddress::Unix(path) => path.display().to_string(),
            },
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = {
            let _inside = runtime.enter();
            Listener::open(address).map_err(failed)?
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        Ok(Self {
            is_over,
            thread: Some(thread::spawn(move || {
                runtime.block_on(serve(listener, shown, &flag));
            })),
            socket_file: match address {
                ControlAddress::Unix(path) => Some(path.clone()),
                ControlAddress::Tcp(_) => None,
            },
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // What a panic there would say was said there.
        }
        if let Some(path) = &self.socket_file {
            let _ = fs::remove_file(path); // Somebody else may have done it.
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn open(address: &ControlAddress) -> io::Result<Self> {
        match address {
            ControlAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
            ControlAddress::Unix(path) => {
                // What an earlier one left; nothing but a socket is removed.
                if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
                    fs::remove_file(path)?;
                }
                UnixListener::bind(path).map(Self::Unix)
            }
        }
    }
}

async fn serve(listener: Listener, shown: Arc<Shown>, is_over: &AtomicBool) {
    let connections = Arc::new(AtomicU64::new(0));
    let mut look = tokio::time::interval(STOP_WAIT);
    while !is_over.load(Ordering::Relaxed) {
        tokio::select! {
            accepted = accept(&listener) => {
                if let Ok(socket) = accepted
                    && connections.load(Ordering::Relaxed) < CONNECTIONS_MAX
                {
                    let (shown, connections) = (Arc::clone(&shown), Arc::clone(&connections));
                    connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move {
                        // One that does not end in time is dropped.
                        let _ = tokio::time::timeout(REQUEST_WAIT, talk(socket, shown)).await;
                        connections.fetch_sub(1, Ordering::Relaxed);
                    });
                }
            }
            _ = look.tick() => {}
        }
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

async fn accept(listener: &Listener) -> io::Result<Box<dyn Socket>> {
    Ok(match listener {
        Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
        Listener::Unix(listener) => Box::new(listener.accept().await?.0),
    })
}

async fn talk(socket: Box<dyn Socket>, shown: Arc<Shown>) {
    let service = service_fn(|request| answer(Arc::clone(&shown), request));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    let _ = connection.await; // How it ended is the peer's business.
}

async fn answer(
    shown: Arc<Shown>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // A page in a browser of this machine has no business here.
    if request.headers().contains_key(ORIGIN) {
        return Ok(said(StatusCode::FORBIDDEN, "not from a web page"));
    }
    match *request.method() {
        Method::GET => Ok(label(&shown.label())),
        Method::POST | Method::PUT | Method::PATCH => {
            let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
            let Ok(body) = body.await else {
                let text = format!("the request is cut off, or longer than {BODY_BYTES_MAX} bytes");
                return Ok(said(StatusCode::BAD_REQUEST, &text));
            };
            Ok(match shown.change(&body.to_bytes()) {
                Ok(changed) => label(&changed),
                Err(error) => said(StatusCode::BAD_REQUEST, &error),
            })
        }
        _ => {
            let mut response = said(StatusCode::METHOD_NOT_ALLOWED, "GET, POST, PUT or PATCH");
            let allowed = HeaderValue::from_static("GET, POST, PUT, PATCH");
            response.headers_mut().insert(ALLOW, allowed);
            Ok(response)
        }
    }
}

fn label(label: &Label) -> Response<Full<Bytes>> {
    json(StatusCode::OK, serde_json::json!(label))
}

fn said(code: StatusCode, error: &str) -> Response<Full<Bytes>> {
    json(code, serde_json::json!({ "error": error }))
}

fn json(code: StatusCode, value: serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = code;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_from_this_machine() {
        for (text, taken) in [
            ("127.0.0.1:5080", true),
            ("[::1]:5080", true),
            ("/run/overlay.sock", true),
            ("./overlay.sock", true),
            ("0.0.0.0:5080", false),
            ("[::]:5080", false),
            ("192.0.2.7:5080", false),
            ("5080", false),
            ("overlay.sock", false),
        ] {
            assert_eq!(text.parse::<ControlAddress>().is_ok(), taken, "{text}");
        }
    }
}

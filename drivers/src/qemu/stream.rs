//! The way to a monitor: TCP on the management network, or a socket in a folder of this machine.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

/// A connection that is not made after this is begun anew: TCP itself tries again after 1, 3 and 7 s, and a line that is
/// whole again would be found late.
const CONNECT_AGAIN: Duration = Duration::from_millis(1500);
/// How often a socket is tried at which too many wait already.
const FULL_RETRY: Duration = Duration::from_millis(20);
/// What an address on this machine begins with.
const UNIX: &str = "unix:";

/// The half from which is read.
pub(super) trait Reads: AsyncRead + Debug + Send + Sync + Unpin {}
impl<T: AsyncRead + Debug + Send + Sync + Unpin> Reads for T {}

/// The half to which is written.
pub(super) trait Writes: AsyncWrite + Debug + Send + Sync + Unpin {}
impl<T: AsyncWrite + Debug + Send + Sync + Unpin> Writes for T {}

/// Connects to `unix:PATH` or `host:port`. It tries without end: the caller bounds it.
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] where nobody listens, and only there.
pub(super) async fn open(address: &str) -> io::Result<(Box<dyn Reads>, Box<dyn Writes>)> {
    match socket_of(address) {
        Some(path) => {
            let (reader, writer) = open_unix(path).await?.into_split();
            Ok((Box::new(reader), Box::new(writer)))
        }
        None => {
            let (reader, writer) = open_tcp(address).await?.into_split();
            Ok((Box::new(reader), Box::new(writer)))
        }
    }
}

async fn open_tcp(address: &str) -> io::Result<TcpStream> {
    loop {
        if let Ok(opened) = timeout(CONNECT_AGAIN, TcpStream::connect(address)).await {
            return opened;
        }
    }
}

/// The socket of an address on this machine.
pub(super) fn socket_of(address: &str) -> Option<&Path> {
    address.strip_prefix(UNIX).map(Path::new)
}

pub(super) async fn open_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            // Another client holds the monitor, and one more waits for it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_RETRY).await,
            // QEMU takes its socket away when it ends. A folder that is not there says nothing of QEMU.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_there = path.parent().is_some_and(Path::is_dir);
                return Err(if is_there {
                    io::ErrorKind::ConnectionRefused.into()
                } else {
                    error
                });
            }
            opened => return opened,
        }
    }
}

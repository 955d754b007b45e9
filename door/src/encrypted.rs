//! An encrypted connection for those who have a thread for it, and no runtime.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::{self, ClientConnection};

/// A client's encrypted connection. It waits where its socket waits, and as long: the socket's time-outs hold.
#[derive(Debug)]
pub struct Encrypted {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Encrypted {
    /// Lets both ends prove what they have to, within `wait`.
    pub(crate) fn shake_hands(
        mut tls: ClientConnection,
        socket: TcpStream,
        wait: Duration,
    ) -> io::Result<Self> {
        let deadline = Instant::now() + wait;
        while tls.is_handshaking() {
            write_all(&mut tls, &socket)?;
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(rest))?;
            match read_once(&mut tls, &socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    // The other end is told why, if it still listens.
                    let _ = write_all(&mut tls, &socket);
                    return Err(error);
                }
                _ => {}
            }
        }
        write_all(&mut tls, &socket)?;
        Ok(Self { tls, socket })
    }

    /// What carries it, to set time-outs.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Read for Encrypted {
    /// Looks at the socket once at most. [`ErrorKind::WouldBlock`] says, as it does after a time-out, that there is nothing to
    /// have yet: what came was part of a record, or the protocol's own.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.tls.reader().read(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            known => return known,
        }
        read_once(&mut self.tls, &self.socket)?;
        write_all(&mut self.tls, &self.socket)?;
        self.tls.reader().read(bytes)
    }
}

impl Write for Encrypted {
    /// What is taken is written: after an error nobody knows how much of it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.tls.writer().write(bytes)?;
        write_all(&mut self.tls, &self.socket)?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all(&mut self.tls, &self.socket)
    }
}

/// Bytes that came; 0 where no more will.
fn read_once(tls: &mut ClientConnection, mut socket: &TcpStream) -> io::Result<usize> {
    let length = tls.read_tls(&mut socket)?;
    let processed = tls.process_new_packets();
    processed.map_err(|error: rustls::Error| io::Error::new(ErrorKind::InvalidData, error))?;
    Ok(length)
}

fn write_all(tls: &mut ClientConnection, mut socket: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut socket) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            // Not the caller's to repeat: what it gave is taken.
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

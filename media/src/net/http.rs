//! As much of HTTP/1.1 as a client needs that asks for one stream, or sends one.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::CONNECT_WAIT;
use super::answer::{Body, Head, HttpError};
use super::socket::Socket;

/// Of a request body that begins when the server says so, and at the latest after [`CONTINUE_WAIT`] (RFC 9110, 10.1.1).
const CONTINUE: u16 = 100;
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// Asks for a stream. Returns how its body is framed, and what of it has come already.
pub(super) fn get(
    socket: &mut Socket,
    authority: &str,
    target: &str,
) -> Result<(Body, Vec<u8>), HttpError> {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: forestall/{}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    socket.write_all(request.as_bytes())?;
    let (head, bytes) = read_head(socket, CONNECT_WAIT)?;
    if head.code != 200 {
        return Err(status(head));
    }
    Ok((head.body, bytes[head.bytes..].to_vec()))
}

/// Announces a stream, and waits for the server to say that it may come.
pub(super) fn post(socket: &mut Socket, authority: &str, target: &str) -> Result<(), HttpError> {
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: forestall/{}\r\n\
         Content-Type: video/mp2t\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    socket.write_all(request.as_bytes())?;
    match read_head(socket, CONTINUE_WAIT) {
        Ok((head, _)) if head.code == CONTINUE => Ok(()),
        Ok((head, _)) => Err(status(head)),
        // A server that does not know the question says nothing.
        Err(HttpError::Io(error)) if is_timeout(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a piece of the body of [`post`].
pub(super) fn write_chunk(socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
    socket.write_all(bytes)?;
    socket.write_all(b"\r\n")
}

/// What ends the body of [`post`].
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn status(head: Head) -> HttpError {
    HttpError::Status {
        code: head.code,
        reason: head.reason,
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Reads the head of an answer, and what comes with it.
fn read_head(socket: &mut Socket, wait: Duration) -> Result<(Head, Vec<u8>), HttpError> {
    let deadline = Instant::now() + wait;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(io::Error::from(ErrorKind::TimedOut).into());
        }
        socket.tcp().set_read_timeout(Some(rest))?;
        let length = match socket.read(&mut piece) {
            Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            Ok(length) => length,
            // The time is over, or there is nothing whole yet of what is encrypted.
            Err(error) if is_timeout(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        bytes.extend_from_slice(&piece[..length]);
        if let Some(head) = Head::parse(&bytes)? {
            return Ok((head, bytes));
        }
    }
}

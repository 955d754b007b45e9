//! A connection, bare or encrypted: who reads and writes does not care which.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use door::{Encrypted, Trust};

use super::CONNECT_WAIT;
use crate::MediaError;
use crate::url::{Security, StreamUrl, Transport};

/// A connection. After a time-out, or where only a part of something encrypted has come, reading gives
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
#[derive(Debug)]
pub(super) enum Socket {
    Bare(TcpStream),
    Encrypted(Box<Encrypted>),
}

impl Socket {
    /// What carries it, to set time-outs.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Bare(socket) => socket,
            Self::Encrypted(encrypted) => encrypted.socket(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bare(socket) => socket.read(bytes),
            Self::Encrypted(encrypted) => encrypted.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Bare(socket) => socket.write(bytes),
            Self::Encrypted(encrypted) => encrypted.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Bare(socket) => socket.flush(),
            Self::Encrypted(encrypted) => encrypted.flush(),
        }
    }
}

/// Whom a server's word is believed by; `None` where nothing is encrypted.
pub(super) fn trust(url: &StreamUrl) -> Result<Option<Trust>, MediaError> {
    match &url.transport {
        Transport::Http {
            security: Security::Tls { authorities },
            ..
        } => Ok(Some(Trust::read(authorities.as_deref())?)),
        _ => Ok(None),
    }
}

/// Encrypts a connection to `url`, where somebody is to be trusted.
pub(super) fn encrypt(
    url: &StreamUrl,
    socket: TcpStream,
    trust: Option<&Trust>,
) -> Result<Socket, MediaError> {
    let Some(trust) = trust else {
        return Ok(Socket::Bare(socket));
    };
    let encrypted = trust.connect_and_wait(url.server_name(), socket, CONNECT_WAIT);
    let encrypted = encrypted.map_err(|source| MediaError::Encrypt {
        url: url.to_string(),
        source,
    })?;
    Ok(Socket::Encrypted(Box::new(encrypted)))
}

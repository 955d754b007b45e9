//! Where a client finds an orchestrator.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;

use crate::api::Listen;

/// Port of `https://HOST`.
const HTTPS_PORT: u16 = 443;

/// A place as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `127.0.0.1:PORT` or `[::1]:PORT`, not encrypted.
    Loopback(SocketAddr),
    /// `https://HOST[:PORT]`.
    Https {
        /// A name or an IP address, without brackets.
        host: String,
        /// Where it listens.
        port: u16,
    },
}

/// Why a text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is something else. It is not repeated: somebody may have written a token there.
    #[error("expected unix:PATH, 127.0.0.1:PORT or https://HOST:PORT")]
    Neither,
    /// Others could read along.
    #[error("{0} is another machine: what goes there has to be encrypted, with https://")]
    NotEncrypted(IpAddr),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with("https://") {
            return https(text).ok_or(AddressError::Neither);
        }
        let listen = text.strip_prefix("http://").unwrap_or(text);
        match listen.trim_end_matches('/').parse() {
            Ok(Listen::Tcp(address)) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(Listen::Tcp(address)) => Err(AddressError::NotEncrypted(address.ip())),
            Ok(Listen::Unix(path)) if listen == text => Ok(Self::Unix(path)),
            _ => Err(AddressError::Neither),
        }
    }
}

/// Nothing but a host and a port: no user, no path, no query.
fn https(text: &str) -> Option<Address> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let bare = !authority.as_str().contains('@') && uri.path() == "/" && uri.query().is_none();
    let host = authority.host();
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok()?,
        // `HOST:` has no port, and is no host.
        None if authority.as_str() == host => HTTPS_PORT,
        None => return None,
    };
    (bare && !host.is_empty()).then(|| Address::Https {
        host: inner.unwrap_or(host).to_owned(),
        port,
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => address.fmt(f),
            Self::Https { host, port } if host.contains(':') => {
                write!(f, "https://[{host}]:{port}")
            }
            Self::Https { host, port } => write!(f, "https://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("unix:/run/f.sock", "unix:/run/f.sock"),
            ("127.0.0.1:7373", "127.0.0.1:7373"),
            ("http://127.0.0.1:7373/", "127.0.0.1:7373"),
            ("[::1]:7373", "[::1]:7373"),
            ("https://edge.example", "https://edge.example:443"),
            ("https://edge.example:7373/", "https://edge.example:7373"),
            ("https://192.0.2.1:7373", "https://192.0.2.1:7373"),
            ("https://[2001:db8::1]:7373", "https://[2001:db8::1]:7373"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
    }

    #[test]
    fn neither() {
        for text in [
            "",
            "unix:",
            "http://unix:/a",
            "edge.example:7373",
            "http://edge.example",
            "https://",
            "https://edge.example:",
            "https://edge.example:99999",
            "https://edge.example/v1",
            "https://edge.example?token=canary",
            "https://canary@edge.example",
        ] {
            assert_eq!(
                text.parse::<Address>(),
                Err(AddressError::Neither),
                "{text}"
            );
        }
    }

    #[test]
    fn not_encrypted() {
        for text in ["192.0.2.1:7373", "http://192.0.2.1:7373", "[::]:1"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(matches!(error, AddressError::NotEncrypted(_)), "{text}");
        }
    }
}

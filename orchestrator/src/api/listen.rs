//! Where an orchestrator answers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A unix socket, or an address that only this machine reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `127.0.0.1:PORT` or `[::1]:PORT`.
    Loopback(SocketAddr),
}

/// Why a text is no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// It is something else.
    #[error("{0:?} is neither unix:PATH nor 127.0.0.1:PORT")]
    Neither(String),
    /// Others would reach it.
    #[error(
        "{0} is reached from other machines, and whoever reaches the API may move functions: listen on 127.0.0.1 or a unix \
         socket, and put a server with TLS and its own users before it"
    )]
    NotLoopback(IpAddr),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let neither = || ListenError::Neither(text.chars().take(120).collect());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(neither())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let address: SocketAddr = text.parse().map_err(|_| neither())?;
        if address.ip().is_loopback() {
            Ok(Self::Loopback(address))
        } else {
            Err(ListenError::NotLoopback(address.ip()))
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for text in ["unix:/run/f.sock", "127.0.0.1:7373", "[::1]:7373"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "localhost:1", "7373", "tcp://127.0.0.1:1"] {
            assert!(
                matches!(text.parse::<Listen>(), Err(ListenError::Neither(_))),
                "{text}"
            );
        }
        for text in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert!(
                matches!(text.parse::<Listen>(), Err(ListenError::NotLoopback(_))),
                "{text}"
            );
        }
    }
}

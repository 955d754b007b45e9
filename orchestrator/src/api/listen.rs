//! Where an orchestrator answers.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Places at which one orchestrator answers.
const PLACES_MAX: usize = 8;

/// A unix socket, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `127.0.0.1:PORT`, `[::1]:PORT`, or an address that others reach.
    Tcp(SocketAddr),
}

/// Why a text is no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// It is something else.
    #[error("{0:?} is neither unix:PATH nor ADDRESS:PORT, like 127.0.0.1:7373")]
    Neither(String),
    /// None or too many.
    #[error("listen has {0} places; it takes 1 to {PLACES_MAX}")]
    Count(usize),
}

impl Listen {
    /// The address, where other machines reach it.
    #[must_use]
    pub fn reached_by_others(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) if !address.ip().is_loopback() => Some(*address),
            _ => None,
        }
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let neither = || ListenError::Neither(text.chars().take(120).collect());
        match text.strip_prefix("unix:") {
            Some("") => Err(neither()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| neither()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// One place, or several: a socket for persons on the machine and an address for Prometheus, say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub struct Places(Vec<Listen>);

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "listen is \"PLACE\" or [\"PLACE\", ...]")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Places {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Listen> {
        self.0.iter()
    }
}

impl From<Listen> for Places {
    fn from(listen: Listen) -> Self {
        Self(vec![listen])
    }
}

impl TryFrom<OneOrMany> for Places {
    type Error = ListenError;

    fn try_from(written: OneOrMany) -> Result<Self, ListenError> {
        let texts = match written {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        if !(1..=PLACES_MAX).contains(&texts.len()) {
            return Err(ListenError::Count(texts.len()));
        }
        let places: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
        places.map(Self)
    }
}

impl From<Places> for OneOrMany {
    fn from(places: Places) -> Self {
        let texts: Vec<String> = places.0.iter().map(Listen::to_string).collect();
        match <[String; 1]>::try_from(texts) {
            Ok([text]) => Self::One(text),
            Err(texts) => Self::Many(texts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for text in [
            "unix:/run/f.sock",
            "127.0.0.1:7373",
            "[::1]:7373",
            "0.0.0.0:1",
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn neither() {
        for text in ["", "unix:", "localhost:1", "7373", "tcp://127.0.0.1:1"] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(matches!(error, ListenError::Neither(_)), "{text}");
        }
    }

    #[test]
    fn who_reaches_it() {
        for (text, others) in [
            ("unix:/run/f.sock", false),
            ("127.0.0.1:1", false),
            ("127.3.2.1:1", false),
            ("[::1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("192.0.2.1:1", true),
            ("[2001:db8::1]:1", true),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.reached_by_others().is_some(), others, "{text}");
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        listen: Places,
    }

    #[test]
    fn one_or_many() {
        for (text, count) in [
            ("listen = \"unix:/a\"\n", 1),
            ("listen = [\"unix:/a\", \"127.0.0.1:1\"]\n", 2),
        ] {
            let holder: Holder = toml::from_str(text).unwrap();
            assert_eq!(holder.listen.iter().count(), count);
            let again = toml::to_string(&holder).unwrap();
            assert_eq!(toml::from_str::<Holder>(&again).unwrap(), holder);
        }
    }

    #[test]
    fn count_and_kind() {
        let nine = ["\"unix:/a\""; 9].join(",");
        for (text, words) in [
            ("listen = []".to_owned(), "listen has 0 places"),
            (format!("listen = [{nine}]"), "listen has 9 places"),
            ("listen = 7".to_owned(), "listen is \"PLACE\""),
            ("listen = [\"here\"]".to_owned(), "\"here\" is neither"),
        ] {
            let error = toml::from_str::<Holder>(&text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

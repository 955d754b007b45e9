//! Where a transport stream comes from or goes to.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::MediaError;

/// Port of `http://host/…`.
const HTTP_PORT: u16 = 80;
/// Port of `https://host/…`.
const HTTPS_PORT: u16 = 443;

/// An address of a transport stream:
///
/// | | to receive | to send |
/// |---|---|---|
/// | `udp://host:port` | bound here | sent there |
/// | `udp://239.1.2.3:5000?interface=192.0.2.1&ttl=4` | joins the group | sent to the group |
/// | `rtp://host:port` | the same in RTP, payload type 33 | |
/// | `tcp://host:port` | connects | connects |
/// | `tcp://address:port?listen` | waits for a sender | waits for a receiver |
/// | `http://host:port/path` | GET | POST |
/// | `https://host:port/path` | the same in TLS; [`StreamUrl::vouched_for_by`] | |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl {
    pub(crate) transport: Transport,
    host: String,
    port: u16,
}

/// How the bytes travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp(Multicast),
    Rtp(Multicast),
    Tcp,
    /// TCP; the other end connects.
    TcpListen,
    Http {
        /// Path and query.
        target: String,
        security: Security,
    },
}

/// Whether a connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Open,
    Tls {
        /// PEM file of those who vouch for the server; `None`: whom this system believes.
        authorities: Option<PathBuf>,
    },
}

/// What matters when the host is a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Multicast {
    /// Address of the own interface to join or send at; `None`: the system chooses.
    pub(crate) interface: Option<Ipv4Addr>,
    /// Routers that it may pass; 1 if not given.
    pub(crate) ttl: Option<u8>,
}

/// What is wrong with an address.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Another scheme or none.
    #[error(
        "it must begin with udp://, rtp://, tcp://, http:// or https://, and look like udp://192.0.2.1:5000"
    )]
    Scheme,
    /// A protocol that is known, and not spoken.
    #[error(
        "SRT is not spoken here; `ffmpeg -i 'srt://…' -c copy -f mpegts udp://HOST:PORT` takes it to where forestall receives, and the other way round"
    )]
    Srt,
    /// No host.
    #[error("the host is missing; to receive on every interface write udp://0.0.0.0:PORT")]
    Host,
    /// No port or not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// Name and password before the host.
    #[error("names and passwords in addresses are not supported; give a token as ?token=…")]
    Password,
    /// A path where there is none.
    #[error("a path behind the port is not supported: '{0}'")]
    Path(String),
    /// An option that this scheme has not.
    #[error("options behind the port are not supported: '?{0}'; there are: {1}")]
    Options(String, &'static str),
    /// An option's value cannot be read.
    #[error("the option '{0}' must be {1}")]
    Value(String, &'static str),
    /// A space, a control character or anything but ASCII.
    #[error("'{0}' must be written as %XX")]
    Character(char),
    /// The host has no address.
    #[error("the host cannot be resolved")]
    Resolve(#[source] io::Error),
    /// The name service knows the host but gave no address.
    #[error("the host has no address")]
    NoAddress,
}

const DATAGRAM_OPTIONS: &str = "interface=ADDRESS, ttl=NUMBER (both for a multicast group)";
const TCP_OPTIONS: &str = "listen";

impl FromStr for StreamUrl {
    type Err = MediaError;

    fn from_str(text: &str) -> Result<Self, MediaError> {
        parse(text).map_err(|source| MediaError::Url {
            url: hide_query(text),
            source,
        })
    }
}

fn parse(text: &str) -> Result<StreamUrl, UrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    let transport: fn(&str, &str) -> Result<Transport, UrlError> = match scheme {
        "udp" => |path, query| Ok(Transport::Udp(multicast(path, query)?)),
        "rtp" => |path, query| Ok(Transport::Rtp(multicast(path, query)?)),
        "tcp" => tcp,
        "http" => |path, query| Ok(http(path, query, Security::Open)),
        "https" => |path, query| Ok(http(path, query, Security::Tls { authorities: None })),
        "srt" => return Err(UrlError::Srt),
        _ => return Err(UrlError::Scheme),
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(UrlError::Password);
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(UrlError::Character(bad));
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let default_port = match scheme {
        "http" => Some(HTTP_PORT),
        "https" => Some(HTTPS_PORT),
        _ => None,
    };
    let (host, port) = host_and_port(authority, default_port)?;
    Ok(StreamUrl {
        transport: transport(path, query)?,
        host: host.to_owned(),
        port,
    })
}

fn host_and_port(text: &str, default_port: Option<u16>) -> Result<(&str, u16), UrlError> {
    // The colons inside of [::1] separate nothing.
    let colon = text.rfind(':').filter(|&at| !text[at..].contains(']'));
    let (host, port) = match colon {
        Some(at) => {
            let port = text[at + 1..].parse().ok().filter(|&port: &u16| port > 0);
            (&text[..at], port.ok_or(UrlError::Port)?)
        }
        None => (text, default_port.ok_or(UrlError::Port)?),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains(':') && !is_bracketed {
        return Err(UrlError::Host);
    }
    Ok((host, port))
}

fn no_path(path: &str) -> Result<(), UrlError> {
    if path.is_empty() || path == "/" {
        Ok(())
    } else {
        Err(UrlError::Path(path.to_owned()))
    }
}

/// Name and value of each option; the value is empty without `=`.
fn options(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|option| !option.is_empty())
        .map(|option| option.split_once('=').unwrap_or((option, "")))
}

fn multicast(path: &str, query: &str) -> Result<Multicast, UrlError> {
    no_path(path)?;
    let mut found = Multicast::default();
    for (name, value) in options(query) {
        let wrong = |expected| UrlError::Value(name.to_owned(), expected);
        match name {
            "interface" => {
                let address = value.parse();
                found.interface =
                    Some(address.map_err(|_| wrong("an IPv4 address of this machine"))?);
            }
            "ttl" => {
                let ttl = value.parse();
                found.ttl = Some(ttl.map_err(|_| wrong("a number from 0 to 255"))?);
            }
            _ => return Err(UrlError::Options(query.to_owned(), DATAGRAM_OPTIONS)),
        }
    }
    Ok(found)
}

fn tcp(path: &str, query: &str) -> Result<Transport, UrlError> {
    no_path(path)?;
    match query {
        "" => Ok(Transport::Tcp),
        "listen" | "listen=1" => Ok(Transport::TcpListen),
        other => Err(UrlError::Options(other.to_owned(), TCP_OPTIONS)),
    }
}

fn http(path: &str, query: &str, security: Security) -> Transport {
    let path = path.split('#').next().unwrap_or_default();
    let query = query.split('#').next().unwrap_or_default();
    let mut target = if path.is_empty() { "/" } else { path }.to_owned();
    if !query.is_empty() {
        target = format!("{target}?{query}");
    }
    Transport::Http { target, security }
}

/// For messages: a query may hold a token.
fn hide_query(text: &str) -> String {
    match text.split_once('?') {
        Some((before, _)) if text.starts_with("http") => format!("{before}?…"),
        _ => text.to_owned(),
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, tail) = match &self.transport {
            Transport::Udp(group) => ("udp", group.to_string()),
            Transport::Rtp(group) => ("rtp", group.to_string()),
            Transport::Tcp => ("tcp", String::new()),
            Transport::TcpListen => ("tcp", "?listen".to_owned()),
            Transport::Http {
                target,
                security: Security::Open,
            } => ("http", target.clone()),
            Transport::Http { target, .. } => ("https", target.clone()),
        };
        let text = format!("{scheme}://{}{tail}", self.authority());
        f.write_str(&hide_query(&text))
    }
}

impl fmt::Display for Multicast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = self.interface.map(|address| format!("interface={address}"));
        let ttl = self.ttl.map(|ttl| format!("ttl={ttl}"));
        let options: Vec<String> = interface.into_iter().chain(ttl).collect();
        if options.is_empty() {
            return Ok(());
        }
        write!(f, "?{}", options.join("&"))
    }
}

impl StreamUrl {
    /// The same address; who answers at `https://` has to be vouched for by the authorities in this PEM file, or where there is
    /// none by those that this system believes. It is read when the stream is opened.
    #[must_use]
    pub fn vouched_for_by(mut self, file: Option<&Path>) -> Self {
        if let Transport::Http {
            security: Security::Tls { authorities },
            ..
        } = &mut self.transport
        {
            *authorities = file.map(Path::to_owned);
        }
        self
    }

    /// Name or address, as a certificate has it.
    pub(crate) fn server_name(&self) -> &str {
        let bare = self.host.strip_prefix('[');
        bare.and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn resolve(&self) -> Result<SocketAddr, MediaError> {
        let failed = |source| MediaError::Url {
            url: self.to_string(),
            source,
        };
        let mut addresses = self
            .authority()
            .to_socket_addrs()
            .map_err(|e| failed(UrlError::Resolve(e)))?;
        addresses.next().ok_or_else(|| failed(UrlError::NoAddress))
    }

    pub(crate) fn socket_error(&self, source: io::Error) -> MediaError {
        MediaError::Socket {
            url: self.to_string(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses() {
        for good in [
            "udp://127.0.0.1:5000",
            "udp://0.0.0.0:1",
            "udp://[::1]:65535",
            "udp://edge-1:7000",
            "udp://239.1.2.3:5000?interface=192.0.2.1&ttl=4",
            "rtp://239.1.2.3:5000?ttl=0",
            "tcp://127.0.0.1:5000",
            "tcp://0.0.0.0:5000?listen",
            "http://edge-1:8080/robot.ts",
            "https://edge-1:8443/robot.ts",
        ] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        let defaults = parse("http://[::1]").unwrap();
        assert_eq!(defaults.to_string(), "http://[::1]:80/");
        let encrypted = parse("https://[::1]").unwrap();
        assert_eq!(encrypted.to_string(), "https://[::1]:443/");
        assert_eq!(encrypted.server_name(), "::1");
        assert_eq!(
            parse("tcp://a:1?listen=1").unwrap(),
            parse("tcp://a:1/?listen").unwrap()
        );
    }

    fn check(text: &str, expected: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn scheme() {
        check("srt://127.0.0.1:5000", "SRT is not spoken here");
        check(
            "rtmp://127.0.0.1:5000",
            "udp://, rtp://, tcp://, http:// or https://",
        );
        check("httpss://127.0.0.1:5000/x.ts", "must begin with");
        check("127.0.0.1:5000", "must begin with");
        check("", "must begin with");
    }

    #[test]
    fn port() {
        check("udp://127.0.0.1", "port");
        check("udp://127.0.0.1:0", "port");
        check("udp://127.0.0.1:65536", "port");
        check("tcp://127.0.0.1:", "port");
        check("http://a:b/", "port");
        check("udp://[::1]", "port");
    }

    #[test]
    fn host() {
        check("udp://:5000", "host is missing");
        check("udp://::1:5000", "host is missing");
        check("http:///x.ts", "host is missing");
    }

    #[test]
    fn password() {
        check("http://me:secret@edge/x.ts", "?token=");
    }

    #[test]
    fn path() {
        check("udp://127.0.0.1:5000/x", "not supported: '/x'");
    }

    #[test]
    fn unknown_options() {
        check(
            "udp://127.0.0.1:5000?pkt_size=1316",
            "not supported: '?pkt_size=1316'; there are: interface=ADDRESS, ttl",
        );
        check("tcp://127.0.0.1:5000?ttl=1", "there are: listen");
    }

    #[test]
    fn values() {
        check("udp://239.0.0.1:5?ttl=256", "'ttl' must be a number");
        check("udp://239.0.0.1:5?interface=eth0", "an IPv4 address");
    }

    #[test]
    fn characters() {
        check("http://edge/a b", "' ' must be written as %XX");
        check("http://edge/a\r\nHost:b", "must be written as %XX");
    }

    #[test]
    fn a_token_stays_out_of_messages() {
        let url = parse("http://edge/robot.ts?token=secret").unwrap();
        assert_eq!(url.to_string(), "http://edge:80/robot.ts?…");
        let url = parse("https://edge/robot.ts?token=secret").unwrap();
        assert_eq!(url.to_string(), "https://edge:443/robot.ts?…");
        let error = "http://ed ge/?token=secret".parse::<StreamUrl>();
        assert!(!error.unwrap_err().to_string().contains("secret"));
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "(udp|tcp|rtp|https?)?(://)?[ -~é\\[\\]:/?&=@#]{0,40}") {
            if let Ok(url) = parse(&text)
                && !text.contains('?')
            {
                prop_assert_eq!(parse(&url.to_string()).unwrap(), url);
            }
        }
    }
}

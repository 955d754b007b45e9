//! Asks a running orchestrator.

mod address;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use door::{Trust, TrustError};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::snmp::{Secret, SecretError, SecretSource};

pub use address::{Address, AddressError};

/// An orchestrator that has not answered after this does not.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a client calls the orchestrator, whose socket has no name.
pub(crate) const CLIENT_HOST: &str = "forestall";
/// Longest answer that is read: a view of 10,000 hosts and 100,000 functions is a tenth of it.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no token.
    #[error("the token for the orchestrator: {0}")]
    Token(#[from] SecretError),
    /// The token cannot stand in the head of a request.
    #[error(
        "the token for the orchestrator cannot be one: it has to be letters, digits and signs of ASCII, without spaces"
    )]
    Letters,
    /// Nobody's word for the orchestrator's name is believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nobody is there.
    #[error(
        "no orchestrator answers on {address}: {source}. Is `forestall orchestrate` running, with `listen` in its [api]? \
         `--api` names another place"
    )]
    Connect {
        /// Where.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// It has not proved who it is, or speaks no TLS.
    #[error(
        "no encrypted connection to {address}: {source}. `--ca` names a file with the authority that vouches for it"
    )]
    Encrypt {
        /// Where.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the orchestrator on {address} ended the conversation: {why}")]
    Broken {
        /// Where.
        address: Address,
        /// Why.
        why: String,
    },
    /// It does not answer.
    #[error("the orchestrator on {address} has not answered after {} s", ANSWER_WITHIN.as_secs())]
    Silent {
        /// Where.
        address: Address,
    },
    /// It says no, and why.
    #[error("{why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// Something else answers there, or another version.
    #[error("what answers on {address} is not an orchestrator of this version: {why}")]
    NotOurs {
        /// Where.
        address: Address,
        /// What is wrong.
        why: String,
    },
}

/// What a client has to show, and whom it believes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Where its token is.
    pub token: Option<SecretSource>,
    /// Authorities that vouch for an orchestrator behind `https://`, PEM; those of this system where there are none.
    pub authorities: Option<PathBuf>,
}

/// The way to an orchestrator.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    /// What stands in the head of each request.
    authorization: Option<HeaderValue>,
    /// For an address that needs it.
    trust: Option<Trust>,
}

impl Client {
    /// The orchestrator that answers there.
    ///
    /// # Errors
    /// When the token or the authorities cannot be read.
    pub fn new(address: Address, credentials: &Credentials) -> Result<Self, ClientError> {
        let token = credentials
            .token
            .as_ref()
            .map(SecretSource::read)
            .transpose()?;
        let authorities = credentials.authorities.as_deref();
        let trust = match &address {
            Address::Https { .. } => Some(Trust::read(authorities)?),
            Address::Unix(_) | Address::Loopback(_) => None,
        };
        Ok(Self {
            authorization: token.as_ref().map(bearer).transpose()?,
            address,
            trust,
        })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When there is no answer, or it is no.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Wants something changed.
    ///
    /// # Errors
    /// When there is no answer, or it is no.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(&error))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let asking = async {
            let connect = |source| ClientError::Connect {
                address: self.address.clone(),
                source,
            };
            match &self.address {
                Address::Unix(socket) => {
                    let stream = UnixStream::connect(socket).await.map_err(connect)?;
                    self.over(stream, method, path, body).await
                }
                Address::Loopback(address) => {
                    let stream = TcpStream::connect(address).await.map_err(connect)?;
                    self.over(stream, method, path, body).await
                }
                Address::Https { host, port } => {
                    let place = (host.as_str(), *port);
                    let stream = TcpStream::connect(place).await.map_err(connect)?;
                    let trust = match &self.trust {
                        Some(trust) => trust.clone(),
                        None => Trust::read(None)?,
                    };
                    let shaken = trust.connect(host, stream).await;
                    let stream = shaken.map_err(|source| ClientError::Encrypt {
                        address: self.address.clone(),
                        source,
                    })?;
                    self.over(stream, method, path, body).await
                }
            }
        };
        let answered = timeout(ANSWER_WITHIN, asking).await;
        let (status, answer) = answered.map_err(|_| ClientError::Silent {
            address: self.address.clone(),
        })??;
        let not_ours = |why: &dyn std::fmt::Display| ClientError::NotOurs {
            address: self.address.clone(),
            why: why.to_string(),
        };
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| not_ours(&error));
        }
        match serde_json::from_slice::<serde_json::Value>(&answer) {
            Ok(value) if value["error"].is_string() => Err(ClientError::Refused {
                why: value["error"].as_str().unwrap_or_default().to_owned(),
            }),
            _ => Err(not_ours(&format!(
                "{status}: {}",
                String::from_utf8_lossy(&answer)
                    .chars()
                    .take(200)
                    .collect::<String>()
            ))),
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let shake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shake.map_err(|error| self.broken(&error))?;
        let carried = tokio::spawn(connection);
        let host = match &self.address {
            Address::Unix(_) => CLIENT_HOST.to_owned(),
            Address::Loopback(address) => address.to_string(),
            https @ Address::Https { .. } => https.to_string().split_off("https://".len()),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body
            .collect()
            .await
            .map_err(|error| self.broken(error.as_ref()))?;
        carried.abort();
        Ok((status, body.to_bytes()))
    }

    fn broken(&self, why: &(dyn std::error::Error + 'static)) -> ClientError {
        ClientError::Broken {
            address: self.address.clone(),
            why: why.to_string(),
        }
    }
}

/// The value of `Authorization`, which is shown in no debug form.
fn bearer(token: &Secret) -> Result<HeaderValue, ClientError> {
    let value = [b"Bearer ", token.bytes()].concat();
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| ClientError::Letters)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_in_no_debug_form() {
        let client = Client {
            address: Address::Unix("/run/s".into()),
            authorization: Some(bearer(&Secret::new("canary-7")).unwrap()),
            trust: None,
        };
        assert!(!format!("{client:?}").contains("canary"));
        assert!(matches!(
            bearer(&Secret::new("a\u{7}")),
            Err(ClientError::Letters)
        ));
    }
}

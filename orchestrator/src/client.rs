//! Asks a running orchestrator.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::api::Listen;

/// An orchestrator that has not answered after this does not.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a client calls the orchestrator, whose socket has no name.
pub(crate) const CLIENT_HOST: &str = "forestall";
/// Longest answer that is read: a view of 10,000 hosts and 100,000 functions is a tenth of it.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no orchestrator answers on {listen}: {source}. Is `forestall orchestrate` running, with `listen` in its [api]? \
         `--api` names another place"
    )]
    Connect {
        /// Where.
        listen: Listen,
        /// The cause.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the orchestrator on {listen} ended the conversation: {why}")]
    Broken {
        /// Where.
        listen: Listen,
        /// Why.
        why: String,
    },
    /// It does not answer.
    #[error("the orchestrator on {listen} has not answered after {} s", ANSWER_WITHIN.as_secs())]
    Silent {
        /// Where.
        listen: Listen,
    },
    /// It says no, and why.
    #[error("{why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// Something else answers there, or another version.
    #[error("what answers on {listen} is not an orchestrator of this version: {why}")]
    NotOurs {
        /// Where.
        listen: Listen,
        /// What is wrong.
        why: String,
    },
}

/// The way to an orchestrator.
#[derive(Clone, Debug)]
pub struct Client {
    listen: Listen,
}

impl Client {
    /// The orchestrator that answers there.
    #[must_use]
    pub const fn new(listen: Listen) -> Self {
        Self { listen }
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
                listen: self.listen.clone(),
                source,
            };
            match &self.listen {
                Listen::Unix(socket) => {
                    let stream = UnixStream::connect(socket).await.map_err(connect)?;
                    self.over(stream, method, path, body).await
                }
                Listen::Loopback(address) => {
                    let stream = TcpStream::connect(address).await.map_err(connect)?;
                    self.over(stream, method, path, body).await
                }
            }
        };
        let answered = timeout(ANSWER_WITHIN, asking).await;
        let (status, answer) = answered.map_err(|_| ClientError::Silent {
            listen: self.listen.clone(),
        })??;
        let not_ours = |why: &dyn std::fmt::Display| ClientError::NotOurs {
            listen: self.listen.clone(),
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
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", CLIENT_HOST)
            .header("content-type", "application/json")
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
            listen: self.listen.clone(),
            why: why.to_string(),
        }
    }
}

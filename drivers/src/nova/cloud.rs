//! Keystone's token and Nova's address, and requests with both.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::{MICROVERSION, advice, message, retry_after};
use super::credentials::{Credentials, CredentialsError};

/// A service that has not answered a question after this does not. An inspection asks up to five times in a row (a token that turns
/// out to be spent, the server, a new token, the server again, the hosts), and it is waited for for 30 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The same where something is to be done, which Nova begins before it answers.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Of what a service says of a failure, so much is kept.
const WORDS_MAX: usize = 500;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloudError {
    /// It was refused: nothing was done.
    #[error("{status}: {why}")]
    Refused {
        status: StatusCode,
        why: String,
        /// Nothing more is to be asked for so long.
        pause: Option<Duration>,
    },
    /// It may have been done.
    #[error("{0}")]
    NoAnswer(String),
}

impl CloudError {
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// What was asked of does not go together with how the server is.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::CONFLICT)
    }
}

/// An answer that was good.
pub(super) struct Answer {
    /// The number by which Nova's records know the request.
    pub(super) request_id: Option<String>,
    body: Vec<u8>,
}

/// A way in.
#[derive(Clone)]
struct Session {
    token: String,
    compute: String,
}

pub(super) struct Cloud {
    http: Client,
    credentials: Credentials,
    session: Mutex<Entry>,
    /// It was asked too often, and nothing is asked until then.
    paused: std::sync::Mutex<Option<Paused>>,
}

struct Paused {
    until: Instant,
    status: StatusCode,
    why: String,
}

/// The way in, or when and why there was none.
#[derive(Default)]
struct Entry {
    session: Option<Session>,
    refused: Option<(Instant, String)>,
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cloud")
            .field(&self.credentials.auth_url)
            .finish()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    catalog: Vec<CatalogEntry>,
}

#[derive(Deserialize)]
struct CatalogEntry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    region_id: Option<String>,
    url: String,
}

impl Cloud {
    pub(super) fn new(credentials: Credentials) -> Result<Self, CredentialsError> {
        let mut http = Client::builder()
            .timeout(ANSWER_WITHIN)
            // A token is for whom it was asked, and goes nowhere else.
            .redirect(Policy::none());
        if let Some(path) = &credentials.ca_file {
            let wrong = |why: String| CredentialsError::Certificate {
                path: path.clone(),
                why,
            };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let trusted =
                Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
            if trusted.is_empty() {
                return Err(wrong("it has no PEM block".into()));
            }
            for certificate in trusted {
                http = http.add_root_certificate(certificate);
            }
        }
        let http = http
            .build()
            .map_err(|error| CredentialsError::Certificate {
                path: credentials.ca_file.clone().unwrap_or_default(),
                why: error.to_string(),
            })?;
        Ok(Self {
            http,
            credentials,
            session: Mutex::default(),
            paused: std::sync::Mutex::default(),
        })
    }

    fn paused(&self) -> MutexGuard<'_, Option<Paused>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is asked now.
    pub(super) fn is_paused(&self) -> bool {
        self.check_pause().is_err()
    }

    /// That nothing is asked now, if so: it would be refused, and counted.
    fn check_pause(&self) -> Result<(), CloudError> {
        let now = Instant::now();
        match self.paused().as_ref().filter(|paused| now < paused.until) {
            Some(paused) => Err(CloudError::Refused {
                status: paused.status,
                why: format!(
                    "{} (as it said before; asked again in {:.0} s)",
                    paused.why,
                    (paused.until - now).as_secs_f64().ceil()
                ),
                pause: None,
            }),
            None => Ok(()),
        }
    }

    /// Asks Nova and reads the answer.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, CloudError> {
        let answer = self.send(Method::GET, path, query, None).await?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            CloudError::NoAnswer(format!(
                "{path}: what Nova answers is not understood: {error}"
            ))
        })
    }

    /// Has Nova do something.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CloudError> {
        self.send(method, path, &[], body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, CloudError> {
        // What is to be done is said at once: a move that is to end must not wait for questions to be welcome again.
        if method == Method::GET {
            self.check_pause()?;
        }
        let sent = self.send_now(method, path, query, body).await;
        if let Err(CloudError::Refused {
            status,
            why,
            pause: Some(pause),
        }) = &sent
        {
            *self.paused() = Some(Paused {
                until: Instant::now() + *pause,
                status: *status,
                why: why.clone(),
            });
        }
        sent
    }

    async fn send_now(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, CloudError> {
        let mut spent: Option<String> = None;
        loop {
            let session = self.session(spent.as_deref()).await?;
            let mut request = self
                .http
                .request(method.clone(), format!("{}{path}", session.compute))
                .query(query)
                .header("X-Auth-Token", &session.token)
                .header("OpenStack-API-Version", MICROVERSION);
            if let Some(body) = body {
                request = request.json(body);
            }
            if method != Method::GET {
                request = request.timeout(TAKEN_WITHIN);
            }
            match answer(request.send().await).await {
                // The token has expired or was revoked: nothing was done, so it may be said again.
                Err(CloudError::Refused { status, .. })
                    if status == StatusCode::UNAUTHORIZED && spent.is_none() =>
                {
                    spent = Some(session.token);
                }
                Err(error) => return Err(error),
                Ok((_, answer)) => return Ok(answer),
            }
        }
    }

    /// A way in by another token than the one that is spent. One asks Keystone at a time, and those who wait take what it got: a Keystone
    /// that does not answer keeps all of them no longer than one.
    async fn session(&self, spent: Option<&str>) -> Result<Session, CloudError> {
        let wanted_at = Instant::now();
        let mut entry = self.session.lock().await;
        if let Some(session) = &entry.session
            && spent != Some(&session.token)
        {
            return Ok(session.clone());
        }
        if let Some((at, why)) = &entry.refused
            && *at >= wanted_at
        {
            return Err(CloudError::NoAnswer(why.clone()));
        }
        let entered = self.enter().await;
        *entry = match &entered {
            Ok(session) => Entry {
                session: Some(session.clone()),
                refused: None,
            },
            Err(error) => Entry {
                session: None,
                refused: Some((Instant::now(), error.to_string())),
            },
        };
        entered
    }

    /// Asks Keystone for a token, and looks Nova up in what it knows.
    async fn enter(&self) -> Result<Session, CloudError> {
        let url = format!("{}/auth/tokens", self.credentials.auth_url);
        let asked = self.http.post(url).json(&self.credentials.request).send();
        let (token, answered) = answer(asked.await).await?;
        let token = token.ok_or_else(|| CloudError::NoAnswer("Keystone gives no token".into()))?;
        let catalog = serde_json::from_slice::<TokenAnswer>(&answered.body)
            .map_err(|error| {
                CloudError::NoAnswer(format!("what Keystone answers is not understood: {error}"))
            })?
            .token
            .catalog;
        let compute = catalog
            .iter()
            .filter(|entry| entry.kind == "compute")
            .flat_map(|entry| &entry.endpoints)
            .find(|endpoint| {
                endpoint.interface == self.credentials.interface
                    && (self.credentials.region.is_none()
                        || endpoint.region_id == self.credentials.region)
            })
            .ok_or_else(|| {
                CloudError::NoAnswer(format!(
                    "the catalogue has no {} compute endpoint{}",
                    self.credentials.interface,
                    self.credentials
                        .region
                        .as_ref()
                        .map_or(String::new(), |region| format!(" in {region}"))
                ))
            })?;
        Ok(Session {
            token,
            compute: compute.url.trim_end_matches('/').to_owned(),
        })
    }
}

/// The token in an answer, if there is one, and the answer.
async fn answer(sent: reqwest::Result<Response>) -> Result<(Option<String>, Answer), CloudError> {
    let silent = |error: reqwest::Error| {
        // Its source says what happened; its own words say little more than the address.
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        CloudError::NoAnswer(format!("{error}{}", source.unwrap_or_default()))
    };
    let mut response = sent.map_err(silent)?;
    let status = response.status();
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let (token, request_id) = (header("x-subject-token"), header("x-openstack-request-id"));
    let wait = header("retry-after");
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(silent)? {
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(CloudError::NoAnswer(format!(
                "the answer is over {} MiB",
                ANSWER_BYTES_MAX >> 20
            )));
        }
        body.extend_from_slice(&part);
    }
    if status.is_success() {
        return Ok((token, Answer { request_id, body }));
    }
    let why = message(&body).unwrap_or_else(|| "no reason given".into());
    let why: String = why.chars().take(WORDS_MAX).collect();
    let code = status.as_u16();
    let why = match advice(code, &why) {
        Some(advice) => format!("{}. {advice}", why.trim_end_matches('.')),
        None => why,
    };
    // What a server in trouble says is no word on whether it has done it.
    Err(if status.is_client_error() {
        let is_too_often = matches!(code, 413 | 429);
        let pause = is_too_often.then(|| retry_after(wait.as_deref(), &body));
        CloudError::Refused { status, why, pause }
    } else {
        CloudError::NoAnswer(format!("{status}: {why}"))
    })
}

//! Fuzzing: whatever is asked, no panic, an error is JSON, and nothing reaches the loop but what was understood and allowed.
//!
//! `cargo test` runs it for about a second with random inputs; `make fuzz` for longer.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use bolero::{TypeGenerator, check};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::access::Tokens;
use super::example::site;
use super::guard::{Guard, REPORTS};
use super::{Right, guarded, routes};
use crate::journal::Journal;
use crate::run;

const READER: &str = "Bearer reader-0123456789";
const OPERATOR: &str = "Bearer operator-0123456789";
const REPORTER: &str = "Bearer reporter-0123456789";
/// Of which paths and queries are made; `a` is a host, `f` a function.
const WORDS: [&str; 26] = [
    "v1",
    "hosts",
    "a",
    "load",
    "why",
    "drain",
    "undrain",
    "forget-knee",
    "functions",
    "f",
    "move",
    "approve",
    "release",
    "moves",
    "1",
    "arm",
    "disarm",
    "status",
    "site",
    "metrics",
    "reports",
    "since_s",
    "limit",
    "NaN",
    "-1",
    "openapi.json",
];
/// Longer than any answer to the example.
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, TypeGenerator)]
enum Piece {
    Known(u8),
    Number(u64),
    Real(f64),
    Bytes(Vec<u8>),
}

#[derive(Debug, TypeGenerator)]
enum Said {
    Nothing,
    Object,
    Target(Piece),
    Report([f64; 4], u32, bool),
    Bytes(Vec<u8>),
}

#[derive(Debug, TypeGenerator)]
enum Token {
    None,
    Reader,
    Operator,
    Reporter,
    Other(Vec<u8>),
}

#[derive(Debug, TypeGenerator)]
struct Asked {
    post: bool,
    path: Vec<Piece>,
    query: Vec<(Piece, Piece)>,
    said: Said,
    token: Token,
}

impl Piece {
    fn text(&self) -> String {
        match self {
            Self::Known(at) => WORDS[usize::from(*at) % WORDS.len()].to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Real(real) => real.to_string(),
            Self::Bytes(bytes) => bytes.iter().map(|byte| format!("%{byte:02x}")).collect(),
        }
    }
}

impl Asked {
    fn request(&self) -> Option<Request<Body>> {
        let path: Vec<String> = self.path.iter().map(Piece::text).collect();
        let query = self
            .query
            .iter()
            .map(|(key, value)| format!("{}={}", key.text(), value.text()));
        let query: Vec<String> = query.collect();
        let uri = format!("/{}?{}", path.join("/"), query.join("&"));
        let body = match &self.said {
            Said::Nothing => Vec::new(),
            Said::Object => b"{}".to_vec(),
            Said::Target(piece) => format!("{{\"target\":\"{}\"}}", piece.text()).into_bytes(),
            Said::Report([ago, span, age, worst], frames, known) => {
                let spread = serde_json::json!({ "median": age, "p95": age, "max": worst });
                serde_json::json!({
                    "function": if *known { "f" } else { "a" }, "viewer": "v", "ago_ms": ago, "span_ms": span,
                    "frames": frames, "freezes": 0, "picture_age_ms": spread, "frame_interval_ms": null,
                })
                .to_string()
                .into_bytes()
            }
            Said::Bytes(bytes) => bytes.clone(),
        };
        let mut request = Request::new(Body::from(body));
        *request.uri_mut() = uri.parse::<Uri>().ok()?;
        if self.post {
            *request.method_mut() = Method::POST;
        }
        let token = match &self.token {
            Token::None => None,
            Token::Reader => HeaderValue::from_str(READER).ok(),
            Token::Operator => HeaderValue::from_str(OPERATOR).ok(),
            Token::Reporter => HeaderValue::from_str(REPORTER).ok(),
            Token::Other(bytes) => HeaderValue::from_bytes(bytes).ok(),
        };
        let headers = request.headers_mut();
        headers.extend(token.map(|token| (header::AUTHORIZATION, token)));
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Some(request)
    }

    fn right(&self) -> Option<Right> {
        match &self.token {
            Token::Reader => Some(Right::Read),
            Token::Operator => Some(Right::Operate),
            Token::Reporter => Some(Right::Report),
            Token::None | Token::Other(_) => None,
        }
    }
}

/// The API of the example, and how often its loop was told something. It decides nothing.
fn served(journal: PathBuf) -> (Router, Arc<AtomicUsize>) {
    let (requests_in, mut requests) = mpsc::channel(8);
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            match request {
                run::Request::Site(answer) => drop(answer.send(site())),
                run::Request::Report(report, answer) => {
                    assert_eq!(report.check(), Ok(()));
                    count.fetch_add(1, Ordering::Relaxed);
                    let _ = answer.send(Ok(()));
                }
                run::Request::Tell(_, answer) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    drop(answer.send(Vec::new()));
                }
            }
        }
    });
    let tokens = Tokens::of(&[
        (Right::Read, &READER["Bearer ".len()..]),
        (Right::Operate, &OPERATOR["Bearer ".len()..]),
        (Right::Report, &REPORTER["Bearer ".len()..]),
    ]);
    let routes = routes::router(journal, requests_in);
    (guarded(routes, Guard::here(Some(tokens))), told)
}

/// The API of the example, asked from outside of its runtime.
struct Served {
    runtime: Runtime,
    router: TowerToHyperService<Router>,
    told: Arc<AtomicUsize>,
}

impl Served {
    fn new(journal: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (router, told) = runtime.block_on(async { served(journal) });
        Self {
            runtime,
            router: TowerToHyperService::new(router),
            told,
        }
    }

    fn check(&self, asked: &Asked) {
        let Some(request) = asked.request() else {
            return;
        };
        let page = ["/", "/dashboard.js", "/dashboard.css"].contains(&request.uri().path());
        let report = asked.post && request.uri().path() == REPORTS;
        let before = self.told.load(Ordering::Relaxed);
        let (status, body) = self.runtime.block_on(async {
            let answer = self.router.call(request).await.unwrap();
            let status = answer.status();
            let body = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
            (status, body.unwrap())
        });
        let error = serde_json::from_slice::<serde_json::Value>(&body);
        let error = error.is_ok_and(|value| value["error"].is_string());
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status.is_success(), !error, "{status} {text}");
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
        match (asked.right(), asked.post) {
            (None | Some(Right::Report), false) if page => {}
            // What is asked with random bytes for a token is none's.
            (None, _) => assert_eq!(status, StatusCode::UNAUTHORIZED),
            (Some(Right::Report), _) if report => assert_ne!(status, StatusCode::FORBIDDEN),
            (Some(Right::Read), true) | (Some(Right::Report), _) => {
                assert_eq!(status, StatusCode::FORBIDDEN);
            }
            _ => assert_ne!(status, StatusCode::UNAUTHORIZED),
        }
        // The loop of the example decides nothing: a move that it was told of is answered as if it were ending.
        let understood = status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE;
        let told = self.told.load(Ordering::Relaxed) - before;
        assert!(
            told <= usize::from(asked.post && understood),
            "{status} {asked:?}"
        );
    }
}

#[test]
fn anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    drop(Journal::open(&journal, 1 << 20).unwrap());
    // A panic ends the test: nobody looks at what it left.
    let served = AssertUnwindSafe(Served::new(journal));
    check!()
        .with_type::<Asked>()
        .for_each(|asked| served.check(asked));
}

//! What is around every request and every answer: a body is whole before anything is done of it, an error is JSON, and a browser
//! is told what it may do with an answer.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

/// Longest body of a request: the longest that means something is a tenth of it.
pub(super) const BODY_BYTES_MAX: usize = 16 << 10;
/// A body that is not whole after this never is.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Words of an error that are told.
const WORDS_BYTES_MAX: usize = 4 << 10;

/// The page asks this server and nobody else, and no other page may show it: who clicks shall see on what.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Reads the whole body first. What is half said changes nothing, and who says it slowly holds nothing but the connection.
pub(super) async fn whole(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, bytes.into())).await,
        Ok(Err(_)) => {
            let words = format!("a body has {BODY_BYTES_MAX} bytes at most");
            error(StatusCode::PAYLOAD_TOO_LARGE, &words)
        }
        Err(_) => error(StatusCode::REQUEST_TIMEOUT, "the body did not come"),
    }
}

/// Sets what browsers go by, and makes JSON of errors that are text, as those of paths, queries and bodies are.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    let is_json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
    let is_error = status.is_client_error() || status.is_server_error();
    if is_error
        && !response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(is_json)
    {
        let (head, body) = response.into_parts();
        let text = to_bytes(body, WORDS_BYTES_MAX).await.unwrap_or_default();
        let words = match status.canonical_reason() {
            Some(reason) if text.is_empty() => Cow::Borrowed(reason),
            _ => String::from_utf8_lossy(&text),
        };
        response = error(status, &words);
        if let Some(allowed) = head.headers.get(header::ALLOW) {
            let allowed = allowed.clone();
            response.headers_mut().insert(header::ALLOW, allowed);
        }
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

fn error(status: StatusCode, words: &str) -> Response {
    (status, Json(serde_json::json!({ "error": words }))).into_response()
}

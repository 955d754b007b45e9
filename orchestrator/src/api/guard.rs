//! Whose request is answered: not a foreign page's, and over an address that has tokens only who has one.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Right;
use super::access::Tokens;
use crate::client::CLIENT_HOST;

/// The dashboard itself. It shows nothing before it has asked, and a browser sends no token for a page.
const PAGES: [&str; 3] = ["/", "/dashboard.js", "/dashboard.css"];

/// Where viewers say what they see.
pub(super) const REPORTS: &str = "/v1/reports";

/// What one place at which the API answers asks of a request.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// `None`: whoever gets here may do everything.
    tokens: Option<Tokens>,
    names: Names,
}

/// What the server may be called in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// As this machine calls itself: a foreign name that was made to lead here brings a foreign page.
    Ours,
    /// As others call it. Its certificate says whether they are right.
    Any,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Name,
    NoToken,
    /// This one is needed.
    Right(Right),
    Form,
    ForeignPage,
}

impl Guard {
    /// A unix socket, or an address of this machine alone.
    pub(super) const fn here(tokens: Option<Tokens>) -> Self {
        Self {
            tokens,
            names: Names::Ours,
        }
    }

    /// An address that others reach.
    pub(super) const fn open(tokens: Option<Tokens>) -> Self {
        Self {
            tokens,
            names: Names::Any,
        }
    }

    fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refused> {
        let needed = match *method {
            Method::GET | Method::HEAD => Right::Read,
            Method::POST if path == REPORTS => Right::Report,
            _ => Right::Operate,
        };
        if self.names == Names::Ours && !headers.get(header::HOST).is_some_and(is_ours) {
            return Err(Refused::Name);
        }
        if let Some(tokens) = &self.tokens
            && !(needed == Right::Read && PAGES.contains(&path))
        {
            let given = headers.get(header::AUTHORIZATION);
            let given = given.and_then(|value| value.to_str().ok());
            let right = given.and_then(door::bearer).and_then(|t| tokens.right(t));
            if !right.ok_or(Refused::NoToken)?.covers(needed) {
                return Err(Refused::Right(needed));
            }
        }
        if needed != Right::Read {
            not_foreign(headers)?;
        }
        Ok(())
    }
}

pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    match guard.check(request.method(), path, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, words) = match self {
            Self::Name => (
                StatusCode::MISDIRECTED_REQUEST,
                "the host of a request is 127.0.0.1, [::1] or localhost",
            ),
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "a token is needed, in a header Authorization: Bearer TOKEN, and the one that was given, if any, is none of the \
                 orchestrator's",
            ),
            Self::Right(needed) => (
                StatusCode::FORBIDDEN,
                match needed {
                    Right::Report => "this token does not have the right to report",
                    Right::Read => "this token does not have the right to read",
                    Right::Operate => "this token does not have the right to operate",
                },
            ),
            Self::Form => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a request that changes something has content-type: application/json",
            ),
            Self::ForeignPage => (
                StatusCode::FORBIDDEN,
                "a page of another server changes nothing here",
            ),
        };
        let json = Json(serde_json::json!({ "error": words }));
        if self == Self::NoToken {
            let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (status, scheme, json).into_response();
        }
        (status, json).into_response()
    }
}

/// A page of another server that a person looks at may send a form here, but not with this type: a browser asks first, and is
/// not answered. And a browser says of each request that changes something which page it comes from.
fn not_foreign(headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: HeaderName| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or_default())
    };
    // Parameters (`; charset=utf-8`) change nothing of what it is (RFC 9110, section 8.3.1).
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Refused::Form);
    }
    // Said of encrypted and loopback addresses by browsers of today, and true behind a proxy that names another host, too.
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return match site {
            "same-origin" | "none" => Ok(()),
            _ => Err(Refused::ForeignPage),
        };
    }
    match text(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let page = origin.split_once("://").map(|(_, authority)| authority);
            let is_ours = page.is_some() && page == text(header::HOST);
            is_ours.then_some(()).ok_or(Refused::ForeignPage)
        }
    }
}

/// Whether a request was sent to this machine by its own name, or over the unix socket.
fn is_ours(host: &HeaderValue) -> bool {
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    let loopback = |ip: IpAddr| ip.is_loopback();
    name == "localhost" || name == CLIENT_HOST || name.parse().is_ok_and(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: &str = "Bearer reader-0123456789";
    const OPERATOR: &str = "Bearer operator-0123456789";
    const REPORTER: &str = "Bearer reporter-0123456789";

    fn tokens() -> Option<Tokens> {
        Some(Tokens::of(&[
            (Right::Read, &READER["Bearer ".len()..]),
            (Right::Operate, &OPERATOR["Bearer ".len()..]),
            (Right::Report, &REPORTER["Bearer ".len()..]),
        ]))
    }

    /// `METHOD PATH`, and `name: value` of its head.
    fn check(guard: &Guard, request: &str, head: &[(&'static str, &str)]) -> Result<(), Refused> {
        let (method, path) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "127.0.0.1:7373"),
            ("content-type", "application/json"),
        ]
        .iter()
        .chain(head)
        {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        guard.check(&method.parse().unwrap(), path, &headers)
    }

    #[test]
    fn no_token_and_right() {
        for guard in [Guard::here(tokens()), Guard::open(tokens())] {
            let check =
                |request: &str, token: &str| check(&guard, request, &[("authorization", token)]);
            for request in ["GET /v1/status", "GET /metrics", "HEAD /v1/site", "GET //"] {
                for token in [
                    "",
                    "Bearer",
                    "Bearer ",
                    "Bearer wrong",
                    "Basic reader-0123456789",
                ] {
                    assert_eq!(
                        check(request, token),
                        Err(Refused::NoToken),
                        "{request} {token}"
                    );
                }
                assert_eq!(check(request, READER), Ok(()));
                assert_eq!(check(request, OPERATOR), Ok(()));
                assert_eq!(check(request, REPORTER), Err(Refused::Right(Right::Read)));
            }
            let report = "POST /v1/reports";
            assert_eq!(check(report, REPORTER), Ok(()));
            assert_eq!(check(report, OPERATOR), Ok(()));
            assert_eq!(check(report, READER), Err(Refused::Right(Right::Report)));
            for request in ["POST /v1/arm", "POST /", "PUT /v1/status", "DELETE /"] {
                assert_eq!(check(request, "Bearer wrong"), Err(Refused::NoToken));
                assert_eq!(check(request, READER), Err(Refused::Right(Right::Operate)));
                assert_eq!(
                    check(request, REPORTER),
                    Err(Refused::Right(Right::Operate))
                );
                assert_eq!(check(request, OPERATOR), Ok(()));
            }
            for page in PAGES {
                assert_eq!(check(&format!("GET {page}"), ""), Ok(()));
            }
        }
        let here = Guard::here(None);
        assert_eq!(check(&here, "POST /v1/arm", &[]), Ok(()));
    }

    #[test]
    fn name() {
        for (host, ours) in [
            ("127.0.0.1", true),
            ("127.0.0.1:7373", true),
            ("[::1]:7373", true),
            ("localhost:1", true),
            (CLIENT_HOST, true),
            ("elsewhere.example", false),
            ("localhost.elsewhere.example", false),
            ("192.0.2.1", false),
            ("", false),
            ("a b", false),
        ] {
            let head = [("host", host)];
            let expected = if ours { Ok(()) } else { Err(Refused::Name) };
            assert_eq!(
                check(&Guard::here(None), "GET /", &head),
                expected,
                "{host}"
            );
            assert_eq!(check(&Guard::open(None), "GET /", &head), Ok(()), "{host}");
        }
    }

    #[test]
    fn form() {
        let guard = Guard::here(None);
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
            "; application/json",
            "text/plain; application/json",
            "application/jsonx",
        ] {
            let head = [("content-type", kind)];
            assert_eq!(check(&guard, "POST /v1/arm", &head), Err(Refused::Form));
            assert_eq!(check(&guard, "GET /v1/status", &head), Ok(()));
        }
        for kind in [
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "Application/JSON ; q=1",
        ] {
            let head = [("content-type", kind)];
            assert_eq!(check(&guard, "POST /v1/arm", &head), Ok(()), "{kind}");
        }
    }

    #[test]
    fn foreign_page() {
        let guard = Guard::here(None);
        for (head, ours) in [
            (&[][..], true),
            (&[("origin", "http://127.0.0.1:7373")], true),
            (&[("origin", "https://127.0.0.1:7373")], true),
            (&[("origin", "http://127.0.0.1:8080")], false),
            (&[("origin", "https://elsewhere.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://proxy.example"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (
                &[
                    ("sec-fetch-site", "same-site"),
                    ("origin", "http://127.0.0.1:7373"),
                ],
                false,
            ),
        ] {
            let expected = if ours {
                Ok(())
            } else {
                Err(Refused::ForeignPage)
            };
            assert_eq!(check(&guard, "POST /v1/arm", head), expected, "{head:?}");
            assert_eq!(
                check(&guard, "POST /v1/reports", head),
                expected,
                "{head:?}"
            );
            assert_eq!(check(&guard, "GET /v1/status", head), Ok(()), "{head:?}");
        }
    }
}

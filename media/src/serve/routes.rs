//! What is answered to which request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    UPGRADE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use record::Timestamp;

use super::audience::Page;
use super::connection::Activity;
use super::publisher::Publisher;
use super::stream::Replaced;
use super::viewer::{Body, Viewer};
use super::{Access, Server, StreamName, live, page, player, status};

/// The page runs its own script and style, and asks nobody else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";
const TRANSPORT_STREAM: &str = "video/mp2t";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Answers a request.
pub(super) async fn answer(
    server: Arc<Server>,
    activity: Arc<Activity>,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let answered = match Route::of(&request) {
        Ok(Route::Page) => status_page(&server, &request),
        Ok(Route::Status) => status_json(&server, &request),
        Ok(Route::Play(name)) => player_page(&server, &request, &name),
        Ok(Route::Live(name)) => live(&server, &activity, &mut request, &name),
        Ok(Route::Watch(name)) => watch(&server, &activity, &request, &name),
        Ok(Route::Publish(name)) => publish(&server, peer, request, &name).await,
        Err(refusal) => Err(refusal),
    };
    // From here on it is the peer's turn to take the answer.
    activity.peer(Instant::now());
    Ok(answered.unwrap_or_else(Refusal::response))
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Page,
    Status,
    /// The page that plays a stream.
    Play(StreamName),
    /// The stream for that page.
    Live(StreamName),
    Watch(StreamName),
    Publish(StreamName),
}

/// Why a request gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoSuchPage,
    NoSuchStream,
    NoWebSocket,
    Method(&'static str),
    Token,
    PublishingIsOff,
    TooManyStreams,
    TooManyViewers,
    Replaced,
    PublisherSilent,
    PublisherGone,
}

impl Route {
    fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let path = request.uri().path();
        let (route, allowed) = if path == "/" {
            (Self::Page, "GET, HEAD")
        } else if path == "/status.json" {
            (Self::Status, "GET, HEAD")
        } else if let Some(name) = named(path, "/publish/") {
            (Self::Publish(name?), "POST, PUT")
        } else if let Some(name) = named(path, "/play/") {
            (Self::Play(name?), "GET, HEAD")
        } else if let Some(name) = named(path, "/live/") {
            (Self::Live(name?), "GET")
        } else {
            let name = path
                .strip_prefix('/')
                .and_then(|path| path.strip_suffix(".ts"));
            let name = name.and_then(|name| name.parse().ok());
            (Self::Watch(name.ok_or(Refusal::NoSuchPage)?), "GET, HEAD")
        };
        let method = request.method().as_str();
        if allowed.split(", ").any(|allowed| allowed == method) {
            Ok(route)
        } else {
            Err(Refusal::Method(allowed))
        }
    }
}

/// The stream that a path names behind `prefix`.
fn named(path: &str, prefix: &str) -> Option<Result<StreamName, Refusal>> {
    let name = path.strip_prefix(prefix)?;
    Some(name.parse().map_err(|_| Refusal::NoSuchPage))
}

impl Refusal {
    fn response(self) -> Response<Body> {
        let (code, text) = match self {
            Self::NoSuchPage => (
                StatusCode::NOT_FOUND,
                "there are /, /status.json, /play/NAME, /live/NAME, /NAME.ts and /publish/NAME",
            ),
            Self::NoSuchStream => (StatusCode::NOT_FOUND, "no such stream"),
            Self::NoWebSocket => (
                StatusCode::UPGRADE_REQUIRED,
                "this is a WebSocket: /play/NAME is the page for it",
            ),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "not with this method"),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "a token is needed, as ?token=… or Authorization: Bearer …",
            ),
            Self::PublishingIsOff => (
                StatusCode::FORBIDDEN,
                "nobody may publish here: the server was started without --publish-token-file",
            ),
            Self::TooManyStreams => (StatusCode::SERVICE_UNAVAILABLE, "too many streams"),
            Self::TooManyViewers => (StatusCode::SERVICE_UNAVAILABLE, "too many viewers"),
            Self::Replaced => (
                StatusCode::CONFLICT,
                "another publisher has taken the stream over",
            ),
            Self::PublisherSilent => (StatusCode::REQUEST_TIMEOUT, "nothing came for too long"),
            Self::PublisherGone => (StatusCode::BAD_REQUEST, "the stream was cut off"),
        };
        let mut response = whole(code, TEXT, format!("{text}\n"));
        let headers = response.headers_mut();
        match self {
            Self::Method(allowed) => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::NoWebSocket => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            }
            Self::Token => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

fn whole(code: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(Bytes::from(text))));
    *response.status_mut() = code;
    set_headers(&mut response, kind);
    response
}

fn set_headers(response: &mut Response<Body>, kind: &'static str) {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The token of a request: in its address, or in its head, where it gets into no log.
fn token<B>(request: &Request<B>) -> Option<&str> {
    let head = request.headers().get(AUTHORIZATION);
    let bearer = head
        .and_then(|value| value.to_str().ok())
        .and_then(door::bearer);
    let query = request.uri().query().unwrap_or_default();
    bearer.or_else(|| {
        query
            .split('&')
            .find_map(|option| option.strip_prefix("token="))
    })
}

fn check<B>(
    server: &Server,
    access: &Access,
    request: &Request<B>,
    stream: Option<&StreamName>,
) -> Result<(), Refusal> {
    if access.allows(token(request), stream) {
        return Ok(());
    }
    server.counters.denied.fetch_add(1, Ordering::Relaxed);
    Err(Refusal::Token)
}

fn status_page<B>(server: &Server, request: &Request<B>) -> Result<Response<Body>, Refusal> {
    check(server, &server.config.view, request, None)?;
    let status = status::Status::of(server, Timestamp::now());
    let text = page::page(&status).into_string();
    Ok(whole(StatusCode::OK, HTML, text))
}

fn status_json<B>(server: &Server, request: &Request<B>) -> Result<Response<Body>, Refusal> {
    check(server, &server.config.view, request, None)?;
    let status = status::Status::of(server, Timestamp::now());
    // Strings and numbers: they always become JSON.
    let text = serde_json::to_string_pretty(&status).unwrap_or_default();
    Ok(whole(StatusCode::OK, JSON, text + "\n"))
}

fn watch<B>(
    server: &Arc<Server>,
    activity: &Arc<Activity>,
    request: &Request<B>,
    name: &StreamName,
) -> Result<Response<Body>, Refusal> {
    check(server, &server.config.view, request, Some(name))?;
    let stream = server.stream(name).ok_or(Refusal::NoSuchStream)?;
    let body = if request.method() == Method::HEAD {
        Body::Whole(None)
    } else {
        let viewer = Viewer::new(server, stream).ok_or(Refusal::TooManyViewers)?;
        Body::of(viewer, Arc::clone(activity))
    };
    let mut response = Response::new(body);
    set_headers(&mut response, TRANSPORT_STREAM);
    Ok(response)
}

/// The page is the same whether the stream is there or not: it waits for it.
fn player_page<B>(
    server: &Server,
    request: &Request<B>,
    name: &StreamName,
) -> Result<Response<Body>, Refusal> {
    check(server, &server.config.view, request, Some(name))?;
    let text = player::page(name).into_string();
    Ok(whole(StatusCode::OK, HTML, text))
}

fn live(
    server: &Arc<Server>,
    activity: &Arc<Activity>,
    request: &mut Request<Incoming>,
    name: &StreamName,
) -> Result<Response<Body>, Refusal> {
    check(server, &server.config.view, request, Some(name))?;
    let stream = server.stream(name).ok_or(Refusal::NoSuchStream)?;
    if !hyper_tungstenite::is_upgrade_request(request) {
        return Err(Refusal::NoWebSocket);
    }
    let viewer = Viewer::new(server, stream).ok_or(Refusal::TooManyViewers)?;
    let upgraded = hyper_tungstenite::upgrade(request, Some(live::limits()));
    let (response, socket) = upgraded.map_err(|_| Refusal::NoWebSocket)?;
    let audience = server.audience.as_ref();
    let page = audience.and_then(|audience| Page::of(audience, name));
    let (server, activity) = (Arc::clone(server), Arc::clone(activity));
    tokio::spawn(async move {
        // How a connection ends is the browser's business.
        if let Ok(socket) = socket.await {
            live::run(&server, viewer, page, socket).await;
        }
        drop(activity);
    });
    Ok(response.map(|_| Body::Whole(None)))
}

async fn publish(
    server: &Arc<Server>,
    peer: SocketAddr,
    request: Request<Incoming>,
    name: &StreamName,
) -> Result<Response<Body>, Refusal> {
    if server.config.publish == Access::Closed {
        return Err(Refusal::PublishingIsOff);
    }
    check(server, &server.config.publish, &request, Some(name))?;
    let stream = server.stream_or_new(name).ok_or(Refusal::TooManyStreams)?;
    let mut publisher = Publisher::new(stream, format!("{peer} by HTTP"), Timestamp::now());
    let mut body = request.into_body();
    let idle = server.config.limits.idle;
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await;
        match frame.map_err(|_| Refusal::PublisherSilent)? {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(&[][..], |bytes| &bytes[..]);
                publisher
                    .push(bytes, Timestamp::now())
                    .map_err(|Replaced| Refusal::Replaced)?;
            }
            Some(Err(_)) => return Err(Refusal::PublisherGone),
            None => return Ok(whole(StatusCode::OK, TEXT, "published\n".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str) -> Result<Route, Refusal> {
        let request = Request::builder().method(method).uri(path);
        Route::of(&request.body(()).unwrap())
    }

    #[test]
    fn routes() {
        let robot = || "robot".parse().unwrap();
        assert_eq!(route("GET", "/"), Ok(Route::Page));
        assert_eq!(route("GET", "/?token=x"), Ok(Route::Page));
        assert_eq!(route("HEAD", "/status.json"), Ok(Route::Status));
        assert_eq!(route("GET", "/robot.ts"), Ok(Route::Watch(robot())));
        assert_eq!(route("GET", "/play/robot"), Ok(Route::Play(robot())));
        assert_eq!(route("GET", "/live/robot"), Ok(Route::Live(robot())));
        assert_eq!(route("PUT", "/publish/robot"), Ok(Route::Publish(robot())));
        assert_eq!(route("POST", "/publish/robot"), Ok(Route::Publish(robot())));
    }

    #[test]
    fn no_such_page() {
        for path in [
            "/robot",
            "/a/b.ts",
            "/.ts",
            "/..%2f.ts",
            "/publish/",
            "/publish/a.b",
            "/play/",
            "/live/a.b",
            "/x.json",
        ] {
            assert_eq!(route("GET", path), Err(Refusal::NoSuchPage), "{path}");
        }
    }

    #[test]
    fn method() {
        assert_eq!(
            route("GET", "/publish/robot"),
            Err(Refusal::Method("POST, PUT"))
        );
        assert_eq!(route("DELETE", "/"), Err(Refusal::Method("GET, HEAD")));
        let response = Refusal::Method("GET, HEAD").response();
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }

    #[test]
    fn tokens_in_head_and_address() {
        let request = |uri: &str, head: Option<&str>| {
            let mut request = Request::builder().uri(uri);
            if let Some(head) = head {
                request = request.header(AUTHORIZATION, head);
            }
            token(&request.body(()).unwrap()).map(str::to_owned)
        };
        assert_eq!(request("/", None), None);
        assert_eq!(request("/?a=b&token=x", None).as_deref(), Some("x"));
        assert_eq!(request("/", Some("Bearer y")).as_deref(), Some("y"));
        assert_eq!(request("/?token=x", Some("Basic y")).as_deref(), Some("x"));
    }

    const ALL: &str = "0123456789abcdef";
    const ROBOT: &str = "fedcba9876543210";
    const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "X"];
    const WORDS: [&str; 12] = [
        "",
        "play",
        "live",
        "publish",
        "robot",
        "robot.ts",
        "other",
        "other.ts",
        "status.json",
        ".ts",
        "%2e%2e",
        "robot.ts.ts",
    ];

    #[derive(Debug, bolero::TypeGenerator)]
    struct Asked {
        method: u8,
        words: Vec<u8>,
        /// Behind the path, as they are.
        bytes: Vec<u8>,
        token: u8,
        in_address: bool,
    }

    impl Asked {
        fn request(&self) -> Option<Request<()>> {
            let words = self.words.iter();
            let words: Vec<&str> = words
                .map(|word| WORDS[usize::from(*word) % WORDS.len()])
                .collect();
            let mut uri = format!("/{}", words.join("/")).into_bytes();
            uri.extend(&self.bytes);
            let mut request = Request::builder().method(METHODS[usize::from(self.method) % 6]);
            match self.token() {
                Some(token) if self.in_address => uri.extend(format!("?a=&token={token}").bytes()),
                Some(token) => request = request.header(AUTHORIZATION, format!("Bearer {token}")),
                None => {}
            }
            request.uri(uri.as_slice()).body(()).ok()
        }

        fn token(&self) -> Option<&str> {
            [None, Some(ALL), Some(ROBOT), Some("0123456789abcdee")][usize::from(self.token) % 4]
        }
    }

    /// Whatever is asked: nothing opens without the token for it, and nothing stays closed with it.
    #[test]
    fn fuzz_what_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        std::fs::write(&file, format!("{ALL}\nrobot {ROBOT}\n")).unwrap();
        let config = super::super::ServeConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            inputs: Vec::new(),
            publish: Access::Closed,
            view: Access::read(&file).unwrap(),
            tls: None,
            limits: super::super::Limits::default(),
            duration: None,
            stats: crate::StatsOutput::Off,
            reporting: None,
        };
        // A panic ends the test: nobody looks at what it left.
        let server = std::panic::AssertUnwindSafe(Server::new(&config, None));
        let robot: StreamName = "robot".parse().unwrap();
        bolero::check!()
            .with_type::<Asked>()
            .for_each(|asked: &Asked| {
                let Some(request) = asked.request() else {
                    return;
                };
                let route = match Route::of(&request) {
                    Ok(route) => route,
                    Err(refusal) => {
                        assert!(refusal.response().status().is_client_error());
                        return;
                    }
                };
                let name = match &route {
                    Route::Page | Route::Status => None,
                    Route::Play(name)
                    | Route::Live(name)
                    | Route::Watch(name)
                    | Route::Publish(name) => Some(name),
                };
                // What is behind the path may begin a query, and say a token of its own there.
                let said = token(&request);
                let may = said == Some(ALL) || said == Some(ROBOT) && name == Some(&robot);
                let denied = || server.counters.denied.load(Ordering::Relaxed);
                let before = denied();
                let answered = match &route {
                    Route::Page => status_page(&server, &request),
                    Route::Status => status_json(&server, &request),
                    Route::Play(name) => player_page(&server, &request, name),
                    Route::Live(_) | Route::Watch(_) | Route::Publish(_) => {
                        let checked = check(&server, &server.config.view, &request, name);
                        checked.map(|()| whole(StatusCode::OK, TEXT, String::new()))
                    }
                };
                match answered {
                    Ok(response) => assert!(may && response.status() == StatusCode::OK),
                    Err(refusal) => assert!(!may && refusal == Refusal::Token, "{refusal:?}"),
                }
                assert_eq!(denied() - before, u64::from(!may));
                if asked.bytes.is_empty() {
                    assert_eq!(said, asked.token());
                }
            });
    }
}

//! Who may ask and tell a running orchestrator: tokens, TLS, and pages of other servers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use crate::common::GIVE_UP;
use crate::common::site::{FAST, FUNCTION, HOSTS, OPERATOR, READER, Site};
use control::Trust;
use serde_json::{Value, json};

fn site() -> Site {
    Site::new(HOSTS[0], FAST, Trust::Observe)
}

/// Status and words of the answer to a request, `METHOD PATH`, with `name: value` of its head.
fn asked(root: &str, request: &str, head: &[(&str, &str)]) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let (method, path) = request.split_once(' ').unwrap();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{root}{path}"));
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    let mut answer = match method {
        "POST" => agent.run(request.body("{}").unwrap()),
        _ => agent.run(request.body(()).unwrap()),
    }
    .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (answer.status().as_u16(), value)
}

#[test]
fn each_token_does_what_it_has_the_right_to() {
    let mut site = site();
    site.listen_on_loopback_with_tokens();
    site.start();
    let root = site.url();
    let (reader, operator) = (format!("Bearer {READER}"), format!("Bearer {OPERATOR}"));
    let json = ("content-type", "application/json");
    for request in [
        "GET /v1/status",
        "GET /metrics",
        "GET /v1/openapi.json",
        "POST /v1/disarm",
    ] {
        for head in [
            &[json][..],
            &[json, ("authorization", "Bearer wrong-0123456789abcdef")],
            &[json, ("authorization", "Bearer")],
        ] {
            let (status, said) = asked(&root, request, head);
            assert_eq!(status, 401, "{request} {head:?}");
            assert!(
                said["error"]
                    .as_str()
                    .unwrap()
                    .contains("a token is needed"),
                "{said}"
            );
        }
        let with_query = request.replace("/v1/status", &format!("/v1/status?token={READER}"));
        assert_eq!(
            asked(&root, &with_query, &[json]).0,
            401,
            "not in an address"
        );
    }
    for path in ["/v1/status", "/metrics", "/v1/site"] {
        for token in [&reader, &operator] {
            let head = [("authorization", token.as_str())];
            assert_eq!(asked(&root, &format!("GET {path}"), &head).0, 200, "{path}");
        }
    }
    let (status, said) = asked(
        &root,
        "POST /v1/disarm",
        &[json, ("authorization", &reader)],
    );
    assert_eq!(
        (
            status,
            said["error"]
                .as_str()
                .unwrap()
                .contains("the right to operate")
        ),
        (403, true)
    );
    assert_eq!(site.ask("status")["armed"], true, "nothing was changed");
    assert_eq!(
        asked(
            &root,
            "POST /v1/disarm",
            &[json, ("authorization", &operator)]
        )
        .0,
        200
    );
    assert_eq!(site.ask("status")["armed"], false);
    // The dashboard is there before it is asked for a token, and shows nothing.
    for page in ["/", "/dashboard.js", "/dashboard.css"] {
        let (status, text) = asked(&root, &format!("GET {page}"), &[]);
        assert_eq!(status, 200);
        assert!(!text.as_str().unwrap().contains(FUNCTION));
    }
}

#[test]
fn other_machines_reach_it_with_tokens_and_tls() {
    let mut site = site();
    site.listen_to_all();
    site.start();
    // Its command line: a certificate that it believes, and a token that operates.
    assert!(site.api().starts_with("https://"));
    site.words("disarm");
    assert_eq!(site.ask("status")["armed"], false);
    let folder = site.folder.path().display();
    let refusal = site.refusal(&format!("arm --token-file {folder}/read"));
    assert!(
        refusal.contains("not have the right to operate"),
        "{refusal}"
    );
    assert_eq!(
        site.ask(&format!("status --token-file {folder}/read"))["armed"],
        false
    );
    let wrong = site
        .secret("wrong", "wrong-0123456789abcdef")
        .display()
        .to_string();
    let refusal = site.refusal(&format!("status --token-file {wrong}"));
    assert!(refusal.contains("a token is needed"), "{refusal}");
    // Whoever answers has to be who it says.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = site
        .secret("other.pem", &other.cert.pem())
        .display()
        .to_string();
    let refusal = site.refusal(&format!("status --ca {other}"));
    assert!(refusal.contains("no encrypted connection"), "{refusal}");
    let elsewhere = site.api().replace("localhost", "127.0.0.1");
    let refusal = site.refusal(&format!("status --api {elsewhere}"));
    assert!(refusal.contains("no encrypted connection"), "{refusal}");
    // Nobody is answered who does not encrypt.
    let address = elsewhere.strip_prefix("https://").unwrap();
    let mut plain = TcpStream::connect(address).unwrap();
    plain.set_read_timeout(Some(GIVE_UP)).unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer));
    assert!(
        !answer.starts_with(b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // The socket beside it is for those whom its file's mode lets in.
    let socket = site.socket();
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o660
    );
    site.words(&format!("arm --api unix:{}", socket.display()));
    assert_eq!(site.ask("status")["armed"], true);
}

/// What an orchestrator says that does not begin.
fn does_not_begin(site: &Site) -> String {
    let output = site.another().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!site.journal().exists(), "nothing is opened for it");
    let checked = site.another().arg("--check").output().unwrap();
    assert_eq!(checked.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_not_safe_does_not_begin() {
    let mut site = site();
    site.set_api("listen", json!("0.0.0.0:0"));
    let said = does_not_begin(&site);
    assert!(
        said.contains("api.listen: 0.0.0.0:0 is reached from other machines"),
        "{said}"
    );
    assert!(said.contains("there is no token and no TLS"), "{said}");
    site.set_api("listen", json!(site.api()));
    site.listen_to_all();
    site.secret("operate", "short");
    let said = does_not_begin(&site);
    assert!(
        said.contains("api.tokens.operate: it has to have 16"),
        "{said}"
    );
    site.secret("operate", OPERATOR);
    let key = site.folder.path().join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = does_not_begin(&site);
    assert!(
        said.contains("api.tls.key") && said.contains("chmod 600"),
        "{said}"
    );
}

#[test]
fn what_a_client_has_to_show_is_checked_before_it_asks() {
    let mut site = site();
    site.listen_to_all();
    let file = site.secret("open", OPERATOR);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for (words, reason) in [
        (
            format!("status --token-file {}", file.display()),
            "chmod 600",
        ),
        (
            "status --token-file /no/such".into(),
            "cannot read the secret in /no/such",
        ),
        (
            "status --ca /no/such".into(),
            "cannot read certificates of authorities",
        ),
        ("status --api 192.0.2.1:7373".into(), "has to be encrypted"),
        (
            "status --api https://canary@192.0.2.1".into(),
            "expected unix:PATH",
        ),
    ] {
        let output = site.say(&words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}: {said}");
        assert!(said.contains(reason), "{words}: {said}");
    }
}

#[test]
fn a_page_of_another_server_changes_nothing() {
    let mut site = site();
    site.listen_on_loopback();
    site.start();
    let root = site.url();
    let json = ("content-type", "application/json");
    for (head, status) in [
        (&[json, ("origin", "https://elsewhere.example")][..], 403),
        (&[json, ("sec-fetch-site", "cross-site")], 403),
        (&[json, ("host", "elsewhere.example")], 421),
        (&[("content-type", "text/plain")], 415),
    ] {
        assert_eq!(asked(&root, "POST /v1/disarm", head).0, status, "{head:?}");
    }
    assert_eq!(site.ask("status")["armed"], true);
    let head = [
        json,
        ("origin", root.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(asked(&root, "POST /v1/disarm", &head).0, 200);
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let mut site = site();
    site.listen_on_loopback();
    site.start();
    let root = site.url();
    for (path, status) in [
        ("/v1/moves?limit=many", 400),
        ("/v1/moves?limt=3", 400),
        ("/v1/moves/x", 400),
        ("/v1/hosts/edge-robot/load?since_s=NaN", 400),
        ("/v1/hosts/edge-robot/load?since_s=-1", 400),
        ("/v1/nothing", 404),
        ("/v1/arm", 405),
    ] {
        let (found, said) = asked(&root, &format!("GET {path}"), &[]);
        assert_eq!(found, status, "{path}: {said}");
        assert!(!said["error"].as_str().unwrap().is_empty(), "{path}");
    }
    let post = |body: &str| {
        let mut socket = TcpStream::connect(site.api()).unwrap();
        socket.set_read_timeout(Some(GIVE_UP)).unwrap();
        let head = "POST /v1/disarm HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
        write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer));
        String::from_utf8(answer).unwrap()
    };
    for (body, status) in [
        ("", "400"),
        ("{", "400"),
        ("[1]", "400"),
        ("{\"force\":true}", "422"),
        (&" ".repeat(20_000), "413"),
    ] {
        let answer = post(body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.contains("{\"error\":\""), "{answer}");
    }
    assert_eq!(site.ask("status")["armed"], true);
}

/// Every operation of the OpenAPI document says what it takes, and a token gets what it says.
#[test]
fn the_document_says_who_may_do_what() {
    let mut site = site();
    site.listen_on_loopback_with_tokens();
    site.start();
    let root = site.url();
    let reader = format!("Bearer {READER}");
    let head = [
        ("authorization", reader.as_str()),
        ("content-type", "application/json"),
    ];
    let (_, document) = asked(&root, "GET /v1/openapi.json", &head);
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    let fill = |path: &str| {
        let path = path.replace("{host}", HOSTS[0]).replace("{vm}", FUNCTION);
        path.replace("{migration}", "1")
    };
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let security = operation.get("security").unwrap_or(&document["security"]);
            let request = format!("{} {}", method.to_uppercase(), fill(path));
            let (with, without) = (
                asked(&root, &request, &head).0,
                asked(&root, &request, &head[1..]).0,
            );
            match security[0]["token"][0].as_str().unwrap() {
                "read" => assert!(with == 200 || with == 404, "{request}: {with}"),
                "operate" | "report" => assert_eq!(with, 403, "{request}"),
                other => panic!("{request}: {other}"),
            }
            assert_eq!(without, 401, "{request}");
            for status in [with, without] {
                let described = &operation["responses"][status.to_string()];
                assert!(described.is_object(), "{request}: {status}");
                if let Some(name) = described["$ref"].as_str() {
                    let name = name.rsplit('/').next().unwrap();
                    assert!(
                        document["components"]["responses"][name].is_object(),
                        "{name}"
                    );
                }
            }
        }
    }
    assert_eq!(site.ask("status")["armed"], true);
}

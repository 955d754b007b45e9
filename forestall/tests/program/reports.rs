//! What viewers tell a running orchestrator: by hand, and by `play`, over its API.

use std::process::Stdio;

use crate::common::site::{FAST, FUNCTION, HOSTS, REPORTER, Site};
use crate::common::{Running, forestall, free_udp_port};
use control::Trust;
use serde_json::{Value, json};

fn site() -> Site {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.listen_on_loopback_with_tokens();
    site.start();
    site
}

fn good() -> Value {
    json!({
        "function": FUNCTION, "viewer": "anna", "ago_ms": 5.0, "span_ms": 1000.0, "frames": 30, "freezes": 1,
        "picture_age_ms": { "median": 40.0, "p95": 62.5, "max": 70.0 },
        "frame_interval_ms": { "median": 33.0, "p95": 40.0, "max": 41.0 },
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut report = good();
    change(&mut report);
    report
}

/// Status and words of the answer to a report.
fn reported(site: &Site, report: &Value) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut answer = agent
        .post(format!("{}/v1/reports", site.url()))
        .header("authorization", format!("Bearer {REPORTER}"))
        .content_type("application/json")
        .send(report.to_string())
        .unwrap();
    let value = answer.body_mut().read_json().unwrap();
    (answer.status().as_u16(), value)
}

#[test]
fn what_a_viewer_says_is_seen() {
    let site = site();
    assert_eq!(site.ask("functions")[0]["viewed"], Value::Null);
    assert_eq!(reported(&site, &good()).0, 200);
    let worse = with(|report| {
        report["viewer"] = json!("bert");
        report["picture_age_ms"] = json!({ "median": 50.0, "p95": 100.0, "max": 101.0 });
    });
    assert_eq!(reported(&site, &worse).0, 200);
    let viewed = &site.ask("functions")[0]["viewed"];
    assert_eq!(
        (&viewed["viewers"], &viewed["frames"], &viewed["freezes"]),
        (&json!(2), &json!(60), &json!(2))
    );
    assert_eq!(viewed["picture_age_ms"]["p95"], 100.0);
    assert!(site.words("functions").contains("100 ms"));
    assert!(site.words("status").contains("viewers that report: 2"));
    // Whoever may say what he sees may do nothing else.
    let reporter = site.folder.path().join("report").display().to_string();
    for words in ["status", "disarm"] {
        let refusal = site.refusal(&format!("{words} --token-file {reporter}"));
        assert!(
            refusal.contains("does not have the right"),
            "{words}: {refusal}"
        );
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let site = site();
    for (report, status, words) in [
        (
            with(|r| r["function"] = json!("nobody")),
            404,
            "there is no function nobody",
        ),
        (with(|r| r["ago_ms"] = json!(-1.0)), 400, "ago_ms is -1"),
        (
            with(|r| r["span_ms"] = json!(1e9)),
            400,
            "span_ms is 1000000000",
        ),
        (
            with(|r| r["frames"] = json!(60_001)),
            400,
            "frames is 60001",
        ),
        (with(|r| r["frames"] = json!(-1)), 422, "frames"),
        (
            with(|r| r["picture_age_ms"]["median"] = json!(-5.0)),
            400,
            "the clocks of camera and viewer differ",
        ),
        (
            with(|r| r["picture_age_ms"]["p95"] = json!(3.0)),
            400,
            "have to rise",
        ),
        (
            with(|r| r["picture_age_ms"]["p95"] = json!("NaN")),
            422,
            "picture_age_ms",
        ),
        (with(|r| r["viewer"] = json!("../x")), 422, "is not a name"),
        (with(|r| r["more"] = json!(1)), 422, "more"),
        (json!([]), 422, ""),
    ] {
        let (found, said) = reported(&site, &report);
        let said = said["error"].as_str().unwrap().to_owned();
        assert_eq!(found, status, "{report}: {said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(site.ask("functions")[0]["viewed"], Value::Null);
}

#[test]
fn it_is_written_down() {
    let site = site();
    site.wait_for("a row of the journal", |site| {
        assert_eq!(reported(site, &good()).0, 200);
        let journal = rusqlite::Connection::open(site.journal()).unwrap();
        let count: i64 = journal
            .query_row(
                "SELECT count(*) FROM viewed WHERE vm = ?1",
                [FUNCTION],
                |row| row.get(0),
            )
            .unwrap();
        count > 0
    });
}

#[test]
#[cfg(feature = "media")]
fn a_player_reports() {
    let site = site();
    let port = free_udp_port();
    let _camera = Running::forestall(&format!(
        "capture udp://127.0.0.1:{port} --width 320 --height 240"
    ));
    let tokens = site.folder.path().join("report").display().to_string();
    let arguments = format!(
        "play udp://127.0.0.1:{port} --report {} --function {FUNCTION} --viewer anna --token-file {tokens}",
        site.api()
    );
    let mut command = forestall(&arguments);
    command.stderr(Stdio::piped());
    let mut player = Running::start(command);
    let said = player.0.stderr.take().unwrap();
    site.wait_for("pictures that somebody sees", |site| {
        let viewed = &site.ask("functions")[0]["viewed"];
        viewed["frames"].as_u64().is_some_and(|frames| frames > 0)
            && viewed["picture_age_ms"]["p95"].is_number()
    });
    assert_eq!(player.end(), Some(130));
    let said = std::io::read_to_string(said).unwrap();
    assert!(
        said.contains("reports: ") && said.contains(" 0 failed"),
        "{said}"
    );
    // Nobody reports any more: then nothing is known.
    site.wait_for("nobody", |site| {
        site.ask("functions")[0]["viewed"].is_null()
    });
}

#[test]
#[cfg(feature = "media")]
fn an_orchestrator_that_is_not_there_delays_no_picture() {
    let port = free_udp_port();
    let _camera = Running::forestall(&format!(
        "capture udp://127.0.0.1:{port} --width 320 --height 240"
    ));
    // A listener that takes no connection: its queue fills, and nothing is answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = format!(
        "play udp://127.0.0.1:{port} --report {} --function {FUNCTION} --duration 4",
        silent.local_addr().unwrap()
    );
    let output = forestall(&arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("reports: 0 taken"), "{said}");
    assert!(said.contains("it takes longer than 2 s"), "{said}");
    let shown = said
        .split("frames in, ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(shown.parse::<u64>().unwrap() > 20, "{said}");
}

#[test]
#[cfg(feature = "media")]
fn a_wrong_command_line_is_refused() {
    crate::common::check(
        "play udp://127.0.0.1:1 --report 127.0.0.1:1",
        2,
        "--function",
    );
    crate::common::check("play udp://127.0.0.1:1 --function f", 2, "--report");
    crate::common::check(
        "play udp://127.0.0.1:1 --report 192.0.2.1:1 --function f",
        2,
        "has to be encrypted",
    );
    crate::common::check(
        "play udp://127.0.0.1:1 --report 127.0.0.1:1 --function f --token-file /no/such",
        2,
        "cannot read the secret",
    );
    // While such a program gives no picture, nothing could be said of the one that stands.
    crate::common::check(
        "play udp://127.0.0.1:1 --report 127.0.0.1:1 --function f --width 2 --height 2 --decoder-command cat",
        2,
        "cannot be used with",
    );
}

//! What viewers tell a running orchestrator: by hand, and by `play`, over its API.

use std::process::Stdio;

use crate::common::exporters::Exporters;
use crate::common::site::{FAST, FUNCTION, HOSTS, READER, REPORTER, Site};
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
        .content_type("application/json; charset=utf-8")
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

/// Where the function is, and where it may go.
const SOURCE: &str = HOSTS[1];
const TARGET: &str = HOSTS[0];

/// A site whose configured knee is 95 %, which nothing comes near to; the orchestrator moves by itself.
fn site_with_loads(source: f64) -> (Site, Exporters) {
    let mut site = Site::new(SOURCE, FAST, Trust::Automatic);
    site.listen_on_loopback_with_tokens();
    let exporters = site.measure_by_exporters([0.1, source]);
    site.record_into(Some(site.folder.path()));
    site.start_and_hear();
    site.wait_for("the function", |site| site.where_is() == SOURCE);
    (site, exporters)
}

/// Two viewers report what they see until something is so.
fn see(site: &Site, age_ms: f64, what: &str, mut is_so: impl FnMut(&Site) -> bool) {
    site.wait_for(what, |site| {
        for viewer in ["anna", "bert"] {
            let report = with(|report| {
                report["viewer"] = json!(viewer);
                report["span_ms"] = json!(100.0);
                let age = json!({ "median": age_ms, "p95": age_ms, "max": age_ms });
                report["picture_age_ms"] = age;
            });
            assert_eq!(reported(site, &report).0, 200);
        }
        is_so(site)
    });
}

/// How often pictures from the source were seen to be late, or in time.
fn observed(site: &Site, late: bool) -> usize {
    let journal = rusqlite::Connection::open(site.journal()).unwrap();
    let found = journal.query_row("SELECT json FROM taught WHERE host = ?1", [SOURCE], |row| {
        row.get::<_, String>(0)
    });
    let taught: Value = match found {
        Ok(json) => serde_json::from_str(&json).unwrap(),
        Err(rusqlite::Error::QueryReturnedNoRows) => return 0,
        Err(error) => panic!("{error}"),
    };
    let bins = taught["bins"].as_object().unwrap().values();
    let seen = bins.flat_map(|bin| bin["seen"].as_array().unwrap());
    seen.filter(|seen| seen[0] == late).count()
}

fn source(site: &Site) -> Value {
    let hosts = site.ask("hosts");
    let mut hosts = hosts.as_array().unwrap().iter();
    hosts.find(|host| host["host"] == SOURCE).unwrap().clone()
}

#[test]
fn late_pictures_at_a_load_that_was_called_harmless_move_the_function() {
    let (mut site, exporters) = site_with_loads(0.45);
    see(&site, 60.0, "in time", |site| observed(site, false) >= 6);
    assert_eq!(source(&site)["knee"], 0.95);
    exporters.set_load(1, 0.75);
    see(&site, 300.0, "the move", |site| site.where_is() == TARGET);
    assert_eq!(site.runners(), [TARGET]);
    site.wait_for("the verdict", |site| {
        site.ask("moves")[0]["verdict"] == "moved"
    });
    assert_eq!(site.ask("moves")[0]["cause"], "load");
    let why = site.words("why 1");
    assert!(
        why.contains("(knee 72.0 %, as its viewers taught; configured: 95.0 %)"),
        "{why}"
    );
    let log = site.log();
    assert!(
        log.contains("the knee of edge-user is 72.0 % from now on"),
        "{log}"
    );
    let metrics = ureq::get(format!("{}/metrics", site.url()))
        .header("authorization", format!("Bearer {READER}"))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert!(
        metrics.contains("forestall_host_knee{host=\"edge-user\"} 0.72"),
        "{metrics}"
    );
    // What was recorded decides the same once more.
    site.end();
    let replayed = site.say(&format!("sim replay {}", site.folder.path().display()));
    let said = String::from_utf8(replayed.stdout).unwrap();
    assert!(replayed.status.success(), "{said}");
    site.record_into(None);
    // A restart goes on with it, a person may throw it away, and then it is gone.
    site.start();
    let host = source(&site);
    assert_eq!(
        (&host["knee"], &host["knee_configured"]),
        (&json!(0.72), &json!(0.95))
    );
    assert!(host["taught"]["since_us"].is_u64() && host["taught"]["reports"].as_u64() > Some(10));
    assert!(site.words("hosts").contains("72.0 % (learned "));
    let why = site.words("why edge-user");
    assert!(
        why.contains("The knee of edge-user is 72.0 % since "),
        "{why}"
    );
    assert!(
        why.contains("reports of viewers said; configured: 95.0 %"),
        "{why}"
    );
    site.words("forget-knee edge-user");
    site.kill();
    site.start();
    let host = source(&site);
    assert_eq!(
        (&host["knee"], &host["taught"]),
        (&json!(0.95), &Value::Null)
    );
    let refusal = site.refusal("forget-knee nowhere");
    assert!(refusal.contains("there is no host nowhere"), "{refusal}");
}

#[test]
fn pictures_that_are_late_at_any_load_move_nothing() {
    let (site, exporters) = site_with_loads(0.45);
    see(&site, 300.0, "late at the lower load", |site| {
        source(site)["taught"]["late_at_any_load_from"] == 0.44
    });
    let before = observed(&site, true);
    exporters.set_load(1, 0.75);
    // Longer than would make a rule of it.
    see(&site, 300.0, "late at the higher load", |site| {
        observed(site, true) >= before + 15
    });
    assert_eq!(site.ask("moves"), json!([]));
    assert_eq!(site.runners(), [SOURCE]);
    let host = source(&site);
    assert_eq!(
        (&host["knee"], &host["taught"]["late_at_any_load_from"]),
        (&json!(0.95), &json!(0.44))
    );
    assert!(site.words("hosts").contains("95.0 % (late at any load)"));
    let why = site.words(&format!("why {FUNCTION}"));
    for words in [
        "by the forecast there is time still",
        "too late from a load of 44.0 % on, and never saw them in time at a lower one",
        "that is not put down to its load",
    ] {
        assert!(why.contains(words), "{words}: {why}");
    }
    assert!(site.log().contains("teaches no knee"));
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

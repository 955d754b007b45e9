//! The page in a real browser: headless Chromium, driven over the WebDriver protocol.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::common::browser::Browser;
use crate::common::site::{FAST, FUNCTION, HOSTS, REPORTER, Site};
use crate::common::{Running, Server, TOKEN, certificate, frames, wait_for};
use control::Trust;
use serde_json::Value;

/// A frame at 30 a second.
const FRAME_MS: f64 = 1000.0 / 30.0;
/// The page's figures are of the last 5 s.
const FIGURES_OVER: Duration = Duration::from_secs(5);
/// Its chart is of the last 20 s.
const CHART_OVER: Duration = Duration::from_secs(20);
/// How far a page's clock is ahead of the server's, where it is.
const AHEAD_MS: f64 = 5000.0;

/// What the page of a stream shows.
trait Page {
    fn message(&self) -> String;
    fn figure(&self, id: &str) -> Option<f64>;
    fn wait_until_live(&self);
}

impl Page for Browser {
    fn message(&self) -> String {
        let said = self.run("return document.getElementById('message').textContent");
        said.as_str().unwrap_or_default().to_owned()
    }

    /// A figure of the page; `None` while it has none.
    fn figure(&self, id: &str) -> Option<f64> {
        let script = format!("return document.getElementById('{id}').dataset.value");
        self.run(&script).as_str()?.parse().ok()
    }

    fn wait_until_live(&self) {
        wait_for("the page plays", || self.message() == "Live");
    }
}

fn camera(server: &Server, name: &str, codec: &str) -> Running {
    let scheme_and_host = server.url("");
    Running::forestall(&format!(
        "capture {scheme_and_host}/publish/{name}?token={TOKEN} --codec {codec} --width 640 --height 480 --bitrate 1500k"
    ))
}

/// The page's delay is that of the same frames in the same seconds as the other player measures it, and its clock is so far ahead.
fn check_figures(browser: &Browser, rows: &Path, ahead_ms: f64) {
    thread::sleep(FIGURES_OVER + Duration::from_secs(1));
    let shown = browser.figure("delay").expect("the code strip is read");
    let mut delays: Vec<f64> = frames(rows)
        .iter()
        .rev()
        .take(150)
        .filter_map(|row| row.delay_ms)
        .collect();
    delays.sort_by(f64::total_cmp);
    let measured = delays[delays.len() / 2];
    assert!(
        (shown - measured).abs() < FRAME_MS,
        "the page says {shown} ms, the player {measured} ms"
    );
    let offset = browser.figure("offset").unwrap();
    assert!((offset - ahead_ms).abs() < 5.0, "{offset} ms");
}

#[test]
fn a_stream_plays_and_its_delay_is_right() {
    let server = Server::start("");
    let camera_1 = camera(&server, "robot", "h264");
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("frames.csv");
    wait_for("the stream is there", || {
        server.get("/status.json").1.contains("H.264")
    });
    let player = Running::forestall(&format!(
        "play {} --frames-csv {}",
        server.url("/robot.ts"),
        rows.display()
    ));
    let browser = Browser::start();
    browser.open(&server.url("/"));
    let link = browser.run("return document.querySelector('td a').getAttribute('href')");
    assert_eq!(link, "/play/robot", "the status page leads to the player");
    browser.open(&server.url("/play/robot"));
    browser.wait_until_live();
    // Browser and server have one clock here.
    check_figures(&browser, &rows, 0.0);
    browser.screenshot();
    if let Ok(path) = std::env::var("FORESTALL_SCREENSHOT") {
        // The start, which is late, is not in the chart any more.
        thread::sleep(CHART_OVER);
        fs::write(path, browser.screenshot()).unwrap();
    }

    // After this reload the page's clock is ahead, as another machine's may be: that is told, and no part of the delay.
    browser.before_pages(&format!(
        "Object.defineProperty(performance, 'timeOrigin', {{ value: performance.timeOrigin + {AHEAD_MS} }})"
    ));
    browser.reload();
    browser.wait_until_live();
    check_figures(&browser, &rows, AHEAD_MS);

    // Another publisher, another size: the page goes on by itself.
    camera_1.end();
    wait_for("the page says that nothing comes", || {
        browser.message() != "Live"
    });
    let _camera_2 = Running::forestall(&format!(
        "capture {}/publish/robot?token={TOKEN} --codec h264 --width 320 --height 240",
        server.url("")
    ));
    browser.wait_until_live();
    let width = || browser.run("return document.getElementById('screen').width");
    wait_for("the new picture's size", || width() == 320);
    player.end();
}

#[test]
fn what_cannot_be_shown_is_said() {
    let server = Server::start("");
    let browser = Browser::start();
    browser.open(&server.url("/play/robot"));
    wait_for("no such stream", || {
        browser.message().contains("not published")
    });
    let _camera = camera(&server, "robot", "mpeg2");
    wait_for("MPEG-2", || {
        browser
            .message()
            .contains("MPEG-2, which browsers do not decode")
    });
    // Another publisher, now with what a browser shows.
    drop(_camera);
    let _camera = camera(&server, "robot", "h264");
    browser.wait_until_live();
}

#[test]
fn over_tls_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("viewers");
    let (certificate, key) = certificate(folder.path(), "127.0.0.1");
    fs::write(&tokens, "abcdefghijklmnopqrst\n").unwrap();
    let port = crate::common::free_udp_port();
    let server = Server::start(&format!(
        "--stream robot=udp://127.0.0.1:{port} --tls-cert {} --tls-key {} --view-token-file {}",
        certificate.display(),
        key.display(),
        tokens.display()
    ));
    let _camera = Running::forestall(&format!("capture udp://127.0.0.1:{port} --codec h264"));
    let browser = Browser::start();
    let page = format!("https://127.0.0.1:{}/play/robot", server.port);
    browser.open(&page);
    let text = browser.run("return document.body.textContent");
    assert!(
        text.as_str().unwrap().contains("a token is needed"),
        "{text}"
    );
    browser.open(&format!("{page}?token=abcdefghijklmnopqrst"));
    browser.wait_until_live();
    wait_for("the delay", || browser.figure("delay").is_some());
}

/// A site whose orchestrator takes reports, and what a server has to be told to report to it what is seen of the stream `robot`.
fn site_that_hears() -> (Site, String) {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.listen_on_loopback_with_tokens();
    site.start();
    let token = site.secret("report", REPORTER).display().to_string();
    let to = format!("--report {} --token-file {token}", site.api());
    (site, format!("{to} --function robot={FUNCTION}"))
}

fn viewed(site: &Site) -> Value {
    site.ask("functions")[0]["viewed"].clone()
}

#[test]
fn what_is_seen_in_browsers_is_told_to_an_orchestrator() {
    let (site, to) = site_that_hears();
    let server = Server::start(&to);
    let robot = camera(&server, "robot", "h264");
    let _other = camera(&server, "other", "h264");
    wait_for("the streams are there", || {
        server.get("/status.json").1.matches("H.264").count() == 2
    });
    let browser = Browser::start();
    // Of this stream nobody wants to know anything.
    browser.open(&server.url("/play/other"));
    browser.wait_until_live();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(browser.run("return isAsked"), false);
    assert_eq!(viewed(&site), Value::Null);

    browser.open(&server.url("/play/robot"));
    browser.wait_until_live();
    let age = |viewed: &Value| viewed["picture_age_ms"]["p95"].as_f64();
    site.wait_for("the age of the picture", |site| {
        age(&viewed(site)).is_some()
    });
    assert!(site.words("status").contains("viewers that report: 1"));
    // The page shows the delay of pictures when they are drawn, and reports their age on the screen: that is up to a picture's time more.
    thread::sleep(FIGURES_OVER);
    let (seen, shown) = (viewed(&site), browser.figure("delay").unwrap());
    let reported = seen["picture_age_ms"]["median"].as_f64().unwrap();
    assert!(
        (reported - shown).abs() < 2.0 * FRAME_MS,
        "the page shows {shown} ms and reports {seen}"
    );
    let frames = seen["frames"].as_f64().unwrap();
    assert!((10.0..=40.0).contains(&frames), "{seen}");
    assert_eq!(server.status()["nonsense"], 0);

    // What has a connection of its own is a viewer of its own.
    browser.run(
        "const second = new WebSocket(socket.url);
         second.onopen = () => second.send(JSON.stringify({
           type: 'report', span_ms: 1000, frames: 0, freezes: 0, picture_age_ms: null, frame_interval_ms: null }))",
    );
    site.wait_for("both", |site| viewed(site)["viewers"] == 2);

    // The camera is gone: the picture that stands grows old, and is told.
    drop(robot);
    site.wait_for("an old picture", |site| age(&viewed(site)) > Some(2000.0));
    drop(browser);
    site.wait_for("nobody", |site| viewed(site).is_null());
    let (_, said) = server.end();
    assert!(
        said.contains("reports: ") && said.contains(" 0 failed"),
        "{said}"
    );
}

#[test]
fn a_page_whose_clock_is_not_known_tells_no_age() {
    let (site, to) = site_that_hears();
    let server = Server::start(&to);
    let _robot = camera(&server, "robot", "h264");
    let browser = Browser::start();
    browser.open(&server.url("/play/robot"));
    browser.wait_until_live();
    // As if no answer to a ping had come yet.
    browser.run("trips = []; pong = () => {}");
    site.wait_for("a report without an age", |site| {
        let seen = viewed(site);
        seen["frames"].as_u64() > Some(0) && seen["picture_age_ms"].is_null()
    });
}

#[test]
fn what_a_page_makes_up_changes_nothing() {
    let (site, to) = site_that_hears();
    let server = Server::start(&to);
    let _robot = camera(&server, "robot", "h264");
    let browser = Browser::start();
    browser.open(&server.url("/play/robot"));
    browser.wait_until_live();
    // Its own reports are the only ones that are believed, and its picture goes on.
    for wrong in [
        "'{'",
        "'{\"type\":\"report\"}'",
        "JSON.stringify({ type: 'report', span_ms: 1000, frames: 1, freezes: 0, frame_interval_ms: null, \
         picture_age_ms: { median: -5, p95: NaN, max: 1e300 } })",
        "JSON.stringify({ type: 'report', span_ms: 1000, frames: 1e9, freezes: 0, frame_interval_ms: null, picture_age_ms: null })",
        "JSON.stringify({ type: 'report', viewer: 'anna' })",
    ] {
        browser.run(&format!("socket.send({wrong})"));
    }
    wait_for("nonsense is counted", || server.status()["nonsense"] == 5);
    let live = browser.figure("frames");
    wait_for("the picture goes on", || browser.figure("frames") > live);
    site.wait_for("a report", |site| viewed(site)["viewers"] == 1);
    assert!(viewed(&site)["frames"].as_u64() < Some(100));
    // So much is no message: the server ends the connection, and the page makes another.
    browser.run("window.ended = socket; socket.send('x'.repeat(2000))");
    wait_for("another connection", || {
        browser.run("return ended !== socket") == true
    });
    browser.wait_until_live();
}

#[test]
fn an_orchestrator_that_does_not_answer_delays_no_picture_in_a_browser() {
    // A listener that takes no connection: its queue fills, and nothing is answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(&format!(
        "--report {} --function robot={FUNCTION}",
        silent.local_addr().unwrap()
    ));
    let _robot = camera(&server, "robot", "h264");
    let browser = Browser::start();
    browser.open(&server.url("/play/robot"));
    browser.wait_until_live();
    thread::sleep(FIGURES_OVER + Duration::from_secs(1));
    let shown = browser.figure("delay").expect("the code strip is read");
    assert!(shown < 20.0 * FRAME_MS, "{shown} ms");
    drop(browser);
    let (code, said) = server.end();
    assert_eq!(code, Some(130));
    assert!(
        said.contains("it takes longer than 2 s") && said.contains("reports: 0 taken"),
        "{said}"
    );
}

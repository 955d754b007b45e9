//! The page in a real browser: headless Chromium, driven over the WebDriver protocol.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::common::browser::Browser;
use crate::common::{Running, Server, TOKEN, frames, wait_for};

/// A frame at 30 a second.
const FRAME_MS: f64 = 1000.0 / 30.0;
/// The page's figures are of the last 5 s.
const FIGURES_OVER: Duration = Duration::from_secs(5);

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
    thread::sleep(FIGURES_OVER + Duration::from_secs(1));
    let shown = browser.figure("delay").expect("the code strip is read");
    // The same frames in the same seconds, measured by the other player.
    let mut delays: Vec<f64> = frames(&rows)
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
    // Browser and server have one clock here.
    assert!(browser.figure("offset").unwrap().abs() < 5.0);
    if let Ok(path) = std::env::var("FORESTALL_SCREENSHOT") {
        fs::write(path, browser.screenshot()).unwrap();
    }

    browser.reload();
    browser.wait_until_live();

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
    let (certificate, key, tokens) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
        folder.path().join("viewers"),
    );
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
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

//! A real browser: headless Chromium, driven over the WebDriver protocol.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Running;

/// A browser with one window.
pub(crate) struct Browser {
    session: String,
    _driver: Running,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromedriver");
        command
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        assert!(
            Command::new("chromedriver")
                .arg("--version")
                .stdout(Stdio::null())
                .status()
                .is_ok(),
            "chromedriver is not installed: scripts/setup.sh --tests"
        );
        let mut driver = Running::start(command);
        // "ChromeDriver was started successfully on port 12345."
        let said = BufReader::new(driver.0.stdout.take().unwrap());
        let port = said.lines().find_map(|line| {
            let line = line.unwrap();
            let port = line.split_once("successfully on port ")?.1;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let root = format!(
            "http://127.0.0.1:{}",
            port.expect("chromedriver says its port")
        );
        let folder = format!("--user-data-dir={}", profile.path().display());
        // As root there is no sandbox; without the rest it looks for its maker's servers at every start.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1000,1400",
            &folder,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true, "goog:chromeOptions": { "args": arguments }
        } } });
        let answer = post(&format!("{root}/session"), &capabilities);
        let id = answer["sessionId"].as_str().unwrap();
        Self {
            session: format!("{root}/session/{id}"),
            _driver: driver,
            _profile: profile,
        }
    }

    pub(crate) fn open(&self, url: &str) {
        post(&format!("{}/url", self.session), &json!({ "url": url }));
    }

    pub(crate) fn reload(&self) {
        post(&format!("{}/refresh", self.session), &json!({}));
    }

    pub(crate) fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        post(&format!("{}/execute/sync", self.session), &body)
    }

    /// Has a script run in each page from now on, before anything of the page itself.
    pub(crate) fn before_pages(&self, script: &str) {
        let body = json!({
            "cmd": "Page.addScriptToEvaluateOnNewDocument", "params": { "source": script }
        });
        post(&format!("{}/goog/cdp/execute", self.session), &body);
    }

    /// The window as a PNG file.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let url = format!("{}/screenshot", self.session);
        let mut answer = ureq::get(&url).call().unwrap();
        let body: Value = answer.body_mut().read_json().unwrap();
        let png = from_base64(body["value"].as_str().unwrap());
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "a PNG file");
        assert!(png.len() > 10_000, "more than an empty page");
        png
    }
}

/// Bytes of base64 (RFC 4648, 4).
fn from_base64(text: &str) -> Vec<u8> {
    let letters = ('A'..='Z').chain('a'..='z').chain('0'..='9');
    let letters: String = letters.chain(['+', '/']).collect();
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.trim_end_matches('=').chars() {
        bits = (bits << 6) | letters.find(letter).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, too; the driver is ended after it.
        let _ = ureq::delete(&self.session).call();
    }
}

fn post(url: &str, body: &Value) -> Value {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut answer = agent.post(url).send_json(body).unwrap();
    let code = answer.status();
    let body: Value = answer.body_mut().read_json().unwrap();
    assert!(code.is_success(), "{url}: {body}");
    body["value"].clone()
}

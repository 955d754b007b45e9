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
            "--window-size=1000,1180",
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

    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let url = format!("{}/screenshot", self.session);
        let mut answer = ureq::get(&url).call().unwrap();
        let body: Value = answer.body_mut().read_json().unwrap();
        let script = format!("return atob('{}').length", body["value"].as_str().unwrap());
        assert!(self.run(&script).as_u64().unwrap() > 10_000, "a picture");
        body["value"].as_str().unwrap().as_bytes().to_vec()
    }
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

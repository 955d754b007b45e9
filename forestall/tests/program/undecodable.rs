//! What the page in a browser says of video that it cannot show.
#![cfg(feature = "media")]

use std::process::Command;

use crate::common::browser::Browser;
use crate::common::{Running, Server, TOKEN, wait_or};

/// Waits until the page says so.
fn wait_for_message(browser: &Browser, expected: &str) {
    let message = || {
        let said = browser.run("return document.getElementById('message').textContent");
        said.as_str().unwrap_or_default().to_owned()
    };
    let say = || format!("{expected:?} is not said, but {:?}", message());
    wait_or(|| message().contains(expected), say);
}

fn camera(server: &Server) -> Running {
    Running::forestall(&format!(
        "capture {}/publish/robot?token={TOKEN} --codec h264 --width 320 --height 240 --gop 10",
        server.url("")
    ))
}

#[test]
fn video_of_another_codec_is_said_by_its_name() {
    let (server, browser) = (Server::start(""), Browser::start());
    browser.open(&server.url("/play/robot"));
    let _camera = camera(&server);
    wait_for_message(&browser, "Live");
    drop(_camera);
    let mut sender = Command::new("ffmpeg");
    sender.args("-nostdin -v error -re -f lavfi -i testsrc2=size=176x144:rate=25".split(' '));
    sender.args("-c:v libx265 -preset ultrafast -x265-params keyint=10:log-level=none".split(' '));
    sender.args(["-f", "mpegts"]);
    sender.arg(server.url(&format!("/publish/robot?token={TOKEN}")));
    let sender = Running::start(sender);
    let expected = "H.265 (stream type 0x24), which this page does not decode";
    wait_for_message(&browser, expected);
    // It stays said while the stream goes on.
    std::thread::sleep(std::time::Duration::from_secs(2));
    wait_for_message(&browser, expected);
    drop(sender);
    let _camera = camera(&server);
    wait_for_message(&browser, "Live");
}

/// The browser's decoder is put aside for one that always fails; then it is there again.
#[test]
fn a_decoder_that_always_fails_is_said() {
    let (server, browser) = (Server::start(""), Browser::start());
    browser.open(&server.url("/play/robot"));
    browser.run(
        "window.good = window.VideoDecoder;
         window.VideoDecoder = class {
           constructor(init) { this.init = init; this.state = 'unconfigured'; this.decodeQueueSize = 0; }
           configure() { this.state = 'configured'; }
           decode() { this.state = 'closed'; setTimeout(() => this.init.error(new Error('worn out'))); }
           close() { this.state = 'closed'; }
         }",
    );
    let _camera = camera(&server);
    wait_for_message(&browser, "This browser cannot decode avc1.");
    wait_for_message(&browser, ": worn out");
    browser.run("window.VideoDecoder = window.good");
    wait_for_message(&browser, "Live");
}

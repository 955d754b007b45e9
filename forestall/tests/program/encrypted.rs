//! The video commands over TLS, real processes on loopback: whom they believe, and FFmpeg at the other end.
#![cfg(feature = "media")]

use std::path::Path;

use crate::common::{
    Running, Server, TOKEN, are_in_a_row, certificate, check, frames, wait_for, wait_for_frames,
};
use crate::streams::{capture, ffmpeg, ffmpeg_sees, play};

/// What a server's certificate is for.
const HERE: &str = "127.0.0.1";

/// A server with a certificate.
struct Encrypted {
    server: Server,
    folder: tempfile::TempDir,
    authority: String,
}

impl Encrypted {
    fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = certificate(folder.path(), name);
        let authority = chain.display().to_string();
        let options = format!("--tls-cert {authority} --tls-key {}", key.display());
        Self {
            server: Server::start(&options),
            folder,
            authority,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{HERE}:{}{path}", self.server.port)
    }

    /// Where a stream is published.
    fn publish(&self, name: &str) -> String {
        self.url(&format!("/publish/{name}?token={TOKEN}"))
    }

    /// Waits until a stream is there to watch.
    fn wait_for(&self, name: &str) {
        let url: media::StreamUrl = self.url(&format!("/{name}.ts")).parse().unwrap();
        let url = url.vouched_for_by(Some(Path::new(&self.authority)));
        wait_for(name, || media::net::Input::open(&url).is_ok());
    }
}

#[test]
fn every_stage_over_tls() {
    let (first, second) = (Encrypted::start(HERE), Encrypted::start(HERE));
    let shown = first.folder.path().join("frames.csv");
    let (ca, second_ca) = (&first.authority, &second.authority);
    // Camera, server, overlay, the same server, relay, and another one.
    let _camera = capture(&format!("{} --ca {ca}", first.publish("robot")));
    first.wait_for("robot");
    let _overlay = Running::forestall(&format!(
        "overlay {} {} --ca {ca}",
        first.url("/robot.ts"),
        first.publish("drawn")
    ));
    first.wait_for("drawn");
    // Several authorities may be in one file.
    let both = first.folder.path().join("both.pem");
    let texts = [ca, second_ca].map(|file| std::fs::read_to_string(file).unwrap());
    std::fs::write(&both, texts.concat()).unwrap();
    let _relay = Running::forestall(&format!(
        "relay {} {} --ca {}",
        first.url("/drawn.ts"),
        second.publish("relayed"),
        both.display()
    ));
    second.wait_for("relayed");
    let third = Server::start(&format!(
        "--stream copy={} --ca {second_ca}",
        second.url("/relayed.ts")
    ));
    let copied = first.folder.path().join("copied.csv");
    let _players = [
        play(
            &format!("{} --ca {second_ca}", second.url("/relayed.ts")),
            &shown,
        ),
        play(&third.url("/copy.ts"), &copied),
    ];
    for path in [&shown, &copied] {
        let frames = wait_for_frames(path, 30);
        let numbers: Vec<Option<u32>> = frames.iter().map(|row| row.frame).collect();
        assert!(are_in_a_row(&frames), "{}: {numbers:?}", path.display());
    }
}

#[test]
fn who_proves_nothing_is_not_believed() {
    let encrypted = Encrypted::start(HERE);
    let (url, ca) = (encrypted.url("/robot.ts"), &encrypted.authority);
    let (other, _) = certificate(encrypted.folder.path(), "localhost");
    let other = other.display();
    let refused = format!("no encrypted connection to {url}; `--ca` names a file");
    check(&format!("play {url} --ca {other}"), 1, &refused);
    // The right authority, but not for this name.
    let elsewhere = Encrypted::start("edge.example");
    check(
        &format!(
            "play {} --ca {}",
            elsewhere.url("/robot.ts"),
            elsewhere.authority
        ),
        1,
        "no encrypted connection to",
    );
    // A camera goes on trying: a certificate can be renewed.
    check(
        &format!(
            "capture {} --ca {other} --duration 1",
            encrypted.publish("robot")
        ),
        0,
        "/publish/robot?…: no encrypted connection to",
    );
    check(
        &format!("play {url} --ca /no/such"),
        2,
        "cannot read certificates of authorities from /no/such",
    );
    check(
        &format!("capture {} --ca /no/such", encrypted.publish("robot")),
        2,
        "cannot read certificates of authorities from /no/such",
    );
    // The one speaks TLS and the other does not.
    check(
        &format!("play {}", url.replace("https", "http")),
        1,
        "robot.ts: ",
    );
    let open = Server::start("");
    check(
        &format!(
            "play {} --ca {ca}",
            open.url("/robot.ts").replace("http", "https")
        ),
        1,
        "no encrypted connection to",
    );
    // With a proof the rest is as without TLS.
    check(
        &format!("play {url} --ca {ca}"),
        1,
        "the server answers 404",
    );
}

#[test]
fn ffmpeg_publishes_and_watches_over_tls() {
    let encrypted = Encrypted::start(HERE);
    let _camera = capture(&format!(
        "{} --ca {}",
        encrypted.publish("ours"),
        encrypted.authority
    ));
    let _ffmpeg = Running::start(ffmpeg(&format!(
        "-re -f lavfi -i testsrc2=size=160x120:rate=25 -c:v mpeg2video -g 10 -b:v 400k -f mpegts -method PUT {}",
        encrypted.publish("theirs")
    )));
    for name in ["ours", "theirs"] {
        encrypted.wait_for(name);
        let url = encrypted.url(&format!("/{name}.ts"));
        assert_eq!(ffmpeg_sees(&format!("-i {url}")), 15 * 160 * 120, "{name}");
    }
    // What it publishes we show, too.
    let shown = encrypted.folder.path().join("frames.csv");
    let url = encrypted.url("/theirs.ts");
    let _player = play(&format!("{url} --ca {}", encrypted.authority), &shown);
    wait_for("pictures without a code strip", || {
        frames(&shown).len() > 30
    });
}

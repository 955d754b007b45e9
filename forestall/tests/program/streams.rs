//! The video commands together, real processes on loopback, over whatever carries a stream. Nothing here depends on how
//! fast the machine is.
#![cfg(feature = "media")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Running, Server, TOKEN, are_in_a_row, check, forestall, frames, free_tcp_port, free_udp_port,
    wait_for, wait_for_frames,
};
use record::Timestamp;
use record::raw::{FrameRow, FrameStatus};

/// How long a network stands still.
const STALL: Duration = Duration::from_secs(1);
const CAMERA: &str = "--width 160 --height 120 --bitrate 300k --gop 10 --duration 40";

/// A player that writes what it shows.
pub(crate) fn play(url: &str, frames: &Path) -> Running {
    Running::forestall(&format!(
        "play {url} --frames-csv {} --duration 40",
        frames.display()
    ))
}

pub(crate) fn capture(url: &str) -> Running {
    Running::forestall(&format!("capture {url} {CAMERA}"))
}

/// A camera at `to` is seen by a player at `from`.
fn check_carrier(to: &str, from: &str) {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("frames.csv");
    let _capture = capture(to);
    if to.contains("listen") {
        // The player is refused without a camera. A connection that ends again costs nothing.
        let port = from.rsplit(':').next().unwrap();
        wait_for("the camera listens", || {
            TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
        });
    }
    let _play = play(from, &shown);
    let shown = wait_for_frames(&shown, 30);
    assert!(are_in_a_row(&shown), "{shown:?}");
}

#[test]
fn over_udp() {
    let url = format!("udp://127.0.0.1:{}", free_udp_port());
    check_carrier(&url, &url);
}

#[test]
fn over_rtp() {
    let url = format!("rtp://127.0.0.1:{}", free_udp_port());
    check_carrier(&url, &url);
}

#[test]
fn over_multicast() {
    let url = format!("udp://239.255.77.7:{}?interface=127.0.0.1", free_udp_port());
    check_carrier(&format!("{url}&ttl=0"), &url);
}

#[test]
fn over_a_connection_that_the_camera_makes() {
    let url = format!("tcp://127.0.0.1:{}", free_tcp_port());
    check_carrier(&url, &format!("{url}?listen"));
}

#[test]
fn over_a_connection_that_the_player_makes() {
    let url = format!("tcp://127.0.0.1:{}", free_tcp_port());
    check_carrier(&format!("{url}?listen"), &url);
}

#[test]
fn from_camera_to_screen_through_relay_and_server() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("frames.csv");
    let (relayed, served) = (free_udp_port(), free_udp_port());
    let server = Server::start(&format!("--stream robot=udp://127.0.0.1:{served}"));
    let _relay = Running::forestall(&format!(
        "relay udp://127.0.0.1:{relayed} udp://127.0.0.1:{served} udp://127.0.0.1:9 tcp://127.0.0.1:1"
    ));
    let camera = capture(&format!("udp://127.0.0.1:{relayed}"));
    let player = play(&server.url("/robot.ts"), &shown);
    let first = wait_for_frames(&shown, 30);
    assert!(are_in_a_row(&first), "{first:?}");
    let status = server.status();
    assert_eq!(status["streams"][0]["packets_lost"], 0, "{status}");
    // The camera restarts; the player keeps its connection and shows the new one from its first key picture on.
    drop(camera);
    let before = frames(&shown).len();
    let _camera = capture(&format!("udp://127.0.0.1:{relayed}"));
    wait_for("the restarted camera is shown", || {
        frames(&shown).len() >= before + 30
    });
    let after = frames(&shown);
    let restarted = after.iter().rposition(|frame| frame.frame == Some(0));
    let after = &after[restarted.expect("its first picture")..];
    assert!(
        after.iter().all(|frame| frame.status == FrameStatus::Ok),
        "{after:?}"
    );
    let status = server.status();
    assert_eq!(status["streams"][0]["viewers"], 1, "{status}");
    assert_eq!(player.end(), Some(130));
}

#[test]
fn published_by_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("");
    let _camera = capture(&server.url(&format!("/publish/robot?token={TOKEN}")));
    wait_for("the stream is there", || {
        server.status()["streams"][0]["frames_in"].as_u64() > Some(10)
    });
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let _players = [0, 1].map(|at| play(&server.url("/robot.ts"), &paths[at]));
    for path in &paths {
        assert!(are_in_a_row(&wait_for_frames(path, 30)));
    }
}

#[test]
fn a_chain_of_servers() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("frames.csv");
    let first = Server::start("");
    let _camera = capture(&first.url(&format!("/publish/robot?token={TOKEN}")));
    wait_for("the stream is there", || {
        first.status()["streams"][0]["frames_in"].as_u64() > Some(10)
    });
    let second = Server::start(&format!("--stream copy={}", first.url("/robot.ts")));
    let _player = play(&second.url("/copy.ts"), &shown);
    assert!(are_in_a_row(&wait_for_frames(&shown, 30)));
}

/// `ffmpeg` with its arguments; it says nothing but errors.
pub(crate) fn ffmpeg(arguments: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error"])
        .args(arguments.split_whitespace());
    command
}

/// What `ffmpeg` makes of 15 pictures: their raw bytes.
pub(crate) fn ffmpeg_sees(input: &str) -> usize {
    let output = ffmpeg(&format!(
        "-probesize 500k -analyzeduration 1M {input} -frames:v 15 -f rawvideo -pix_fmt gray -"
    ))
    .output()
    .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout.len()
}

fn check_ffmpeg_as_source(codec: &str, expected: &str) {
    let server_port = free_udp_port();
    let server = Server::start(&format!("--stream video=udp://127.0.0.1:{server_port}"));
    let source = format!(
        "-re -f lavfi -i testsrc2=size=160x120:rate=25 -c:v {codec} -g 25 -b:v 400k -f mpegts"
    );
    let _by_udp = Running::start(ffmpeg(&format!(
        "{source} udp://127.0.0.1:{server_port}?pkt_size=1316"
    )));
    let _by_http = Running::start(ffmpeg(&format!(
        "{source} -method PUT {}",
        server.url(&format!("/publish/pushed?token={TOKEN}"))
    )));
    wait_for("both streams are there", || {
        let status = server.status();
        let streams = status["streams"].as_array().unwrap();
        let live = |stream: &serde_json::Value| {
            stream["frames_in"].as_u64() > Some(30) && stream["codec"] == expected
        };
        streams.len() == 2 && streams.iter().all(live)
    });
    for name in ["video", "pushed"] {
        let bytes = ffmpeg_sees(&format!("-i {}", server.url(&format!("/{name}.ts"))));
        assert_eq!(bytes, 15 * 160 * 120, "{name}");
    }
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=codec_name,width"])
        .args(["-of", "csv=p=0", &server.url("/video.ts")])
        .output()
        .unwrap();
    let probed = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(probed.contains(",160"), "{probed}");
}

#[test]
fn ffmpeg_publishes_and_watches_mpeg2() {
    check_ffmpeg_as_source("mpeg2video", "MPEG-2");
}

#[test]
fn ffmpeg_publishes_and_watches_h264() {
    check_ffmpeg_as_source("libx264 -preset ultrafast -tune zerolatency", "H.264");
}

#[test]
fn ffmpeg_watches_our_camera_by_udp_and_rtp() {
    for (scheme, codec) in [
        ("udp", "mpeg2"),
        ("udp", "h264"),
        ("rtp", "mpeg2"),
        ("rtp", "h264"),
    ] {
        let port = free_udp_port();
        let url = format!("{scheme}://127.0.0.1:{port}");
        let _camera = capture(&format!("{url} --codec {codec}"));
        // ffmpeg wants to be told what RTP carries.
        let folder = tempfile::tempdir().unwrap();
        let description = folder.path().join("camera.sdp");
        std::fs::write(
            &description,
            format!("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 33\n"),
        )
        .unwrap();
        let input = match scheme {
            "udp" => format!("-i {url}"),
            _ => format!(
                "-protocol_whitelist file,udp,rtp -i {}",
                description.display()
            ),
        };
        assert_eq!(ffmpeg_sees(&input), 15 * 160 * 120, "{scheme}, {codec}");
    }
}

#[test]
fn our_player_takes_the_rtp_of_ffmpeg() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("frames.csv");
    let port = free_udp_port();
    let _player = play(&format!("rtp://127.0.0.1:{port}"), &shown);
    let mut camera = forestall("capture --width 160 --height 120 --duration 40 --encoder-command");
    camera.arg(format!(
        "ffmpeg -nostdin -v error -f rawvideo -pix_fmt yuv420p -s 160x120 -r 30 -i pipe:0 \
         -c:v mpeg2video -b:v 600k -f rtp_mpegts rtp://127.0.0.1:{port}"
    ));
    camera.stderr(Stdio::null());
    let _camera = Running::start(camera);
    assert!(are_in_a_row(&wait_for_frames(&shown, 30)));
}

#[test]
fn h264_from_camera_to_screen() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("frames.csv");
    let into_overlay = free_udp_port();
    let server = Server::start("");
    let _overlay = Running::forestall(&format!(
        "overlay udp://127.0.0.1:{into_overlay} {} --codec h264",
        server.url(&format!("/publish/robot?token={TOKEN}"))
    ));
    let _camera = Running::forestall(&format!(
        "capture udp://127.0.0.1:{into_overlay} {CAMERA} --codec h264"
    ));
    wait_for("the stream is there", || {
        server.status()["streams"][0]["frames_in"].as_u64() > Some(10)
    });
    assert_eq!(server.status()["streams"][0]["codec"], "H.264");
    let _player = play(&server.url("/robot.ts"), &shown);
    assert!(are_in_a_row(&wait_for_frames(&shown, 30)));
}

/// Passes datagrams on until so much time has passed: late by up to three such steps, in order.
fn forward(socket: &UdpSocket, to: u16, step: Duration, lasts: Duration) {
    let begun = Instant::now();
    let mut buffer = [0; 2000];
    for datagram in 0_u32.. {
        let length = socket.recv(&mut buffer).unwrap();
        if datagram % 7 == 0 {
            thread::sleep(step * (datagram % 4));
        }
        socket
            .send_to(&buffer[..length], ("127.0.0.1", to))
            .unwrap();
        if begun.elapsed() > lasts {
            return;
        }
    }
}

fn median_delay_ms(frames: &[FrameRow]) -> f64 {
    let mut delays: Vec<f64> = frames.iter().filter_map(|frame| frame.delay_ms).collect();
    delays.sort_by(f64::total_cmp);
    delays[delays.len() / 2]
}

#[test]
fn a_steady_pace_in_spite_of_jitter_and_of_a_stall() {
    let folder = tempfile::tempdir().unwrap();
    let (shown, said) = (folder.path().join("frames.csv"), folder.path().join("said"));
    let (from, to) = (free_udp_port(), free_udp_port());
    let mut player = forestall(&format!(
        "play udp://127.0.0.1:{to} --playout 0.9 --frames-csv {} --stats json",
        shown.display()
    ));
    player.stdout(File::create(&said).unwrap());
    let player = Running::start(player);
    let socket = UdpSocket::bind(("127.0.0.1", from)).unwrap();
    let _camera = capture(&format!("udp://127.0.0.1:{from}"));
    // All pictures whose lateness counts are there then: ten seconds of them.
    let late = Duration::from_millis(20);
    forward(&socket, to, late, Duration::from_secs(12));
    let jittered = frames(&shown);
    // The network stands still, then gives all that it holds, and goes on as before.
    thread::sleep(STALL);
    let over = Timestamp::now();
    forward(&socket, to, Duration::ZERO, Duration::from_millis(200));
    forward(&socket, to, late, Duration::from_secs(4));
    assert_eq!(player.end(), Some(130));

    let numbers: Vec<u32> = jittered.iter().filter_map(|frame| frame.frame).collect();
    let span = (numbers[numbers.len() - 1] - numbers[0] + 1) as usize;
    assert!(
        numbers.len() * 10 >= span * 9,
        "hardly one is skipped: {numbers:?}"
    );
    let delay = |frame: &FrameRow| frame.delay_ms.unwrap();
    let late: Vec<f64> = jittered[jittered.len() / 2..].iter().map(delay).collect();
    let least = late.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least > 10.0, "all wait for those that are late: {late:?}");
    // That they wait is told.
    let said = std::fs::read_to_string(&said).unwrap();
    let seconds = said.lines().map(|line| {
        let report: serde_json::Value = serde_json::from_str(line).unwrap();
        report["playout_ms"].as_f64()
    });
    let targets: Vec<f64> = seconds.flatten().collect();
    let told = targets[targets.len() / 2];
    assert!((10.0..=500.0).contains(&told), "{targets:?}");

    let all = frames(&shown);
    let gaps = all
        .windows(2)
        .map(|pair| pair[1].shown_us.since(pair[0].shown_us));
    assert!(gaps.max() > Some(STALL / 2), "the picture stood still");
    let back = Some(over + Duration::from_secs(2));
    let after: Vec<FrameRow> = all
        .into_iter()
        .filter(|frame| frame.captured_us >= back)
        .collect();
    assert!(after.len() > 30, "{}", after.len());
    let (before, after) = (
        median_delay_ms(&jittered[jittered.len() / 2..]),
        median_delay_ms(&after),
    );
    assert!(
        (after - before).abs() < 1000.0 / 30.0,
        "{before} ms, and {after} ms after the stall"
    );
}

#[test]
fn wrong_addresses() {
    check(
        "play http://127.0.0.1:1/x.ts",
        1,
        "cannot connect to http://127.0.0.1:1/x.ts: ",
    );
    check(
        "play tcp://127.0.0.1:1",
        1,
        "cannot connect to tcp://127.0.0.1:1: ",
    );
    check("play tcp://127.0.0.1", 2, "the port must be");
    check("relay udp://127.0.0.1:5000", 2, "OUTPUT");
    check(
        "relay udp://127.0.0.1:5000 udp://127.0.0.1:5000?ttl=x",
        2,
        "0 to 255",
    );
    check(
        "relay udp://127.0.0.1:5000 udp://no-such-host.invalid:5000",
        2,
        "cannot be resolved",
    );
    let server = Server::start("");
    let url = server.url("/nothing.ts");
    check(
        &format!("play {url}"),
        1,
        &format!("{url}: the server answers 404 Not Found"),
    );
}

/// Asks the overlay's control for something; status code and JSON.
fn control(
    mut socket: impl Read + Write,
    method: &str,
    head: &str,
    body: &str,
) -> (u16, serde_json::Value) {
    let length = body.len();
    write!(
        socket,
        "{method} / HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    let _ = socket.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, serde_json::from_str(body).unwrap())
}

#[test]
fn the_text_changes_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (shown, socket) = (
        folder.path().join("frames.csv"),
        folder.path().join("control"),
    );
    let (port, into_overlay, into_play) = (free_tcp_port(), free_udp_port(), free_udp_port());
    let overlay = |control: &str| {
        Running::forestall(&format!(
            "overlay udp://127.0.0.1:{into_overlay} udp://127.0.0.1:{into_play} --control {control}"
        ))
    };
    let by_port = overlay(&format!("127.0.0.1:{port}"));
    let _camera = capture(&format!("udp://127.0.0.1:{into_overlay}"));
    let _player = play(&format!("udp://127.0.0.1:{into_play}"), &shown);
    wait_for_frames(&shown, 10);
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let change = r##"{"text": "Shoes, 25 €", "colour": "#ffcc00", "size": 14}"##;
    let (code, label) = control(connect(), "POST", "", change);
    assert_eq!(
        (code, &label["text"], &label["x"]),
        (200, &"Shoes, 25 €".into(), &4.into())
    );
    let (code, error) = control(connect(), "PUT", "", r#"{"text": "x", "size": "big"}"#);
    assert_eq!(code, 400, "{error}");
    assert_eq!(control(connect(), "GET", "", ""), (200, label));
    assert_eq!(control(connect(), "DELETE", "", "").0, 405);
    assert_eq!(
        control(connect(), "POST", "Origin: http://a\r\n", "{}").0,
        403
    );
    assert_eq!(control(connect(), "POST", "", &" ".repeat(20_000)).0, 400);
    let before = frames(&shown).len();
    wait_for("video goes on", || frames(&shown).len() > before + 10);
    assert_eq!(by_port.end(), Some(130));
    let by_file = overlay(&socket.display().to_string());
    wait_for("the socket is there", || {
        UnixStream::connect(&socket).is_ok()
    });
    let connect = || UnixStream::connect(&socket).unwrap();
    assert_eq!(control(connect(), "PATCH", "", r#"{"y": 60}"#).1["y"], 60);
    assert_eq!(by_file.end(), Some(130));
    assert!(!socket.exists());
}

/// Red, green and blue of a pixel of the last picture that a player shows.
fn pixel(port: u16, folder: &Path, x: usize, y: usize) -> [u8; 3] {
    let raw = last_picture(port, folder);
    let at = 3 * (160 * y + x);
    [raw[at], raw[at + 1], raw[at + 2]]
}

/// Red, green and blue of each pixel of the last picture that a player shows.
fn last_picture(port: u16, folder: &Path) -> Vec<u8> {
    let (shown, png) = (folder.join("frames.csv"), folder.join("last.png"));
    let _ = std::fs::remove_file(&shown);
    let player = Running::forestall(&format!(
        "play udp://127.0.0.1:{port} --frames-csv {} --png {}",
        shown.display(),
        png.display()
    ));
    wait_for_frames(&shown, 5);
    assert_eq!(player.end(), Some(130));
    ffmpeg(&format!(
        "-i {} -f rawvideo -pix_fmt rgb24 -",
        png.display()
    ))
    .output()
    .unwrap()
    .stdout
}

#[test]
fn an_image_is_over_the_picture_and_changes_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, square) = (folder.path().join("control"), folder.path().join("a.png"));
    let made = ffmpeg("-f lavfi -i color=red:size=64x64,format=rgba -frames:v 1")
        .arg(&square)
        .status();
    assert!(made.unwrap().success());
    let square = square.display();
    let (into_overlay, into_play) = (free_udp_port(), free_udp_port());
    let overlay = Running::forestall(&format!(
        "overlay udp://127.0.0.1:{into_overlay} udp://127.0.0.1:{into_play} --control {} \
         --image {square}@100,20,32x32",
        socket.display()
    ));
    let _camera = capture(&format!("udp://127.0.0.1:{into_overlay}"));
    let is_red = |x, y| {
        let [red, green, blue] = pixel(into_play, folder.path(), x, y);
        red > 200 && green < 60 && blue < 60
    };
    assert!(is_red(116, 36));
    let connect = || UnixStream::connect(&socket).unwrap();
    let bad = r#"{"text": "x", "images": [{"file": "/no/such/shoe.png"}]}"#;
    let (code, error) = control(connect(), "POST", "", bad);
    let expected =
        "cannot read the image /no/such/shoe.png: No such file or directory (os error 2)";
    assert_eq!((code, &error["error"]), (400, &expected.into()));
    assert!(is_red(116, 36));
    let moved =
        format!(r#"{{"images": [{{"file": "{square}", "x": 20, "y": 50, "height": 20}}]}}"#);
    let (code, label) = control(connect(), "POST", "", &moved);
    assert_eq!((code, &label["images"][0]["y"]), (200, &50.into()));
    assert_eq!(control(connect(), "GET", "", ""), (200, label));
    assert!(is_red(30, 60) && !is_red(116, 36));
    assert_eq!(overlay.end(), Some(130));
}

#[test]
fn a_font_without_the_glyph() {
    check(
        "overlay udp://127.0.0.1:1 udp://127.0.0.1:1 --text Shoes,製品",
        2,
        "the font has no '製'; name another with --font",
    );
}

#[test]
fn wrong_images() {
    let overlay = "overlay udp://127.0.0.1:1 udp://127.0.0.1:1 --image";
    check(
        &format!("{overlay} /no/such/shoe.png@1,2"),
        3,
        "cannot read the image /no/such/shoe.png: No such file",
    );
    check(&format!("{overlay} shoe.png"), 2, "like FILE@X,Y");
    check(&format!("{overlay} Cargo.toml@1,2"), 2, "not a PNG image");
    check(&format!("{overlay} src@1,2"), 2, "src is not a file");
}

/// The camera's pictures by `ffmpeg`, in another order than they are shown in.
fn capture_with_b_pictures(codec: &str, port: u16) -> Running {
    let mut capture = forestall("capture --width 160 --height 120 --duration 60 --encoder-command");
    capture.arg(format!(
        "ffmpeg -nostdin -v error -f rawvideo -pix_fmt yuv420p -s 160x120 -r 30 -i - -c:v {codec} -f mpegts \
         -flush_packets 1 'udp://127.0.0.1:{port}?pkt_size=1316'"
    ));
    capture.stdout(Stdio::null());
    Running::start(capture)
}

/// A stage with its figures in a file.
fn with_figures(arguments: &str, figures: &Path) -> Running {
    let mut stage = forestall(&format!("{arguments} --stats json --duration 60"));
    stage.stdout(std::fs::File::create(figures).unwrap());
    stage.stderr(Stdio::null());
    Running::start(stage)
}

/// The last figures that a stage has told.
fn last_figures(figures: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(figures).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    serde_json::from_str(whole.lines().last().unwrap()).unwrap()
}

/// What is held of a stream with B-pictures, by who decodes it, is told; that is no damage, and a steady pace leaves none out.
#[test]
fn b_pictures_are_held_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let [played, drawn] = ["play", "overlay"].map(|name| folder.path().join(name));
    for codec in [
        "mpeg2video -bf 2 -g 12",
        "libx264 -preset ultrafast -x264-params bframes=2:b-adapt=0 -g 30",
    ] {
        for playout in ["", "--playout 0.95"] {
            let port = free_udp_port();
            let shown = folder.path().join(format!("{port}.csv"));
            let line = format!(
                "play udp://127.0.0.1:{port} {playout} --frames-csv {}",
                shown.display()
            );
            let _player = with_figures(&line, &played);
            let _camera = capture_with_b_pictures(codec, port);
            let numbers: Vec<u32> = wait_for_frames(&shown, 90)
                .iter()
                .filter_map(|frame| frame.frame)
                .collect();
            let is_in_order = numbers.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(is_in_order, "{codec} {playout}: {numbers:?}");
            let span = numbers[numbers.len() - 1] - numbers[0] + 1;
            assert!(span < 100, "{codec} {playout}: {numbers:?}");
            let figures = last_figures(&played);
            assert!(figures["frames_held"].as_u64() > Some(0), "{figures}");
            assert_eq!(figures["frames_damaged"], 0, "{figures}");
        }
        let (into_overlay, into_play) = (free_udp_port(), free_udp_port());
        let shown = folder.path().join(format!("{into_play}.csv"));
        let line = format!(
            "play udp://127.0.0.1:{into_play} --frames-csv {}",
            shown.display()
        );
        let _player = with_figures(&line, &played);
        let line = format!("overlay udp://127.0.0.1:{into_overlay} udp://127.0.0.1:{into_play}");
        let _overlay = with_figures(&line, &drawn);
        let _camera = capture_with_b_pictures(codec, into_overlay);
        assert!(are_in_a_row(&wait_for_frames(&shown, 60)), "{codec}");
        let figures = last_figures(&drawn);
        assert!(figures["frames_held"].as_u64() > Some(0), "{figures}");
        assert_eq!(figures["frames_damaged"], 0, "{figures}");
        // The overlay makes none.
        assert_eq!(last_figures(&played)["frames_held"], 0, "{codec}");
    }
}

#[test]
fn a_text_in_chinese_is_over_the_picture() {
    const FONT: &str = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc";
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control");
    let (into_overlay, into_play) = (free_udp_port(), free_udp_port());
    let _overlay = Running::forestall(&format!(
        "overlay udp://127.0.0.1:{into_overlay} udp://127.0.0.1:{into_play} --control {} --font {FONT} --text 製品 \
         --x 0 --y 0 --size 48 --colour #f0fff0 --box-opacity 1",
        socket.display()
    ));
    let _camera = capture(&format!("udp://127.0.0.1:{into_overlay}"));
    wait_for("it can be asked", || UnixStream::connect(&socket).is_ok());
    let (code, label) = control(UnixStream::connect(&socket).unwrap(), "GET", "", "");
    assert_eq!((code, &label["text"]), (200, &"製品".into()));
    assert_eq!((&label["x"], &label["size"]), (&0.into(), &48.0.into()));
    assert_eq!(label["colour"], "#f0fff0");
    // White on black. A line of 48 pixels has letters of some 40.
    let picture = last_picture(into_play, folder.path());
    let bright = |columns: std::ops::Range<usize>| {
        let green = |x: usize, y: usize| picture[3 * (160 * y + x) + 1];
        let rows = 10..54;
        rows.flat_map(|y| columns.clone().map(move |x| (x, y)))
            .filter(|(x, y)| green(*x, *y) > 150)
            .count()
    };
    for columns in [10..46, 52..88] {
        let count = bright(columns.clone());
        assert!((100..1200).contains(&count), "{columns:?}: {count}");
    }
}

#[test]
fn wrong_looks_of_a_text() {
    let overlay = "overlay udp://127.0.0.1:1 udp://127.0.0.1:1";
    for (look, expected) in [
        ("--colour red", "a colour is written like #ff8800"),
        ("--box-colour #12", "a colour is written like #ff8800"),
        ("--size 500", "size must be from 6 to 200 pixels"),
        ("--box-opacity 2", "box_opacity must be from 0 to 1"),
        ("--x 3000", "x and y must be from 0 to 2048"),
    ] {
        check(&format!("{overlay} {look}"), 2, expected);
    }
}

//! Other people's players and senders, from Debian's packages, each as they come: GStreamer, mpv, ffplay and VLC. FFmpeg's other
//! programs are in `streams.rs`.
#![cfg(feature = "media")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::display::Display;
use crate::common::{
    GIVE_UP, POLL, Running, Server, TOKEN, are_in_a_row, forestall, frames, free_tcp_port,
    free_udp_port, wait_for, wait_for_frames, wait_or,
};
use record::Timestamp;
use record::raw::{FrameRow, FrameStatus};
use wire::code_strip::{Place, Plane, Strip};

/// GStreamer's names for a codec: encoder, parser, decoder; and ours. Its `avenc_mpeg2video` takes every rate for 10^9 a second (1.22) and
/// refuses it.
const CODECS: [(&str, &str, &str, &str); 2] = [
    (
        "mpeg2enc format=3 bitrate=400 sequence-header-every-gop=true",
        "mpegvideoparse",
        "avdec_mpeg2video",
        "mpeg2",
    ),
    (
        "x264enc tune=zerolatency bitrate=400 key-int-max=25",
        "h264parse",
        "avdec_h264",
        "h264",
    ),
];

/// Debian's user who owns nothing.
const NOBODY: u32 = 65_534;

fn gst(pipeline: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(pipeline.split_whitespace());
    command.stdout(Stdio::null());
    command
}

/// Waits until a stream can be watched.
fn wait_for_stream(url: &str) {
    let stream: media::StreamUrl = url.parse().unwrap();
    wait_for(url, || media::net::Input::open(&stream).is_ok());
}

/// The camera's own pictures in somebody else's hands: a line for the shell that takes them raw, 160x120 at 30 a second. The code
/// strip tells whether they arrive whole.
fn pictures_for(line: &str) -> Running {
    let mut capture = forestall("capture --width 160 --height 120 --duration 60 --encoder-command");
    capture.arg(line).stdout(Stdio::null());
    Running::start(capture)
}

/// By `ffmpeg`, with what it is told of coding and packing.
fn pictures_by_ffmpeg(options: &str, port: u16) -> Running {
    pictures_for(&format!(
        "ffmpeg -nostdin -loglevel error -f rawvideo -pix_fmt yuv420p -s 160x120 -r 30 -i - {options} -f mpegts \
         -flush_packets 1 'udp://127.0.0.1:{port}?pkt_size=1316'"
    ))
}

fn player(url: &str, rows: &Path) -> Running {
    Running::forestall(&format!(
        "play {url} --frames-csv {} --duration 120",
        rows.display()
    ))
}

/// What a process said, once it has ended; killed if it does not.
fn ended(mut child: Child) -> Output {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > GIVE_UP {
            child.kill().unwrap();
            break;
        }
        std::thread::sleep(POLL);
    }
    child.wait_with_output().unwrap()
}

fn camera(url: &str, codec: &str) -> Running {
    Running::forestall(&format!(
        "capture {url} --width 160 --height 120 --bitrate 400k --gop 10 --codec {codec} --duration 60"
    ))
}

#[test]
fn gstreamer_sends_and_we_play() {
    let raw = "rawvideoparse width=160 height=120 format=i420 framerate=30/1";
    for (encoder, parser, _, codec) in CODECS {
        let folder = tempfile::tempdir().unwrap();
        let coded = format!(
            "gst-launch-1.0 -q fdsrc ! {raw} ! {encoder} ! {parser} ! mpegtsmux alignment=7"
        );
        let port = free_udp_port();
        let rows = folder.path().join("udp.csv");
        let _player = player(&format!("udp://127.0.0.1:{port}"), &rows);
        let _camera = pictures_for(&format!(
            "{coded} ! udpsink host=127.0.0.1 port={port} sync=false"
        ));
        wait_for_frames(&rows, 30);
        println!("{codec}: played by UDP");

        let server = Server::start("");
        let publish = format!("{}?token={TOKEN}", server.url("/publish/robot"));
        let _publisher = pictures_for(&format!(
            "{coded} ! curlhttpsink location='{publish}' content-type=video/mp2t sync=false"
        ));
        let url = server.url("/robot.ts");
        wait_for_stream(&url);
        let rows = folder.path().join("http.csv");
        let _player = player(&url, &rows);
        wait_for_frames(&rows, 30);
        println!("{codec}: played by HTTP");
    }
}

/// Numbers in the code strips of the camera's pictures, raw (I420).
fn numbers(raw: &[u8]) -> Vec<Option<u32>> {
    let (width, height) = (160, 120);
    let read = |picture: &[u8]| {
        let plane = Plane {
            data: &picture[..width * height],
            stride: width,
            width,
            height,
        };
        Strip::read(Place::Bottom, plane).map(|strip| strip.b)
    };
    raw.chunks_exact(width * height * 3 / 2).map(read).collect()
}

/// What comes out of a pipeline are the camera's pictures, whole and without a gap.
fn check_pictures_out_of(pipeline: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("raw");
    let _viewer = Running::start(gst(&format!(
        "{pipeline} ! videoconvert ! video/x-raw,format=I420 ! filesink location={}",
        file.display()
    )));
    let seen = || numbers(&std::fs::read(&file).unwrap_or_default());
    let is_in_a_row = |last: &[Option<u32>]| {
        last.windows(2)
            .all(|pair| pair[0].is_some_and(|first| pair[1] == Some(first + 1)))
    };
    wait_or(
        || {
            let seen = seen();
            seen.len() >= 15 && is_in_a_row(&seen[seen.len() - 15..])
        },
        || format!("{pipeline}: {:?}", seen()),
    );
}

#[test]
fn gstreamer_watches_by_udp_and_http() {
    for (_, parser, decoder, codec) in CODECS {
        let port = free_udp_port();
        let _camera = camera(&format!("udp://127.0.0.1:{port}"), codec);
        let decode = format!("tsdemux ! {parser} ! {decoder}");
        check_pictures_out_of(&format!("udpsrc address=127.0.0.1 port={port} ! {decode}"));

        let server = Server::start("");
        let _publisher = camera(
            &format!("{}?token={TOKEN}", server.url("/publish/robot")),
            codec,
        );
        let url = server.url("/robot.ts");
        wait_for_stream(&url);
        check_pictures_out_of(&format!(
            "souphttpsrc location={url} is-live=true ! {decode}"
        ));
    }
}

/// What a viewer shows was taken less than so long ago: each holds pictures as it likes.
const HELD_MAX: Duration = Duration::from_secs(5);
const BIG_ENOUGH: &str = "--width 320 --height 240 --bitrate 1M --gop 10 --duration 120";

/// A viewer shows what the camera takes: its window is read back from the screen, by UDP and HTTP, MPEG-2 and H.264.
fn check_window_of(viewer: impl Fn(&str, &Path) -> Command) {
    let (display, home) = (Display::start(), tempfile::tempdir().unwrap());
    for codec in ["mpeg2", "h264"] {
        let server = Server::start("");
        let port = free_udp_port();
        let publish = format!("{}?token={TOKEN}", server.url("/publish/robot"));
        let _cameras = [publish, format!("udp://127.0.0.1:{port}")]
            .map(|url| Running::forestall(&format!("capture {url} --codec {codec} {BIG_ENOUGH}")));
        wait_for("the stream is there", || {
            server.status()["streams"][0]["frames_in"].as_u64() > Some(10)
        });
        for url in [server.url("/robot.ts"), format!("udp://127.0.0.1:{port}")] {
            let mut command = viewer(&url, home.path());
            command
                .env("DISPLAY", &display.name)
                .env("HOME", home.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let _viewer = Running::start(command);
            let first = display.live_frame(HELD_MAX);
            wait_for("it goes on", || display.live_frame(HELD_MAX) > first + 15);
            println!("{url}, {codec}: seen");
        }
    }
}

#[test]
fn mpv_shows_udp_and_http() {
    check_window_of(|url, _| {
        let mut mpv = Command::new("mpv");
        mpv.args([
            "--no-config",
            "--vo=x11",
            "--ao=null",
            "--no-input-terminal",
        ]);
        mpv.args(["--profile=low-latency", url]);
        mpv
    });
}

#[test]
fn ffplay_shows_udp_and_http() {
    check_window_of(|url, _| {
        let mut ffplay = Command::new("ffplay");
        // It looks at 5 s of a stream, or 5 MB, before it begins.
        ffplay.args("-v error -an -probesize 500k -analyzeduration 1M".split(' '));
        ffplay.arg(url);
        ffplay.env("SDL_VIDEODRIVER", "x11");
        ffplay
    });
}

#[test]
fn vlc_shows_udp_and_http() {
    check_window_of(|url, home| {
        let line = format!(
            "{} --no-audio --vout xcb_x11 --no-video-title-show",
            vlc(home)
        );
        let mut words = line.split_whitespace();
        let mut vlc = Command::new(words.next().unwrap());
        // A port of this machine has an @ before it.
        vlc.args(words).arg(url.replace("udp://", "udp://@"));
        vlc
    });
}

/// The first words of a command line of VLC, without its session bus, which it would start otherwise. It refuses to run as root:
/// then it is nobody, who may write to `home`.
fn vlc(home: &Path) -> String {
    let vlc = "env DBUS_SESSION_BUS_ADDRESS=disabled: vlc --intf dummy";
    if !nix::unistd::geteuid().is_root() {
        return vlc.to_owned();
    }
    std::os::unix::fs::chown(home, Some(NOBODY), Some(NOBODY)).unwrap();
    format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {vlc}")
}

#[test]
fn vlc_sends_and_we_play() {
    let folder = tempfile::tempdir().unwrap();
    for codec in ["mpeg2video", "libx264 -preset ultrafast -tune zerolatency"] {
        let (udp, http) = (free_udp_port(), free_tcp_port());
        for (access, place, url) in [
            (
                "udp",
                format!("127.0.0.1:{udp}"),
                format!("udp://127.0.0.1:{udp}"),
            ),
            (
                "http",
                format!("127.0.0.1:{http}/robot.ts"),
                format!("http://127.0.0.1:{http}/robot.ts"),
            ),
        ] {
            let home = tempfile::tempdir().unwrap();
            // VLC takes the pictures out of one transport stream and makes another.
            let _camera = pictures_for(&format!(
                "ffmpeg -nostdin -v error -f rawvideo -pix_fmt yuv420p -s 160x120 -r 30 -i - -c:v {codec} -g 10 -b:v 400k -f mpegts - | \
                 HOME={} {} - --sout '#std{{access={access},mux=ts,dst={place}}}' vlc://quit 2> /dev/null",
                home.path().display(),
                vlc(home.path())
            ));
            if access == "http" {
                wait_for_stream(&url);
            }
            let rows = folder.path().join(format!("{access}-{udp}.csv"));
            let _player = player(&url, &rows);
            wait_for_frames(&rows, 30);
            println!("{codec}, {access}: played");
        }
    }
}

/// What a sender may do that ours does not: pictures out of order, sound beside them, numbers of their own, times that wrap.
#[test]
fn streams_of_other_habits() {
    let folder = tempfile::tempdir().unwrap();
    // 95443.7 s is where 33 bits of 90 kHz end.
    for (name, options) in [
        (
            "B-frames",
            "-c:v libx264 -preset ultrafast -x264-params bframes=2:b-adapt=0 -g 30",
        ),
        ("B-frames of MPEG-2", "-c:v mpeg2video -bf 2 -g 12"),
        (
            "B-frames of MPEG-2 in closed groups",
            "-c:v mpeg2video -bf 2 -g 12 -flags +cgop -sc_threshold 1000000000",
        ),
        (
            "sound",
            "-f lavfi -i sine -c:v mpeg2video -g 10 -c:a mp2 -shortest",
        ),
        (
            "other PIDs",
            "-c:v mpeg2video -g 10 -mpegts_start_pid 0x700 -mpegts_pmt_start_pid 0x300",
        ),
        (
            "a wrap of time",
            "-c:v mpeg2video -g 10 -output_ts_offset 95441",
        ),
        (
            "lengths that are not said",
            "-c:v mpeg2video -g 10 -omit_video_pes_length 1",
        ),
        (
            "H.264 with sound",
            "-f lavfi -i sine -c:v libx264 -preset ultrafast -tune zerolatency -g 10 -c:a aac -shortest",
        ),
        (
            "H.264 at other PIDs",
            "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -mpegts_start_pid 0x700 -mpegts_pmt_start_pid 0x300",
        ),
        (
            "H.264 over a wrap of time",
            "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -output_ts_offset 95441",
        ),
        (
            "H.264 without lengths",
            "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -omit_video_pes_length 1",
        ),
    ] {
        let port = free_udp_port();
        let rows = folder
            .path()
            .join(format!("{}.csv", name.replace(' ', "-")));
        let player = player(&format!("udp://127.0.0.1:{port}"), &rows);
        let camera = pictures_by_ffmpeg(options, port);
        // Over the wrap of time, which lies 2 s behind the start.
        let frames = wait_for_frames(&rows, 90);
        let in_order = frames.windows(2).all(|pair| pair[0].frame < pair[1].frame);
        assert!(in_order, "{name}: {frames:?}");
        drop((camera, player));
    }
}

/// One sender after the other, each with tables of its own: the map comes where the video was, sound comes before it, the codec is
/// another. A player sees it as it comes, and another behind the overlay.
#[test]
fn senders_whose_tables_differ() {
    let folder = tempfile::tempdir().unwrap();
    let [into_relay, into_overlay, plain, drawn] = [(); 4].map(|()| free_udp_port());
    let udp = |port: u16| format!("udp://127.0.0.1:{port}");
    let _relay = Running::forestall(&format!(
        "relay {} {} {}",
        udp(into_relay),
        udp(plain),
        udp(into_overlay)
    ));
    let _overlay = Running::forestall(&format!("overlay {} {}", udp(into_overlay), udp(drawn)));
    let rows = ["plain", "drawn"].map(|name| folder.path().join(name));
    let _players = [player(&udp(plain), &rows[0]), player(&udp(drawn), &rows[1])];
    for options in [
        "-c:v mpeg2video -g 10 -mpegts_start_pid 0x200 -mpegts_pmt_start_pid 0x1100",
        "-c:v mpeg2video -g 10 -mpegts_start_pid 0x1100 -mpegts_pmt_start_pid 0x200",
        "-f lavfi -i sine -map 1:a -map 0:v -c:v mpeg2video -g 10 -c:a mp2 -shortest",
        "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -mpegts_start_pid 0x200",
        "-f lavfi -i sine -c:v libx264 -preset ultrafast -tune zerolatency -g 10 -c:a aac -shortest",
    ] {
        let begun = Timestamp::now();
        let camera = pictures_by_ffmpeg(options, into_relay);
        for path in &rows {
            let new = || {
                let mut rows = frames(path);
                rows.retain(|row| row.captured_us >= Some(begun));
                rows
            };
            let are_whole = |last: &[FrameRow]| {
                last.iter().all(|row| row.status == FrameStatus::Ok) && are_in_a_row(last)
            };
            wait_or(
                || {
                    let new = new();
                    new.len() >= 30 && are_whole(&new[new.len() - 30..])
                },
                || format!("{options}, {}: {:?}", path.display(), new()),
            );
        }
        camera.end();
    }
}

#[test]
fn video_of_another_codec_or_form_is_refused_by_its_name() {
    for (options, name) in [
        (
            "-c:v mpeg4",
            "is MPEG-4 Visual (stream type 0x10), and only",
        ),
        (
            "-c:v mpeg2video -g 10 -pix_fmt yuv422p",
            "has the pixel format YUV422P, and only",
        ),
        (
            "-c:v libx264 -preset ultrafast -g 10 -pix_fmt yuv420p10le",
            "has the pixel format YUV420P10LE, and only",
        ),
    ] {
        check_refused(options, name);
    }
}

/// In midstream by a player, from the beginning by an overlay. The size changes, too: FFmpeg's decoder of MPEG-2 takes no notice when the
/// form alone does.
fn check_refused(options: &str, name: &str) {
    let ports = [(); 3].map(|()| free_udp_port());
    let [to_player, to_overlay, away] = ports.map(|port| format!("udp://127.0.0.1:{port}"));
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("frames.csv");
    let watchers = [
        format!("play {to_player} --frames-csv {}", rows.display()),
        format!("overlay {to_overlay} {away}"),
    ];
    let watchers = watchers.map(|line| {
        let mut command = forestall(&line);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    let camera = Running::forestall(&format!("capture {to_player} --width 160 --height 120"));
    wait_for_frames(&rows, 10);
    drop(camera);
    let mut sender = Command::new("ffmpeg");
    sender.args("-nostdin -v error -re -f lavfi -i testsrc2=size=176x144".split(' '));
    sender.args(options.split(' ')).args(["-f", "tee"]);
    sender.args([
        "-map",
        "0",
        &format!("[f=mpegts]{to_player}|[f=mpegts]{to_overlay}"),
    ]);
    let _sender = Running::start(sender);
    for (watcher, url) in watchers.into_iter().zip([to_player, to_overlay]) {
        let output = ended(watcher);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let expected = format!("the video of {url} {name}");
        assert!(said.contains(&expected), "{said}");
    }
}

//! What publishers and viewers see of `forestall serve`, a real process on loopback.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    GIVE_UP, Publisher, Running, Server, TOKEN, answer, check, free_tcp_port, free_udp_port,
    wait_for,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use wire::mpegts::{DATAGRAM_BYTES_MAX, Reader, UnitKind, VideoCodec, Writer};

/// Reads pictures out of a connection.
struct Viewer {
    socket: TcpStream,
    reader: Reader,
    found: std::collections::VecDeque<(u32, bool)>,
}

impl Viewer {
    fn new(server: &Server, name: &str) -> Self {
        Self {
            socket: server.watch(name),
            reader: Reader::new(),
            found: std::collections::VecDeque::new(),
        }
    }

    /// Number of the next picture, and whether it is whole and in its place.
    fn next(&mut self) -> (u32, bool) {
        let mut buffer = [0; 64 << 10];
        while self.found.is_empty() {
            let length = self.socket.read(&mut buffer).unwrap();
            assert!(length > 0, "the server has closed the connection");
            for unit in self.reader.push(&buffer[..length]) {
                // What is cut off before its number is no picture.
                if let Some(number) = unit.data.first_chunk() {
                    let number = u32::from_be_bytes(*number);
                    self.found.push_back((number, !unit.damaged));
                }
            }
        }
        self.found.pop_front().unwrap()
    }
}

fn stream(server: &Server, name: &str) -> serde_json::Value {
    let status = server.status();
    let streams = status["streams"].as_array().unwrap();
    let found = streams.iter().find(|stream| stream["name"] == name);
    found.unwrap_or_else(|| panic!("{status}")).clone()
}

/// Waits until all that was published has arrived.
fn wait_for_pictures(server: &Server, name: &str, count: u64) {
    wait_for("the pictures have arrived", || {
        let status = server.status();
        let streams = status["streams"].as_array().unwrap();
        streams
            .iter()
            .any(|stream| stream["name"] == name && stream["frames_in"].as_u64() == Some(count))
    });
}

#[test]
fn a_late_viewer_has_the_last_key_picture_at_once() {
    let server = Server::start("");
    let mut publisher = server.publish("robot");
    publisher.group(5, 2000);
    publisher.group(4, 2000);
    wait_for_pictures(&server, "robot", 9);
    // Nothing is published any more: what comes was there.
    let mut viewer = Viewer::new(&server, "robot");
    let seen: Vec<_> = (0..4).map(|_| viewer.next()).collect();
    assert_eq!(seen, [(5, true), (6, true), (7, true), (8, true)]);
    publisher.picture(UnitKind::Predicted, 2000).unwrap();
    assert_eq!(viewer.next(), (9, true), "without waiting for another");
}

#[test]
fn many_viewers_see_the_same() {
    let server = Server::start("");
    let mut publisher = server.publish("robot");
    publisher.group(1, 100);
    wait_for_pictures(&server, "robot", 1);
    let mut viewers: Vec<_> = (0..50).map(|_| Viewer::new(&server, "robot")).collect();
    for _ in 0..20 {
        publisher.group(5, 5000);
    }
    for viewer in &mut viewers {
        for number in 0..101 {
            assert_eq!(viewer.next(), (number, true));
        }
        assert_eq!(viewer.reader.counters().continuity_errors, 0);
    }
    assert_eq!(stream(&server, "robot")["viewers"], 50);
    assert_eq!(stream(&server, "robot")["gops_lost"], 0);
    drop(viewers);
    publisher.group(1, 100_000);
    wait_for("the viewers have gone", || {
        stream(&server, "robot")["viewers"] == 0
    });
}

#[test]
fn a_slow_viewer_costs_the_others_nothing() {
    let server = Server::start("--lag-max 20 --stream-bytes-max 4000000 --idle 60");
    let mut publisher = server.publish("robot");
    publisher.group(1, 100);
    wait_for_pictures(&server, "robot", 1);
    // They read one byte and then no more; the others read all.
    let mut slow: Vec<_> = (0..20).map(|_| server.watch("robot")).collect();
    for socket in &mut slow {
        socket.read_exact(&mut [0]).unwrap();
    }
    let mut fast: Vec<_> = (0..3).map(|_| Viewer::new(&server, "robot")).collect();
    let mut memory = Vec::new();
    for group in 0..40_u32 {
        publisher.group(10, 40_000);
        for viewer in &mut fast {
            for at in 0..10 + u32::from(group == 0) {
                let expected = if group == 0 { at } else { 1 + group * 10 + at };
                assert_eq!(viewer.next(), (expected, true));
            }
        }
        for socket in &mut slow {
            socket.read_exact(&mut [0]).unwrap();
        }
        memory.push(server.process.memory_kib());
        thread::sleep(Duration::from_millis(20));
    }
    // 16 MB were published; each slow viewer would have 16 MB in line.
    let most = memory.iter().max().unwrap();
    assert!(*most < 120_000, "{memory:?} KiB");
    let status = stream(&server, "robot");
    assert!(status["kept_bytes"].as_u64().unwrap() <= 4_000_000);
    // They read on, and come back to whole pictures at a key picture.
    for socket in slow {
        socket.set_nonblocking(false).unwrap();
        let mut viewer = Viewer {
            socket,
            reader: Reader::new(),
            found: std::collections::VecDeque::new(),
        };
        let last = publisher.picture(UnitKind::Key, 3000).unwrap();
        while viewer.next() != (last, true) {}
    }
    assert!(stream(&server, "robot")["gops_lost"].as_u64().unwrap() > 20);
}

/// As a server is started without further ado, and as slow as somebody may be: what the server holds for it does not move for so long
/// that it counts as silent.
#[test]
fn a_viewer_of_a_byte_a_second_is_given_up_and_costs_the_others_nothing() {
    let server = Server::start("");
    let mut publisher = server.publish("robot");
    publisher.group(1, 10_000);
    wait_for_pictures(&server, "robot", 1);
    let mut slow = server.watch("robot");
    let mut other = Viewer::new(&server, "robot");
    assert_eq!(other.next(), (0, true));
    let (begun, mut seconds) = (Instant::now(), 0);
    while server.status()["timed_out"] == 0 {
        // A second of 2.4 Mbit/s.
        for at in 0..30 {
            let kind = if at == 0 {
                UnitKind::Key
            } else {
                UnitKind::Predicted
            };
            let number = publisher.picture(kind, 10_000).unwrap();
            assert_eq!(other.next(), (number, true));
            thread::sleep(Duration::from_millis(33));
        }
        slow.read_exact(&mut [0]).unwrap();
        seconds += 1;
        assert!(begun.elapsed() < GIVE_UP, "{seconds} s");
    }
    assert!(seconds >= 10, "given up after {seconds} s");
    wait_for("the slow one has gone", || {
        stream(&server, "robot")["viewers"] == 1
    });
    // What was on its way to it still comes, and no more: a second or two of what it was far behind with.
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 2_000_000, "{} bytes", rest.len());
    let number = publisher.picture(UnitKind::Key, 10_000).unwrap();
    assert_eq!(other.next(), (number, true));
    assert_eq!(other.reader.counters().continuity_errors, 0);
}

#[test]
fn a_publisher_may_go_and_another_come_and_no_viewer_notices() {
    let server = Server::start("");
    let mut first = server.publish("robot");
    first.group(3, 2000);
    wait_for_pictures(&server, "robot", 3);
    let mut viewer = Viewer::new(&server, "robot");
    for number in 0..3 {
        assert_eq!(viewer.next(), (number, true));
    }
    assert_eq!(first.end(), (200, "published\n".to_owned()));
    let mut second = server.publish("robot");
    // It begins in the middle: nobody can decode that.
    second.picture(UnitKind::Predicted, 2000).unwrap();
    second.group(3, 2000);
    for number in 1..4 {
        assert_eq!(viewer.next(), (number, true));
    }
    // A third takes over while the second still hangs.
    let mut third = server.publish("robot");
    third.group(2, 2000);
    for number in 0..2 {
        assert_eq!(viewer.next(), (number, true));
    }
    assert_eq!(
        viewer.reader.counters().continuity_errors,
        0,
        "jumps are announced"
    );
    let refused = (0..1000).find_map(|_| {
        thread::sleep(Duration::from_millis(5));
        second.picture(UnitKind::Predicted, 2000).err()
    });
    assert!(refused.is_some(), "the second is told to go");
    assert_eq!(stream(&server, "robot")["publishers"], 3);
}

/// A key picture and others, with their numbers in them.
fn five_pictures(writer: &mut Writer) -> Vec<u8> {
    let mut packets = Vec::new();
    for number in 0..5_u32 {
        let kind = if number == 0 {
            UnitKind::Key
        } else {
            UnitKind::Predicted
        };
        writer.write(&number.to_be_bytes().repeat(500), 0, kind, &mut packets);
    }
    packets
}

#[test]
fn datagrams_may_come_from_another_address() {
    let port = free_udp_port();
    let server = Server::start(&format!("--stream robot=udp://0.0.0.0:{port}"));
    let mut viewer = Viewer::new(&server, "robot");
    for address in ["127.0.0.1", "127.0.0.2"] {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        // The first is silent for long enough when the second begins.
        thread::sleep(Duration::from_millis(400));
        let packets = five_pictures(&mut Writer::new(VideoCodec::Mpeg2));
        for datagram in packets.chunks(DATAGRAM_BYTES_MAX) {
            socket.send_to(datagram, ("127.0.0.1", port)).unwrap();
        }
        for number in 0..5 {
            assert_eq!(viewer.next(), (number, true), "{address}");
        }
    }
    let publisher = stream(&server, "robot")["publisher"].to_string();
    assert!(publisher.contains("127.0.0.2:"), "{publisher}");
}

#[test]
fn a_thousand_silent_connections_hurt_nobody() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let server = Server::start("--idle 3");
    let start = Instant::now();
    let mut silent: Vec<_> = (0..1000).map(|_| server.ask("")).collect();
    let mut half: Vec<_> = (0..50)
        .map(|_| server.ask("GET /robot.ts HTTP/1.1\r\nX: "))
        .collect();
    let mut publisher = server.publish("robot");
    publisher.group(2, 2000);
    wait_for_pictures(&server, "robot", 2);
    let mut viewer = Viewer::new(&server, "robot");
    assert_eq!([viewer.next(), viewer.next()], [(0, true), (1, true)]);
    assert!(
        server.status()["connections"].as_u64().unwrap() > 1000 || start.elapsed().as_secs() >= 3
    );
    // The server closes them; the publisher and the viewer go on meanwhile.
    let mut number = 2;
    while server.status()["timed_out"].as_u64().unwrap() < 1050 {
        publisher.picture(UnitKind::Predicted, 2000).unwrap();
        assert_eq!(viewer.next(), (number, true));
        number += 1;
        assert!(start.elapsed() < GIVE_UP);
        thread::sleep(Duration::from_millis(50));
    }
    for socket in silent.iter_mut().chain(&mut half) {
        assert!(!matches!(socket.read(&mut [0]), Ok(1..)));
    }
    assert!(server.process.memory_kib() < 100_000);
}

#[test]
fn limits_are_kept() {
    let server = Server::start("--viewers-max 2 --streams-max 1 --connections-max 6");
    let mut publisher = server.publish("robot");
    publisher.group(1, 100);
    wait_for_pictures(&server, "robot", 1);
    let viewers: Vec<_> = (0..2).map(|_| Viewer::new(&server, "robot")).collect();
    assert_eq!(
        server.get("/robot.ts"),
        (503, "too many viewers\n".to_owned())
    );
    let other = server.publish("other");
    assert_eq!(answer(other.socket), (503, "too many streams\n".to_owned()));
    let idle: Vec<_> = (0..3).map(|_| server.ask("")).collect();
    let mut beyond = server.ask("");
    assert!(!matches!(beyond.read(&mut [0]), Ok(1..)), "closed at once");
    drop(idle);
    wait_for("room for another", || {
        let mut socket = server.ask("GET /status.json HTTP/1.0\r\n\r\n");
        matches!(socket.read(&mut [0]), Ok(1))
    });
    assert!(server.status()["connections_refused"].as_u64().unwrap() >= 1);
    drop(viewers);
}

#[test]
fn who_has_no_token_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("viewers");
    std::fs::write(
        &tokens,
        "robot aaaaaaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbbbbbb\n",
    )
    .unwrap();
    let server = Server::start(&format!("--view-token-file {}", tokens.display()));
    let publish = |head: &str, query: &str| {
        answer(server.ask(&format!(
            "POST /publish/robot{query} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 0\r\n\r\n"
        )))
        .0
    };
    assert_eq!(publish("", ""), 401);
    assert_eq!(publish("Authorization: Bearer wrong\r\n", ""), 401);
    assert_eq!(publish("", "?token=wrong"), 401);
    assert_eq!(
        publish(&format!("Authorization: Bearer {TOKEN}\r\n"), ""),
        200
    );
    assert_eq!(publish("", &format!("?token={TOKEN}")), 200);
    for (path, code) in [
        ("/robot.ts", 401),
        ("/", 401),
        ("/status.json", 401),
        ("/status.json?token=aaaaaaaaaaaaaaaaaaaa", 401),
        ("/status.json?token=bbbbbbbbbbbbbbbbbbbb", 200),
        ("/?token=bbbbbbbbbbbbbbbbbbbb", 200),
        ("/other.ts?token=aaaaaaaaaaaaaaaaaaaa", 401),
        ("/other.ts?token=bbbbbbbbbbbbbbbbbbbb", 404),
    ] {
        assert_eq!(server.get(path).0, code, "{path}");
    }
    let play = format!("play {} --duration 5", server.url("/robot.ts?token=wrong"));
    check(&play, 1, "the server answers 401");
    let capture = format!(
        "capture {} --duration 5",
        server.url("/publish/robot?token=wrong")
    );
    check(&capture, 1, "the server answers 401");
}

#[test]
fn wrong_requests() {
    let server = Server::start("");
    for (path, code, text) in [
        ("/nothing.ts", 404, "no such stream"),
        ("/x", 404, "/status.json"),
        ("/../../etc/passwd", 404, "/NAME.ts"),
        ("/publish/robot", 405, "method"),
    ] {
        let (found, body) = server.get(path);
        assert_eq!(found, code, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    let (code, _) = answer(server.ask("\x01\x02\x03 nonsense\r\n\r\n"));
    assert_eq!(code, 400);
    let long = format!("GET /{} HTTP/1.0\r\n\r\n", "x".repeat(100_000));
    let mut socket = server.ask("");
    let _ = socket.write_all(long.as_bytes());
    let mut text = String::new();
    let _ = socket.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    // What is no transport stream is a stream of nothing.
    let Publisher { mut socket, .. } = server.publish("noise");
    let noise: String = (0..20_000_u32)
        .map(|at| char::from(b' ' + (at * 7 % 90) as u8))
        .collect();
    socket
        .write_all(format!("{:x}\r\n{noise}\r\n", noise.len()).as_bytes())
        .unwrap();
    wait_for("the noise is counted", || {
        server.status()["streams"][0]["bytes_in"].as_u64() == Some(20_000)
    });
    assert_eq!(server.status()["streams"][0]["kept_bytes"], 0);
}

#[test]
fn nobody_may_publish_without_tokens() {
    let mut server = crate::common::forestall("serve 127.0.0.1:0 --duration 30");
    let mut process =
        crate::common::Running(server.stderr(std::process::Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut stderr = std::io::BufReader::new(process.0.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    let address = line
        .trim_end()
        .trim_end_matches('/')
        .trim_start_matches("serve: http://");
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .write_all(b"PUT /publish/robot HTTP/1.0\r\n\r\n")
        .unwrap();
    let (code, body) = answer(socket);
    assert_eq!(code, 403);
    assert!(body.contains("--publish-token-file"), "{body}");
    assert_eq!(process.end(), Some(130), "told to end, it ends in order");
}

#[test]
fn the_page_shows_what_is_served() {
    let server = Server::start("");
    let mut publisher = server.publish("robot");
    publisher.group(3, 2000);
    wait_for_pictures(&server, "robot", 3);
    let _viewer = Viewer::new(&server, "robot");
    let (code, page) = server.get("/");
    assert_eq!(code, 200);
    for text in ["<!DOCTYPE html>", "robot", "MPEG-2", "live", "by HTTP"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let stream = stream(&server, "robot");
    assert_eq!(stream["state"], "live");
    assert_eq!(stream["codec"], "MPEG-2");
    assert_eq!(stream["viewers"], 1);
}

#[test]
fn wrong_command_lines() {
    check("serve", 2, "required");
    check("serve localhost", 2, "invalid socket address");
    check("serve 127.0.0.1:0 --stream robot", 2, "NAME=ADDRESS");
    check(
        "serve 127.0.0.1:0 --stream a.b=udp://127.0.0.1:5000",
        2,
        "not a name of a stream",
    );
    check(
        "serve 127.0.0.1:0 --stream a=srt://127.0.0.1:5000",
        2,
        "SRT is not spoken here",
    );
    check(
        "serve 127.0.0.1:0 --stream a=rtmp://127.0.0.1:5000",
        2,
        "must begin with udp://",
    );
    check("serve 127.0.0.1:0 --tls-cert a.pem", 2, "--tls-key");
    check(
        "serve 127.0.0.1:0 --tls-cert /no/such --tls-key /no/such",
        2,
        "cannot read a certificate from /no/such",
    );
    check("serve 127.0.0.1:0 --idle 0", 2, "1 to 86400");
    check(
        "serve 127.0.0.1:0 --view-token-file /no/such",
        2,
        "cannot read /no/such",
    );
    check(
        "serve 127.0.0.1:0 --stream a=udp://127.0.0.1:5000 --stream a=udp://127.0.0.1:5001",
        2,
        "'a' twice",
    );
    check("serve 127.0.0.1:0 --report 127.0.0.1:1", 2, "--function");
    check("serve 127.0.0.1:0 --function robot", 2, "--report");
    let report = "serve 127.0.0.1:0 --report 127.0.0.1:1";
    for (options, expected) in [
        ("--function robot=", "is not a name"),
        ("--function a.b", "not a name of a stream"),
        ("--function a=f --function a=g", "'a' has two functions"),
        ("--function a", "must be one that is served, not 'a'"),
    ] {
        check(&format!("{report} {options}"), 2, expected);
    }
    let stream = "--stream a=udp://127.0.0.1:5000 --function a";
    let viewer = "x".repeat(63);
    check(
        &format!("{report} {stream} --viewer {viewer}"),
        2,
        "room for a number",
    );
    check(
        "serve 192.0.2.1:8080",
        1,
        "cannot open a socket for http://192.0.2.1:8080",
    );
}

#[test]
fn certificates_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    let certificate = write("chain.pem", &one.cert.pem());
    let key = write("key.pem", &one.signing_key.serialize_pem());
    let other_key = write("other.pem", &other.signing_key.serialize_pem());
    let text = write("text.pem", "no PEM");
    for (certificate, key, expected) in [
        (&text, &key, "cannot read a certificate from"),
        (&certificate, &text, "cannot read a private key from"),
        (&certificate, &other_key, "cannot be used together"),
    ] {
        let arguments = format!("serve 127.0.0.1:0 --tls-cert {certificate} --tls-key {key}");
        check(&arguments, 2, expected);
    }
}

/// Silence of a source is not the end of what is published.
#[test]
fn a_relay_that_has_nothing_to_pass_on_stays_the_publisher() {
    let (server, port) = (Server::start(""), free_udp_port());
    let publish = format!(
        "http://127.0.0.1:{}/publish/robot?token={TOKEN}",
        server.port
    );
    let _relay = Running::forestall(&format!("relay udp://127.0.0.1:{port} {publish}"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut writer = Writer::new(VideoCodec::Mpeg2);
    let mut send = || {
        for datagram in five_pictures(&mut writer).chunks(DATAGRAM_BYTES_MAX) {
            socket.send_to(datagram, ("127.0.0.1", port)).unwrap();
        }
    };
    wait_for("the relay publishes", || {
        send();
        let status = server.status();
        status["streams"]
            .as_array()
            .is_some_and(|streams| !streams.is_empty())
    });
    thread::sleep(Duration::from_secs(1));
    let before = stream(&server, "robot")["frames_in"].as_u64().unwrap();
    send();
    wait_for_pictures(&server, "robot", before + 5);
    assert_eq!(stream(&server, "robot")["publishers"], 1);
}

/// The server listens, and a sender that was moved connects while its old connection still hangs.
#[test]
fn of_those_who_push_by_tcp_the_newest_counts_at_once() {
    let port = free_tcp_port();
    let server = Server::start(&format!("--stream robot=tcp://127.0.0.1:{port}?listen"));
    let mut viewer = Viewer::new(&server, "robot");
    let connect = || {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        (socket, Writer::new(VideoCodec::Mpeg2))
    };
    let send = |(socket, writer): &mut (TcpStream, Writer), numbers: std::ops::Range<u32>| {
        for number in numbers {
            let kind = if number.is_multiple_of(5) {
                UnitKind::Key
            } else {
                UnitKind::Predicted
            };
            let mut packets = Vec::new();
            writer.write(&number.to_be_bytes().repeat(500), 0, kind, &mut packets);
            socket.write_all(&packets)?;
        }
        std::io::Result::Ok(())
    };
    let mut first = connect();
    send(&mut first, 100..105).unwrap();
    for number in 100..105 {
        assert_eq!(viewer.next(), (number, true));
    }
    let mut second = connect();
    send(&mut second, 0..5).unwrap();
    for number in 0..5 {
        assert_eq!(viewer.next(), (number, true), "nothing of it is left out");
    }
    // The old one's connection is closed, and nothing of it comes through.
    wait_for("the old connection has ended", || {
        send(&mut first, 105..110).is_err()
    });
    send(&mut second, 5..8).unwrap();
    for number in 5..8 {
        assert_eq!(viewer.next(), (number, true));
    }
    let local = second.0.local_addr().unwrap().to_string();
    let publisher = stream(&server, "robot")["publisher"].to_string();
    assert!(publisher.contains(&local), "{publisher}");
}

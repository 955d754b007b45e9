//! What is beside the video: `ffmpeg` sends sound with it, and each stage passes that on as it came, in step with the pictures.
#![cfg(feature = "media")]

use std::collections::BTreeMap;
use std::io::Read;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::common::{POLL, Running, Server, forestall, free_udp_port, wait_for};
use media::codec::{Arrival, Decoder};
use wire::code_strip::Place;
use wire::mpegts::{CLOCK_HZ, CLOCK_WRAP, PACKET_BYTES, Reader};

type Packet = [u8; PACKET_BYTES];

/// A port at which all that comes is kept, and passed on if somebody is to have it.
struct Tap {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    fn to(target: Option<u16>) -> Self {
        let port = free_udp_port();
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(POLL)).unwrap();
        let (seen, ends) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (keep, stop): (Arc<Mutex<Vec<u8>>>, _) = (Arc::clone(&seen), Arc::clone(&ends));
        let run = move || {
            let mut buffer = [0; 2000];
            while !stop.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else {
                    continue;
                };
                keep.lock().unwrap().extend(&buffer[..length]);
                if let Some(target) = target {
                    socket
                        .send_to(&buffer[..length], ("127.0.0.1", target))
                        .unwrap();
                }
            }
        };
        Self {
            port,
            seen,
            ends,
            thread: Some(std::thread::spawn(run)),
        }
    }

    fn url(&self) -> String {
        format!("udp://127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The camera's numbered pictures with sound by `ffmpeg`.
fn camera(url: &str, options: &str) -> Running {
    let mut capture = forestall("capture --width 160 --height 120 --duration 60 --encoder-command");
    capture.arg(format!(
        "ffmpeg -nostdin -loglevel error -f rawvideo -pix_fmt yuv420p -s 160x120 -r 30 -i - \
         -f lavfi -i sine=frequency=440:beep_factor=4 {options} -shortest -f mpegts -flush_packets 1 '{url}?pkt_size=1316'"
    ));
    capture.stdout(Stdio::null()).stderr(Stdio::null());
    Running::start(capture)
}

/// Packets by their PID.
fn by_pid(stream: &[u8]) -> BTreeMap<u16, Vec<Packet>> {
    let mut found: BTreeMap<u16, Vec<Packet>> = BTreeMap::new();
    for packet in stream.as_chunks::<PACKET_BYTES>().0 {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        found.entry(pid).or_default().push(*packet);
    }
    found
}

/// Where the video is, and when each of the camera's pictures is presented.
fn pictures(stream: &[u8]) -> (u16, BTreeMap<u32, u64>) {
    let mut reader = Reader::new();
    let units = reader.push(stream);
    let (pid, codec) = reader.video().unwrap();
    let mut decoder = Decoder::open(codec).unwrap();
    let mut found = BTreeMap::new();
    let whole = units.iter().skip_while(|unit| !unit.random_access);
    for unit in whole {
        decoder.send(unit, Arrival::default()).unwrap();
        while let Some(decoded) = decoder.receive() {
            let strip = decoded.picture.read_strip(Place::Bottom);
            found.extend(strip.map(|strip| strip.b).zip(decoded.pts));
        }
    }
    (pid, found)
}

/// PIDs of sound, by the header of what begins in their packets (ISO/IEC 13818-1, table 2-22: 0xc0 and up, or private).
fn sounds(packets: &BTreeMap<u16, Vec<Packet>>) -> Vec<u16> {
    let is_sound =
        |packet: &Packet| pes(packet).is_some_and(|pes| matches!(pes[3], 0xc0..=0xdf | 0xbd));
    let with_sound = packets
        .iter()
        .filter(|(_, packets)| packets.iter().any(is_sound));
    with_sound.map(|(pid, _)| *pid).collect()
}

/// What begins in a packet, if it is no table.
fn pes(packet: &Packet) -> Option<&[u8]> {
    let has_field = packet[3] & 0x20 != 0;
    let at = if has_field {
        5 + usize::from(packet[4])
    } else {
        4
    };
    let payload = packet.get(at..).filter(|_| packet[1] & 0x40 != 0)?;
    payload.starts_with(&[0, 0, 1]).then_some(payload)
}

/// Nothing is presented before the stream's clock shows that time, or long after, and the clock goes forward.
fn check_clock(stream: &[u8], name: &str) {
    let ticks = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte))
    };
    let (mut clock, mut readings) = (None, 0);
    for packet in stream.as_chunks::<PACKET_BYTES>().0 {
        let has_clock = packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0;
        if has_clock {
            let now = ticks(&packet[6..11]) >> 7;
            let passed = clock.map_or(0, |last| (now + CLOCK_WRAP - last) % CLOCK_WRAP);
            assert!(
                passed < CLOCK_HZ,
                "{name}: the clock goes from {clock:?} to {now}"
            );
            (clock, readings) = (Some(now), readings + 1);
        }
        let Some((pes, clock)) = pes(packet).zip(clock) else {
            continue;
        };
        if pes.len() >= 14 && pes[7] & 0x80 != 0 {
            let pts = (ticks(&pes[9..10]) & 0x0e) << 29
                | (ticks(&pes[10..12]) >> 1) << 15
                | ticks(&pes[12..14]) >> 1;
            let ahead = (pts + CLOCK_WRAP - clock) % CLOCK_WRAP;
            assert!(
                ahead < 3 * CLOCK_HZ,
                "{name}: {pts} is presented at {clock}"
            );
        }
    }
    assert!(readings > 20, "{name}: {readings} readings of the clock");
}

/// What `ffprobe` finds in a file: codecs and kinds, in their order.
fn probe(file: &Path) -> String {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_streams", "-of", "json"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&probe.stderr).into_owned();
    assert!(probe.status.success(), "{said}");
    let found: serde_json::Value = serde_json::from_slice(&probe.stdout).unwrap();
    let streams = found["streams"].as_array().unwrap();
    let words = streams.iter().map(|stream| {
        let word = |name| stream[name].as_str().unwrap_or("nothing").to_owned();
        format!("{} {}", word("codec_name"), word("codec_type"))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// `ffmpeg` decodes all of a file.
fn check_decodes(file: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-xerror", "-i"])
        .arg(file)
        .args(["-map", "0", "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// Whether `part` is in `all` as it is, without a gap.
fn is_in(part: &[Packet], all: &[Packet]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[test]
fn the_overlay_passes_sound_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options, streams) in [
        (
            "MPEG-2 and MP2",
            "-c:v mpeg2video -g 10 -c:a mp2 -b:a 64k",
            "mpeg2video video, mp2 audio",
        ),
        (
            "H.264 with pictures in another order",
            "-c:v libx264 -preset ultrafast -x264-params bframes=2:b-adapt=0 -g 30 -c:a aac",
            "mpeg2video video, aac audio",
        ),
        (
            "MPEG-2 with pictures in another order",
            "-c:v mpeg2video -bf 2 -g 12 -c:a mp2 -b:a 64k",
            "mpeg2video video, mp2 audio",
        ),
        (
            "two sounds in front of the video, other PIDs, a wrap of time",
            "-map 1:a -map 1:a -map 0:v -c:a:0 ac3 -c:a:1 mp2 -c:v mpeg2video -g 10 \
             -mpegts_start_pid 0x700 -mpegts_pmt_start_pid 0x300 -output_ts_offset 95440",
            "ac3 audio, mp2 audio, mpeg2video video",
        ),
    ] {
        let into_overlay = free_udp_port();
        let (sent, came) = (Tap::to(Some(into_overlay)), Tap::to(None));
        let overlay = Running::forestall(&format!(
            "overlay udp://127.0.0.1:{into_overlay} {} --bitrate 300k",
            came.url()
        ));
        let source = camera(&sent.url(), options);
        wait_for(name, || {
            let seen = came.seen();
            Reader::new().push(&seen).len() > 120
        });
        drop(source);
        // All the sound that was sent since the first map.
        let last_sounds = |stream: &[u8]| -> Vec<Packet> {
            let packets = by_pid(stream);
            let last = |pid: &u16| *packets[pid].last().unwrap();
            sounds(&packets).iter().map(last).collect()
        };
        wait_for("the last sound", || {
            last_sounds(&sent.seen()) == last_sounds(&came.seen())
        });
        assert_eq!(overlay.end(), Some(130));
        let (sent, came) = (sent.seen(), came.seen());
        let (before, after) = (by_pid(&sent), by_pid(&came));
        let heard = sounds(&after);
        assert_eq!(heard, sounds(&before), "{name}");
        assert_eq!(heard.len(), streams.matches("audio").count(), "{name}");
        for pid in heard {
            let (sent, came) = (&before[&pid], &after[&pid]);
            assert!(came.len() > 40 && is_in(came, sent), "{name}: {pid:#x}");
        }
        // Each picture is presented when it was to be before.
        let ((was_at, times), (is_at, drawn)) = (pictures(&sent), pictures(&came));
        assert_eq!(is_at, was_at, "{name}");
        assert!(drawn.len() > 90, "{name}: {}", drawn.len());
        for (number, pts) in &drawn {
            assert_eq!(times.get(number), Some(pts), "{name}: picture {number}");
        }
        let shown: Vec<u64> = Reader::new()
            .push(&came)
            .iter()
            .filter_map(|unit| unit.pts)
            .collect();
        let is_in_order = |pair: &[u64]| {
            let step = (pair[1] + CLOCK_WRAP - pair[0]) % CLOCK_WRAP;
            (1..CLOCK_HZ).contains(&step)
        };
        assert!(shown.windows(2).all(is_in_order), "{name}: {shown:?}");
        check_clock(&sent, "before");
        check_clock(&came, name);
        let file = folder.path().join("came.ts");
        std::fs::write(&file, &came).unwrap();
        assert_eq!(probe(&file), streams, "{name}");
        check_decodes(&file);
    }
}

#[test]
fn sound_goes_through_relay_overlay_and_server() {
    let folder = tempfile::tempdir().unwrap();
    let [into_relay, into_overlay, into_server] = [(); 3].map(|()| free_udp_port());
    let sent = Tap::to(Some(into_relay));
    let server = Server::start(&format!("--stream robot=udp://127.0.0.1:{into_server}"));
    let _overlay = Running::forestall(&format!(
        "overlay udp://127.0.0.1:{into_overlay} udp://127.0.0.1:{into_server}"
    ));
    let _relay = Running::forestall(&format!(
        "relay udp://127.0.0.1:{into_relay} udp://127.0.0.1:{into_overlay}"
    ));
    let _source = camera(&sent.url(), "-c:v mpeg2video -g 10 -c:a mp2");
    wait_for("the server has pictures", || {
        server.status()["streams"][0]["frames_in"].as_u64() > Some(30)
    });
    let mut came = vec![0; 3000 * PACKET_BYTES];
    server.watch("robot").read_exact(&mut came).unwrap();
    let (before, after) = (by_pid(&sent.seen()), by_pid(&came));
    let heard = sounds(&after);
    assert_eq!(heard.len(), 1);
    let came_sound = &after[&heard[0]];
    assert!(came_sound.len() > 100 && is_in(came_sound, &before[&heard[0]]));
    let (_, times) = pictures(&sent.seen());
    let (_, drawn) = pictures(&came);
    assert!(
        drawn
            .iter()
            .all(|(number, pts)| times.get(number) == Some(pts))
    );
    let file = folder.path().join("came.ts");
    std::fs::write(&file, &came).unwrap();
    assert_eq!(probe(&file), "mpeg2video video, mp2 audio");
    // Another player, live.
    let mpv = Command::new("mpv")
        .args([
            "--no-config",
            "--vo=null",
            "--ao=null",
            "--no-input-terminal",
        ])
        .args(["--frames=15", &server.url("/robot.ts")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&mpv.stdout).into_owned();
    assert!(said.contains("Video") && said.contains("Audio"), "{said}");
}

//! The chain of the video commands, real processes on loopback, over a network that does what networks do: it loses, doubles,
//! overtakes and spoils datagrams, is down for a while, and carries a stream that becomes another one. What is asserted is that
//! the picture comes back, not how fast the machine is. `docs/media-faults.md` has the figures that this prints.
#![cfg(feature = "media")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::common::network::{Fault, Network, OURS, Pids};
use crate::common::{
    Running, Server, forestall, frames, free_udp_port, wait_for, wait_for_frames, wait_or,
};
use record::Timestamp;
use record::raw::{FrameRow, FrameStatus, SentRow};

/// A key picture every so many: half a second.
const GOP: u32 = 15;
const FRAME_MS: f64 = 1000.0 / 30.0;
/// The picture is back within so many key pictures.
const KEYS_MAX: u32 = 2;
/// The delay is what it was after so long.
const DELAY_BACK: Duration = Duration::from_secs(2);
/// More resident memory than this is growth: what stages hold at most (a picture, a ring of a second) is far less.
const GROWTH_KIB_MAX: u64 = 16 << 10;
/// How long a fault lasts, unless it is an outage. Both end in the middle of a group of pictures when they began with it.
const FAULT: Duration = Duration::from_millis(2200);
/// One that hits few datagrams lasts longer.
const RARE_FAULT: Duration = Duration::from_millis(8700);
const OUTAGE: Duration = Duration::from_millis(3200);
const WHOLE_BEFORE: usize = 30;

/// A command that runs, and what it said.
struct Stage {
    name: &'static str,
    process: Running,
    said: PathBuf,
    /// Resident memory when all was well.
    memory_kib: u64,
}

impl Stage {
    fn start(folder: &Path, name: &'static str, arguments: &str) -> Self {
        let said = folder.join(format!("{name}-{}", free_udp_port()));
        let mut command = forestall(&format!("{name} {arguments}"));
        command.stderr(File::create(&said).unwrap());
        Self {
            name,
            process: Running::start(command),
            said,
            memory_kib: 0,
        }
    }

    /// Resident memory; a stage that has ended says why instead.
    fn memory_kib(&mut self) -> u64 {
        let ended = self.process.0.try_wait().unwrap();
        let said = fs::read_to_string(&self.said).unwrap();
        assert!(
            ended.is_none(),
            "{} has ended, {ended:?}: {said}",
            self.name
        );
        self.process.memory_kib()
    }

    /// Ends it in order. It was interrupted (130), and had nothing to complain about. Returns what it said.
    fn end(self) -> String {
        let code = self.process.end();
        let said = fs::read_to_string(&self.said).unwrap();
        check_end(self.name, code, &said);
        said
    }
}

fn check_end(name: &str, code: Option<i32>, said: &str) {
    assert_eq!(code, Some(130), "{name}: {said}");
    for word in ["panicked", "error"] {
        assert!(!said.contains(word), "{name}: {said}");
    }
}

/// How datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carriage {
    Udp,
    Rtp,
}

impl Carriage {
    fn scheme(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Rtp => "rtp",
        }
    }
}

/// camera -> network -> overlay -> network -> relay -> serve -> play
struct Chain {
    folder: tempfile::TempDir,
    camera: Stage,
    stages: Vec<Stage>,
    server: Server,
    server_memory_kib: u64,
    networks: [Network; 2],
}

const PLACES: [&str; 2] = ["before overlay", "behind overlay"];

impl Chain {
    fn start(codec: &str, carriage: Carriage, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (scheme, at) = (carriage.scheme(), folder.path());
        let [into_overlay, into_relay, into_server] = [(); 3].map(|()| free_udp_port());
        // Where the overlay runs: with that it says in the picture which ones it knows to be damaged.
        fs::write(at.join("boot"), "1a2b3c4d-5555-4666-8777-888899990000\n").unwrap();
        fs::write(at.join("runner"), "1\n").unwrap();
        let networks = [
            Network::to(into_overlay, seed),
            Network::to(into_relay, seed + 1),
        ];
        let server = Server::start(&format!("--stream robot=udp://127.0.0.1:{into_server}"));
        let mut stages = vec![
            Stage::start(
                at,
                "relay",
                &format!("{scheme}://127.0.0.1:{into_relay} udp://127.0.0.1:{into_server}"),
            ),
            Stage::start(
                at,
                "overlay",
                &format!(
                    "{scheme}://127.0.0.1:{into_overlay} {scheme}://127.0.0.1:{} --codec {codec} --bitrate 600k \
                     --boot-id-file {} --runner-file {}",
                    networks[1].port,
                    at.join("boot").display(),
                    at.join("runner").display()
                ),
            ),
        ];
        let camera = Stage::start(
            at,
            "capture",
            &format!(
                "{scheme}://127.0.0.1:{} --codec {codec} --width 160 --height 120 --bitrate 600k --gop {GOP} \
                 --sent-csv {}",
                networks[0].port,
                at.join("sent.csv").display()
            ),
        );
        stages.push(Stage::start(
            at,
            "play",
            &format!(
                "{} --frames-csv {}",
                server.url("/robot.ts"),
                at.join("frames.csv").display()
            ),
        ));
        let mut chain = Self {
            folder,
            camera,
            stages,
            server,
            server_memory_kib: 0,
            networks,
        };
        wait_for_frames(&chain.shown(), WHOLE_BEFORE);
        chain.server_memory_kib = chain.server.process.memory_kib();
        for stage in &mut chain.stages {
            stage.memory_kib = stage.memory_kib();
        }
        chain
    }

    fn shown(&self) -> PathBuf {
        self.folder.path().join("frames.csv")
    }

    fn sent(&self) -> Vec<SentRow> {
        let text = fs::read_to_string(self.folder.path().join("sent.csv")).unwrap();
        let whole = &text[..=text.rfind('\n').unwrap()];
        let mut reader = csv::Reader::from_reader(whole.as_bytes());
        reader.deserialize().map(Result::unwrap).collect()
    }

    /// Lets the network do something for a while, and returns how the picture came back.
    fn suffer(&self, fault: Fault, lasts: Duration, place: usize) -> Recovery {
        let network = &self.networks[place];
        let hit = network.hit();
        let before = frames(&self.shown());
        let begun = Timestamp::now();
        network.set(fault);
        thread::sleep(lasts);
        network.set(Fault::None);
        let ended = Timestamp::now();
        let hit = network.hit() - hit;
        assert!(hit > 0, "{fault:?} hit nothing");
        self.recovery(&before, (begun, ended), hit)
    }

    /// Waits until the time for coming back has passed, and looks.
    fn recovery(
        &self,
        before: &[FrameRow],
        (begun, ended): (Timestamp, Timestamp),
        hit: u64,
    ) -> Recovery {
        let is_past = |frame: &FrameRow| {
            frame.captured_us > Some(ended + DELAY_BACK + Duration::from_millis(700))
                && frame.status == FrameStatus::Ok
        };
        wait_or(
            || frames(&self.shown()).iter().any(is_past),
            || format!("no picture came back: {}", told(&frames(&self.shown()))),
        );
        let sent = self.sent();
        let sent = sent.iter().filter(|row| row.captured_us >= ended);
        Recovery {
            before: before.to_vec(),
            after: frames(&self.shown()).split_off(before.len()),
            sent: sent.map(|row| row.frame).collect(),
            begun,
            ended,
            hit,
        }
    }

    /// Ends all, and looks at what they said and hold. Returns by how much the resident memory of the stages grew at most (KiB), and
    /// what the relay said.
    fn end(mut self) -> (u64, String) {
        let growth = |stage: &mut Stage| {
            let now = stage.memory_kib();
            (now.saturating_sub(stage.memory_kib), stage.name)
        };
        let server = self.server.process.memory_kib();
        let server = (server.saturating_sub(self.server_memory_kib), "serve");
        let most = self.stages.iter_mut().map(growth).chain([server]).max();
        let (grown, name) = most.unwrap();
        assert!(grown < GROWTH_KIB_MAX, "{name} grew by {grown} KiB");
        self.camera.end();
        let mut relayed = String::new();
        for stage in self.stages {
            let is_relay = stage.name == "relay";
            let said = stage.end();
            if is_relay {
                relayed = said;
            }
        }
        let (code, said) = self.server.end();
        check_end("serve", code, &said);
        (grown, relayed)
    }
}

/// What a viewer saw of a fault.
struct Recovery {
    before: Vec<FrameRow>,
    /// From the fault on.
    after: Vec<FrameRow>,
    /// The pictures that were sent after the fault.
    sent: Vec<u32>,
    begun: Timestamp,
    ended: Timestamp,
    hit: u64,
}

impl Recovery {
    /// The first picture taken after the fault from which on each that was sent is shown, and whole. A flipped bit may be seen some
    /// pictures later: the first whole one need not be the end of it.
    fn back(&self) -> &FrameRow {
        let is_new = |frame: &&FrameRow| frame.captured_us >= Some(self.ended);
        let new = self.after.iter().filter(is_new);
        // What was sent later is still on its way.
        let last = new.clone().filter_map(|frame| frame.frame).max();
        let whole: BTreeMap<u32, &FrameRow> = new
            .filter(|frame| frame.status == FrameStatus::Ok)
            .filter_map(|frame| Some((frame.frame?, frame)))
            .collect();
        let is_wrong = |sent: &&u32| Some(**sent) <= last && !whole.contains_key(*sent);
        let wrong = self.sent.iter().rfind(is_wrong);
        let back = whole.range(wrong.map_or(0, |wrong| wrong + 1)..).next();
        back.map(|(_, frame)| *frame)
            .unwrap_or_else(|| panic!("no picture is back: {}", told(&self.after)))
    }

    /// How many were sent after the fault before the picture was back.
    fn passed(&self) -> u32 {
        self.back().frame.unwrap().saturating_sub(self.sent[0])
    }

    /// The picture is back in time, and comes as fast as before.
    fn check(&self, what: &str) {
        let told = || format!("{what}: {}", told(&self.after));
        let passed = self.passed();
        assert!(passed <= KEYS_MAX * GOP, "{passed} pictures: {}", told());
        let (before, after) = self.delays_ms();
        let allowed = (before * 1.1).max(before + FRAME_MS / 2.0);
        assert!(after < allowed, "{before} ms, then {after} ms: {}", told());
    }

    /// The lower quartile before the fault and after the time for coming back. A picture that is held would raise the least
    /// delay by that of a picture; a machine that is busy raises the highest ones.
    fn delays_ms(&self) -> (f64, f64) {
        let past = Some(self.ended + DELAY_BACK);
        let after = self.after.iter().filter(|frame| frame.captured_us >= past);
        let recent = self.before.len().saturating_sub(WHOLE_BEFORE);
        (quartile(self.before[recent..].iter()), quartile(after))
    }

    /// The row of the table, for who runs this to see figures.
    fn tell(&self, what: &str) {
        let during = |frame: &&FrameRow| frame.shown_us < self.ended;
        let during: Vec<_> = self.after.iter().filter(during).collect();
        let whole = during
            .iter()
            .filter(|frame| frame.status == FrameStatus::Ok);
        let back = self.back();
        let (before, after) = self.delays_ms();
        println!(
            "picture: | {what} | {} | {} of {} | {} | {:.0} ms | {before:.1} → {after:.1} ms |",
            self.hit,
            whole.count(),
            (self.ended.since(self.begun).as_secs_f64() * 1e3 / FRAME_MS).round(),
            self.passed(),
            back.shown_us.seconds_after(self.ended) * 1e3,
        );
    }
}

fn quartile<'a>(frames: impl Iterator<Item = &'a FrameRow>) -> f64 {
    let mut delays: Vec<f64> = frames.filter_map(|frame| frame.delay_ms).collect();
    delays.sort_by(f64::total_cmp);
    delays[delays.len() / 4]
}

/// Numbers and states, for a message.
fn told(frames: &[FrameRow]) -> String {
    let one = |frame: &FrameRow| {
        let number = frame.frame.map_or("?".into(), |number| number.to_string());
        format!("{number} {:?}", frame.status)
    };
    frames.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Both codecs in both carriages at once; in each, the fault before the overlay and then behind it.
fn check(what: &str, fault: Fault, lasts: Duration) {
    let one = |codec: &str, carriage: Carriage, seed: u64| {
        let chain = Chain::start(codec, carriage, seed);
        // Longer, for who wants to see whether memory grows.
        let longer = std::env::var("FORESTALL_FAULT_S").ok();
        let lasts = longer.map_or(lasts, |s| Duration::from_secs_f64(s.parse().unwrap()));
        for (place, name) in PLACES.iter().enumerate() {
            let recovery = chain.suffer(fault, lasts, place);
            let what = format!("{what} | {} | {codec} | {name}", carriage.scheme());
            recovery.tell(&what);
            recovery.check(&what);
        }
        let (grown, relayed) = chain.end();
        // The relay stands behind the second network, and counts what did not come.
        if matches!(fault, Fault::Lost(_)) {
            let counts = relayed.contains("packets lost on the way");
            let none = relayed.contains(" 0 packets lost on the way");
            assert!(counts && !none, "{what}: {relayed}");
        }
        let scheme = carriage.scheme();
        println!("memory: | {what} | {scheme} | {codec} | {grown} KiB |");
    };
    thread::scope(|scope| {
        let mut others = Vec::new();
        for (seed, codec) in ["mpeg2", "h264"].into_iter().enumerate() {
            for carriage in [Carriage::Udp, Carriage::Rtp] {
                others.push(scope.spawn(move || one(codec, carriage, 100 + seed as u64)));
            }
        }
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn five_per_cent_loss() {
    check("5 % lost", Fault::Lost(0.05), RARE_FAULT);
}

#[test]
fn thirty_per_cent_loss() {
    check("30 % lost", Fault::Lost(0.3), FAULT);
}

#[test]
fn duplicates() {
    check("20 % doubled", Fault::Doubled(0.2), FAULT);
}

#[test]
fn reordered() {
    check("20 % overtaken", Fault::Overtaken(0.2), FAULT);
}

#[test]
fn bit_flips() {
    check("a bit in 30 %", Fault::Flipped(0.3), FAULT);
}

#[test]
fn an_outage_of_three_seconds() {
    check("nothing passes", Fault::Down, OUTAGE);
}

/// Tables and video get other PIDs in midstream, such that map and video change places, or both are new; and back again.
#[test]
fn tables_that_change() {
    let swapped = Pids {
        map: OURS.video,
        video: OURS.map,
    };
    let others = Pids {
        map: 0x30,
        video: 0x31,
    };
    for pids in [swapped, others] {
        let chain = Chain::start("mpeg2", Carriage::Udp, 1);
        for (network, place) in chain.networks.iter().zip(PLACES) {
            for pids in [pids, OURS] {
                let before = frames(&chain.shown());
                let hit = network.hit();
                let changed = Timestamp::now();
                network.set(Fault::Renumbered(pids));
                let mut recovery = chain.recovery(&before, (changed, changed), 0);
                recovery.hit = network.hit() - hit;
                assert!(recovery.hit > 0 || pids == OURS, "{pids:?} hit nothing");
                let Pids { map, video } = pids;
                let what = format!("map {map:#x}, video {video:#x} | udp | mpeg2 | {place}");
                recovery.tell(&what);
                recovery.check(&what);
            }
        }
        chain.end();
    }
}

/// MPEG-2 at 640x480 becomes H.264 at 320x240 and comes back, from one sender, in midstream. One viewer sees it by way of
/// relay and server alone, another by way of the overlay.
#[test]
fn another_codec_and_another_size() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let [into_relay, into_overlay, into_plain, into_drawn] = [(); 4].map(|()| free_udp_port());
    let network = Network::to(into_relay, 1);
    let udp = |port: u16| format!("udp://127.0.0.1:{port}");
    let server = Server::start(&format!(
        "--stream plain={} --stream drawn={}",
        udp(into_plain),
        udp(into_drawn)
    ));
    let relayed = [into_relay, into_overlay, into_plain].map(udp).join(" ");
    let mut stages = vec![
        Stage::start(at, "relay", &relayed),
        Stage::start(
            at,
            "overlay",
            &format!("{} {}", udp(into_overlay), udp(into_drawn)),
        ),
    ];
    let shown = ["plain", "drawn"].map(|name| at.join(name));
    for (path, name) in shown.iter().zip(["plain", "drawn"]) {
        wait_for("the server has it", || server.get("/status.json").0 == 200);
        let watch = format!(
            "{} --frames-csv {} --png {}.png",
            server.url(&format!("/{name}.ts")),
            path.display(),
            path.display()
        );
        stages.push(Stage::start(at, "play", &watch));
    }
    let cameras = [
        "--width 640 --height 480 --codec mpeg2 --bitrate 1M",
        "--width 320 --height 240 --codec h264",
        "--width 320 --height 240 --codec mpeg2",
        "--width 640 --height 480 --codec h264 --fps 7",
    ];
    for camera in cameras {
        let begun = Timestamp::now();
        let capture = Stage::start(
            at,
            "capture",
            &format!("{} {camera} --gop {GOP}", udp(network.port)),
        );
        for (path, name) in shown.iter().zip(["plain", "drawn"]) {
            let is_new = |frame: &FrameRow| frame.captured_us >= Some(begun);
            let new = || frames(path).into_iter().filter(is_new).collect::<Vec<_>>();
            let enough =
                2 * KEYS_MAX as usize * GOP as usize / if camera.contains("fps") { 4 } else { 1 };
            wait_or(
                || {
                    new()
                        .iter()
                        .filter(|frame| frame.status == FrameStatus::Ok)
                        .count()
                        >= enough
                },
                || format!("{camera}: {}", told(&frames(path))),
            );
            let new = new();
            let back = new
                .iter()
                .position(|frame| frame.status == FrameStatus::Ok)
                .unwrap();
            println!(
                "change: | {camera} | {name} | picture {} is the first whole one |",
                new[back].frame.unwrap()
            );
            assert!(
                new[back].frame.unwrap() <= KEYS_MAX * GOP,
                "{camera}: {}",
                told(&new)
            );
            let is_ok = |frame: &FrameRow| frame.status == FrameStatus::Ok;
            assert!(new[back..].iter().all(is_ok), "{camera}: {}", told(&new));
        }
        capture.end();
    }
    for stage in stages {
        stage.end();
    }
    for path in &shown {
        let png = fs::read(path.with_extension("png")).unwrap();
        // Width and height stand at the beginning of a PNG.
        assert_eq!(png[16..24], [0, 0, 2, 0x80, 0, 0, 1, 0xe0]);
    }
    let (code, said) = server.end();
    check_end("serve", code, &said);
}

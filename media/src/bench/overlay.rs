//! What the overlay costs, beside `ffmpeg -vf drawtext` with the same stream, codec and number of threads.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::process::{Stage, udp_port, udp_socket};
use super::{BITRATE, Bench, BenchError, FPS, Sides};

const SIZES: [(&str, u32, u32); 2] = [("640x480", 640, 480), ("1280x720", 1280, 720)];
/// FFmpeg looks at its input for up to 5 s before it begins.
const SETTLE: Duration = Duration::from_secs(8);

/// What a process took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// CPU time for each frame, decoding and encoding included.
    pub cpu_us_per_frame: f64,
    /// Resident memory.
    pub rss_mb: f64,
    /// The same by what is mapped: libraries, the program, `heap`, `stack`, `anonymous`, and `others` that are small.
    pub rss_mb_by_mapping: BTreeMap<String, f64>,
}

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<BTreeMap<&'static str, Sides>, BenchError> {
    let mut all = BTreeMap::new();
    for (name, width, height) in SIZES {
        let mut sides = Sides::default();
        if !bench.options.sizes.contains(&name) {
            all.insert(name, sides);
            continue;
        }
        (bench.say)(&format!("overlay, {name}"));
        let cost = both(bench, width, height);
        if let Some((ours, theirs)) = bench.or_note(&format!("the overlay at {name}"), cost)? {
            sides.forestall = Some(ours);
            sides.ffmpeg = Some(theirs);
        }
        all.insert(name, sides);
    }
    Ok(all)
}

/// Both at once, from one camera by way of a relay: so the noise of the machine meets both alike.
fn both(bench: &Bench<'_>, width: u32, height: u32) -> Result<(Cost, Cost), BenchError> {
    let own = &bench.options.own;
    let [to_relay, to_ours, to_theirs] = [udp_port()?, udp_port()?, udp_port()?];
    let (ours_out, theirs_out) = (Sink::open()?, Sink::open()?);
    let mut ours = Stage::start(
        own,
        &format!(
            "overlay udp://127.0.0.1:{to_ours} udp://127.0.0.1:{} --text TEXT --bitrate {BITRATE} --gop 30",
            ours_out.port
        ),
        "Forestall",
    )?;
    let mut theirs = Stage::start(
        "ffmpeg",
        &format!(
            "-nostdin -nostats -loglevel error -threads 1 -fflags nobuffer -flags low_delay -f mpegts \
             -i udp://127.0.0.1:{to_theirs}?fifo_size=4096&overrun_nonfatal=1 \
             -vf drawtext=fontfile={font}:text=TEXT:x=4:y=4:fontsize=24:fontcolor=white:box=1:boxcolor=black@0.5 -filter_threads 1 \
             -c:v mpeg2video -threads 1 -b:v {BITRATE} -g 30 -bf 0 -f mpegts -flush_packets 1 udp://127.0.0.1:{}?pkt_size=1316",
            theirs_out.port,
            font = crate::text::DEFAULT_FONT
        ),
        "Forestall",
    )?;
    let _relay = Stage::start(
        own,
        &format!(
            "relay udp://127.0.0.1:{to_relay} udp://127.0.0.1:{to_ours} udp://127.0.0.1:{to_theirs}"
        ),
        "",
    )?;
    let _camera = Stage::start(
        own,
        &format!(
            "capture udp://127.0.0.1:{to_relay} --width {width} --height {height} --fps {FPS} --bitrate {BITRATE}"
        ),
        "",
    )?;
    bench.wait(SETTLE)?;
    let unread = || BenchError::Stage("the system does not say what a process takes".into());
    let (begun, before) = (Instant::now(), [&ours, &theirs].map(Stage::cpu_s));
    bench.wait(bench.options.measured)?;
    ours.check()?;
    theirs.check()?;
    let frames = begun.elapsed().as_secs_f64() * f64::from(FPS);
    let cost = |stage: &Stage, before: Option<f64>| {
        Some(Cost {
            cpu_us_per_frame: (stage.cpu_s()? - before?) * 1e6 / frames,
            rss_mb: stage.rss_bytes()? / 1e6,
            rss_mb_by_mapping: stage.rss_mb_by_mapping()?,
        })
    };
    for sink in [&ours_out, &theirs_out] {
        if !sink.is_fed() {
            return Err(BenchError::Stage("a stage sent nothing".into()));
        }
    }
    let [ours_before, theirs_before] = before;
    Ok((
        cost(&ours, ours_before).ok_or_else(unread)?,
        cost(&theirs, theirs_before).ok_or_else(unread)?,
    ))
}

/// Takes datagrams and throws them away, so that none is refused.
struct Sink {
    port: u16,
    stop: Arc<AtomicBool>,
    fed: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sink {
    fn open() -> Result<Self, BenchError> {
        let (socket, port) = udp_socket()?;
        let (stop, fed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (stop, fed) = (Arc::clone(&stop), Arc::clone(&fed));
            std::thread::spawn(move || drain(&socket, &stop, &fed))
        };
        Ok(Self {
            port,
            stop,
            fed,
            thread: Some(thread),
        })
    }

    /// Something came.
    fn is_fed(&self) -> bool {
        self.fed.load(Ordering::Relaxed)
    }
}

fn drain(socket: &UdpSocket, stop: &AtomicBool, fed: &AtomicBool) {
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .ok();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if socket.recv(&mut buffer).is_ok() {
            fed.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

//! Many viewers of one stream of 2 Mbit/s, and what slow ones do to the others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::mpegts::{Continuity, PACKET_BYTES, Splitter};

use super::chain::rows;
use super::process::{Stage, tcp_port, udp_port, wait_for_listener};
use super::{BITRATE, Bench, BenchError, FPS, quantile};

/// All viewers are there, and have had what was before them.
const SETTLE: Duration = Duration::from_secs(3);
const SLOW_VIEWERS: usize = 20;

/// Figures of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Serve {
    /// Viewers of 2 Mbit/s over the share of a core that the server took for them; of the most viewers of which none lost a packet.
    pub viewers_per_core: Option<f64>,
    /// How many those were.
    pub viewers: Option<u32>,
    /// Memory for each more viewer.
    pub bytes_per_viewer: Option<f64>,
    /// Median delay of a viewer while 20 others take a byte a second, less that without them.
    pub slow_viewer_adds_ms: Option<f64>,
}

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<Serve, BenchError> {
    let mut serve = Serve::default();
    crate::serve::raise_open_files();
    let many = many(bench, &mut serve);
    bench.or_note("what many viewers cost", many)?;
    (bench.say)("slow viewers");
    let slow = slow(bench);
    serve.slow_viewer_adds_ms = bench.or_note("what slow viewers cost", slow)?;
    Ok(serve)
}

/// A server with a camera, and its port.
fn server(bench: &Bench<'_>) -> Result<(u16, [Stage; 2]), BenchError> {
    let own = &bench.options.own;
    let (port, from) = (tcp_port()?, udp_port()?);
    let mut server = Stage::start(
        own,
        &format!("serve 127.0.0.1:{port} --stream robot=udp://127.0.0.1:{from}"),
        "",
    )?;
    wait_for_listener(bench, port, &mut server)?;
    let camera = Stage::start(
        own,
        &format!(
            "capture udp://127.0.0.1:{from} --width 640 --height 480 --fps {FPS} --bitrate {BITRATE}"
        ),
        "",
    )?;
    Ok((port, [server, camera]))
}

fn many(bench: &mut Bench<'_>, serve: &mut Serve) -> Result<(), BenchError> {
    let (port, stages) = server(bench)?;
    let [server, _camera] = &stages;
    bench.wait(Duration::from_secs(2))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| BenchError::Io {
            what: "start viewers".into(),
            source,
        })?;
    let alone = server.rss_bytes();
    for count in bench.options.viewers.clone() {
        (bench.say)(&format!("{count} viewers"));
        let stop = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicU64::new(0));
        for _ in 0..count {
            let (stop, lost) = (Arc::clone(&stop), Arc::clone(&lost));
            runtime.spawn(async move {
                if watch(port, &stop, &lost).await.is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        bench.wait(SETTLE)?;
        lost.store(0, Ordering::Relaxed);
        let (begun, before) = (Instant::now(), server.cpu_s());
        bench.wait(bench.options.measured)?;
        let share = server
            .cpu_s()
            .zip(before)
            .map(|(now, before)| (now - before) / begun.elapsed().as_secs_f64());
        let memory = server.rss_bytes();
        let lost = lost.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        bench.wait(Duration::from_millis(500))?;
        if lost > 0 {
            bench.notes.push(format!(
                "{count} viewers: {lost} packets lost; these do not count"
            ));
            break;
        }
        serve.viewers = Some(count);
        serve.viewers_per_core = share
            .filter(|share| *share > 0.0)
            .map(|share| f64::from(count) / share);
        serve.bytes_per_viewer = memory
            .zip(alone)
            .map(|(memory, alone)| (memory - alone).max(0.0) / f64::from(count));
    }
    Ok(())
}

async fn watch(port: u16, stop: &AtomicBool, lost: &AtomicU64) -> std::io::Result<()> {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(b"GET /robot.ts HTTP/1.0\r\n\r\n").await?;
    let (mut splitter, mut continuity) = (Splitter::default(), Continuity::default());
    let mut buffer = vec![0; 16 << 10];
    let mut before = 0;
    while !stop.load(Ordering::Relaxed) {
        let length = socket.read(&mut buffer).await?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        splitter.push(&buffer[..length], |packet: &[u8; PACKET_BYTES]| {
            continuity.follow(packet);
        });
        let now = continuity.lost();
        lost.fetch_add(now - before, Ordering::Relaxed);
        before = now;
    }
    Ok(())
}

/// Median delay at a player with slow viewers beside it, less that without them.
fn slow(bench: &Bench<'_>) -> Result<f64, BenchError> {
    let (port, _stages) = server(bench)?;
    bench.wait(Duration::from_secs(1))?;
    let folder = tempfile::tempdir().map_err(|source| BenchError::Io {
        what: "make a folder".into(),
        source,
    })?;
    let frames = folder.path().join("frames.csv");
    let line = format!(
        "play http://127.0.0.1:{port}/robot.ts --frames-csv {}",
        frames.display()
    );
    let _play = Stage::start(&bench.options.own, &line, "")?;
    bench.wait(SETTLE)?;
    let median = |from: usize| {
        let mut delays: Vec<f64> = rows(&frames)
            .get(from..)
            .unwrap_or_default()
            .iter()
            .filter_map(|row| row.delay_ms)
            .collect();
        delays.sort_by(f64::total_cmp);
        quantile(&delays, 0.5).ok_or_else(|| BenchError::Stage("no picture was shown".into()))
    };
    let begun = rows(&frames).len();
    bench.wait(bench.options.measured)?;
    let without = median(begun)?;
    let stop = Arc::new(AtomicBool::new(false));
    let viewers: Vec<_> = (0..SLOW_VIEWERS)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || take_a_byte_a_second(port, &stop))
        })
        .collect();
    // The system's buffers of the slow ones are full by then.
    let filled = bench.wait(Duration::from_secs(2));
    let begun = rows(&frames).len();
    let waited = filled.and_then(|()| bench.wait(bench.options.measured));
    let with = median(begun);
    stop.store(true, Ordering::Relaxed);
    for viewer in viewers {
        viewer.join().ok();
    }
    waited?;
    Ok(with? - without)
}

fn take_a_byte_a_second(port: u16, stop: &AtomicBool) {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    socket.write_all(b"GET /robot.ts HTTP/1.0\r\n\r\n").ok();
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if last.elapsed() >= Duration::from_secs(1) {
            last = Instant::now();
            // A server that has closed the connection gives nothing more, and that is well, too.
            socket.read_exact(&mut [0]).ok();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

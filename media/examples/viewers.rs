//! What many viewers cost a running `forestall serve`: connects them, reads for a while, and says what came and what CPU
//! time the server took for it.
//!
//! ```text
//! forestall serve 127.0.0.1:8080 --stream robot=udp://127.0.0.1:5000 &
//! forestall capture udp://127.0.0.1:5000 --width 640 --height 480 --bitrate 2M &
//! cargo run --release -p forestall-media --example viewers -- 127.0.0.1:8080 robot PID_OF_SERVE 500 10
//! ```
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::mpegts::{Continuity, PACKET_BYTES, Splitter};

/// Ticks per second in `/proc/PID/stat`.
const TICKS: f64 = 100.0;

struct Seen {
    bytes: u64,
    lost: u64,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, stream, pid, viewers, seconds] = arguments.try_into().unwrap();
    let (server, pid): (SocketAddr, u32) = (server.parse().unwrap(), pid.parse().unwrap());
    let (viewers, seconds): (u32, u64) = (viewers.parse().unwrap(), seconds.parse().unwrap());
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..viewers)
        .map(|_| tokio::spawn(watch(server, stream.clone(), Arc::clone(&stop))))
        .collect();
    // All are there, and have had what was before them.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (start, cpu, memory) = (Instant::now(), cpu_seconds(pid), memory_kib(pid));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let share = (cpu_seconds(pid) - cpu) / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let (mut bytes, mut lost, mut ended) = (0, 0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(seen) => {
                bytes += seen.bytes;
                lost += seen.lost;
            }
            Err(_) => ended += 1,
        }
    }
    println!(
        "{viewers} viewers: {:.1} Mbit/s in all, {lost} packets lost, {ended} ended; the server took {:.0} % of a core, \
         {:.0} viewers per core, {memory} KiB",
        bytes as f64 * 8e-6 / (seconds + 3) as f64,
        share * 100.0,
        f64::from(viewers) / share,
    );
}

async fn watch(server: SocketAddr, stream: String, stop: Arc<AtomicBool>) -> std::io::Result<Seen> {
    let mut socket = TcpStream::connect(server).await?;
    let request = format!("GET /{stream}.ts HTTP/1.0\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let (mut splitter, mut continuity) = (Splitter::default(), Continuity::default());
    let (mut buffer, mut bytes) = (vec![0; 16 << 10], 0);
    while !stop.load(Ordering::Relaxed) {
        let length = socket.read(&mut buffer).await?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes += length as u64;
        splitter.push(&buffer[..length], |packet: &[u8; PACKET_BYTES]| {
            continuity.follow(packet);
        });
    }
    Ok(Seen {
        bytes,
        lost: continuity.lost(),
    })
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything, user and system time are the 12th and 13th.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    [11, 12]
        .map(|at| fields[at].parse::<f64>().unwrap())
        .iter()
        .sum::<f64>()
        / TICKS
}

fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

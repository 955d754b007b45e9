//! A network between two processes: it loses, doubles, delays and spoils datagrams, with chance that is the same each time.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wire::mpegts::PACKET_BYTES;

/// A datagram that others overtake comes at most so much later.
const LATE_MAX: Duration = Duration::from_millis(4);

/// What the network does to a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// This share is lost.
    Lost(f64),
    /// This share comes twice, the second time one to three datagrams later, or [`LATE_MAX`].
    Doubled(f64),
    /// This share comes so late.
    Overtaken(f64),
    /// In this share a bit is flipped, anywhere.
    Flipped(f64),
    /// Nothing passes.
    Down,
    /// Tables and video come with other PIDs.
    Renumbered(Pids),
}

/// Where the map and the video of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pids {
    pub(crate) map: u16,
    pub(crate) video: u16,
}

/// Those of `forestall capture` and `overlay`.
pub(crate) const OURS: Pids = Pids {
    map: 0x1000,
    video: 0x100,
};

/// Passes datagrams on from one port to another.
pub(crate) struct Network {
    fault: Arc<Mutex<Fault>>,
    hit: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub(crate) port: u16,
}

impl Network {
    pub(crate) fn to(target: u16, seed: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LATE_MAX / 2)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (fault, hit, ends) = (
            Arc::new(Mutex::new(Fault::None)),
            Arc::<AtomicU64>::default(),
            Arc::<AtomicBool>::default(),
        );
        let mut carrier = Carrier {
            socket,
            target,
            chance: Chance(seed),
            late: VecDeque::new(),
            hit: Arc::clone(&hit),
        };
        let (now, over) = (Arc::clone(&fault), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                let received = carrier.socket.recv(&mut buffer);
                let now = *now.lock().unwrap();
                carrier.release(0);
                if let Ok(length) = received {
                    carrier.carry(now, buffer[..length].to_vec());
                }
            }
        });
        Self {
            fault,
            hit,
            ends,
            thread: Some(thread),
            port,
        }
    }

    /// What it does from now on.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Datagrams that something was done to.
    pub(crate) fn hit(&self) -> u64 {
        self.hit.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

/// What a network needs to carry.
struct Carrier {
    socket: UdpSocket,
    target: u16,
    chance: Chance,
    late: VecDeque<Late>,
    hit: Arc<AtomicU64>,
}

/// A datagram that comes after so many others, or then.
struct Late {
    others: usize,
    due: Instant,
    datagram: Vec<u8>,
}

impl Carrier {
    fn carry(&mut self, fault: Fault, mut datagram: Vec<u8>) {
        let hit = match fault {
            Fault::None => false,
            Fault::Down => true,
            Fault::Renumbered(pids) => renumber(&mut datagram, pids),
            Fault::Lost(share)
            | Fault::Doubled(share)
            | Fault::Overtaken(share)
            | Fault::Flipped(share) => self.chance.is_within(share),
        };
        self.hit.fetch_add(u64::from(hit), Ordering::Relaxed);
        match fault {
            Fault::Down | Fault::Lost(_) if hit => return,
            Fault::Doubled(_) if hit => self.delay(datagram.clone()),
            Fault::Overtaken(_) if hit => {
                self.delay(datagram);
                return;
            }
            Fault::Flipped(_) if hit => {
                let bit = self.chance.below(datagram.len() * 8);
                datagram[bit / 8] ^= 1 << (bit % 8);
            }
            _ => {}
        }
        self.send(&datagram);
        self.release(1);
    }

    /// One, two or three others go first.
    fn delay(&mut self, datagram: Vec<u8>) {
        self.late.push_back(Late {
            others: 1 + self.chance.below(3),
            due: Instant::now() + LATE_MAX,
            datagram,
        });
    }

    fn release(&mut self, passed: usize) {
        for _ in 0..self.late.len() {
            let mut late = self.late.pop_front().unwrap();
            late.others = late.others.saturating_sub(passed);
            if late.others == 0 || Instant::now() >= late.due {
                self.send(&late.datagram);
            } else {
                self.late.push_back(late);
            }
        }
    }

    fn send(&self, datagram: &[u8]) {
        // Nobody there is no matter of the network's.
        let _ = self.socket.send_to(datagram, ("127.0.0.1", self.target));
    }
}

/// Chance that is the same each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn is_within(&mut self, share: f64) -> bool {
        ((self.next() >> 11) as f64) < share * (1_u64 << 53) as f64
    }
}

/// Gives a stream of ours other PIDs; whether that made it another one.
fn renumber(datagram: &mut [u8], pids: Pids) -> bool {
    let before = datagram.to_vec();
    let (packets, _) = datagram.as_chunks_mut::<PACKET_BYTES>();
    for packet in packets {
        let old = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let new = match old {
            0 => {
                // Header, pointer, 8 bytes of table, programme; then the PID of its map.
                set_pid(&mut packet[15..17], pids.map);
                sign(&mut packet[5..]);
                continue;
            }
            _ if old == OURS.map => {
                // PID of the clock; stream type, and the PID of the video.
                set_pid(&mut packet[13..15], pids.video);
                set_pid(&mut packet[18..20], pids.video);
                sign(&mut packet[5..]);
                pids.map
            }
            _ if old == OURS.video => pids.video,
            other => other,
        };
        set_pid(&mut packet[1..3], new);
    }
    datagram != before
}

fn set_pid(at: &mut [u8], pid: u16) {
    let [hi, lo] = pid.to_be_bytes();
    at[0] = at[0] & 0xe0 | hi;
    at[1] = lo;
}

/// Writes the CRC of a table anew.
fn sign(table: &mut [u8]) {
    let length = 3 + usize::from(table[2]);
    let crc = table[..length - 4].iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    table[length - 4..length].copy_from_slice(&crc.to_be_bytes());
}

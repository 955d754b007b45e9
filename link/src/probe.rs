//! What a link does in truth: datagrams sent at one end and timed at the other, by one clock.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// Headers before a datagram's payload: Ethernet, IPv4, UDP.
pub const HEADERS: usize = 14 + 20 + 8;
/// A datagram that has not arrived this long after the last was sent is lost, beside what the link itself delays.
const PATIENCE: Duration = Duration::from_millis(500);
/// A datagram carries its number and the time at which it was sent.
const STAMP: usize = 12;

/// One end of a link.
#[derive(Clone, Debug)]
pub struct End {
    /// Its network namespace, a path like `/run/netns/NAME`.
    pub namespace: PathBuf,
    /// Its address there.
    pub address: Ipv4Addr,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    /// How many datagrams.
    pub count: u32,
    /// Time from one to the next; zero for as fast as it goes.
    pub every: Duration,
    /// Payload; at least 12 bytes are sent.
    pub bytes: usize,
    /// Longest delay that the link may have.
    pub delay_max: Duration,
}

/// What arrived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrivals {
    /// How many were sent.
    pub sent: u32,
    /// Of each that arrived, in the order of arrival: its number, and its time under way.
    pub seen: Vec<(u32, Duration)>,
    /// From the first arrival to the last.
    pub span: Duration,
}

impl Arrivals {
    /// Datagrams that arrived in a second, without the first.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        let after_the_first = self.seen.len().checked_sub(1).filter(|n| *n > 0)?;
        Some(after_the_first as f64 / self.span.as_secs_f64())
    }

    /// Share that did not arrive.
    #[must_use]
    pub fn lost(&self) -> f64 {
        1.0 - self.seen.len() as f64 / f64::from(self.sent.max(1))
    }
}

/// Sends a train from one end to the other.
///
/// # Errors
/// When a socket cannot be had, or sending fails.
pub fn send(from: &End, to: &End, train: Train) -> io::Result<Arrivals> {
    let receiver = socket(to)?;
    receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
    let target = receiver.local_addr()?;
    let sender = socket(from)?;
    let begun = Instant::now();
    let all_sent = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, begun, train, &all_sent));
        let sent = transmit(&sender, target, begun, train);
        all_sent.store(true, Ordering::Release);
        let mut arrivals = receiving
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the receiving thread ended")))?;
        arrivals.sent = sent?;
        Ok(arrivals)
    })
}

/// A socket stays in the network namespace in which it was made, whoever uses it.
fn socket(end: &End) -> io::Result<UdpSocket> {
    let made = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(File::open(&end.namespace)?, CloneFlags::CLONE_NEWNET)?;
                UdpSocket::bind((end.address, 0))
            })
            .join()
    });
    made.unwrap_or_else(|_| Err(io::Error::other("the thread that makes a socket ended")))
}

fn transmit(socket: &UdpSocket, to: SocketAddr, begun: Instant, train: Train) -> io::Result<u32> {
    let mut datagram = vec![0; train.bytes.max(STAMP)];
    for number in 0..train.count {
        let due = begun + train.every * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        datagram[4..STAMP].copy_from_slice(&(begun.elapsed().as_nanos() as u64).to_be_bytes());
        match socket.send_to(&datagram, to) {
            Ok(_) => {}
            // The device's own queue is full: sent too fast, which is what a train without a pause is for.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(train.count)
}

fn receive(
    socket: &UdpSocket,
    begun: Instant,
    train: Train,
    all_sent: &AtomicBool,
) -> io::Result<Arrivals> {
    let mut arrivals = Arrivals::default();
    let mut buffer = vec![0; train.bytes.max(STAMP)];
    let (mut first, mut last) = (None, Duration::ZERO);
    let mut quiet_from = None;
    while arrivals.seen.len() < train.count as usize {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let now = begun.elapsed();
                let (Some(number), Some(stamp)) = (buffer.first_chunk(), buffer[4..].first_chunk())
                else {
                    continue;
                };
                if length < STAMP {
                    continue;
                }
                let sent = Duration::from_nanos(u64::from_be_bytes(*stamp));
                arrivals
                    .seen
                    .push((u32::from_be_bytes(*number), now.saturating_sub(sent)));
                first.get_or_insert(now);
                last = now;
                quiet_from = None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if all_sent.load(Ordering::Acquire) {
                    let since = quiet_from.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE + train.delay_max {
                        break;
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    arrivals.span = last.saturating_sub(first.unwrap_or_default());
    Ok(arrivals)
}

/// Where `ip netns` keeps a namespace.
#[must_use]
pub fn namespace(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

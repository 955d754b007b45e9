//! Frames from one device to the other, each when it is due.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use serde::Serialize;

use crate::lane::{Fate, Lane};
use crate::lateness::{Lateness, Summary};
use crate::shape::Shape;
use crate::tap::Tap;

/// Largest Ethernet frame that a device hands over: 9000 bytes of payload and its headers.
const FRAME_MAX: usize = 9_100;
/// Frames read from one side before the other side and what is due get their turn.
const AT_ONCE: usize = 64;
/// How soon a forwarder notices that it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Frames under way in one direction: 1 Gbit/s of small frames for a second and a half. More overflow.
const UNDER_WAY_MAX: usize = 1 << 21;

/// Why a link does not stand or no longer forwards.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A device cannot be made.
    #[error("making the device {name} in {namespace}: {source}")]
    Device {
        /// Its name.
        name: String,
        /// Its network namespace.
        namespace: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Something failed while it ran.
    #[error("{what}: {source}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

/// What passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Frames that came in.
    pub taken: u64,
    /// Sent on.
    pub delivered: u64,
    /// Lost by the shape.
    pub lost: u64,
    /// Dropped because too much waited.
    pub overflowed: u64,
    /// Not taken by the device at the far end, which was down or full.
    pub refused: u64,
    /// How much later than due frames were sent: the error of this link's delay.
    pub late: Option<Summary>,
}

/// A link that forwards until it is dropped.
#[derive(Debug)]
pub struct Forwarder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<[Traffic; 2], LinkError>>>,
}

impl Forwarder {
    /// Forwards from `ends[0]` to `ends[1]` by `shapes[0]`, and back by `shapes[1]`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(ends: [Tap; 2], shapes: [Shape; 2], seed: u64) -> Result<Self, LinkError> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let [there, back] = shapes;
        let mut directions = [
            Direction::new(Lane::new(there, seed)),
            // Another sequence for the other direction.
            Direction::new(Lane::new(back, seed ^ 0x9e37_79b9_7f4a_7c15)),
        ];
        let thread = std::thread::Builder::new()
            .name("link".into())
            .spawn(move || {
                forward(&ends, &mut directions, &asked)?;
                Ok(directions.map(|direction| direction.traffic()))
            })
            .map_err(|source| LinkError::Failed {
                what: "starting a link's thread",
                source,
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends it and says what passed.
    ///
    /// # Errors
    /// What made it end before.
    pub fn end(mut self) -> Result<[Traffic; 2], LinkError> {
        self.join().unwrap_or_else(|| Ok([Traffic::default(); 2]))
    }

    fn join(&mut self) -> Option<Result<[Traffic; 2], LinkError>> {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let ended = self.thread.take()?.join();
        Some(ended.unwrap_or_else(|_| {
            Err(LinkError::Failed {
                what: "forwarding",
                source: io::Error::other("the thread ended"),
            })
        }))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // An error was there for `end` to be asked for.
        self.join().map(Result::ok);
    }
}

#[derive(Debug)]
struct Frame {
    due: Duration,
    /// Frames that are due at once go in the order in which they came.
    number: u64,
    bytes: Box<[u8]>,
}

impl Ord for Frame {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}
impl PartialOrd for Frame {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Frame {}

#[derive(Debug)]
struct Direction {
    lane: Lane,
    under_way: BinaryHeap<Reverse<Frame>>,
    traffic: Traffic,
    lateness: Lateness,
}

impl Direction {
    fn new(lane: Lane) -> Self {
        Self {
            lane,
            under_way: BinaryHeap::new(),
            traffic: Traffic::default(),
            lateness: Lateness::default(),
        }
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            late: self.lateness.summary(),
            ..self.traffic
        }
    }

    fn take(&mut self, now: Duration, frame: &[u8]) {
        self.traffic.taken += 1;
        match self.lane.accept(now, frame.len()) {
            Fate::Arrives(_) if self.under_way.len() >= UNDER_WAY_MAX => {
                self.traffic.overflowed += 1;
            }
            Fate::Arrives(due) => self.under_way.push(Reverse(Frame {
                due,
                number: self.traffic.taken,
                bytes: frame.into(),
            })),
            Fate::Lost => self.traffic.lost += 1,
            Fate::Overflows => self.traffic.overflowed += 1,
        }
    }

    /// Sends what is due.
    fn send(&mut self, clock: &impl Fn() -> Duration, to: &Tap) -> io::Result<()> {
        while let Some(Reverse(frame)) = self.under_way.peek() {
            let now = clock();
            if frame.due > now {
                break;
            }
            self.lateness.take(now - frame.due);
            match to.write(&frame.bytes) {
                Ok(()) => self.traffic.delivered += 1,
                // The far end is down (EIO) or can take no more: a link loses such frames, too.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(nix::libc::EIO)
                        || error.raw_os_error() == Some(nix::libc::ENOBUFS) =>
                {
                    self.traffic.refused += 1;
                }
                Err(error) => return Err(error),
            }
            self.under_way.pop();
        }
        Ok(())
    }

    fn next_due(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse(frame)| frame.due)
    }
}

fn forward(
    ends: &[Tap; 2],
    directions: &mut [Direction; 2],
    stop: &AtomicBool,
) -> Result<(), LinkError> {
    let failed = |what: &'static str| move |source: io::Error| LinkError::Failed { what, source };
    // The kernel may wake a thread 50 µs late to save power; a link would be that much longer.
    set_timerslack(1).map_err(|error| failed("asking for exact timers")(error.into()))?;
    let begun = Instant::now();
    let clock = || begun.elapsed();
    let mut buffer = vec![0; FRAME_MAX];
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        for (from, direction) in directions.iter_mut().enumerate() {
            direction
                .send(&clock, &ends[1 - from])
                .map_err(failed("sending a frame"))?;
        }
        let due = directions.iter().filter_map(Direction::next_due).min();
        let wait = due.map_or(LOOK_EVERY, |due| {
            due.saturating_sub(clock()).min(LOOK_EVERY)
        });
        let mut fds = [
            PollFd::new(ends[0].as_fd(), PollFlags::POLLIN),
            PollFd::new(ends[1].as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(failed("waiting for frames")(error.into())),
        }
        for (end, direction) in ends.iter().zip(directions.iter_mut()) {
            for _ in 0..AT_ONCE {
                match end.read(&mut buffer) {
                    Ok(length) => direction.take(clock(), &buffer[..length]),
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                        ) =>
                    {
                        break;
                    }
                    Err(error) => return Err(failed("reading a frame")(error)),
                }
            }
        }
    }
    Ok(())
}

//! The SNMP agents of a site's hosts, simulated, each of which does what a test wants at the moment.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orchestrator::snmp::fleet::{Fleet, Tells};
use orchestrator::snmp::{Access, Secret};

/// What an orchestrator of the site has to say.
pub(crate) const COMMUNITY: &str = "site-test";
/// Time passes so much faster for the agents, whose counters move every 5 s of it: a sample comes each second.
pub(crate) const SPEED: u32 = 5;
/// What their up-time is when a site begins.
const UP: Duration = Duration::from_secs(99);

/// What the agent of a host does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Agent {
    /// Its counters say 60 %.
    Runs {
        /// Its up-time at the instant that follows.
        up: Duration,
        since: Instant,
    },
    /// The same, but no time passes for it.
    StandsStill { up: Duration },
    /// It takes questions and does not answer.
    Silent,
    /// It has no counters, and says so many percent as the mean of the last minute.
    Says(i32),
}

impl Agent {
    /// One that has run for so long, in its own time, and goes on.
    pub(crate) fn up_for(up: Duration) -> Self {
        let since = Instant::now();
        Self::Runs { up, since }
    }
}

/// The agents of both hosts, until they go out of scope.
pub(crate) struct Agents {
    pub(crate) addresses: [SocketAddr; 2],
    does: Arc<Mutex<[Agent; 2]>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agents {
    pub(crate) fn start() -> Self {
        let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = [0, 1].map(|host| sockets[host].local_addr().unwrap());
        let does = Arc::new(Mutex::new([Agent::up_for(UP); 2]));
        let ends = Arc::<AtomicBool>::default();
        let (told, stop) = (Arc::clone(&does), Arc::clone(&ends));
        let thread = std::thread::spawn(move || answer(&sockets, &told, &stop));
        Self {
            addresses,
            does,
            ends,
            thread: Some(thread),
        }
    }

    /// From now on.
    pub(crate) fn set(&self, host: usize, agent: Agent) {
        self.does.lock().unwrap()[host] = agent;
    }

    /// None answers any more.
    pub(crate) fn stop(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn answer(sockets: &[UdpSocket; 2], does: &Mutex<[Agent; 2]>, ends: &AtomicBool) {
    let access = Access::V2c {
        community: Secret::new(COMMUNITY),
    };
    let mut fleet = Fleet::new(&access).unwrap();
    let mut buffer = [0; 2048];
    for socket in sockets {
        let pause = Duration::from_millis(20);
        socket.set_read_timeout(Some(pause)).unwrap();
    }
    while !ends.load(Ordering::Relaxed) {
        for (host, socket) in sockets.iter().enumerate() {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let agent = does.lock().unwrap()[host];
            let (tells, up) = match agent {
                Agent::Runs { up, since } => (Tells::Counters, up + since.elapsed() * SPEED),
                Agent::StandsStill { up } => (Tells::Counters, up),
                Agent::Says(percent) => (Tells::OneMinute(percent), UP),
                Agent::Silent => continue,
            };
            fleet.tell(tells);
            let to = socket.local_addr().unwrap().ip();
            if let Some(answer) = fleet.answer(up, to, &buffer[..length]) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    }
}

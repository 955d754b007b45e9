//! Asking SNMP agents: one task, and one socket for each address family, for all of them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use control::Input;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use record::HostName;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::counters::Counters;
use crate::log::{self, About};
use crate::processors::Processors;
use crate::snmp::{Access, Event, Failure, Poller, Snmp, SnmpError, Totals, Transmit};

/// Room for answers that come while this task waits for its turn: a second of those of 10,000 agents.
pub const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// Room for the requests of a moment.
pub const SEND_BUFFER_BYTES: usize = 4 << 20;
/// Agents at once that buffers are made for.
const AGENTS_MAX: usize = 10_000;
/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Polls in a row without an answer before it is told: a datagram that is lost is no news.
const SILENT_TOLD_AFTER: u32 = 3;
/// How often counts are told.
const COUNTS_EVERY: Duration = Duration::from_secs(1);
/// Answers that are taken before looking again who is due.
const TAKEN_AT_ONCE_MAX: usize = 256;

/// All agents of a configuration, being asked.
#[derive(Debug)]
pub struct Watch {
    poller: Poller,
    hosts: Vec<Host>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// Where the kernel gives less room than was wanted: what a person can do.
    cramped: Option<String>,
    counts: watch::Sender<Totals>,
    processors: Processors,
}

/// What is known of a host whose agent is asked.
#[derive(Debug)]
struct Host {
    name: HostName,
    address: SocketAddr,
    counters: Counters,
    /// Why its last poll came to nothing, as far as it was told.
    failure: Option<Failure>,
    /// Polls in a row that came to nothing.
    failed: u32,
    /// It was told that there is only the mean over a minute.
    one_minute: bool,
}

impl Watch {
    /// Opens the sockets and makes the keys; nothing is asked yet.
    ///
    /// # Errors
    /// When there are no keys, random numbers or sockets to be had.
    pub fn new(snmp: &Snmp, access: &Access) -> Result<Self, SnmpError> {
        let hosts = snmp.agents.iter().map(|(name, address)| Host {
            name: name.clone(),
            address: *address,
            counters: Counters::new(name.clone()),
            failure: None,
            failed: 0,
            one_minute: false,
        });
        let agents = |v4: bool| {
            let same = snmp.agents.values().filter(|one| one.is_ipv4() == v4);
            same.count()
        };
        let socket = |agents: usize, address: SocketAddr| {
            let opened = (agents > 0).then(|| open(address)).transpose();
            opened.map_err(|error| SnmpError::Setup {
                what: "a socket",
                why: error.to_string(),
            })
        };
        let v4 = socket(agents(true), (Ipv4Addr::UNSPECIFIED, 0).into())?;
        let v6 = socket(agents(false), (Ipv6Addr::UNSPECIFIED, 0).into())?;
        let sockets = [(&v4, agents(true)), (&v6, agents(false))];
        let cramped = sockets
            .into_iter()
            .find_map(|(socket, agents)| cramped(agents, room(socket.as_ref()?)?));
        Ok(Self {
            poller: Poller::new(snmp, access, Instant::now(), chance())?,
            hosts: hosts.collect(),
            cramped,
            counts: watch::Sender::new(Totals::default()),
            processors: Processors::default(),
            v4,
            v6,
        })
    }

    /// Tells `processors` from now on how many there are.
    pub(crate) fn tell(&mut self, processors: Processors) {
        self.processors = processors;
    }

    /// That the kernel gives too little room for the answers of so many agents, and what to set; nothing where it is enough.
    #[must_use]
    pub fn cramped(&self) -> Option<&str> {
        self.cramped.as_deref()
    }

    /// Asks the agents until `stop` comes or nobody wants samples any more, and sends a sample whenever one of them has
    /// refreshed. An agent that does not answer gives no samples; the controller sees that by their age.
    pub async fn run(&mut self, inputs: &mpsc::Sender<Input>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut counted = Instant::now();
        loop {
            if counted.elapsed() >= COUNTS_EVERY {
                counted = Instant::now();
                self.counts.send_replace(self.poller.totals());
            }
            self.poller.poll(Instant::now());
            while let Some(transmit) = self.poller.poll_transmit() {
                self.send(transmit).await;
            }
            while let Some(event) = self.poller.poll_event() {
                if self.take(event, inputs).await.is_break() {
                    return;
                }
            }
            let due = self.poller.poll_timeout();
            tokio::select! {
                () = &mut stop => return,
                () = sleep_until(due) => {}
                () = readable(self.v4.as_ref()) => {}
                () = readable(self.v6.as_ref()) => {}
            }
            let now = Instant::now();
            for socket in [&self.v4, &self.v6].into_iter().flatten() {
                receive(&mut self.poller, socket, now, &mut buffer);
            }
        }
    }

    /// Counts of all agents.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.poller.totals()
    }

    /// The same while it runs, told about each second.
    #[must_use]
    pub fn counts(&self) -> watch::Receiver<Totals> {
        self.counts.subscribe()
    }

    /// Why the last polls of a host came to nothing, if they did.
    #[must_use]
    pub fn failure(&self, host: &HostName) -> Option<&Failure> {
        let host = self.hosts.iter().find(|known| known.name == *host);
        host.and_then(|host| host.failure.as_ref())
    }

    async fn send(&mut self, transmit: Transmit) {
        let socket = if transmit.to.is_ipv4() {
            &self.v4
        } else {
            &self.v6
        };
        let Some(socket) = socket else { return };
        if let Err(error) = socket.send_to(&transmit.datagram, transmit.to).await {
            self.poller.not_sent(transmit.agent, error.to_string());
        }
    }

    async fn take(&mut self, event: Event, inputs: &mpsc::Sender<Input>) -> ControlFlow<()> {
        let (Event::Reading { agent, .. }
        | Event::Failed { agent, .. }
        | Event::OneMinuteOnly { agent }
        | Event::Forged { agent, .. }) = event;
        let host = &mut self.hosts[agent];
        let (name, address) = (&host.name, host.address);
        match event {
            Event::Reading { reading, .. } => {
                host.failed = 0;
                if host.failure.take().is_some() {
                    say(name, &format!("{address} answers again"));
                }
                let Some(sample) = host.counters.take(clock::now(), &reading) else {
                    return ControlFlow::Continue(());
                };
                if let Some(count) = host.counters.processors() {
                    self.processors.note(name, count);
                }
                if inputs.send(Input::Sample(sample)).await.is_err() {
                    return ControlFlow::Break(());
                }
            }
            Event::Failed { failure, .. } => {
                host.failed = host.failed.saturating_add(1);
                let told = failure != Failure::Silent || host.failed >= SILENT_TOLD_AFTER;
                if told && host.failure.as_ref() != Some(&failure) {
                    say(name, &format!("{address} {failure}"));
                    host.failure = Some(failure);
                }
            }
            Event::OneMinuteOnly { .. } => {
                if !std::mem::replace(&mut host.one_minute, true) {
                    let words = format!(
                        "{address} has no ssCpuRaw* counters: its load is hrProcessorLoad, a mean over the last minute, which is \
                         late when the load rises"
                    );
                    say(name, &words);
                }
            }
            Event::Forged { from, .. } => {
                let forged = self.poller.tally(agent).forged;
                let words = format!(
                    "snmp: an answer from {from} in the name of {name} at {address} is not believed ({forged} so far)"
                );
                log::say(Some(About::Host(name)), &words);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Tells of the agent of a host, by its address.
fn say(host: &HostName, words: &str) {
    let words = format!("snmp: {host} at {words}");
    log::say(Some(About::Host(host)), &words);
}

/// Takes the answers that are there.
fn receive(poller: &mut Poller, socket: &UdpSocket, now: Instant, buffer: &mut [u8]) {
    for _ in 0..TAKEN_AT_ONCE_MAX {
        match socket.try_recv_from(buffer) {
            Ok((length, from)) => poller.handle(now, from, &buffer[..length]),
            // Nothing is there, or the system tells of a datagram that did not arrive: its poll ends by its time.
            Err(_) => break,
        }
    }
}

async fn readable(socket: Option<&UdpSocket>) {
    match socket {
        // An error shows again when it is read.
        Some(socket) => drop(socket.readable().await),
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // Beyond the system's limit where we may, else up to it.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER_BYTES).is_err() {
        setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER_BYTES)?;
    }
    UdpSocket::from_std(socket)
}

/// Bytes of answers that may wait in a socket; the kernel tells twice as many, for its own books.
fn room(socket: &UdpSocket) -> Option<usize> {
    let told = getsockopt(socket, sockopt::RcvBuf).ok()?;
    Some(told / 2)
}

/// What is to be said where a second of answers of so many agents may not find room in so many bytes.
fn cramped(agents: usize, room_bytes: usize) -> Option<String> {
    let needed_bytes = agents.min(AGENTS_MAX) * (RECEIVE_BUFFER_BYTES / AGENTS_MAX);
    (room_bytes < needed_bytes).then(|| {
        format!(
            "the kernel gives the answers of {agents} agents room for {room_bytes} bytes, where {needed_bytes} may come in a second: \
             some will be lost when they come together. Set net.core.rmem_max={RECEIVE_BUFFER_BYTES} (`sysctl -w`, and in \
             /etc/sysctl.d for the next start), or give the orchestrator CAP_NET_ADMIN"
        )
    })
}

/// A number that another process does not know: the standard library's hash maps start with one from the system.
fn chance() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_for_the_answers_is_told() {
        // What Linux gives by itself.
        const USUAL_BYTES: usize = 212_992;
        assert_eq!(cramped(100, USUAL_BYTES), None);
        assert_eq!(cramped(AGENTS_MAX, RECEIVE_BUFFER_BYTES), None);
        let told = cramped(1000, USUAL_BYTES).unwrap();
        for words in ["1000 agents", "212992 bytes", "net.core.rmem_max=16777216"] {
            assert!(told.contains(words), "{words:?} in {told}");
        }
    }
}

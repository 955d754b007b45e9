//! Gives streams to many viewers at once, over HTTP: what FFserver was for.
//!
//! A publisher's packets go once into the ring of its stream (`stream.rs`); each viewer is a position in that ring
//! (`viewer.rs`) and takes references, not copies. A browser is one, too: `live.rs` feeds the page that `player.rs` has, `asked.rs` is what
//! the page says, and `audience.rs` tells an orchestrator what is seen there. A viewer that is too slow for its connection loses whole groups of
//! pictures; nobody waits for it, and what it may hold is bounded.

mod asked;
mod audience;
mod connection;
mod limits;
mod live;
mod page;
mod player;
mod publisher;
mod routes;
mod status;
mod stream;
mod token;
mod viewer;

pub use asked::{Asked, Seen};
pub use audience::Reporting;
pub use door::{Tls, TlsError};
pub use limits::Limits;
pub(crate) use limits::raise_open_files;
pub use token::{Access, Token, TokenError};

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use record::Timestamp;
use tokio::net::TcpListener;

use crate::stats::{Meter, StatsOutput, Totals};
use crate::{MediaError, StreamUrl};
use audience::Audience;
use stream::Stream;

/// How often figures are taken and streams that nobody uses are forgotten.
const TICK: Duration = Duration::from_secs(1);
/// How often the stop flag is looked at.
const STOP_WAIT: Duration = Duration::from_millis(50);
/// Time that connections have to end when the server does.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(500);

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where viewers connect.
    pub listen: SocketAddr,
    /// Streams that come from an address rather than from a publisher that connects.
    pub inputs: Vec<(StreamName, StreamUrl)>,
    /// Who may publish by `POST` or `PUT /publish/NAME`.
    pub publish: Access,
    /// Who may watch, and see the status.
    pub view: Access,
    /// TLS on every connection; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Limits.
    pub limits: Limits,
    /// Ends after this; `None`: when it is stopped.
    pub duration: Option<Duration>,
    /// Figures once a second.
    pub stats: StatsOutput,
    /// Who is told once a second what those see who look at pages.
    pub reporting: Option<Reporting>,
}

impl ServeConfig {
    const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Name of a stream: 1 to 64 of a-z, A-Z, 0-9, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

/// What is no name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a name of a stream: 1 to 64 of a-z, A-Z, 0-9, '_' and '-'")]
pub struct NameError(String);

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What all connections share.
#[derive(Debug)]
struct Server {
    config: ServeConfig,
    streams: Mutex<BTreeMap<StreamName, Arc<Stream>>>,
    viewers: AtomicU64,
    connections: AtomicU64,
    started: Timestamp,
    counters: Counters,
    audience: Option<Arc<Audience>>,
}

/// What was turned away; all count up.
#[derive(Debug, Default)]
struct Counters {
    /// Connections beyond the limit.
    connections_refused: AtomicU64,
    /// Connections that said nothing, or took nothing, for too long.
    timed_out: AtomicU64,
    /// Requests without the right token.
    denied: AtomicU64,
    /// Messages of browsers that were not understood, or not believed.
    nonsense: AtomicU64,
}

impl Server {
    fn new(config: &ServeConfig, audience: Option<Audience>) -> Self {
        let server = Self {
            config: config.clone(),
            streams: Mutex::default(),
            viewers: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            started: Timestamp::now(),
            counters: Counters::default(),
            audience: audience.map(Arc::new),
        };
        for (name, _) in &config.inputs {
            let stream = Arc::new(Stream::new(
                name.clone(),
                &config.limits,
                stream::Life::Configured,
            ));
            server.streams().insert(name.clone(), stream);
        }
        server
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<StreamName, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.streams().get(name).cloned()
    }

    /// The stream of that name, made if there is room for another.
    fn stream_or_new(&self, name: &StreamName) -> Option<Arc<Stream>> {
        let mut streams = self.streams();
        if let Some(stream) = streams.get(name) {
            return Some(Arc::clone(stream));
        }
        if streams.len() >= self.config.limits.streams_max {
            return None;
        }
        let stream = Arc::new(Stream::new(
            name.clone(),
            &self.config.limits,
            stream::Life::Published,
        ));
        streams.insert(name.clone(), Arc::clone(&stream));
        Some(stream)
    }

    /// Takes the figures of the last second, and forgets streams that nobody publishes or watches.
    fn tick(&self, meter: &mut Meter) {
        let now = Timestamp::now();
        let idle = self.config.limits.stream_idle;
        let mut streams = self.streams();
        streams.retain(|_, stream| !stream.is_abandoned(now, idle));
        let mut totals = Totals::default();
        for stream in streams.values() {
            let second = stream.tick(now);
            totals.frames_in += stream.counters.frames_in.load(Ordering::Relaxed);
            totals.frames_dropped += stream.counters.frames_dropped.load(Ordering::Relaxed);
            totals.packets_lost += stream.counters.packets_lost.load(Ordering::Relaxed);
            meter.bytes += second.bytes_in;
            for time in second.stage_times {
                meter.frame_out(Some(time));
            }
        }
        // Pictures are handed out by reference; how many were sent is the business of each viewer.
        totals.frames_out = totals.frames_in.saturating_sub(totals.frames_dropped);
        meter.totals = totals;
        meter.viewers = Some(self.viewers.load(Ordering::Relaxed));
        meter.report(now);
    }
}

/// The pages' viewers, where somebody wants to know what they see.
fn audience(config: &ServeConfig) -> Result<Option<Audience>, MediaError> {
    let Some(reporting) = &config.reporting else {
        return Ok(None);
    };
    // Whoever may publish names streams; otherwise those of the configuration are all.
    let comes = |name: &StreamName| config.inputs.iter().any(|(input, _)| input == name);
    let mut streams = reporting.functions.keys();
    if config.publish == Access::Closed
        && let Some(name) = streams.find(|name| !comes(name))
    {
        return Err(MediaError::Setting {
            setting: "the stream of a function",
            expected: "one that is served".to_owned(),
            given: format!("'{name}'"),
        });
    }
    Audience::new(reporting)
        .map(Some)
        .map_err(|error| MediaError::Setting {
            setting: "the name of viewers",
            expected: "a name with room for a number behind it".to_owned(),
            given: error.to_string(),
        })
}

/// Serves until `stop` is set or the time is up.
///
/// # Errors
/// The address is not to be had, an input is not there, two have the same name, or there is no stream of which is to be reported.
pub fn run(config: &ServeConfig, stop: &AtomicBool) -> Result<Totals, MediaError> {
    for (at, (name, _)) in config.inputs.iter().enumerate() {
        if config.inputs[..at].iter().any(|(other, _)| other == name) {
            return Err(MediaError::Setting {
                setting: "the name of each stream",
                expected: "its own".to_owned(),
                given: format!("'{name}' twice"),
            });
        }
    }
    let audience = audience(config)?;
    raise_open_files();
    let server = Arc::new(Server::new(config, audience));
    let failed = |source| MediaError::Socket {
        url: format!("{}://{}", config.scheme(), config.listen),
        source,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let pulls: Vec<_> = config
        .inputs
        .iter()
        .map(|(name, url)| publisher::Pull::open(&server, name, url))
        .collect::<Result<_, _>>()?;
    let quit = AtomicBool::new(false);
    let is_over = || stop.load(Ordering::Relaxed) || quit.load(Ordering::Relaxed);
    let (is_over, quit) = (&is_over, &quit);
    let result = thread::scope(|scope| {
        let mut inputs = Vec::new();
        for pull in pulls {
            inputs.push(scope.spawn(move || {
                let result = pull.run(is_over);
                quit.store(true, Ordering::Relaxed);
                result
            }));
        }
        let result = runtime.block_on(serve(Arc::clone(&server), is_over));
        quit.store(true, Ordering::Relaxed);
        for input in inputs {
            // A panic there was said there; what it did is over.
            if let Ok(result) = input.join() {
                result?;
            }
        }
        result.map_err(failed)
    });
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    result
}

/// Takes connections.
async fn serve(server: Arc<Server>, is_over: impl Fn() -> bool) -> std::io::Result<Totals> {
    let config = &server.config;
    let listener = TcpListener::bind(config.listen).await?;
    // The port may be 0 in the configuration: then the system has chosen.
    eprintln!("serve: {}://{}/", config.scheme(), listener.local_addr()?);
    let mut meter = Meter::new("serve", config.stats, Timestamp::now());
    let mut tick = tokio::time::interval(TICK);
    let mut look = tokio::time::interval(STOP_WAIT);
    while !is_over()
        && config
            .duration
            .is_none_or(|duration| Timestamp::now().since(server.started) < duration)
    {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => connection::spawn(&server, socket, peer),
                // Out of file descriptors, or the peer has gone already: others may do better soon.
                Err(_) => tokio::time::sleep(STOP_WAIT).await,
            },
            _ = tick.tick() => server.tick(&mut meter),
            _ = look.tick() => {}
        }
    }
    server.tick(&mut meter);
    Ok(meter.totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            "robot-7_b".parse::<StreamName>().unwrap().to_string(),
            "robot-7_b"
        );
        for wrong in ["", "a.b", "../x", "a/b", "ü", &"x".repeat(65)] {
            assert!(wrong.parse::<StreamName>().is_err(), "{wrong}");
        }
    }
}

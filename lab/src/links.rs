//! What the links of this lab do on this machine: what was asked of them beside what was seen.

use std::net::Ipv4Addr;
use std::time::Duration;

use link::probe::{Arrivals, End, HEADERS, Train, namespace, send};
use link::{Distribution, Forwarder, Jitter, Loss, Shape, Tap, Traffic};
use measure::words::UNMEASURED;
use serde::Serialize;

use crate::error::{LabError, unless_interrupted};
use crate::network::PREFIX;
use crate::process::run;
use crate::progress::Progress;
use crate::site::Site;

/// Datagrams a second of a probe of delay: as many as video of 10 Mbit/s has.
const PROBES_PER_S: u32 = 1_000;
/// A full datagram on Ethernet, and a small one.
const FULL: usize = 1_472;
const SMALL: usize = 18;

/// Which way a pair of hosts is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// The kernel alone: a pair of virtual Ethernet devices, for comparison.
    Veth,
    /// Forestall's forwarder between two TAP devices.
    Userspace,
}

/// What a link of one shape did.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// In a word or two.
    pub name: &'static str,
    /// What carried it.
    pub carrier: Carrier,
    /// What was asked, in one direction; the other is plain.
    pub shape: Shape,
    /// Of 1000 datagrams a second.
    pub delay: Delay,
    /// Of as many full datagrams as the sender can send.
    pub flood: Option<Flood>,
    /// What the forwarder says of itself while probed.
    pub forwarder: Option<Traffic>,
}

/// Time under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Delay {
    pub sent: u32,
    /// Share that did not arrive.
    pub lost: f64,
    pub mean_ms: Option<f64>,
    pub sd_ms: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub max_ms: Option<f64>,
}

/// What goes through at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Flood {
    /// Bits a second that arrived, with their headers; of full datagrams.
    pub mbit_s: Option<f64>,
    /// Datagrams a second that arrived; of small ones.
    pub packets_per_s: Option<f64>,
}

/// Measures each shape for some seconds.
///
/// # Errors
/// When namespaces or devices cannot be made, or the person interrupts.
pub fn measure(
    seconds: u32,
    interrupted: &std::sync::atomic::AtomicBool,
    progress: &mut Progress,
) -> Result<Vec<Measured>, LabError> {
    let _site = Site::claim()?;
    let mut all = Vec::new();
    for (name, carrier, shape) in cases() {
        unless_interrupted(interrupted)?;
        progress.now(name);
        all.push(one(name, carrier, shape, seconds)?);
    }
    Ok(all)
}

fn cases() -> Vec<(&'static str, Carrier, Shape)> {
    let delay = |delay_ms| Shape {
        delay_ms,
        ..Shape::default()
    };
    let jitter = |distribution| Shape {
        jitter: Some(Jitter {
            sd_ms: 5.0,
            distribution,
            memory_ms: 50.0,
        }),
        ..delay(36.0)
    };
    let rate = |mbit_s| Shape {
        rate: Some(link::shape::Rate {
            mbit_s,
            queue_ms: 50.0,
        }),
        ..Shape::default()
    };
    let loss = |share, burst| Shape {
        loss: Some(Loss { share, burst }),
        ..delay(5.0)
    };
    let ours = Carrier::Userspace;
    vec![
        ("no link", Carrier::Veth, Shape::default()),
        ("nothing asked", ours, Shape::default()),
        ("delay 0.25 ms", ours, delay(0.25)),
        ("delay 6 ms", ours, delay(6.0)),
        ("delay 87 ms", ours, delay(87.0)),
        ("jitter, normal", ours, jitter(Distribution::Normal)),
        ("jitter, Pareto", ours, jitter(Distribution::Pareto)),
        ("rate 20 Mbit/s", ours, rate(20.0)),
        ("rate 100 Mbit/s", ours, rate(100.0)),
        ("loss 1 %", ours, loss(0.01, None)),
        ("loss 5 %, bursts of 4", ours, loss(0.05, Some(4.0))),
    ]
}

fn one(
    name: &'static str,
    carrier: Carrier,
    shape: Shape,
    seconds: u32,
) -> Result<Measured, LabError> {
    let pair = Pair::connect(carrier, &shape)?;
    let delay_max = Duration::from_secs_f64(shape.delay_ms / 1e3 * 4.0);
    let train = |count, every, bytes| Train {
        count,
        every,
        bytes,
        delay_max,
    };
    let probe = |train| {
        send(&pair.ends[0], &pair.ends[1], train).map_err(|error| LabError::Program {
            what: format!("probing the link ({name})"),
            why: error.to_string(),
        })
    };
    // The first one waits until the hosts have found each other (ARP), which is no part of the link's delay.
    probe(train(1, Duration::ZERO, SMALL))?;
    let spaced = train(
        PROBES_PER_S * seconds,
        Duration::from_secs(1) / PROBES_PER_S,
        200,
    );
    let delay = delay(&probe(spaced)?);
    // A flood tells what limits the link only where nothing else was asked of it.
    let flood = (shape.is_plain() || shape.rate.is_some())
        .then(|| -> Result<Flood, LabError> {
            let full = probe(train(40_000 * seconds, Duration::ZERO, FULL))?;
            let small = probe(train(60_000 * seconds, Duration::ZERO, SMALL))?;
            Ok(Flood {
                mbit_s: full
                    .per_second()
                    .map(|n| n * ((FULL + HEADERS) * 8) as f64 / 1e6),
                packets_per_s: small.per_second(),
            })
        })
        .transpose()?;
    Ok(Measured {
        name,
        carrier,
        shape,
        delay,
        flood,
        forwarder: pair.end()?,
    })
}

fn delay(arrivals: &Arrivals) -> Delay {
    let ms: measure::statistics::Values = arrivals
        .seen
        .iter()
        .map(|(_, under_way)| under_way.as_secs_f64() * 1e3)
        .collect();
    Delay {
        sent: arrivals.sent,
        lost: arrivals.lost(),
        mean_ms: ms.mean(),
        sd_ms: ms.sd(),
        p50_ms: ms.median(),
        p99_ms: ms.quantile(0.99),
        max_ms: ms.max(),
    }
}

/// Two hosts and what is between them; gone when it is dropped.
struct Pair {
    ends: [End; 2],
    forwarder: Option<Forwarder>,
}

impl Pair {
    fn connect(carrier: Carrier, shape: &Shape) -> Result<Self, LabError> {
        let names = ["left", "right"].map(|side| format!("{PREFIX}{side}"));
        let ip = |line: String| run("ip", &line.split_whitespace().collect::<Vec<_>>()).map(drop);
        let mut pair = Self {
            ends: [1, 2].map(|last| End {
                namespace: namespace(&names[last as usize - 1]),
                address: Ipv4Addr::new(10, 30, 0, last),
            }),
            forwarder: None,
        };
        for name in &names {
            ip(format!("netns add {name}"))?;
        }
        match carrier {
            Carrier::Veth => ip(format!(
                "-n {} link add data0 type veth peer name data0 netns {}",
                names[0], names[1]
            ))?,
            Carrier::Userspace => {
                let tap = |end: &End| Tap::create(&end.namespace, "data0");
                let taps = [tap(&pair.ends[0])?, tap(&pair.ends[1])?];
                pair.forwarder = Some(Forwarder::start(
                    taps,
                    [shape.clone(), Shape::default()],
                    1,
                )?);
            }
        }
        for (name, end) in names.iter().zip(&pair.ends) {
            ip(format!("-n {name} addr add {}/24 dev data0", end.address))?;
            ip(format!("-n {name} link set data0 up"))?;
        }
        Ok(pair)
    }

    fn end(mut self) -> Result<Option<Traffic>, LabError> {
        let forwarder = self.forwarder.take();
        Ok(forwarder
            .map(Forwarder::end)
            .transpose()?
            .map(|both| both[0]))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.forwarder = None;
        // What is left is removed by the site's own end.
        for side in ["left", "right"] {
            run("ip", &["netns", "del", &format!("{PREFIX}{side}")]).ok();
        }
    }
}

/// For people: a line for each link.
#[must_use]
pub fn table(all: &[Measured]) -> String {
    let figure = |value: Option<f64>, digits: usize| {
        value.map_or_else(
            || UNMEASURED.to_owned(),
            |value| format!("{value:.digits$}"),
        )
    };
    let mut text = format!(
        "{:<22} {:>9} {:>8} {:>9} {:>9} {:>9} {:>7} {:>9} {:>10}\n",
        "link", "mean ms", "SD ms", "p50 ms", "p99 ms", "max ms", "lost %", "Mbit/s", "packets/s"
    );
    for one in all {
        let delay = &one.delay;
        let flood = one.flood.unwrap_or(Flood {
            mbit_s: None,
            packets_per_s: None,
        });
        text += &format!(
            "{:<22} {:>9} {:>8} {:>9} {:>9} {:>9} {:>7.2} {:>9} {:>10}\n",
            one.name,
            figure(delay.mean_ms, 3),
            figure(delay.sd_ms, 3),
            figure(delay.p50_ms, 3),
            figure(delay.p99_ms, 3),
            figure(delay.max_ms, 3),
            delay.lost * 100.0,
            figure(flood.mbit_s, 1),
            figure(flood.packets_per_s, 0),
        );
    }
    let late = all
        .iter()
        .filter_map(|one| one.forwarder?.late.map(|late| (one.name, late)));
    for (name, late) in late {
        text += &format!(
            "{name}: frames were sent {:.0} µs after they were due in the mean, p99 {:.0} µs, at most {:.0} µs\n",
            late.mean_us, late.p99_us, late.max_us
        );
    }
    text
}

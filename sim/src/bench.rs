//! What control costs: many hosts for long, and one sample or one placement among many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::{Controller, HostId, Settings};
use record::{Reading, Timestamp, Utilization};

use crate::chance::{hash, share};
use crate::contest::site::{self, Parameters};
use crate::demand::Demand;
use crate::engine::{Engine, Flaw, Keep};
use crate::error::SimError;
use crate::fleet::{Fleet, FleetFunction, FleetHost};

/// Length of a day in seconds.
const DAY_S: f64 = 86_400.0;
/// Load of each function of a bench.
const FUNCTION_LOAD: f64 = 0.02;

/// Load of a host of a bench: a day that rises and falls, and noise anew every few seconds; cheap, since it is not what is
/// measured.
#[derive(Debug)]
struct Daily {
    seed: u64,
    level: f64,
    swing: f64,
    phase_s: f64,
}

impl Demand for Daily {
    fn at(&self, at_s: f64) -> f64 {
        let day = ((at_s + self.phase_s) / DAY_S).fract();
        let triangle = 1.0 - (2.0 * day - 1.0).abs();
        let noise = share(hash(self.seed, (at_s / 5.0) as u64)) - 0.5;
        self.level + self.swing * triangle + 0.06 * noise
    }
}

/// A fleet whose hosts go through a day each; a few of them over the knee.
fn fleet(hosts: usize, functions: usize, duration_s: f64, seed: u64) -> Fleet {
    let host = |number: usize| {
        let part = |place: u64| share(hash(hash(seed, number as u64), place));
        let here = functions / hosts + usize::from(number < functions % hosts);
        FleetHost {
            name: format!("host-{number}"),
            demand: Arc::new(Daily {
                seed: hash(seed, number as u64),
                level: 0.05 + 0.3 * part(1),
                swing: 0.6 * part(2),
                phase_s: DAY_S * part(3),
            }),
            functions: (0..here)
                .map(|function| FleetFunction {
                    name: format!("video-{number}-{function}"),
                    load: FUNCTION_LOAD,
                    memory_mib: 512,
                })
                .collect(),
        }
    };
    Fleet {
        hosts: (0..hosts).map(host).collect(),
        duration_s,
    }
}

fn parameters(period: Duration) -> Parameters {
    Parameters {
        refresh: period,
        ..Parameters::frozen()
    }
}

/// What a long run came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongRun {
    /// Samples that reached the controller.
    pub samples: u64,
    /// Moves that it began.
    pub moves: usize,
    /// How long it took.
    pub wall: Duration,
}

/// A fleet for so long, everything included: load, agents, controller, moves, and what must hold of them.
///
/// # Errors
/// When the settings are none for a controller, or a promise was broken.
pub fn long_run(
    hosts: usize,
    functions: usize,
    time: Duration,
    period: Duration,
) -> Result<LongRun, SimError> {
    let parameters = parameters(period);
    let fleet = fleet(hosts, functions, time.as_secs_f64(), 1);
    let settings = site::settings(&fleet, site::deadline(&parameters), &parameters)?;
    let mut plan = site::plan(&fleet, settings, &parameters, 1).map_err(SimError::Laws)?;
    plan.physics.cell = period;
    let begin = Instant::now();
    let outcome = Engine::new(plan, Flaw::None, Keep::Figures)?.run();
    let wall = begin.elapsed();
    match outcome.broken {
        Some(broken) => Err(SimError::Broken(broken)),
        None => Ok(LongRun {
            samples: outcome.samples,
            moves: outcome.moves.list().len(),
            wall,
        }),
    }
}

/// Times of single calls, sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    /// A sample that leads to no placement.
    pub samples: Vec<Duration>,
    /// A sample that leads to one: a function and a target are looked for among all.
    pub placements: Vec<Duration>,
}

/// Times each call of a controller with so many hosts and functions for so many samples of each host.
///
/// # Errors
/// When the settings are none for a controller.
pub fn calls(hosts: usize, functions: usize, rounds: u32) -> Result<Calls, SimError> {
    let period = Duration::from_secs(5);
    let parameters = parameters(period);
    let fleet = fleet(hosts, functions, 0.0, 2);
    let mut settings: Settings = site::settings(&fleet, site::deadline(&parameters), &parameters)?;
    // No move ends here, so that there may be as many as are asked for.
    settings.limits.moves_at_once_max = u32::MAX;
    let mut controller = Controller::new(settings)?;
    let (mut samples, mut placements) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (number, host) in fleet.hosts.iter().enumerate() {
            let now = Timestamp(0) + period * round + Duration::from_micros(number as u64);
            // One in two hundred is over the knee in the later half.
            let hot = number % 200 == 0 && round > rounds / 2;
            let load = if hot {
                0.97
            } else {
                host.demand.at(now.as_secs_f64()).min(0.9)
            };
            let reading = Reading {
                utilization: Utilization::clamped(load),
                measured_at_us: now,
                interval_ms: period.as_millis() as f64,
            };
            let begin = Instant::now();
            controller.sample(now, HostId(number as u32), reading);
            let took = begin.elapsed();
            let mut placed = false;
            while let Some(decision) = controller.poll_output() {
                placed |= matches!(decision.event, record::Event::Start { .. });
            }
            if placed {
                placements.push(took);
            } else {
                samples.push(took);
            }
        }
    }
    samples.sort_unstable();
    placements.sort_unstable();
    Ok(Calls {
        samples,
        placements,
    })
}

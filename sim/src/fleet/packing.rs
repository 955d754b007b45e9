//! Virtual machines of a trace, put together on hosts.
//!
//! A line of PlanetLab is a virtual machine whose load is 12 % on average: none of them fills a host. So several make one:
//! - Each machine of the trace takes [`Packing::machine_share`] of a host at its 100 %.
//! - Each host gets a mean demand that it is filled up to: [`Packing::mean_demand`], more or less by at most
//!   [`Packing::mean_spread`] as the seed has it, so that hosts are not alike.
//! - Machines are shuffled by the seed. Each goes to the host that has most room to its mean; one that would not fit into
//!   the most roomy one is left out.
//! - What is packed is the immovable background. It is summed up window by window and then refined to seconds
//!   ([`mod@crate::refine`]), each host with noise of its own.
//! - Beside it, each host begins with [`Packing::functions_per_host`] movable functions (the video) of constant load.
//!
//! With the standard values hosts are busy 55 % of the time on average, and go over what they have at times:
//! `docs/loads.md` says how often, and how often another host had room ([`super::Overloads`]).

use serde::Serialize;

use super::{Fleet, FleetFunction, FleetHost};
use crate::chance::{Chance, hash};
use crate::refine::{Refinement, refine};
use crate::trace::{Series, Trace};

/// Windows that a trace may have: ten years of five minutes.
const WINDOWS_MAX: f64 = 1e6;
/// Of its mean demand, what each host has to reach.
const FILLED_MIN: f64 = 0.8;

/// How a trace becomes a fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Packing {
    /// How many hosts.
    pub hosts: usize,
    /// Mean of the immovable demand that a host is filled up to, on average over the hosts.
    pub mean_demand: f64,
    /// By how much it differs at most from host to host.
    pub mean_spread: f64,
    /// Share of a host that a machine of the trace takes at its 100 %.
    pub machine_share: f64,
    /// Movable functions that each host begins with.
    pub functions_per_host: usize,
    /// Share of a host that each of them takes.
    pub function_load: f64,
    /// Memory of each of them.
    pub function_memory_mib: u32,
    /// How values become demand at any instant.
    pub refinement: Refinement,
    /// Decides which machine goes where, and the noise.
    pub seed: u64,
}

impl Packing {
    /// The standard values; `docs/loads.md` says what they give.
    #[must_use]
    pub const fn standard(hosts: usize, refinement: Refinement, seed: u64) -> Self {
        Self {
            hosts,
            mean_demand: 0.4,
            mean_spread: 0.1,
            machine_share: 0.5,
            functions_per_host: 1,
            function_load: 0.15,
            function_memory_mib: 512,
            refinement,
            seed,
        }
    }
}

/// Why a trace does not make the fleet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PackError {
    /// A fleet without hosts.
    #[error("a fleet needs at least one host")]
    NoHosts,
    /// A figure that is none.
    #[error("{name} is a share of 0 to {max}, not {found}")]
    NotAShare {
        /// Which.
        name: &'static str,
        /// What it may be at most.
        max: f64,
        /// What it is.
        found: f64,
    },
    /// The trace is longer than anything that is simulated.
    #[error(
        "the trace goes over {duration_s} s in steps of {interval_s} s: more than {} of them",
        WINDOWS_MAX
    )]
    TooLong {
        /// From the first value to the end of the last.
        duration_s: f64,
        /// The usual distance of two values.
        interval_s: f64,
    },
    /// The trace is too small.
    #[error(
        "{machines} machines do not fill {hosts} hosts: {name} reaches a mean demand of {reached:.2} of {wanted:.2}; \
         take fewer hosts, a larger share for each machine, or a larger trace"
    )]
    TooFewMachines {
        /// How many the trace has.
        machines: usize,
        /// How many hosts are to be filled.
        hosts: usize,
        /// One that was not.
        name: String,
        /// What it reached.
        reached: f64,
        /// What it should have.
        wanted: f64,
    },
}

/// A host that is being filled.
#[derive(Debug)]
struct Filling {
    wanted: f64,
    mean: f64,
    /// Sum over its machines for each window.
    sums: Vec<f64>,
}

/// Puts the machines of a trace on hosts, as the module says.
///
/// # Errors
/// When a figure is none, or the trace too small.
pub fn pack(trace: &Trace, packing: &Packing) -> Result<Fleet, PackError> {
    check(packing)?;
    let windows = windows(trace)?;
    let too_few = |number, reached, wanted| PackError::TooFewMachines {
        machines: trace.series.len(),
        hosts: packing.hosts,
        name: host_name(number),
        reached,
        wanted,
    };
    // Each host has windows in memory: their number is bounded by what the trace itself has.
    if packing.hosts > trace.series.len() {
        return Err(too_few(trace.series.len(), 0.0, packing.mean_demand));
    }
    let mut chance = Chance::new(packing.seed);
    let mut hosts: Vec<Filling> = (0..packing.hosts)
        .map(|_| Filling {
            wanted: packing.mean_demand + packing.mean_spread * chance.between(-1.0, 1.0),
            mean: 0.0,
            sums: vec![0.0; windows],
        })
        .collect();
    let mut machines: Vec<&Series> = trace.series.iter().collect();
    chance.shuffle(&mut machines);
    for machine in machines {
        put_on_a_host(&mut hosts, machine, trace.interval_s, packing.machine_share);
    }
    let mut all = hosts.iter().enumerate();
    if let Some((number, host)) = all.find(|(_, host)| host.mean < host.wanted * FILLED_MIN) {
        return Err(too_few(number, host.mean, host.wanted));
    }
    Ok(Fleet {
        hosts: hosts
            .into_iter()
            .enumerate()
            .map(|(number, host)| host.done(number, trace.interval_s, packing))
            .collect(),
        duration_s: windows as f64 * trace.interval_s,
    })
}

fn windows(trace: &Trace) -> Result<usize, PackError> {
    let (duration_s, interval_s) = (trace.duration_s(), trace.interval_s);
    let windows = (duration_s / interval_s).ceil();
    if windows <= WINDOWS_MAX {
        Ok(windows as usize)
    } else {
        Err(PackError::TooLong {
            duration_s,
            interval_s,
        })
    }
}

fn check(packing: &Packing) -> Result<(), PackError> {
    if packing.hosts == 0 {
        return Err(PackError::NoHosts);
    }
    let shares = [
        ("mean_demand", packing.mean_demand, 1.0),
        ("mean_spread", packing.mean_spread, packing.mean_demand),
        ("machine_share", packing.machine_share, 1.0),
        ("function_load", packing.function_load, 1.0),
    ];
    for (name, found, max) in shares {
        if !(0.0..=max).contains(&found) {
            return Err(PackError::NotAShare { name, max, found });
        }
    }
    Ok(())
}

/// To the host with most room, if it has enough.
fn put_on_a_host(hosts: &mut [Filling], machine: &Series, interval_s: f64, machine_share: f64) {
    let windows = hosts.first().map_or(0, |host| host.sums.len());
    let loads = by_window(machine, interval_s, windows);
    let mean = loads.iter().sum::<f64>() / windows.max(1) as f64 * machine_share;
    let room = |host: &Filling| host.wanted - host.mean;
    // Of hosts with the same room the first: `max_by` would take the last.
    let roomy = hosts
        .iter_mut()
        .rev()
        .max_by(|a, b| room(a).total_cmp(&room(b)));
    if let Some(host) = roomy.filter(|host| mean <= room(host)) {
        host.mean += mean;
        for (sum, load) in host.sums.iter_mut().zip(loads) {
            *sum += load * machine_share;
        }
    }
}

/// Values of a machine on the windows of its trace. A value holds until the next; before the first and after the last
/// there is no machine.
fn by_window(machine: &Series, interval_s: f64, windows: usize) -> Vec<f64> {
    let window = |at_s: f64| ((at_s / interval_s).round() as usize).min(windows);
    let mut loads = vec![0.0; windows];
    let ends = machine.points.iter().skip(1).map(|point| point.0);
    let last_s = machine.points.last().map(|point| point.0 + interval_s);
    for ((at_s, share), end_s) in machine.points.iter().zip(ends.chain(last_s)) {
        // Where values are closer together than windows, the last in a window holds; each has one at least.
        let begin = window(*at_s);
        let end = window(end_s).max(begin + 1).min(windows);
        if let Some(loads) = loads.get_mut(begin..end) {
            loads.fill(*share);
        }
    }
    loads
}

fn host_name(number: usize) -> String {
    format!("host-{:03}", number + 1)
}

impl Filling {
    fn done(self, number: usize, interval_s: f64, packing: &Packing) -> FleetHost {
        let begins = (0..self.sums.len()).map(|window| window as f64 * interval_s);
        let series = Series {
            name: host_name(number),
            points: begins.zip(self.sums).collect(),
        };
        let noise_seed = hash(packing.seed, number as u64);
        FleetHost {
            demand: refine(&series, packing.refinement, noise_seed),
            name: series.name,
            functions: (0..packing.functions_per_host)
                .map(|function| FleetFunction {
                    name: format!("video-{:03}-{}", number + 1, function + 1),
                    load: packing.function_load,
                    memory_mib: packing.function_memory_mib,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::BadRows;

    fn trace(machines: u32) -> Trace {
        let mut chance = Chance::new(11);
        let mut machine = |number| {
            let level = chance.between(0.02, 0.3);
            let mut value = |window| {
                let share = level + chance.between(0.0, 0.2);
                (f64::from(window) * 300.0, share)
            };
            Series {
                name: format!("vm-{number}"),
                points: (0..50).map(&mut value).collect(),
            }
        };
        Trace {
            series: (0..machines).map(&mut machine).collect(),
            interval_s: 300.0,
            rows: 0,
            bad: BadRows::default(),
            shuffled: 0,
            left_out: vec![],
        }
    }

    fn bits(fleet: &Fleet) -> Vec<u64> {
        let hosts = fleet.hosts.iter();
        hosts
            .flat_map(|host| (0..100).map(|i| host.demand.at(f64::from(i) * 77.7).to_bits()))
            .collect()
    }

    #[test]
    fn the_seed_decides_all_of_it() {
        for refinement in Refinement::ALL {
            let fleet = |seed| pack(&trace(300), &Packing::standard(6, refinement, seed)).unwrap();
            assert_eq!(bits(&fleet(1)), bits(&fleet(1)));
            assert_ne!(bits(&fleet(1)), bits(&fleet(2)));
        }
    }

    #[test]
    fn hosts_are_filled_up_to_their_mean() {
        let packing = Packing {
            mean_spread: 0.0,
            ..Packing::standard(6, Refinement::Step, 3)
        };
        let fleet = pack(&trace(300), &packing).unwrap();
        assert_eq!(fleet.duration_s, 15_000.0);
        for host in &fleet.hosts {
            let mean = host.demand.mean(0.0, fleet.duration_s);
            assert!((0.32..=0.4001).contains(&mean), "{}: {mean}", host.name);
            assert_eq!(host.functions.len(), 1);
        }
    }

    #[test]
    fn no_hosts() {
        let packing = Packing::standard(0, Refinement::Step, 0);
        assert_eq!(pack(&trace(9), &packing).unwrap_err(), PackError::NoHosts);
    }

    #[test]
    fn not_a_share() {
        let packing = Packing {
            machine_share: 50.0,
            ..Packing::standard(1, Refinement::Step, 0)
        };
        let error = pack(&trace(9), &packing).unwrap_err();
        assert_eq!(
            error.to_string(),
            "machine_share is a share of 0 to 1, not 50"
        );
    }

    #[test]
    fn too_few_machines() {
        for hosts in [40, usize::MAX] {
            let packing = Packing::standard(hosts, Refinement::Step, 0);
            let error = pack(&trace(50), &packing).unwrap_err();
            let PackError::TooFewMachines {
                machines: 50,
                hosts: of_error,
                ..
            } = error
            else {
                panic!("{error}")
            };
            assert_eq!(of_error, hosts);
        }
    }

    #[test]
    fn too_long() {
        let mut trace = trace(50);
        trace.series[7].points.push((1e11, 0.5));
        let error = pack(&trace, &Packing::standard(1, Refinement::Step, 0)).unwrap_err();
        assert!(matches!(error, PackError::TooLong { .. }), "{error}");
    }

    #[test]
    fn windows_of_machines() {
        let check = |points: &[(f64, f64)], expected: &[f64]| {
            let machine = Series {
                name: "a".into(),
                points: points.into(),
            };
            assert_eq!(by_window(&machine, 300.0, expected.len()), expected);
        };
        check(&[(0.0, 0.1), (300.0, 0.2)], &[0.1, 0.2, 0.0]);
        check(&[(300.0, 0.1), (900.0, 0.2)], &[0.0, 0.1, 0.1, 0.2]);
        check(&[(10.0, 0.1), (20.0, 0.2), (330.0, 0.3)], &[0.2, 0.3]);
        check(&[(0.0, 0.1), (1e9, 0.2)], &[0.1, 0.1]);
        check(&[], &[0.0]);
    }
}

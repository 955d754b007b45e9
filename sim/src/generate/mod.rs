//! Load that traces lack: hard on whoever decides, and known to the second.
//!
//! Each family is a small [`Fleet`] with one function, or a few, on the host whose load does what the family is named for;
//! [`FAMILIES`] lists them. The figures below are of a host's whole load, its function included. The seed decides levels,
//! phases, lengths and noise within the limits that stand at each shape. Ramps, steps, flash crowds and leaks begin
//! after 3 minutes at least, so that whoever has to foresee them has seen something. Quiet hosts are at 15 to 35 %.
//!
//! Curves are straight lines and cubic steps: no sine, which differs from machine to machine in the last bit.

mod curves;

use std::sync::Arc;

use serde::Serialize;

use curves::Curve;

use crate::chance::{Chance, hash};
use crate::demand::{Demand, Line};
use crate::fleet::{Fleet, FleetFunction, FleetHost};
use crate::noise::{Noise, Noisy};

/// The knee that the families are made for.
pub const KNEE: f64 = 0.95;
/// Load of each function.
const FUNCTION_LOAD: f64 = 0.15;
/// Memory of each function.
const FUNCTION_MEMORY_MIB: u32 = 512;

/// What the load of the hot hosts does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// From 20 to 40 % up to 110 to 120 % at this rate, there for 60 to 120 s, and down again at the same rate.
    Ramp {
        /// Per cent of a host's CPU in a second.
        percent_per_s: f64,
    },
    /// From 25 to 45 % to 100 to 115 % at once, for 60 to 180 s, and back at once; again after 3 to 5 minutes.
    Step,
    /// From 40 to 60 % to 100 to 120 % for 2 to 8 s, every 30 to 90 s: over before any move could be.
    Burst,
    /// Each of four hosts with its function from 25 to 35 % at night to 98 to 106 % by day, their days 6 h apart.
    Daily,
    /// Three of six hosts from 30 to 40 % to 100 to 110 % within 20 to 40 s each, one 15 to 30 s after the other.
    FlashCrowd,
    /// From 25 to 35 % to 102 to 108 % in 2 to 4 hours, then a restart.
    Leak,
    /// Noise about 88 to 91 %, never at the knee: needs no move.
    Plateau,
    /// Between 55 to 65 % and 100 to 106 %, up and down in 40 to 120 s: asks for one move, not for many.
    Oscillation,
}

/// A family of load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it asks of who decides.
    pub about: &'static str,
    /// What the load does.
    pub shape: Shape,
}

const fn ramp(name: &'static str, about: &'static str, percent_per_s: f64) -> Family {
    Family {
        name,
        about,
        shape: Shape::Ramp { percent_per_s },
    }
}

const fn family_of(name: &'static str, about: &'static str, shape: Shape) -> Family {
    Family { name, about, shape }
}

/// All families.
pub const FAMILIES: [Family; 14] = [
    ramp("ramp-0.1", "a rise so slow that noise hides it", 0.1),
    ramp("ramp-0.2", "a rise that any rule is in time for", 0.2),
    ramp("ramp-0.5", "too fast for a fixed 90 %", 0.5),
    ramp("ramp-1", "a rise to be foreseen from a few samples", 1.0),
    ramp("ramp-2", "the fastest that samples of 5 s promise", 2.0),
    ramp("ramp-5", "two samples from calm to the knee", 5.0),
    ramp("ramp-10", "over before it is seen", 10.0),
    family_of("step", "cannot be foreseen, only mended", Shape::Step),
    family_of("burst", "passes by itself: not to be chased", Shape::Burst),
    family_of("daily", "slow tides, each host in its turn", Shape::Daily),
    family_of(
        "flash-crowd",
        "neighbours fill up one after the other: a good target now may be none in half a minute",
        Shape::FlashCrowd,
    ),
    family_of("leak", "so slow that no window shows a trend", Shape::Leak),
    family_of(
        "plateau",
        "just under the knee for good: must be left alone",
        Shape::Plateau,
    ),
    family_of(
        "oscillation",
        "up and down through the knee: must not be followed",
        Shape::Oscillation,
    ),
];

/// A fleet of a family.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The family.
    pub family: &'static str,
    /// Its hosts and their load.
    pub fleet: Fleet,
    /// The load at which delay explodes.
    pub knee: f64,
}

/// One fleet of each family.
#[must_use]
pub fn all(seed: u64) -> Vec<Generated> {
    FAMILIES
        .iter()
        .map(|family| family.generate(seed))
        .collect()
}

/// A fleet of the family of that name.
#[must_use]
pub fn family(name: &str, seed: u64) -> Option<Generated> {
    let family = FAMILIES.iter().find(|family| family.name == name)?;
    Some(family.generate(seed))
}

impl Family {
    /// A fleet of it.
    #[must_use]
    pub fn generate(&self, seed: u64) -> Generated {
        // Families of one seed have nothing in common.
        let name = self.name.bytes();
        let seed = name.fold(seed, |seed, byte| hash(seed, u64::from(byte)));
        let mut chance = Chance::new(seed);
        let curves = self.shape.curves(&mut chance);
        let ends = curves.iter().filter_map(|curve| curve.points.last());
        let duration_s = ends.map(|point| point.0).fold(0.0, f64::max);
        let hot = curves.len();
        let mut hosts: Vec<FleetHost> = curves
            .into_iter()
            .enumerate()
            .map(|(number, curve)| hot_host(number, curve, &mut chance))
            .collect();
        hosts.extend((hot..hot + self.shape.quiet_hosts()).map(|n| quiet_host(n, &mut chance)));
        Generated {
            family: self.name,
            fleet: Fleet { hosts, duration_s },
            knee: KNEE,
        }
    }
}

fn hot_host(number: usize, curve: Curve, chance: &mut Chance) -> FleetHost {
    let movable = |(at_s, load): (f64, f64)| (at_s, (load - FUNCTION_LOAD).max(0.0));
    let line = Line {
        points: curve.points.into_iter().map(movable).collect(),
    };
    FleetHost {
        name: format!("host-{}", number + 1),
        demand: noisy(line, curve.amplitude, chance),
        functions: vec![FleetFunction {
            name: format!("video-{}", number + 1),
            load: FUNCTION_LOAD,
            memory_mib: FUNCTION_MEMORY_MIB,
        }],
    }
}

fn quiet_host(number: usize, chance: &mut Chance) -> FleetHost {
    let level = Line {
        points: vec![(0.0, chance.between(0.15, 0.35))],
    };
    FleetHost {
        name: format!("host-{}", number + 1),
        demand: noisy(level, 0.1, chance),
        functions: Vec::new(),
    }
}

fn noisy(about: Line, amplitude: f64, chance: &mut Chance) -> Arc<dyn Demand> {
    Arc::new(Noisy {
        about: Arc::new(about),
        noise: Noise {
            seed: chance.next_u64(),
        },
        amplitude,
    })
}

impl Shape {
    fn quiet_hosts(self) -> usize {
        match self {
            Self::Daily => 0,
            _ => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: u64 = 200;

    fn means(fleet: &Fleet, host: usize) -> Vec<f64> {
        let host = &fleet.hosts[host];
        let functions: f64 = host.functions.iter().map(|function| function.load).sum();
        let looks = (fleet.duration_s / 5.0) as u32;
        (0..looks)
            .map(|look| f64::from(look) * 5.0)
            .map(|from_s| host.demand.mean(from_s, from_s + 5.0) + functions)
            .collect()
    }

    fn highest(means: &[f64]) -> f64 {
        means.iter().copied().fold(0.0, f64::max)
    }

    fn bits(generated: &Generated) -> Vec<u64> {
        let instants = (0..500).map(|i| f64::from(i) * generated.fleet.duration_s / 500.0);
        instants
            .flat_map(|at_s| {
                let hosts = generated.fleet.hosts.iter();
                hosts.map(move |host| host.demand.at(at_s).to_bits())
            })
            .collect()
    }

    #[test]
    fn the_seed_decides_all_of_it() {
        for (a, b) in all(7).iter().zip(all(7)) {
            assert_eq!(bits(a), bits(&b), "{}", a.family);
        }
        for (a, b) in all(7).iter().zip(all(8)) {
            assert_ne!(bits(a), bits(&b), "{}", a.family);
        }
    }

    /// A bit that differs on another machine, or after a change, makes another table.
    #[test]
    fn the_bits_are_these() {
        let mut all_bits = 0;
        for generated in all(1) {
            for bits in bits(&generated) {
                all_bits = hash(all_bits, bits);
            }
        }
        assert_eq!(all_bits, 1_212_556_631_089_099_744);
    }

    #[test]
    fn families_by_name() {
        for known in FAMILIES {
            assert_eq!(family(known.name, 1).unwrap().family, known.name);
        }
        assert!(family("ramp-3", 1).is_none());
    }

    #[test]
    fn ramps_rise_as_fast_as_they_say() {
        for known in FAMILIES {
            let Shape::Ramp { percent_per_s } = known.shape else {
                continue;
            };
            for seed in 0..20 {
                let curve = &known.shape.curves(&mut Chance::new(seed))[0];
                let [_, from, to, ..] = curve.points[..] else {
                    panic!("{curve:?}", curve = curve.points)
                };
                let slope = (to.1 - from.1) / (to.0 - from.0);
                assert!((slope * 100.0 - percent_per_s).abs() < 1e-9, "{slope}");
                assert!((0.2..0.4).contains(&from.1) && (1.1..1.2).contains(&to.1));
                let fleet = known.generate(seed).fleet;
                assert!(highest(&means(&fleet, 0)) > KNEE, "{} {seed}", known.name);
            }
        }
    }

    #[test]
    fn plateaus_never_reach_the_knee_but_come_near() {
        for seed in 0..SEEDS {
            let fleet = family("plateau", seed).unwrap().fleet;
            let highest = highest(&means(&fleet, 0));
            assert!(
                (0.89..KNEE).contains(&highest),
                "{highest} with seed {seed}"
            );
            assert_eq!(fleet.overloads(KNEE).count, 0);
        }
    }

    #[test]
    fn bursts_are_short() {
        for seed in 0..20 {
            let curve = &Shape::Burst.curves(&mut Chance::new(seed))[0];
            let mut high = curve.points.windows(2).filter(|pair| pair[0].1 >= 1.0);
            assert!(high.all(|pair| pair[1].0 - pair[0].0 <= 8.0));
        }
    }

    #[test]
    fn all_but_the_plateau_are_overloaded_and_have_room_somewhere() {
        for seed in 0..20 {
            for generated in all(seed) {
                if ["plateau", "burst"].contains(&generated.family) {
                    continue;
                }
                let found = generated.fleet.overloads(generated.knee);
                assert!(found.count > 0, "{} {seed}", generated.family);
                assert!(found.with_room > 0, "{} {seed}", generated.family);
            }
        }
    }

    #[test]
    fn a_flash_crowd_goes_from_neighbour_to_neighbour() {
        let generated = family("flash-crowd", 3).unwrap();
        let over = |host| {
            let means = means(&generated.fleet, host);
            means.iter().position(|mean| *mean >= 0.9).unwrap()
        };
        assert!(over(0) < over(1) && over(1) < over(2));
        assert_eq!(generated.fleet.hosts.len(), 6);
    }

    #[test]
    fn days_go_round() {
        let means = |host| means(&family("daily", 3).unwrap().fleet, host);
        for host in 0..4 {
            let means = means(host);
            let lowest = means.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(lowest < 0.4 && highest(&means) > KNEE, "{host}");
        }
    }
}

//! How often a fleet is too busy when nothing is ever moved.

use serde::Serialize;

use super::{Fleet, FleetHost};

/// Means over this long are looked at: what an agent sees.
const LOOK_S: f64 = 5.0;
/// An overload that comes back sooner than this is the same one.
const CALM_S: f64 = 60.0;
/// Load up to which a host counts as one that has room, the function included.
const ROOM_LOAD_MAX: f64 = 0.85;

/// How often a fleet is overloaded when nothing is ever moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Overloads {
    /// How often a host with a function goes to the knee or above it (mean over 5 s), anew after a minute below it.
    pub count: u64,
    /// How many of them began while another host could have taken a function of it and stay under 85 %.
    pub with_room: u64,
    /// How long hosts with functions are there, all together.
    pub seconds: f64,
    /// Mean load of all hosts over all time.
    pub mean_load: f64,
}

impl FleetHost {
    /// Mean of the load of all that is here at the beginning.
    fn load(&self, from_s: f64, to_s: f64) -> f64 {
        let functions: f64 = self.functions.iter().map(|function| function.load).sum();
        self.demand.mean(from_s, to_s) + functions
    }
}

impl Fleet {
    /// Looks through all of its time, with every function where it begins.
    #[must_use]
    pub fn overloads(&self, knee: f64) -> Overloads {
        let mut found = Overloads::default();
        let mut last_over_s = vec![f64::NEG_INFINITY; self.hosts.len()];
        let looks = (self.duration_s / LOOK_S) as u64;
        for look in 0..looks {
            let (from_s, to_s) = (look as f64 * LOOK_S, (look + 1) as f64 * LOOK_S);
            let loads: Vec<f64> = self.hosts.iter().map(|h| h.load(from_s, to_s)).collect();
            found.mean_load += loads.iter().map(|load| load.min(1.0)).sum::<f64>();
            for (number, (host, load)) in self.hosts.iter().zip(&loads).enumerate() {
                if *load < knee || host.functions.is_empty() {
                    continue;
                }
                found.seconds += LOOK_S;
                if to_s - last_over_s[number] > CALM_S + LOOK_S {
                    found.count += 1;
                    found.with_room += u64::from(has_room(host, number, &loads));
                }
                last_over_s[number] = to_s;
            }
        }
        found.mean_load /= (looks.max(1) * self.hosts.len().max(1) as u64) as f64;
        found
    }
}

/// Whether another host could take the lightest function of this one.
fn has_room(host: &FleetHost, number: usize, loads: &[f64]) -> bool {
    let lightest = host.functions.iter().map(|function| function.load);
    let lightest = lightest.fold(f64::INFINITY, f64::min);
    let others = loads
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != number);
    let mut others = others.map(|(_, load)| load + lightest);
    others.any(|load| load <= ROOM_LOAD_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::demand::{Constant, Demand, Line};
    use crate::fleet::FleetFunction;

    #[test]
    fn overloads_are_counted_once_each() {
        let line = |points: &[(f64, f64)]| -> Arc<dyn Demand> {
            Arc::new(Line {
                points: points.into(),
            })
        };
        let host = |name: &str, demand| FleetHost {
            name: name.into(),
            demand,
            functions: vec![FleetFunction {
                name: format!("video-{name}"),
                load: 0.15,
                memory_mib: 512,
            }],
        };
        // Over the knee for 30 s, again after 30 s for 20 s, and once more much later while the other one is full.
        let up = [(100.0, 130.0), (160.0, 180.0), (500.0, 520.0)];
        let mut points = vec![(0.0, 0.5)];
        for (from_s, to_s) in up {
            points.extend([(from_s, 0.5), (from_s, 0.9), (to_s, 0.9), (to_s, 0.5)]);
        }
        let full = [(0.0, 0.3), (400.0, 0.3), (400.0, 0.78)];
        let mut fleet = Fleet {
            hosts: vec![host("a", line(&points)), host("b", line(&full))],
            duration_s: 600.0,
        };
        let found = fleet.overloads(0.95);
        assert_eq!((found.count, found.with_room), (2, 1));
        assert!((found.seconds - 70.0).abs() < 1e-9);
        // A host without a function has nobody who would suffer.
        fleet.hosts[0].functions.clear();
        fleet.hosts[0].demand = Arc::new(Constant(1.5));
        assert_eq!(fleet.overloads(0.95).count, 0);
    }
}

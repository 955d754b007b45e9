//! Which inputs belong together.

use std::collections::BTreeMap;

use super::policies::Table;
use crate::contest::Comparison;
use crate::generate::{FAMILIES, Family, Shape};
use crate::refine::Refinement;

/// An input and what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) table: &'a Table,
    /// What it asks of who decides, where it is a family of generators.
    pub(super) about: &'static str,
    /// Seconds of the best plan that was found.
    pub(super) feasible_s: Option<f64>,
}

/// A trace in its refinements, in the order of [`Refinement::ALL`].
#[derive(Clone, Debug)]
pub(super) struct TraceGroup<'a> {
    pub(super) name: &'a str,
    pub(super) refined: Vec<(Refinement, Group<'a>)>,
}

/// All inputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups<'a> {
    pub(super) traces: Vec<TraceGroup<'a>>,
    /// With their slopes in per cent of a host's CPU in a second, slowest first.
    pub(super) ramps: Vec<(f64, Group<'a>)>,
    pub(super) others: Vec<Group<'a>>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(comparison: &'a Comparison) -> Self {
        let mut groups = Self::default();
        let mut traces: BTreeMap<&str, Vec<(Refinement, Group)>> = BTreeMap::new();
        let mut strangers = Vec::new();
        for (name, table) in &comparison.by_input {
            let family = FAMILIES.iter().position(|family| family.name == name);
            let group = Group {
                name,
                table,
                about: family.map_or("", |place| FAMILIES[place].about),
                feasible_s: comparison.feasible_s.get(name).copied(),
            };
            match (family, refined(name)) {
                (Some(place), _) => groups.insert_family(&FAMILIES[place], group),
                (None, Some((trace, refinement))) => {
                    traces.entry(trace).or_default().push((refinement, group));
                }
                (None, None) => strangers.push(group),
            }
        }
        let in_order = |name: &str| FAMILIES.iter().position(|family| family.name == name);
        groups.ramps.sort_by(|a, b| a.0.total_cmp(&b.0));
        groups.others.sort_by_key(|group| in_order(group.name));
        groups.others.extend(strangers);
        groups.traces = traces.into_iter().map(trace_group).collect();
        groups
    }

    fn insert_family(&mut self, family: &Family, group: Group<'a>) {
        match family.shape {
            Shape::Ramp { percent_per_s } => self.ramps.push((percent_per_s, group)),
            _ => self.others.push(group),
        }
    }

    /// Tables of all traces in one refinement.
    pub(super) fn in_refinement(&self, refinement: Refinement) -> Vec<&'a Table> {
        let refined = self.traces.iter().flat_map(|trace| &trace.refined);
        refined
            .filter(|(of, _)| *of == refinement)
            .map(|(_, group)| group.table)
            .collect()
    }
}

fn trace_group<'a>((name, mut refined): (&'a str, Vec<(Refinement, Group<'a>)>)) -> TraceGroup<'a> {
    refined.sort_by_key(|(refinement, _)| *refinement);
    TraceGroup { name, refined }
}

/// The trace and the refinement that an input's name is made of.
fn refined(name: &str) -> Option<(&str, Refinement)> {
    let (trace, refinement) = name.rsplit_once('-')?;
    Some((trace, Refinement::of_name(refinement)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::comparison;

    #[test]
    fn every_input_is_in_one_group() {
        let comparison = comparison();
        let groups = Groups::of(&comparison);
        let trace = &groups.traces[0];
        assert_eq!((groups.traces.len(), trace.name), (1, "20110303"));
        let order: Vec<Refinement> = trace.refined.iter().map(|(of, _)| *of).collect();
        assert_eq!(order, Refinement::ALL);
        let slopes: Vec<f64> = groups.ramps.iter().map(|(slope, _)| *slope).collect();
        assert_eq!(slopes, [0.5, 2.0, 10.0]);
        let others: Vec<&str> = groups.others.iter().map(|group| group.name).collect();
        assert_eq!(others, ["step", "burst", "a <stranger> & \"more\""]);
        assert_eq!(groups.in_refinement(Refinement::Noisy).len(), 1);
    }
}

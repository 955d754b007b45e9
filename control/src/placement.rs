//! Where to?

use std::collections::BTreeMap;

use record::decision::{Candidate, HoldReason};
use record::{HostName, Timestamp, Utilization};

use crate::host::Host;
use crate::settings::{Limits, milliseconds};

/// A target and its forecast load with the function on it.
pub(crate) type Target = (HostName, f64);

/// The host that would be least loaded at the end of the move, among those that may carry the function.
///
/// `excluded` are hosts that a move is already going to or from. `horizon_ms` is how far ahead to look.
pub(crate) fn choose(
    now: Timestamp,
    hosts: &BTreeMap<HostName, Host>,
    source: &HostName,
    load: Utilization,
    excluded: &[&HostName],
    horizon_ms: f64,
    limits: &Limits,
) -> Result<Target, HoldReason> {
    let then = now + milliseconds(horizon_ms);
    let judge = |(name, host): (&HostName, &Host)| {
        let fresh = host.unusable(now, limits).is_none() && !excluded.contains(&name);
        let forecast = if fresh { host.forecast(limits) } else { None };
        // A falling load is not counted on: it may stop falling.
        let load = forecast
            .map(|forecast| forecast.at(then).max(forecast.at(now)).max(0.0) + load.share());
        Candidate {
            host: name.clone(),
            load,
            limit: limits.target_load_max,
        }
    };
    let candidates: Vec<Candidate> = hosts
        .iter()
        .filter(|(name, _)| *name != source)
        .map(judge)
        .collect();
    let fits = |candidate: &Candidate| {
        candidate
            .load
            .filter(|load| *load <= candidate.limit.share())
            .map(|load| (candidate.host.clone(), load))
    };
    let best = candidates
        .iter()
        .filter_map(fits)
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let Some((target, target_load)) = best else {
        return Err(HoldReason::NoTargetFits { candidates });
    };
    let source_load = hosts
        .get(source)
        .and_then(Host::utilization)
        .map_or(0.0, Utilization::share);
    if target_load + limits.gain_min > source_load {
        return Err(HoldReason::NoGain {
            target,
            target_load,
        });
    }
    Ok((target, target_load))
}

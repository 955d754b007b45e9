//! Figures as Prometheus reads them. They are made of one view each time they are asked for: what is shown is of one instant.

use std::fmt;

use control::Trust;
use control::view::Freshness;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use record::Verdict;
use record::report::Spread;

use crate::alarm::AlarmKind;
use crate::run::Site;

/// A gauge of floating point.
type Number = Gauge<f64, std::sync::atomic::AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HostState {
    host: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrustState {
    trust: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    verdict: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Alarm {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Poll {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Function {
    function: String,
    host: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Quantile {
    function: String,
    quantile: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Viewer {
    function: String,
}

pub(super) fn text(site: &Site) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("forestall");
    whole(&mut registry, site);
    hosts(&mut registry, site);
    functions(&mut registry, site);
    views(&mut registry, site);
    moves_and_alarms(&mut registry, site);
    polls(&mut registry, site);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn whole(registry: &mut Registry, site: &Site) {
    let view = &site.view;
    let mut gauge = |name: &str, help: &str, value: f64| {
        let gauge = Number::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge(
        "armed",
        "1 while moves may begin, 0 while disarmed",
        f64::from(u8::from(view.armed)),
    );
    gauge(
        "moves_open",
        "Moves that have no verdict yet",
        view.moves.len() as f64,
    );
    let trust = Family::<TrustState, Number>::default();
    for (name, one) in [
        ("observe", Trust::Observe),
        ("recommend", Trust::Recommend),
        ("automatic", Trust::Automatic),
    ] {
        let is = f64::from(u8::from(view.trust == one));
        trust.get_or_create(&TrustState { trust: name }).set(is);
    }
    registry.register("trust", "1 for what it may do by itself", trust);
    let begun = site.begun_at_us.as_secs_f64();
    let start = Number::default();
    start.set(begun);
    registry.register_with_unit(
        "start_time",
        "When the orchestrator began, since 1970",
        Unit::Seconds,
        start,
    );
    let off = Number::default();
    off.set(site.clock_off_s.unwrap_or_default());
    registry.register_with_unit(
        "clock_off",
        "By how much the system's clock is ahead of the orchestrator's, once somebody has set it",
        Unit::Seconds,
        off,
    );
}

fn hosts(registry: &mut Registry, site: &Site) {
    let load = Family::<Host, Number>::default();
    let age = Family::<Host, Number>::default();
    let forecast = Family::<Host, Number>::default();
    let slope = Family::<Host, Number>::default();
    let knee = Family::<Host, Number>::default();
    let state = Family::<HostState, Number>::default();
    for view in &site.view.hosts {
        let host = Host {
            host: view.host.to_string(),
        };
        let set = |family: &Family<Host, Number>, value: Option<f64>| {
            // What is not known has no series: it is not 0.
            if let Some(value) = value {
                family.get_or_create(&host).set(value);
            }
        };
        let evidence = &view.evidence;
        set(&load, evidence.utilization.map(|load| load.share()));
        set(&knee, evidence.knee.map(|knee| knee.share()));
        set(&age, evidence.sample_age_ms.map(|ms| ms / 1e3));
        set(&forecast, evidence.forecast.map(|forecast| forecast.level));
        set(
            &slope,
            evidence
                .forecast
                .filter(|forecast| forecast.trusted)
                .map(|forecast| forecast.slope_per_s),
        );
        for (name, freshness) in [
            ("fresh", Freshness::Fresh),
            ("stale", Freshness::Stale),
            ("silent", Freshness::Silent),
        ] {
            let label = HostState {
                host: view.host.to_string(),
                state: name,
            };
            let is = f64::from(u8::from(view.freshness == freshness));
            state.get_or_create(&label).set(is);
        }
    }
    registry.register("host_load", "Load by the newest sample, 0 to 1", load);
    registry.register_with_unit(
        "host_sample_age",
        "Age of the newest sample",
        Unit::Seconds,
        age,
    );
    registry.register(
        "host_forecast_load",
        "Load now by the forecast, 0 to 1",
        forecast,
    );
    registry.register(
        "host_forecast_slope",
        "Change of the load in a second, where a trend is believed",
        slope,
    );
    registry.register(
        "host_knee",
        "Load from which pictures come late, as configured or as viewers have taught, 0 to 1",
        knee,
    );
    registry.register(
        "host_state",
        "1 for what the samples of a host are worth",
        state,
    );
}

fn functions(registry: &mut Registry, site: &Site) {
    let at = Family::<Function, Number>::default();
    let moving = Family::<Function, Number>::default();
    let given_up = Family::<Function, Number>::default();
    let predicted = Family::<Function, Number>::default();
    let viewers = Family::<Function, Number>::default();
    for view in &site.view.functions {
        let label = Function {
            function: view.vm.to_string(),
            host: view.host.to_string(),
        };
        let yes = |is: bool| f64::from(u8::from(is));
        at.get_or_create(&label).set(1.0);
        moving
            .get_or_create(&label)
            .set(yes(view.migration.is_some()));
        given_up.get_or_create(&label).set(yes(view.given_up));
        predicted.get_or_create(&label).set(view.migration_ms / 1e3);
        viewers.get_or_create(&label).set(view.viewers.into());
    }
    registry.register("function_at", "1 for the host on which a function is", at);
    registry.register(
        "function_moving",
        "1 while a function is being moved",
        moving,
    );
    registry.register(
        "function_given_up",
        "1 while a person has to look after a function",
        given_up,
    );
    registry.register_with_unit(
        "function_predicted_move",
        "Time of the next move, 95th percentile",
        Unit::Seconds,
        predicted,
    );
    registry.register(
        "function_viewers",
        "People who see the video of a function",
        viewers,
    );
}

/// What viewers say that they see.
fn views(registry: &mut Registry, site: &Site) {
    let age = Family::<Quantile, Number>::default();
    let interval = Family::<Quantile, Number>::default();
    let viewers = Family::<Viewer, Number>::default();
    for (function, view) in &site.views {
        let function = function.to_string();
        set_spread(&age, &function, view.picture_age_ms);
        set_spread(&interval, &function, view.frame_interval_ms);
        let label = Viewer { function };
        viewers.get_or_create(&label).set(view.viewers as f64);
    }
    let freezes = Family::<Viewer, Counter>::default();
    for (function, count) in &site.counts.freezes {
        let function = function.to_string();
        freezes.get_or_create(&Viewer { function }).inc_by(*count);
    }
    registry.register_with_unit(
        "viewed_picture_age",
        "Age of the picture on the screen of the viewer who sees the oldest, by its last report",
        Unit::Seconds,
        age,
    );
    registry.register_with_unit(
        "viewed_frame_interval",
        "Time between two pictures on the screen of the viewer who waits longest, by its last report",
        Unit::Seconds,
        interval,
    );
    registry.register(
        "viewed_freezes",
        "Freezes that viewers told of since the orchestrator began",
        freezes,
    );
    registry.register(
        "viewed_by",
        "Viewers that say what they see of a function",
        viewers,
    );
}

/// What is not known has no series.
fn set_spread(family: &Family<Quantile, Number>, function: &str, spread: Option<Spread>) {
    let Some(spread) = spread else { return };
    for (quantile, ms) in [
        ("0.5", spread.median),
        ("0.95", spread.p95),
        ("1", spread.max),
    ] {
        let function = function.to_owned();
        let label = Quantile { function, quantile };
        family.get_or_create(&label).set(ms / 1e3);
    }
}

fn moves_and_alarms(registry: &mut Registry, site: &Site) {
    let moves = Family::<Ended, Counter>::default();
    for verdict in [
        Verdict::Moved,
        Verdict::Stayed,
        Verdict::Blackout,
        Verdict::Split,
        Verdict::Lost,
    ] {
        let count = site.counts.moves.get(&verdict).copied();
        let verdict = verdict.to_string();
        let label = Ended { verdict };
        // One that is there from 0 on shows the first rise.
        moves
            .get_or_create(&label)
            .inc_by(count.unwrap_or_default());
    }
    registry.register(
        "moves",
        "Moves that are over, by how they ended, since the orchestrator began",
        moves,
    );
    let alarms = Family::<Alarm, Number>::default();
    for (name, kind) in [
        ("split", AlarmKind::Split),
        ("lost", AlarmKind::Lost),
        ("blackout", AlarmKind::Blackout),
        ("unknown", AlarmKind::Unknown),
        ("silent_host", AlarmKind::SilentHost),
        ("no_useful_move", AlarmKind::NoUsefulMove),
        ("clock", AlarmKind::Clock),
    ] {
        let count = site.alarms.get(&kind).copied().unwrap_or_default();
        alarms
            .get_or_create(&Alarm { kind: name })
            .set(count as f64);
    }
    registry.register("alarms", "Alarms that stand, by kind", alarms);
}

/// Nothing where no SNMP agent is asked.
fn polls(registry: &mut Registry, site: &Site) {
    let Some(snmp) = site.counts.snmp else {
        return;
    };
    let polls = Family::<Poll, Counter>::default();
    for (outcome, count) in [
        ("answered", snmp.tally.answered),
        ("refused", snmp.tally.refused),
        ("lost", snmp.tally.lost),
        ("late", snmp.tally.late),
        ("reordered", snmp.tally.reordered),
        ("skipped", snmp.skipped),
    ] {
        polls.get_or_create(&Poll { outcome }).inc_by(count);
    }
    registry.register(
        "snmp_polls",
        "Polls of SNMP agents by what came of them, since the orchestrator began",
        polls,
    );
    let forged: Counter = Counter::default();
    forged.inc_by(snmp.tally.forged);
    registry.register(
        "snmp_forged",
        "Answers to SNMP polls that were not believed, since the orchestrator began",
        forged,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::example::site;
    use super::*;

    /// Names of our metrics in a text.
    fn names(text: &str) -> BTreeSet<&str> {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("forestall_"))
            .collect()
    }

    fn expressions(panels: &Value) -> Vec<&str> {
        let targets = panels.as_array().unwrap().iter().map(|p| &p["targets"]);
        targets
            .flat_map(|targets| targets.as_array().unwrap())
            .map(|target| target["expr"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn the_dashboard_for_grafana_shows_every_metric_and_no_other() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../packaging/grafana/forestall.json"
        );
        let dashboard: Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let shown = expressions(&dashboard["panels"]).join("\n");
        let text = text(&site()).unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let exported = series.collect::<Vec<_>>().join("\n");
        assert_eq!(names(&shown), names(&exported));
        // What may be chosen at its top.
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            for name in names(variable["query"].as_str().unwrap()) {
                assert!(names(&exported).contains(name), "{variable}");
            }
        }
    }
}

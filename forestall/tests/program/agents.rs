//! Agents and exporters that fail, or tell of a load that cannot be: what a running orchestrator does meanwhile, and that it believes
//! them again. The guest runs in real QEMU processes. `make test-faults` makes each fault as often as docs/reliability.json says.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::agents::{Agent, SPEED};
use crate::common::figures::{Row, qemu, times, within};
use crate::common::site::{FAST, HOSTS, Site};
use control::journal::{Entry, INPUTS};
use control::{Input, Trust};
use record::Sample;
use serde_json::{Value, json};

/// Where the function is, and where it may go.
const SOURCE: usize = 1;
const TARGET: usize = 0;
/// A host that is being emptied is looked at with each sample of it: here is one each second.
const EMPTIED_WITHIN: Duration = Duration::from_secs(3);
/// A load over the knee moves a function when two samples say so, and of `hrProcessorLoad` there is one each 5 s.
const MOVED_WITHIN: Duration = Duration::from_secs(7);
/// What is promised of who lies.
const NOT_BELIEVED: &str = "nothing begins on what it says, and its host counts as silent; within 15 s of the truth a move that is due begins";
/// What came of a fault of which nothing is to come.
const NOTHING: &str = "nothing begun";
/// How old a sample may be, where that is waited for.
const SAMPLE_AGE_MS_MAX: f64 = 4000.0;
/// What honest agents say.
const HONEST: f64 = 0.6;
/// How long before a wrap an agent is first heard.
const BEFORE_WRAP: Duration = Duration::from_secs(8);
/// What wraps after 2^32 counts so much in a second: its idle time alone, its up-time, all that it counts at once.
const WRAPS_PER_S: [u64; 3] = [120, 100, 40];

fn site() -> Site {
    Site::new(HOSTS[SOURCE], FAST, Trust::Automatic)
}

fn row(fault: &str, promise: &str, tries: u32) -> Row {
    let engine = format!("{}; agents are simulated", qemu());
    Row::new(fault, promise, &engine, tries)
}

/// A host as the orchestrator sees it.
fn host(site: &Site, host: usize) -> Value {
    let hosts = site.ask("hosts");
    let mut hosts = hosts.as_array().unwrap().iter();
    let this = hosts.find(|one| one["host"] == HOSTS[host]);
    this.unwrap().clone()
}

fn empty_the_source(site: &Site) {
    site.words(&format!("drain {}", HOSTS[SOURCE]));
}

/// Nothing begins for so long.
fn assert_nothing_begins(site: &Site, within: Duration) {
    thread::sleep(within);
    assert_eq!(site.ask("moves"), json!([]), "{}", site.log());
    assert_eq!(site.runners(), [HOSTS[SOURCE]]);
}

/// Waits until the function has moved, as it does when its hosts are believed; returns what it took to begin.
fn wait_for_move(site: &Site) -> Duration {
    let at = Instant::now();
    site.wait_for("a move", |site| site.ask("moves") != json!([]));
    let took = at.elapsed();
    site.wait_for("its verdict", |site| {
        site.ask("moves")[0]["verdict"] == "moved"
    });
    assert_eq!(site.runners(), [HOSTS[TARGET]], "{}", site.log());
    took
}

/// Waits for a sample of a host that was measured from now on; returns what it took.
fn wait_for_sample(site: &Site, of: usize) -> Duration {
    let at = Instant::now();
    site.wait_for("a sample", |site| {
        let since_ms = at.elapsed().as_secs_f64() * 1e3;
        let age_ms = host(site, of)["sample_age_ms"].as_f64();
        age_ms.is_some_and(|age_ms| age_ms < since_ms)
    });
    at.elapsed()
}

/// All samples of a host that were recorded, each of which has to say what an honest agent says.
fn honest_samples(site: &Site, of: usize) -> Vec<Sample> {
    let recorded = fs::read_to_string(site.folder.path().join(INPUTS)).unwrap();
    // Settings come first.
    let entries = recorded.lines().skip(1);
    let sample = |line: &str| match serde_json::from_str::<Entry>(line).unwrap().input {
        Input::Sample(sample) if sample.host.as_str() == HOSTS[of] => Some(sample),
        _ => None,
    };
    let samples: Vec<Sample> = entries.filter_map(sample).collect();
    for sample in &samples {
        let off = sample.utilization.share() - HONEST;
        assert!(off.abs() < 1e-9, "{sample:?}");
    }
    samples
}

#[test]
fn an_agent_that_is_frozen_says_nothing_of_now() {
    let tries = times(10, 2);
    let mut row = row(
        "an agent is frozen: it does not answer, or its counters stand still",
        "within 6 s its last sample is stale, which it is after 4 s here; nothing is moved there by it, until the agent goes on",
        tries,
    );
    let up = Duration::from_secs(1000);
    for attempt in 0..tries {
        let mut site = site();
        site.set_limit("sample_age_ms_max", SAMPLE_AGE_MS_MAX);
        site.start_and_hear();
        let frozen = if attempt % 2 == 0 {
            Agent::Silent
        } else {
            Agent::StandsStill { up }
        };
        site.set_agent(TARGET, frozen);
        let at = Instant::now();
        site.wait_for("stale samples", |site| {
            host(site, TARGET)["freshness"] == "stale"
        });
        let took = at.elapsed();
        empty_the_source(&site);
        assert_nothing_begins(&site, EMPTIED_WITHIN);
        site.set_agent(TARGET, Agent::up_for(up));
        wait_for_move(&site);
        row.add(took, "moved", site.runners().len());
        within(6, took);
    }
    row.keep();
}

#[test]
fn an_exporter_that_says_what_no_time_can_be_is_not_believed() {
    for (fault, said) in [
        ("an exporter says NaN", "NaN"),
        ("an exporter says a negative number", "-5"),
    ] {
        let tries = times(10, 1);
        let mut row = row(fault, NOT_BELIEVED, tries);
        for _ in 0..tries {
            let mut site = site();
            let exporters = site.measure_by_exporters([0.3; 2]);
            exporters.say(TARGET, Some(said));
            site.start();
            site.wait_for("the other host", |site| {
                host(site, SOURCE)["freshness"] == "fresh"
            });
            site.wait_for("the lie", |site| site.log().contains("nonsense"));
            empty_the_source(&site);
            assert_nothing_begins(&site, EMPTIED_WITHIN);
            assert_eq!(host(&site, TARGET)["freshness"], "silent");
            exporters.say(TARGET, None);
            let took = wait_for_move(&site);
            row.add(took, "moved", site.runners().len());
            within(15, took);
        }
        row.keep();
    }
}

/// At the target a load that is too low would have the function come; at the source one that is too high would have it go.
#[test]
fn an_agent_that_says_a_share_that_cannot_be_is_not_believed() {
    for (fault, liar, lie, truth, cause) in [
        ("an agent says -5 %", TARGET, -5, 60, "drain"),
        ("an agent says 140 %", SOURCE, 140, 100, "load"),
    ] {
        let tries = times(10, 1);
        let mut row = row(fault, NOT_BELIEVED, tries);
        for _ in 0..tries {
            let mut site = site();
            site.set_agent(liar, Agent::Says(lie));
            site.start();
            site.wait_for("the other host", |site| {
                host(site, 1 - liar)["freshness"] == "fresh"
            });
            let words = format!("nonsense: hrProcessorLoad is {lie} %");
            site.wait_for("the lie", |site| site.log().contains(&words));
            if cause == "drain" {
                empty_the_source(&site);
            }
            assert_nothing_begins(&site, MOVED_WITHIN);
            assert_eq!(host(&site, liar)["freshness"], "silent");
            site.set_agent(liar, Agent::Says(truth));
            let took = wait_for_move(&site);
            assert_eq!(site.ask("moves")[0]["cause"], cause);
            row.add(took, "moved", site.runners().len());
            within(15, took);
        }
        row.keep();
    }
}

#[test]
fn an_agent_that_is_started_anew_makes_no_sample_of_before_and_after() {
    let tries = times(20, 2);
    let mut row = row(
        "an agent is started anew",
        "each sample says the load that there is; one comes again within 5 s, with counters that move each second; nothing begins",
        tries,
    );
    let mut site = site();
    site.record_into(Some(site.folder.path()));
    site.start_and_hear();
    for attempt in 0..tries as usize {
        let restarted = attempt % HOSTS.len();
        site.set_agent(restarted, Agent::up_for(Duration::ZERO));
        let took = wait_for_sample(&site, restarted);
        row.add(took, NOTHING, site.runners().len());
        within(5, took);
    }
    assert_nothing_begins(&site, Duration::ZERO);
    site.end();
    for host in 0..HOSTS.len() {
        let samples = honest_samples(&site, host);
        assert!(samples.len() > tries as usize / HOSTS.len(), "{samples:?}");
    }
    row.keep();
}

#[test]
fn counters_that_wrap_are_followed() {
    let rounds = times(6, 1);
    let hosts = HOSTS.len();
    let mut row = row(
        "an agent's counters wrap, or its up-time",
        "each sample says the load that there is, and begins when the one before it ends; nothing begins",
        rounds * hosts as u32,
    );
    for round in 0..rounds as usize {
        let mut site = site();
        site.record_into(Some(site.folder.path()));
        // Counters that jump would be a fault of another kind.
        for host in 0..hosts {
            site.set_agent(host, Agent::Silent);
        }
        site.start();
        for host in 0..hosts {
            let per_s = WRAPS_PER_S[(round + host) % WRAPS_PER_S.len()];
            let wraps = Duration::from_secs((1 << 32) / per_s);
            site.set_agent(host, Agent::up_for(wraps - BEFORE_WRAP * SPEED));
        }
        let at = Instant::now();
        site.wait_for("samples", |site| site.ask("status")["hosts_fresh"] == 2);
        assert!(at.elapsed() < BEFORE_WRAP, "the wrap was missed");
        // And the refresh that tells of it.
        let wrapped = BEFORE_WRAP + Duration::from_secs(2);
        thread::sleep(wrapped.saturating_sub(at.elapsed()));
        for host in 0..hosts {
            wait_for_sample(&site, host);
        }
        assert_nothing_begins(&site, Duration::ZERO);
        site.end();
        for host in 0..hosts {
            let samples = honest_samples(&site, host);
            for pair in samples.windows(2) {
                let apart = pair[1].measured_at_us.since(pair[0].measured_at_us);
                let gap_ms = apart.as_secs_f64() * 1e3 - pair[1].interval_ms;
                assert!(gap_ms.abs() < 1.0, "{pair:?}");
            }
            let longest_ms = samples.iter().map(|sample| sample.interval_ms);
            let longest_ms = longest_ms.fold(0.0, f64::max);
            let longest = Duration::from_secs_f64(longest_ms / 1e3);
            row.add(longest, NOTHING, site.runners().len());
        }
    }
    row.keep();
}

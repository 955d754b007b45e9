//! Whether all that a configuration names is there: `forestall orchestrate --check`. Nothing is moved, and no journal is opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::Input;
use drivers::{Driver, Libvirt, Nova, Qemu};
use nix::unistd::{AccessFlags, access};
use record::{HostName, Profile, Residency, VmName};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::alarm::Alarms;
use crate::clock;
use crate::config::{Config, Engine};
use crate::discover::discover;
use crate::error::OrchestratorError;
use crate::sources::Sources;

/// An agent refreshes its counters every 5 s, and a load is the difference of two of them.
pub const HEARD_WITHIN: Duration = Duration::from_secs(15);
/// Samples that wait to be looked at.
const SAMPLES_WAITING_MAX: usize = 1024;
/// Questions to the engine that are under way at once: each is a process or a connection.
const QUESTIONS_AT_ONCE_MAX: usize = 16;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// Whether it is as it has to be.
    pub good: bool,
    /// What was seen.
    pub seen: String,
}

impl Finding {
    fn new(what: String, seen: Result<String, String>) -> Self {
        let good = seen.is_ok();
        Self {
            what,
            good,
            seen: seen.unwrap_or_else(|why| why),
        }
    }
}

/// Looks at all of it, which takes up to 15 s.
///
/// # Errors
/// When a secret cannot be read, the settings contradict each other, or no sockets are to be had.
pub async fn check(config: &Config) -> Result<Vec<Finding>, OrchestratorError> {
    let config = config.clone();
    match config.engine.clone() {
        Engine::Qemu(engine) => check_with(Qemu::new(engine), config).await,
        Engine::Libvirt(engine) => check_with(Libvirt::new(engine), config).await,
        Engine::Nova(engine) => check_with(Nova::new(engine)?, config).await,
    }
}

async fn check_with<D: Driver>(
    driver: D,
    mut config: Config,
) -> Result<Vec<Finding>, OrchestratorError> {
    let (discovery, words) = discover(&driver, &mut config).await;
    let config = &config;
    control::Controller::new(config.control.clone())?;
    Alarms::new(clock::now(), config.alarms.as_ref())?;
    let sources = Sources::new(config)?;
    let cramped = sources.cramped().map(str::to_owned);
    let loads = loads(sources, &config.control.hosts);
    let (loads, functions) = tokio::join!(loads, functions(config, driver));
    let mut findings = vec![journal(config)];
    findings.extend(config.profile.as_deref().map(profile));
    let told = words.into_iter().map(|words| {
        let is_problem = discovery
            .as_ref()
            .is_some_and(|discovery| discovery.is_problem(&words));
        let seen = if is_problem { Err(words) } else { Ok(words) };
        Finding::new("discovered".into(), seen)
    });
    findings.extend(told);
    findings.extend(cramped.map(|why| Finding::new("room for answers".into(), Err(why))));
    findings.extend(loads);
    findings.extend(functions);
    Ok(findings)
}

fn profile(path: &Path) -> Finding {
    let seen = Profile::read(path).map(|profile| {
        let law = match &profile.migration.law {
            Some(law) => format!("the law of moves on {}", law.measured_at),
            None => "no law of moves".into(),
        };
        let rises = profile.knee.rises.and_then(|rises| rises.picture_age);
        let rises = rises.map(|rise| {
            let [low, high] = rise.interval95.map(|share| share * 100.0);
            let offered = rise.offered * 100.0;
            format!(", delay rises at {offered:.1} % of load offered ({low:.1} to {high:.1})")
        });
        let law = format!("{law}{}", rises.unwrap_or_default());
        format!(
            "measured on {}, {law}, on {}",
            profile.measured_at, profile.machine
        )
    });
    let seen = seen.map_err(|error| error.to_string());
    Finding::new(format!("profile {}", path.display()), seen)
}

fn journal(config: &Config) -> Finding {
    let folder = config.journal.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let seen = match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        _ if !folder.is_dir() => Err(
            "its folder is not there: make it, and let the orchestrator's user write to it".into(),
        ),
        Ok(()) => Ok("its folder is there".into()),
        Err(why) => Err(format!(
            "its folder is there, but who checks may not write to it ({why}): check as the orchestrator's user, and let that one"
        )),
    };
    Finding::new(format!("journal {}", config.journal.display()), seen)
}

async fn loads(mut sources: Sources, hosts: &[HostName]) -> Vec<Finding> {
    let (samples_in, mut samples) = mpsc::channel(SAMPLES_WAITING_MAX);
    let mut heard = BTreeMap::new();
    let all = async {
        while heard.len() < hosts.len()
            && let Some(input) = samples.recv().await
        {
            if let Input::Sample(sample) = input {
                heard.insert(sample.host, sample.utilization);
            }
        }
    };
    let stop = async {
        tokio::select! {
            () = all => {}
            () = sleep(HEARD_WITHIN) => {}
        }
    };
    sources.run(&samples_in, stop).await;
    let of = |host: &HostName| {
        let seen = match (heard.get(host), sources.failure(host)) {
            (Some(load), _) => Ok(format!("it is {:.1} %", load.share() * 100.0)),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(format!(
                "nobody tells it after {} s",
                HEARD_WITHIN.as_secs()
            )),
        };
        Finding::new(format!("load of {host}"), seen)
    };
    hosts.iter().map(of).collect()
}

/// Where each function is, by the engine: on one host, and no host is silent.
async fn functions<D: Driver>(config: &Config, driver: D) -> Vec<Finding> {
    let driver = Arc::new(driver);
    let places = Arc::new(Semaphore::new(QUESTIONS_AT_ONCE_MAX));
    let mut looks = JoinSet::new();
    for function in &config.control.functions {
        for host in &config.control.hosts {
            let (driver, vm, host) = (Arc::clone(&driver), function.vm.clone(), host.clone());
            let places = Arc::clone(&places);
            looks.spawn(async move {
                // It is never closed.
                let _place = places.acquire().await;
                let seen = driver.look(&vm, &host).await;
                (vm, host, seen)
            });
        }
    }
    let mut seen: BTreeMap<VmName, Looks> = BTreeMap::new();
    for (vm, host, look) in looks.join_all().await {
        seen.entry(vm).or_default().insert(host, look);
    }
    let finding =
        |(vm, hosts): (VmName, Looks)| Finding::new(format!("function {vm}"), of_function(&hosts));
    seen.into_iter().map(finding).collect()
}

/// What each host says of a function, or why it says nothing.
type Looks = BTreeMap<HostName, Result<Residency, String>>;

fn of_function(hosts: &Looks) -> Result<String, String> {
    let silent = hosts.iter().filter_map(|(host, seen)| match seen {
        Err(why) => Some(format!("{host} ({why})")),
        Ok(Residency::Unreachable) => Some(format!("{host} (in the middle of a move)")),
        Ok(_) => None,
    });
    let silent: Vec<String> = silent.collect();
    if !silent.is_empty() {
        return Err(format!(
            "the engine does not answer for {}",
            silent.join(", ")
        ));
    }
    let which = |residency: Residency| {
        let these = hosts.iter().filter(|(_, seen)| **seen == Ok(residency));
        these.map(|(host, _)| host.to_string()).collect::<Vec<_>>()
    };
    match (
        &which(Residency::Running)[..],
        &which(Residency::Paused)[..],
    ) {
        ([host], _) => Ok(format!("it runs on {host}")),
        ([], []) => Err("it runs on none of the hosts".into()),
        ([], held) => Err(format!(
            "it runs on none of the hosts, and is held on {}",
            held.join(" and ")
        )),
        (several, _) => Err(format!("it runs on {}", several.join(" and "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_runs_once_and_all_hosts_answer() {
        use Residency::{Absent, Paused, Running, Unreachable};
        for (a, b, good) in [
            (Running, Absent, true),
            (Paused, Running, true),
            (Running, Running, false),
            (Absent, Paused, false),
            (Running, Unreachable, false),
        ] {
            let hosts =
                [("a", a), ("b", b)].map(|(host, seen)| (HostName::new(host).unwrap(), Ok(seen)));
            assert_eq!(of_function(&hosts.into()).is_ok(), good, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_host_that_says_nothing_is_told_with_the_reason() {
        let seen = [("a", Ok(Residency::Running)), ("b", Err("no route".into()))];
        let hosts = seen.map(|(host, seen)| (HostName::new(host).unwrap(), seen));
        let said = of_function(&hosts.into()).unwrap_err();
        assert!(
            said.contains("b (no route)") && !said.contains("a ("),
            "{said}"
        );
    }
}

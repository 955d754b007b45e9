//! `[discover]` in a configuration: functions that the engine knows by their tags, beside those of `[control]`.

use std::collections::{BTreeMap, BTreeSet};

use control::{Mobility, Placement};
use drivers::tagged::{Found, Tagged};
use drivers::{libvirt, nova};
use record::{HostName, Utilization};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Engine};
use crate::run::OrchestratorError;

/// What a function has of which its tag says no more. A profile says what is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discover {
    /// How many people see its video.
    #[serde(default = "one")]
    pub viewers: u32,
    /// Load that it brings to a host.
    pub load: Utilization,
    /// Time of a move, 95th percentile.
    pub migration_ms: f64,
    /// How long viewers see nothing new at the switch.
    pub gap_ms: f64,
}

const fn one() -> u32 {
    1
}

/// A configuration with what its engine knows, and what a person should be told of that, each in a line.
#[derive(Debug)]
pub(crate) struct Discovered {
    pub(crate) config: Config,
    pub(crate) notes: Vec<String>,
}

/// Asks the engine, where the configuration says so.
///
/// # Errors
/// When it is not known who Forestall is to the cloud. What an engine does not answer is a note: an orchestrator that did not begin for
/// one silent host would protect nobody.
pub(crate) async fn discovered(mut config: Config) -> Result<Discovered, OrchestratorError> {
    let mut notes = Vec::new();
    let Some(defaults) = config.discover.clone() else {
        return Ok(Discovered { config, notes });
    };
    let found = match &mut config.engine {
        // It has nobody who could be asked: `Config::read` refuses this.
        Engine::Qemu(_) => Found::default(),
        Engine::Libvirt(engine) => libvirt::tagged::tagged(engine).await,
        Engine::Nova(engine) => {
            let all = nova::tagged::tagged(engine).await?;
            for (vm, id) in all.servers {
                engine.servers.entry(vm).or_insert(id);
            }
            let known: BTreeSet<&HostName> = config.control.hosts.iter().collect();
            let unknown = all.hosts.iter().filter(|host| !known.contains(host));
            notes.extend(unknown.map(|host| {
                format!("Nova has a host {host}, which is not among control.hosts: it is no target")
            }));
            all.found
        }
    };
    notes.extend(found.problems);
    for tagged in found.functions {
        let functions = &mut config.control.functions;
        // What a person wrote of a function counts, and not its tag.
        if functions.iter().any(|told| told.vm == tagged.vm) {
            continue;
        }
        if !config.control.hosts.contains(&tagged.host) {
            notes.push(format!(
                "function {} runs on {}, which is not among control.hosts: it is not looked after",
                tagged.vm, tagged.host
            ));
            continue;
        }
        notes.push(format!("function {} found on {}", tagged.vm, tagged.host));
        functions.push(placement(tagged, &defaults));
    }
    config.control.check()?;
    Ok(Discovered { config, notes })
}

fn placement(tagged: Tagged, defaults: &Discover) -> Placement {
    Placement {
        vm: tagged.vm,
        host: tagged.host,
        load: tagged.load.unwrap_or(defaults.load),
        viewers: tagged.viewers.unwrap_or(defaults.viewers),
        migration_ms: defaults.migration_ms,
        gap_ms: defaults.gap_ms,
        mobility: Mobility::Free,
        forbidden: BTreeSet::new(),
        together: None,
        apart: None,
        path_ms: BTreeMap::new(),
        path_late_ms: BTreeMap::new(),
    }
}

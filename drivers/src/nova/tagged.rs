//! Servers whose metadata says that they are functions.

use record::VmName;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::answer::ServicesAnswer;
use super::cloud::{Cloud, CloudError};
use super::config::NovaConfig;
use super::driver::is_id;
use crate::tagged::{Found, Tagged};

/// The tag: `openstack server set --property forestall=function SERVER`.
pub const KEY: &str = "forestall";
/// What it says.
pub const FUNCTION: &str = "function";
/// More that it may say.
const VIEWERS: &str = "forestall_viewers";
const LOAD: &str = "forestall_load";
/// States of a server that runs.
const RUNS: [&str; 2] = ["ACTIVE", "MIGRATING"];
/// Servers that Nova is asked for at once.
const PAGE: &str = "500";

#[derive(Debug, Deserialize)]
struct Page {
    servers: Vec<Listed>,
}

/// A server of `GET /servers/detail`.
#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    name: String,
    status: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(rename = "OS-EXT-SRV-ATTR:host")]
    host: Option<String>,
}

/// What Nova says of functions, and its id of each one's server.
#[derive(Default)]
pub(super) struct FoundByNova {
    pub(super) found: Found,
    pub(super) servers: BTreeMap<VmName, String>,
}

/// Asks Nova for its hosts, and for all servers of the project that are tagged and run. What it does not answer is a problem among
/// those found.
pub(super) async fn tagged(cloud: &Cloud, config: &NovaConfig) -> FoundByNova {
    let mut all = FoundByNova::default();
    let asked = match ask_hosts(cloud, config, &mut all.found).await {
        Ok(()) => ask_servers(cloud, config, &mut all).await,
        Err(error) => Err(error),
    };
    if let Err(error) = asked {
        all.found
            .take(Err(format!("Nova does not say all: {error}")));
    }
    all
}

async fn ask_hosts(
    cloud: &Cloud,
    config: &NovaConfig,
    found: &mut Found,
) -> Result<(), CloudError> {
    let query = [("binary", "nova-compute")];
    let answer: ServicesAnswer = cloud.get("/os-services", &query).await?;
    for service in answer.services {
        match config.host_named(&service.host) {
            Ok(host) => found.hosts.push(host),
            Err(why) => found.take(Err(why)),
        }
    }
    Ok(())
}

async fn ask_servers(
    cloud: &Cloud,
    config: &NovaConfig,
    all: &mut FoundByNova,
) -> Result<(), CloudError> {
    let mut last: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE)];
        query.extend(last.as_deref().map(|id| ("marker", id)));
        let page: Page = cloud.get("/servers/detail", &query).await?;
        let next = page.servers.last().map(|server| server.id.clone());
        for server in page.servers {
            let is_tagged = server.metadata.get(KEY).is_some_and(|tag| tag == FUNCTION);
            if !is_tagged || !RUNS.contains(&server.status.as_str()) {
                continue;
            }
            let tagged = read(config, &server);
            if let Ok(tagged) = &tagged {
                all.servers.entry(tagged.vm.clone()).or_insert(server.id);
            }
            all.found.take(tagged);
        }
        if next.is_none() || next == last {
            return Ok(());
        }
        last = next;
    }
}

fn read(config: &NovaConfig, server: &Listed) -> Result<Tagged, String> {
    if !is_id(&server.id) {
        return Err(format!(
            "Nova tells of a server by {:?}, which is no id",
            server.id
        ));
    }
    let named = config.servers.iter().find(|(_, id)| **id == server.id);
    let vm = match named {
        Some((vm, _)) => vm.clone(),
        None => VmName::new(&server.name).map_err(|error| {
            format!(
                "server {} is tagged as a function, and its name is none ({error}): give it one in engine.nova.servers",
                server.id
            )
        })?,
    };
    let host = server.host.as_deref().ok_or_else(|| {
        format!("Nova does not say where {vm} is: Forestall's role may not see it (os_compute_api:os-extended-server-attributes)")
    })?;
    let host = config.host_named(host)?;
    let say = |key| server.metadata.get(key).map(String::as_str);
    Tagged::read(vm, host, say(VIEWERS), say(LOAD))
}

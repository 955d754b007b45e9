//! What the Nova driver has to be told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use record::{HostName, VmName};
use serde::{Deserialize, Serialize};

/// Settings of the Nova driver. Who it is stands elsewhere ([`super::credentials`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NovaConfig {
    /// The cloud's name in `clouds.yaml`; the variables `OS_*` say who it is where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// The `clouds.yaml`, where it is none of those that OpenStack's own clients read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clouds_file: Option<PathBuf>,
    /// Asks Nova to force a migration to its end (post-copy where Nova permits it, else the guest is paused) that is not at
    /// its end after this. Never, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_complete_after_s: Option<u64>,
    /// Nova's id of each function's server.
    pub servers: BTreeMap<VmName, String>,
    /// Nova's names of the hosts whose name here is another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<HostName, String>,
}

impl NovaConfig {
    /// Nova's name of a host.
    #[must_use]
    pub fn host<'a>(&'a self, host: &'a HostName) -> &'a str {
        self.hosts.get(host).map_or(host.as_str(), String::as_str)
    }
    /// The host that Nova calls so.
    ///
    /// # Errors
    /// When it has no name here, and Nova's cannot be one.
    pub(super) fn host_named(&self, name: &str) -> Result<HostName, String> {
        let named = self.hosts.iter().find(|(_, own)| *own == name);
        match named {
            Some((host, _)) => Ok(host.clone()),
            None => HostName::new(name).map_err(|error| {
                format!("Nova has a host {name:?} ({error}): give it a name in engine.nova.hosts")
            }),
        }
    }
}

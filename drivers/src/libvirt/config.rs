//! What the libvirt driver has to be told.

use std::collections::BTreeMap;

use record::{HostName, VmName};
use serde::{Deserialize, Serialize};

/// Settings of the libvirt driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtConfig {
    /// Longest stop that may be planned for the last pages.
    pub downtime_limit_ms: u64,
    /// Rate that copying may use; libvirt counts in MiB/s.
    pub bandwidth_mib_per_s: u64,
    /// Switch to post-copy when pre-copy has not come to its end after this. Never, where nothing is said: a guest in
    /// post-copy is lost when either host fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_copy_after_s: Option<u64>,
    /// Slow the guest down when it writes faster than can be copied.
    #[serde(default)]
    pub auto_converge: bool,
    /// Encrypt the migration stream, with the certificates that both libvirtd have for it.
    #[serde(default)]
    pub tls: bool,
    /// Copy disks that are not shared. Without it libvirt refuses a guest that has one.
    #[serde(default)]
    pub copy_disks: bool,
    /// How each host's libvirtd is reached.
    pub hosts: BTreeMap<HostName, LibvirtHost>,
    /// Domains whose name is not their function's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub domains: BTreeMap<VmName, String>,
}

/// A host's libvirtd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtHost {
    /// How Forestall reaches it, as `virsh --connect` takes it: `qemu+ssh://root@edge-1/system`.
    pub uri: String,
    /// How the other hosts' libvirtd reach it, where that is another way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_uri: Option<String>,
    /// Where it takes a guest's memory, where that is another network: `tcp://10.1.0.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_uri: Option<String>,
}

impl LibvirtConfig {
    /// The domain of a function.
    #[must_use]
    pub fn domain<'a>(&'a self, vm: &'a VmName) -> &'a str {
        self.domains.get(vm).map_or(vm.as_str(), String::as_str)
    }
}

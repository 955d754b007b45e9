//! What the QEMU driver has to be told.

use std::collections::BTreeMap;

use record::{HostName, VmName};
use serde::{Deserialize, Serialize};

/// Settings of the QEMU driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuConfig {
    /// Longest stop that QEMU may plan for the last pages (`downtime-limit`).
    pub downtime_limit_ms: u64,
    /// Rate that copying may use (`max-bandwidth`).
    pub bandwidth_bytes_per_s: u64,
    /// Where each virtual machine may be, host by host.
    pub vms: BTreeMap<VmName, BTreeMap<HostName, QemuEnd>>,
}

/// A virtual machine's QEMU on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuEnd {
    /// Address of its monitor: `host:port` on the management network, or `unix:PATH` for a QEMU of this machine, in a folder
    /// that nobody else may enter. Not for a socket that is forwarded from elsewhere: when its tunnel breaks it looks as if
    /// QEMU had ended.
    pub monitor: String,
    /// Address at which it takes a migration, `host:port` on the management network.
    pub incoming: String,
    /// Program and arguments that start a QEMU on that host, held (`-S`) and waiting (`-incoming defer`), and return 0 once
    /// it has started.
    pub launch: Vec<String>,
}

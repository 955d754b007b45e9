//! Hosts in network namespaces, on a data plane and, apart from it, a management network.
//!
//! ```text
//!   robot ──┐                 ┌── user            data plane: bridge `data` in the switch's namespace
//!           ├──── switch ─────┤
//!   edge ───┘ (bridge + tap)  └── edge (bridge + tap)
//!   edge, edge, orchestrator ──── bridge `mgmt`   management: SNMP, QMP, migrations; rate-limited at the edges
//! ```

use std::net::Ipv4Addr;

use record::HostName;
use scenario::{Host, LabScenario, Role};

use crate::error::LabError;
use crate::process::run;

/// Where `ip netns` keeps namespaces.
pub const NETNS_FOLDER: &str = "/run/netns";
/// Every namespace of a lab begins with this.
pub const PREFIX: &str = "forestall-";
/// Interface of a host on the data plane. On an edge server it is a port of its bridge.
pub const DATA: &str = "data0";
/// Interface of a host on the management network.
const MANAGEMENT: &str = "mgmt0";
/// An edge server's bridge between the data plane and its virtual machine.
const BRIDGE: &str = "br0";
/// A virtual machine's port on an edge server.
pub const TAP: &str = "tap0";
/// The virtual machine's port at the bridge of an edge server that is a real machine, where a name of its own tells it from others.
pub const HOST_TAP: &str = "forestall0";
/// Namespace of the bridges, without its prefix.
pub const SWITCH: &str = "switch";

/// Namespace of a host.
#[must_use]
pub fn netns(host: &HostName) -> String {
    format!("{PREFIX}{host}")
}

/// The switch's port of the host that is the `index`th.
fn port(bridge: &str, index: usize) -> String {
    format!("{}{index}", &bridge[..1])
}

/// The port of a host on the bridge of the management network.
#[must_use]
pub fn management_port(scenario: &LabScenario, host: &HostName) -> String {
    let index = scenario.hosts.keys().position(|name| name == host);
    port("mgmt", index.unwrap_or_default())
}

/// Makes all namespaces, links and bridges of a scenario.
///
/// # Errors
/// When `ip` or `tc` refuses.
pub fn create(scenario: &LabScenario) -> Result<(), LabError> {
    let switch = switch();
    ip(&format!("netns add {switch}"))?;
    for bridge in ["data", "mgmt"] {
        ip(&format!("-n {switch} link add {bridge} type bridge"))?;
        ip(&format!("-n {switch} link set {bridge} up"))?;
    }
    for (index, (name, host)) in scenario.hosts.iter().enumerate() {
        let ns = netns(name);
        namespace(&ns)?;
        if host.data.is_some() {
            connect(&ns, DATA, "data", index)?;
        }
        if host.management.is_some() {
            connect(&ns, MANAGEMENT, "mgmt", index)?;
        }
        address(&ns, host)?;
        if *host.role.as_ref() == Role::Edge {
            limit_rate(&ns, scenario.migration.link_mbit_s)?;
        }
    }
    Ok(())
}

/// Makes a namespace on the management network that is no host of the scenario, and says which address it has there.
///
/// # Errors
/// When `ip` refuses, or no address is left.
pub fn create_beside(scenario: &LabScenario, ns: &str) -> Result<Ipv4Addr, LabError> {
    let free = free_management(scenario)
        .ok_or_else(|| LabError::Missing("a free address on the management network".into()))?;
    namespace(ns)?;
    connect(ns, MANAGEMENT, "mgmt", scenario.hosts.len())?;
    ip(&format!("-n {ns} addr add {free}/24 dev {MANAGEMENT}"))?;
    Ok(free)
}

/// An address on the management network that no host has.
fn free_management(scenario: &LabScenario) -> Option<Ipv4Addr> {
    let taken = || scenario.hosts.values().filter_map(|host| host.management);
    let [a, b, c, _] = taken().next()?.octets();
    let mut all = (2..=254).map(|last| Ipv4Addr::new(a, b, c, last));
    all.find(|address| taken().all(|taken| taken != *address))
}

/// Gives an edge server's bridge the name under which somebody else looks for it.
///
/// # Errors
/// When `ip` refuses.
pub fn rename_bridge(host: &HostName, name: &str) -> Result<(), LabError> {
    let ns = netns(host);
    // Kernels before 6.2 rename nothing that is up.
    ip(&format!("-n {ns} link set {BRIDGE} down"))?;
    ip(&format!("-n {ns} link set {BRIDGE} name {name}"))?;
    ip(&format!("-n {ns} link set {name} up"))
}

fn switch() -> String {
    format!("{PREFIX}{SWITCH}")
}

fn ip(line: &str) -> Result<(), LabError> {
    run("ip", &line.split_whitespace().collect::<Vec<_>>()).map(drop)
}

fn namespace(ns: &str) -> Result<(), LabError> {
    ip(&format!("netns add {ns}"))?;
    ip(&format!("-n {ns} link set lo up"))
}

/// Connects an interface of a namespace with a bridge of the switch, at the `index`th port.
fn connect(ns: &str, interface: &str, bridge: &str, index: usize) -> Result<(), LabError> {
    let (switch, port) = (switch(), port(bridge, index));
    ip(&format!(
        "-n {switch} link add {port} type veth peer name {interface} netns {ns}"
    ))?;
    ip(&format!("-n {switch} link set {port} master {bridge} up"))?;
    ip(&format!("-n {ns} link set {interface} up"))
}

fn address(ns: &str, host: &Host) -> Result<(), LabError> {
    let edge = *host.role.as_ref() == Role::Edge;
    if edge {
        ip(&format!("-n {ns} link add {BRIDGE} type bridge"))?;
        ip(&format!("-n {ns} link set {BRIDGE} up"))?;
        ip(&format!("-n {ns} link set {DATA} master {BRIDGE}"))?;
        ip(&format!("-n {ns} tuntap add {TAP} mode tap"))?;
        ip(&format!("-n {ns} link set {TAP} master {BRIDGE} up"))?;
    }
    if let Some(data) = host.data {
        // `brd` is a keyword of `ip`; prefixes are those of a small site.
        ip(&format!(
            "-n {ns} addr add {data}/24 dev {}",
            if edge { BRIDGE } else { DATA }
        ))?;
    }
    if let Some(management) = host.management {
        ip(&format!(
            "-n {ns} addr add {management}/24 dev {MANAGEMENT}"
        ))?;
    }
    Ok(())
}

/// The management link of an edge server sends at this rate and no faster.
fn limit_rate(ns: &str, mbit_per_s: f64) -> Result<(), LabError> {
    let bits = (mbit_per_s * 1e6) as u64;
    let line = format!(
        "-n {ns} qdisc add dev {MANAGEMENT} root tbf rate {bits}bit burst 512kb latency 50ms"
    );
    run("tc", &line.split_whitespace().collect::<Vec<_>>()).map(drop)
}

/// Makes the virtual machine's port at a bridge of this machine.
///
/// # Errors
/// When `ip` refuses.
pub fn attach(bridge: &str) -> Result<(), LabError> {
    run("ip", &["tuntap", "add", HOST_TAP, "mode", "tap"])?;
    run("ip", &["link", "set", HOST_TAP, "master", bridge, "up"]).map(drop)
}

fn is_attached() -> bool {
    nix::net::if_::if_nametoindex(HOST_TAP).is_ok()
}

/// What a lab has left of networks.
#[must_use]
pub fn leftovers() -> Vec<String> {
    let mut left = namespaces();
    if is_attached() {
        left.push(format!("the port {HOST_TAP}"));
    }
    left
}

/// Names of the namespaces that a lab has left.
fn namespaces() -> Vec<String> {
    let entries = std::fs::read_dir(NETNS_FOLDER)
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}

/// Removes the namespaces of a lab, with which their links go, and its port at a bridge.
///
/// # Errors
/// When `ip` refuses.
pub fn destroy() -> Result<(), LabError> {
    namespaces()
        .iter()
        .try_for_each(|name| run("ip", &["netns", "del", name]).map(drop))?;
    if is_attached() {
        run("ip", &["link", "del", HOST_TAP])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_the_hosts_has_an_address_of_its_own() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/reallocation");
        let scenario = scenario::Scenario::read(std::path::Path::new(folder)).unwrap();
        let scenario = LabScenario::new(scenario).unwrap();
        let free = free_management(&scenario).unwrap();
        assert_eq!(free, Ipv4Addr::new(10, 20, 0, 2));
        let mut all = scenario.hosts.values();
        assert!(all.all(|host| host.management != Some(free)));
    }
}

//! Hosts in network namespaces, on a data plane and, apart from it, a management network.
//!
//! ```text
//!   robot ──┐                 ┌── user            data plane: bridge `data` in the switch's namespace
//!           ├──── switch ─────┤
//!   edge ───┘ (bridge + tap)  └── edge (bridge + tap)
//!   edge, edge, orchestrator ──── bridge `mgmt`   management: SNMP, QMP, migrations; rate-limited at the edges
//! ```

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
    let switch = format!("{PREFIX}{SWITCH}");
    let ip = |line: &str| run("ip", &line.split_whitespace().collect::<Vec<_>>()).map(drop);
    ip(&format!("netns add {switch}"))?;
    for bridge in ["data", "mgmt"] {
        ip(&format!("-n {switch} link add {bridge} type bridge"))?;
        ip(&format!("-n {switch} link set {bridge} up"))?;
    }
    for (index, (name, host)) in scenario.hosts.iter().enumerate() {
        let ns = netns(name);
        ip(&format!("netns add {ns}"))?;
        ip(&format!("-n {ns} link set lo up"))?;
        let connect = |interface: &str, bridge: &str| -> Result<(), LabError> {
            let port = port(bridge, index);
            ip(&format!(
                "-n {switch} link add {port} type veth peer name {interface} netns {ns}"
            ))?;
            ip(&format!("-n {switch} link set {port} master {bridge} up"))?;
            ip(&format!("-n {ns} link set {interface} up"))
        };
        if host.data.is_some() {
            connect(DATA, "data")?;
        }
        if host.management.is_some() {
            connect(MANAGEMENT, "mgmt")?;
        }
        address(&ns, host, &ip)?;
        if *host.role.as_ref() == Role::Edge {
            limit_rate(&ns, scenario.migration.link_mbit_s)?;
        }
    }
    Ok(())
}

fn address(
    ns: &str,
    host: &Host,
    ip: &impl Fn(&str) -> Result<(), LabError>,
) -> Result<(), LabError> {
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

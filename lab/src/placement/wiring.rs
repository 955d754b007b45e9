//! Hosts in network namespaces, on switches, over links.
//!
//! ```text
//!   host ─data0─ link ─ port ─┐
//!                             bridge (switch) ─ port ─ link ─ port ─ bridge (its uplink)
//!   host ─data0─ link ─ port ─┘
//! ```
//!
//! All switches are bridges in one namespace. A connection that asks for nothing is a pair of virtual Ethernet devices; one that
//! asks for what netem can do is such a pair with netem at both ends, where the kernel has it; the rest is carried by
//! Forestall's forwarder between two TAP devices.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use link::netem;
use link::probe::namespace;
use record::HostName;
use scenario::Placement;
use scenario::placement::Connection;
use serde::{Deserialize, Serialize};

use crate::cgroup::ROOT;
use crate::check::Offer;
use crate::error::{LabError, file};
use crate::network::{PREFIX, netns};
use crate::process::{Place, Process, run};

/// A host's device on the data plane. On a host with virtual machines it is a port of its bridge.
pub const DATA: &str = "data0";
/// A host's bridge between the data plane and its virtual machines.
pub const BRIDGE: &str = "br0";
const SWITCHES: &str = "switch";
/// The forwarder has made its devices within this.
const DEVICES_WITHIN: Duration = Duration::from_secs(10);

/// A link that Forestall's forwarder carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Carried {
    /// Device at the end away from the root, and its namespace.
    pub lower: (PathBuf, String),
    /// At the other end.
    pub upper: (PathBuf, String),
    /// What happens to frames between them.
    pub shapes: [link::Shape; 2],
}

/// What the links of a measurement draw their jitter and loss from, by the name of its folder: measurements of the same path are draws of
/// their own, and the same one made again, since others disturbed it, has the same path.
#[must_use]
pub fn seed_of(folder: &Path) -> u64 {
    let name = folder.file_name().unwrap_or_default();
    // FNV-1a: the standard library's hash may differ with the next version of Rust.
    name.as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// How the delays of a placement are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkEmulation {
    /// By the kernel.
    Netem,
    /// By Forestall's forwarder, some links at least.
    Userspace,
    /// There are none.
    None,
}

impl LinkEmulation {
    /// As results say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Netem => "netem",
            Self::Userspace => "userspace",
            Self::None => "none",
        }
    }
}

/// Wires that stand; the links go with it, the namespaces with the lab's site.
#[derive(Debug)]
pub struct Wiring {
    /// How delays were made.
    pub emulation: LinkEmulation,
    _forwarder: Option<Process>,
}

/// One end of a connection and the namespace that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) namespace: String,
    pub(crate) device: String,
}

/// The forwarder of some links, where they need one.
#[derive(Debug)]
pub(crate) struct Strand {
    pub(crate) forwarder: Option<Process>,
}

impl Strand {
    /// Starts it where there is something to carry.
    pub(crate) fn start(carried: &[Carried], seed: u64, state: &Path) -> Result<Self, LabError> {
        let forwarder = (!carried.is_empty())
            .then(|| start_forwarder(carried, seed, state))
            .transpose()?;
        Ok(Self { forwarder })
    }

    /// Makes an end that is there, or will be once the forwarder has made it, a port of a bridge.
    pub(crate) fn join(&mut self, port: &Port, bridge: &str) -> Result<(), LabError> {
        wait_for(port, self.forwarder.as_mut())?;
        let Port { namespace, device } = port;
        ip(&format!(
            "-n {namespace} link set {device} master {bridge} up"
        ))
    }
}

impl Wiring {
    /// Makes hosts, switches and links of a placement.
    ///
    /// # Errors
    /// When `ip` or `tc` refuses or the forwarder does not start.
    pub fn stand(
        placement: &Placement,
        kernel: Kernel,
        seed: u64,
        state: &Path,
    ) -> Result<Self, LabError> {
        let switches = format!("{PREFIX}{SWITCHES}");
        ip(&format!("netns add {switches}"))?;
        for index in 0..placement.switches.len() {
            ip(&format!("-n {switches} link add sw{index} type bridge"))?;
            ip(&format!("-n {switches} link set sw{index} up"))?;
        }
        let mut carried = Vec::new();
        let bridge_of = |name: &str| {
            let index = placement.switches.keys().position(|one| one == name);
            format!("sw{}", index.unwrap_or_default())
        };
        let mut ports: Vec<(Port, String)> = Vec::new();
        for (index, (name, switch)) in placement.switches.iter().enumerate() {
            let Some(uplink) = &switch.uplink else {
                continue;
            };
            let ends = [format!("lo{index}"), format!("hi{index}")].map(|device| Port {
                namespace: switches.clone(),
                device,
            });
            connect(&ends, &switch.link, kernel, &mut carried)?;
            let [lower, upper] = ends;
            ports.push((lower, bridge_of(name)));
            ports.push((upper, bridge_of(uplink.as_ref())));
        }
        for (index, (name, host)) in placement.hosts.iter().enumerate() {
            let inside = netns(name);
            ip(&format!("netns add {inside}"))?;
            ip(&format!("-n {inside} link set lo up"))?;
            let lower = Port {
                namespace: inside,
                device: DATA.into(),
            };
            let upper = Port {
                namespace: switches.clone(),
                device: format!("ho{index}"),
            };
            let ends = [lower, upper];
            connect(&ends, &host.link, kernel, &mut carried)?;
            let [_, upper] = ends;
            ports.push((upper, bridge_of(host.switch.as_ref())));
        }
        let hosts = placement.hosts.values().map(|host| &host.link);
        let switches_links = placement.switches.values().map(|switch| &switch.link);
        let plain = |link: &Connection| link.up.is_plain() && link.down.is_plain();
        let emulation = if !carried.is_empty() {
            LinkEmulation::Userspace
        } else if hosts.chain(switches_links).all(plain) {
            LinkEmulation::None
        } else {
            LinkEmulation::Netem
        };
        let mut strand = Strand::start(&carried, seed, state)?;
        for (port, bridge) in &ports {
            strand.join(port, bridge)?;
        }
        for (name, host) in &placement.hosts {
            let inside = netns(name);
            let device = Port {
                namespace: inside.clone(),
                device: DATA.into(),
            };
            wait_for(&device, strand.forwarder.as_mut())?;
            ip(&format!("-n {inside} link set {DATA} up"))?;
            let on = if has_machines(placement, name) {
                ip(&format!("-n {inside} link add {BRIDGE} type bridge"))?;
                ip(&format!("-n {inside} link set {BRIDGE} up"))?;
                ip(&format!("-n {inside} link set {DATA} master {BRIDGE}"))?;
                BRIDGE
            } else {
                DATA
            };
            ip(&format!(
                "-n {inside} addr add {}/24 dev {on}",
                host.address
            ))?;
        }
        Ok(Self {
            emulation,
            _forwarder: strand.forwarder,
        })
    }
}

/// Whether the kernel has netem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It has.
    Netem,
    /// It has not.
    NoNetem,
}

impl From<&Offer> for Kernel {
    fn from(offer: &Offer) -> Self {
        if offer.netem {
            Self::Netem
        } else {
            Self::NoNetem
        }
    }
}

/// Whether a host carries virtual machines.
fn has_machines(placement: &Placement, host: &HostName) -> bool {
    placement
        .functions
        .iter()
        .any(|function| function.machine.is_some() && function.host.as_ref() == host)
}

pub(crate) fn ip(line: &str) -> Result<(), LabError> {
    run("ip", &line.split_whitespace().collect::<Vec<_>>()).map(drop)
}

/// Connects the lower end to the upper one, or notes that the forwarder shall.
pub(crate) fn connect(
    ends: &[Port; 2],
    link: &Connection,
    kernel: Kernel,
    carried: &mut Vec<Carried>,
) -> Result<(), LabError> {
    let [lower, upper] = ends;
    let shapes = [&link.up, &link.down];
    let words = shapes.map(netem::words);
    let plain = shapes.iter().all(|shape| shape.is_plain());
    let by_kernel = kernel == Kernel::Netem && words.iter().all(Option::is_some);
    if !plain && !by_kernel {
        let end = |port: &Port| (namespace(&port.namespace), port.device.clone());
        carried.push(Carried {
            lower: end(lower),
            upper: end(upper),
            shapes: shapes.map(Clone::clone),
        });
        return Ok(());
    }
    ip(&format!(
        "-n {} link add {} type veth peer name {} netns {}",
        upper.namespace, upper.device, lower.device, lower.namespace
    ))?;
    if plain {
        return Ok(());
    }
    // A shape is what happens to frames that leave by a device.
    for (port, words) in ends.iter().zip(words.iter().flatten()) {
        let line = format!(
            "-n {} qdisc add dev {} root {words}",
            port.namespace, port.device
        );
        run("tc", &line.split_whitespace().collect::<Vec<_>>())?;
    }
    Ok(())
}

fn start_forwarder(carried: &[Carried], seed: u64, state: &Path) -> Result<Process, LabError> {
    let path = state.join("links.json");
    let text = serde_json::to_string(&(seed, carried))
        .map_err(|error| LabError::Measure(error.to_string()))?;
    std::fs::write(&path, text).map_err(file(&path))?;
    let own = std::env::current_exe().map_err(file("/proc/self/exe"))?;
    let argv = [
        own.to_string_lossy().into_owned(),
        "lab".into(),
        "carry".into(),
        path.to_string_lossy().into_owned(),
    ];
    let place = Place::inside(format!("{PREFIX}{SWITCHES}"), format!("{ROOT}/links"));
    Process::start(&place, &argv, &state.join("links.log"))
}

/// Waits until a port is there, which a process makes.
pub(super) fn wait_for(port: &Port, mut maker: Option<&mut Process>) -> Result<(), LabError> {
    let begun = Instant::now();
    let line = format!("-n {} link show {}", port.namespace, port.device);
    while let Err(error) = ip(&line) {
        if let Some(maker) = maker.as_deref_mut() {
            maker.check()?;
        }
        if begun.elapsed() > DEVICES_WITHIN {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Carries links until `stop` is set, and says what passed: what the process that the lab starts does.
///
/// # Errors
/// When the list cannot be read, a device not be made, or forwarding fails.
pub fn carry(
    list: &Path,
    stop: &std::sync::atomic::AtomicBool,
) -> Result<Vec<[link::Traffic; 2]>, LabError> {
    let text = std::fs::read_to_string(list).map_err(file(list))?;
    let (seed, carried): (u64, Vec<Carried>) = serde_json::from_str(&text)
        .map_err(|error| LabError::Measure(format!("{}: {error}", list.display())))?;
    let tap = |(namespace, device): &(PathBuf, String)| link::Tap::create(namespace, device);
    let mut forwarders = Vec::new();
    for (number, one) in (0..).zip(&carried) {
        let ends = [tap(&one.lower)?, tap(&one.upper)?];
        let seed = seed.wrapping_add(number);
        forwarders.push(link::Forwarder::start(ends, one.shapes.clone(), seed)?);
    }
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    forwarders
        .into_iter()
        .map(|forwarder| forwarder.end().map_err(LabError::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::seed_of;

    #[test]
    fn each_measurement_draws_for_itself_and_the_same_one_as_before() {
        let names = ["dc-tokyo-1", "dc-tokyo-2", "dc-ohio-1", "sd-08.0-1", ""];
        let seeds: HashSet<u64> = names.map(|name| seed_of(Path::new(name))).into();
        assert_eq!(seeds.len(), names.len());
        assert_eq!(
            seed_of(Path::new("out/placement/dc-tokyo-1")),
            seed_of(Path::new("elsewhere/dc-tokyo-1"))
        );
        // The published vector of FNV-1a, 64 bits, for "a".
        assert_eq!(seed_of(Path::new("a")), 0xaf63_dc4c_8601_ec8c);
    }
}

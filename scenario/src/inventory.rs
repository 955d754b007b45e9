//! Which machines the hosts of a scenario are, where the lab does not make them itself: each is reached by ssh.
//!
//! The orchestrator is not bound: it runs where the command is given. All addresses are those that the machines have already, and
//! take the place of the scenario's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use record::HostName;
use serde::Deserialize;
use toml::Spanned;

use crate::error::ScenarioError;
use crate::lab::LabScenario;
use crate::read::parse_toml;
use crate::types::{Chain, Role, Viewer};

/// Version of the file.
pub const SCHEMA: u32 = 1;
/// Bits of an address that say its network. The guest knows no gateway.
pub const PREFIX_BITS: u32 = 24;
/// Longest name of a network interface (`IFNAMSIZ` of Linux, without its end).
const INTERFACE_BYTES_MAX: usize = 15;

/// Machines of hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Version of the format; [`SCHEMA`].
    pub schema: u32,
    /// What the function's virtual machine needs there.
    pub function: BoundFunction,
    /// The machine of each host but the orchestrator's.
    pub hosts: BTreeMap<HostName, Binding>,
}

/// The function on real machines.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundFunction {
    /// A free address of the data plane, which its virtual machine takes along when it moves.
    pub data: Spanned<Ipv4Addr>,
}

/// A machine that is a host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Whom `ssh` is told to reach: `user@machine`, or a `Host` of the user's own `ssh_config`.
    pub ssh: Spanned<String>,
    /// Its address on the data plane.
    pub data: Spanned<Ipv4Addr>,
    /// An edge server's address on the management network.
    pub management: Option<Spanned<Ipv4Addr>>,
    /// An edge server's bridge on the data plane: the virtual machine becomes a port of it.
    pub bridge: Option<Spanned<String>>,
}

/// What is wrong, and where in the text.
type Fault = Option<(usize, String)>;

impl Inventory {
    /// Reads the inventory of a scenario.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn read(path: &Path, scenario: &LabScenario) -> Result<Self, ScenarioError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text, scenario),
            Err(source) => Err(ScenarioError::ReadInventory {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Reads the inventory of a scenario from `text`; `path` is named in errors.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn parse(path: &Path, text: &str, scenario: &LabScenario) -> Result<Self, ScenarioError> {
        let inventory: Self = parse_toml(path, text)?;
        match inventory.fault(scenario) {
            Some((offset, message)) => Err(ScenarioError::at(path, text, offset, message)),
            None => Ok(inventory),
        }
    }

    /// The first thing that is wrong though each value by itself is not.
    fn fault(&self, scenario: &LabScenario) -> Fault {
        if self.schema != SCHEMA {
            let message = format!("schema is {}; this program reads {SCHEMA}", self.schema);
            return Some((0, message));
        }
        let video = &scenario.video;
        if video.chain != Chain::Forestall || video.viewer != Viewer::Forestall {
            let message = format!(
                "scenario {} has chain {:?} and viewer {:?}; on machines of an inventory both are \"forestall\"",
                scenario.name,
                video.chain.as_str(),
                video.viewer.as_str()
            );
            return Some((0, message));
        }
        self.host_fault(scenario)
            .or_else(|| self.words_fault())
            .or_else(|| self.machine_fault(scenario))
            .or_else(|| self.address_fault(scenario))
    }

    fn host_fault(&self, scenario: &LabScenario) -> Fault {
        for (name, binding) in &self.hosts {
            let wrong = |message: String| Some((binding.ssh.span().start, message));
            let Some(host) = scenario.hosts.get(name) else {
                let names: Vec<&str> = scenario.hosts.keys().map(HostName::as_str).collect();
                return wrong(format!(
                    "scenario {} has no host {name}; its hosts are {}",
                    scenario.name,
                    names.join(", ")
                ));
            };
            let of_edge = (binding.management.is_some(), binding.bridge.is_some());
            match (*host.role.get_ref(), of_edge) {
                (Role::Orchestrator, _) => {
                    return wrong(format!(
                        "host {name} is the orchestrator's, which runs where the command is given: it is bound to no machine"
                    ));
                }
                (Role::Edge, (true, true)) | (Role::Robot | Role::User, (false, false)) => {}
                (Role::Edge, _) => {
                    return wrong(format!(
                        "host {name} is an edge server, which needs `management` and `bridge`"
                    ));
                }
                (Role::Robot | Role::User, _) => {
                    return wrong(format!(
                        "host {name} is no edge server: it has no `management` and no `bridge`"
                    ));
                }
            }
        }
        let needed = scenario.hosts.iter().filter_map(|(name, host)| {
            let is_bound = *host.role.get_ref() != Role::Orchestrator;
            is_bound.then_some(name)
        });
        let mut unbound = needed.filter(|name| !self.hosts.contains_key(*name));
        unbound.next().map(|name| {
            let message = format!(
                "host {name} of scenario {} is bound to no machine: there is no [hosts.{name}]",
                scenario.name
            );
            (0, message)
        })
    }

    /// Words that go into command lines.
    fn words_fault(&self) -> Fault {
        for (name, binding) in &self.hosts {
            let ssh = binding.ssh.get_ref();
            let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
            if ssh.is_empty() || ssh.starts_with('-') || !ssh.chars().all(is_plain) {
                let message = format!(
                    "ssh of host {name} is {ssh:?}; it is one word that `ssh` takes as a destination, such as root@edge-a"
                );
                return Some((binding.ssh.span().start, message));
            }
            let bridge = binding.bridge.as_ref();
            if let Some(bridge) = bridge.filter(|one| !is_interface(one.get_ref())) {
                let message = format!(
                    "bridge of host {name} is {:?}, which is no name of a network interface",
                    bridge.get_ref()
                );
                return Some((bridge.span().start, message));
            }
        }
        None
    }

    /// Which host may be on which machine.
    fn machine_fault(&self, scenario: &LabScenario) -> Fault {
        let of = |role: Role| {
            let names = scenario.hosts_of(role).map(|(name, _)| name);
            names.filter_map(move |name| Some((name, self.hosts.get(name)?)))
        };
        if let (Some((robot, camera)), Some((user, player))) =
            (of(Role::Robot).next(), of(Role::User).next())
            && camera.ssh.get_ref() != player.ssh.get_ref()
        {
            let message = format!(
                "{robot} and {user} are bound to two machines: a delay is the difference of what the camera's clock and the player's say, so both have to be the same clock. Bind them to one machine"
            );
            return Some((player.ssh.span().start, message));
        }
        for (edge, binding) in of(Role::Edge) {
            let same = |(name, other): &(&HostName, &Binding)| {
                *name != edge && other.ssh.get_ref() == binding.ssh.get_ref()
            };
            if let Some((other, _)) = self.hosts.iter().find(same) {
                let message = format!(
                    "{edge} and {other} are bound to one machine, {:?}: an edge server is a machine of its own",
                    binding.ssh.get_ref()
                );
                return Some((binding.ssh.span().start, message));
            }
        }
        None
    }

    fn address_fault(&self, scenario: &LabScenario) -> Fault {
        let function = &self.function.data;
        let mut data = vec![("function".to_owned(), "", function)];
        let mut management: Vec<(String, &str, &Spanned<Ipv4Addr>)> = Vec::new();
        for (name, binding) in &self.hosts {
            // Camera and player are on one machine, and may have one address.
            let machine = binding.ssh.get_ref().as_str();
            data.push((format!("host {name}"), machine, &binding.data));
            if let Some(address) = &binding.management {
                management.push((format!("host {name}"), machine, address));
            }
        }
        for addresses in [&data, &management] {
            for (number, (what, machine, address)) in addresses.iter().enumerate() {
                let twice = addresses[..number].iter().find(|(_, other, same)| {
                    other != machine && same.get_ref() == address.get_ref()
                });
                if let Some((other, ..)) = twice {
                    let message =
                        format!("{} is given to {other} and to {what}", address.get_ref());
                    return Some((address.span().start, message));
                }
            }
        }
        let network = |address: &Ipv4Addr| address.to_bits() >> (u32::BITS - PREFIX_BITS);
        let mut others = data
            .iter()
            .filter(|(.., address)| network(address.get_ref()) != network(function.get_ref()));
        others.next().map(|(what, _, address)| {
            let message = format!(
                "data of {what} is {}, which is not in the network of {}'s virtual machine ({}/{PREFIX_BITS}); it knows no gateway",
                address.get_ref(),
                scenario.function.name,
                function.get_ref()
            );
            (address.span().start, message)
        })
    }
}

/// Whether a text is what Debian's tools take for the name of a network interface.
fn is_interface(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=INTERFACE_BYTES_MAX).contains(&name.len())
        && name.chars().all(is_allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Scenario;

    const TEXT: &str = r#"schema = 1
[function]
data = "192.0.2.100"
[hosts.robot]
ssh = "root@desk"
data = "192.0.2.21"
[hosts.user]
ssh = "root@desk"
data = "192.0.2.21"
[hosts.edge-user]
ssh = "root@edge-a"
data = "192.0.2.11"
management = "198.51.100.11"
bridge = "br0"
[hosts.edge-robot]
ssh = "root@edge-b"
data = "192.0.2.12"
management = "198.51.100.12"
bridge = "br-data.7"
"#;

    fn scenario(folder: &str) -> LabScenario {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../scenarios")
            .join(folder);
        LabScenario::new(Scenario::read(&folder).unwrap()).unwrap()
    }

    fn parse(text: &str) -> Result<Inventory, String> {
        Inventory::parse(Path::new("i.toml"), text, &scenario("reallocation"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_addresses_of_the_machines_take_the_place_of_the_scenario_s() {
        let scenario = scenario("reallocation");
        let inventory = parse(TEXT).unwrap();
        let bound = scenario.on(&inventory);
        assert_eq!(bound.function.data, Ipv4Addr::new(192, 0, 2, 100));
        for (name, data, management) in [
            ("robot", Some([192, 0, 2, 21]), None),
            ("user", Some([192, 0, 2, 21]), None),
            ("edge-user", Some([192, 0, 2, 11]), Some([198, 51, 100, 11])),
            (
                "edge-robot",
                Some([192, 0, 2, 12]),
                Some([198, 51, 100, 12]),
            ),
        ] {
            let host = &bound.hosts[&HostName::new(name).unwrap()];
            assert_eq!(host.data, data.map(Ipv4Addr::from), "{name}");
            assert_eq!(host.management, management.map(Ipv4Addr::from), "{name}");
            assert!(host.addressed(), "{name}");
        }
        // What a calibration depends on is not where the machines are.
        assert_eq!(bound.service(), scenario.service());
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (from, to, wanted) in [
            ("schema = 1", "schema = 2", "i.toml:1: schema is 2"),
            ("data = \"192.0.2.100\"", "", "missing field `data`"),
            (
                "[hosts.robot]",
                "[hosts.robbot]",
                "i.toml:5: scenario reallocation has no host robbot; its hosts are edge-robot, edge-user, orchestrator, robot, user",
            ),
            (
                "[hosts.robot]",
                "[hosts.orchestrator]",
                "i.toml:5: host orchestrator is the orchestrator's",
            ),
            (
                "[hosts.user]\nssh = \"root@desk\"\ndata = \"192.0.2.21\"\n",
                "",
                "i.toml:1: host user of scenario reallocation is bound to no machine",
            ),
            (
                "bridge = \"br0\"\n",
                "",
                "i.toml:11: host edge-user is an edge server, which needs `management` and `bridge`",
            ),
            (
                "data = \"192.0.2.21\"\n[hosts.user]",
                "data = \"192.0.2.21\"\nbridge = \"br0\"\n[hosts.user]",
                "i.toml:5: host robot is no edge server",
            ),
            ("\"br0\"", "\"br 0\"", "i.toml:14: bridge of host edge-user"),
            (
                "\"br0\"",
                "\"-br0\"",
                "which is no name of a network interface",
            ),
            ("\"br0\"", "\"sixteen-letters0\"", "which is no name of a"),
            (
                "root@edge-a",
                "-oProxyCommand=x",
                "i.toml:11: ssh of host edge-user is \"-oProxyCommand=x\"",
            ),
            ("root@edge-a", "root@edge a", "it is one word"),
            ("root@edge-a", "", "it is one word"),
            (
                "[hosts.user]\nssh = \"root@desk\"",
                "[hosts.user]\nssh = \"root@sofa\"",
                "i.toml:8: robot and user are bound to two machines",
            ),
            (
                "root@edge-b",
                "root@edge-a",
                "edge-robot and edge-user are bound to one machine, \"root@edge-a\"",
            ),
            (
                "root@edge-b",
                "root@desk",
                "edge-robot and robot are bound to one machine",
            ),
            (
                "192.0.2.12",
                "192.0.2.11",
                "192.0.2.11 is given to host edge-robot and to host edge-user",
            ),
            (
                "192.0.2.100",
                "192.0.2.12",
                "192.0.2.12 is given to function and to host edge-robot",
            ),
            (
                "198.51.100.12",
                "198.51.100.11",
                "198.51.100.11 is given to host edge-robot and to host edge-user",
            ),
            (
                "192.0.2.12",
                "192.0.3.12",
                "i.toml:17: data of host edge-robot is 192.0.3.12, which is not in the network of text-insertion's",
            ),
            (
                "\"192.0.2.11\"",
                "\"edge-a\"",
                "invalid IPv4 address syntax",
            ),
            ("bridge", "bridges", "unknown field `bridges`"),
            ("[function]", "[functions]", "unknown field `functions`"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = parse(&TEXT.replacen(from, to, 1)).expect_err(to);
            assert!(error.contains(wanted), "{to}: {error}");
        }
    }

    #[test]
    fn other_programs_of_the_video_are_refused() {
        let scenario = scenario("reallocation-ffmpeg");
        let error = Inventory::parse(Path::new("i.toml"), TEXT, &scenario).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("has chain \"ffmpeg\""), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let scenario = scenario("reallocation");
        let error = Inventory::read(Path::new("/no/such.toml"), &scenario).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("cannot read /no/such.toml: "), "{error}");
        assert!(!error.contains("scenario.toml"), "{error}");
    }
}

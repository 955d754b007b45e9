//! Where the functions of a service are, and over which links its video goes: section 3 of the thesis asks what that does to the
//! delay. Nothing is loaded and nothing moves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use link::Shape;
use record::HostName;
use serde::Deserialize;
use toml::Spanned;

use crate::error::ScenarioError;
use crate::read::{parse_toml, text_in};
use crate::types::{Chain, Video, Viewer};

/// Name of the file in a placement's folder.
pub const FILE_NAME: &str = "placement.toml";
/// Version of the file.
pub const SCHEMA: u32 = 1;

/// Hosts, links and functions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// Version of the format; [`SCHEMA`].
    pub schema: u32,
    /// Name of the folder, and of the results.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The camera's picture and its coding, and the programs that carry it.
    pub video: Video,
    /// How the player takes the video.
    pub transport: Transport,
    /// Switches by name; one of them, the root, has no uplink.
    pub switches: BTreeMap<String, Switch>,
    /// Where the camera is.
    pub robot: Spanned<HostName>,
    /// Where the screen is.
    pub user: Spanned<HostName>,
    /// Machines by name.
    pub hosts: BTreeMap<HostName, Station>,
    /// What the video passes, in this order; none when it goes straight to the user.
    #[serde(default)]
    pub functions: Vec<PlacedFunction>,
    /// The text that is inserted.
    #[serde(default)]
    pub text: String,
    /// Round trips are measured through a VPN between the user and the last function, too; video goes without.
    #[serde(default)]
    pub vpn: bool,
}

/// How the player takes the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Over HTTP from the streaming server.
    Tcp,
    /// Datagrams from whoever is last.
    Udp,
}

/// A switch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// The switch that it is connected to, towards the root.
    pub uplink: Option<Spanned<String>>,
    /// What that connection does.
    #[serde(default)]
    pub link: Connection,
}

/// A machine on a switch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Station {
    /// Which one.
    pub switch: Spanned<String>,
    /// Its address.
    pub address: Ipv4Addr,
    /// What its connection does.
    #[serde(default)]
    pub link: Connection,
}

/// Both directions of a connection; what is left out is a plain cable.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Towards the root.
    #[serde(default)]
    pub up: Shape,
    /// Away from the root.
    #[serde(default)]
    pub down: Shape,
}

/// A function of the service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedFunction {
    /// What it does.
    pub does: Stage,
    /// Where.
    pub host: Spanned<HostName>,
    /// Address of its virtual machine; left out: it runs on the host itself.
    pub machine: Option<Ipv4Addr>,
}

/// What a function does to the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Decodes, draws text, encodes.
    TextInsertion,
    /// Passes packets on.
    Relay,
    /// Gives the stream to players.
    Streaming,
}

impl Stage {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TextInsertion => "text-insertion",
            Self::Relay => "relay",
            Self::Streaming => "streaming",
        }
    }
}

impl Placement {
    /// Reads a placement from its folder or file.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let (file, text) = text_in(path, FILE_NAME)?;
        Self::parse(&file, &text)
    }

    /// Reads a placement from `text`; `path` is named in errors.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let at = |offset, message: String| ScenarioError::at(path, text, offset, message);
        let placement: Self = parse_toml(path, text)?;
        match placement.fault() {
            Some((offset, message)) => Err(at(offset, message)),
            None => Ok(placement),
        }
    }

    /// Connections that the video passes between two hosts: cables, not switches. `None` when one is not there.
    #[must_use]
    pub fn links_between(&self, from: &HostName, to: &HostName) -> Option<usize> {
        if from == to {
            return self.hosts.contains_key(from).then_some(0);
        }
        let way = |host: &HostName| Some(self.to_root(self.hosts.get(host)?.switch.as_ref()));
        let (from, to) = (way(from)?, way(to)?);
        let shared = from
            .iter()
            .rev()
            .zip(to.iter().rev())
            .take_while(|(a, b)| a == b)
            .count();
        // A cable from each host to its switch, and one for each switch on the way to the one that both ways share.
        Some(2 + (from.len() - shared) + (to.len() - shared))
    }

    /// A switch and those between it and the root.
    fn to_root<'a>(&'a self, switch: &'a str) -> Vec<&'a str> {
        let mut way = vec![switch];
        while let Some(uplink) = way
            .last()
            .and_then(|last| self.switches.get(*last)?.uplink.as_ref())
        {
            if way.contains(&uplink.as_ref().as_str()) {
                break;
            }
            way.push(uplink.as_ref());
        }
        way
    }

    /// The first thing that is wrong though each value by itself is not, with its place in the text.
    fn fault(&self) -> Option<(usize, String)> {
        if self.schema != SCHEMA {
            let message = format!("schema is {}; this program reads {SCHEMA}", self.schema);
            return Some((0, message));
        }
        // `ffmpeg -listen 1` takes one viewer, once: ffplay, which gives up where nobody listens yet, would have to hit that moment.
        if self.video.viewer != Viewer::Forestall && self.video.chain != Chain::Forestall {
            let message =
                "video: in a placement ffplay views the chain forestall and no other".to_owned();
            return Some((0, message));
        }
        self.switch_fault()
            .or_else(|| self.host_fault())
            .or_else(|| self.function_fault())
            .or_else(|| self.link_fault())
    }

    fn switch_fault(&self) -> Option<(usize, String)> {
        let roots = self.switches.values().filter(|one| one.uplink.is_none());
        let roots = roots.count();
        if roots != 1 {
            let message = format!("switches: one has no uplink, here are {roots}");
            return Some((0, message));
        }
        for (name, switch) in &self.switches {
            let Some(uplink) = &switch.uplink else {
                continue;
            };
            if !self.switches.contains_key(uplink.as_ref()) {
                let message = format!("uplink of switch {name} is {uplink:?}, which is none");
                return Some((uplink.span().start, message));
            }
            let root = self.to_root(name).pop();
            let ends_at_root = root
                .and_then(|root| self.switches.get(root))
                .is_some_and(|switch| switch.uplink.is_none());
            if !ends_at_root {
                let message = format!("the uplinks of switch {name} go round in a ring");
                return Some((uplink.span().start, message));
            }
        }
        None
    }

    fn host_fault(&self) -> Option<(usize, String)> {
        let names = || {
            let names: Vec<&str> = self.hosts.keys().map(HostName::as_str).collect();
            names.join(", ")
        };
        let named = [("robot", &self.robot), ("user", &self.user)];
        let functions = self.functions.iter().map(|f| (f.does.as_str(), &f.host));
        for (what, host) in named.into_iter().chain(functions) {
            if !self.hosts.contains_key(host.as_ref()) {
                let message = format!(
                    "{what} is on {}, which is no host; those are {}",
                    host.as_ref(),
                    names()
                );
                return Some((host.span().start, message));
            }
        }
        for (name, host) in &self.hosts {
            if !self.switches.contains_key(host.switch.as_ref()) {
                let message = format!(
                    "host {name} is on switch {:?}, which is none",
                    host.switch.as_ref()
                );
                return Some((host.switch.span().start, message));
            }
        }
        None
    }

    fn function_fault(&self) -> Option<(usize, String)> {
        let mut addresses: BTreeSet<Ipv4Addr> = BTreeSet::new();
        let hosts = self.hosts.values().map(|host| (&host.switch, host.address));
        for (place, address) in hosts {
            if !addresses.insert(address) {
                return Some((place.span().start, format!("{address} is given twice")));
            }
        }
        for function in &self.functions {
            if let Some(address) = function.machine.filter(|a| !addresses.insert(*a)) {
                let message = format!("{address} is given twice");
                return Some((function.host.span().start, message));
            }
        }
        let stages: Vec<Stage> = self.functions.iter().map(|f| f.does).collect();
        if let Some(two) = stages.windows(2).find(|two| two[0] >= two[1]) {
            let message = format!(
                "functions: {} stands before {}; each is there once at most, text-insertion before relay before streaming",
                two[0].as_str(),
                two[1].as_str()
            );
            return Some((0, message));
        }
        let streams = stages.contains(&Stage::Streaming);
        match (self.transport, streams) {
            (Transport::Tcp, false) => Some((
                0,
                "transport is tcp, which only a function that does `streaming` speaks".into(),
            )),
            (Transport::Udp, true) => Some((
                0,
                "transport is udp, which a function that does `streaming` does not speak".into(),
            )),
            _ => None,
        }
    }

    fn link_fault(&self) -> Option<(usize, String)> {
        let switches = self.switches.iter().map(|(name, one)| {
            let place = one.uplink.as_ref().map_or(0, |uplink| uplink.span().start);
            (format!("switch {name}"), &one.link, place)
        });
        let hosts = self.hosts.iter().map(|(name, one)| {
            let place = one.switch.span().start;
            (format!("host {name}"), &one.link, place)
        });
        for (what, link, place) in switches.chain(hosts) {
            for (direction, shape) in [("up", &link.up), ("down", &link.down)] {
                if let Err(error) = shape.check() {
                    return Some((place, format!("link of {what}, {direction}: {error}")));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"schema = 1
name = "x"
title = "y"
transport = "tcp"
robot = "robot"
user = "user"
text = "Kaffee"
[video]
chain = "forestall"
width = 320
height = 240
fps = 30
bitrate_kbps = 600
gop = 15
[switches.core]
[switches.near]
uplink = "core"
[switches.far]
uplink = "core"
link = { up = { delay_ms = 1 } }
[hosts.robot]
switch = "far"
address = "10.40.0.2"
[hosts.user]
switch = "near"
address = "10.40.0.3"
[hosts.edge]
switch = "near"
address = "10.40.0.4"
[[functions]]
does = "text-insertion"
host = "edge"
machine = "10.40.0.5"
[[functions]]
does = "streaming"
host = "edge"
"#;

    fn parse(text: &str) -> Result<Placement, String> {
        Placement::parse(Path::new("p.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_placement_is_read_and_links_are_counted() {
        let placement = parse(TEXT).unwrap();
        let host = |name| HostName::new(name).unwrap();
        for (from, to, wanted) in [
            ("edge", "user", Some(2)),
            ("robot", "user", Some(4)),
            ("robot", "robot", Some(0)),
            ("robot", "nobody", None),
        ] {
            assert_eq!(placement.links_between(&host(from), &host(to)), wanted);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (from, to, wanted) in [
            ("schema = 1", "schema = 2", "p.toml:1: schema is 2"),
            (
                "host = \"edge\"\nmachine",
                "host = \"egde\"\nmachine",
                "p.toml:32: text-insertion is on egde, which is no host; those are edge, robot, user",
            ),
            (
                "switch = \"far\"",
                "switch = \"fra\"",
                "p.toml:22: host robot is on switch \"fra\"",
            ),
            (
                "[switches.core]\n",
                "[switches.core]\nuplink = \"near\"\n",
                "one has no uplink, here are 0",
            ),
            ("10.40.0.5", "10.40.0.4", "10.40.0.4 is given twice"),
            ("\"tcp\"", "\"udp\"", "transport is udp"),
            (
                "does = \"streaming\"",
                "does = \"relay\"",
                "transport is tcp",
            ),
            (
                "does = \"text-insertion\"",
                "does = \"streaming\"",
                "streaming stands before streaming",
            ),
            (
                "delay_ms = 1 ",
                "delay_ms = -1 ",
                "link of switch far, up: delay_ms is -1",
            ),
            (
                "chain = \"forestall\"",
                "chain = \"ffmpeg\"\nviewer = \"ffplay\"",
                "ffplay views the chain forestall and no other",
            ),
            ("width = 320", "width = \"x\"", "p.toml:10: invalid type"),
            ("title", "tilte", "unknown field"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = parse(&TEXT.replacen(from, to, 1)).expect_err(to);
            assert!(error.contains(wanted), "{to}: {error}");
        }
    }

    #[test]
    fn uplinks_that_go_round_are_refused() {
        let text = TEXT.replacen(
            "[switches.near]\nuplink = \"core\"",
            "[switches.a]\nuplink = \"b\"\n[switches.b]\nuplink = \"a\"\n[switches.near]\nuplink = \"core\"",
            1,
        );
        assert!(parse(&text).unwrap_err().contains("go round in a ring"));
    }
}

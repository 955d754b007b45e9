//! The orchestrator's configuration, one TOML file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use control::Settings;
use drivers::libvirt::LibvirtConfig;
use drivers::nova::NovaConfig;
use drivers::qemu::QemuConfig;
use record::HostName;
use serde::{Deserialize, Serialize};

use crate::alarm::AlarmSettings;
use crate::api::Api;
use crate::discover::Discover;
use crate::log::LogFormat;
use crate::measured;
use crate::prometheus::Prometheus;
use crate::snmp::Snmp;

/// Version of the file. 3: the journal is one file, there is a choice of engines, and settings say how far it is trusted.
pub const SCHEMA: u32 = 3;
/// Size of a journal, where nothing is said of it.
const JOURNAL_MIB: u64 = 512;

/// Everything that `forestall orchestrate` has to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the format; 3.
    pub schema: u32,
    /// The journal, a file; it is made if it is not there, its folder is not.
    pub journal: PathBuf,
    /// Largest size of the journal, 512 where nothing is said: what is oldest goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_mib_max: Option<u64>,
    /// How the log is written; in words, where nothing is said.
    #[serde(default)]
    pub log: LogFormat,
    /// A machine's profile, as `lab calibrate` writes it: it says what `control` leaves out (knee, picture age, load and moves).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<PathBuf>,
    /// Folder for `inputs.jsonl`, `decisions.jsonl` and `moves.jsonl`, which have everything and grow without end: for
    /// experiments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<PathBuf>,
    /// How old the picture on a viewer's screen may be, 95th percentile: from which load of a host on it is older, viewers' reports
    /// teach. Where nothing is said, they teach nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<f64>,
    /// Where it answers, and whom; nowhere where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// Who is told of what a person has to look at, besides the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<AlarmSettings>,
    /// Hosts whose load an SNMP agent tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snmp: Option<Snmp>,
    /// Hosts whose load an exporter of Prometheus tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,
    /// Functions come from the engine, too: those whose metadata says that they are one, and what they have of which it says no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discover: Option<Discover>,
    /// Hosts by the site where they are, for the dashboard's map; those that no site names stand apart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sites: BTreeMap<String, BTreeSet<HostName>>,
    /// When and where to move.
    pub control: Settings,
    /// How to move.
    pub engine: Engine,
}

/// What moves virtual machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// QEMU, by its own monitor.
    Qemu(QemuConfig),
    /// libvirt, by `virsh`.
    Libvirt(LibvirtConfig),
    /// OpenStack Nova, by its REST API.
    Nova(NovaConfig),
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error("{path}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where it is known.
        message: String,
    },
}

impl Config {
    /// Largest size of the journal.
    #[must_use]
    pub fn journal_size_max_bytes(&self) -> u64 {
        self.journal_mib_max.unwrap_or(JOURNAL_MIB) << 20
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// With the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |message: String| ConfigError::Wrong {
            path: path.to_owned(),
            message,
        };
        let config = parse(&text).map_err(wrong)?;
        if config.schema != SCHEMA {
            return Err(wrong(format!(
                "schema is {}; this program reads {SCHEMA}",
                config.schema
            )));
        }
        config
            .control
            .check()
            .map_err(|error| wrong(format!("control: {error}")))?;
        if let Some(budget_ms) = config.budget_ms
            && !(budget_ms > 0.0 && budget_ms.is_finite())
        {
            let why = "it must be over 0, in milliseconds";
            return Err(wrong(format!("budget_ms is {budget_ms}: {why}")));
        }
        config.check_sites().map_err(wrong)?;
        config.check_sources().map_err(wrong)?;
        config.check_engine().map_err(wrong)?;
        if let Some(discover) = &config.discover {
            discover.check().map_err(wrong)?;
        }
        if let Some(api) = &config.api {
            api.check().map_err(|error| wrong(error.to_string()))?;
        }
        Ok(config)
    }

    /// Whether what is said of the engine goes together, and with the hosts.
    fn check_engine(&self) -> Result<(), String> {
        match &self.engine {
            Engine::Qemu(_) if self.discover.is_some() => Err(
                "[discover] needs an engine that knows its machines, libvirt or Nova: name those of QEMU in control.functions".into(),
            ),
            Engine::Qemu(qemu) => qemu
                .check()
                .map_err(|error| format!("engine.qemu: {error}")),
            Engine::Libvirt(libvirt) => {
                let mut hosts = self.control.hosts.iter();
                match hosts.find(|host| !libvirt.hosts.contains_key(*host)) {
                    Some(host) => Err(format!(
                        "nobody says how libvirt on host {host} is reached: engine.libvirt.hosts does not name it"
                    )),
                    None => Ok(()),
                }
            }
            Engine::Nova(_) => Ok(()),
        }
    }

    /// Whether each host is at one site at most.
    fn check_sites(&self) -> Result<(), String> {
        let mut placed = BTreeSet::new();
        for (site, hosts) in &self.sites {
            for host in hosts {
                if !self.control.hosts.contains(host) {
                    return Err(format!(
                        "sites.{site} names {host}, which is not among control.hosts"
                    ));
                }
                if !placed.insert(host) {
                    return Err(format!("sites names {host} twice: it is at one site"));
                }
            }
        }
        Ok(())
    }

    /// Whether the load of each host is told by one, and what is said of those who tell it is whole.
    fn check_sources(&self) -> Result<(), String> {
        if let Some(snmp) = &self.snmp {
            snmp.check().map_err(|error| error.to_string())?;
        }
        if let Some(prometheus) = &self.prometheus {
            prometheus.check().map_err(|error| error.to_string())?;
        }
        for host in &self.control.hosts {
            let agent = self
                .snmp
                .as_ref()
                .map(|snmp| snmp.agents.contains_key(host));
            let exporter = self.prometheus.as_ref();
            let exporter = exporter.map(|told| told.tells(host));
            match (agent.unwrap_or(false), exporter.unwrap_or(false)) {
                (true, false) | (false, true) => {}
                (false, false) => {
                    return Err(format!(
                        "nobody tells the load of host {host}: neither snmp.agents nor prometheus.exporters nor prometheus.server.instances names it"
                    ));
                }
                (true, true) => {
                    return Err(format!(
                        "two tell the load of host {host}: take it out of snmp.agents or of prometheus"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Parses the file; with a profile, what it leaves out is filled in first.
fn parse(text: &str) -> Result<Config, String> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| place(text, &error))?;
    let Some(profile) = table.get("profile") else {
        return toml::from_str(text).map_err(|error| place(text, &error));
    };
    let path = profile
        .as_str()
        .ok_or("profile: it is the path of a file")?;
    let profile = record::Profile::read(Path::new(path)).map_err(|error| error.to_string())?;
    measured::fill(&mut table, &profile)?;
    // What was filled in has no line, so that an error names the key instead.
    let config = table.try_into();
    config.map_err(|error: toml::de::Error| error.to_string().trim_end().replace('\n', " "))
}

/// An error with its line, but without the line's text: somebody may have written a password there.
fn place(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.matches('\n').count() + 1);
    line.map_or_else(
        || error.message().to_owned(),
        |line| format!("line {line}: {}", error.message()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_at_one_site() {
        let shipped = include_str!("../../packaging/forestall.toml");
        for (sites, refused) in [
            ("osaka = [\"edge-1\"]\nkyoto = [\"edge-2\"]", None),
            ("osaka = [\"edge-1\"]", None),
            (
                "osaka = [\"edge-1\"]\nkyoto = [\"edge-1\"]",
                Some("names edge-1 twice"),
            ),
            (
                "osaka = [\"edge-9\"]",
                Some("sites.osaka names edge-9, which is not among control.hosts"),
            ),
        ] {
            let config = parse(&format!("{shipped}\n[sites]\n{sites}\n")).unwrap();
            match (config.check_sites(), refused) {
                (Ok(()), None) => {}
                (Err(error), Some(words)) => assert!(error.contains(words), "{error}"),
                (other, _) => panic!("{sites}: {other:?}"),
            }
        }
    }
}

//! The section `[prometheus]` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use record::HostName;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::query;
use crate::snmp::{SecretError, SecretSource};

/// The kernel counts in hundredths of a second: over less than this a share of one processor is hardly told.
const POLL_MS_MIN: u64 = 200;

/// Exporters, and how to ask them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// How often each exporter is asked, 200 at least. It reads the kernel's counters each time: a sample is a mean from one poll to
    /// the next.
    pub poll_ms: u64,
    /// Where what the header `Authorization` is to say stands (`Basic …`, `Bearer …`); none is sent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<SecretSource>,
    /// Certificates (PEM) that an `https://` exporter's may be signed with, besides those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Addresses of their metrics by host, as `http://192.0.2.7:9100/metrics`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exporters: BTreeMap<HostName, String>,
    /// A Prometheus server, which scrapes others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

/// A Prometheus server, and what it scrapes. Samples are as old as its last scrape, by its clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its address, as `http://192.0.2.9:9090`.
    pub url: String,
    /// What it calls each host's `node_exporter`, the label `instance`, as `192.0.2.7:9100`.
    pub instances: BTreeMap<HostName, String>,
}

/// Why the section cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// Too often.
    #[error("prometheus.poll_ms is {0}: it must be {POLL_MS_MIN} or more")]
    Poll(u64),
    /// Nobody is to be asked.
    #[error("prometheus.exporters names none, and prometheus.server no instance")]
    NoExporter,
    /// A host is to be asked for in two ways.
    #[error("prometheus: {0} is named in exporters and in server.instances: one is enough")]
    Twice(HostName),
    /// An address is none.
    #[error("prometheus.{key}: {why}")]
    Address {
        /// Where it stands.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// What the exporters are to be told cannot be read.
    #[error("prometheus.authorization: {0}")]
    Secret(#[from] SecretError),
    /// It cannot stand in a header. Not shown: it is a secret.
    #[error("prometheus.authorization: it has characters that no header may have")]
    Header,
    /// Certificates cannot be read.
    #[error("prometheus.ca_file: {path}: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no HTTP to be had.
    #[error("prometheus: {0}")]
    Client(String),
}

impl Prometheus {
    /// Looks whether the section is whole, without reading a secret.
    ///
    /// # Errors
    /// With the key that is wrong.
    pub fn check(&self) -> Result<(), PrometheusError> {
        if self.poll_ms < POLL_MS_MIN {
            return Err(PrometheusError::Poll(self.poll_ms));
        }
        if self.exporters.is_empty() && self.instances().next().is_none() {
            return Err(PrometheusError::NoExporter);
        }
        if let Some((host, _)) = self
            .instances()
            .find(|(host, _)| self.exporters.contains_key(*host))
        {
            return Err(PrometheusError::Twice(host.clone()));
        }
        for (host, address) in &self.exporters {
            exporter_url(host, address)?;
        }
        if let Some(server) = &self.server {
            query_url(server)?;
        }
        Ok(())
    }

    /// Whether it tells the load of a host.
    pub(crate) fn tells(&self, host: &HostName) -> bool {
        self.exporters.contains_key(host) || self.instances().any(|(named, _)| named == host)
    }

    /// What a server is asked for, by host.
    pub(super) fn instances(&self) -> impl Iterator<Item = (&HostName, &String)> {
        self.server.iter().flat_map(|server| &server.instances)
    }

    /// Time between two polls of an exporter.
    pub(super) const fn period(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}

pub(super) fn exporter_url(host: &HostName, address: &str) -> Result<Url, PrometheusError> {
    url(format!("exporters: {host}"), address)
}

/// Where a server answers queries.
pub(super) fn query_url(server: &Server) -> Result<Url, PrometheusError> {
    let address = format!("{}{}", server.url.trim_end_matches('/'), query::PATH);
    url("server.url".into(), &address)
}

fn url(key: String, address: &str) -> Result<Url, PrometheusError> {
    let wrong = |why: &str| PrometheusError::Address {
        key: key.clone(),
        why: why.into(),
    };
    // Not shown: somebody may have written a password there.
    let url: Url = address.parse().map_err(|_| wrong("that is no address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("that is no http:// or https:// address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "user and password do not belong there: prometheus.authorization takes them",
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let section: Prometheus = toml::from_str(text).unwrap();
        section.check().unwrap_err().to_string()
    }

    #[test]
    fn sections() {
        let text = "poll_ms = 1000\n[exporters]\na = \"http://192.0.2.7:9100/metrics\"";
        toml::from_str::<Prometheus>(text).unwrap().check().unwrap();
        let often = refusal("poll_ms = 100\n[exporters]");
        assert!(often.contains("200 or more"), "{often}");
        let none = refusal("poll_ms = 1000\n[exporters]");
        assert!(none.contains("names none"), "{none}");
        for (address, why) in [
            ("192.0.2.7", "no address"),
            ("ftp://192.0.2.7/", "no http"),
            ("http://u:canary@192.0.2.7/", "authorization takes them"),
        ] {
            let said = refusal(&format!("poll_ms = 1000\n[exporters]\na = \"{address}\""));
            assert!(said.contains(why) && !said.contains("canary"), "{said}");
        }
        let server =
            "poll_ms = 1000\n[server]\nurl = \"http://192.0.2.9:9090/\"\n[server.instances]\n";
        let one = format!("{server}a = \"192.0.2.7:9100\"");
        let section: Prometheus = toml::from_str(&one).unwrap();
        section.check().unwrap();
        assert!(section.tells(&HostName::new("a").unwrap()));
        let url = query_url(section.server.as_ref().unwrap()).unwrap();
        assert_eq!(url.as_str(), "http://192.0.2.9:9090/api/v1/query");
        let none = refusal(server);
        assert!(none.contains("no instance"), "{none}");
        let elsewhere = refusal(&one.replace("http://", "http://u:canary@"));
        assert!(elsewhere.contains("prometheus.server.url") && !elsewhere.contains("canary"));
        let twice = refusal(&format!(
            "{one}\n[exporters]\na = \"http://192.0.2.7:9100/metrics\""
        ));
        assert!(twice.contains("one is enough"), "{twice}");
    }
}

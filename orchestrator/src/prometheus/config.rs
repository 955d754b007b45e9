//! The section `[prometheus]` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use record::HostName;
use reqwest::Url;
use serde::{Deserialize, Serialize};

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
    pub exporters: BTreeMap<HostName, String>,
}

/// Why the section cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// Too often.
    #[error("prometheus.poll_ms is {0}: it must be {POLL_MS_MIN} or more")]
    Poll(u64),
    /// Nobody is to be asked.
    #[error("prometheus.exporters names none")]
    NoExporter,
    /// An address is none.
    #[error("prometheus.exporters: {host}: {why}")]
    Address {
        /// The host.
        host: HostName,
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
        if self.exporters.is_empty() {
            return Err(PrometheusError::NoExporter);
        }
        for (host, address) in &self.exporters {
            url(host, address)?;
        }
        Ok(())
    }

    /// Time between two polls of an exporter.
    pub(super) const fn period(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}

pub(super) fn url(host: &HostName, address: &str) -> Result<Url, PrometheusError> {
    let wrong = |why: &str| PrometheusError::Address {
        host: host.clone(),
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
    }
}

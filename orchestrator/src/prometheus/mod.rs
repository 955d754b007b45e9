//! Load as Prometheus' `node_exporter` tells it, for hosts that have one instead of an SNMP agent.
//!
//! [`config`] is the section `[prometheus]`, [`exposition`] reads what an exporter answers (no IO), [`scraper`] asks.

mod config;
pub mod exposition;
mod scraper;

pub use config::{Prometheus, PrometheusError};
pub use scraper::Scraper;

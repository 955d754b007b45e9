//! Load as Prometheus' `node_exporter` tells it, for hosts that have one instead of an SNMP agent: to us, or to a Prometheus server
//! that is asked for it.
//!
//! [`config`] is the section `[prometheus]`, [`exposition`] reads what an exporter answers and [`query`] what a server does (no IO),
//! [`scraper`] asks.

mod config;
pub mod exposition;
pub mod query;
mod scraper;

pub use config::{Prometheus, PrometheusError, Server};
pub use scraper::Scraper;

//! Where the load of hosts is read: SNMP agents, exporters of Prometheus, or both, each host by one of them.

use std::future::pending;

use control::Input;
use record::HostName;
use tokio::sync::{mpsc, watch};

use crate::agent::Watch;
use crate::config::Config;
use crate::error::OrchestratorError;
use crate::processors::Processors;
use crate::prometheus::Scraper;
use crate::snmp::Totals;

/// All that is asked for load.
#[derive(Debug)]
pub(crate) struct Sources {
    snmp: Option<Watch>,
    prometheus: Option<Scraper>,
    processors: Processors,
}

impl Sources {
    /// Reads secrets and opens sockets; nothing is asked yet.
    ///
    /// # Errors
    /// When a secret cannot be read, or no sockets are to be had.
    pub(crate) fn new(config: &Config) -> Result<Self, OrchestratorError> {
        let watch = |snmp: &crate::snmp::Snmp| Watch::new(snmp, &snmp.access()?);
        let mut sources = Self {
            snmp: config.snmp.as_ref().map(watch).transpose()?,
            prometheus: config.prometheus.as_ref().map(Scraper::new).transpose()?,
            processors: Processors::default(),
        };
        if let Some(watch) = &mut sources.snmp {
            watch.tell(sources.processors.clone());
        }
        if let Some(scraper) = &mut sources.prometheus {
            scraper.tell(sources.processors.clone());
        }
        Ok(sources)
    }

    /// Asks until `stop` comes or nobody wants samples any more.
    pub(crate) async fn run(
        &mut self,
        inputs: &mpsc::Sender<Input>,
        stop: impl Future<Output = ()>,
    ) {
        let snmp = async {
            match &mut self.snmp {
                Some(watch) => watch.run(inputs, pending()).await,
                None => pending().await,
            }
        };
        let prometheus = async {
            match &self.prometheus {
                Some(scraper) => scraper.run(inputs).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = stop => {}
            () = snmp => {}
            () = prometheus => {}
        }
    }

    /// Counts of all SNMP agents.
    pub(crate) fn totals(&self) -> Option<Totals> {
        self.snmp.as_ref().map(Watch::totals)
    }

    /// The same while it runs.
    pub(crate) fn counts(&self) -> Option<watch::Receiver<Totals>> {
        self.snmp.as_ref().map(Watch::counts)
    }

    /// How many processors each host has, as becomes known.
    pub(crate) fn processors(&self) -> Processors {
        self.processors.clone()
    }

    /// That there is too little room for the answers of SNMP agents, if so.
    pub(crate) fn cramped(&self) -> Option<&str> {
        self.snmp.as_ref().and_then(Watch::cramped)
    }

    /// Why the last polls of a host came to nothing, if they did.
    pub(crate) fn failure(&self, host: &HostName) -> Option<String> {
        let snmp = self.snmp.as_ref().and_then(|watch| watch.failure(host));
        let prometheus = self.prometheus.as_ref();
        snmp.map(ToString::to_string)
            .or_else(|| prometheus.and_then(|scraper| scraper.failure(host)))
    }
}

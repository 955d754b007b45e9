//! Asks exporters, each in a task of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::Input;
use record::{HostName, Sample, Timestamp, Utilization};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::config::{Prometheus, PrometheusError, exporter_url, query_url};
use super::exposition::CpuTimes;
use super::query;
use crate::clock;
use crate::log::{self, About};
use crate::processors::Processors;

/// An exporter is waited for at least so long, however often it is asked.
const ANSWER_WITHIN_MIN: Duration = Duration::from_secs(1);
/// Longest answer that is read: that of a host with some thousand processors.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Clocks that are kept by NTP differ by less.
const AHEAD_MAX: Duration = Duration::from_millis(1500);
/// A mean over more than this says nothing of now.
const GAP_MAX: Duration = Duration::from_secs(600);

/// All exporters of a configuration.
#[derive(Debug)]
pub struct Scraper {
    exporters: Vec<Exporter>,
    period: Duration,
    failures: Failures,
    processors: Processors,
}

/// Why the last poll of a host came to nothing.
#[derive(Clone, Debug, Default)]
struct Failures(Arc<Mutex<BTreeMap<HostName, String>>>);

#[derive(Clone, Debug)]
struct Exporter {
    host: HostName,
    url: Url,
    /// What a Prometheus server is asked; nothing of an exporter itself.
    query: Option<String>,
    client: Client,
    last: Option<(Timestamp, CpuTimes)>,
}

impl Scraper {
    /// Reads the secret and prepares HTTP; nothing is asked yet.
    ///
    /// # Errors
    /// When the section is wrong, or a secret or certificate cannot be read.
    pub fn new(section: &Prometheus) -> Result<Self, PrometheusError> {
        section.check()?;
        let client = client(section)?;
        let exporter = |host: &HostName, url, query| Exporter {
            host: host.clone(),
            url,
            query,
            client: client.clone(),
            last: None,
        };
        let mut exporters = Vec::new();
        for (host, address) in &section.exporters {
            exporters.push(exporter(host, exporter_url(host, address)?, None));
        }
        if let Some(server) = &section.server {
            let url = query_url(server)?;
            for (host, instance) in &server.instances {
                let query = query::of_instance(instance);
                exporters.push(exporter(host, url.clone(), Some(query)));
            }
        }
        Ok(Self {
            exporters,
            period: section.period(),
            failures: Failures::default(),
            processors: Processors::default(),
        })
    }

    /// Tells `processors` from now on how many there are.
    pub(crate) fn tell(&mut self, processors: Processors) {
        self.processors = processors;
    }

    /// Asks until this is dropped or nobody wants samples any more. An exporter that does not answer gives none; the controller sees that
    /// by their age.
    pub async fn run(&self, inputs: &mpsc::Sender<Input>) {
        let mut tasks = JoinSet::new();
        let count = u32::try_from(self.exporters.len().max(1)).unwrap_or(u32::MAX);
        for (number, exporter) in (0..).zip(&self.exporters) {
            // Each at its own part of the period.
            let first = Instant::now() + self.period * number / count;
            let told = (self.failures.clone(), self.processors.clone());
            let poll = exporter
                .clone()
                .poll(first, self.period, told, inputs.clone());
            tasks.spawn(poll);
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Why the last poll of a host came to nothing, if it did.
    #[must_use]
    pub fn failure(&self, host: &HostName) -> Option<String> {
        self.failures.all().get(host).cloned()
    }
}

fn client(section: &Prometheus) -> Result<Client, PrometheusError> {
    let within = section.period().max(ANSWER_WITHIN_MIN);
    let mut client = Client::builder().timeout(within).redirect(Policy::none());
    if let Some(source) = &section.authorization {
        let secret = source.read()?;
        let mut value =
            HeaderValue::from_bytes(secret.bytes()).map_err(|_| PrometheusError::Header)?;
        value.set_sensitive(true);
        client = client.default_headers([(AUTHORIZATION, value)].into_iter().collect());
    }
    if let Some(path) = &section.ca_file {
        let wrong = |why: String| PrometheusError::Certificate {
            path: path.clone(),
            why,
        };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let trusted =
            Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
        for certificate in trusted {
            client = client.add_root_certificate(certificate);
        }
    }
    client
        .build()
        .map_err(|error| PrometheusError::Client(error.to_string()))
}

impl Failures {
    /// Nobody panics while they are held.
    fn all(&self) -> MutexGuard<'_, BTreeMap<HostName, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what has changed.
    fn note(&self, exporter: &Exporter, failure: Option<String>) {
        let (host, url) = (&exporter.host, &exporter.url);
        let say = |words: &str| {
            let words = format!("prometheus: {host} at {url} {words}");
            log::say(Some(About::Host(host)), &words);
        };
        let mut all = self.all();
        match failure {
            Some(why) if all.get(host) != Some(&why) => {
                say(&why);
                all.insert(host.clone(), why);
            }
            Some(_) => {}
            None => {
                if all.remove(host).is_some() {
                    say("answers again");
                }
            }
        }
    }
}

impl Exporter {
    async fn poll(
        mut self,
        first: Instant,
        period: Duration,
        (failures, processors): (Failures, Processors),
        inputs: mpsc::Sender<Input>,
    ) {
        let mut ticks = interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let sample = match self.scrape().await {
                Ok((at, times)) => {
                    failures.note(&self, None);
                    processors.note(&self.host, times.processors());
                    self.take(at, times)
                }
                Err(why) => {
                    failures.note(&self, Some(why));
                    None
                }
            };
            if let Some(sample) = sample
                && inputs.send(Input::Sample(sample)).await.is_err()
            {
                return;
            }
        }
    }

    fn take(&mut self, at: Timestamp, times: CpuTimes) -> Option<Sample> {
        let (then, before) = self.last.replace((at, times))?;
        let (_, times) = self.last.as_ref()?;
        // Our own clock may have been set back, and a server may have scraped nothing since.
        let interval = (at > then).then(|| at.since(then))?;
        if interval > GAP_MAX {
            return None;
        }
        Some(Sample {
            host: self.host.clone(),
            utilization: Utilization::new(times.busy_since(&before)?).ok()?,
            measured_at_us: at,
            interval_ms: interval.as_secs_f64() * 1e3,
        })
    }

    /// When its counters were read, and what they said.
    async fn scrape(&self) -> Result<(Timestamp, CpuTimes), String> {
        // The address stands beside what is told of it.
        let silent = |error: reqwest::Error| {
            let error = error.without_url();
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("does not answer: {error}{}", source.unwrap_or_default())
        };
        let mut request = self.client.get(self.url.clone());
        if let Some(query) = &self.query {
            request = request.query(&[("query", query)]);
        }
        let asked_at = clock::now();
        let mut response = request.send().await.map_err(silent)?;
        if !response.status().is_success() {
            return Err(format!("says {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(silent)? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(format!("says more than {} MiB", ANSWER_BYTES_MAX >> 20));
            }
            body.extend_from_slice(&part);
        }
        if self.query.is_some() {
            let (at, times) = query::newest(&body).map_err(|error| error.to_string())?;
            // As a sample it would be fresh for as long as it lies ahead, and no later one would count.
            let ahead = at.since(clock::now());
            if ahead > AHEAD_MAX {
                return Err(format!(
                    "says that it scraped {:.0} s from now. Its clock is ahead, or this one is behind",
                    ahead.as_secs_f64()
                ));
            }
            return Ok((at, times));
        }
        // It reads its counters somewhere between the two.
        let at = asked_at + clock::now().since(asked_at) / 2;
        let times = CpuTimes::read(&String::from_utf8_lossy(&body));
        times
            .map(|times| (at, times))
            .map_err(|error| error.to_string())
    }
}

//! Sends what viewers see to an orchestrator, beside the video and never in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use media::Reports;
use orchestrator::client::{Address, Client, ClientError};
use record::Timestamp;
use record::report::Report;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::place::{Authorities, Shown};
use super::{Failure, FailureKind, runtime};

/// Reports that wait for an orchestrator that is slow, those of a second of many viewers; more are dropped.
const WAITING_MAX: usize = 64;
/// Reports on their way at once: over a line of 50 ms, those of 64 viewers are taken within a second or so.
const AT_ONCE_MAX: usize = 8;
/// A report that has not been taken after this is none: the next is due.
const SENT_WITHIN: Duration = Duration::from_secs(2);
/// Where it says what it does.
const PATH: &str = "/v1/reports";

/// To whom is reported.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Tell an orchestrator each second how old the picture is: unix:PATH, 127.0.0.1:PORT, or https://HOST:PORT
    #[arg(long, value_name = "PLACE", requires = "function")]
    report: Option<Address>,
    #[command(flatten)]
    shown: Shown,
}

/// A thread that sends reports until it is told to end.
pub(crate) struct Reporter {
    thread: JoinHandle<Sent>,
    over: oneshot::Sender<()>,
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct Sent {
    taken: u64,
    failed: u64,
}

impl Arguments {
    /// Begins to send, where that is wanted.
    pub(crate) fn begin(
        self,
        authorities: &Authorities,
    ) -> Result<Option<(Reports, Reporter)>, Failure> {
        let Some(address) = self.report else {
            return Ok(None);
        };
        let client = self.shown.client(address, authorities);
        let client = client.map_err(|error| Failure {
            kind: FailureKind::Configuration,
            error: error.into(),
        })?;
        let runtime = runtime()?;
        let (taken, waiting) = channel(WAITING_MAX);
        let (over, ends) = oneshot::channel();
        let reports = Reports {
            taken,
            dropped: Arc::default(),
        };
        let dropped = Arc::clone(&reports.dropped);
        let thread = std::thread::spawn(move || {
            let mut sent = Sent::default();
            runtime.block_on(async {
                tokio::select! {
                    () = sent.send(client, waiting, &dropped) => {}
                    _ = ends => {}
                }
            });
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            sent
        });
        let reporter = Reporter {
            thread,
            over,
            dropped: Arc::clone(&reports.dropped),
        };
        Ok(Some((reports, reporter)))
    }
}

impl Reporter {
    /// Nobody sees anything any more: what still waits is not news.
    pub(crate) fn end(self) {
        // It may have ended already.
        self.over.send(()).ok();
        // A panic there was said there.
        let sent = self.thread.join().unwrap_or_default();
        eprintln!(
            "reports: {} taken, {} failed, {} dropped",
            sent.taken,
            sent.failed,
            self.dropped.load(Ordering::Relaxed)
        );
    }
}

impl Sent {
    async fn send(
        &mut self,
        client: Client,
        mut waiting: Receiver<(Timestamp, Report)>,
        dropped: &AtomicU64,
    ) {
        let client = Arc::new(client);
        let mut on_their_way = JoinSet::new();
        let mut fails = false;
        loop {
            tokio::select! {
                Some(ended) = on_their_way.join_next() => {
                    // A panic there was said there.
                    let why = ended.unwrap_or_else(|error| Err(error.to_string())).err();
                    match &why {
                        None => self.taken += 1,
                        Some(_) => self.failed += 1,
                    }
                    // Every second the same, but for a figure in it, helps nobody.
                    if let (false, Some(why)) = (fails, &why) {
                        eprintln!("report: {why}");
                    }
                    fails = why.is_some();
                }
                report = waiting.recv(), if on_their_way.len() < AT_ONCE_MAX => {
                    let Some((made, report)) = report else { return };
                    if Timestamp::now().since(made) > SENT_WITHIN {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    } else {
                        on_their_way.spawn(post(Arc::clone(&client), made, report));
                    }
                }
            }
        }
    }
}

/// Has a report taken, or says why it is not.
async fn post(client: Arc<Client>, made: Timestamp, mut report: Report) -> Result<(), String> {
    report.ago_ms = Timestamp::now().since(made).as_secs_f64() * 1e3;
    let posting = client.post::<serde_json::Value>(PATH, &report);
    match timeout(SENT_WITHIN, posting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(ClientError::Refused { why })) => {
            Err(format!("the orchestrator does not take it: {why}"))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it takes longer than {} s", SENT_WITHIN.as_secs())),
    }
}

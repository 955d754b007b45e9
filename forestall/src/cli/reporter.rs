//! Sends what a viewer sees to an orchestrator, beside the video and never in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use media::play::Reporting;
use orchestrator::client::{Address, Client, ClientError};
use record::name::ViewerName;
use record::report::Report;
use record::{Timestamp, VmName};
use tokio::time::timeout;

use super::place::Shown;
use super::{Failure, FailureKind, runtime};

/// Reports that wait for an orchestrator that is slow; more are dropped.
const WAITING_MAX: usize = 4;
/// A report that has not been taken after this is none: the next is due.
const SENT_WITHIN: Duration = Duration::from_secs(2);
/// Where it says what it does.
const PATH: &str = "/v1/reports";

/// To whom a viewer reports.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Tell an orchestrator each second how old the picture is: unix:PATH, 127.0.0.1:PORT, or https://HOST:PORT
    #[arg(
        long,
        value_name = "PLACE",
        requires = "function",
        conflicts_with = "decoder_command"
    )]
    report: Option<Address>,
    /// The function whose video this is, as the orchestrator names it
    #[arg(long, value_name = "NAME", requires = "report")]
    function: Option<VmName>,
    /// Who sees it, where a function has several viewers
    #[arg(
        long,
        value_name = "NAME",
        requires = "report",
        default_value = "viewer"
    )]
    viewer: ViewerName,
    #[command(flatten)]
    shown: Shown,
}

/// A thread that sends reports until the player has ended.
pub(crate) struct Reporter {
    thread: JoinHandle<Sent>,
    over: Arc<AtomicBool>,
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct Sent {
    taken: u64,
    failed: u64,
}

impl Arguments {
    /// Begins to send, where that is wanted.
    pub(crate) fn begin(self) -> Result<Option<(Reporting, Reporter)>, Failure> {
        let Some((address, function)) = self.report.zip(self.function) else {
            return Ok(None);
        };
        let client = self.shown.client(address).map_err(|error| Failure {
            kind: FailureKind::Configuration,
            error: error.into(),
        })?;
        let runtime = runtime()?;
        let (reports, taken) = sync_channel(WAITING_MAX);
        let (over, dropped) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let sent = runtime.block_on(send(&client, &taken, &ends));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            sent
        });
        let reporting = Reporting {
            function,
            viewer: self.viewer,
            reports,
            dropped: Arc::clone(&dropped),
        };
        let reporter = Reporter {
            thread,
            over,
            dropped,
        };
        Ok(Some((reporting, reporter)))
    }
}

impl Reporter {
    /// The player has ended, and with it the last who could report: what still waits is not news any more.
    pub(crate) fn end(self) {
        self.over.store(true, Ordering::Relaxed);
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

/// Nothing else runs on this thread: it may wait for reports without the runtime.
async fn send(client: &Client, reports: &Receiver<(Timestamp, Report)>, over: &AtomicBool) -> Sent {
    let mut sent = Sent::default();
    let mut fails = false;
    while let Ok((made, mut report)) = reports.recv() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        report.ago_ms = Timestamp::now().since(made).as_secs_f64() * 1e3;
        let posting = client.post::<serde_json::Value>(PATH, &report);
        let words = match timeout(SENT_WITHIN, posting).await {
            Ok(Ok(_)) => {
                sent.taken += 1;
                fails = false;
                continue;
            }
            Ok(Err(error)) => words(&error),
            Err(_) => format!("it takes longer than {} s", SENT_WITHIN.as_secs()),
        };
        sent.failed += 1;
        // Every second the same, but for a figure in it, helps nobody.
        if !fails {
            eprintln!("report: {words}");
        }
        fails = true;
    }
    sent
}

fn words(error: &ClientError) -> String {
    match error {
        ClientError::Refused { why } => format!("the orchestrator does not take it: {why}"),
        other => other.to_string(),
    }
}

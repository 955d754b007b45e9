//! The loop.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use control::{Controller, Input};
use drivers::{Driver, Qemu};
use record::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::agent::Watch;
use crate::config::Config;
use crate::journal::Journal;
use crate::mover::{Mover, News};
use crate::snmp::SnmpError;

/// News that wait for the loop; a sender waits when there are more.
const NEWS_WAITING_MAX: usize = 1024;
/// Told to end, the loop lets an open move reach its verdict for at most this long.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Why an orchestrator ended.
#[derive(Debug, thiserror::Error)]
pub enum OrchestratorError {
    /// The journal cannot be written. Nothing is decided without it.
    #[error("cannot write the journal {path}: {source}")]
    Journal {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] control::SettingsError),
    /// The agents cannot be asked.
    #[error(transparent)]
    Snmp(#[from] SnmpError),
}

/// Watches, decides and moves until `stop` comes. A move that is open then still gets its verdict, for up to 30 s.
///
/// # Errors
/// When the settings are wrong, a secret cannot be read, or the journal cannot be written.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), OrchestratorError> {
    let mut controller = Controller::new(config.control.clone())?;
    let mut watch = Watch::new(&config.snmp, &config.snmp.access()?)?;
    let mut journal = Journal::create(&config.journal, &config.control)
        .map_err(|(path, source)| OrchestratorError::Journal { path, source })?;
    let (news_in, mut news) = mpsc::channel(NEWS_WAITING_MAX);
    let (samples_in, mut samples) = mpsc::channel(NEWS_WAITING_MAX);
    let (stop_asking, asked_enough) = oneshot::channel::<()>();
    let agents = tokio::spawn(async move {
        // Dropping the other end tells it, too.
        watch
            .run(&samples_in, async { drop(asked_enough.await) })
            .await;
        watch.totals()
    });
    let mut mover = Mover::new(Qemu::new(config.qemu.clone()), news_in);
    let journal_failed = |source| OrchestratorError::Journal {
        path: config.journal.clone(),
        source,
    };
    let mut end_at: Option<tokio::time::Instant> = None;
    tokio::pin!(stop);
    loop {
        let wait = controller
            .poll_timeout()
            .map(|at| at.since(Timestamp::now()));
        let input = tokio::select! {
            Some(input) = samples.recv(), if end_at.is_none() => input,
            Some(news) = news.recv() => match news {
                News::Input(input) => input,
                News::Fact(at, migration, fact) => {
                    journal.fact(at, migration, fact).map_err(journal_failed)?;
                    continue;
                }
            },
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => Input::Timeout,
            () = &mut stop, if end_at.is_none() => {
                end_at = Some(tokio::time::Instant::now() + END_WITHIN);
                if mover.busy() { continue } else { break }
            }
            () = async { tokio::time::sleep_until(end_at.unwrap_or_else(tokio::time::Instant::now)).await }, if end_at.is_some() => break,
        };
        handle(
            &mut controller,
            &mut journal,
            &mut mover,
            input,
            end_at.is_some(),
        )
        .map_err(journal_failed)?;
        if end_at.is_some() && !mover.busy() {
            break;
        }
    }
    drop((stop_asking, samples));
    if let Ok(totals) = agents.await {
        eprintln!("snmp: {totals}");
    }
    Ok(())
}

fn handle<D: Driver>(
    controller: &mut Controller,
    journal: &mut Journal,
    mover: &mut Mover<D>,
    input: Input,
    ending: bool,
) -> io::Result<()> {
    let now = Timestamp::now();
    journal.input(now, &input)?;
    controller.handle(now, input);
    while let Some(decision) = controller.poll_output() {
        let starts = matches!(decision.event, record::Event::Start { .. });
        // An orchestrator that was told to end begins nothing new.
        if starts && ending {
            continue;
        }
        journal.decision(&decision)?;
        mover.act(&decision.event);
    }
    Ok(())
}

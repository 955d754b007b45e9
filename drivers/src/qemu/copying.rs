//! A copy under way, from `migrate` to its end.
//!
//! ```text
//!   PreCopy ── a cancel ──► CalledOff: the guest goes on at the source, or copying had ended before
//!      │ has not come to its end after `post_copy_after_s`: `migrate-start-postcopy`
//!      ▼
//!   Switching: nothing is called off any more. QEMU stops the guest, sends its devices, then pages of its memory
//!      │ the source stands still and has sent pages of a stopped guest; the target has the devices: `cont` there
//!      ▼
//!   RunsAtTarget: the source feeds it
//! ```
//!
//! The target of post-copy is held like any other. Were it free to run by itself it would do so as soon as it has the devices,
//! and a source to which the switch seems to have failed at its very end may let the guest run again (`postcopy_start` in QEMU's
//! migration/migration.c; QEMU 7.2 does not, 9.0 does): twice. So it is told to run when the source has begun to send pages of the
//! stopped guest, from where no way leads back. When nobody tells it (the orchestrator was killed) the source sends all of the
//! memory, completes, and the hand-over is that of pre-copy.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::guest;
use super::monitor::{Monitor, MonitorError};

/// Events tell of the end of copying at once; this catches one that was missed.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// The same at the switch to post-copy, where the guest stands still meanwhile.
const SWITCHING_EVERY: Duration = Duration::from_millis(5);
/// A guest that was stopped for the last pages runs at the target within this, or goes on at the source.
const SWITCH_WITHIN: Duration = Duration::from_secs(2);
/// A source at full load may answer nobody for some seconds, and copies all the same. One that says nothing for so long is not waited for.
const SILENT_WITHIN: Duration = Duration::from_secs(15);
/// How often is looked whether a source has come to rest: the guest is stopped meanwhile.
const UNSETTLED_RETRY: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    PreCopy,
    CalledOff,
    Switching,
    RunsAtTarget,
}

/// What is copied from one QEMU to another.
#[derive(Debug)]
pub(super) struct CopyJob<'a> {
    source: &'a mut Monitor,
    /// Address of the target's monitor.
    target: &'a str,
    cancel: &'a Notify,
    /// Time of pre-copy after which is switched to post-copy; `None` is never.
    post_copy_after: Option<Duration>,
    begun: Instant,
    stage: Stage,
    /// The source stops the guest for the last pages, and lets it run again when they do not get through. It waits for a peer
    /// that says nothing as long as TCP does, which is minutes, and its main loop answers nobody meanwhile.
    stopped_at: Option<Instant>,
    yanked: bool,
    /// When the source last answered.
    answered_at: Instant,
}

impl<'a> CopyJob<'a> {
    /// A copy that begins now.
    pub(super) fn new(
        source: &'a mut Monitor,
        target: &'a str,
        cancel: &'a Notify,
        post_copy_after: Option<Duration>,
    ) -> Self {
        Self {
            source,
            target,
            cancel,
            post_copy_after,
            begun: Instant::now(),
            stage: Stage::PreCopy,
            stopped_at: None,
            yanked: false,
            answered_at: Instant::now(),
        }
    }

    /// Copies to `uri`, and returns when the source says that copying has ended; `Ok` for `completed`.
    pub(super) async fn run(mut self, uri: Value) -> Result<(), MonitorError> {
        self.source.execute("migrate", uri).await?;
        loop {
            self.hear().await?;
            let Some(info) = self.look().await? else {
                continue;
            };
            let status = guest::migration_status(&info);
            if guest::is_post_copy(status) && self.may_turn_back() {
                // Somebody else has switched: there is no way back all the same.
                self.stage = Stage::Switching;
            }
            match status {
                "completed" => return self.finished().await,
                "failed" | "cancelled" => {
                    self.finished().await?;
                    return Err(self.ended(status, &info));
                }
                "active" if self.is_due() => {
                    // First: whatever is answered, the source may switch from now on.
                    self.stage = Stage::Switching;
                    let start = self.source.execute("migrate-start-postcopy", json!({}));
                    start.await?;
                }
                "postcopy-active" if self.stage == Stage::Switching => {
                    self.run_target(&info).await?;
                }
                // It waits for a person to mend the line and to resume it, who needs the monitor.
                "postcopy-paused" => return Err(self.ended(status, &info)),
                _ => {}
            }
        }
    }

    /// The next event, a cancel, or a while without either.
    async fn hear(&mut self) -> Result<(), MonitorError> {
        let within = match self.stage {
            Stage::Switching => SWITCHING_EVERY,
            _ => STATUS_EVERY,
        };
        tokio::select! {
            event = self.source.event(within) => match event?.as_deref() {
                Some("STOP") => self.stopped_at = Some(Instant::now()),
                Some("RESUME") => self.stopped_at = None,
                _ => {}
            },
            () = self.cancel.notified(), if self.may_turn_back() => {
                self.stage = Stage::CalledOff;
                self.source.execute("migrate_cancel", json!({})).await?;
            }
        }
        Ok(())
    }

    /// What the source says of the copy; `None` when it is busy, with the last pages or with what else its host has to do.
    async fn look(&mut self) -> Result<Option<Value>, MonitorError> {
        let held = self
            .stopped_at
            .filter(|_| !self.yanked && self.may_turn_back());
        let Some(at) = held else {
            let asked = self.source.execute("query-migrate", json!({})).await;
            let is_silent = matches!(asked, Err(MonitorError::Unreachable { .. }));
            if is_silent && self.may_turn_back() && self.answered_at.elapsed() < SILENT_WITHIN {
                return Ok(None);
            }
            self.answered_at = Instant::now();
            return asked.map(Some);
        };
        if at.elapsed() >= SWITCH_WITHIN {
            self.yanked = true;
            self.source.yank_migration().await?;
        }
        let asked = self
            .source
            .execute_within("query-migrate", json!({}), STATUS_EVERY);
        match asked.await {
            Err(MonitorError::Unreachable { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Whether the guest goes on at the source when copying is given up.
    const fn may_turn_back(&self) -> bool {
        matches!(self.stage, Stage::PreCopy | Stage::CalledOff)
    }

    /// Whether it is time for post-copy. Not while the last pages of pre-copy are on their way.
    fn is_due(&self) -> bool {
        let late = |after| self.begun.elapsed() >= after;
        self.stage == Stage::PreCopy
            && self.stopped_at.is_none()
            && self.post_copy_after.is_some_and(late)
    }

    /// Has the target run what it has when no way leads back for the source. What does not succeed is tried again: the guest can
    /// go on nowhere else.
    async fn run_target(&mut self, info: &Value) -> Result<(), MonitorError> {
        let sent = info.pointer("/ram/postcopy-bytes").and_then(Value::as_u64);
        if sent.unwrap_or_default() == 0 {
            return Ok(());
        }
        if guest::run_state(self.source).await? != "finish-migrate" {
            return Ok(());
        }
        let run = async {
            let mut target = Monitor::connect(self.target).await?;
            let state = guest::run_state(&mut target).await?;
            if state == "paused" {
                guest::run(&mut target).await?;
            }
            Ok::<_, MonitorError>(state)
        };
        // Running: it was told so, and only its answer was lost.
        if run
            .await
            .is_ok_and(|state| matches!(state.as_str(), "paused" | "running"))
        {
            self.stage = Stage::RunsAtTarget;
        }
        Ok(())
    }

    /// Waits until the source, whose migration has ended, has come to rest: it says so before it is held for good or runs again.
    async fn finished(&mut self) -> Result<(), MonitorError> {
        let begun = Instant::now();
        // What it is then is seen by who inspects.
        while guest::run_state(self.source).await? == "finish-migrate"
            && begun.elapsed() < SWITCH_WITHIN
        {
            sleep(UNSETTLED_RETRY).await;
        }
        Ok(())
    }

    fn ended(&self, status: &str, info: &Value) -> MonitorError {
        let why = match info.get("error-desc").and_then(Value::as_str) {
            _ if self.yanked => "the target did not take the last pages in time",
            Some(why) => why,
            None => "QEMU gave no reason",
        };
        MonitorError::Refused {
            address: "the source".into(),
            command: "migrate".into(),
            why: format!("{status}: {why}"),
        }
    }
}

//! A copy under way, from its beginning to its end.
//!
//! ```text
//!   (disks that are mirrored: until the target has them but for what the guest is writing)
//!      │ `migrate`
//!      ▼
//!   PreCopy ── a cancel ──► CalledOff: the guest goes on at the source, or copying had ended before
//!      │      └── the guest is stopped for its disks, and the target has all of them ──► DisksThere: `completed`, or as CalledOff
//!      │ has not come to its end after `post_copy_after_s`: `migrate-start-postcopy`
//!      ▼
//!   Switching: nothing is called off any more. QEMU stops the guest, sends its devices, then pages of its memory
//!      │ the source stands still and has sent pages of a stopped guest; the target has the devices: `cont` there
//!      ▼
//!   RunsAtTarget: the source feeds it
//! ```
//!
//! With disks that are mirrored the source waits when it has stopped the guest. It is told to go on when the target has all of the
//! disks, or it gives the migration up.
//!
//! The target of post-copy is held like any other. Were it free to run by itself it would do so as soon as it has the devices,
//! and a source to which the switch seems to have failed at its very end may let the guest run again (`postcopy_start` in QEMU's
//! migration/migration.c; QEMU 7.2 does not, 9.0 does): twice. So it is told to run when the source has begun to send pages of the
//! stopped guest, from where no way leads back. When nobody tells it (the orchestrator was killed) the source sends all of the
//! memory, completes, and the hand-over is that of pre-copy.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::mirror::Mirrors;
use super::monitor::{ANSWER_WITHIN, Monitor, MonitorError};
use super::{ending, guest};
use crate::driver::JobProgress;

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
    DisksThere,
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
    /// How far it is, for who wants to know.
    progress: &'a Mutex<Option<JobProgress>>,
    mirrors: Mirrors,
    /// Time of pre-copy after which is switched to post-copy; `None` is never.
    post_copy_after: Option<Duration>,
    begun: Instant,
    stage: Stage,
    /// The source stops the guest for the last pages, and lets it run again when they do not get through. It waits for a peer
    /// that says nothing as long as TCP does, which is minutes, and its main loop answers nobody meanwhile.
    stopped_at: Option<Instant>,
    silent_since: Option<Instant>,
    /// Why it was not waited for any longer.
    given_up: Option<String>,
}

impl<'a> CopyJob<'a> {
    /// A copy that begins now.
    pub(super) fn new(
        source: &'a mut Monitor,
        target: &'a str,
        (cancel, progress): (&'a Notify, &'a Mutex<Option<JobProgress>>),
        mirrors: Mirrors,
        post_copy_after: Option<Duration>,
    ) -> Self {
        Self {
            source,
            target,
            cancel,
            progress,
            mirrors,
            post_copy_after,
            begun: Instant::now(),
            stage: Stage::PreCopy,
            stopped_at: None,
            silent_since: None,
            given_up: None,
        }
    }

    /// Copies to `uri`, and returns when the source says that copying has ended; `Ok` for `completed`.
    pub(super) async fn run(mut self, uri: Value) -> Result<(), MonitorError> {
        self.mirrors.begin(self.source).await?;
        self.mirrors.follow(self.source, self.cancel).await?;
        self.source.execute("migrate", uri).await?;
        loop {
            self.hear().await?;
            let Some(info) = self.look().await? else {
                continue;
            };
            self.tell(&info);
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
                guest::PAUSED if self.stage == Stage::PreCopy => self.hand_disks_over().await?,
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

    /// Notes how far it is. With disks that are mirrored that begins when they are there: QMP counts them apart.
    fn tell(&self, info: &Value) {
        let count = |key: &str| info.get("ram")?.get(key)?.as_u64();
        let figures = (count("total"), count("transferred"), count("remaining"));
        if let (Some(total_bytes), Some(copied_bytes), Some(remaining_bytes)) = figures {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            *progress = Some(JobProgress {
                total_bytes,
                copied_bytes,
                remaining_bytes,
            });
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
                ending::cancel(self.source).await?;
            }
        }
        Ok(())
    }

    /// What the source says of the copy; `None` when it is busy, with the last pages or with what else its host has to do.
    async fn look(&mut self) -> Result<Option<Value>, MonitorError> {
        let is_late = self
            .stopped_at
            .is_some_and(|at| at.elapsed() >= SWITCH_WITHIN);
        if is_late && self.given_up.is_none() && self.may_turn_back() {
            self.given_up = Some("the target did not take the last pages in time".into());
            // It may be waiting for a disk, before it says that it has stopped the guest for them.
            self.mirrors.cut(self.source).await;
            // What is over by that needs no cut.
            let migration = json!({ "type": "migration" });
            drop(self.source.yank(migration).await);
            self.silent_since = None;
        }
        let asked = self
            .source
            .execute_within("query-migrate", json!({}), STATUS_EVERY);
        match asked.await {
            // It may have stopped the guest just before it was asked: the event says so.
            Err(MonitorError::Unreachable { .. }) if self.may_be_silent() => Ok(None),
            answer => {
                self.silent_since = None;
                answer.map(Some)
            }
        }
    }

    /// Whether a source that has not answered may do so still.
    fn may_be_silent(&mut self) -> bool {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        let longest = if self.may_turn_back() && self.stopped_at.is_none() {
            SILENT_WITHIN
        } else {
            ANSWER_WITHIN
        };
        since.elapsed() < longest
    }

    /// The guest stands still. Once the target has all of its disks the source sends the rest; or the guest goes on there.
    async fn hand_disks_over(&mut self) -> Result<(), MonitorError> {
        let stopped_at = *self.stopped_at.get_or_insert_with(Instant::now);
        let left = SWITCH_WITHIN.saturating_sub(stopped_at.elapsed());
        let finish = self.mirrors.finish(self.source, self.target);
        let why = match timeout(left, finish).await {
            Ok(Ok(())) => {
                self.stage = Stage::DisksThere;
                let go_on = json!({ "state": guest::PAUSED });
                return self
                    .source
                    .execute("migrate-continue", go_on)
                    .await
                    .map(drop);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the target did not take the rest of the disks in time".into(),
        };
        self.given_up = Some(why);
        self.stage = Stage::CalledOff;
        self.mirrors.cut(self.source).await;
        ending::cancel(self.source).await
    }

    /// Whether the guest goes on at the source when copying is given up.
    const fn may_turn_back(&self) -> bool {
        matches!(
            self.stage,
            Stage::PreCopy | Stage::DisksThere | Stage::CalledOff
        )
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
        let said = info.get("error-desc").and_then(Value::as_str);
        let why = self.given_up.as_deref().or(said);
        let why = why.unwrap_or("QEMU gave no reason");
        MonitorError::Refused {
            address: "the source".into(),
            command: "migrate".into(),
            why: format!("{status}: {why}"),
        }
    }
}

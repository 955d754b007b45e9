//! One move, from its plan to its verdict.
//!
//! ```text
//!   Copying                                                       (resumed after a restart: Inspecting)
//!      │ Refused, CopyEnded, or too long: Cancel ─► Acting
//!      ▼
//!   Inspecting ─► Waiting ─► Inspecting: an end, or the driver, does not answer: ask again (alarm once), do nothing else
//!      │ Residency
//!      ├─ refused: over, with the verdict of what was seen; nothing is run or discarded
//!      ├─ target paused (a whole guest, held): Run target ─► Acting ─► Inspecting
//!      ├─ target absent, source paused:     Run source ─► Acting ─► Inspecting
//!      ├─ runs at one end only: Discard the other ─► Acting ─► Inspecting ─► over: moved / stayed
//!      └─ split, lost, or a blackout that nothing safe can end: alarm, over
//! ```
//!
//! A driver that does not answer an `Acting` in time is not waited for: where the guest is now is inspected.
//!
//! What makes it safe: copying that "completed" is a hint, never a proof; an end is run only after the other was *seen*
//! not to run; nothing is run, cancelled or destroyed while an end does not answer.

use std::time::Duration;

use record::decision::{CancelReason, End, MigrationId};
use record::{Event, Residency, Timestamp, Verdict, VmName};

use crate::input::CopyOutcome;
use crate::settings::{HandOver, Limits, milliseconds};

/// A driver answers an action or an inspection within this, or is not waited for any longer. Over the sum of the limits
/// that a driver has for its own steps, so that an answer is late only when none will come.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// An end is told to run again when it is seen held still: the driver may not have reached it. So often in all.
const RUNS_MAX: usize = 3;

/// What a move waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Copying {
        give_up_at: Timestamp,
    },
    /// Waits for the driver to say where the guest is.
    Inspecting {
        answer_by: Timestamp,
    },
    /// Waits until it is time to ask again.
    Waiting {
        again_at: Timestamp,
    },
    /// Waits for the driver to cancel, or to run or discard an end. What came of it is looked at, whatever it says.
    Acting {
        answer_by: Timestamp,
    },
}

/// A move under way.
#[derive(Debug)]
pub(crate) struct Reallocation {
    pub(crate) id: MigrationId,
    vm: VmName,
    hand_over: HandOver,
    state: State,
    failure: Option<String>,
    /// The driver says that nothing happened: what is seen at either end is not of this move's making, so it is looked at
    /// and left alone.
    refused: bool,
    /// Ends that were already told to run; each [`RUNS_MAX`] times at most.
    ran: Vec<End>,
    /// A verdict that only a person can end, seen once.
    suspected: Option<Verdict>,
    /// Ends that were already told to be discarded: once each.
    discarded: Vec<End>,
    alarmed: Option<Verdict>,
    seen: (Residency, Residency),
}

/// What comes of a step.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing (the input was for another state).
    Nothing,
    /// Go on with this.
    Do(Box<Event>),
    /// The move is over. The verdict is the last that was seen.
    Over(Verdict),
}

impl Reallocation {
    pub(crate) fn new(
        now: Timestamp,
        (id, vm): (MigrationId, VmName),
        hand_over: HandOver,
        give_up_after: Duration,
    ) -> Self {
        let state = State::Copying {
            give_up_at: now + give_up_after,
        };
        let seen = (Residency::Unreachable, Residency::Unreachable);
        Self {
            id,
            vm,
            hand_over,
            state,
            failure: None,
            refused: false,
            ran: Vec::new(),
            suspected: None,
            discarded: Vec::new(),
            alarmed: None,
            seen,
        }
    }

    /// Every state has one: no driver can keep two hosts busy for ever without a word.
    pub(crate) const fn timeout(&self) -> Timestamp {
        match self.state {
            State::Copying { give_up_at } => give_up_at,
            State::Waiting { again_at } => again_at,
            State::Inspecting { answer_by } | State::Acting { answer_by } => answer_by,
        }
    }

    /// What it waits for, in a word.
    pub(crate) const fn stage(&self) -> &'static str {
        match self.state {
            State::Copying { .. } => "copying",
            State::Inspecting { .. } => "inspecting",
            State::Waiting { .. } => "waiting",
            State::Acting { .. } => "acting",
        }
    }

    pub(crate) const fn seen(&self) -> (Residency, Residency) {
        self.seen
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// An earlier controller began it: where the function is has to be seen first.
    pub(crate) fn resumed(&mut self, now: Timestamp) -> Step {
        self.inspect(now)
    }

    pub(crate) fn refused(&mut self, now: Timestamp, reason: String) -> Step {
        if !matches!(self.state, State::Copying { .. }) {
            return Step::Nothing;
        }
        self.failure = Some(reason);
        self.refused = true;
        self.inspect(now)
    }

    pub(crate) fn copy_ended(&mut self, now: Timestamp, outcome: CopyOutcome) -> Step {
        if !matches!(self.state, State::Copying { .. }) {
            return Step::Nothing;
        }
        if let CopyOutcome::Failed { reason } = outcome {
            self.failure = Some(reason);
        }
        self.inspect(now)
    }

    pub(crate) fn timed_out(&mut self, now: Timestamp, limits: &Limits) -> Step {
        if now < self.timeout() {
            return Step::Nothing;
        }
        match self.state {
            State::Copying { .. } => {
                self.failure = Some("copying took too long".into());
                // A cancel is answered like a failed copy: with `Acted`, after which is looked.
                let cancel = Event::Cancel {
                    migration: self.id,
                    why: CancelReason::TimedOut,
                };
                self.act(now, cancel)
            }
            State::Waiting { .. } => self.inspect(now),
            // No word of either end is no more than an end that does not answer.
            State::Inspecting { .. } => {
                self.residency(now, Residency::Unreachable, Residency::Unreachable, limits)
            }
            State::Acting { .. } => {
                self.failure.get_or_insert_with(|| {
                    format!(
                        "the driver did not answer within {} s",
                        ANSWER_WITHIN.as_secs()
                    )
                });
                self.inspect(now)
            }
        }
    }

    pub(crate) fn acted(&mut self, now: Timestamp, failure: Option<String>) -> Step {
        if !matches!(self.state, State::Acting { .. }) {
            return Step::Nothing;
        }
        self.failure = self.failure.take().or(failure);
        self.inspect(now)
    }

    pub(crate) fn residency(
        &mut self,
        now: Timestamp,
        target: Residency,
        source: Residency,
        limits: &Limits,
    ) -> Step {
        // An answer that comes when it is not waited for any more says how things were, not how they are.
        if !matches!(self.state, State::Inspecting { .. }) {
            return Step::Nothing;
        }
        self.seen = (target, source);
        let verdict = Verdict::of(target, source);
        if self.suspected != Some(verdict) {
            self.suspected = None;
        }
        match verdict {
            // Nothing happened, and the source runs: a target that does not answer keeps nobody.
            Verdict::Unknown if self.refused && source == Residency::Running => {
                Step::Over(Verdict::Stayed)
            }
            Verdict::Unknown => {
                self.wait(now, limits);
                self.alarm_once(verdict)
            }
            _ if self.refused => Step::Over(verdict),
            Verdict::Moved => self.discard(now, End::Source, verdict),
            Verdict::Stayed => self.discard(now, End::Target, verdict),
            Verdict::Blackout => self.end_blackout(now, target, source, limits),
            Verdict::Split | Verdict::Lost => self.look_twice(now, verdict, limits),
        }
    }

    /// Two ends are looked at one after the other, and an engine that hands over by itself may do so in between: what only a
    /// person can end is believed when it is seen twice in a row.
    fn look_twice(&mut self, now: Timestamp, verdict: Verdict, limits: &Limits) -> Step {
        if self.suspected == Some(verdict) {
            return Step::Over(verdict);
        }
        self.suspected = Some(verdict);
        self.wait(now, limits);
        Step::Nothing
    }

    fn end_blackout(
        &mut self,
        now: Timestamp,
        target: Residency,
        source: Residency,
        limits: &Limits,
    ) -> Step {
        // A whole guest at the target is the newer one: it goes on there. The source is only run when the target was seen
        // to have none.
        let end = match (target, source) {
            (Residency::Paused, _) => End::Target,
            (Residency::Absent, Residency::Paused) => End::Source,
            _ => return Step::Over(Verdict::Blackout),
        };
        if self.hand_over == HandOver::ByEngine {
            // The engine is about to run one of them: look again, say so once.
            self.wait(now, limits);
            return self.alarm_once(Verdict::Blackout);
        }
        let ran = self.ran.iter().filter(|ran| **ran == end).count();
        if ran >= RUNS_MAX {
            return Step::Over(Verdict::Blackout);
        }
        self.ran.push(end);
        let run = Event::Run {
            migration: self.id,
            end,
        };
        self.act(now, run)
    }

    /// Clears an end away at which the guest was seen not to run. The move is over when the guest is seen to run at the other
    /// end still: a late copy may have ended between the look and the discard. What could not be cleared away is left.
    fn discard(&mut self, now: Timestamp, end: End, verdict: Verdict) -> Step {
        if self.discarded.contains(&end) {
            return Step::Over(verdict);
        }
        self.discarded.push(end);
        let discard = Event::Discard {
            migration: self.id,
            end,
        };
        self.act(now, discard)
    }

    fn inspect(&mut self, now: Timestamp) -> Step {
        self.state = State::Inspecting {
            answer_by: now + ANSWER_WITHIN,
        };
        Step::Do(Box::new(Event::Inspect { migration: self.id }))
    }

    fn wait(&mut self, now: Timestamp, limits: &Limits) {
        self.state = State::Waiting {
            again_at: now + milliseconds(limits.inspect_again_ms),
        };
    }

    fn act(&mut self, now: Timestamp, event: Event) -> Step {
        self.state = State::Acting {
            answer_by: now + ANSWER_WITHIN,
        };
        Step::Do(Box::new(event))
    }

    fn alarm_once(&mut self, verdict: Verdict) -> Step {
        if self.alarmed == Some(verdict) {
            return Step::Nothing;
        }
        self.alarmed = Some(verdict);
        Step::Do(Box::new(self.alarm(verdict)))
    }

    pub(crate) fn alarm(&self, verdict: Verdict) -> Event {
        let (target, source) = self.seen;
        Event::Alarm {
            migration: self.id,
            vm: self.vm.clone(),
            verdict,
            target,
            source,
        }
    }
}

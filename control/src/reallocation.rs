//! One move, from its plan to its verdict.
//!
//! ```text
//!            Refused                            (nothing happened)
//!   Copying ───────────────────────────────────────────────► over: stayed
//!      │ CopyEnded, or too long: Cancel
//!      ▼
//!   Inspecting ◄───────────────┐ an end does not answer: ask again (alarm once), do nothing else
//!      │ Residency             │
//!      ├─ target paused (a whole guest, held): Run target ─► Acting ─► Inspecting
//!      ├─ target absent, source paused:     Run source ─► Acting ─► Inspecting
//!      ├─ runs at one end only: Discard the other ─► Acting ─► over: moved / stayed
//!      └─ split, lost, or a blackout that nothing safe can end: alarm, over
//! ```
//!
//! What makes it safe: copying that "completed" is a hint, never a proof; an end is run only after the other was *seen*
//! not to run; nothing is run, cancelled or destroyed while an end does not answer.

use record::decision::{CancelReason, End, MigrationId};
use record::{Event, HostName, Residency, Timestamp, Verdict, VmName};

use crate::input::CopyOutcome;
use crate::settings::{HandOver, Limits, milliseconds};

/// What a move waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Copying {
        give_up_at: Timestamp,
    },
    Inspecting {
        again_at: Option<Timestamp>,
    },
    /// Waits for the driver to run or discard an end. `then` is the verdict when that ends the move.
    Acting {
        then: Option<Verdict>,
    },
}

/// A move under way.
#[derive(Debug)]
pub(crate) struct Reallocation {
    pub(crate) id: MigrationId,
    pub(crate) vm: VmName,
    pub(crate) source: HostName,
    pub(crate) target: HostName,
    hand_over: HandOver,
    state: State,
    failure: Option<String>,
    /// Ends that were already told to run: once each.
    ran: Vec<End>,
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
        (source, target): (HostName, HostName),
        hand_over: HandOver,
        limits: &Limits,
    ) -> Self {
        let state = State::Copying {
            give_up_at: now + milliseconds(limits.migration_ms_max),
        };
        let seen = (Residency::Unreachable, Residency::Unreachable);
        Self {
            id,
            vm,
            source,
            target,
            hand_over,
            state,
            failure: None,
            ran: Vec::new(),
            alarmed: None,
            seen,
        }
    }

    pub(crate) fn involves(&self, host: &HostName) -> bool {
        self.source == *host || self.target == *host
    }

    pub(crate) const fn timeout(&self) -> Option<Timestamp> {
        match self.state {
            State::Copying { give_up_at } => Some(give_up_at),
            State::Inspecting { again_at } => again_at,
            State::Acting { .. } => None,
        }
    }

    pub(crate) const fn seen(&self) -> (Residency, Residency) {
        self.seen
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(crate) fn refused(&mut self, reason: String) -> Step {
        if !matches!(self.state, State::Copying { .. }) {
            return Step::Nothing;
        }
        self.failure = Some(reason);
        self.seen = (Residency::Absent, Residency::Running);
        Step::Over(Verdict::Stayed)
    }

    pub(crate) fn copy_ended(&mut self, outcome: CopyOutcome) -> Step {
        if !matches!(self.state, State::Copying { .. }) {
            return Step::Nothing;
        }
        if let CopyOutcome::Failed { reason } = outcome {
            self.failure = Some(reason);
        }
        self.inspect()
    }

    pub(crate) fn timed_out(&mut self, now: Timestamp) -> Step {
        match self.state {
            State::Copying { give_up_at } if now >= give_up_at => {
                self.failure = Some("copying took too long".into());
                // A cancel is answered like a failed copy: with `Acted`, after which is looked.
                self.state = State::Acting { then: None };
                Step::Do(Box::new(Event::Cancel {
                    migration: self.id,
                    why: CancelReason::TimedOut,
                }))
            }
            State::Inspecting { again_at: Some(at) } if now >= at => self.inspect(),
            _ => Step::Nothing,
        }
    }

    pub(crate) fn acted(&mut self, failure: Option<String>) -> Step {
        let State::Acting { then } = self.state else {
            return Step::Nothing;
        };
        match (then, failure) {
            (Some(verdict), None) => Step::Over(verdict),
            // What could not be cleared away is not running there (it was seen): the move is over all the same.
            (Some(verdict), Some(failure)) => {
                self.failure.get_or_insert(failure);
                Step::Over(verdict)
            }
            (None, failure) => {
                self.failure = self.failure.take().or(failure);
                self.inspect()
            }
        }
    }

    pub(crate) fn residency(
        &mut self,
        now: Timestamp,
        target: Residency,
        source: Residency,
        limits: &Limits,
    ) -> Step {
        if !matches!(self.state, State::Inspecting { .. }) {
            return Step::Nothing;
        }
        self.seen = (target, source);
        let verdict = Verdict::of(target, source);
        match verdict {
            Verdict::Moved => self.act(
                Event::Discard {
                    migration: self.id,
                    end: End::Source,
                },
                Some(verdict),
            ),
            Verdict::Stayed => self.act(
                Event::Discard {
                    migration: self.id,
                    end: End::Target,
                },
                Some(verdict),
            ),
            Verdict::Unknown => {
                self.state = State::Inspecting {
                    again_at: Some(now + milliseconds(limits.inspect_again_ms)),
                };
                self.alarm_once(verdict)
            }
            Verdict::Blackout => self.end_blackout(now, target, source, limits),
            Verdict::Split | Verdict::Lost => Step::Over(verdict),
        }
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
        let by_engine = end == End::Target && self.hand_over == HandOver::ByEngine;
        if by_engine {
            // The engine is about to run it: look again, say so once.
            self.state = State::Inspecting {
                again_at: Some(now + milliseconds(limits.inspect_again_ms)),
            };
            return self.alarm_once(Verdict::Blackout);
        }
        if self.ran.contains(&end) {
            return Step::Over(Verdict::Blackout);
        }
        self.ran.push(end);
        self.act(
            Event::Run {
                migration: self.id,
                end,
            },
            None,
        )
    }

    fn inspect(&mut self) -> Step {
        self.state = State::Inspecting { again_at: None };
        Step::Do(Box::new(Event::Inspect { migration: self.id }))
    }

    fn act(&mut self, event: Event, then: Option<Verdict>) -> Step {
        self.state = State::Acting { then };
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

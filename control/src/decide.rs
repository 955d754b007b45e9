//! What is decided about one host: a function is moved away from it, or why not.

use std::time::Duration;

use record::decision::{Cause, HoldReason, MigrationId, Restraint, Unfit};
use record::{Event, Timestamp};

use crate::controller::{Controller, HOLD_LOGGED_EVERY, Open};
use crate::forecast::Forecast;
use crate::function::Function;
use crate::host::{Host, HostId};
use crate::placement::{Choice, Site, Worth};
use crate::policy::Judgement;
use crate::settings::{Policy, Trust};

/// A function that has to go whatever it gains, and finds no target, looks for one again after this.
const PLACED_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// Why nothing is moved away from a host, and when that may change though nothing comes in.
struct Refusal {
    reason: HoldReason,
    again: Again,
}

impl Refusal {
    /// Whether it is only a matter of some seconds.
    fn passes(&self) -> bool {
        match &self.reason {
            HoldReason::NoTargetFits { candidates, .. } => candidates
                .iter()
                .all(|candidate| candidate.unfit < Unfit::OverLimit),
            HoldReason::CoolingDown { .. } | HoldReason::MovesAtOnce { .. } => true,
            _ => false,
        }
    }

    /// Whether nothing presses.
    const fn is_calm(&self) -> bool {
        matches!(self.reason, HoldReason::NotDue | HoldReason::BelowThreshold)
    }
}

/// When a host is looked at again though nothing has come in.
#[derive(Clone, Copy, Debug)]
enum Again {
    /// When its newest sample gets too old, or a move falls due.
    ByForecast,
    /// At this instant, or before by forecast.
    At(Timestamp),
    /// When a move is over, a host is known again after one or after silence, or by forecast.
    AfterOthers,
    /// Not before something comes in.
    Never,
}

impl From<HoldReason> for Refusal {
    fn from(reason: HoldReason) -> Self {
        Self {
            reason,
            again: Again::ByForecast,
        }
    }
}

/// What makes a host be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A new sample of it.
    Sample,
    /// Time, a move, or a person.
    Other,
}

/// A move that is due, before it is known which.
struct Wanted {
    cause: Cause,
    movable: Vec<usize>,
    worth: Worth,
    /// The only host that it may go to.
    only: Option<HostId>,
}

impl Controller {
    /// Looks at one host: starts a move away from it, or says why not.
    pub(crate) fn evaluate(&mut self, now: Timestamp, id: HostId, news: News) {
        let Some(host) = self.hosts.get_mut(id.0 as usize) else {
            return;
        };
        let judged = self.settings.policy.judge(now, host);
        if news == News::Sample {
            host.count_due(judged.due.is_ok());
        }
        let host = &self.hosts[id.0 as usize];
        match self.decide(now, id, host, &judged) {
            Ok((cause, choice)) => match self.restraint(cause, &choice) {
                None => {
                    self.agenda.set(id, None);
                    self.start(now, id, cause, &choice, &judged);
                }
                Some(restraint) => {
                    let at = self.look_again(now, host, &judged, Again::ByForecast);
                    self.agenda.set(id, at);
                    let reason = HoldReason::HeldBack {
                        restraint,
                        vm: self.functions[choice.function].told.vm.clone(),
                        target: self.hosts[choice.target.0 as usize].name.clone(),
                        gain: choice.gain,
                    };
                    self.hold(now, id, reason, &judged);
                }
            },
            Err(Refusal { reason, again }) => {
                let at = self.look_again(now, host, &judged, again);
                self.agenda.set(id, at);
                if matches!(again, Again::AfterOthers) {
                    self.waiting.insert(id);
                }
                self.hold(now, id, reason, &judged);
            }
        }
    }

    /// What keeps a move from beginning that was chosen.
    fn restraint(&self, cause: Cause, choice: &Choice) -> Option<Restraint> {
        if self.disarmed {
            return Some(Restraint::Disarmed);
        }
        match self.settings.trust {
            Trust::Automatic => None,
            Trust::Observe => Some(Restraint::Observe),
            // Who empties a host has said that its functions are to go.
            Trust::Recommend if cause == Cause::Drain => None,
            Trust::Recommend => {
                let approved = self.approved == Some((choice.function, choice.target));
                (!approved).then_some(Restraint::Approval)
            }
        }
    }

    /// A move that a person asked for: trust, cool-down and gain are the person's matter; that the target can carry it, and
    /// that nothing else is under way at either end, is not.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub(crate) fn ordered(
        &self,
        now: Timestamp,
        function: usize,
        target: HostId,
    ) -> Result<Choice, HoldReason> {
        let source = self.functions[function].host;
        if source == target {
            return Err(HoldReason::AlreadyThere);
        }
        if self.disarmed {
            return Err(HoldReason::HeldBack {
                restraint: Restraint::Disarmed,
                vm: self.functions[function].told.vm.clone(),
                target: self.hosts[target.0 as usize].name.clone(),
                gain: None,
            });
        }
        for end in [source, target] {
            if let Some(migration) = self.involved(end) {
                return Err(HoldReason::Busy { migration });
            }
        }
        let host = &self.hosts[source.0 as usize];
        if !self.free(host).any(|free| free == function) {
            let wanted = &self.functions[function];
            let here = host.functions.iter().map(|f| &self.functions[*f]);
            // Itself, and what would have to go with it.
            let others = here.filter(|other| other.belongs_to(wanted));
            return Err(Self::kept(std::iter::once(wanted).chain(others)));
        }
        let wanted = Wanted {
            cause: Cause::Order,
            movable: vec![function],
            worth: Worth::Whatever,
            only: Some(target),
        };
        let placed = self.place(now, source, wanted);
        placed
            .map(|(_, choice)| choice)
            .map_err(|refusal| refusal.reason)
    }

    /// The move that a host takes part in.
    pub(crate) fn involved(&self, id: HostId) -> Option<MigrationId> {
        let host = &self.hosts[id.0 as usize];
        if !host.source && host.arriving.is_empty() {
            return None;
        }
        let involved = |(_, open): &(_, &Open)| open.source == id || open.target == id;
        self.moves.iter().find(involved).map(|(id, _)| *id)
    }

    fn look_again(
        &self,
        now: Timestamp,
        host: &Host,
        judged: &Judgement,
        again: Again,
    ) -> Option<Timestamp> {
        let by = match again {
            Again::Never => return None,
            Again::At(at) => Some(at),
            Again::ByForecast | Again::AfterOthers => judged.start_by,
        };
        let stale = host.stale_at(&self.settings.limits);
        by.into_iter().chain(stale).filter(|at| *at > now).min()
    }

    /// What moves and where to, or why nothing does.
    fn decide(
        &self,
        now: Timestamp,
        id: HostId,
        host: &Host,
        judged: &Judgement,
    ) -> Result<(Cause, Choice), Refusal> {
        if self.settings.policy == Policy::None {
            return Err(never(HoldReason::NeverMoves));
        }
        if let Some(migration) = self.involved(id) {
            return Err(HoldReason::Busy { migration }.into());
        }
        if host.functions.is_empty() {
            return Err(never(HoldReason::NothingToMove));
        }
        if !host.any_free {
            let here = host.functions.iter().map(|f| &self.functions[*f]);
            return Err(never(Self::kept(here)));
        }
        // Most hosts are calm most of the time: nothing is gathered for them.
        if self.groups.is_empty() && !host.draining {
            self.presses(now, host, judged)?;
        }
        let free: Vec<usize> = self.free(host).collect();
        let stray = self.stray(now, &free);
        let torn = match stray.map(|wanted| self.place(now, id, wanted?)) {
            Some(Ok(choice)) => return Ok(choice),
            Some(Err(refusal)) => Some(refusal),
            None => None,
        };
        // What belongs elsewhere does not go to a third host while it may still follow, nor while another can go instead.
        let others = free.iter().copied().filter(|f| self.follows(*f).is_none());
        let others: Vec<usize> = others.collect();
        let (free, torn) = match torn {
            Some(refusal) if others.is_empty() && refusal.passes() => return Err(refusal),
            Some(refusal) if !others.is_empty() => (others, Some(refusal)),
            torn => (free, torn),
        };
        let wanted = self.wanted(now, host, judged, &free);
        match (wanted.and_then(|wanted| self.place(now, id, wanted)), torn) {
            // Calm otherwise: that a group is torn is what there is to say.
            (Err(refusal), Some(torn)) if refusal.is_calm() => Err(torn),
            (chosen, _) => chosen,
        }
    }

    /// A move that is due, with its function and target.
    fn place(
        &self,
        now: Timestamp,
        id: HostId,
        wanted: Wanted,
    ) -> Result<(Cause, Choice), Refusal> {
        let limit = self.settings.limits.moves_at_once_max;
        if self.moves.len() >= limit as usize {
            return Err(Refusal {
                reason: HoldReason::MovesAtOnce { limit },
                again: Again::AfterOthers,
            });
        }
        let copying_extra = match self.settings.policy {
            Policy::Deadline { copying_extra, .. } => copying_extra,
            Policy::None | Policy::Threshold { .. } => 0.0,
        };
        let site = Site {
            now,
            hosts: &self.hosts,
            functions: &self.functions,
            limits: &self.settings.limits,
            picture_age: &self.settings.picture_age,
            knee: self.settings.policy.knee(),
            copying_extra,
        };
        match site.choose(id, &wanted.movable, wanted.worth, wanted.only) {
            Ok(choice) => Ok((wanted.cause, choice)),
            // The agent of a host that a person empties may be the one that is silent: nothing of it need come in.
            Err(reason) if wanted.worth == Worth::Whatever => Err(Refusal {
                reason,
                again: Again::At(now + PLACED_AGAIN_EVERY),
            }),
            Err(reason @ HoldReason::NoTargetFits { .. }) => Err(Refusal {
                reason,
                again: Again::AfterOthers,
            }),
            Err(reason) => Err(reason.into()),
        }
    }

    /// Functions of a host that may leave it: neither pinned nor given up nor in doubt, nor is any other of their group.
    pub(crate) fn free<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = usize> + 'a {
        let here = || host.functions.iter().map(|f| &self.functions[*f]);
        let free = move |f: &usize| {
            let function = &self.functions[*f];
            !function.is_kept()
                && !here().any(|other| other.is_kept() && other.belongs_to(function))
        };
        host.functions.iter().copied().filter(free)
    }

    /// Why none of these functions may leave their host: one that is in doubt, else what only a person changes.
    fn kept<'a>(mut functions: impl Iterator<Item = &'a Function>) -> HoldReason {
        let in_doubt = functions.find_map(|function| {
            let doubt = function.doubt.clone()?;
            let vm = function.told.vm.clone();
            Some(HoldReason::InDoubt { vm, doubt })
        });
        in_doubt.unwrap_or(HoldReason::NothingFree)
    }

    /// A function whose group is elsewhere, if there is one: it follows.
    fn stray(&self, now: Timestamp, free: &[usize]) -> Option<Result<Wanted, Refusal>> {
        let strays = free
            .iter()
            .filter_map(|f| self.follows(*f).map(|to| (*f, to)));
        let (stray, to) = strays.min()?;
        Some(self.rested(now, &[stray]).map(|movable| Wanted {
            cause: Cause::Together,
            movable,
            worth: Worth::Whatever,
            only: Some(to),
        }))
    }

    /// Whether a move is due, and of which functions.
    fn wanted(
        &self,
        now: Timestamp,
        host: &Host,
        judged: &Judgement,
        free: &[usize],
    ) -> Result<Wanted, Refusal> {
        if host.draining {
            return Ok(Wanted {
                cause: Cause::Drain,
                movable: self.rested(now, free)?,
                worth: Worth::Whatever,
                only: None,
            });
        }
        self.presses(now, host, judged)?;
        let worth = match self.settings.policy {
            Policy::Deadline { .. } => Worth::YoungerPicture,
            Policy::None | Policy::Threshold { .. } => Worth::LessLoad,
        };
        Ok(Wanted {
            cause: Cause::Load,
            movable: self.rested(now, free)?,
            worth,
            only: None,
        })
    }

    /// Whether the load of a host presses for a move, or why not.
    fn presses(&self, now: Timestamp, host: &Host, judged: &Judgement) -> Result<(), Refusal> {
        let limits = &self.settings.limits;
        if let Some(reason) = host.unusable(now, limits) {
            // Nothing may ever come in of it: it is said again all the same.
            return Err(Refusal {
                reason,
                again: Again::At(now + HOLD_LOGGED_EVERY),
            });
        }
        if let Err(reason) = &judged.due {
            return Err(reason.clone().into());
        }
        // A trend that is believed rests on several samples already; a level by itself may be a passing spike.
        let trend = host.forecast().is_some_and(Forecast::trusted);
        if !trend && host.due_in_a_row() < limits.sustained_samples {
            let (samples, needed) = (host.due_in_a_row(), limits.sustained_samples);
            return Err(HoldReason::NotSustained { samples, needed }.into());
        }
        Ok(())
    }

    /// Those that do not cool down.
    fn rested(&self, now: Timestamp, functions: &[usize]) -> Result<Vec<usize>, Refusal> {
        let until = |f: &usize| self.functions[*f].cooldown_until;
        let rested: Vec<usize> = functions
            .iter()
            .copied()
            .filter(|f| until(f) <= now)
            .collect();
        if !rested.is_empty() {
            return Ok(rested);
        }
        let until_us = functions.iter().map(until).min().unwrap_or(now);
        Err(Refusal {
            reason: HoldReason::CoolingDown { until_us },
            again: Again::At(until_us),
        })
    }

    /// The host on which the function of its group is that moved last, when that is another one.
    fn follows(&self, function: usize) -> Option<HostId> {
        let this = &self.functions[function];
        let group = this.told.together.as_ref()?;
        let others = self.groups.get(group)?.iter().map(|f| &self.functions[*f]);
        let leader = others.max_by_key(|other| other.moved_at)?;
        (leader.moved_at > this.moved_at && leader.host != this.host).then_some(leader.host)
    }

    pub(crate) fn start(
        &mut self,
        now: Timestamp,
        source: HostId,
        cause: Cause,
        choice: &Choice,
        judged: &Judgement,
    ) {
        let migration = self.begin(now, source, choice);
        let host = &mut self.hosts[source.0 as usize];
        host.logged = None;
        host.holding = None;
        let host = &self.hosts[source.0 as usize];
        let told = &self.functions[choice.function].told;
        let predicts = matches!(self.settings.policy, Policy::Deadline { .. });
        let event = Event::Start {
            migration,
            vm: told.vm.clone(),
            host: host.name.clone(),
            source: host.name.clone(),
            target: self.hosts[choice.target.0 as usize].name.clone(),
            mode: self.settings.mode,
            cause,
            target_load: choice.target_load,
            gain: choice.gain,
            predicted_total_ms: predicts.then_some(told.migration_ms),
            evidence: self.settings.policy.evidence(now, host, judged),
        };
        self.emit(now, event);
    }

    fn hold(&mut self, now: Timestamp, id: HostId, reason: HoldReason, judged: &Judgement) {
        let host = &mut self.hosts[id.0 as usize];
        host.holding = Some(reason.clone());
        // What cannot change by itself is said once.
        let once = matches!(
            reason,
            HoldReason::NeverMoves | HoldReason::NothingToMove | HoldReason::NothingFree
        );
        let same = |(logged, at): &(HoldReason, Timestamp)| {
            std::mem::discriminant(logged) == std::mem::discriminant(&reason)
                && (once || now.since(*at) < HOLD_LOGGED_EVERY)
        };
        if host.logged.as_ref().is_some_and(same) {
            return;
        }
        host.logged = Some((reason.clone(), now));
        let host = &self.hosts[id.0 as usize];
        let event = Event::Hold {
            host: host.name.clone(),
            reason,
            evidence: self.settings.policy.evidence(now, host, judged),
        };
        self.emit(now, event);
    }
}

const fn never(reason: HoldReason) -> Refusal {
    Refusal {
        reason,
        again: Again::Never,
    }
}

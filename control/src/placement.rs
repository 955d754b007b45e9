//! Which function, and where to?
//!
//! For each function that may leave a host, and each host that may carry it, the mean picture age that all viewers of the
//! host's functions are expected to see over the horizon of gain: slower while it is copied, the gap at the switch, recovery from
//! it, and afterwards the target for this function and a less loaded source for the others. Jitter is in it: the picture age by load
//! is that of 95 of 100 pictures, and a path counts with what its jitter makes a play-out buffer hold. The pair with the least
//! wins; it has to be less than without a move.
//!
//! The curve of picture age by load was measured with the configured knee. Where viewers have taught another one for a host, the curve
//! is shifted by the difference: a load counts as it would on a host with the configured knee (`Site::shift`).

use record::decision::{Candidate, Gain, HoldReason, Unfit};
use record::{Timestamp, Utilization};

use crate::function::Function;
use crate::host::{Host, HostId};
use crate::picture_age::PictureAge;
use crate::settings::{Limits, milliseconds};

/// Points at which a forecast is read over the horizon, each in the middle of its part.
const HORIZON_POINTS: u32 = 4;
/// So many candidates stand in the log of a function that no host can carry: those that came nearest.
pub(crate) const CANDIDATES_LOGGED_MAX: usize = 8;
/// A host leaves a backlog at least this share of itself: a full one would never work it off, which is for the limit on targets to
/// prevent.
const FREE_MIN: f64 = 0.02;
/// At most so many functions of a host are considered for one move, those with the largest load first: one of them relieves it
/// most, and more would only cost time.
const FUNCTIONS_CONSIDERED_MAX: usize = 16;

/// All that a choice is made from.
pub(crate) struct Site<'a> {
    pub(crate) now: Timestamp,
    pub(crate) hosts: &'a [Host],
    pub(crate) functions: &'a [Function],
    pub(crate) limits: &'a Limits,
    pub(crate) picture_age: &'a PictureAge,
    /// The knee of hosts that have none of their own; `None` for a policy without one.
    pub(crate) knee: Option<Utilization>,
    /// What copying adds to the load of the source.
    pub(crate) copying_extra: f64,
}

/// Whether a move has to be worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// The target has to be less loaded than the source (a fixed threshold knows no more).
    LessLoad,
    /// And viewers have to be expected to see younger pictures.
    YoungerPicture,
    /// It is moved whatever it gains.
    Whatever,
}

/// A move that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) function: usize,
    pub(crate) target: HostId,
    /// Forecast load of the target with the function on it.
    pub(crate) target_load: f64,
    pub(crate) gain: Option<Gain>,
}

/// A host that fits, and its forecast load without the function.
#[derive(Clone, Copy, Debug)]
struct Target {
    host: HostId,
    /// When the function comes.
    load: f64,
    /// What is added to its load where a load is judged: its knee is by so much lower than the configured one.
    shift: f64,
    /// By how much it rises in a second, as far as that is believed; never negative.
    rise_per_s: f64,
}

impl Site<'_> {
    /// The best move of one of `movable`, all on `source`; to `only`, where one is named.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn choose(
        &self,
        source: HostId,
        movable: &[usize],
        worth: Worth,
        only: Option<HostId>,
    ) -> Result<Choice, HoldReason> {
        let mut by_load: Vec<usize> = movable.to_vec();
        by_load.sort_by(|a, b| self.load(*b).total_cmp(&self.load(*a)).then(a.cmp(b)));
        by_load.truncate(FUNCTIONS_CONSIDERED_MAX);
        let mut best: Option<(f64, Choice)> = None;
        let mut refusal = None;
        for &function in &by_load {
            match self.best_target(source, function, worth, only) {
                // The largest first: what is left is easier to place.
                Ok((_, choice)) if worth == Worth::Whatever => return Ok(choice),
                Ok((cost, choice)) => {
                    if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                        best = Some((cost, choice));
                    }
                }
                Err(reason) => {
                    refusal.get_or_insert(reason);
                }
            }
        }
        match (best, refusal) {
            (Some((_, choice)), _) => Ok(choice),
            (None, Some(reason)) => Err(reason),
            (None, None) => Err(HoldReason::NothingFree),
        }
    }

    /// The best target for a function, with what it costs.
    fn best_target(
        &self,
        source: HostId,
        function: usize,
        worth: Worth,
        only: Option<HostId>,
    ) -> Result<(f64, Choice), HoldReason> {
        let moving = &self.functions[function];
        let (mut refused, mut considered) = (Vec::new(), 0);
        // Where the last move failed comes last, then the younger picture, then the lower load.
        let rank = |target: &Target| {
            let failed = moving.failed_target == Some(target.host);
            let switch = self.gap_ms_ms(moving, *target) / self.limits.gain_horizon_ms;
            (failed, self.after_ms(moving, *target) + switch, target.load)
        };
        let mut best: Option<((bool, f64, f64), Target)> = None;
        for host in (0..).map(HostId).take(self.hosts.len()) {
            if host == source || only.is_some_and(|only| host != only) {
                continue;
            }
            considered += 1;
            match self.fits(moving, host) {
                Ok(target) => {
                    let ranked = rank(&target);
                    if best.as_ref().is_none_or(|(least, _)| ranked < *least) {
                        best = Some((ranked, target));
                    }
                }
                Err(why) => nearest(&mut refused, why),
            }
        }
        let Some((_, target)) = best else {
            return Err(self.no_target_fits(moving, refused, considered));
        };
        self.worth(source, function, target, worth)
    }

    /// Whether a host can carry a function.
    fn fits(&self, function: &Function, id: HostId) -> Result<Target, (Unfit, f64, HostId)> {
        let host = &self.hosts[id.0 as usize];
        let limits = self.limits;
        let refuse = |why| Err((why, f64::INFINITY, id));
        if !self.group(function).all(|member| member.may_run_on(id)) {
            return refuse(Unfit::Forbidden);
        }
        if host.draining {
            return refuse(Unfit::Draining);
        }
        if host.source {
            return refuse(Unfit::Source);
        }
        if host.arriving.len() >= limits.arrivals_at_once_max as usize {
            return refuse(Unfit::Arrivals);
        }
        if self
            .group(function)
            .any(|member| self.must_stay_apart(member, host))
        {
            return refuse(Unfit::Apart);
        }
        let forecast = match host.forecast() {
            Some(forecast) if host.unusable(self.now, limits).is_none() => forecast,
            _ => return refuse(Unfit::NotFresh),
        };
        let then = self.now + milliseconds(function.told.migration_ms);
        // A falling load is not counted on: it may stop falling. What is on its way there is.
        let seen = host.utilization().map_or(0.0, Utilization::share);
        let load = forecast.at(then).max(forecast.at(self.now)).max(seen)
            + host.arriving.iter().map(|(_, load)| load).sum::<f64>();
        let with_it = load + self.group_load(function);
        if with_it > self.load_max(host) {
            return Err((Unfit::OverLimit, with_it, id));
        }
        Ok(Target {
            host: id,
            load,
            shift: self.shift(host),
            rise_per_s: forecast.slope_per_s().max(0.0),
        })
    }

    /// By how much the knee of a host is lower than the configured one; negative where it is higher.
    fn shift(&self, host: &Host) -> f64 {
        let knees = self.knee.zip(host.knee);
        knees.map_or(0.0, |(configured, own)| configured.share() - own.share())
    }

    /// Highest load of a host as a target. A higher knee of its own does not raise it: there is room for what nobody foresees in it.
    fn load_max(&self, host: &Host) -> f64 {
        (self.limits.target_load_max.share() - self.shift(host).max(0.0)).max(0.0)
    }

    fn load(&self, function: usize) -> f64 {
        self.functions[function].load(self.now).share()
    }

    /// A function, and all that will follow it.
    fn group<'b>(&'b self, function: &'b Function) -> impl Iterator<Item = &'b Function> {
        let here = self.hosts[function.host.0 as usize].functions.iter();
        let same = move |other: &&Function| {
            other.belongs_to(function) && other.told.vm != function.told.vm
        };
        let others = here.map(|other| &self.functions[*other]).filter(same);
        std::iter::once(function).chain(others)
    }

    fn group_load(&self, function: &Function) -> f64 {
        self.group(function)
            .map(|member| member.load(self.now).share())
            .sum()
    }

    fn must_stay_apart(&self, function: &Function, host: &Host) -> bool {
        let Some(group) = &function.told.apart else {
            return false;
        };
        let arriving = host.arriving.iter().map(|(other, _)| other);
        let there = host.functions.iter().chain(arriving);
        there.map(|other| &self.functions[*other]).any(|other| {
            other.told.apart.as_ref() == Some(group) && other.told.vm != function.told.vm
        })
    }

    /// Mean picture age that a function's viewers are expected to see at a target, from when it is there to the end of the horizon.
    fn after_ms(&self, function: &Function, target: Target) -> f64 {
        let load = target.load + target.shift + function.load(self.now).share();
        let path_ms = function.path_ms(target.host);
        if target.rise_per_s <= 0.0 {
            return path_ms + self.picture_age.at(load);
        }
        let left_s = (self.limits.gain_horizon_ms - function.told.migration_ms).max(0.0) / 1e3;
        let ages = middles().map(|middle| {
            self.picture_age
                .at(load + target.rise_per_s * left_s * middle)
        });
        path_ms + ages.sum::<f64>() / f64::from(HORIZON_POINTS)
    }

    /// Whether a move is worth it, and the mean picture age with it.
    fn worth(
        &self,
        source: HostId,
        function: usize,
        target: Target,
        worth: Worth,
    ) -> Result<(f64, Choice), HoldReason> {
        let moving = &self.functions[function];
        let target_load = target.load + moving.load(self.now).share();
        let mut choice = Choice {
            function,
            target: target.host,
            target_load,
            gain: None,
        };
        if worth == Worth::Whatever {
            return Ok((self.after_ms(moving, target), choice));
        }
        let source_host = &self.hosts[source.0 as usize];
        let name = || self.hosts[target.host.0 as usize].name.clone();
        let source_load = source_host.utilization().map_or(0.0, Utilization::share);
        if target_load + target.shift + self.limits.gain_min > source_load + self.shift(source_host)
        {
            return Err(HoldReason::NoGain {
                target: name(),
                target_load,
            });
        }
        if worth == Worth::LessLoad {
            return Ok((self.after_ms(moving, target), choice));
        }
        let gain = self.gain(source_host, source, moving, target);
        if gain.move_ms >= gain.stay_ms {
            return Err(HoldReason::NoUsefulMove {
                vm: moving.told.vm.clone(),
                target: name(),
                gain,
            });
        }
        choice.gain = Some(gain);
        Ok((gain.move_ms, choice))
    }

    /// Mean picture age over the horizon, over all viewers of the source's functions, without and with the move.
    fn gain(&self, host: &Host, source: HostId, moving: &Function, target: Target) -> Gain {
        let horizon_ms = self.limits.gain_horizon_ms;
        let copying_ms = moving.told.migration_ms.min(horizon_ms);
        let shift = self.shift(host);
        let age = |load: f64| self.picture_age.at(load + shift);
        let load = moving.load(self.now).share();
        let (mut stay, mut others_after, mut while_copied) = (0.0, 0.0, 0.0);
        for middle in middles() {
            stay += age(self.expected(host, horizon_ms * middle));
            let copying = self.expected(host, copying_ms * middle) + self.copying_extra;
            while_copied += age(copying);
            let after = copying_ms + (horizon_ms - copying_ms) * middle;
            others_after += age(self.expected(host, after) - load);
        }
        let points = f64::from(HORIZON_POINTS);
        let (stay, others_after, while_copied) =
            (stay / points, others_after / points, while_copied / points);
        let copying_share = copying_ms / horizon_ms;
        let mean = |then: f64| while_copied * copying_share + then * (1.0 - copying_share);
        let gap = self.gap_ms_ms(moving, target) / horizon_ms;
        let mut viewers = 0.0;
        let mut gain = Gain {
            stay_ms: 0.0,
            move_ms: 0.0,
        };
        for function in host.functions.iter().map(|id| &self.functions[*id]) {
            let (count, path) = (f64::from(function.told.viewers), function.path_ms(source));
            viewers += count;
            gain.stay_ms += count * (path + stay);
            gain.move_ms += count
                * if function.told.vm == moving.told.vm {
                    let there = self.after_ms(moving, target);
                    (path + while_copied) * copying_share + there * (1.0 - copying_share) + gap
                } else {
                    path + mean(others_after)
                };
        }
        if viewers > 0.0 {
            gain.stay_ms /= viewers;
            gain.move_ms /= viewers;
        }
        gain
    }

    /// What the switch adds to the picture age, summed up over time: milliseconds times milliseconds.
    ///
    /// In the gap the age grows by a second each second. What came meanwhile waits at the target and is worked off by what the
    /// target leaves free: a function that needs a share `l` of a host on which `f` is free gains on its backlog by `f / l`
    /// seconds a second, and the age falls back along a line (a fluid queue; Kleinrock, Queueing Systems II, section 2.7).
    fn gap_ms_ms(&self, moving: &Function, target: Target) -> f64 {
        let (gap_ms, load) = (moving.told.gap_ms, moving.load(self.now).share());
        let free = (1.0 - target.load - load).max(FREE_MIN);
        let recovery_ms = (gap_ms * load / free).min(self.limits.gain_horizon_ms);
        gap_ms * (gap_ms + recovery_ms) / 2.0
    }

    /// Forecast load of a host, `ahead_ms` from now. Where it is past its newest value and falls, the fall is believed.
    fn expected(&self, host: &Host, ahead_ms: f64) -> f64 {
        let then = self.now + milliseconds(ahead_ms);
        host.forecast()
            .map_or(0.0, |forecast| forecast.at(then).clamp(0.0, 1.0))
    }

    fn no_target_fits(
        &self,
        function: &Function,
        refused: Vec<(Unfit, f64, HostId)>,
        considered: usize,
    ) -> HoldReason {
        let candidate = |(unfit, load, host): (Unfit, f64, HostId)| Candidate {
            host: self.hosts[host.0 as usize].name.clone(),
            load: load.is_finite().then_some(load),
            limit: Utilization::clamped(self.load_max(&self.hosts[host.0 as usize])),
            unfit,
        };
        HoldReason::NoTargetFits {
            vm: function.told.vm.clone(),
            candidates: refused.into_iter().map(candidate).collect(),
            considered,
        }
    }
}

/// Middles of the parts of a horizon, as shares of it.
fn middles() -> impl Iterator<Item = f64> {
    (0..HORIZON_POINTS).map(|point| (f64::from(point) + 0.5) / f64::from(HORIZON_POINTS))
}

/// Keeps the candidates that came nearest: those that will be targets soonest, then those over the limit by the least.
fn nearest(refused: &mut Vec<(Unfit, f64, HostId)>, why: (Unfit, f64, HostId)) {
    let place =
        refused.partition_point(|other| (other.0, other.1, other.2) < (why.0, why.1, why.2));
    if place < CANDIDATES_LOGGED_MAX {
        refused.insert(place, why);
        refused.truncate(CANDIDATES_LOGGED_MAX);
    }
}

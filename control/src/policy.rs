//! Is it time?

use record::decision::{Evidence, HoldReason};
use record::{Timestamp, Utilization};

use crate::host::Host;
use crate::settings::{Policy, milliseconds};

/// What a policy says of a host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// `Ok` when a move is due, else why not.
    pub(crate) due: Result<(), HoldReason>,
    /// Latest instant at which a move may start and still finish before the load reaches `limit`.
    pub(crate) start_by: Option<Timestamp>,
    /// The load that must not be reached while a move is under way; `None` for a policy without a knee.
    pub(crate) limit: Option<f64>,
}

impl Policy {
    /// The knee that is configured, for a policy that has one.
    #[must_use]
    pub const fn knee(&self) -> Option<Utilization> {
        match *self {
            Self::Deadline { knee, .. } => Some(knee),
            Self::None | Self::Threshold { .. } => None,
        }
    }

    /// Judges a host on its samples. Freshness, cool-down and targets are looked at elsewhere.
    pub(crate) fn judge(&self, now: Timestamp, host: &Host) -> Judgement {
        let verdict = |due: bool, reason, start_by, limit| Judgement {
            due: if due { Ok(()) } else { Err(reason) },
            start_by,
            limit,
        };
        match *self {
            Self::None => verdict(false, HoldReason::NeverMoves, None, None),
            Self::Threshold { start_at } => {
                let over = host.utilization().is_some_and(|load| load >= start_at);
                verdict(over, HoldReason::BelowThreshold, None, None)
            }
            Self::Deadline {
                knee,
                copying_extra,
                decision_ms,
                margin_sd,
            } => {
                let lead = host.migration + milliseconds(decision_ms);
                let knee = host.knee.unwrap_or(knee);
                // While it is copied the function needs more, so the delay explodes at a lower load of all the rest.
                let limit = knee.share() - copying_extra - margin_sd * host.forecast_sd(lead);
                let reached = host.forecast().and_then(|forecast| forecast.reaches(limit));
                let start_by = reached.map(|reached| reached - lead);
                let due = start_by.is_some_and(|start_by| now >= start_by);
                verdict(due, HoldReason::NotDue, start_by, Some(limit))
            }
        }
    }

    /// The figures that a judgement of a host rests on, for the log.
    pub(crate) fn evidence(&self, now: Timestamp, host: &Host, judged: &Judgement) -> Evidence {
        let threshold = match *self {
            Self::Threshold { start_at } => Some(start_at),
            Self::None | Self::Deadline { .. } => None,
        };
        let configured = self.knee();
        let knee = configured.map(|configured| host.knee.unwrap_or(configured));
        Evidence {
            utilization: host.utilization(),
            sample_age_ms: host
                .newest()
                .map(|reading| reading.age(now).as_micros() as f64 / 1e3),
            forecast: host.forecast().map(|forecast| {
                forecast.record(now, judged.limit, host.forecast_sd(host.migration))
            }),
            threshold,
            knee,
            knee_configured: configured.filter(|_| knee != configured),
            start_by_us: judged.start_by,
        }
    }
}

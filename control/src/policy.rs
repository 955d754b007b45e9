//! Is it time?

use record::Timestamp;
use record::decision::{Evidence, HoldReason};

use crate::host::Host;
use crate::settings::{Limits, Policy, milliseconds};

/// What a policy says of a host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// `Ok` when a move is due, else why not.
    pub(crate) due: Result<(), HoldReason>,
    /// The figures.
    pub(crate) evidence: Evidence,
    /// Instant at which a move becomes due if nothing new is seen.
    pub(crate) due_at: Option<Timestamp>,
    /// Prediction of the move's time, for a policy that has one.
    pub(crate) predicted_total_ms: Option<f64>,
}

impl Policy {
    /// Judges a host on its samples. Freshness, cool-down and targets are looked at elsewhere.
    pub(crate) fn judge(&self, now: Timestamp, host: &Host, limits: &Limits) -> Judgement {
        let forecast = host.forecast(limits);
        let mut evidence = Evidence {
            utilization: host.utilization(),
            sample_age_ms: host
                .newest()
                .map(|sample| sample.age(now).as_micros() as f64 / 1e3),
            ..Evidence::default()
        };
        let mut judgement = |due, due_at, predicted_total_ms, knee: Option<f64>| {
            evidence.forecast = forecast.map(|forecast| forecast.record(now, knee));
            Judgement {
                due,
                evidence: evidence.clone(),
                due_at,
                predicted_total_ms,
            }
        };
        match *self {
            Self::None => judgement(Err(HoldReason::NeverMoves), None, None, None),
            Self::Threshold { start_at } => {
                let over = host
                    .utilization()
                    .is_some_and(|utilization| utilization >= start_at);
                let mut judged = judgement(
                    if over {
                        Ok(())
                    } else {
                        Err(HoldReason::BelowThreshold)
                    },
                    None,
                    None,
                    None,
                );
                judged.evidence.threshold = Some(start_at);
                judged
            }
            Self::Deadline {
                knee,
                copying_extra,
                migration_ms,
                decision_ms,
            } => {
                // While it is copied the function needs more, so the delay explodes at a lower load of all the rest.
                let limit = knee.share() - copying_extra;
                let lead = milliseconds(migration_ms + decision_ms);
                let start_by = forecast
                    .and_then(|forecast| forecast.reaches(limit))
                    .map(|reached| reached - lead);
                let due = start_by.is_some_and(|start_by| now >= start_by);
                let due = if due { Ok(()) } else { Err(HoldReason::NotDue) };
                let mut judged = judgement(due, start_by, Some(migration_ms), Some(limit));
                judged.evidence.knee = Some(knee);
                judged.evidence.start_by_us = start_by;
                judged
            }
        }
    }
}

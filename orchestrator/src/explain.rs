//! Decisions in plain words, with the figures that they rest on. What is true of a function itself is in `explain/function.rs`.

mod function;

use record::decision::{
    CancelReason, Candidate, Cause, End, Evidence, Gain, HoldReason, Restraint, Unfit,
};
use record::{Decision, Event, HostName, Timestamp, Verdict};

use crate::knees::KneeStatus;
use crate::progress::CopyProgress;

use function::of_doubt;

pub use function::{of_function, of_gap};

/// Why a function moved, and what became of it: a line for each thing that was decided, oldest first.
#[must_use]
pub fn of_move(decisions: &[Decision]) -> Vec<String> {
    let begun = decisions.first().map(|decision| decision.at_us);
    decisions
        .iter()
        .map(|decision| {
            let after = begun.map_or(0.0, |begun| decision.at_us.seconds_after(begun));
            format!("{after:+8.2} s  {}", of_decision(decision))
        })
        .collect()
}

/// One decision.
#[must_use]
pub fn of_decision(decision: &Decision) -> String {
    match &decision.event {
        Event::Hold {
            host,
            reason,
            evidence,
        } => format!(
            "nothing leaves {host}: {}. {}",
            of_hold(decision.at_us, reason),
            of_evidence(decision.at_us, evidence)
        ),
        Event::Start {
            vm,
            source,
            target,
            cause,
            target_load,
            gain,
            predicted_total_ms,
            evidence,
            ..
        } => {
            let gain = gain.as_ref().map(of_gain);
            let gain = gain
                .map(|gain| format!(" By that {gain}."))
                .unwrap_or_default();
            let predicted = predicted_total_ms
                .map(|ms| format!(" It is expected to take {} at most.", seconds(ms / 1e3)))
                .unwrap_or_default();
            format!(
                "move {vm} from {source} to {target}, since {}. {} With it {target} is expected at {}.{gain}{predicted}",
                of_cause(*cause),
                of_evidence(decision.at_us, evidence),
                percent(*target_load),
            )
        }
        Event::Inspect { .. } => "look where it is: the target first, then the source".into(),
        Event::Cancel { why, .. } => match why {
            CancelReason::TimedOut => "give up copying: it took too long".into(),
        },
        Event::Run { end, .. } => format!(
            "let it run at the {}: the other end was seen not to run it",
            of_end(*end)
        ),
        Event::Discard { end, .. } => format!(
            "clear away what is left at the {}, where it was seen not to run",
            of_end(*end)
        ),
        Event::Settled {
            verdict,
            target,
            source,
            failure,
            cooldown_until_us,
            ..
        } => {
            let failure = failure
                .as_ref()
                .map(|words| format!(" What went wrong: {words}."))
                .unwrap_or_default();
            let rest = cooldown_until_us.seconds_after(decision.at_us);
            format!(
                "{}: target {target:?}, source {source:?}.{failure} No further move of it for {}.",
                of_verdict(*verdict),
                seconds(rest)
            )
        }
        Event::Relocated { vm, from, to } => {
            format!("{vm} was moved from {from} to {to} by somebody else")
        }
        Event::Declined { vm, target, why } => {
            format!(
                "{vm} is not moved to {target} as was asked: {}",
                of_hold(decision.at_us, why)
            )
        }
        Event::Alarm {
            verdict,
            target,
            source,
            ..
        } => format!(
            "ALARM: {}: target {target:?}, source {source:?}",
            of_verdict(*verdict)
        ),
    }
}

/// What the log says of a decision: moves from beginning to end, those that wait for a person's word, and those that others made.
/// Why nothing is moved stands in the journal alone, and alarms are told by themselves.
#[must_use]
pub fn for_log(decision: &Decision) -> Option<String> {
    let words = || of_decision(decision);
    match &decision.event {
        Event::Start { migration, .. }
        | Event::Cancel { migration, .. }
        | Event::Settled { migration, .. } => Some(format!("move {migration}: {}", words())),
        Event::Hold {
            reason: HoldReason::HeldBack { .. },
            ..
        }
        | Event::Declined { .. }
        | Event::Relocated { .. } => Some(words()),
        Event::Hold { .. }
        | Event::Inspect { .. }
        | Event::Run { .. }
        | Event::Discard { .. }
        | Event::Alarm { .. } => None,
    }
}

/// Why nothing is moved at an instant, in words that end without a full stop.
#[must_use]
pub fn of_hold(at: Timestamp, reason: &HoldReason) -> String {
    match reason {
        HoldReason::NeverMoves => "the policy is never to move".into(),
        HoldReason::NothingToMove => "no function is on it".into(),
        HoldReason::NothingFree => {
            "its functions are pinned to it, or given up until a person has looked (`forestall release`)".into()
        }
        HoldReason::InDoubt { vm, doubt } => format!(
            "{vm} stays until it is seen to run on one host alone: {}",
            of_doubt(doubt)
        ),
        HoldReason::NoSample => "no sample of its load has come yet".into(),
        HoldReason::StaleSample { limit_ms } => format!(
            "its newest sample is older than {}: it may tell of the past",
            seconds(limit_ms / 1e3)
        ),
        HoldReason::SampleBeforeMove { moved_at_us } => format!(
            "a function came or left {} ago, and no sample tells of the time since",
            seconds(at.since(*moved_at_us).as_secs_f64())
        ),
        HoldReason::BelowThreshold => "its load is under the threshold".into(),
        HoldReason::NotDue => "by the forecast there is time still".into(),
        HoldReason::NotSustained { samples, needed } => format!(
            "it would be time by its load as it is, but there is no trend to believe and only {samples} of {needed} \
             samples in a row say so"
        ),
        HoldReason::Busy { migration } => {
            format!("move {migration} is under way, or how it ended is not known")
        }
        HoldReason::MovesAtOnce { limit } => {
            format!("{limit} moves are under way, which is as many as may be")
        }
        HoldReason::CoolingDown { until_us } => format!(
            "its functions have moved, or failed to, too lately: none is moved for another {}",
            seconds(until_us.since(at).as_secs_f64())
        ),
        HoldReason::NoTargetFits {
            vm,
            candidates,
            considered,
        } => {
            let nearest: Vec<String> = candidates.iter().map(of_candidate).collect();
            format!(
                "none of {considered} hosts can carry {vm}: {}",
                nearest.join("; ")
            )
        }
        HoldReason::NoGain {
            target,
            target_load,
        } => format!(
            "the best target, {target}, would be at {} with it: no better than here",
            percent(*target_load)
        ),
        HoldReason::HeldBack {
            restraint,
            vm,
            target,
            gain,
        } => {
            let by = match restraint {
                Restraint::Disarmed => "the orchestrator is disarmed (`forestall arm`)",
                Restraint::Observe => "the orchestrator only observes",
                Restraint::Approval => "it waits for approval (`forestall approve`)",
            };
            let gain = gain.as_ref().map(of_gain);
            let gain = gain.map(|gain| format!("; {gain}")).unwrap_or_default();
            format!("{vm} would be moved to {target}, but {by}{gain}")
        }
        HoldReason::AlreadyThere => "it is there already".into(),
        HoldReason::NoUsefulMove { vm, target, gain } => format!(
            "viewers would see no younger picture if {vm} were moved to {target}, the best target: {:.0} ms instead of {:.0} ms",
            gain.move_ms, gain.stay_ms
        ),
    }
}

/// How far copying is, in words that end without a full stop.
#[must_use]
pub fn of_progress(progress: &CopyProgress) -> String {
    let mib = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
    let rate = progress.rate_bytes_per_s;
    let rate = rate.map_or_else(String::new, |rate| format!(", {}/s", mib(rate)));
    format!(
        "{} sent of {}, {} left{rate}",
        mib(progress.copied_bytes as f64),
        mib(progress.total_bytes as f64),
        mib(progress.remaining_bytes as f64)
    )
}

/// The figures of a host at an instant, as sentences.
#[must_use]
pub fn of_evidence(at: Timestamp, evidence: &Evidence) -> String {
    let Some(load) = evidence.utilization else {
        return "Its load is not known.".into();
    };
    let age = evidence
        .sample_age_ms
        .map(|ms| format!(" {} ago", seconds(ms / 1e3)))
        .unwrap_or_default();
    let mut words = format!("Its load was {}{age}", percent(load.share()));
    if let Some(forecast) = evidence.forecast {
        let slope = forecast.slope_per_s * 100.0;
        words += &if forecast.trusted {
            format!(", changing by {slope:+.2} percentage points a second")
        } else {
            ", without a trend to believe".into()
        };
        if let Some(knee) = forecast.knee_at_us {
            words += &format!(
                "; it is forecast to reach the knee in {}",
                seconds(knee.seconds_after(at))
            );
        }
    }
    match (evidence.knee, evidence.knee_configured) {
        (Some(knee), Some(configured)) => {
            words += &format!(" (knee {knee}, as its viewers taught; configured: {configured})");
        }
        (Some(knee), None) => words += &format!(" (knee {knee})"),
        (None, _) => {}
    }
    if let Some(threshold) = evidence.threshold {
        words += &format!(" (threshold {})", percent(threshold.share()));
    }
    if let Some(start_by) = evidence.start_by_us {
        let left = start_by.seconds_after(at);
        words += &if left > 0.0 {
            format!("; a move has to begin within {}", seconds(left))
        } else {
            format!("; a move should have begun {} ago", seconds(-left))
        };
    }
    words + "."
}

/// What viewers have taught of a host's knee; nothing where they have not.
#[must_use]
pub fn of_knee(
    now: Timestamp,
    host: &HostName,
    evidence: &Evidence,
    status: &KneeStatus,
) -> Option<String> {
    let reports = status.reports;
    if let Some(from) = status.late_at_any_load_from {
        return Some(format!(
            "Viewers see pictures of {host} too late from a load of {from} on, and never saw them in time at a lower one ({reports} \
             reports): that is not put down to its load, and its knee stays as configured."
        ));
    }
    let ((knee, configured), since) = evidence
        .knee
        .zip(evidence.knee_configured)
        .zip(status.since_us)?;
    Some(format!(
        "The knee of {host} is {knee} since {} ago, learned from what {reports} reports of viewers said; configured: {configured}. \
         `forestall forget-knee {host}` throws that away.",
        seconds(now.since(since).as_secs_f64())
    ))
}

fn of_candidate(candidate: &Candidate) -> String {
    let why = match candidate.unfit {
        Unfit::Arrivals => "others are on their way to it".into(),
        Unfit::NotFresh => "its load is not known".into(),
        Unfit::Source => "a function is leaving it".into(),
        Unfit::OverLimit => {
            let load = candidate.load.map_or_else(|| "too full".into(), percent);
            format!(
                "would be at {load}, over {}",
                percent(candidate.limit.share())
            )
        }
        Unfit::Draining => "is being emptied".into(),
        Unfit::Apart => "has a function that this one stays apart from".into(),
        Unfit::Forbidden => "is forbidden".into(),
    };
    format!("{} {why}", candidate.host)
}

const fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Load => "the load of its host rises",
        Cause::Drain => "its host is being emptied",
        Cause::Together => "a function that it belongs together with is there",
        Cause::Order => "a person asked for it",
    }
}

const fn of_end(end: End) -> &'static str {
    match end {
        End::Source => "source",
        End::Target => "target",
    }
}

/// In words that end without a full stop.
fn of_gain(gain: &Gain) -> String {
    format!(
        "viewers are expected to see pictures {:.0} ms old instead of {:.0} ms",
        gain.move_ms, gain.stay_ms
    )
}

const fn of_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Moved => "moved: it runs at the target, and only there",
        Verdict::Stayed => "stayed: it runs at the source, and only there",
        Verdict::Blackout => "blackout: a whole guest exists, but runs nowhere",
        Verdict::Unknown => "unknown: an end does not answer, so nothing is touched",
        Verdict::Split => "split: it runs twice",
        Verdict::Lost => "lost: no whole guest exists at either end",
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn seconds(s: f64) -> String {
    if s.abs() < 120.0 {
        format!("{s:.1} s")
    } else {
        format!("{:.0} min", s / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use record::decision::ForecastRecord;
    use record::{HostName, Utilization, VmName};

    use super::*;

    fn share(share: f64) -> Utilization {
        Utilization::new(share).unwrap()
    }

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    #[test]
    fn a_move_is_told_with_its_figures() {
        let start = Event::Start {
            migration: 1,
            vm: VmName::new("text").unwrap(),
            source: host("a"),
            target: host("b"),
            mode: record::decision::Mode::PreCopy,
            cause: Cause::Load,
            target_load: 0.42,
            gain: Some(Gain {
                stay_ms: 900.0,
                move_ms: 45.0,
            }),
            predicted_total_ms: Some(7_400.0),
            host: host("a"),
            evidence: Evidence {
                utilization: Some(share(0.81)),
                sample_age_ms: Some(1_300.0),
                forecast: Some(ForecastRecord {
                    level: 0.83,
                    slope_per_s: 0.012,
                    residual: Some(0.004),
                    trusted: true,
                    sd: Some(0.01),
                    knee_at_us: Some(Timestamp(9_000_000)),
                }),
                threshold: None,
                knee: Some(share(0.95)),
                knee_configured: None,
                start_by_us: Some(Timestamp(900_000)),
            },
        };
        let told = of_move(&[Decision::new(Timestamp(1_000_000), start)]).join("\n");
        for words in [
            "move text from a to b, since the load of its host rises",
            "load was 81.0 % 1.3 s ago",
            "+1.20 percentage points a second",
            "reach the knee in 8.0 s (knee 95.0 %)",
            "should have begun 0.1 s ago",
            "expected at 42.0 %",
            "45 ms old instead of 900 ms",
            "take 7.4 s at most",
        ] {
            assert!(told.contains(words), "{words:?} in {told}");
        }
    }

    #[test]
    fn what_waits_for_a_word_is_in_the_log_and_what_has_time_is_not() {
        let hold = |reason| {
            let event = Event::Hold {
                host: HostName::new("a").unwrap(),
                reason,
                evidence: Evidence::default(),
            };
            for_log(&Decision::new(Timestamp(0), event))
        };
        assert_eq!(hold(HoldReason::NotDue), None);
        let waits = hold(HoldReason::HeldBack {
            restraint: Restraint::Observe,
            vm: VmName::new("text").unwrap(),
            target: HostName::new("b").unwrap(),
            gain: Some(Gain {
                stay_ms: 900.0,
                move_ms: 45.0,
            }),
        });
        assert_eq!(
            waits.unwrap(),
            "nothing leaves a: text would be moved to b, but the orchestrator only observes; viewers are expected to see \
             pictures 45 ms old instead of 900 ms. Its load is not known."
        );
    }

    #[test]
    fn what_viewers_taught_is_told() {
        let host = host("a");
        let evidence = Evidence {
            utilization: Some(share(0.75)),
            knee: Some(share(0.72)),
            knee_configured: Some(share(0.95)),
            ..Evidence::default()
        };
        let told = of_evidence(Timestamp(0), &evidence);
        assert!(
            told.contains("(knee 72.0 %, as its viewers taught; configured: 95.0 %)"),
            "{told}"
        );
        let learned = KneeStatus {
            since_us: Some(Timestamp(1_000_000)),
            reports: 57,
            late_at_any_load_from: None,
        };
        let unknown_cause = KneeStatus {
            since_us: None,
            late_at_any_load_from: Some(share(0.4)),
            ..learned
        };
        let nothing = KneeStatus {
            since_us: None,
            ..learned
        };
        for (status, words) in [
            (
                learned,
                Some(
                    "The knee of a is 72.0 % since 9.0 s ago, learned from what 57 reports of viewers said; configured: 95.0 %",
                ),
            ),
            (
                unknown_cause,
                Some(
                    "too late from a load of 40.0 % on, and never saw them in time at a lower one",
                ),
            ),
            (nothing, None),
        ] {
            let told = of_knee(Timestamp(10_000_000), &host, &evidence, &status);
            let as_expected = match (&told, words) {
                (Some(told), Some(words)) => told.contains(words),
                (told, words) => told.is_none() && words.is_none(),
            };
            assert!(as_expected, "{told:?}");
            assert!(told.is_none_or(|told| !told.contains("  ")));
        }
    }

    #[test]
    fn how_far_copying_is() {
        let progress = CopyProgress {
            at_us: Timestamp(0),
            total_bytes: 300 << 20,
            copied_bytes: 120 << 20,
            remaining_bytes: 181 << 20,
            rate_bytes_per_s: Some(f64::from(25 << 20)),
        };
        let first = CopyProgress {
            rate_bytes_per_s: None,
            ..progress
        };
        let words = "120.0 MiB sent of 300.0 MiB, 181.0 MiB left";
        assert_eq!(of_progress(&first), words);
        assert_eq!(of_progress(&progress), format!("{words}, 25.0 MiB/s"));
    }

    #[test]
    fn a_hold_that_passes_says_when() {
        for (reason, words) in [
            (
                HoldReason::CoolingDown {
                    until_us: Timestamp(13_000_000),
                },
                "none is moved for another 3.0 s",
            ),
            (
                HoldReason::SampleBeforeMove {
                    moved_at_us: Timestamp(8_000_000),
                },
                "a function came or left 2.0 s ago",
            ),
            (
                HoldReason::InDoubt {
                    vm: VmName::new("text").unwrap(),
                    doubt: record::Doubt {
                        verdict: Verdict::Unknown,
                        elsewhere: Vec::new(),
                    },
                },
                "text stays until it is seen to run on one host alone: a host on which it may run does not answer",
            ),
        ] {
            let told = of_hold(Timestamp(10_000_000), &reason);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let told = of_evidence(Timestamp(0), &Evidence::default());
        assert_eq!(told, "Its load is not known.");
    }
}

//! What the thesis concludes, tested on what was measured here: each finding by the estimator that `reference/findings.toml` names.

mod delay;
mod load;
mod migration;

use record::profile::{Rise, Rises};
use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::estimate::Estimate;
use crate::reference::{FINDINGS, THESIS};

/// A finding of the thesis and what our data say of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name in `reference/findings.toml`.
    pub id: String,
    /// Where it stands in the thesis.
    pub section: String,
    /// What the thesis says.
    pub text: String,
    /// What our data say.
    pub verdict: Verdict,
    /// The figure that it is judged by; `None` where it was not measured.
    pub estimate: Option<f64>,
    /// Where the truth is with 95 %.
    pub interval95: Option<[f64; 2]>,
    /// The thesis' figure.
    pub printed: Option<f64>,
    /// Unit of all three.
    pub unit: String,
    /// Why the verdict is as it is.
    pub why: String,
}

/// What data say of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is so here, too.
    Holds,
    /// It is not so here.
    DoesNotHold,
    /// The data do not decide, or there are none.
    CannotTell,
}

impl Verdict {
    /// Of two claims together.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::DoesNotHold, _) | (_, Self::DoesNotHold) => Self::DoesNotHold,
            (Self::Holds, Self::Holds) => Self::Holds,
            _ => Self::CannotTell,
        }
    }
}

/// What came of an estimator.
struct Judged {
    verdict: Verdict,
    estimate: Option<Estimate>,
    /// Where the estimate has none of its own.
    interval: Option<[f64; 2]>,
    printed: Option<f64>,
    unit: &'static str,
    why: String,
}

/// All findings, in the order of the thesis.
#[must_use]
pub fn all(cells: &Cells) -> Vec<Finding> {
    let finding = |known: &crate::reference::Finding| {
        let judged = judge(&known.id, cells);
        Finding {
            id: known.id.clone(),
            section: known.section.clone(),
            text: known.text.clone(),
            verdict: judged.verdict,
            estimate: judged.estimate.map(|estimate| estimate.value),
            interval95: judged
                .interval
                .or(judged.estimate.and_then(|estimate| estimate.interval())),
            printed: judged.printed,
            unit: judged.unit.to_owned(),
            why: judged.why,
        }
    };
    FINDINGS.finding.iter().map(finding).collect()
}

/// Where delay and jitter begin to rise in the sweep of load, as a machine's profile has it; `measured_at` is that of the last level.
#[must_use]
pub fn rises(findings: &[Finding], measured_at: &str) -> Option<Rises> {
    let of = |id: &str| {
        let found = findings.iter().find(|finding| finding.id == id)?;
        Some(Rise {
            offered: found.estimate? / 100.0,
            interval95: found.interval95?.map(|percent| percent / 100.0),
        })
    };
    let (picture_age, jitter) = (of(DELAY_KNEE), of(JITTER_KNEE));
    (picture_age.is_some() || jitter.is_some()).then(|| Rises {
        measured_at: measured_at.to_owned(),
        picture_age,
        jitter,
    })
}

/// The findings on knees, by their names in `reference/findings.toml`.
const JITTER_KNEE: &str = "jitter-knee-80";
const DELAY_KNEE: &str = "delay-knee-95";

fn judge(id: &str, cells: &Cells) -> Judged {
    match id {
        "tcp-link" => delay::by_chain(cells, delay::tcp_link),
        "dc-excess" => delay::by_chain(cells, delay::dc_excess),
        "cv-proportional" => delay::by_chain(cells, delay::cv_proportional),
        "insertion-streaming" => delay::by_chain(cells, delay::insertion_streaming),
        "virtualisation-delay" => delay::by_chain(cells, delay::virtualisation),
        JITTER_KNEE => load::jitter_knee(cells),
        DELAY_KNEE => load::delay_knee(cells),
        "explosion-100" => load::explosion(cells),
        "ipc-irrelevant" => load::kinds(cells),
        "freeze-without" => load::freeze(cells),
        "migration-1.5x" => migration::ratio(cells),
        "target-load-irrelevant" => migration::target_load(cells),
        "eight-seconds" => migration::eight_seconds(cells),
        "vpn-free" => delay::vpn(cells),
        "virtualisation-server" => delay::virtualisation_server(cells),
        "udp-buffering" => delay::udp_buffering(cells),
        "breakdown-sums" => delay::breakdown_sums(cells),
        "kept-under-400" => unmeasured(
            Some(THESIS.result.delay_kept_under_ms),
            "ms",
            "n = 0: no cell of a campaign moves a function while the load rises, which has to be done with and without a move; \
             `forestall lab run scenarios/reallocation` does, and has a report of its own",
        ),
        _ => unmeasured(None, "", "this Forestall has no estimator for it"),
    }
}

fn unmeasured(printed: Option<f64>, unit: &'static str, why: &str) -> Judged {
    Judged {
        interval: None,
        verdict: Verdict::CannotTell,
        estimate: None,
        printed,
        unit,
        why: why.to_owned(),
    }
}

fn no_part(part: &str, printed: Option<f64>, unit: &'static str) -> Judged {
    let why = format!("not measured yet: forestall lab run thesis --only {part}");
    unmeasured(printed, unit, &why)
}

/// Judges an effect of a size: it holds where the interval has the printed figure in it and 0 not.
fn effect(estimate: Estimate, printed: f64, unit: &'static str, what: &str) -> Judged {
    let (verdict, why) = match estimate.interval() {
        None => (
            Verdict::CannotTell,
            "what was measured once says nothing of its error",
        ),
        Some([low, _]) if low > printed => {
            (Verdict::DoesNotHold, "there is an effect, and a larger one")
        }
        Some([low, high]) if high < printed && low > 0.0 => (
            Verdict::DoesNotHold,
            "there is an effect, but a smaller one",
        ),
        Some([_, high]) if high < printed => (
            Verdict::DoesNotHold,
            "an effect as large as the thesis' is ruled out",
        ),
        Some([low, _]) if low > 0.0 => (
            Verdict::Holds,
            "the interval has the thesis' figure in it, and not 0",
        ),
        Some(_) => (
            Verdict::CannotTell,
            "the interval has both 0 and the thesis' figure in it",
        ),
    };
    Judged {
        interval: None,
        verdict,
        estimate: Some(estimate),
        printed: Some(printed),
        unit,
        why: format!("{what}: {why}"),
    }
}

/// Judges that something is negligible: it is where the whole interval is within the margin, and it is not where the whole interval is
/// outside.
fn negligible(estimate: &Estimate, margin: f64) -> Verdict {
    match estimate.interval() {
        Some([low, high]) if -margin <= low && high <= margin => Verdict::Holds,
        Some([low, high]) if margin < low || high < -margin => Verdict::DoesNotHold,
        _ => Verdict::CannotTell,
    }
}

/// What is said where nothing was measured twice and the interval is that of batches.
const ONE_RUN: &str = "one run each, the interval has only what varies within it";

/// An estimate and its interval.
fn words(estimate: &Estimate, digits: usize) -> String {
    let interval = estimate.interval().map_or_else(String::new, |[low, high]| {
        format!(" ({low:.digits$} to {high:.digits$})")
    });
    format!("{:.digits$}{interval}", estimate.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With an interval of this and 4.3027 on both sides.
    fn about(value: f64) -> Estimate {
        Estimate {
            value,
            variance: Some(1.0),
            freedom: 2,
        }
    }

    #[test]
    fn an_effect_is_ruled_out_only_outside_the_interval() {
        for (value, printed, verdict) in [
            (10.0, 12.0, Verdict::Holds),
            (10.0, 5.0, Verdict::DoesNotHold),
            (10.0, 15.0, Verdict::DoesNotHold),
            (1.0, 6.0, Verdict::DoesNotHold),
            (1.0, 5.0, Verdict::CannotTell),
        ] {
            let judged = effect(about(value), printed, "ms", "it");
            assert_eq!(judged.verdict, verdict, "{value} {printed}: {}", judged.why);
        }
        let once = Estimate::exactly(10.0);
        assert_eq!(effect(once, 10.0, "ms", "it").verdict, Verdict::CannotTell);
    }

    #[test]
    fn negligible_is_what_is_within_the_margin_whole() {
        for (value, margin, verdict) in [
            (0.0, 5.0, Verdict::Holds),
            (1.0, 5.0, Verdict::CannotTell),
            (-10.0, 5.0, Verdict::DoesNotHold),
        ] {
            assert_eq!(negligible(&about(value), margin), verdict, "{value}");
        }
    }

    #[test]
    fn claims_together() {
        use Verdict::{CannotTell, DoesNotHold, Holds};
        assert_eq!(Holds.and(Holds), Holds);
        assert_eq!(Holds.and(CannotTell), CannotTell);
        assert_eq!(CannotTell.and(DoesNotHold), DoesNotHold);
    }
}

//! What the thesis concludes, tested on what was measured here: each finding by the estimator that `reference/findings.toml` names.

mod delay;

use record::profile::{Rise, Rises};
use serde::{Deserialize, Serialize};

use super::cells::{Cells, LoadCell};
use super::estimate::Estimate;
use super::tables::{ALL, frame_intervals, migrations, of_sweep, picture_age, total_s};
use crate::knee;
use crate::reference::{FINDINGS, THESIS};
use crate::statistics::Values;

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
        JITTER_KNEE => jitter_knee(cells),
        DELAY_KNEE => delay_knee(cells),
        "explosion-100" => explosion(cells),
        "ipc-irrelevant" => kinds_of_load(cells),
        "migration-1.5x" => migration_ratio(cells),
        "target-load-irrelevant" => target_load(cells),
        "freeze-without" => freeze(cells),
        "vpn-free" => delay::vpn(cells),
        "virtualisation-server" => delay::virtualisation_server(cells),
        "udp-buffering" => delay::udp_buffering(cells),
        "breakdown-sums" => delay::breakdown_sums(cells),
        "eight-seconds" => unmeasured(
            Some(THESIS.method.total_migration_time_at_knee_s),
            "s",
            "moves begun 8 s before the knee are not a part of this campaign",
        ),
        "kept-under-400" => unmeasured(
            Some(THESIS.result.delay_kept_under_ms),
            "ms",
            "the reallocation experiment tells: `forestall lab run scenarios/reallocation`, docs/reallocation.md",
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
            "one measurement says nothing of its error",
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

/// Judges that something is negligible: it is where the whole interval is within the margin.
fn equivalent(estimate: Estimate, margin: f64, unit: &'static str, what: &str) -> Judged {
    let inside = |value: f64| value.abs() <= margin;
    let verdict = match estimate.interval() {
        Some([low, high]) if inside(low) && inside(high) => Verdict::Holds,
        Some([low, high]) if low > margin || high < -margin => Verdict::DoesNotHold,
        _ => Verdict::CannotTell,
    };
    Judged {
        interval: None,
        verdict,
        estimate: Some(estimate),
        printed: None,
        unit,
        why: format!("{what}; equal within a margin of {margin} {unit}"),
    }
}

/// Levels of the sweep that is made as the thesis' is.
fn levels(cells: &Cells) -> Vec<(f64, &LoadCell)> {
    of_sweep(cells, ALL)
}

/// Where a value of the sweep starts to rise, by the load that is offered: what is asked of the background load, and what the function
/// needs alone. In the thesis a function is a small part of a server of 28 cores and the two are nearly the same; here it is a quarter
/// of one core.
fn rise(
    cells: &Cells,
    printed_percent: f64,
    of: impl Fn(&LoadCell) -> Option<Estimate>,
    what: &str,
) -> Judged {
    let alone = at_level(cells, 0.0).and_then(|cell| cell.machine);
    let mut all = levels(cells);
    // From where frames come out more slowly than they go in, the backlog and with it the delay grow for as long as one measures:
    // how far says nothing of where it began. The first such level is the last that counts.
    let idle = all.first().and_then(|(_, cell)| mean_interval(cell));
    let slower = |cell: &LoadCell| {
        let both = mean_interval(cell).zip(idle);
        both.is_some_and(|(here, idle)| here > idle * SLOWER)
    };
    if let Some(first) = all.iter().position(|(_, cell)| slower(cell)) {
        all.truncate(first + 1);
    }
    let points: Vec<knee::Point> = all
        .iter()
        .filter_map(|(level, cell)| {
            let estimate = of(cell)?;
            Some(knee::Point {
                load: (level + alone?) * 100.0,
                // Delays at the knee differ by factors, and so do their errors: in logarithms they are alike.
                value: estimate.value.ln(),
                weight: 1.0,
            })
        })
        .collect();
    let printed = Some(printed_percent);
    if points.is_empty() {
        return no_part("load", printed, "%");
    }
    if points.len() < knee::LOADS_MIN {
        let (loads, needed) = (points.len(), knee::LOADS_MIN);
        let why = format!(
            "{loads} loads that are not spoilt, up to the first at which frames come out more slowly than they go in; a knee \
             needs {needed}"
        );
        return unmeasured(printed, "%", &why);
    }
    let search = match knee::find(&points) {
        Ok(search) => search,
        Err(error) => return unmeasured(printed, "%", &error.to_string()),
    };
    let interval = search.interval95;
    let verdict = match interval {
        Some([low, high]) if high - low > KNEE_WIDTH_MAX => Verdict::CannotTell,
        Some([low, high]) if low <= printed_percent && printed_percent <= high => Verdict::Holds,
        Some(_) => Verdict::DoesNotHold,
        None => Verdict::CannotTell,
    };
    let estimate = search.knee.map(|value| Estimate {
        value,
        variance: None,
        freedom: 0,
    });
    let mut judged = Judged {
        interval: None,
        verdict,
        estimate,
        printed,
        unit: "%",
        why: format!(
            "{what}, by a broken line through logarithms; x is the load offered: background and {:.0} % of the function alone",
            alone.unwrap_or_default() * 100.0
        ),
    };
    judged.interval = interval;
    if interval.is_some_and(|[low, high]| high - low > KNEE_WIDTH_MAX) {
        judged.why += &format!("; an interval wider than {KNEE_WIDTH_MAX} % tells nothing");
    }
    if interval.is_none() {
        judged.why += "; a straight line fits as well";
    }
    judged
}

/// A knee that is known no better than this, percent of load, is not known.
const KNEE_WIDTH_MAX: f64 = 20.0;

/// Frames come more slowly than they are sent when their mean interval is larger than alone by this factor.
const SLOWER: f64 = 1.05;

fn mean_interval(cell: &LoadCell) -> Option<f64> {
    frame_intervals(cell, Values::mean).map(|mean| mean.value)
}

fn jitter_knee(cells: &Cells) -> Judged {
    let of = |cell: &LoadCell| frame_intervals(cell, Values::cv);
    let printed = THESIS.method.jitter_rises_above_cpu_percent;
    rise(
        cells,
        printed,
        of,
        "load at which the C.V. of frame intervals rises",
    )
}

fn delay_knee(cells: &Cells) -> Judged {
    let of = |cell: &LoadCell| picture_age(cell, Values::median);
    let printed = THESIS.method.delay_rises_above_cpu_percent;
    rise(
        cells,
        printed,
        of,
        "load at which the median picture age rises",
    )
}

fn at_level(cells: &Cells, wanted: f64) -> Option<&LoadCell> {
    let found = levels(cells);
    found
        .iter()
        .find(|(level, _)| *level == wanted)
        .map(|(_, cell)| *cell)
}

/// What is called about ten times.
const ABOUT_TEN: [f64; 2] = [5.0, 20.0];

fn explosion(cells: &Cells) -> Judged {
    let delays = &THESIS.table6_delay_by_cpu_load.mean_ms;
    let printed = THESIS
        .at(delays, 100.0)
        .zip(THESIS.at(delays, 0.0))
        .map(|(full, idle)| full / idle);
    let mean = |level| picture_age(at_level(cells, level)?, Values::mean);
    let Some((full, idle)) = mean(1.0).zip(mean(0.0)) else {
        return no_part("load", printed, "times");
    };
    let Some(ratio) = full.over(&idle) else {
        return unmeasured(printed, "times", "a delay of 0 was measured");
    };
    let verdict = match ratio.interval() {
        Some([low, high]) if low >= ABOUT_TEN[0] && high <= ABOUT_TEN[1] => Verdict::Holds,
        Some([low, high]) if high < ABOUT_TEN[0] || low > ABOUT_TEN[1] => Verdict::DoesNotHold,
        _ => Verdict::CannotTell,
    };
    // Then the ratio is a figure of how long was measured.
    let grows = at_level(cells, 1.0).and_then(mean_interval)
        > at_level(cells, 0.0)
            .and_then(mean_interval)
            .map(|idle| idle * SLOWER);
    Judged {
        interval: None,
        verdict,
        estimate: Some(ratio),
        printed,
        unit: "times",
        why: format!(
            "mean picture age at 100 % over that at idle; about ten times is taken to be 5 to 20{}",
            if grows {
                "; frames come out more slowly than they go in, so that it grows for as long as one measures"
            } else {
                ""
            }
        ),
    }
}

/// Largest difference that is called none: a frame.
const MARGIN_MS: f64 = 33.3;

fn kinds_of_load(cells: &Cells) -> Judged {
    let mut largest: Option<(Estimate, String)> = None;
    for (kind, level) in ["jenkin", "idct", "pi"].into_iter().flat_map(|kind| {
        let own = of_sweep(cells, kind);
        own.into_iter().map(move |(level, _)| (kind, level))
    }) {
        // At 100 % the age is in seconds and its own spread hides any kind.
        if level >= 1.0 {
            continue;
        }
        let own = of_sweep(cells, kind);
        let Some((_, cell)) = own.iter().find(|(own, _)| *own == level) else {
            continue;
        };
        let (Some(kind_age), Some(base)) = (
            picture_age(cell, Values::mean),
            at_level(cells, level).and_then(|cell| picture_age(cell, Values::mean)),
        ) else {
            continue;
        };
        let difference = kind_age.minus(&base);
        if largest
            .as_ref()
            .is_none_or(|(seen, _)| difference.value.abs() > seen.value.abs())
        {
            largest = Some((difference, format!("{kind} at {:.0} %", level * 100.0)));
        }
    }
    let Some((difference, which)) = largest else {
        return no_part("load", None, "ms");
    };
    let what = format!(
        "mean picture age of a kind of load less that of all kinds in turn, below 100 %: the largest difference, {which}. {}",
        instructions(cells)
    );
    equivalent(difference, MARGIN_MS, "ms", &what)
}

/// What the kinds of load do in a cycle, in words.
fn instructions(cells: &Cells) -> String {
    let kinds = ["jenkin", "idct", "pi"];
    let of = |kind: &str| -> Values {
        let own = cells.loads.iter().filter(|of| of.sweep() == kind);
        own.filter_map(|of| of.cell.ipc).collect()
    };
    let known: Vec<String> = kinds
        .iter()
        .filter_map(|kind| Some(format!("{kind} {:.2}", of(kind).mean()?)))
        .collect();
    if !known.is_empty() {
        return format!("Instructions a cycle: {}", known.join(", "));
    }
    let why = cells
        .loads
        .iter()
        .find_map(|of| of.cell.ipc_unknown.as_deref());
    format!(
        "Instructions a cycle are not known: {}",
        why.unwrap_or("they were not counted when this was measured")
    )
}

/// Total times at a target, slowest over fastest source.
fn migration_ratio(cells: &Cells) -> Judged {
    let all = migrations(cells);
    let at = |wanted: f64| {
        let own = all
            .iter()
            .filter(|(source, target, _)| *target == 0.0 && *source == wanted);
        own.filter_map(|(_, _, cell)| total_s(cell)).next()
    };
    let printed = Some(1.5);
    let fastest = all
        .iter()
        .filter(|(_, target, _)| *target == 0.0)
        .filter_map(|(_, _, cell)| total_s(cell))
        .min_by(|a, b| a.value.total_cmp(&b.value));
    let (Some(full), Some(fastest)) = (at(1.0), fastest) else {
        return no_part("migration", printed, "times");
    };
    let Some(ratio) = full.over(&fastest) else {
        return unmeasured(printed, "times", "a time of 0 was measured");
    };
    effect(
        Estimate {
            value: ratio.value - 1.0,
            ..ratio
        },
        0.5,
        "times, less 1",
        "source at 100 % over the fastest, target idle",
    )
}

fn target_load(cells: &Cells) -> Judged {
    let all = migrations(cells);
    let pairs = all.iter().filter(|(_, target, _)| *target == 0.0);
    let differences: Vec<Estimate> = pairs
        .filter_map(|(source, _, idle)| {
            let full = all.iter().find(|(s, t, _)| s == source && *t == 1.0)?;
            Some(total_s(full.2)?.minus(&total_s(idle)?))
        })
        .collect();
    let n = differences.len();
    let Some(sum) = differences.into_iter().reduce(|a, b| a.plus(&b)) else {
        return no_part("migration", None, "s");
    };
    let mean = sum.times(1.0 / n as f64);
    equivalent(
        mean,
        0.5,
        "s",
        "mean over all loads of the source: target at 100 % less target idle",
    )
}

fn freeze(cells: &Cells) -> Judged {
    let Some(cell) = at_level(cells, 1.0) else {
        return no_part("load", None, "ms");
    };
    let Some(longest) = cell.longest_freeze_ms else {
        return unmeasured(None, "ms", "no frame was shown at 100 %");
    };
    let rises = rise(
        cells,
        85.0,
        |cell| picture_age(cell, Values::median),
        "picture age",
    );
    Judged {
        interval: None,
        // Both of what it says: that it almost freezes, and from where the delay rises.
        verdict: if longest > 1_000.0 {
            rises.verdict
        } else {
            Verdict::DoesNotHold
        },
        estimate: Some(Estimate {
            value: longest,
            variance: None,
            freedom: 0,
        }),
        printed: None,
        unit: "ms",
        why: format!(
            "longest time without a new frame at 100 %; almost frozen is taken to be more than 1 s. And whether the rise at 85 % is in its interval: {}{}",
            rises.why,
            rises
                .interval
                .map_or_else(String::new, |[low, high]| format!(
                    "; {low:.1} to {high:.1} %"
                ))
        ),
    }
}

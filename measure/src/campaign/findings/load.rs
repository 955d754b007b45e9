//! Findings on load: from where delay and jitter rise, by how much, and whether it matters what the load computes.

use super::super::cells::{Cells, LoadCell};
use super::super::estimate::Estimate;
use super::super::tables::{ALL, frame_intervals, of_sweep, picture_age};
use super::{Judged, ONE_RUN, Verdict, negligible, no_part, unmeasured, words};
use crate::knee;
use crate::reference::THESIS;
use crate::statistics::Values;

/// Sweeps of a load that computes one thing, beside [`ALL`].
const KINDS: [&str; 3] = ["jenkin", "idct", "pi"];

fn at<'a>(cells: &'a Cells, sweep: &str, wanted: f64) -> Option<&'a LoadCell> {
    let mut own = of_sweep(cells, sweep).into_iter();
    own.find(|(level, _)| *level == wanted)
        .map(|(_, cell)| cell)
}

/// Share of the CPU that the function needs when there is no load.
fn alone(cells: &Cells) -> Option<f64> {
    at(cells, ALL, 0.0)?.machine
}

/// Frames come more slowly than they are sent when their mean interval is larger than alone by this factor.
const SLOWER: f64 = 1.05;

fn mean_interval(cell: &LoadCell) -> Option<f64> {
    frame_intervals(cell, Values::mean).map(|mean| mean.value)
}

/// The levels of the sweep that is made as the thesis' is up to the first at which frames come out more slowly than they go in, and whether
/// there is one: from there the backlog and with it the delay grow for as long as one measures, and how far says nothing of where it began.
fn levels(cells: &Cells) -> (Vec<(f64, &LoadCell)>, bool) {
    let mut all = of_sweep(cells, ALL);
    let idle = all.first().and_then(|(_, cell)| mean_interval(cell));
    let slower = |cell: &LoadCell| {
        let both = mean_interval(cell).zip(idle);
        both.is_some_and(|(here, idle)| here > idle * SLOWER)
    };
    let first = all.iter().position(|(_, cell)| slower(cell));
    if let Some(first) = first {
        all.truncate(first + 1);
    }
    (all, first.is_some())
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
    let alone = alone(cells);
    let (levels, is_overloaded) = levels(cells);
    let point = |(level, cell): &(f64, &LoadCell)| {
        Some(knee::Point {
            load: (level + alone?) * 100.0,
            // Delays at the knee differ by factors, and so do their errors: in logarithms they are alike.
            value: of(cell)?.value.ln(),
            weight: 1.0,
        })
    };
    let points: Vec<knee::Point> = levels.iter().filter_map(point).collect();
    let printed = Some(printed_percent);
    let Some(last) = points.last() else {
        return no_part("load", printed, "%");
    };
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
    let open_end = (!is_overloaded).then_some(last.load);
    let (verdict, more) = of_knee(search.interval95, printed_percent, open_end);
    Judged {
        interval: search.interval95,
        verdict,
        estimate: search.knee.map(Estimate::exactly),
        printed,
        unit: "%",
        why: format!(
            "{what}, by a broken line through logarithms at {} loads of one run each; x is the load offered: background and {:.0} % of \
             the function alone{more}",
            points.len(),
            alone.unwrap_or_default() * 100.0
        ),
    }
}

/// A knee that is known no better than this, percent of load, is not known.
const KNEE_WIDTH_MAX: f64 = 20.0;

/// Whether a knee is where it is printed, and what is to be said of it; `open_end` is where a sweep ends that does not go into overload.
fn of_knee(
    interval: Option<[f64; 2]>,
    printed: f64,
    open_end: Option<f64>,
) -> (Verdict, &'static str) {
    let Some([low, high]) = interval else {
        return (Verdict::CannotTell, "; a straight line fits as well");
    };
    // Arithmetic moves the last load a little.
    let is_open = open_end.is_some_and(|end| high >= end - 1e-6);
    if high - low > KNEE_WIDTH_MAX {
        (
            Verdict::CannotTell,
            "; an interval wider than 20 % tells nothing",
        )
    } else if (low..=high).contains(&printed) {
        (Verdict::Holds, "")
    } else if is_open && printed > high {
        (
            Verdict::CannotTell,
            "; the interval ends where the sweep does",
        )
    } else {
        (Verdict::DoesNotHold, "")
    }
}

pub(super) fn jitter_knee(cells: &Cells) -> Judged {
    rise(
        cells,
        THESIS.method.jitter_rises_above_cpu_percent,
        |cell| frame_intervals(cell, Values::cv),
        "load at which the C.V. of frame intervals rises",
    )
}

/// Judged by median and mean, which have to agree; the median's knee is given.
pub(super) fn delay_knee(cells: &Cells) -> Judged {
    let printed = THESIS.method.delay_rises_above_cpu_percent;
    let median = median_rise(cells, printed);
    let mean = rise(
        cells,
        printed,
        |cell| picture_age(cell, Values::mean),
        "load at which the mean picture age rises",
    );
    let by_mean = match (mean.estimate, mean.interval) {
        (Some(knee), Some([low, high])) => {
            format!(
                "the mean rises at {:.1} % ({low:.1} to {high:.1})",
                knee.value
            )
        }
        _ => "for the mean there is none".to_owned(),
    };
    Judged {
        verdict: if median.verdict == mean.verdict {
            median.verdict
        } else {
            Verdict::CannotTell
        },
        why: format!("{}; {by_mean}", median.why),
        ..median
    }
}

fn median_rise(cells: &Cells, printed_percent: f64) -> Judged {
    rise(
        cells,
        printed_percent,
        |cell| picture_age(cell, Values::median),
        "load at which the median picture age rises",
    )
}

/// Background load, `0..=1`, at which the delay starts to rise.
pub(super) fn knee(cells: &Cells) -> Option<f64> {
    Some(delay_knee(cells).estimate?.value / 100.0 - alone(cells)?)
}

/// What is called about ten times.
const ABOUT_TEN: [f64; 2] = [5.0, 20.0];

pub(super) fn explosion(cells: &Cells) -> Judged {
    let delays = &THESIS.table6_delay_by_cpu_load.mean_ms;
    let printed = THESIS
        .at(delays, 100.0)
        .zip(THESIS.at(delays, 0.0))
        .map(|(full, idle)| full / idle);
    let ends = at(cells, ALL, 1.0).zip(at(cells, ALL, 0.0));
    let age = |cell: &LoadCell| picture_age(cell, Values::mean);
    let Some((full, idle)) = ends.and_then(|(full, idle)| age(full).zip(age(idle))) else {
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
    let (_, is_overloaded) = levels(cells);
    // Then the ratio is a figure of how long was measured.
    let grows = if is_overloaded {
        "; frames come out more slowly than they go in, so that it grows for as long as one measures"
    } else {
        ""
    };
    Judged {
        interval: None,
        verdict,
        estimate: Some(ratio),
        printed,
        unit: "times",
        why: format!(
            "mean picture age at 100 % over that at idle ({ONE_RUN}); about ten times is taken to be 5 to 20{grows}"
        ),
    }
}

/// Largest difference of picture ages that is called none: a frame.
const MARGIN_MS: f64 = 33.3;
/// And of C.V.s: what load adds in the thesis before it is said to rise fast, 0.31 at idle to 0.41 at 85 % (Table 5).
const MARGIN_CV: f64 = 0.1;

pub(super) fn kinds(cells: &Cells) -> Judged {
    let ages = by_kind(cells, |cell| picture_age(cell, Values::mean));
    let cvs = by_kind(cells, |cell| frame_intervals(cell, Values::cv));
    let (Some((age_of, age)), Some((cv_of, cv))) = (largest(&ages), largest(&cvs)) else {
        return no_part("load", None, "ms");
    };
    let judged = |all: &[(String, Estimate)], margin: f64| {
        let each = all.iter().map(|(_, one)| negligible(one, margin));
        each.fold(Verdict::Holds, Verdict::and)
    };
    Judged {
        interval: None,
        verdict: judged(&ages, MARGIN_MS).and(judged(&cvs, MARGIN_CV)),
        estimate: Some(*age),
        printed: None,
        unit: "ms",
        why: format!(
            "mean picture age of a kind of load less that of all kinds in turn at {} levels below 100 % ({ONE_RUN}): the largest \
             difference, {age_of}. C.V. of frame intervals: the largest difference is {}, {cv_of}. Equal within {MARGIN_MS} ms and \
             {MARGIN_CV}. {}",
            ages.len(),
            words(cv, 2),
            instructions(cells)
        ),
    }
}

/// A figure with each kind of load less that with all kinds in turn, at equal load.
fn by_kind(cells: &Cells, of: impl Fn(&LoadCell) -> Option<Estimate>) -> Vec<(String, Estimate)> {
    let mut all = Vec::new();
    for kind in KINDS {
        // At 100 % the age is in seconds and its own spread hides any kind.
        let levels = of_sweep(cells, kind).into_iter();
        for (level, cell) in levels.filter(|(level, _)| *level < 1.0) {
            let base = at(cells, ALL, level).and_then(&of);
            if let Some((own, base)) = of(cell).zip(base) {
                all.push((
                    format!("{kind} at {:.0} %", level * 100.0),
                    own.minus(&base),
                ));
            }
        }
    }
    all
}

fn largest(all: &[(String, Estimate)]) -> Option<&(String, Estimate)> {
    all.iter()
        .max_by(|(_, a), (_, b)| a.value.abs().total_cmp(&b.value.abs()))
}

/// What the kinds of load do in a cycle, in words.
fn instructions(cells: &Cells) -> String {
    let of = |kind: &str| -> Values {
        let own = cells.loads.iter().filter(|of| of.sweep() == kind);
        own.filter_map(|of| of.cell.ipc).collect()
    };
    let known: Vec<String> = KINDS
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

/// Longest time without a new frame that is called almost frozen.
const FROZEN_MS: f64 = 1_000.0;
/// From where the delay is said to rise without reallocation (4.3.2).
const RISES_PERCENT: f64 = 85.0;

/// Both of what it says: that the video almost freezes, and from where the delay rises.
pub(super) fn freeze(cells: &Cells) -> Judged {
    let mut sweeps = [ALL].into_iter().chain(KINDS);
    if !sweeps.any(|sweep| at(cells, sweep, 1.0).is_some()) {
        return no_part("load", None, "ms");
    }
    // Whatever the load computes, it is all of the CPU.
    let freezes = [ALL].into_iter().chain(KINDS);
    let freezes: Values = freezes
        .filter_map(|sweep| at(cells, sweep, 1.0)?.longest_freeze_ms)
        .collect();
    let Some(longest) = Estimate::of_independent(freezes.iter().copied()) else {
        return unmeasured(None, "ms", "no frame was shown at 100 %");
    };
    let is_frozen = match longest.interval() {
        Some([low, _]) if low > FROZEN_MS => Verdict::Holds,
        Some([_, high]) if high < FROZEN_MS => Verdict::DoesNotHold,
        _ => Verdict::CannotTell,
    };
    let rises = median_rise(cells, RISES_PERCENT);
    let knee = rises.interval.map_or_else(String::new, |[low, high]| {
        format!("; {low:.1} to {high:.1} %")
    });
    Judged {
        interval: None,
        verdict: is_frozen.and(rises.verdict),
        estimate: Some(longest),
        printed: None,
        unit: "ms",
        why: format!(
            "longest time without a new frame at 100 %, the mean of n = {} runs, one of each kind of load; almost frozen is taken to be \
             more than 1 s. And whether the rise at {RISES_PERCENT:.0} % is in its interval: {}{knee}",
            freezes.n(),
            rises.why
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::cells::Of;
    use super::*;
    use crate::testing;
    use record::campaign::Subject;

    /// A level whose pictures are up to 4 ms older than `age_ms`, with intervals that are longer and shorter in turn by a share.
    fn level(sweep: &str, level: f64, age_ms: f64, share: f64) -> Of<LoadCell> {
        let either = |at: i32| if at % 2 == 0 { 1.0 } else { -1.0 };
        let intervals = (0..200).map(|at| 33.0 * (1.0 + share * either(at)));
        Of {
            cell: testing::cell(Subject::Load {
                sweep: sweep.into(),
                level,
                weight: 20,
                method: None,
            }),
            figures: LoadCell {
                shots_ms: (0..100).map(|at| age_ms + f64::from(at * 7 % 5)).collect(),
                frame_intervals_ms: intervals.collect(),
                delays: Vec::new(),
                packets: Vec::new(),
                longest_freeze_ms: Some(age_ms),
                total: None,
                machine: Some(0.25),
                weight: 20,
                cpu_mhz: None,
                foreign: None,
            },
        }
    }

    fn cells(loads: Vec<Of<LoadCell>>) -> Cells {
        Cells {
            loads,
            ..Cells::default()
        }
    }

    #[test]
    fn a_kind_of_load_matters_by_age_and_by_jitter() {
        for (age_ms, share, verdict) in [
            (42.0, 0.32, Verdict::Holds),
            (90.0, 0.32, Verdict::DoesNotHold),
            (42.0, 0.5, Verdict::DoesNotHold),
        ] {
            let judged = kinds(&cells(vec![
                level(ALL, 0.5, 40.0, 0.3),
                level("pi", 0.5, age_ms, share),
            ]));
            assert_eq!(judged.verdict, verdict, "{}", judged.why);
        }
    }

    #[test]
    fn one_freeze_has_no_interval_and_several_have() {
        let full = |sweep, ms| level(sweep, 1.0, ms, 0.3);
        let one = freeze(&cells(vec![full(ALL, 3_000.0)]));
        assert_eq!(one.verdict, Verdict::CannotTell);
        assert_eq!(one.estimate.unwrap().interval(), None);
        assert!(one.why.contains("n = 1 runs"), "{}", one.why);
        let several = freeze(&cells(vec![full(ALL, 400.0), full("pi", 410.0)]));
        assert_eq!(several.verdict, Verdict::DoesNotHold, "{}", several.why);
    }

    #[test]
    fn a_knee_behind_the_end_of_a_sweep_is_not_ruled_out() {
        let interval = Some([70.0, 80.0]);
        for (interval, printed, open_end, verdict) in [
            (interval, 75.0, Some(80.0), Verdict::Holds),
            (interval, 85.0, Some(80.0), Verdict::CannotTell),
            (interval, 65.0, Some(80.0), Verdict::DoesNotHold),
            (interval, 85.0, None, Verdict::DoesNotHold),
            (Some([50.0, 80.0]), 85.0, None, Verdict::CannotTell),
            (None, 85.0, None, Verdict::CannotTell),
        ] {
            let (found, _) = of_knee(interval, printed, open_end);
            assert_eq!(found, verdict, "{interval:?} {printed} {open_end:?}");
        }
    }
}

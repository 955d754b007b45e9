//! Findings of section 3: where the delay comes from.

use record::campaign::Cell;

use super::super::breakdown;
use super::super::cells::Cells;
use super::super::estimate::{Estimate, Line};
use super::super::starts;
use super::super::tables::{
    LAN, OURS, PLAIN, delay, excess, packet_intervals, placement, rtt, vpn_rtt,
};
use super::{Judged, ONE_RUN, Verdict, effect, negligible, no_part, unmeasured, words};
use crate::reference::THESIS;
use crate::statistics::Values;

/// Judges what the chain does that is nearest to the thesis', stock FFmpeg told nothing that lowers its delay, and says what Forestall's own
/// does beside it; where only that was measured, that is judged.
pub(super) fn by_chain(cells: &Cells, judge: fn(&Cells, &str) -> Judged) -> Judged {
    let (plain, ours) = (judge(cells, PLAIN), judge(cells, OURS));
    let Some(own) = ours.estimate else {
        return plain;
    };
    if plain.estimate.is_none() {
        return ours;
    }
    Judged {
        why: format!(
            "with stock FFmpeg, plain: {}. With Forestall's chain, which holds no frame: {} {}",
            plain.why,
            words(&own, 1),
            ours.unit
        ),
        ..plain
    }
}

/// How many runs of placements a figure comes from.
fn runs(cells: &Cells, chain: &str, names: &[&str], of: &Estimate) -> String {
    let runs = |name: &&str| {
        let n = placement(cells, &format!("{name}{chain}")).len();
        format!("{n} of {name}")
    };
    let all: Vec<String> = names.iter().map(runs).collect();
    let all = all.join(", ");
    if of.freedom == 0 {
        return format!(
            "runs: {all}; none was made twice with this chain, so that the spread between runs is not known"
        );
    }
    format!(
        "runs: {all}; spread between runs with {} degrees of freedom",
        of.freedom
    )
}

/// The part of the difference of two edges that is of their links.
pub(super) fn tcp_link(cells: &Cells, chain: &str) -> Judged {
    let printed = THESIS.analysis.delay_per_tcp_link_ms;
    let (Some(far), Some(near)) = (
        delay(cells, &format!("edge-robot-side{chain}")),
        delay(cells, &format!("edge-user-side{chain}")),
    ) else {
        return no_part("placement", Some(printed), "ms");
    };
    let per_link = far.minus(&near).times(0.5);
    let what = format!(
        "edge-robot-side less edge-user-side over 2 links ({})",
        runs(cells, chain, &EDGES, &per_link)
    );
    effect(per_link, printed, "ms", &what)
}

const EDGES: [&str; 2] = ["edge-robot-side", "edge-user-side"];

pub(super) fn dc_excess(cells: &Cells, chain: &str) -> Judged {
    let names = ["dc-ohio", "dc-singapore", "dc-tokyo"];
    let all: Vec<(&str, Estimate)> = names
        .into_iter()
        .filter_map(|name| Some((name, excess(cells, name, chain)?)))
        .collect();
    let printed = Some(THESIS.analysis.max_increase_by_jitter_ms);
    if all.len() < names.len() {
        return no_part("placement", printed, "ms");
    }
    let above = |estimate: &Estimate| estimate.interval().is_some_and(|[low, _]| low > 0.0);
    let below = |estimate: &Estimate| estimate.interval().is_some_and(|[_, high]| high < 0.0);
    let verdict = if all.iter().all(|(_, one)| above(one)) {
        Verdict::Holds
    } else if all.iter().any(|(_, one)| below(one)) {
        Verdict::DoesNotHold
    } else {
        Verdict::CannotTell
    };
    let each: Vec<String> = all
        .iter()
        .map(|(name, one)| {
            let mut thesis = THESIS.table4_intervals.iter();
            let thesis = thesis.find(|printed| printed.scenario == *name);
            let thesis =
                thesis.map(|one| format!(", the thesis {:.0}", one.unexpected_increase_ms));
            format!("{name} {} ms{}", words(one, 1), thesis.unwrap_or_default())
        })
        .collect();
    let largest = all
        .iter()
        .map(|(_, one)| *one)
        .max_by(|a, b| a.value.total_cmp(&b.value));
    let n = largest.map(|one| {
        let names = [names[0], names[1], names[2], LAN];
        runs(cells, chain, &names, &one)
    });
    Judged {
        interval: None,
        verdict,
        estimate: largest,
        printed,
        unit: "ms",
        why: format!(
            "excess over the RTT, which has to be above 0 with all: {}; the largest is given ({})",
            each.join("; "),
            n.unwrap_or_default()
        ),
    }
}

/// Slope of the excess against the C.V., over the sweep of jitter.
pub(super) fn cv_proportional(cells: &Cells, chain: &str) -> Judged {
    let points: Vec<(f64, f64)> = cells
        .with_jitter(chain)
        .into_iter()
        .filter_map(|(_, cell)| {
            let cv = packet_intervals(cell, Values::cv)?.value;
            let age = Estimate::mean_of(&cell.shots_ms)?.value;
            Some((cv, age))
        })
        .collect();
    // From the four points of Table 4.
    let thesis: Vec<(f64, f64)> = THESIS
        .table4_intervals
        .iter()
        .map(|one| (one.cv, one.unexpected_increase_ms))
        .collect();
    let printed = Line::through(&thesis).map(|line| line.slope.value);
    let Some(line) = Line::through(&points) else {
        return no_part("jitter", printed, "ms");
    };
    Judged {
        interval: None,
        verdict: proportional(&line, printed),
        estimate: Some(line.slope),
        printed,
        unit: "ms per unit of C.V.",
        why: format!(
            "n = {} runs, R² {:.2}; proportional is taken to be a slope over 0 with R² over 0.8",
            points.len(),
            line.r2
        ),
    }
}

/// A slope that may be 0 rules the thesis' out only where that is outside its interval.
fn proportional(line: &Line, printed: Option<f64>) -> Verdict {
    match line.slope.interval() {
        Some([low, _]) if low > 0.0 && line.r2 > 0.8 => Verdict::Holds,
        Some([low, high]) if low <= 0.0 && printed.is_some_and(|printed| high < printed) => {
            Verdict::DoesNotHold
        }
        _ => Verdict::CannotTell,
    }
}

pub(super) fn insertion_streaming(cells: &Cells, chain: &str) -> Judged {
    let printed = THESIS.analysis.insertion_and_streaming_ms;
    let (Some(served), Some(direct), Some(far), Some(near)) = (
        delay(cells, &format!("non-virtualized{chain}")),
        delay(cells, &format!("direct{chain}")),
        delay(cells, &format!("edge-robot-side{chain}")),
        delay(cells, &format!("edge-user-side{chain}")),
    ) else {
        return no_part("placement", Some(printed), "ms");
    };
    let links = far.minus(&near).times(0.5).times(3.0);
    let estimate = served.minus(&direct).minus(&links);
    let program = chain.strip_prefix('-').unwrap_or(breakdown::FORESTALL);
    // The same by another way: the thesis' two programs are one stage there.
    let stage = breakdown::server(cells, breakdown::BARE, program).map_or_else(
        || "not measured".to_owned(),
        |stage| format!("{} ms ({ONE_RUN})", words(&stage, 1)),
    );
    let names = ["non-virtualized", "direct", EDGES[0], EDGES[1]];
    let what = format!(
        "non-virtualized less direct less 3 links of TCP ({}); from a frame's last byte at that server to its last byte out of it: {stage}",
        runs(cells, chain, &names, &estimate)
    );
    effect(estimate, printed, "ms", &what)
}

pub(super) fn virtualisation(cells: &Cells, chain: &str) -> Judged {
    let printed = THESIS.analysis.virtualization_ms;
    let (Some(bare), Some(far), Some(near)) = (
        delay(cells, &format!("non-virtualized{chain}")),
        delay(cells, &format!("edge-robot-side{chain}")),
        delay(cells, &format!("edge-user-side{chain}")),
    ) else {
        return no_part("placement", Some(printed), "ms");
    };
    let estimate = far.plus(&near).times(0.5).minus(&bare);
    let what = format!(
        "mean of the two edge placements less non-virtualized ({})",
        runs(
            cells,
            chain,
            &[EDGES[0], EDGES[1], "non-virtualized"],
            &estimate
        )
    );
    let mut made = cells.placements.iter().map(|of| &of.cell);
    let judged = effect(estimate, printed, "ms", &what);
    unless_emulated(made.any(is_emulated), &what, judged)
}

fn is_emulated(cell: &Cell) -> bool {
    cell.environment.accelerator == "tcg"
}

/// An emulated CPU costs more than virtualisation does: then it says nothing of an effect of that.
fn unless_emulated(is_emulated: bool, what: &str, judged: Judged) -> Judged {
    if !is_emulated {
        return judged;
    }
    Judged {
        verdict: Verdict::CannotTell,
        why: format!(
            "{what}; the CPU of the virtual machines is emulated here, which costs more than virtualisation does"
        ),
        ..judged
    }
}

/// A VPN hardly matters where it adds no more than this to a round trip, ms: a 33rd of a frame's time.
const VPN_MS_MAX: f64 = 1.0;

pub(super) fn vpn(cells: &Cells) -> Judged {
    let printed = Some(THESIS.analysis.vpn_processing_ms);
    let Some((with, without)) = vpn_rtt(cells, LAN).zip(rtt(cells, LAN)) else {
        return no_part("placement", printed, "ms");
    };
    let added = with.minus(&without);
    let verdict = match added.interval() {
        Some([_, high]) if high <= VPN_MS_MAX => Verdict::Holds,
        Some([low, _]) if low > VPN_MS_MAX => Verdict::DoesNotHold,
        _ => Verdict::CannotTell,
    };
    Judged {
        interval: None,
        verdict,
        estimate: Some(added),
        printed,
        unit: "ms",
        why: format!(
            "round trip through WireGuard in user space less that without, on the LAN ({LAN}), where no jitter hides it, {} pings and {} in \
             the same {} runs; up to {VPN_MS_MAX:.0} ms is taken to hardly matter",
            with.freedom + 1,
            without.freedom + 1,
            placement(cells, LAN).len()
        ),
    }
}

/// The thesis takes the first and the last packet of a stream; here it is every frame, and what those packets say stands beside it.
pub(super) fn virtualisation_server(cells: &Cells) -> Judged {
    let printed = THESIS.analysis.virtualization_server_processing_ms;
    let server = |way| breakdown::server(cells, way, breakdown::FORESTALL);
    let Some((virtual_, bare)) = server(breakdown::VIRTUAL).zip(server(breakdown::BARE)) else {
        return no_part("breakdown", Some(printed), "ms");
    };
    let what = format!(
        "from a frame's last byte at the server to its last byte out of it, in virtual machines less without, Forestall's chain ({ONE_RUN}){}",
        starts::in_words(cells)
    );
    let mut made = cells.breakdowns.iter().map(|of| &of.cell);
    let judged = effect(virtual_.minus(&bare), printed, "ms", &what);
    unless_emulated(made.any(is_emulated), &what, judged)
}

pub(super) fn udp_buffering(cells: &Cells) -> Judged {
    let printed = THESIS.figure7_breakdown.udp_buffering_ms;
    let player = |way, viewer| breakdown::player(cells, way, viewer);
    let (plain, tuned) = ("ffplay-plain", "ffplay");
    let (Some(udp), Some(tcp), Some(udp_tuned)) = (
        player(breakdown::BARE_UDP, plain),
        player(breakdown::BARE, plain),
        player(breakdown::BARE_UDP, tuned),
    ) else {
        return no_part("breakdown", Some(printed), "ms");
    };
    let what = format!(
        "from a frame's last byte at ffplay to its screen, by UDP ({:.0} ms) less by TCP ({:.0} ms), both plain ({ONE_RUN}); told what lowers \
         its delay it takes {:.0} ms by UDP, so that {} ms are removed, of which the thesis removes {:.0}",
        udp.value,
        tcp.value,
        udp_tuned.value,
        words(&udp.minus(&udp_tuned), 0),
        THESIS.figure7_breakdown.udp_buffering_removable_ms
    );
    effect(udp.minus(&tcp), printed, "ms", &what)
}

/// Stages add up where what is left over is no more than this share of the delay.
const LEFT_OVER_MAX: f64 = 0.05;

pub(super) fn breakdown_sums(cells: &Cells) -> Judged {
    let mut verdict = Verdict::Holds;
    let mut worst: Option<(f64, Estimate)> = None;
    for cell in cells.breakdowns.iter().map(|of| &of.figures) {
        let Some((left, shown)) = cell.left_over.zip(cell.shown) else {
            return unmeasured(None, "ms", "a stage was seen by no frame");
        };
        verdict = verdict.and(negligible(&left, LEFT_OVER_MAX * shown.value));
        let share = (left.value / shown.value).abs();
        if worst.is_none_or(|(most, _)| share > most) {
            worst = Some((share, left));
        }
    }
    let Some((share, left)) = worst else {
        return no_part("breakdown", None, "ms");
    };
    let traced = cells.breakdowns.iter();
    let traced: Values = traced.filter_map(|of| of.figures.traced_share).collect();
    Judged {
        interval: None,
        verdict,
        estimate: Some(left),
        printed: None,
        unit: "ms",
        why: format!(
            "delay on the screen less all stages, where most is left over in proportion: {:.1} % of the delay, in {} measurements ({ONE_RUN}); \
             up to {:.0} % in each is taken to add up. A frame that was seen everywhere leaves nothing over, since a stage ends where the next \
             begins: at least {:.0} % were, and what is left over is of the others",
            share * 100.0,
            cells.breakdowns.len(),
            LEFT_OVER_MAX * 100.0,
            traced.min().unwrap_or_default() * 100.0
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::cells::{Of, PlacementCell};
    use super::*;
    use crate::testing;
    use record::campaign::Subject;

    /// Runs of a placement, each with pictures of one age.
    fn placed(name: &str, ages_ms: &[f64]) -> Vec<Of<PlacementCell>> {
        let run = |(repeat, age_ms): (u32, &f64)| Of {
            cell: testing::cell(Subject::Placement {
                placement: name.into(),
                repeat,
                tcp_links: None,
            }),
            figures: PlacementCell {
                shots_ms: vec![*age_ms; 100],
                frame_delays_ms: Vec::new(),
                rtt_ms: Values::default(),
                vpn_rtt_ms: Values::default(),
                arrivals: Vec::new(),
            },
        };
        (1..).zip(ages_ms).map(run).collect()
    }

    fn cells(placements: Vec<Vec<Of<PlacementCell>>>) -> Cells {
        Cells {
            placements: placements.into_iter().flatten().collect(),
            ..Cells::default()
        }
    }

    #[test]
    fn a_link_is_judged_by_the_spread_between_runs_of_its_chain() {
        let edges = |third: &[f64]| {
            cells(vec![
                placed("edge-robot-side", &[41.0]),
                placed("edge-user-side", &[40.0]),
                placed("direct", third),
                // Another chain, another spread.
                placed("direct-ffmpeg-plain", &[400.0, 500.0]),
            ])
        };
        let once = tcp_link(&edges(&[20.0]), OURS);
        assert_eq!(once.verdict, Verdict::CannotTell);
        assert!(once.why.contains("not known"), "{}", once.why);
        // Squares of 0.04 with 4 degrees of freedom: a run's variance is 0.01, and of a link's there are two over 4.
        let again = tcp_link(&edges(&[20.0, 20.2, 20.2, 20.0, 20.1]), OURS);
        let estimate = again.estimate.unwrap();
        assert_eq!((estimate.value, estimate.freedom), (0.5, 4));
        assert!((estimate.variance.unwrap() - 0.01 * 2.0 / 4.0).abs() < 1e-9);
        assert_eq!(again.verdict, Verdict::DoesNotHold, "{}", again.why);
        assert!(again.why.contains("1 of edge-robot-side"), "{}", again.why);
    }

    #[test]
    fn a_slope_that_may_be_both_none_and_the_thesis_decides_nothing() {
        let line = |slope: f64, deviation: f64, r2: f64| Line {
            at_zero: 0.0,
            slope: Estimate {
                value: slope,
                variance: Some(deviation * deviation),
                freedom: 10,
            },
            r2,
        };
        for (slope, deviation, r2, verdict) in [
            (60.0, 50.0, 0.2, Verdict::CannotTell),
            (4.0, 3.0, 0.1, Verdict::DoesNotHold),
            (-90.0, 10.0, 0.9, Verdict::DoesNotHold),
            (120.0, 10.0, 0.95, Verdict::Holds),
            (120.0, 10.0, 0.5, Verdict::CannotTell),
        ] {
            let found = proportional(&line(slope, deviation, r2), Some(130.0));
            assert_eq!(found, verdict, "{slope} {deviation} {r2}");
        }
    }
}

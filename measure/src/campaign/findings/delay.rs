//! Findings of section 3: where the delay comes from.

use record::campaign::Cell;

use super::super::breakdown;
use super::super::cells::Cells;
use super::super::estimate::{Estimate, Line};
use super::super::tables::{LAN, OURS, PLAIN, delay, excess, packet_intervals, rtt, vpn_rtt};
use super::{Judged, Verdict, effect, no_part, unmeasured};
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
    let interval = own.interval().map_or_else(String::new, |[low, high]| {
        format!(" ({low:.1} to {high:.1})")
    });
    Judged {
        why: format!(
            "with stock FFmpeg, plain: {}. With Forestall's chain, which holds no frame: {:.1} {}{interval}",
            plain.why, own.value, ours.unit
        ),
        ..plain
    }
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
    effect(
        per_link,
        printed,
        "ms",
        "edge-robot-side less edge-user-side over 2 links",
    )
}

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
    let words: Vec<String> = all
        .iter()
        .map(|(name, one)| format!("{name} {:.1} ms", one.value))
        .collect();
    let largest = all
        .iter()
        .map(|(_, one)| *one)
        .max_by(|a, b| a.value.total_cmp(&b.value));
    Judged {
        interval: None,
        verdict,
        estimate: largest,
        printed,
        unit: "ms",
        why: format!(
            "excess over the RTT: {}; the largest is given",
            words.join(", ")
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
    let straight = line.r2 > 0.8;
    let rises = line.slope.interval().is_some_and(|[low, _]| low > 0.0);
    Judged {
        interval: None,
        verdict: match (rises, straight) {
            (true, true) => Verdict::Holds,
            (false, _) => Verdict::DoesNotHold,
            (true, false) => Verdict::CannotTell,
        },
        estimate: Some(line.slope),
        printed,
        unit: "ms per unit of C.V.",
        why: format!(
            "{} points, R² {:.2}; proportional is taken to be a slope over 0 with R² over 0.8",
            points.len(),
            line.r2
        ),
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
    effect(
        estimate,
        printed,
        "ms",
        "non-virtualized less direct less 3 links of TCP",
    )
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
    let what = "mean of the two edge placements less non-virtualized";
    let mut made = cells.placements.iter().map(|of| &of.cell);
    unless_emulated(
        made.any(is_emulated),
        what,
        effect(estimate, printed, "ms", what),
    )
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
            "round trip through WireGuard in user space less that without, on the LAN ({LAN}), where no jitter hides it; up to \
             {VPN_MS_MAX:.0} ms is taken to hardly matter"
        ),
    }
}

/// The thesis takes the first and the last packet of a stream; here it is every frame.
pub(super) fn virtualisation_server(cells: &Cells) -> Judged {
    let printed = THESIS.analysis.virtualization_server_processing_ms;
    let server = |way| breakdown::server(cells, way, breakdown::FORESTALL);
    let Some((virtual_, bare)) = server(breakdown::VIRTUAL).zip(server(breakdown::BARE)) else {
        return no_part("breakdown", Some(printed), "ms");
    };
    let what = "from a frame's last byte at the server to its last byte out of it, in virtual machines less without, Forestall's chain";
    let mut made = cells.breakdowns.iter().map(|of| &of.cell);
    let judged = effect(virtual_.minus(&bare), printed, "ms", what);
    unless_emulated(made.any(is_emulated), what, judged)
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
        "from a frame's last byte at ffplay to its screen, by UDP ({:.0} ms) less by TCP ({:.0} ms), both plain; told what lowers its delay \
         it takes {:.0} ms by UDP, so that {:.0} ms are removed",
        udp.value,
        tcp.value,
        udp_tuned.value,
        udp.value - udp_tuned.value
    );
    effect(udp.minus(&tcp), printed, "ms", &what)
}

/// Stages add up where what is left over is no more than this share of the delay.
const LEFT_OVER_MAX: f64 = 0.05;

pub(super) fn breakdown_sums(cells: &Cells) -> Judged {
    let mut worst: Option<(f64, Estimate)> = None;
    for cell in cells.breakdowns.iter().map(|of| &of.figures) {
        let Some((left, shown)) = cell.left_over.zip(cell.shown) else {
            return unmeasured(None, "ms", "a stage was seen by no frame");
        };
        let share = (left.value / shown.value).abs();
        if worst.is_none_or(|(most, _)| share > most) {
            worst = Some((share, left));
        }
    }
    let Some((share, left)) = worst else {
        return no_part("breakdown", None, "ms");
    };
    Judged {
        interval: None,
        verdict: if share <= LEFT_OVER_MAX {
            Verdict::Holds
        } else {
            Verdict::DoesNotHold
        },
        estimate: Some(left),
        printed: None,
        unit: "ms",
        why: format!(
            "delay on the screen less all stages, where most is left over in proportion: {:.1} % of the delay, in {} measurements; \
             up to {:.0} % is taken to add up",
            share * 100.0,
            cells.breakdowns.len(),
            LEFT_OVER_MAX * 100.0
        ),
    }
}

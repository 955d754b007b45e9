//! Figure 1: what a policy costs in moves against what it leaves above the knee.

use maud::{Markup, html};
use measure::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use measure::drawing::svg::{Scale, Spacing, px, round_down, round_up};
use measure::words::whole;

use super::labels::{self, Area, Placed, Side};
use super::policies::{Row, class};

const FRAME: Frame = Frame {
    top: 26.0,
    height: 400.0,
};
const HEIGHT: f64 = FRAME.top + FRAME.height + 44.0;
/// From the text's middle to the line that it stands on.
const BASELINE: f64 = 4.0;

/// One labelled point a policy.
pub(super) fn draw(rows: &[Row]) -> Markup {
    let moves: Vec<f64> = rows.iter().map(|row| row.summary.moves as f64).collect();
    let seconds: Vec<f64> = rows.iter().map(|row| row.summary.seconds_above_knee).collect();
    // The points keep clear of the panel's edges.
    let x = Axis::through(&moves, (LEFT + 8.0, RIGHT - 8.0));
    let y = Axis::through(&seconds, (FRAME.top + FRAME.height - 8.0, FRAME.top + 8.0));
    let points: Vec<(f64, f64)> = moves
        .iter()
        .zip(&seconds)
        .map(|(moves, seconds)| (x.scale.at(*moves), y.scale.at(*seconds)))
        .collect();
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    let within = Area {
        left: LEFT + 2.0,
        right: WIDTH - 2.0,
        top: FRAME.top,
        bottom: FRAME.top + FRAME.height,
    };
    let placed = labels::place(&points, &names, within);
    let axes = Axes {
        x: &x.scale,
        frame: FRAME,
    };
    html! {
        svg.figure viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="Seconds above the knee against moves, all policies" {
            (axes.panel("Seconds above the knee, all functions", &y.scale, &y.ticks, |tick| y.say(tick)))
            (axes.under("moves", &x.ticks, |tick| x.say(tick)))
            @for ((name, point), label) in names.iter().zip(&points).zip(&placed) { (named_point(name, *point, label)) }
        }
    }
}

fn named_point(name: &str, (x, y): (f64, f64), label: &Placed) -> Markup {
    let anchor = match label.side {
        Side::Right => "start",
        Side::Left => "end",
    };
    html! {
        g class={ "policy " (class(name)) } {
            @if label.led {
                path.leader d={ "M" (px(x)) " " (px(y)) "L" (px(label.x)) " " (px(label.y)) } {}
            }
            circle cx=(px(x)) cy=(px(y)) r="4.5" {}
            text x=(px(label.x)) y=(px(label.y + BASELINE)) text-anchor=(anchor) { (name) }
        }
    }
}

/// A logarithmic axis of which the lower end stands for 0, when there is a 0.
#[derive(Clone, Debug)]
struct Axis {
    scale: Scale,
    ticks: Vec<f64>,
    zero_at: Option<f64>,
}

impl Axis {
    fn through(values: &[f64], place: (f64, f64)) -> Self {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let ends = positive().reduce(f64::min).zip(positive().reduce(f64::max));
        let ends = ends.map(|(least, most)| (round_down(least), round_up(most)));
        let (least, most) = match ends {
            Some((least, most)) if least < most => (least, most),
            Some((only, _)) => (only / 2.0, only * 2.0),
            None => (1.0, 10.0),
        };
        let zero_at = values.iter().any(|value| *value <= 0.0).then_some(least / 2.0);
        let scale = Scale {
            domain: (zero_at.unwrap_or(least), most),
            place,
            spacing: Spacing::Logarithmic,
        };
        let round = scale.ticks(0.0).into_iter().filter(|tick| *tick >= least * 0.999);
        let ticks = zero_at.into_iter().chain(round).collect();
        Self {
            scale,
            ticks,
            zero_at,
        }
    }

    fn say(&self, tick: f64) -> String {
        if self.zero_at == Some(tick) {
            "0".to_owned()
        } else if tick < 1.0 {
            tick.to_string()
        } else {
            whole(tick)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(values: &[f64]) -> Axis {
        Axis::through(values, (100.0, 200.0))
    }

    #[test]
    fn nothing_lies_at_the_lower_end() {
        let axis = axis(&[0.0, 30.0, 4_000.0]);
        assert_eq!(axis.scale.domain, (10.0, 5_000.0));
        assert_eq!(axis.scale.at(0.0), 100.0);
        let said: Vec<String> = axis.ticks.iter().map(|tick| axis.say(*tick)).collect();
        let expected = ["0", "20", "50", "100", "200", "500", "1000", "2000", "5000"];
        assert_eq!(said, expected);
    }

    #[test]
    fn an_axis_has_length_whatever_lies_on_it() {
        for values in [&[][..], &[0.0], &[5.0], &[5.0, 5.0], &[0.02, 0.0]] {
            let axis = axis(values);
            let (low, high) = axis.scale.domain;
            assert!(0.0 < low && low < high && high < 1e3, "{values:?}: {low} {high}");
            let places = values.iter().map(|value| axis.scale.at(*value));
            assert!(places.into_iter().all(|at| (100.0..=200.0).contains(&at)));
        }
    }
}

//! The frame of a panel: its title, ticks, grid, legend and lines across.

use maud::{Markup, html};

use super::svg::Scale;

/// Width of every figure, in the units of its view box.
pub(super) const WIDTH: f64 = 1_040.0;
/// Where the panels begin.
pub(super) const LEFT: f64 = 66.0;
/// Where they end; the labels of lines across stand beyond.
pub(super) const RIGHT: f64 = 938.0;

/// The vertical place of a panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) top: f64,
    pub(super) height: f64,
}

impl Frame {
    /// From the smallest value at the bottom to the largest at the top.
    pub(super) const fn place(self) -> (f64, f64) {
        (self.top + self.height, self.top)
    }
}

/// A panel on a time axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axes<'a> {
    pub(super) x: &'a Scale,
    pub(super) frame: Frame,
}

impl Axes<'_> {
    /// Title, horizontal grid and its labels.
    pub(super) fn panel(
        &self,
        title: &str,
        y: &Scale,
        ticks: &[f64],
        say: impl Fn(f64) -> String,
    ) -> Markup {
        let Frame { top, height } = self.frame;
        html! {
            text.title x=(LEFT) y=(top - 9.0) { (title) }
            @for tick in ticks {
                @let at = (y.at(*tick) * 10.0).round() / 10.0;
                path.grid d={ "M" (LEFT) " " (at) "H" (RIGHT) } {}
                text.tick x=(LEFT - 8.0) y=(at + 4.0) text-anchor="end" { (say(*tick)) }
            }
            @for tick in self.x.ticks(12.0) {
                path.grid.faint d={ "M" (self.x.at(tick).round()) " " (top) "v" (height) } {}
            }
            path.axis d={ "M" (LEFT) " " (top) "V" (top + height) "H" (RIGHT) } {}
        }
    }

    /// Names of the curves, right-aligned beside the title.
    pub(super) fn legend(&self, entries: &[(&str, &str)]) -> Markup {
        let y = self.frame.top - 13.0;
        // Widths are guessed from the number of letters: there is no browser here to ask.
        let widths: Vec<f64> = entries
            .iter()
            .map(|(name, _)| 42.0 + 6.3 * name.chars().count() as f64)
            .collect();
        let mut x = RIGHT - widths.iter().sum::<f64>();
        let placed: Vec<(f64, &str, &str)> = entries
            .iter()
            .zip(&widths)
            .map(|((name, class), width)| {
                let at = x;
                x += width;
                (at, *name, *class)
            })
            .collect();
        html! {
            @for (x, name, class) in placed {
                @if class == "load-snmp" { circle.load-snmp cx=(x + 9.0) cy=(y) r="2.4" {} }
                @if class == "age-band" { rect.age-band x=(x) y=(y - 4.0) width="18" height="8" {} }
                @else { path class=(class) d={ "M" (x) " " (y) "h18" } {} }
                text.legend x=(x + 23.0) y=(y + 4.0) { (name) }
            }
        }
    }

    /// A line across at `y`, named at its right end; `drop` moves the name down.
    pub(super) fn limit(&self, y: f64, class: &str, drop: f64, name: &str) -> Markup {
        let y = (y * 10.0).round() / 10.0;
        html! {
            path class=(class) d={ "M" (LEFT) " " (y) "H" (RIGHT) } {}
            text class={ "limit " (class) } x=(RIGHT + 6.0) y=(y + drop) { (name) }
        }
    }

    /// The time axis under the panel.
    pub(super) fn time(&self) -> Markup {
        let bottom = self.frame.top + self.frame.height;
        html! {
            @for tick in self.x.ticks(12.0) {
                text.tick x=(self.x.at(tick).round()) y=(bottom + 17.0) text-anchor="middle" { (tick) }
            }
            text.tick x=((LEFT + RIGHT) / 2.0) y=(bottom + 36.0) text-anchor="middle" { "seconds since the load began" }
        }
    }
}

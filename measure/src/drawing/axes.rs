//! The frame of a panel: its title, ticks, grid and lines across.

use maud::{Markup, html};

use super::svg::{Scale, px};

/// Width of every figure, in the units of its view box.
pub const WIDTH: f64 = 1_040.0;
/// Where the panels begin.
pub const LEFT: f64 = 66.0;
/// Where they end; the labels of lines across stand beyond.
pub const RIGHT: f64 = 938.0;

/// The vertical place of a panel.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Its upper edge.
    pub top: f64,
    /// From there to its lower edge.
    pub height: f64,
}

impl Frame {
    /// From the smallest value at the bottom to the largest at the top.
    #[must_use]
    pub const fn place(self) -> (f64, f64) {
        (self.top + self.height, self.top)
    }
}

/// A panel on its horizontal axis.
#[derive(Clone, Copy, Debug)]
pub struct Axes<'a> {
    /// The horizontal axis.
    pub x: &'a Scale,
    /// Where the panel is.
    pub frame: Frame,
}

impl Axes<'_> {
    /// Title, horizontal grid and its labels.
    pub fn panel(
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
                @let at = px(y.at(*tick));
                path.grid d={ "M" (LEFT) " " (at) "H" (RIGHT) } {}
                text.tick x=(LEFT - 8.0) y=(at + 4.0) text-anchor="end" { (say(*tick)) }
            }
            @for tick in self.x.ticks(12.0) {
                path.grid.faint d={ "M" (self.x.at(tick).round()) " " (top) "v" (height) } {}
            }
            path.axis d={ "M" (LEFT) " " (top) "V" (top + height) "H" (RIGHT) } {}
        }
    }

    /// A line across at `y`, named at its right end; `drop` moves the name down.
    #[must_use]
    pub fn limit(&self, y: f64, class: &str, drop: f64, name: &str) -> Markup {
        let y = px(y);
        html! {
            path class=(class) d={ "M" (LEFT) " " (y) "H" (RIGHT) } {}
            text class={ "limit " (class) } x=(RIGHT + 6.0) y=(y + drop) { (name) }
        }
    }

    /// The horizontal axis under the panel, and what it is of.
    #[must_use]
    pub fn under(&self, name: &str, ticks: &[f64], say: impl Fn(f64) -> String) -> Markup {
        let bottom = self.frame.top + self.frame.height;
        html! {
            @for tick in ticks {
                text.tick x=(self.x.at(*tick).round()) y=(bottom + 17.0) text-anchor="middle" { (say(*tick)) }
            }
            text.tick x=((LEFT + RIGHT) / 2.0) y=(bottom + 36.0) text-anchor="middle" { (name) }
        }
    }

    /// A second scale below that: what the places on the axis are in another unit.
    #[must_use]
    pub fn beneath(&self, name: &str, marks: &[(f64, String)]) -> Markup {
        let bottom = self.frame.top + self.frame.height;
        html! {
            @for (at, words) in marks {
                path.axis d={ "M" (self.x.at(*at).round()) " " (bottom + 44.0) "v5" } {}
                text.tick x=(self.x.at(*at).round()) y=(bottom + 61.0) text-anchor="middle" { (words) }
            }
            text.tick x=((LEFT + RIGHT) / 2.0) y=(bottom + 80.0) text-anchor="middle" { (name) }
        }
    }
}

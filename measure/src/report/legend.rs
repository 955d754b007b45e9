//! What the curves of a panel are.

use maud::{Markup, html};

use crate::drawing::axes::{Frame, RIGHT};

/// Names of the curves, right-aligned beside the title.
pub(super) fn legend(frame: Frame, entries: &[(&str, &str)]) -> Markup {
    let y = frame.top - 13.0;
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

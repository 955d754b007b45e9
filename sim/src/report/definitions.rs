//! What each figure of the report says, as the code beside it counts it.

use maud::{Markup, html};
use measure::words::{ms, percent, whole};

use crate::contest::case::{CALM, UNTOUCHED_S};
use crate::contest::site::{BUDGET_MS, KNEE};
use crate::moves::JUDGED_FOR;

/// The definitions as a list.
pub(super) fn list() -> Markup {
    let judged_min = whole(JUDGED_FOR.as_secs_f64() / 60.0);
    html! {
        dl.definitions {
            dt { "Second above the knee" }
            dd { "A second of a function whose host is at " (percent(KNEE)) " of its CPU or more, where the delay explodes, or that runs nowhere; "
                "of all functions together." }
            dt { "Preventable, prevented" }
            dd { "An overload is when a function that stays where it is is above the knee; with less than " (CALM.as_secs()) " s between them, two are one. "
                "It is preventable when the oracle prevents it, and prevented when the function was above the knee for less than "
                (UNTOUCHED_S) " s of it." }
            dt { "Oracle" }
            dd { "A bound that no policy can better: it knows the future, and moves each function as if it were alone. Its seconds can be out of reach "
                "where functions crowd; the best plan found for all of them together says how far at most." }
            dt { "Excess" }
            dd { "Of the seconds that never moving costs more than the oracle, the share that this policy costs more than the oracle: "
                "(policy − oracle) / (never − oracle)." }
            dt { "Useless" }
            dd { "A move from a host that, with the function still on it, would not have reached the knee within " (judged_min) " min of its start; "
                "also one of which that cannot be said." }
            dt { "Undone" }
            dd { "A move whose function went back within " (judged_min) " min." }
            dt { "Overflowing" }
            dd { "A move whose target reached the knee with the function on it within " (judged_min) " min." }
            dt { "Margin" }
            dd { "For each preventable overload of which the function left its host: the beginning of the overload less the instant at which the function "
                "ran elsewhere. In time when it is positive." }
            dt { "Viewer-seconds" }
            dd { "Viewers times seconds with a picture older than " (ms(BUDGET_MS)) ". Not known of the oracle." }
            dt { "Foresight" }
            dd { "Precision: the share of moves that were not useless. Recall: the share of all overloads, preventable or not, that a move of the function "
                "began before; the lead is how long before. Error: predicted less true time of a move, as a share of the true one." }
            dt { "@5s" }
            dd { "The same rule, run on samples of 5 s as our controller; without it, at the interval that its own system has." }
            dt { "Intervals" }
            dd { "95 %, of the mean over seeds, by Student’s t; cut at what the figure can be. There are none for a single seed. "
                "The figure above an interval of a share is of all seeds together." }
        }
    }
}

//! How each figure of the report is defined, beside the code that computes it.

use maud::{Markup, html};

use crate::handover::{GAP_AFTER, GAP_BEFORE};
use crate::run::SETTLING;

/// The definitions as a list.
pub(super) fn list() -> Markup {
    let (before, after, settling) = (
        GAP_BEFORE.as_secs(),
        GAP_AFTER.as_secs(),
        SETTLING.as_secs(),
    );
    html! {
        dl.definitions {
            dt { "Picture age" }
            dd { "Now minus the capture time of the picture on the screen, sampled every 10 ms until the run ends, frozen or not. "
                "It is the delay that the thesis’ screenshots see. The capture time is read back from a code strip in the shown picture; "
                "a picture whose strip cannot be read does not make the age smaller. Delay per shown frame would report a frozen "
                "video as a good one." }
            dt { "Idle, under load" }
            dd { "Figures without a word are over the phase in which the load profile runs; “idle” ones over the phase before it. "
                "Instants are seconds since the load began." }
            dt { "Over the budget at" }
            dd { "The first instant at which the 95th percentile of picture age over the last 1 s (100 samples, all of them under load) exceeds the budget." }
            dt { "Seen from the target at" }
            dd { "The viewer is shown the first frame that carries the number of another virtual machine process than the first frame did; "
                "without such numbers, the first frame captured after the guest was seen running at the target." }
            dt { "Margin" }
            dd { "The instant at which the unmoved run of the same profile and seed goes over the budget, minus the instant at which the viewer "
                "sees the first frame from the target. The deadline is met when it is positive." }
            dt { "Gap seen" }
            dd { "The longest time between two successive new frames that touches the stretch from " (before) " s before to " (after)
                " s after the guest was seen running at the target." }
            dt { "Longest freeze" }
            dd { "The longest time in the whole run without a new frame on the screen; a freeze that lasts until the end counts." }
            dt { "Median after the move" }
            dd { "Of picture age, from " (settling) " s after the first frame from the target until the end." }
            dt { "Lost frames" }
            dd { "Sent, never shown with a readable number, although one sent before and one sent after it were. Those sent before the first "
                "or after the last shown frame are counted apart." }
            dt { "Arrival intervals" }
            dd { "Of frames: between the first datagrams of successive coded frames. C.V. is the standard deviation (n − 1) over the mean, as in the thesis." }
            dt { "Percentiles" }
            dd { "Linear between neighbouring values (Hyndman and Fan’s definition 7, as in R and NumPy)." }
            dt { "Foreign load" }
            dd { "Mean share of the machine that was busy with anything but the lab while the load ran. A run with more than the limit is spoilt: "
                "it is shown, but proves nothing." }
            dt { "Figures" }
            dd { "The band of picture age spans the smallest and the largest sample in each column of the picture; the line is the largest 95th percentile "
                "of 1 s in it. A forecast is drawn as far as 15 s ahead of its decision. Axes of time, age and intervals are the same for all runs of a profile." }
        }
    }
}

//! A shape in the words of `tc`, for kernels that have netem.

use crate::shape::Shape;

/// Frames that netem may hold: enough for 1 Gbit/s over half a second. Its own default of 1000 drops at 24 Mbit/s there.
const LIMIT: u32 = 50_000;

/// What follows `tc qdisc add dev DEVICE root`, or nothing where netem cannot do it: it puts frames out of order when their delay
/// varies, correlates from frame to frame whatever lies between them, and has no queue that is bounded in time.
#[must_use]
pub fn words(shape: &Shape) -> Option<String> {
    if shape.jitter.is_some() || shape.rate.is_some() {
        return None;
    }
    let mut words = format!(
        "netem limit {LIMIT} delay {}us",
        (shape.delay_ms * 1e3).round()
    );
    if let Some(loss) = shape.loss {
        let percent = |share: f64| format!("{:.6}%", share * 100.0);
        words += &match loss.burst {
            None => format!(" loss random {}", percent(loss.share)),
            Some(burst) => {
                let into = loss.share / (burst * (1.0 - loss.share));
                format!(" loss gemodel {} {}", percent(into), percent(1.0 / burst))
            }
        };
    }
    // Without a delay there is nothing to overtake, and netem refuses the word.
    if let Some(share) = shape.reorder.filter(|_| shape.delay_ms > 0.0) {
        words += &format!(" reorder {:.6}%", share * 100.0);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netem_is_told_what_it_can_do_and_nothing_else() {
        for (text, wanted) in [
            ("", Some("netem limit 50000 delay 0us")),
            ("delay_ms = 87.3", Some("netem limit 50000 delay 87300us")),
            (
                "delay_ms = 1\nloss = { share = 0.01 }\nreorder = 0.1",
                Some("netem limit 50000 delay 1000us loss random 1.000000% reorder 10.000000%"),
            ),
            (
                "loss = { share = 0.2, burst = 4 }\nreorder = 0.1",
                Some("netem limit 50000 delay 0us loss gemodel 6.250000% 25.000000%"),
            ),
            ("jitter = { sd_ms = 1, distribution = \"normal\" }", None),
            ("rate = { mbit_s = 1, queue_ms = 10 }", None),
        ] {
            let shape: Shape = toml::from_str(text).unwrap();
            assert_eq!(words(&shape).as_deref(), wanted, "{text}");
        }
    }
}

//! What is true of a function, whatever was decided of it.

use control::Mobility;
use control::view::FunctionView;
use record::{Doubt, HostName, Timestamp, Verdict};

use super::{percent, seconds};
use crate::journal::Learned;
use crate::learn::MOVES_KEPT;

/// What is true of a function itself: where it is, what a move of it takes, and what keeps it where it is. A sentence a line.
#[must_use]
pub fn of_function(now: Timestamp, function: &FunctionView) -> Vec<String> {
    let FunctionView { vm, host, .. } = function;
    let mut lines = vec![format!(
        "{vm} is on {host}. A move of it is expected to take {} at most, and its viewers then see nothing new for {:.0} ms.",
        seconds(function.migration_ms / 1e3),
        function.gap_ms
    )];
    let load = percent(function.load);
    lines.push(match function.load_measured_at_us {
        Some(at) => {
            let ago = seconds(now.since(at).as_secs_f64());
            format!("It uses {load} of its host, as was measured {ago} ago.")
        }
        None => {
            format!("It brings {load} to a host, as configured: no more than that was measured.")
        }
    });
    if function.given_up {
        lines.push(format!(
            "It is given up: how its last move ended only a person can put right. Nothing moves it before `forestall release {vm}`."
        ));
    }
    if let Some(doubt) = &function.doubt {
        lines.push(format!(
            "Nothing moves it until it is seen to run on one host alone: {}.",
            of_doubt(doubt)
        ));
    }
    if function.mobility == Mobility::Pinned {
        lines.push(format!("It is pinned to {host}: nothing moves it."));
    }
    if let Some(until) = function.cooldown_until_us {
        let why = match function.failures_in_a_row {
            0 => "it has just moved".into(),
            1 => "its last move did not arrive".into(),
            failures => format!("its last {failures} moves did not arrive"),
        };
        lines.push(format!(
            "It is moved only by a person's order for another {}, since {why}.",
            seconds(until.since(now).as_secs_f64())
        ));
    }
    lines
}

/// What the gap of a function's moves rests on.
#[must_use]
pub fn of_gap(learned: Option<&Learned>) -> String {
    let told = learned.map_or(0, |learned| learned.gaps_ms.len());
    if told == 0 {
        return "No viewer has told of a move of it: the gap is as configured, or the engine's longest downtime where that is longer.".into();
    }
    let floor = if told < MOVES_KEPT {
        format!("; before {MOVES_KEPT} it is taken to be no shorter than configured")
    } else {
        String::new()
    };
    format!("The gap rests on what viewers saw in its last moves ({told}){floor}.")
}

/// Why it is not clear where a function runs, in words that end without a full stop.
pub(super) fn of_doubt(doubt: &Doubt) -> String {
    let names: Vec<&str> = doubt.elsewhere.iter().map(HostName::as_str).collect();
    let elsewhere = names.join(" and ");
    match doubt.verdict {
        Verdict::Split => format!("it runs twice, as was last seen on {elsewhere}, too"),
        Verdict::Unknown if doubt.elsewhere.is_empty() => {
            "a host on which it may run does not answer".into()
        }
        Verdict::Unknown => {
            format!("it runs on {elsewhere}, and the host where it is taken to be does not answer")
        }
        Verdict::Blackout => "it is held still, and runs nowhere".into(),
        Verdict::Lost | Verdict::Stayed | Verdict::Moved => "no host says that it is there".into(),
    }
}

#[cfg(test)]
mod tests {
    use record::VmName;

    use super::*;

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn split() -> Doubt {
        Doubt {
            verdict: Verdict::Split,
            elsewhere: vec![host("b"), host("c")],
        }
    }

    #[test]
    fn a_function_says_what_keeps_it() {
        let free = FunctionView {
            vm: VmName::new("text").unwrap(),
            host: host("a"),
            viewers: 1,
            load: 0.3,
            load_measured_at_us: None,
            mobility: Mobility::Free,
            migration_ms: 8_000.0,
            gap_ms: 300.0,
            migration: None,
            cooldown_until_us: None,
            failures_in_a_row: 0,
            given_up: false,
            doubt: None,
        };
        let own = "text is on a. A move of it is expected to take 8.0 s at most, and its viewers then see nothing new for 300 ms.";
        let load = "It brings 30.0 % to a host, as configured: no more than that was measured.";
        assert_eq!(of_function(Timestamp(0), &free), [own, load]);
        let kept = FunctionView {
            load_measured_at_us: Some(Timestamp(200_000)),
            mobility: Mobility::Pinned,
            cooldown_until_us: Some(Timestamp(9_000_000)),
            failures_in_a_row: 2,
            given_up: true,
            doubt: Some(split()),
            ..free
        };
        assert_eq!(
            of_function(Timestamp(1_000_000), &kept)[1..],
            [
                "It uses 30.0 % of its host, as was measured 0.8 s ago.",
                "It is given up: how its last move ended only a person can put right. Nothing moves it before `forestall release text`.",
                "Nothing moves it until it is seen to run on one host alone: it runs twice, as was last seen on b and c, too.",
                "It is pinned to a: nothing moves it.",
                "It is moved only by a person's order for another 8.0 s, since its last 2 moves did not arrive.",
            ]
        );
    }

    #[test]
    fn a_gap_says_what_it_rests_on() {
        let learned = |told| Learned {
            gaps_ms: vec![210.0; told],
            ..Learned::default()
        };
        for (told, words) in [
            (
                0,
                "No viewer has told of a move of it: the gap is as configured",
            ),
            (
                2,
                "viewers saw in its last moves (2); before 19 it is taken to be no shorter",
            ),
            (19, "viewers saw in its last moves (19)."),
        ] {
            let said = of_gap(Some(&learned(told)));
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(of_gap(None), of_gap(Some(&learned(0))));
    }
}

//! Numbers as words, beside those of `measure::words`: what was not measured is a dash.

use maud::{Markup, html};
use measure::words::{or_dash, percent_of_time, s, whole};

use super::policies::{NEVER, ORACLE, Table};
use crate::contest::Summary;
use crate::contest::summary::Mean;

/// A share, never rounded up to all.
pub(super) fn share(value: Option<f64>) -> String {
    or_dash(value, percent_of_time)
}

/// A share of something else, which may be more than all of it.
pub(super) fn ratio(value: Option<f64>) -> String {
    or_dash(value, |value| format!("{:.1} %", value * 100.0))
}

/// Seconds, with a tenth where there are few.
pub(super) fn seconds(value: f64) -> String {
    if value.abs() < 9.95 {
        s(value)
    } else {
        format!("{} s", whole(value))
    }
}

/// Seconds before (+) or after (-) something.
pub(super) fn signed_seconds(value: f64) -> String {
    if value.abs() < 99.95 {
        format!("{value:+.1} s")
    } else {
        format!("{value:+.0} s")
    }
}

/// A count.
pub(super) fn count(value: u64) -> String {
    whole(value as f64)
}

/// `12 of 15`.
pub(super) fn part(part: u64, of: u64) -> String {
    if of == 0 {
        measure::words::UNMEASURED.to_owned()
    } else {
        format!("{} of {}", count(part), count(of))
    }
}

/// A figure, and below it its interval over seeds where there is one.
pub(super) fn with_interval(figure: &str, interval: Option<Mean>, say: fn(f64) -> String) -> Markup {
    html! {
        (figure)
        @if let Some(Mean { low, high, .. }) = interval { br; small { (say(low)) " … " (say(high)) } }
    }
}

/// A share within what a share can be: the interval of a mean may reach beyond.
pub(super) fn clamped_share(value: f64) -> String {
    percent_of_time(value.clamp(0.0, 1.0))
}

/// Seconds of an interval, whose lower end may be below what seconds can be.
pub(super) fn clamped_seconds(value: f64) -> String {
    seconds(value.max(0.0))
}

/// A policy over several inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) preventable: u64,
    pub(super) prevented: u64,
    pub(super) seconds_above_knee: f64,
    pub(super) moves: u64,
    pub(super) useless_moves: u64,
}

impl Totals {
    /// `None` where a policy took no part at all.
    pub(super) fn of(tables: &[&Table], policy: &str) -> Option<Self> {
        let parts = tables.iter().filter_map(|table| table.get(policy));
        parts.fold(None, |sum: Option<Self>, part| {
            Some(sum.unwrap_or_default().plus(part))
        })
    }

    fn plus(self, part: &Summary) -> Self {
        Self {
            preventable: self.preventable + part.preventable,
            prevented: self.prevented + part.prevented,
            seconds_above_knee: self.seconds_above_knee + part.seconds_above_knee,
            moves: self.moves + part.moves,
            useless_moves: self.useless_moves + part.useless_moves,
        }
    }

    /// Of the preventable overloads, the share prevented.
    pub(super) fn share(self) -> Option<f64> {
        (self.preventable > 0).then(|| self.prevented as f64 / self.preventable as f64)
    }

    /// As `excess_share` of a [`Summary`].
    pub(super) fn excess(self, tables: &[&Table]) -> Option<f64> {
        let seconds = |policy| Some(Self::of(tables, policy)?.seconds_above_knee);
        let (oracle, never) = (seconds(ORACLE)?, seconds(NEVER)?);
        (never > oracle).then(|| (self.seconds_above_knee - oracle) / (never - oracle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{comparison, summary};

    #[test]
    fn figures_read_well() {
        assert_eq!(share(Some(0.999_99)), "99.99 %");
        assert_eq!(share(None), "–");
        assert_eq!(ratio(Some(1.234)), "123.4 %");
        assert_eq!([seconds(9.94), seconds(9.96)], ["9.9 s", "10 s"]);
        assert_eq!(seconds(12_345.0), "12\u{202f}345 s");
        assert_eq!(signed_seconds(-4.12), "-4.1 s");
        assert_eq!(signed_seconds(599.6), "+600 s");
        assert_eq!([part(3, 4), part(0, 0)], ["3 of 4", "–"]);
    }

    #[test]
    fn inputs_add_up() {
        let comparison = comparison();
        let table = &comparison.policies;
        let once = Totals::of(&[table], "deadline").unwrap();
        let twice = Totals::of(&[table, table], "deadline").unwrap();
        assert_eq!(twice.preventable, 2 * once.preventable);
        assert_eq!(twice.share(), once.share());
        // Deadline is at 110 s, the oracle at 100, never at 200.
        assert_eq!(twice.excess(&[table, table]), Some(0.1));
        assert_eq!(Totals::of(&[table], "nobody"), None);
        assert_eq!(once.excess(&[&[("deadline".to_owned(), summary())].into()]), None);
    }
}

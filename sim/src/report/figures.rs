//! Numbers as words, beside those of `measure::words`: what was not measured is a dash.

use maud::{Markup, html};
use measure::words::{UNMEASURED, or_dash, percent_of_time, whole};

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

/// Seconds without their unit, with a tenth where there are few: for a column that is headed with it.
pub(super) fn bare_seconds(value: f64) -> String {
    if value.abs() < 9.95 {
        format!("{value:.1}")
    } else {
        whole(value)
    }
}

/// Seconds, with a tenth where there are few.
pub(super) fn seconds(value: f64) -> String {
    format!("{} s", bare_seconds(value))
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
        UNMEASURED.to_owned()
    } else {
        format!("{} of {}", count(part), count(of))
    }
}

/// A share, and below it the interval of its mean over seeds where there is one, cut at what a share can be.
pub(super) fn share_with_interval(value: Option<f64>, over_seeds: Option<Mean>) -> Markup {
    let cut = |end: f64| share(Some(end.clamp(0.0, 1.0)));
    html! {
        (share(value))
        @if let Some(Mean { low, high, .. }) = over_seeds {
            br; small { (cut(low).trim_end_matches(" %")) " … " (cut(high)) }
        }
    }
}

/// Seconds of all seeds, and below them how far the interval of their mean over seeds reaches to both sides, as a share of it.
pub(super) fn seconds_with_interval(value: f64, over_seeds: Option<Mean>) -> Markup {
    let reach = over_seeds.filter(|over_seeds| over_seeds.mean > 0.0);
    let reach = reach.map(|Mean { mean, high, .. }| (high - mean) / mean * 100.0);
    html! {
        (bare_seconds(value))
        @if let Some(percent) = reach { br; small { "± " (whole(percent)) " %" } }
    }
}

/// A policy over several inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) preventable: u64,
    pub(super) prevented: u64,
    pub(super) seconds_above_knee: f64,
    pub(super) moves: u64,
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
    fn intervals_stay_within_what_a_figure_can_be() {
        let mean = Some(Mean {
            mean: 0.96,
            low: -0.5,
            high: 1.44,
        });
        assert_eq!(
            share_with_interval(Some(0.95), mean).0,
            "95.00 %<br><small>0.00 … 100 %</small>"
        );
        assert_eq!(
            seconds_with_interval(2.0, mean).0,
            "2.0<br><small>± 50 %</small>"
        );
        assert_eq!(seconds_with_interval(2.0, None).0, "2.0");
        let none = mean.map(|mean| Mean { mean: 0.0, ..mean });
        assert_eq!(seconds_with_interval(0.0, none).0, "0.0");
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
        assert_eq!(
            once.excess(&[&[("deadline".to_owned(), summary())].into()]),
            None
        );
    }
}

//! Figures as words for people: units written out, what was not measured as a dash.

use std::fmt;

use record::results::Run;

use crate::statistics::Values;

/// What stands where nothing was measured.
pub const UNMEASURED: &str = "–";

/// `1 234 ms`, `85 ms`, `7.3 ms`: three figures where there are that many.
#[must_use]
pub fn ms(value: f64) -> String {
    if value.abs().round() >= 10.0 {
        format!("{} ms", whole(value))
    } else {
        format!("{value:.1} ms")
    }
}

/// `1234`, `12 345`, `1 234 567`: a narrow no-break space between thousands from five figures on, as ISO 80000-1 has it.
#[must_use]
pub fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.round().abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len() > 4 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    let sign = if value.round() < 0.0 { "-" } else { "" };
    format!("{sign}{text}")
}

/// `12.3 s`.
#[must_use]
pub fn s(value: f64) -> String {
    format!("{value:.1} s")
}

/// Milliseconds said in seconds.
#[must_use]
pub fn ms_as_s(value: f64) -> String {
    s(value / 1e3)
}

/// `+12.3 s`, `-4.1 s`, from milliseconds.
#[must_use]
pub fn signed_ms_as_s(value: f64) -> String {
    format!("{:+.1} s", value / 1e3)
}

/// `95 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `99.87 %`: never rounded up to all.
#[must_use]
pub fn percent_of_time(share: f64) -> String {
    if share >= 1.0 {
        "100 %".to_owned()
    } else {
        format!("{:.2} %", (share * 1e4).floor() / 1e2)
    }
}

/// `0.31`.
#[must_use]
pub fn cv(value: f64) -> String {
    format!("{value:.2}")
}

/// The figure in words, or a dash.
#[must_use]
pub fn or_dash(value: Option<f64>, say: fn(f64) -> String) -> String {
    value.map_or_else(|| UNMEASURED.to_owned(), say)
}

/// One figure of several runs, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// The median, or the figure itself when there is one.
    pub median: String,
    /// `smallest … largest` without their unit, where they differ as printed.
    pub range: Option<String>,
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, range } = self;
        f.write_str(median)?;
        range
            .as_ref()
            .map_or(Ok(()), |range| write!(f, " ({range})"))
    }
}

/// Values in words.
#[must_use]
pub fn spread(values: &Values, say: fn(f64) -> String) -> Spread {
    let (Some(median), Some(min), Some(max)) = (values.median(), values.min(), values.max()) else {
        return Spread {
            median: UNMEASURED.to_owned(),
            range: None,
        };
    };
    let median = say(median);
    let unit = median.rsplit_once(' ').map_or("", |(_, unit)| unit);
    let bare = |value: f64| say(value).trim_end_matches(unit).trim_end().to_owned();
    let (min, max) = (bare(min), bare(max));
    Spread {
        range: (min != max).then(|| format!("{min} … {max}")),
        median,
    }
}

/// One figure of several runs in words: `median (smallest … largest)`, or the figure alone when they agree.
#[must_use]
pub fn over_runs(
    runs: &[&Run],
    figure: impl Fn(&Run) -> Option<f64>,
    say: fn(f64) -> String,
) -> String {
    spread(&runs.iter().filter_map(|run| figure(run)).collect(), say).to_string()
}

/// What a policy is called in a heading.
#[must_use]
pub fn policy(name: &str) -> &str {
    match name {
        "none" => "nothing moved",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(ms(7.34), "7.3 ms");
        assert_eq!(ms(344.55), "345 ms");
        assert_eq!(ms(3_383.25), "3383 ms");
        assert_eq!(ms(-27_702.0), "-27\u{202f}702 ms");
        assert_eq!(ms(9_999.7), "10\u{202f}000 ms");
        assert_eq!(whole(-12_345_678.4), "-12\u{202f}345\u{202f}678");
        assert_eq!(
            [whole(0.0), whole(-0.4), whole(9_999.0)],
            ["0", "0", "9999"]
        );
        assert_eq!(percent_of_time(0.999_99), "99.99 %");
        assert_eq!(percent_of_time(1.0), "100 %");
        assert_eq!(signed_ms_as_s(-4_123.0), "-4.1 s");
        assert_eq!(or_dash(None, ms), "–");
    }

    #[test]
    fn several_runs_are_a_median_and_a_range() {
        let say = |values: &[f64]| spread(&values.iter().copied().collect(), ms).to_string();
        assert_eq!(say(&[3_785.0, 3_810.0, 3_790.0]), "3790 ms (3785 … 3810)");
        assert_eq!(say(&[98.1, 98.2]), "98 ms");
        assert_eq!(say(&[]), "–");
    }
}

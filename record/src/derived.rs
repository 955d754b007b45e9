//! A CSV text without what follows from its other columns: half of a packed table of frames is their delay, the difference of two columns
//! beside it.
//!
//! A field that is exactly what its rule gives is left out as `=`; one that is not stays, so that nothing is lost, of whatever text.

/// What stands for a field that follows from others.
const LEFT_OUT: &str = "=";

/// How a column follows from others.
#[derive(Clone, Copy)]
enum Rule {
    /// Milliseconds from the first of these columns to the second, both in microseconds.
    Between(&'static str, &'static str),
    /// Milliseconds since the row before, of a column in nanoseconds.
    Since(&'static str),
    /// This column in the row before, and another in this one.
    Sum(&'static str),
}

/// Columns of `frames.csv` and `arrivals.csv` that follow from others.
const RULES: [(&str, Rule); 3] = [
    ("delay_ms", Rule::Between("captured_us", "shown_us")),
    ("interval_ms", Rule::Since("time_ns")),
    ("cumulative_bytes", Rule::Sum("bytes")),
];

/// The text without what follows from its other columns; `None` where nothing does, or it could not be told from what is left out.
#[must_use]
pub(crate) fn left_out(text: &str) -> Option<String> {
    let (mut any, mut ambiguous) = (false, false);
    let short = each_derived(text, |field, derived| {
        ambiguous |= field == LEFT_OUT;
        let follows = derived.as_deref() == Some(field);
        any |= follows;
        let written = if follows { LEFT_OUT } else { field };
        (field.to_owned(), written.to_owned())
    });
    (any && !ambiguous).then_some(short)
}

/// The text that [`left_out`] was made of.
#[must_use]
pub(crate) fn put_back(text: &str) -> String {
    each_derived(text, |field, derived| {
        let whole = match derived {
            Some(derived) if field == LEFT_OUT => derived,
            _ => field.to_owned(),
        };
        (whole.clone(), whole)
    })
}

/// The text with each field that has a rule replaced: `change` gets the field and what its rule gives, and returns the field as it is in the
/// whole text, from which those of the next row follow, and as it is written.
fn each_derived(
    text: &str,
    mut change: impl FnMut(&str, Option<String>) -> (String, String),
) -> String {
    let mut columns: Vec<(usize, Rule)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut before: Vec<String> = Vec::new();
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (fields, end) = line
            .strip_suffix('\n')
            .map_or((line, ""), |line| (line, "\n"));
        let mut whole: Vec<String> = fields.split(',').map(str::to_owned).collect();
        let mut written = whole.clone();
        if names.is_empty() {
            let column = |name: &str| whole.iter().position(|own| own == name);
            let with_rule = |(name, rule): &(&str, Rule)| Some((column(name)?, *rule));
            columns = RULES.iter().filter_map(with_rule).collect();
            names.clone_from(&whole);
        } else {
            for (at, rule) in &columns {
                let derived = rule.derived(*at, &names, &whole, &before);
                let field = whole.get_mut(*at).zip(written.get_mut(*at));
                if let Some((whole, written)) = field {
                    (*whole, *written) = change(whole, derived);
                }
            }
            before = whole;
        }
        out.push_str(&written.join(","));
        out.push_str(end);
    }
    out
}

impl Rule {
    /// What column `at` of the row `now` is by the rule, as a CSV writer of ours writes it; `None` where what it follows from is not there.
    fn derived(
        self,
        at: usize,
        names: &[String],
        now: &[String],
        before: &[String],
    ) -> Option<String> {
        let column = |name: &str| names.iter().position(|own| own == name);
        let whole = |row: &[String], at: usize| row.get(at)?.parse::<i64>().ok();
        match self {
            Self::Between(from, to) => {
                let [from, to] = [from, to].map(|name| whole(now, column(name)?));
                // Seconds first, as `Timestamp::seconds_after` has it: another order has other last digits.
                let micros = to?.checked_sub(from?)?;
                Some(format!("{:?}", micros as f64 / 1e6 * 1e3))
            }
            Self::Since(time) => {
                let time = column(time)?;
                let nanos = whole(now, time)?.checked_sub(whole(before, time)?)?;
                Some(format!("{:?}", nanos as f64 / 1e6))
            }
            Self::Sum(part) => {
                let part = whole(now, column(part)?)?;
                let sum = whole(before, at)?.checked_add(part)?;
                Some(sum.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_left_out_and_comes_back() {
        for (text, short) in [
            (
                "frame,captured_us,shown_us,delay_ms\n1,1000,5008,4.008\n,,9000,\n3,1000,5000,4.0\n4,1000,5000,7\n",
                "frame,captured_us,shown_us,delay_ms\n1,1000,5008,=\n,,9000,\n3,1000,5000,=\n4,1000,5000,7\n",
            ),
            (
                "time_ns,interval_ms,bytes,cumulative_bytes\n5000000,,10,10\n6500000,1.5,20,30\n6500001,1e-6,1,31\n6500001,0.0,1,3",
                "time_ns,interval_ms,bytes,cumulative_bytes\n5000000,,10,10\n6500000,=,20,=\n6500001,=,1,=\n6500001,=,1,3",
            ),
        ] {
            assert_eq!(left_out(text).as_deref(), Some(short));
            assert_eq!(put_back(short), text);
        }
    }

    #[test]
    fn text_in_which_nothing_follows_or_that_has_the_sign_itself_is_left_alone() {
        for text in [
            "",
            "frame,delay_ms\n1,2\n",
            "captured_us,shown_us,delay_ms\n1000,2000,1.0\n1000,2000,=\n",
        ] {
            assert_eq!(left_out(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(text in "(delay_ms|captured_us|shown_us|bytes|cumulative_bytes|time_ns|interval_ms|,|\n|\r\n|=|-?[0-9]{1,3}(\\.0)?){0,60}") {
            if let Some(short) = left_out(&text) {
                proptest::prop_assert_eq!(put_back(&short), text);
            }
        }

        #[test]
        fn nothing_is_lost_of_tables(rows: Vec<(i64, i64, i64, i64)>) {
            let rows: String = rows.iter().map(|(a, b, c, d)| format!("{a},{b},{c},{d}\n")).collect();
            let text = format!("time_ns,interval_ms,bytes,cumulative_bytes\n{rows}");
            if let Some(short) = left_out(&text) {
                proptest::prop_assert_eq!(put_back(&short), text);
            }
        }

        #[test]
        fn whatever_is_there_does_not_panic(text: String) {
            let _ = put_back(&text);
        }
    }
}

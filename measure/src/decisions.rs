//! The decision log, read for drawing. It explains a run; no figure in the results rests on it.

use std::path::Path;

use record::Timestamp;
use serde_json::Value;

/// Lines of one log that are kept; a log is a few hundred lines long.
pub const LINES_MAX: usize = 20_000;

/// One line of `decisions.jsonl`, as far as it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was decided.
    pub at_us: Timestamp,
    /// `hold`, `start`, `settled`, ….
    pub kind: String,
    /// The host that it is about.
    pub host: Option<String>,
    /// Why nothing is moved, or what else is said.
    pub reason: Option<String>,
    /// The forecast that it rests on.
    pub forecast: Option<Forecast>,
    /// Measured knee, `0..=1`.
    pub knee: Option<f64>,
    /// Start threshold, `0..=1`.
    pub threshold: Option<f64>,
}

/// A straight line into the future.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Load at the decision, `0..=1`.
    pub level: f64,
    /// Its change per second.
    pub slope_per_s: f64,
}

/// A decision log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// The readable lines.
    pub entries: Vec<Entry>,
    /// How many lines were no decisions: a killed run leaves half a line.
    pub unreadable: usize,
}

/// Reads a log; an absent one is empty.
#[must_use]
pub fn read(path: &Path) -> Log {
    let bytes = std::fs::read(path).unwrap_or_default();
    parse(&String::from_utf8_lossy(&bytes))
}

/// Reads what it can: a line that is no JSON object with `at_us` and `kind` is counted and skipped.
#[must_use]
pub fn parse(text: &str) -> Log {
    let mut log = Log::default();
    for line in text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(LINES_MAX)
    {
        match serde_json::from_str(line).ok().as_ref().and_then(entry) {
            Some(entry) => log.entries.push(entry),
            None => log.unreadable += 1,
        }
    }
    log
}

fn entry(value: &Value) -> Option<Entry> {
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64);
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Entry {
        at_us: Timestamp(value.get("at_us")?.as_u64()?),
        kind: text("kind")?,
        host: text("host"),
        reason: text("reason")
            .or_else(|| text("verdict"))
            .or_else(|| text("why")),
        forecast: value.get("forecast").and_then(|forecast| {
            Some(Forecast {
                level: number(forecast, "level")?,
                slope_per_s: number(forecast, "slope_per_s")?,
            })
        }),
        knee: number(value, "knee"),
        threshold: number(value, "threshold"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_the_rest_is_counted() {
        let log = parse(concat!(
            r#"{"at_us":5,"kind":"hold","host":"a","reason":"not_due","forecast":{"level":0.7,"slope_per_s":0.01},"knee":0.95}"#,
            "\n\n[]\n",
            r#"{"at_us":9,"kind":"settled","verdict":"moved","forecast":null}"#,
            "\n",
            r#"{"at_us":12,"ki"#,
        ));
        assert_eq!(log.unreadable, 2);
        let [hold, settled] = &log.entries[..] else {
            panic!("{log:?}")
        };
        assert_eq!(
            hold.forecast,
            Some(Forecast {
                level: 0.7,
                slope_per_s: 0.01
            })
        );
        assert_eq!(
            (hold.knee, hold.threshold, hold.reason.as_deref()),
            (Some(0.95), None, Some("not_due"))
        );
        assert_eq!(
            (settled.forecast, settled.reason.as_deref()),
            (None, Some("moved"))
        );
    }
}

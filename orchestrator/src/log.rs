//! The log, on standard error: a line for each thing that happens, in words for persons, or as JSON for programs.

use std::sync::atomic::{AtomicBool, Ordering};

use record::decision::MigrationId;
use record::{Decision, HostName, Timestamp, VmName};
use serde::{Deserialize, Serialize};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For persons.
    #[default]
    Words,
    /// A JSON object a line: when (`at_us`), the `words`, and the one thing that it is about, where it is about one: `host`, `function`,
    /// `migration`, or the whole `decision` with its figures.
    Json,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum About<'a> {
    Host(&'a HostName),
    Function(&'a VmName),
    Migration(MigrationId),
    Decision(&'a Decision),
}

#[derive(Serialize)]
struct Line<'a> {
    at_us: Timestamp,
    #[serde(flatten)]
    about: Option<About<'a>>,
    words: &'a str,
}

/// A process has one log.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// How it is written from now on.
pub(crate) fn write_as(format: LogFormat) {
    AS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Writes a line.
pub(crate) fn say(about: Option<About<'_>>, words: &str) {
    if AS_JSON.load(Ordering::Relaxed)
        && let Ok(line) = json(Timestamp::now(), about, words)
    {
        eprintln!("{line}");
    } else {
        eprintln!("{words}");
    }
}

fn json(at_us: Timestamp, about: Option<About<'_>>, words: &str) -> serde_json::Result<String> {
    serde_json::to_string(&Line {
        at_us,
        about,
        words,
    })
}

#[cfg(test)]
mod tests {
    use record::Event;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_line_says_what_it_is_about() {
        let (host, vm) = (HostName::new("a").unwrap(), VmName::new("f").unwrap());
        let decision = Decision::new(Timestamp(7), Event::Inspect { migration: 3 });
        for (about, key, value) in [
            (About::Host(&host), "host", json!("a")),
            (About::Function(&vm), "function", json!("f")),
            (About::Migration(3), "migration", json!(3)),
            (About::Decision(&decision), "decision", json!(decision)),
        ] {
            let line = super::json(Timestamp(7), Some(about), "two\nlines").unwrap();
            assert!(!line.contains('\n'), "{line}");
            let line: Value = serde_json::from_str(&line).unwrap();
            let mut expected = json!({ "at_us": 7, "words": "two\nlines" });
            expected[key] = value;
            assert_eq!(line, expected);
        }
        let line = super::json(Timestamp(7), None, "begun").unwrap();
        assert_eq!(line, r#"{"at_us":7,"words":"begun"}"#);
    }
}

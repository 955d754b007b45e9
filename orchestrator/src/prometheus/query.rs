//! What a Prometheus server answers of what it has scraped: `GET /api/v1/query`.
//!
//! It is asked for the last minutes of a metric, not for its value now: that comes with the time at which it was asked for, and only
//! the series itself says when a host was scraped.

use std::collections::BTreeMap;

use record::Timestamp;
use serde::Deserialize;

use super::exposition::{CpuTimes, ExpositionError, METRIC};

/// Path of the API, under the server's address.
pub(super) const PATH: &str = "/api/v1/query";
/// So far back is looked: servers scrape each minute, or more often.
const RANGE: &str = "2m";

/// Why an answer says nothing of the processors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no answer.
    #[error("does not answer as a Prometheus server: {0}")]
    NoAnswer(String),
    /// Nothing is known of that instance.
    #[error("has scraped no {METRIC} of it in the last {RANGE}")]
    Absent,
    /// What is known makes no sense.
    #[error(transparent)]
    Values(#[from] ExpositionError),
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

/// One of a range vector.
#[derive(Deserialize)]
struct Series {
    metric: Labels,
    /// Seconds since 1970, and the value as text.
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Labels {
    cpu: String,
    mode: String,
}

/// What is asked of an instance, in PromQL.
pub(super) fn of_instance(instance: &str) -> String {
    // Quoted as in JSON.
    let instance = serde_json::Value::from(instance);
    format!("{METRIC}{{instance={instance}}}[{RANGE}]")
}

/// The newest scrape that the server has all of, and when it was made, by the server's clock.
///
/// # Errors
/// When it says nothing of processors, or nothing that can be understood.
pub fn newest(body: &[u8]) -> Result<(Timestamp, CpuTimes), QueryError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| QueryError::NoAnswer(error.to_string()))?;
    let mut scrapes = BTreeMap::<Timestamp, (usize, CpuTimes)>::new();
    for Series { metric, values } in &answer.data.result {
        for (at_s, value) in values {
            let nonsense = || {
                let said = format!("{at_s} {value}");
                ExpositionError::Nonsense(said.chars().take(120).collect())
            };
            let seconds: f64 = value.parse().map_err(|_| nonsense())?;
            if !(seconds.is_finite() && seconds >= 0.0) {
                return Err(nonsense().into());
            }
            let (series, times) = scrapes.entry(timestamp(*at_s)).or_default();
            *series += 1;
            times.add(&metric.cpu, &metric.mode, seconds)?;
        }
    }
    // Of the newest it may have taken in a part only.
    let whole = scrapes.values().map(|(series, _)| *series).max();
    let mut newest_first = scrapes.into_iter().rev();
    let newest = newest_first.find(|(_, (series, _))| Some(*series) == whole);
    newest
        .map(|(at, (_, times))| (at, times))
        .ok_or(QueryError::Absent)
}

/// A server counts in milliseconds.
fn timestamp(at_s: f64) -> Timestamp {
    let ms = (at_s * 1e3).round() as u64;
    Timestamp(ms.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(series: &[(&str, &str, &str)]) -> Vec<u8> {
        let series = series.iter().map(|(cpu, mode, values)| {
            format!(
                "{{\"metric\":{{\"__name__\":\"{METRIC}\",\"cpu\":\"{cpu}\",\"instance\":\"192.0.2.7:9100\",\"job\":\"node\",\
                 \"mode\":\"{mode}\"}},\"values\":[{values}]}}"
            )
        });
        let series: Vec<String> = series.collect();
        format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{}]}}}}",
            series.join(",")
        )
        .into_bytes()
    }

    #[test]
    fn the_newest_whole_scrape() {
        let before = answer(&[
            ("0", "user", "[1700000000.25,\"10\"]"),
            ("0", "idle", "[1700000000.25,\"100\"]"),
        ]);
        // Of the third scrape one series is there.
        let after = answer(&[
            (
                "0",
                "user",
                "[1700000000.25,\"10\"],[1700000015.25,\"13\"],[1700000030.25,\"14\"]",
            ),
            (
                "0",
                "idle",
                "[1700000000.25,\"100\"],[1700000015.25,\"109\"]",
            ),
        ]);
        let (then, before) = newest(&before).unwrap();
        let (at, after) = newest(&after).unwrap();
        assert_eq!(then, Timestamp(1_700_000_000_250_000));
        assert_eq!(at, Timestamp(1_700_000_015_250_000));
        assert_eq!(after.busy_since(&before), Some(0.25));
    }

    #[test]
    fn an_instance_is_quoted() {
        assert_eq!(
            of_instance("a\"} or up{x=\"b"),
            "node_cpu_seconds_total{instance=\"a\\\"} or up{x=\\\"b\"}[2m]"
        );
    }

    #[test]
    fn absent() {
        assert_eq!(newest(&answer(&[])), Err(QueryError::Absent));
        assert_eq!(
            newest(&answer(&[("0", "user", "")])),
            Err(QueryError::Absent)
        );
    }

    #[test]
    fn no_answer() {
        for body in [
            &b"<html>"[..],
            b"{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"no\"}",
            b"{\"data\":{\"resultType\":\"scalar\",\"result\":[1,\"2\"]}}",
        ] {
            let refused = newest(body);
            assert!(
                matches!(refused, Err(QueryError::NoAnswer(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn nonsense() {
        for value in ["NaN", "-1", "x", "+Inf"] {
            let said = newest(&answer(&[("0", "user", &format!("[1,\"{value}\"]"))]));
            assert!(
                matches!(said, Err(QueryError::Values(ExpositionError::Nonsense(_)))),
                "{value}: {said:?}"
            );
        }
    }
}

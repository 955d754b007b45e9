//! What a browser says. It may say anything.

use record::VmName;
use record::name::ViewerName;
use record::report::{Report, ReportError, Spread};
use serde::Deserialize;

/// A message of the page.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Asked {
    /// What the server's clock says.
    Ping {
        /// Comes back.
        id: u32,
    },
    /// Nothing: it was asked.
    Report(Seen),
}

/// What the viewer of a page saw in a while that ends when this is sent: a [`Report`] without whose video it was, and who saw it. The
/// server knows both better.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    span_ms: f64,
    frames: u32,
    freezes: u32,
    picture_age_ms: Option<Spread>,
    frame_interval_ms: Option<Spread>,
}

impl Seen {
    /// The report that it comes to.
    ///
    /// # Errors
    /// When a figure can be none.
    pub fn report(self, function: VmName, viewer: ViewerName) -> Result<Report, ReportError> {
        let report = Report {
            function,
            viewer,
            ago_ms: 0.0,
            span_ms: self.span_ms,
            frames: self.frames,
            freezes: self.freezes,
            picture_age_ms: self.picture_age_ms,
            frame_interval_ms: self.frame_interval_ms,
        };
        report.check().map(|()| report)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "type": "report", "span_ms": 1000.25, "frames": 30, "freezes": 1,
            "picture_age_ms": { "median": 9, "p95": 11.5, "max": 40.0 },
            "frame_interval_ms": { "median": 33.3, "p95": 34.0, "max": 34.0 },
        })
    }

    /// What is made of a message; `None` where it is not understood.
    fn heard(text: &str) -> Option<Result<Report, ReportError>> {
        match serde_json::from_str(text).ok()? {
            Asked::Ping { .. } => None,
            Asked::Report(seen) => {
                Some(seen.report(VmName::new("f").unwrap(), ViewerName::new("v").unwrap()))
            }
        }
    }

    fn with(change: impl FnOnce(&mut Value)) -> Option<Result<Report, ReportError>> {
        let mut said = good();
        change(&mut said);
        heard(&said.to_string())
    }

    #[test]
    fn what_a_browser_may_say() {
        let ping: Asked = serde_json::from_str(r#"{"type":"ping","id":3}"#).unwrap();
        assert_eq!(ping, Asked::Ping { id: 3 });
        let report = with(|_| {}).unwrap().unwrap();
        assert_eq!((report.ago_ms, report.frames), (0.0, 30));
        assert_eq!(report.picture_age_ms.unwrap().median, 9.0);
        let unknown = with(|said| said["picture_age_ms"] = Value::Null);
        assert_eq!(unknown.unwrap().unwrap().picture_age_ms, None);
        // As `orchestrate` takes it.
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn not_understood() {
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"type":"ping","id":-1}"#,
            r#"{"type":"stop"}"#,
        ] {
            assert_eq!(serde_json::from_str::<Asked>(wrong).ok(), None, "{wrong}");
        }
        for (name, wrong) in [
            ("span_ms", json!(null)),
            ("span_ms", json!("1000")),
            ("frames", json!(30.5)),
            ("frames", json!(-1)),
            ("freezes", json!(1e10)),
            ("picture_age_ms", json!(40)),
            (
                "picture_age_ms",
                json!({ "median": null, "p95": 1, "max": 1 }),
            ),
            (
                "picture_age_ms",
                json!({ "median": 1, "p95": 1, "max": 1, "min": 1 }),
            ),
            ("frame_interval_ms", json!([])),
            // Who it is and whose video it is are not its to say.
            ("viewer", json!("somebody-else")),
            ("function", json!("another")),
            ("ago_ms", json!(0)),
        ] {
            assert_eq!(
                with(|said| said[name] = wrong.clone()),
                None,
                "{name} {wrong}"
            );
        }
        // JSON has no NaN, and no number beyond 64 bits.
        for wrong in ["NaN", "Infinity", "1e999"] {
            let text = good().to_string().replace("1000.25", wrong);
            assert_eq!(heard(&text), None, "{text}");
        }
    }

    #[test]
    fn not_believed() {
        for (name, wrong) in [
            ("span_ms", json!(-1)),
            ("span_ms", json!(1e300)),
            ("frames", json!(60_001)),
            ("freezes", json!(u32::MAX)),
            (
                "picture_age_ms",
                json!({ "median": -1, "p95": 1, "max": 1 }),
            ),
            ("picture_age_ms", json!({ "median": 2, "p95": 1, "max": 3 })),
            (
                "frame_interval_ms",
                json!({ "median": 1, "p95": 1, "max": 1e9 }),
            ),
        ] {
            let heard = with(|said| said[name] = wrong.clone()).expect(name);
            assert!(heard.is_err(), "{name} {wrong}");
        }
    }
}

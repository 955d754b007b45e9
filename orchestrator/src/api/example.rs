//! A site for tests.

use record::{Timestamp, Verdict, VmName};
use serde_json::json;

use crate::counts::Counts;
use crate::run::Site;
use crate::snmp::Totals;

/// Everything is known, so every metric has a series.
pub(super) fn site() -> Site {
    let view = json!({
        "at_us": 0, "policy": "deadline", "trust": "observe", "armed": true, "moves": [],
        "hosts": [{
            "host": "a", "freshness": "fresh", "functions": ["f"], "draining": false, "holding": null,
            "utilization": 0.5, "sample_age_ms": 1500.0,
            "forecast": {
                "level": 0.6, "slope_per_s": 0.01, "residual": 0.01, "trusted": true, "sd": null, "knee_at_us": null,
            },
            "threshold": null, "knee": 0.95, "start_by_us": null,
        }],
        "functions": [{
            "vm": "f", "host": "a", "viewers": 2, "load": 0.3, "mobility": "free", "migration_ms": 8000.0,
            "gap_ms": 300.0, "migration": null, "cooldown_until_us": null, "failures_in_a_row": 0, "given_up": false,
        }],
    });
    let views = json!({ "f": {
        "at_us": 0, "viewers": 1, "picture_age_ms": { "median": 40.0, "p95": 60.0, "max": 61.0 },
        "frame_interval_ms": { "median": 33.0, "p95": 40.0, "max": 41.0 }, "frames": 30, "freezes": 1,
    } });
    Site {
        begun_at_us: Timestamp::from_secs_f64(0.0),
        view: serde_json::from_value(view).unwrap(),
        progress: Default::default(),
        sites: Default::default(),
        sightings: Default::default(),
        views: serde_json::from_value(views).unwrap(),
        knees: Default::default(),
        clock_off_s: None,
        discovery: Vec::new(),
        learned: Default::default(),
        alarms: Default::default(),
        counts: Counts {
            moves: [(Verdict::Moved, 3)].into(),
            freezes: [(VmName::new("f").unwrap(), 2)].into(),
            snmp: Some(Totals::default()),
        },
    }
}

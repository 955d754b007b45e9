//! What a viewer saw of a function's video in a while.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{ViewerName, VmName};

/// Longest while of one report, and longest time that it may have been on its way.
pub const WHILE_MAX: Duration = Duration::from_secs(60);
/// Longest time that is believed of a picture: what is older has another clock.
pub const TIME_MAX: Duration = Duration::from_secs(3600);
/// Most pictures in a report: a thousand a second.
pub const FRAMES_MAX: u32 = 60_000;

/// What one viewer saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Whose video.
    pub function: VmName,
    /// Who saw it: a function may have several viewers.
    pub viewer: ViewerName,
    /// How long ago the while ended, by the viewer's clock.
    pub ago_ms: f64,
    /// How long it was.
    pub span_ms: f64,
    /// New pictures in it.
    pub frames: u32,
    /// Times in it that a picture stood for much longer than pictures did before.
    pub freezes: u32,
    /// Age of the picture on the screen at each instant of the while; `null` where none was there, or its age is not known.
    pub picture_age_ms: Option<Spread>,
    /// From one new picture to the next; `null` where there were not two.
    pub frame_interval_ms: Option<Spread>,
}

/// How a time was distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Half of it was less.
    pub median: f64,
    /// 95th percentile.
    pub p95: f64,
    /// The longest.
    pub max: f64,
}

/// Why a report cannot be believed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReportError {
    /// A time is none, or too long.
    #[error("{what} is {value}; it has to be 0 to {max} ms")]
    Time {
        /// Which.
        what: &'static str,
        /// What stands there.
        value: f64,
        /// The longest.
        max: u64,
    },
    /// Pictures that were seen before they were taken.
    #[error("picture_age_ms is {median}, less than 0: the clocks of camera and viewer differ")]
    Clocks {
        /// Half of the time they were at least so young.
        median: f64,
    },
    /// Percentiles that do not rise.
    #[error("{what}: median, p95 and max have to rise")]
    Order {
        /// Which.
        what: &'static str,
    },
    /// Too many to be counted in a while.
    #[error("{what} is {count}; it has to be {FRAMES_MAX} or less")]
    Count {
        /// Which.
        what: &'static str,
        /// What stands there.
        count: u32,
    },
}

impl Report {
    /// Whether it can be believed.
    ///
    /// # Errors
    /// When a figure can be none.
    pub fn check(&self) -> Result<(), ReportError> {
        time("ago_ms", self.ago_ms, WHILE_MAX)?;
        time("span_ms", self.span_ms, WHILE_MAX)?;
        for (what, count) in [("frames", self.frames), ("freezes", self.freezes)] {
            if count > FRAMES_MAX {
                return Err(ReportError::Count { what, count });
            }
        }
        if let Some(Spread { median, .. }) = self.picture_age_ms
            && median < 0.0
        {
            return Err(ReportError::Clocks { median });
        }
        spread("picture_age_ms", self.picture_age_ms)?;
        spread("frame_interval_ms", self.frame_interval_ms)
    }
}

impl Spread {
    /// Of values in any order; `None` where there are none.
    #[must_use]
    pub fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        // Nearest rank.
        let at = |percent: usize| (values.len() * percent).div_ceil(100).max(1) - 1;
        Some(Self {
            median: *values.get(at(50))?,
            p95: *values.get(at(95))?,
            max: *values.last()?,
        })
    }
}

fn time(what: &'static str, value: f64, max: Duration) -> Result<(), ReportError> {
    let max = max.as_millis() as u64;
    // What is no number is in no range.
    if (0.0..=max as f64).contains(&value) {
        Ok(())
    } else {
        Err(ReportError::Time { what, value, max })
    }
}

fn spread(what: &'static str, spread: Option<Spread>) -> Result<(), ReportError> {
    let Some(Spread { median, p95, max }) = spread else {
        return Ok(());
    };
    for value in [median, p95, max] {
        time(what, value, TIME_MAX)?;
    }
    if median <= p95 && p95 <= max {
        Ok(())
    } else {
        Err(ReportError::Order { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(change: impl FnOnce(&mut Report)) -> Result<(), ReportError> {
        let spread = Spread {
            median: 40.0,
            p95: 60.0,
            max: 61.0,
        };
        let mut report = Report {
            function: VmName::new("f").unwrap(),
            viewer: ViewerName::new("v").unwrap(),
            ago_ms: 3.0,
            span_ms: 1000.0,
            frames: 30,
            freezes: 0,
            picture_age_ms: Some(spread),
            frame_interval_ms: Some(spread),
        };
        change(&mut report);
        let text = serde_json::to_string(&report).unwrap();
        if let Ok(again) = serde_json::from_str::<Report>(&text) {
            assert_eq!(again.check(), report.check());
        }
        report.check()
    }

    #[test]
    fn believed() {
        assert_eq!(report(|_| {}), Ok(()));
        assert_eq!(report(|r| r.picture_age_ms = None), Ok(()));
        let still = |r: &mut Report| (r.frames, r.frame_interval_ms) = (0, None);
        assert_eq!(report(still), Ok(()));
    }

    #[test]
    fn times() {
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 60_001.0] {
            let ago = report(|r| r.ago_ms = wrong);
            assert!(matches!(ago, Err(ReportError::Time { what: "ago_ms", .. })));
            let span = report(|r| r.span_ms = wrong);
            assert!(matches!(
                span,
                Err(ReportError::Time {
                    what: "span_ms",
                    ..
                })
            ));
        }
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 3_600_001.0] {
            let age = report(|r| r.picture_age_ms.as_mut().unwrap().max = wrong);
            assert!(matches!(age, Err(ReportError::Time { .. })), "{wrong}");
            let interval = report(|r| r.frame_interval_ms.as_mut().unwrap().median = wrong);
            assert!(matches!(interval, Err(ReportError::Time { .. })), "{wrong}");
        }
    }

    #[test]
    fn clocks_order_and_counts() {
        let clocks = report(|r| r.picture_age_ms.as_mut().unwrap().median = -3.0);
        assert!(matches!(clocks, Err(ReportError::Clocks { .. })));
        let order = report(|r| r.frame_interval_ms.as_mut().unwrap().median = 60.5);
        assert!(matches!(
            order,
            Err(ReportError::Order {
                what: "frame_interval_ms"
            })
        ));
        for change in [
            |r: &mut Report| r.frames = FRAMES_MAX + 1,
            |r: &mut Report| r.freezes = u32::MAX,
        ] {
            assert!(matches!(report(change), Err(ReportError::Count { .. })));
        }
    }

    #[test]
    fn spreads() {
        assert_eq!(Spread::of(&mut []), None);
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let spread = Spread::of(&mut values).unwrap();
        assert_eq!((spread.median, spread.p95, spread.max), (50.0, 95.0, 100.0));
    }
}

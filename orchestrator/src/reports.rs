//! What viewers say that they see: the last report of each, for as long as it is news.

use std::collections::BTreeMap;
use std::time::Duration;

use record::name::ViewerName;
use record::report::{Report, Spread};
use record::{Timestamp, VmName};
use serde::{Deserialize, Serialize};

/// Viewers whose reports are kept, of all functions.
const VIEWERS_MAX: usize = 1024;
/// A viewer that has said nothing for so long is gone: `play` says something each second.
const KEPT: Duration = Duration::from_secs(10);

/// What the viewers of a function see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Viewed {
    /// End of the newest report.
    pub at_us: Timestamp,
    /// Viewers that said something of late.
    pub viewers: usize,
    /// Age of the picture on the screen of the one who sees the oldest (by its 95th percentile); `null` where nobody knows.
    pub picture_age_ms: Option<Spread>,
    /// Intervals of pictures of the one with the longest.
    pub frame_interval_ms: Option<Spread>,
    /// Pictures in the last report of each.
    pub frames: u64,
    /// Freezes in the last report of each.
    pub freezes: u64,
}

/// What the viewers of all functions see.
pub type Views = BTreeMap<VmName, Viewed>;

/// Why a report is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It is about a function that is not ours.
    #[error("there is no such function")]
    Function,
    /// There is no room for another viewer.
    #[error("{VIEWERS_MAX} viewers report already")]
    Viewers,
}

/// The last report of each viewer, with the end of what it covers by this clock.
#[derive(Debug, Default)]
pub(crate) struct Reports(BTreeMap<(VmName, ViewerName), (Timestamp, Report)>);

impl Reports {
    /// Keeps a report about a function that there is, and whose figures were checked. One that was overtaken by a newer is not kept.
    ///
    /// # Errors
    /// When there are too many viewers.
    pub(crate) fn take(&mut self, now: Timestamp, report: Report) -> Result<(), NotTaken> {
        self.0.retain(|_, (ended, _)| is_news(*ended, now));
        let viewer = (report.function.clone(), report.viewer.clone());
        let ended = now - Duration::from_secs_f64(report.ago_ms / 1e3);
        if let Some((known, _)) = self.0.get(&viewer) {
            if ended < *known {
                return Ok(());
            }
        } else if self.0.len() >= VIEWERS_MAX {
            return Err(NotTaken::Viewers);
        }
        self.0.insert(viewer, (ended, report));
        Ok(())
    }

    /// What is seen now.
    pub(crate) fn views(&self, now: Timestamp) -> Views {
        let mut views = Views::new();
        for ((function, _), (ended, report)) in &self.0 {
            if !is_news(*ended, now) {
                continue;
            }
            let view = views.entry(function.clone()).or_insert(Viewed {
                at_us: *ended,
                viewers: 0,
                picture_age_ms: None,
                frame_interval_ms: None,
                frames: 0,
                freezes: 0,
            });
            view.at_us = view.at_us.max(*ended);
            view.viewers += 1;
            view.picture_age_ms = worse(view.picture_age_ms, report.picture_age_ms);
            view.frame_interval_ms = worse(view.frame_interval_ms, report.frame_interval_ms);
            view.frames += u64::from(report.frames);
            view.freezes += u64::from(report.freezes);
        }
        views
    }
}

/// What ended after now was said before this clock was set back.
fn is_news(ended: Timestamp, now: Timestamp) -> bool {
    ended <= now && now.since(ended) < KEPT
}

fn worse(one: Option<Spread>, other: Option<Spread>) -> Option<Spread> {
    let both = [one, other].into_iter().flatten();
    both.max_by(|a, b| a.p95.total_cmp(&b.p95))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp((1000 + seconds) * 1_000_000)
    }

    fn report(viewer: &str, ago_ms: f64, p95: f64) -> Report {
        Report {
            function: VmName::new("f").unwrap(),
            viewer: ViewerName::new(viewer).unwrap(),
            ago_ms,
            span_ms: 1000.0,
            frames: 30,
            freezes: 1,
            picture_age_ms: Some(Spread {
                median: 40.0,
                p95,
                max: 900.0,
            }),
            frame_interval_ms: None,
        }
    }

    fn p95(reports: &Reports, now: Timestamp) -> Option<f64> {
        let mut views = reports.views(now);
        let view = views.remove(&VmName::new("f").unwrap())?;
        view.picture_age_ms.map(|age| age.p95)
    }

    #[test]
    fn the_worst_of_those_who_see_it_now() {
        let mut reports = Reports::default();
        reports.take(at(0), report("a", 0.0, 50.0)).unwrap();
        reports.take(at(0), report("b", 0.0, 80.0)).unwrap();
        reports.take(at(5), report("a", 0.0, 60.0)).unwrap();
        let view = &reports.views(at(5))[&VmName::new("f").unwrap()];
        assert_eq!(
            (view.viewers, view.frames, view.freezes, view.at_us),
            (2, 60, 2, at(5))
        );
        assert_eq!(p95(&reports, at(5)), Some(80.0));
        assert_eq!(p95(&reports, at(11)), Some(60.0), "b has gone");
        assert_eq!(p95(&reports, at(15)), None);
    }

    #[test]
    fn what_was_overtaken_is_not_kept() {
        let mut reports = Reports::default();
        reports.take(at(5), report("a", 0.0, 50.0)).unwrap();
        reports.take(at(6), report("a", 4000.0, 90.0)).unwrap();
        assert_eq!(p95(&reports, at(6)), Some(50.0));
    }

    #[test]
    fn a_clock_that_is_set_back_hides_nothing() {
        let mut reports = Reports::default();
        reports.take(at(500), report("a", 0.0, 50.0)).unwrap();
        assert_eq!(p95(&reports, at(1)), None);
        reports.take(at(1), report("a", 0.0, 90.0)).unwrap();
        assert_eq!(p95(&reports, at(1)), Some(90.0));
    }

    #[test]
    fn too_many_viewers() {
        let mut reports = Reports::default();
        for viewer in 0..VIEWERS_MAX {
            reports
                .take(at(0), report(&format!("v{viewer}"), 0.0, 50.0))
                .unwrap();
        }
        assert_eq!(
            reports.take(at(1), report("x", 0.0, 50.0)),
            Err(NotTaken::Viewers)
        );
        assert_eq!(reports.take(at(1), report("v7", 0.0, 50.0)), Ok(()));
        assert_eq!(
            reports.take(at(10), report("x", 0.0, 50.0)),
            Ok(()),
            "others have gone"
        );
    }
}

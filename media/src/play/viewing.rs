//! What a viewer sees, for who wants to know: once a second a report, which never delays a picture.

use std::collections::VecDeque;
use std::time::Duration;

use record::name::ViewerName;
use record::report::{Report, Spread, TIME_MAX};
use record::{Timestamp, VmName};

use crate::reporting::Reports;

/// A report covers so long.
const EVERY: Duration = Duration::from_secs(1);
/// The picture on the screen is looked at so often, as `measure` does.
const STEP: Duration = Duration::from_millis(10);
/// A player that was held up for longer than this goes on from here: it saw nothing in the meantime.
const HELD_UP_MAX: Duration = Duration::from_secs(10);
/// Pictures whose intervals say what is usual: a second at 30 a second.
const USUAL: usize = 30;
/// A picture that stands three times as long as usual, and so much longer than usual, is a freeze (as WebRTC counts them).
const FREEZE_TIMES: f64 = 3.0;
const FREEZE_MORE_MS: f64 = 150.0;

/// Whom to tell what of.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// Whose video it is.
    pub function: VmName,
    /// Who sees it.
    pub viewer: ViewerName,
    /// Who takes it.
    pub reports: Reports,
}

/// Follows what is on the screen.
pub(super) struct Viewing {
    to: Reporting,
    /// Begin of the report.
    since: Timestamp,
    /// The screen was last looked at then.
    looked: Timestamp,
    /// When the picture on the screen was taken, and since when it is there.
    on_screen: Option<(Option<Timestamp>, Timestamp)>,
    ages_ms: Vec<f64>,
    intervals_ms: Vec<f64>,
    usual_ms: VecDeque<f64>,
    freezes: u32,
    frames: u32,
}

impl Viewing {
    pub(super) fn new(to: Reporting, now: Timestamp) -> Self {
        Self {
            to,
            since: now,
            looked: now,
            on_screen: None,
            ages_ms: Vec::new(),
            intervals_ms: Vec::new(),
            usual_ms: VecDeque::with_capacity(USUAL),
            freezes: 0,
            frames: 0,
        }
    }

    /// A new picture, which was taken at `captured`, if that can be read from it.
    pub(super) fn shown(&mut self, captured: Option<Timestamp>, now: Timestamp) {
        self.look(now);
        if let Some((_, since)) = self.on_screen {
            self.interval(believed(now.since(since).as_secs_f64() * 1e3));
        }
        self.on_screen = Some((captured, now));
        self.frames += 1;
    }

    fn interval(&mut self, ms: f64) {
        let usual = self.usual_ms.iter().sum::<f64>() / self.usual_ms.len().max(1) as f64;
        let is_freeze =
            !self.usual_ms.is_empty() && ms > usual * FREEZE_TIMES && ms > usual + FREEZE_MORE_MS;
        self.freezes += u32::from(is_freeze);
        self.intervals_ms.push(ms);
        if self.usual_ms.len() == USUAL {
            self.usual_ms.pop_front();
        }
        self.usual_ms.push_back(ms);
    }

    /// Time has passed: looks at the picture that was there, and tells when a report is whole.
    pub(super) fn look(&mut self, now: Timestamp) {
        if now.since(self.looked) > HELD_UP_MAX || now < self.looked {
            // The clock was set, or nobody was there to look: since when the picture is there is not known any more.
            (self.looked, self.since, self.on_screen) = (now, now, None);
            self.clear();
        }
        while now.since(self.looked) >= STEP {
            self.looked = self.looked + STEP;
            if let Some((Some(captured), _)) = self.on_screen {
                self.ages_ms
                    .push(believed(self.looked.seconds_after(captured) * 1e3));
            }
        }
        let span = now.since(self.since);
        if span >= EVERY {
            self.tell(now, span);
        }
    }

    fn tell(&mut self, now: Timestamp, span: Duration) {
        let report = Report {
            function: self.to.function.clone(),
            viewer: self.to.viewer.clone(),
            ago_ms: 0.0,
            span_ms: span.as_secs_f64() * 1e3,
            frames: self.frames,
            freezes: self.freezes,
            picture_age_ms: Spread::of(&mut self.ages_ms),
            frame_interval_ms: Spread::of(&mut self.intervals_ms),
        };
        self.to.reports.tell(now, report);
        self.since = now;
        self.clear();
    }

    fn clear(&mut self) {
        self.ages_ms.clear();
        self.intervals_ms.clear();
        (self.frames, self.freezes) = (0, 0);
    }
}

/// A picture may stand for longer than is believed: it is that old, or older. One from the future is for the other side to refuse.
fn believed(ms: f64) -> f64 {
    ms.min(TIME_MAX.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use std::iter::from_fn;
    use std::sync::atomic::Ordering;

    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    const BEGIN: Timestamp = Timestamp(1_000_000_000);

    fn at(ms: u64) -> Timestamp {
        BEGIN + Duration::from_millis(ms)
    }

    fn viewing(room: usize) -> (Viewing, Receiver<(Timestamp, Report)>) {
        let (taken, reports) = channel(room);
        let to = Reporting {
            function: VmName::new("f").unwrap(),
            viewer: ViewerName::new("v").unwrap(),
            reports: Reports {
                taken,
                dropped: Default::default(),
            },
        };
        (Viewing::new(to, BEGIN), reports)
    }

    fn all(reports: &mut Receiver<(Timestamp, Report)>) -> Vec<Report> {
        from_fn(|| reports.try_recv().ok())
            .map(|(_, report)| report)
            .collect()
    }

    #[test]
    fn a_second_of_pictures() {
        let (mut viewing, mut reports) = viewing(4);
        // 25 a second, each 50 ms old when it is shown: 50 to 90 ms.
        for ms in (0..=1000).step_by(40) {
            viewing.shown(
                Some(BEGIN + Duration::from_millis(ms) - Duration::from_millis(50)),
                at(ms),
            );
        }
        let (made, report) = reports.try_recv().unwrap();
        assert_eq!((made, report.check()), (at(1000), Ok(())));
        assert_eq!(
            (report.frames, report.freezes, report.span_ms),
            (25, 0, 1000.0)
        );
        let age = report.picture_age_ms.unwrap();
        assert_eq!((age.median, age.max), (70.0, 90.0));
        assert_eq!(report.frame_interval_ms.unwrap().max, 40.0);
        assert!(reports.try_recv().is_err());
    }

    #[test]
    fn a_picture_that_stands_grows_old_and_is_a_freeze_once() {
        let (mut viewing, mut reports) = viewing(8);
        for ms in (0..=960).step_by(40) {
            viewing.shown(Some(at(ms)), at(ms));
        }
        for ms in (1000..3000).step_by(20) {
            viewing.look(at(ms));
        }
        viewing.shown(Some(at(3000)), at(3000));
        viewing.look(at(4000));
        let reports = all(&mut reports);
        let ages: Vec<f64> = reports
            .iter()
            .map(|r| r.picture_age_ms.unwrap().max)
            .collect();
        assert_eq!(ages, [40.0, 1040.0, 2040.0, 1000.0]);
        assert_eq!(reports[1].frames, 0);
        assert_eq!(reports[1].frame_interval_ms, None);
        let freezes: Vec<u32> = reports.iter().map(|r| r.freezes).collect();
        assert_eq!(freezes, [0, 0, 0, 1], "told once it has ended");
    }

    #[test]
    fn a_picture_that_stands_for_hours_is_still_told() {
        let (mut viewing, mut reports) = viewing(1);
        viewing.shown(Some(at(0)), at(0));
        for s in 1..4000 {
            viewing.look(at(s * 1000));
            let (_, report) = reports.try_recv().unwrap();
            assert_eq!(report.check(), Ok(()), "{s}");
        }
        viewing.shown(Some(at(4_000_000)), at(4_000_000));
        viewing.look(at(4_001_000));
        assert!(all(&mut reports).iter().all(|r| r.check().is_ok()));
    }

    #[test]
    fn a_clock_that_is_set_and_a_player_that_was_held_up_begin_anew() {
        for jump in [-5_000, 20_000, 100_000_000_i64] {
            let (mut viewing, mut reports) = viewing(4);
            let begin = at(10_000);
            let after = Timestamp(begin.0.saturating_add_signed(jump * 1000));
            viewing.looked = begin;
            viewing.since = begin;
            viewing.shown(Some(begin), begin);
            viewing.shown(Some(after), after);
            viewing.look(after + EVERY);
            let (_, report) = reports.try_recv().unwrap();
            assert_eq!(report.check(), Ok(()));
            assert_eq!((report.freezes, report.frame_interval_ms), (0, None));
        }
    }

    #[test]
    fn nothing_known_is_nothing_told() {
        let (mut viewing, mut reports) = viewing(4);
        viewing.look(at(1000));
        viewing.shown(None, at(1500));
        viewing.look(at(2000));
        for report in all(&mut reports) {
            assert_eq!((report.picture_age_ms, report.check()), (None, Ok(())));
        }
    }

    #[test]
    fn who_takes_no_report_delays_nothing() {
        let (mut viewing, mut reports) = viewing(2);
        for ms in (0..=10_000).step_by(100) {
            viewing.shown(Some(at(ms)), at(ms));
        }
        let dropped = &viewing.to.reports.dropped;
        assert_eq!(dropped.load(Ordering::Relaxed), 8);
        assert_eq!(all(&mut reports).len(), 2);
    }
}

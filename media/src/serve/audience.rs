//! Those who look at pages, for an orchestrator: each is a viewer of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use record::name::{NameError, ViewerName};
use record::report::ReportError;
use record::{Timestamp, VmName};

use super::StreamName;
use super::asked::Seen;
use crate::reporting::Reports;

/// Pages that are heard at once. An orchestrator hears 1024 viewers of all functions: no one server fills it, however many come and go.
const HEARD_MAX: usize = 64;
/// A page says something each second. What comes sooner than this after what was heard of it is not heard.
const APART: Duration = Duration::from_millis(500);

/// Whom to tell what the viewers of pages see.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// Streams, and whose video each is.
    pub functions: BTreeMap<StreamName, VmName>,
    /// Each viewer is called so, with a number behind it.
    pub viewers: ViewerName,
    /// Who takes it.
    pub reports: Reports,
}

/// All pages of a server.
#[derive(Debug)]
pub(super) struct Audience {
    functions: BTreeMap<StreamName, VmName>,
    reports: Reports,
    /// Names that nobody has; the last is the next.
    free: Mutex<Vec<ViewerName>>,
}

/// One page, until its connection ends.
#[derive(Debug)]
pub(super) struct Page {
    audience: Arc<Audience>,
    function: VmName,
    /// From its first report on.
    viewer: Option<ViewerName>,
    heard: Option<Timestamp>,
}

impl Audience {
    pub(super) fn new(reporting: &Reporting) -> Result<Self, NameError> {
        let name = |number| ViewerName::new(&format!("{}-{number}", reporting.viewers));
        Ok(Self {
            functions: reporting.functions.clone(),
            reports: reporting.reports.clone(),
            free: Mutex::new((1..=HEARD_MAX).rev().map(name).collect::<Result<_, _>>()?),
        })
    }

    fn free(&self) -> MutexGuard<'_, Vec<ViewerName>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    /// A page that plays a stream; `None` where nobody wants to know what is seen of it.
    pub(super) fn of(audience: &Arc<Audience>, stream: &StreamName) -> Option<Self> {
        Some(Self {
            function: audience.functions.get(stream)?.clone(),
            audience: Arc::clone(audience),
            viewer: None,
            heard: None,
        })
    }

    /// Passes on what its viewer saw. While no name is free, nobody is told.
    ///
    /// # Errors
    /// When that cannot be.
    pub(super) fn hear(&mut self, seen: Seen, now: Timestamp) -> Result<(), ReportError> {
        let reports = &self.audience.reports;
        // A clock that was set back keeps nobody silent.
        let is_apart = |heard: Timestamp| now < heard || now.since(heard) >= APART;
        self.viewer = self.viewer.take().or_else(|| self.audience.free().pop());
        let Some(viewer) = &self.viewer else {
            reports.drop_one();
            return Ok(());
        };
        let report = seen.report(self.function.clone(), viewer.clone())?;
        if self.heard.is_none_or(is_apart) {
            self.heard = Some(now);
            reports.tell(now, report);
        } else {
            reports.drop_one();
        }
        Ok(())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(viewer) = self.viewer.take() {
            self.audience.free().push(viewer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter::from_fn;
    use std::sync::atomic::Ordering;

    use record::report::Report;
    use serde_json::json;
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    struct Heard {
        audience: Arc<Audience>,
        told: Receiver<(Timestamp, Report)>,
    }

    impl Heard {
        fn new(room: usize) -> Self {
            let (taken, told) = channel(room);
            let reporting = Reporting {
                functions: [("robot".parse().unwrap(), VmName::new("f").unwrap())].into(),
                viewers: ViewerName::new("door").unwrap(),
                reports: Reports {
                    taken,
                    dropped: Arc::default(),
                },
            };
            let audience = Arc::new(Audience::new(&reporting).unwrap());
            Self { audience, told }
        }

        fn page(&self) -> Page {
            Page::of(&self.audience, &"robot".parse().unwrap()).unwrap()
        }

        fn told(&mut self) -> Vec<String> {
            let next = || self.told.try_recv().ok();
            from_fn(next).map(|(_, r)| r.viewer.to_string()).collect()
        }

        fn dropped(&self) -> u64 {
            self.audience.reports.dropped.load(Ordering::Relaxed)
        }
    }

    fn seen(span_ms: f64) -> Seen {
        let said = json!({ "span_ms": span_ms, "frames": 3, "freezes": 0, "picture_age_ms": null, "frame_interval_ms": null });
        serde_json::from_value(said).unwrap()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp(1_000_000_000 + ms * 1000)
    }

    #[test]
    fn each_page_is_a_viewer_and_its_name_the_next_ones() {
        let mut heard = Heard::new(9);
        let (mut one, mut other) = (heard.page(), heard.page());
        for page in [&mut one, &mut other] {
            page.hear(seen(1000.0), at(0)).unwrap();
        }
        assert_eq!(heard.told(), ["door-1", "door-2"]);
        drop(one);
        heard.page().hear(seen(1000.0), at(1)).unwrap();
        other.hear(seen(1000.0), at(1000)).unwrap();
        assert_eq!(heard.told(), ["door-1", "door-2"]);
        let stream = "another".parse().unwrap();
        assert!(Page::of(&heard.audience, &stream).is_none());
    }

    #[test]
    fn too_many_pages() {
        let mut heard = Heard::new(2 * HEARD_MAX);
        let mut pages: Vec<Page> = (0..HEARD_MAX + 3).map(|_| heard.page()).collect();
        for page in &mut pages {
            page.hear(seen(1000.0), at(0)).unwrap();
        }
        assert_eq!((heard.told().len(), heard.dropped()), (HEARD_MAX, 3));
        drop(pages.remove(0));
        pages
            .last_mut()
            .unwrap()
            .hear(seen(1000.0), at(1000))
            .unwrap();
        assert_eq!(heard.told(), ["door-1"], "there is room again");
    }

    #[test]
    fn too_often() {
        let mut heard = Heard::new(9);
        let mut page = heard.page();
        for ms in [0, 10, 20, 499, 500, 600] {
            page.hear(seen(1000.0), at(ms)).unwrap();
        }
        assert_eq!((heard.told().len(), heard.dropped()), (2, 4));
        // The clock is set back.
        page.hear(seen(1000.0), Timestamp(7)).unwrap();
        assert_eq!(heard.told().len(), 1);
    }

    #[test]
    fn what_cannot_be_is_not_told() {
        let mut heard = Heard::new(9);
        let mut page = heard.page();
        page.hear(seen(-1.0), at(0)).unwrap_err();
        page.hear(seen(1000.0), at(0)).unwrap();
        assert_eq!((heard.told().len(), heard.dropped()), (1, 0));
    }

    #[test]
    fn who_takes_no_report_delays_nothing() {
        let heard = Heard::new(2);
        let mut page = heard.page();
        for s in 0..10 {
            page.hear(seen(1000.0), at(s * 1000)).unwrap();
        }
        assert_eq!(heard.dropped(), 8);
    }

    #[test]
    fn a_name_that_leaves_no_room_for_a_number() {
        let reporting = |viewers: &str| Reporting {
            functions: BTreeMap::new(),
            viewers: ViewerName::new(viewers).unwrap(),
            reports: Heard::new(1).audience.reports.clone(),
        };
        assert!(Audience::new(&reporting(&"x".repeat(60))).is_ok());
        assert!(Audience::new(&reporting(&"x".repeat(61))).is_err());
    }
}

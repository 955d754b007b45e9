//! Where what viewers see is told, beside the video and never in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use record::Timestamp;
use record::report::Report;
use tokio::sync::mpsc::Sender;

/// Takes reports for whoever carries them on.
#[derive(Clone, Debug)]
pub struct Reports {
    /// Takes reports and when each was made; what finds no room is dropped.
    pub taken: Sender<(Timestamp, Report)>,
    /// So many were.
    pub dropped: Arc<AtomicU64>,
}

impl Reports {
    /// Waits for nothing.
    pub(crate) fn tell(&self, made: Timestamp, report: Report) {
        if self.taken.try_send((made, report)).is_err() {
            self.drop_one();
        }
    }

    /// There is a report that nobody gets.
    pub(crate) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

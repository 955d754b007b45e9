//! How far copying is, as the engine says while it goes on.

use std::convert::Infallible;
use std::time::Duration;

use drivers::{Driver, JobProgress, Plan};
use record::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::clock;
use crate::mover::News;

/// The engine is asked so often. With libvirt each question is a process.
const EVERY: Duration = Duration::from_secs(2);
/// Nova renews its figures every five seconds: one that has not gone on for twice as long stands still.
const STANDS_STILL: Duration = Duration::from_secs(10);

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyProgress {
    /// When the engine was first seen to say so.
    pub at_us: Timestamp,
    /// All that there is to be copied, once.
    pub total_bytes: u64,
    /// What was sent: more than all, where the guest writes to what was sent already.
    pub copied_bytes: u64,
    /// What is left.
    pub remaining_bytes: u64,
    /// Bytes sent in a second since the engine said something else before; `null` at first.
    pub rate_bytes_per_s: Option<f64>,
}

/// Asks how far a copy is, and tells what is new, for as long as this is polled.
pub(crate) async fn follow<D: Driver>(
    driver: &D,
    plan: &Plan,
    news: &mpsc::Sender<News>,
) -> Infallible {
    let mut last = None;
    loop {
        sleep(EVERY).await;
        let Some(said) = driver.progress(plan).await else {
            continue;
        };
        let now = CopyProgress::next(last.as_ref(), clock::now(), said);
        if last.replace(now) != Some(now) {
            let told = News::Progress(plan.migration, now);
            // Nobody hears it only when the orchestrator is ending.
            news.send(told).await.ok();
        }
    }
}

impl CopyProgress {
    fn next(before: Option<&Self>, at: Timestamp, said: JobProgress) -> Self {
        let JobProgress {
            total_bytes,
            copied_bytes,
            remaining_bytes,
        } = said;
        if let Some(before) = before.filter(|before| before.copied_bytes == copied_bytes) {
            let stands_still = at.since(before.at_us) >= STANDS_STILL;
            return Self {
                rate_bytes_per_s: if stands_still {
                    Some(0.0)
                } else {
                    before.rate_bytes_per_s
                },
                ..*before
            };
        }
        let rate = |before: &Self| {
            let sent = copied_bytes.checked_sub(before.copied_bytes)?;
            let passed = at.since(before.at_us);
            (!passed.is_zero()).then(|| sent as f64 / passed.as_secs_f64())
        };
        Self {
            at_us: at,
            total_bytes,
            copied_bytes,
            remaining_bytes,
            rate_bytes_per_s: before.and_then(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let mut last = None;
        for (at_s, copied_mib, rate) in [
            (0, 10, None),
            (2, 30, Some(10.0)),
            // The engine says the same for a while: as fast as it was, until it stands still.
            (4, 30, Some(10.0)),
            (6, 45, Some(3.75)),
            (15, 45, Some(3.75)),
            (16, 45, Some(0.0)),
            // It was begun anew.
            (18, 5, None),
        ] {
            let said = JobProgress {
                total_bytes: 100 << 20,
                copied_bytes: copied_mib << 20,
                remaining_bytes: 7,
            };
            let at = Timestamp(1_000_000 + at_s * 1_000_000);
            let now = CopyProgress::next(last.as_ref(), at, said);
            let mib_per_s = now.rate_bytes_per_s.map(|rate| rate / f64::from(1 << 20));
            assert_eq!(mib_per_s, rate, "{at_s}");
            assert_eq!(
                (now.copied_bytes, now.remaining_bytes),
                (copied_mib << 20, 7)
            );
            last = Some(now);
        }
    }
}

//! When a connection has been silent for too long.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Looks at a connection's activity so often in the time that it may be silent.
const LOOKS: u32 = 4;

/// When a connection last did something, or that the server is who it waits for. Whoever has it has the connection: what it
/// holds goes when the last one lets go.
///
/// It goes by a clock that nobody sets. Were the system's set on, whoever is connected would have been silent for as long; were it set
/// back, who says nothing would keep its place for that time.
#[derive(Debug)]
pub struct Activity<H> {
    came: Instant,
    /// Microseconds later.
    last: AtomicU64,
    is_ours: AtomicBool,
    _held: H,
}

impl<H> Activity<H> {
    /// A connection that has just come, and what is held while it lives.
    pub const fn new(now: Instant, held: H) -> Self {
        Self {
            came: now,
            last: AtomicU64::new(0),
            is_ours: AtomicBool::new(false),
            _held: held,
        }
    }

    /// The peer took or sent something, and it is its turn again.
    pub fn peer(&self, now: Instant) {
        let later = now.saturating_duration_since(self.came).as_micros();
        // Half a million years.
        let later = u64::try_from(later).unwrap_or(u64::MAX);
        self.last.store(later, Ordering::Relaxed);
        self.is_ours.store(false, Ordering::Relaxed);
    }

    /// The peer waits for the server.
    pub fn ours(&self) {
        self.is_ours.store(true, Ordering::Relaxed);
    }

    fn is_silent(&self, now: Instant, idle: Duration) -> bool {
        let last = Duration::from_micros(self.last.load(Ordering::Relaxed));
        let here = now.saturating_duration_since(self.came);
        !self.is_ours.load(Ordering::Relaxed) && here.saturating_sub(last) >= idle
    }
}

/// Runs a connection to its end; `false` where it was given up, since the peer was silent for `idle`.
pub async fn until_silent<H>(
    connection: impl Future,
    activity: &Activity<H>,
    idle: Duration,
) -> bool {
    let mut connection = pin!(connection);
    let mut look = tokio::time::interval(idle / LOOKS);
    loop {
        tokio::select! {
            // How it ended is the peer's business.
            _ = &mut connection => return true,
            _ = look.tick() => {
                if activity.is_silent(Instant::now(), idle) {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_the_server_is_not_silent() {
        let came = Instant::now();
        let at = |seconds| came + Duration::from_secs(seconds);
        let idle = Duration::from_secs(10);
        let activity = Activity::new(at(0), ());
        assert!(!activity.is_silent(at(9), idle));
        assert!(activity.is_silent(at(10), idle));
        activity.ours();
        assert!(!activity.is_silent(at(100), idle));
        activity.peer(at(101));
        assert!(!activity.is_silent(at(110), idle));
        assert!(activity.is_silent(at(111), idle));
    }

    #[tokio::test]
    async fn a_connection_ends_or_is_given_up() {
        let idle = Duration::from_millis(40);
        let activity = Activity::new(Instant::now(), ());
        assert!(until_silent(std::future::ready(()), &activity, idle).await);
        assert!(!until_silent(std::future::pending::<()>(), &activity, idle).await);
    }
}

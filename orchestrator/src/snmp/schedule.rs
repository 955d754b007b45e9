//! Whose turn it is.

use std::time::{Duration, Instant};

/// Agent number `next % agents` is due at its own part of the period, so that requests are spread evenly.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    period: Duration,
    agents: u64,
    next: u64,
    missed: u64,
}

impl Schedule {
    pub(crate) const fn new(start: Instant, period: Duration, agents: usize) -> Self {
        Self {
            start,
            period,
            agents: agents as u64,
            next: 0,
            missed: 0,
        }
    }

    /// When number `next` is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let period = self.period.as_nanos();
        let after = (period * u128::from(self.next)).checked_div(u128::from(self.agents))?;
        Some(self.start + Duration::from_nanos(u64::try_from(after).ok()?))
    }

    /// Turns that were left out.
    pub(crate) const fn missed(&self) -> u64 {
        self.missed
    }

    /// The next agent that is due at `now`. What a held-up poller has missed for a whole period is left out, not made up for.
    pub(crate) fn due(&mut self, now: Instant) -> Option<usize> {
        let at = self.next_at().filter(|at| *at <= now)?;
        let missed = now.duration_since(at).as_nanos() / self.period.as_nanos().max(1);
        let missed = self.agents * missed as u64;
        self.missed += missed;
        self.next += missed;
        let agent = self.next % self.agents;
        self.next += 1;
        Some(agent as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(1000);

    fn all_due(schedule: &mut Schedule, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| schedule.due(now)).collect()
    }

    #[test]
    fn agents_are_spread_over_the_period() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, PERIOD, 4);
        let after = |ms| start + Duration::from_millis(ms);
        for (ms, agents) in [
            (0, vec![0]),
            (249, vec![]),
            (250, vec![1]),
            (999, vec![2, 3]),
            (1000, vec![0]),
        ] {
            assert_eq!(all_due(&mut schedule, after(ms)), agents, "{ms}");
        }
        assert_eq!(schedule.next_at(), Some(after(1250)));
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, PERIOD, 4);
        assert_eq!(all_due(&mut schedule, start), [0]);
        let late = start + Duration::from_secs(3600);
        assert_eq!(all_due(&mut schedule, late), [1, 2, 3, 0], "each once");
        assert_eq!(schedule.missed(), 3599 * 4);
        assert_eq!(schedule.next_at(), Some(late + PERIOD / 4));
    }

    #[test]
    fn nobody_is_never_due() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, PERIOD, 0);
        assert_eq!((schedule.due(start), schedule.next_at()), (None, None));
    }
}

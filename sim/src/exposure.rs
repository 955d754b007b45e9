//! When functions were on a host at or over the knee, or ran nowhere.

use record::Timestamp;

/// Exposure of all functions of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposure {
    since: Vec<Option<Timestamp>>,
    /// By function: whole spans, in order of time.
    spans: Vec<Vec<(Timestamp, Timestamp)>>,
    /// Viewers times seconds with a picture age over the budget.
    pub over_budget_s: f64,
}

impl Exposure {
    pub(crate) fn new(functions: usize) -> Self {
        Self {
            since: vec![None; functions],
            spans: vec![Vec::new(); functions],
            over_budget_s: 0.0,
        }
    }

    /// From `at` on a function is exposed, or is not.
    pub(crate) fn set(&mut self, function: usize, exposed: bool, at: Timestamp) {
        let since = &mut self.since[function];
        match (*since, exposed) {
            (None, true) => *since = Some(at),
            (Some(from), false) => {
                *since = None;
                if at > from {
                    self.spans[function].push((from, at));
                }
            }
            _ => {}
        }
    }

    pub(crate) fn finish(&mut self, at: Timestamp) {
        for function in 0..self.since.len() {
            self.set(function, false, at);
        }
    }

    /// Spans in which a function was exposed, in order of time.
    #[must_use]
    pub fn spans(&self, function: usize) -> &[(Timestamp, Timestamp)] {
        self.spans.get(function).map_or(&[], Vec::as_slice)
    }

    /// Seconds of all functions together.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let length = |(from, to): &(Timestamp, Timestamp)| to.seconds_after(*from);
        self.spans.iter().flatten().map(length).sum()
    }

    /// Seconds in which a function was exposed between two instants.
    #[must_use]
    pub fn seconds_within(&self, function: usize, from: Timestamp, to: Timestamp) -> f64 {
        let overlap =
            |span: &(Timestamp, Timestamp)| span.1.min(to).seconds_after(span.0.max(from)).max(0.0);
        self.spans(function).iter().map(overlap).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole() {
        let at = |s: u64| Timestamp(s * 1_000_000);
        let mut exposure = Exposure::new(1);
        exposure.set(0, true, at(1));
        exposure.set(0, true, at(2));
        exposure.set(0, false, at(5));
        exposure.set(0, false, at(6));
        exposure.set(0, true, at(8));
        exposure.finish(at(10));
        assert_eq!(exposure.spans(0), [(at(1), at(5)), (at(8), at(10))]);
        assert!((exposure.seconds() - 6.0).abs() < 1e-9);
        assert!((exposure.seconds_within(0, at(4), at(9)) - 2.0).abs() < 1e-9);
    }
}

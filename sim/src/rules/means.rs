//! A mean over a period, as a store of measurements gives it.

use std::collections::VecDeque;

use super::View;

/// The hosts' mean utilization over the last `period_s`.
///
/// Each round's sample counts the same: rounds are equally far apart. A round in which an agent is silent leaves no sample,
/// and the mean is that of the others, as a store of time series has it.
#[derive(Debug)]
pub(super) struct Means {
    period_s: f64,
    /// For each host, when and what; oldest first.
    samples: Vec<VecDeque<(f64, f64)>>,
}

impl Means {
    pub(super) fn over(period_s: f64) -> Self {
        Self {
            period_s,
            samples: Vec::new(),
        }
    }

    /// Takes the round's samples. `None` for a host of which the period has none.
    pub(super) fn take(&mut self, view: &View) -> Vec<Option<f64>> {
        self.samples.resize_with(view.hosts.len(), VecDeque::new);
        let host = |(samples, host): (&mut VecDeque<(f64, f64)>, &super::HostView)| {
            samples.extend(host.utilization.map(|load| (view.now_s, load)));
            while samples
                .front()
                .is_some_and(|(at_s, _)| view.now_s - at_s >= self.period_s)
            {
                samples.pop_front();
            }
            let sum: f64 = samples.iter().map(|(_, load)| load).sum();
            (!samples.is_empty()).then(|| sum / samples.len() as f64)
        };
        self.samples.iter_mut().zip(view.hosts).map(host).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::hosts;
    use super::*;

    fn check(period_s: f64, samples: &[(f64, Option<f64>)], expected: &[Option<f64>]) {
        let mut means = Means::over(period_s);
        let mut take = |(now_s, load): &(f64, Option<f64>)| {
            let view = View {
                now_s: *now_s,
                hosts: &hosts(&[*load]),
                functions: &[],
            };
            means.take(&view)[0]
        };
        let found: Vec<Option<f64>> = samples.iter().map(&mut take).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_mean_is_that_of_the_samples_in_the_period() {
        check(
            10.0,
            &[
                (5.0, Some(0.25)),
                (10.0, Some(0.75)),
                (15.0, Some(1.0)),
                (20.0, None),
                (25.0, None),
            ],
            &[Some(0.25), Some(0.5), Some(0.875), Some(1.0), None],
        );
    }

    #[test]
    fn a_period_of_one_round_is_the_last_sample() {
        check(
            300.0,
            &[(300.0, Some(0.5)), (600.0, Some(0.25)), (900.0, None)],
            &[Some(0.5), Some(0.25), None],
        );
    }
}

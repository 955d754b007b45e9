//! All forecasters on the same loads.

use std::sync::Arc;

use serde::Serialize;

use super::{Forecaster, all};
use crate::demand::Demand;

/// Samples before the first forecast that counts, so that nobody is judged while others still wait.
const WARM_UP: usize = 30;
/// Standard deviations of a normal distribution to either side that hold 95 % of it.
const SD_95: f64 = 1.96;

/// What is seen, and how far ahead is looked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// Length of the intervals that samples are means of; one follows the other.
    pub interval_s: f64,
    /// How many samples ahead.
    pub horizons: Vec<u32>,
    /// The load whose crossing is to be foreseen.
    pub knee: f64,
}

impl Sampling {
    /// Samples of 5 s, as agents give; 5, 10, 15 and 30 s ahead.
    #[must_use]
    pub fn of_agents(knee: f64) -> Self {
        Self {
            interval_s: 5.0,
            horizons: vec![1, 2, 3, 6],
            knee,
        }
    }

    /// Samples of five minutes, as traces give; 5, 10 and 30 minutes ahead.
    #[must_use]
    pub fn of_traces(knee: f64) -> Self {
        Self {
            interval_s: 300.0,
            horizons: vec![1, 2, 6],
            knee,
        }
    }
}

/// One forecaster at one horizon, over all loads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForecastRow {
    /// Who.
    pub forecaster: &'static str,
    /// How far ahead, from the middle of the newest sample to that of the one foreseen.
    pub horizon_s: f64,
    /// Forecasts made.
    pub forecasts: u64,
    /// How often none was made, since too little had been seen.
    pub none: u64,
    /// Mean of the errors' sizes, as a share of a host's CPU.
    pub mean_absolute_error: Option<f64>,
    /// Root of the mean of their squares.
    pub rmse: Option<f64>,
    /// Share of the samples that lay within the interval that was to hold 95 % of them.
    pub coverage_95: Option<f64>,
    /// How often the newest sample was below the knee and the one to be foreseen was not.
    pub crossings: u64,
    /// How many of these were foreseen to be at the knee or above.
    pub foreseen: u64,
    /// How often that was foreseen, but both samples were below.
    pub false_alarms: u64,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForecastTable {
    /// What was seen.
    pub sampling: Sampling,
    /// Loads that were looked at.
    pub loads: usize,
    /// Samples of all of them.
    pub samples: u64,
    /// Forecasters in the order of [`all`], each with its horizons.
    pub rows: Vec<ForecastRow>,
}

/// Gives the same samples to all forecasters. A sample is the mean over its interval of what can be seen of the demand:
/// at most 1. `loads` are demands and how long each lasts.
#[must_use]
pub fn compare(loads: &[(Arc<dyn Demand>, f64)], sampling: &Sampling) -> ForecastTable {
    let samples: Vec<Vec<f64>> = loads
        .iter()
        .map(|(demand, duration_s)| seen(demand.as_ref(), *duration_s, sampling.interval_s))
        .collect();
    let mut scores: Vec<Vec<Score>> = all()
        .iter()
        .map(|_| vec![Score::default(); sampling.horizons.len()])
        .collect();
    for samples in &samples {
        for (mut forecaster, scores) in all().into_iter().zip(&mut scores) {
            judge(forecaster.as_mut(), samples, sampling, scores);
        }
    }
    let rows = all()
        .into_iter()
        .zip(&scores)
        .flat_map(|(forecaster, scores)| {
            let name = forecaster.name();
            let scores = sampling.horizons.iter().zip(scores);
            scores
                .map(move |(steps, score)| score.row(name, f64::from(*steps) * sampling.interval_s))
        });
    ForecastTable {
        rows: rows.collect(),
        sampling: sampling.clone(),
        loads: loads.len(),
        samples: samples.iter().map(|samples| samples.len() as u64).sum(),
    }
}

fn seen(demand: &dyn Demand, duration_s: f64, interval_s: f64) -> Vec<f64> {
    let visible = |at_s: f64| demand.at(at_s).min(1.0);
    let intervals = (duration_s / interval_s) as u64;
    (0..intervals)
        .map(|interval| interval as f64 * interval_s)
        .map(|from_s| crate::demand::mean_of(visible, from_s, from_s + interval_s))
        .collect()
}

fn judge(
    forecaster: &mut dyn Forecaster,
    samples: &[f64],
    sampling: &Sampling,
    scores: &mut [Score],
) {
    let interval_s = sampling.interval_s;
    for (number, share) in samples.iter().enumerate() {
        let end_s = (number + 1) as f64 * interval_s;
        forecaster.observe(end_s, interval_s, *share);
        if number + 1 < WARM_UP {
            continue;
        }
        for (steps, score) in sampling.horizons.iter().zip(&mut *scores) {
            let Some(truth) = samples.get(number + *steps as usize) else {
                continue;
            };
            let centre_s = end_s + (f64::from(*steps) - 0.5) * interval_s;
            score.take(forecaster.predict(centre_s), *share, *truth, sampling.knee);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Score {
    forecasts: u64,
    none: u64,
    sizes: f64,
    squares: f64,
    covered: u64,
    crossings: u64,
    foreseen: u64,
    false_alarms: u64,
}

impl Score {
    fn take(&mut self, forecast: Option<(f64, f64)>, newest: f64, truth: f64, knee: f64) {
        let crosses = newest < knee && truth >= knee;
        self.crossings += u64::from(crosses);
        let Some((mean, sd)) = forecast else {
            self.none += 1;
            return;
        };
        let error = truth - mean;
        self.forecasts += 1;
        self.sizes += error.abs();
        self.squares += error * error;
        self.covered += u64::from(error.abs() <= SD_95 * sd);
        let warns = newest < knee && mean >= knee;
        self.foreseen += u64::from(warns && crosses);
        self.false_alarms += u64::from(warns && !crosses);
    }

    fn row(&self, forecaster: &'static str, horizon_s: f64) -> ForecastRow {
        let n = self.forecasts as f64;
        let some = |value: f64| (self.forecasts > 0).then_some(value);
        ForecastRow {
            forecaster,
            horizon_s,
            forecasts: self.forecasts,
            none: self.none,
            mean_absolute_error: some(self.sizes / n),
            rmse: some((self.squares / n).sqrt()),
            coverage_95: some(self.covered as f64 / n),
            crossings: self.crossings,
            foreseen: self.foreseen,
            false_alarms: self.false_alarms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::{Constant, Line};
    use crate::noise::{Noise, Noisy};

    fn row<'a>(table: &'a ForecastTable, name: &str, horizon_s: f64) -> &'a ForecastRow {
        let mut rows = table.rows.iter();
        rows.find(|row| row.forecaster == name && row.horizon_s == horizon_s)
            .unwrap()
    }

    #[test]
    fn a_ramp_through_the_knee() {
        // 0.2 %/s: the mean over 5 s crosses the knee once.
        let line = Line {
            points: vec![(0.0, 0.1), (500.0, 1.1)],
        };
        let table = compare(&[(Arc::new(line), 500.0)], &Sampling::of_agents(0.95));
        assert_eq!(table.samples, 100);
        let naive = row(&table, "naive", 30.0);
        assert_eq!((naive.crossings, naive.foreseen), (6, 0));
        let line = row(&table, "line-4", 30.0);
        assert_eq!((line.crossings, line.foreseen), (6, 6));
        let error = |name| row(&table, name, 30.0).mean_absolute_error.unwrap();
        assert!(error("line-4") < 0.3 * error("naive"));
    }

    #[test]
    fn what_never_changes_is_always_foreseen() {
        let table = compare(
            &[(Arc::new(Constant(0.5)), 400.0)],
            &Sampling::of_agents(0.95),
        );
        for row in &table.rows {
            assert!(row.mean_absolute_error.unwrap() < 1e-9, "{row:?}");
            assert_eq!((row.crossings, row.false_alarms, row.none), (0, 0, 0));
        }
    }

    #[test]
    fn intervals_hold_about_what_they_say() {
        let noisy = |seed| -> (Arc<dyn Demand>, f64) {
            let noisy = Noisy {
                about: Arc::new(Constant(0.5)),
                noise: Noise { seed },
                amplitude: 0.5,
            };
            (Arc::new(noisy), 20_000.0)
        };
        let table = compare(&[noisy(1), noisy(2)], &Sampling::of_agents(0.95));
        for name in ["naive", "ewma", "ar1"] {
            let covered = row(&table, name, 5.0).coverage_95.unwrap();
            assert!((0.90..0.99).contains(&covered), "{name}: {covered}");
        }
    }

    #[test]
    fn too_short_says_nothing() {
        let table = compare(
            &[(Arc::new(Constant(0.5)), 100.0)],
            &Sampling::of_agents(0.95),
        );
        assert_eq!(table.rows[0].forecasts, 0);
        assert_eq!(table.rows[0].rmse, None);
    }
}

//! Sums and intervals over all cases.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use measure::statistics::Values;
use serde::Serialize;

use super::agents::Agents;
use super::case::{Case, Contestant, Judged, judge};
use super::input::Input;
use super::site::Parameters;
use crate::error::SimError;
use crate::interval::mean95;
use crate::rules::{self, RuleEntry};

/// 5th, 50th and 95th percentile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// 5th percentile; `None` without values, as the others.
    pub p5: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
}

impl Spread {
    fn of(values: Vec<f64>) -> Self {
        let values: Values = values.into_iter().collect();
        Self {
            p5: values.quantile(0.05),
            p50: values.quantile(0.5),
            p95: values.quantile(0.95),
        }
    }
}

/// A mean over seeds with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Mean {
    fn of(values: &[f64]) -> Option<Self> {
        mean95(values).map(|(mean, low, high)| Self { mean, low, high })
    }
}

/// A contestant, over several cases.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Overloads that the oracle prevents.
    pub preventable: u64,
    /// Those that were prevented.
    pub prevented: u64,
    /// Share of them; `None` where there is none.
    pub deadline_met_share: Option<f64>,
    /// That share over seeds.
    pub deadline_met_share_95: Option<Mean>,
    /// Seconds of all functions at or over the knee.
    pub seconds_above_knee: f64,
    /// The same over seeds, for all cases of one together.
    pub seconds_above_knee_95: Option<Mean>,
    /// Of what never moving costs more than the oracle, the share that this costs more than the oracle.
    pub excess_share: Option<f64>,
    /// Viewers times seconds with a picture age over 400 ms.
    pub viewer_seconds_over_400ms: Option<f64>,
    /// Moves.
    pub moves: u64,
    /// Moves that were for nothing.
    pub useless_moves: u64,
    /// Moves that were undone within 10 minutes.
    pub undone_moves: u64,
    /// Moves onto a host that then overflowed.
    pub overflowing_moves: u64,
    /// Beginning of an overload less the instant at which its function ran elsewhere.
    pub margin_s: Spread,
    /// Share of moves that were not for nothing.
    pub precision: Option<f64>,
    /// Share of all overloads, preventable or not, that a move began before.
    pub recall: Option<f64>,
    /// How long before.
    pub lead_s: Spread,
    /// Prediction less truth of a move's time, as a share of the truth.
    pub prediction_error: Spread,
}

/// All contestants over the same cases.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// [`Parameters::digest`] of the controller's parameters.
    pub parameters: String,
    /// Inputs and how often each was made from another seed.
    pub inputs: Vec<String>,
    /// All inputs together.
    pub policies: BTreeMap<String, Summary>,
    /// Each input by itself.
    pub by_input: BTreeMap<String, BTreeMap<String, Summary>>,
    /// By input: seconds over the knee of the best plan of all functions together that was found by one who knows the future.
    pub feasible_s: BTreeMap<String, f64>,
}

impl Contestant {
    /// All of them, in the order of the table.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Oracle];
        for agents in [Agents::Good, Agents::Poor] {
            all.extend([Self::Deadline(agents), Self::Threshold(agents)]);
        }
        all.push(Self::Never);
        // Never moving and the fixed 90 % are there already.
        let others = rules::all()
            .into_iter()
            .filter(|rule| rule.name != rules::never::NAME);
        for rule in others {
            all.extend([Self::Native(rule), Self::OnOurData(rule)]);
        }
        all
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Deadline(Agents::Good) => "deadline".into(),
            Self::Deadline(Agents::Poor) => "deadline@poor-agents".into(),
            Self::Threshold(Agents::Good) => "threshold".into(),
            Self::Threshold(Agents::Poor) => "threshold@poor-agents".into(),
            Self::Never => "never".into(),
            Self::Oracle => "oracle".into(),
            Self::Native(RuleEntry { name, .. }) => (*name).into(),
            Self::OnOurData(RuleEntry { name, .. }) => format!("{name}@5s"),
        }
    }
}

/// Runs all contestants through all inputs, on as many threads as there are cores; the result does not depend on how many.
/// `done` is told how many inputs are done.
///
/// # Errors
/// When the parameters are none for a controller, or a promise was broken.
pub fn compare(
    inputs: &[Input],
    contestants: &[Contestant],
    parameters: &Parameters,
    done: impl Fn(usize) + Sync,
) -> Result<Comparison, SimError> {
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<BTreeMap<usize, Result<Case, SimError>>> = Mutex::default();
    let work = || {
        while let Some((number, input)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            inputs.get(number).map(|input| (number, input))
        } {
            let case = judge(input, contestants, parameters);
            if let Ok(mut results) = results.lock() {
                results.insert(number, case);
            }
            done(finished.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(inputs.len()) {
            scope.spawn(work);
        }
    });
    let results = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let cases = results.into_values().collect::<Result<Vec<_>, _>>()?;
    Ok(Comparison {
        parameters: parameters.digest(),
        ..summarize(&cases, contestants)
    })
}

fn summarize(cases: &[Case], contestants: &[Contestant]) -> Comparison {
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let table = |cases: &[&Case]| -> BTreeMap<String, Summary> {
        let named = contestants.iter().enumerate();
        named
            .map(|(number, who)| (who.name(), summary(cases, number, contestants)))
            .collect()
    };
    let of = |name: &str| -> Vec<&Case> { cases.iter().filter(|case| case.name == name).collect() };
    let all: Vec<&Case> = cases.iter().collect();
    let inputs = names
        .iter()
        .map(|name| format!("{name} x {}", of(name).len()));
    let feasible = |name: &&str| {
        let seconds = of(name).iter().map(|case| case.feasible_s).sum();
        ((*name).to_owned(), seconds)
    };
    Comparison {
        parameters: String::new(),
        inputs: inputs.collect(),
        policies: table(&all),
        by_input: names
            .iter()
            .map(|name| ((*name).to_owned(), table(&of(name))))
            .collect(),
        feasible_s: names.iter().map(feasible).collect(),
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn summary(cases: &[&Case], number: usize, contestants: &[Contestant]) -> Summary {
    let runs: Vec<&Judged> = cases.iter().map(|case| &case.judged[number]).collect();
    let sum = |value: fn(&Judged) -> u64| runs.iter().map(|run| value(run)).sum::<u64>();
    let all = |values: fn(&Judged) -> &[f64]| -> Vec<f64> {
        runs.iter()
            .flat_map(|run| values(run).iter().copied())
            .collect()
    };
    let seconds_of = |who: fn(&Contestant) -> bool| {
        let place = contestants.iter().position(who)?;
        Some(
            cases
                .iter()
                .map(|case| case.judged[place].seconds_above_knee)
                .sum::<f64>(),
        )
    };
    let seconds: f64 = runs.iter().map(|run| run.seconds_above_knee).sum();
    let oracle = seconds_of(|who| matches!(who, Contestant::Oracle));
    let never = seconds_of(|who| matches!(who, Contestant::Never));
    let excess = |(oracle, never): (f64, f64)| {
        (never > oracle).then(|| (seconds - oracle) / (never - oracle))
    };
    let (preventable, prevented) = (sum(|r| r.preventable), sum(|r| r.prevented));
    let (moves, useless_moves) = (sum(|r| r.moves), sum(|r| r.useless_moves));
    let by_seed = by_seed(cases, number);
    let leads = all(|r| &r.leads_s);
    // One who knows the future has no foresight to be measured.
    let foresees = matches!(contestants[number], Contestant::Oracle);
    let recall = share(leads.len() as u64, sum(|r| r.overloads));
    let over_budget: Option<f64> = runs.iter().map(|run| run.viewer_seconds_over_budget).sum();
    Summary {
        preventable,
        prevented,
        deadline_met_share: share(prevented, preventable),
        deadline_met_share_95: Mean::of(
            &by_seed
                .iter()
                .filter_map(|seed| share(seed.1, seed.0))
                .collect::<Vec<_>>(),
        ),
        seconds_above_knee: seconds,
        seconds_above_knee_95: Mean::of(&by_seed.iter().map(|seed| seed.2).collect::<Vec<_>>()),
        excess_share: oracle.zip(never).and_then(excess),
        viewer_seconds_over_400ms: over_budget,
        moves,
        useless_moves,
        undone_moves: sum(|r| r.undone_moves),
        overflowing_moves: sum(|r| r.overflowing_moves),
        margin_s: Spread::of(all(|r| &r.margins_s)),
        precision: share(moves - useless_moves, moves).filter(|_| !foresees),
        recall: recall.filter(|_| !foresees),
        lead_s: Spread::of(leads),
        prediction_error: Spread::of(all(|r| &r.prediction_errors)),
    }
}

/// Preventable, prevented and seconds over the knee, for each seed.
fn by_seed(cases: &[&Case], number: usize) -> Vec<(u64, u64, f64)> {
    let mut seeds: BTreeMap<u64, (u64, u64, f64)> = BTreeMap::new();
    for case in cases {
        let (run, sum) = (&case.judged[number], seeds.entry(case.seed).or_default());
        sum.0 += run.preventable;
        sum.1 += run.prevented;
        sum.2 += run.seconds_above_knee;
    }
    seeds.into_values().collect()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0} s"))
}

/// The table for a terminal.
#[must_use]
pub fn table(policies: &BTreeMap<String, Summary>, order: &[Contestant]) -> String {
    let mut text = format!(
        "{:<36} {:>12} {:>8} {:>10} {:>8} {:>6} {:>7} {:>6} {:>9} {:>8}\n",
        "policy",
        "over knee",
        "excess",
        "prevented",
        "share",
        "moves",
        "useless",
        "undone",
        "overflow",
        "margin"
    );
    for who in order {
        let name = who.name();
        let Some(s) = policies.get(&name) else {
            continue;
        };
        text.push_str(&format!(
            "{name:<36} {:>12} {:>8} {:>10} {:>8} {:>6} {:>7} {:>6} {:>9} {:>8}\n",
            seconds(Some(s.seconds_above_knee)),
            percent(s.excess_share),
            format!("{}/{}", s.prevented, s.preventable),
            percent(s.deadline_met_share),
            s.moves,
            s.useless_moves,
            s.undone_moves,
            s.overflowing_moves,
            seconds(s.margin_s.p50),
        ));
    }
    text
}

/// A line for each input and policy, `all` for all inputs together; an empty field is what was not measured.
#[must_use]
pub fn csv(comparison: &Comparison) -> String {
    let mut text = String::from(
        "input,policy,preventable,prevented,deadline_met_share,seconds_above_knee,excess_share,viewer_seconds_over_400ms,moves,\
         useless_moves,undone_moves,overflowing_moves,margin_p5_s,margin_p50_s,margin_p95_s,precision,recall,lead_p50_s,\
         prediction_error_p50\n",
    );
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let all = std::iter::once(("all", &comparison.policies));
    let each = comparison
        .by_input
        .iter()
        .map(|(name, table)| (name.as_str(), table));
    for (input, table) in all.chain(each) {
        for (policy, s) in table {
            let fields = [
                input.to_owned(),
                policy.clone(),
                s.preventable.to_string(),
                s.prevented.to_string(),
                number(s.deadline_met_share),
                s.seconds_above_knee.to_string(),
                number(s.excess_share),
                number(s.viewer_seconds_over_400ms),
                s.moves.to_string(),
                s.useless_moves.to_string(),
                s.undone_moves.to_string(),
                s.overflowing_moves.to_string(),
                number(s.margin_s.p5),
                number(s.margin_s.p50),
                number(s.margin_s.p95),
                number(s.precision),
                number(s.recall),
                number(s.lead_s.p50),
                number(s.prediction_error.p50),
            ];
            text.push_str(&fields.join(","));
            text.push('\n');
        }
    }
    text
}

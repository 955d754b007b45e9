//! `forestall sim forecast`.

use std::path::PathBuf;
use std::sync::Arc;

use sim::contest::{Input, input, site};
use sim::demand::Demand;
use sim::forecasters::{ForecastTable, Sampling, compare};
use sim::refine::{Refinement, refine};
use sim::trace::Layout;

use super::{Failure, Outcome, configuration, layout, work};

const EXAMPLES: &str = "\
Examples:
  forestall sim forecast                          made load only
  forestall sim forecast --traces traces --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Folder of load traces, each a file or a folder
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// Layout of all of them, where names and first lines do not tell it
    #[arg(long, requires = "traces", value_name = "NAME", value_parser = layout)]
    layout: Option<Layout>,
    /// Seed of packing, noise and made load
    #[arg(long, default_value_t = 101)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

type Load = (Arc<dyn Demand>, f64);

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let mut tables: Vec<(String, ForecastTable)> = Vec::new();
        let agents = Sampling::of_agents(site::KNEE);
        for input in input::generated(self.seed) {
            tables.push((input.name.clone(), compare(&hosts(&input), &agents)));
        }
        let traces = match &self.traces {
            Some(folder) => input::traces(folder, self.layout).map_err(configuration)?,
            None => Vec::new(),
        };
        for (name, trace) in &traces {
            eprintln!("{name}: {}", input::describe(trace));
            for input in input::of_trace(name, trace, self.seed).map_err(configuration)? {
                tables.push((input.name.clone(), compare(&hosts(&input), &agents)));
            }
            // As the trace has it: machines, in its own steps.
            let machines = trace.series.iter().map(|series| {
                let end_s = series
                    .points
                    .last()
                    .map_or(0.0, |point| point.0 + trace.interval_s);
                (refine(series, Refinement::Step, self.seed), end_s)
            });
            let machines: Vec<Load> = machines.collect();
            let table = compare(&machines, &Sampling::of_traces(site::KNEE));
            tables.push((format!("{name}, as it is"), table));
        }
        if self.json {
            let tables: std::collections::BTreeMap<_, _> = tables.into_iter().collect();
            println!("{}", serde_json::to_string_pretty(&tables).map_err(work)?);
            return Ok(Outcome::Done);
        }
        for (name, table) in &tables {
            println!("{name}: {} loads, {} samples", table.loads, table.samples);
            print!("{}", text(table));
        }
        Ok(Outcome::Done)
    }
}

/// Load of the hosts that have a function, function included.
fn hosts(input: &Input) -> Vec<Load> {
    let hot = input
        .fleet
        .hosts
        .iter()
        .filter(|host| !host.functions.is_empty());
    hot.map(|host| (Arc::clone(&host.demand), input.fleet.duration_s))
        .collect()
}

fn text(table: &ForecastTable) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut text = format!(
        "  {:<14} {:>8} {:>9} {:>9} {:>9} {:>10} {:>9} {:>12}\n",
        "forecaster", "ahead", "forecasts", "MAE", "RMSE", "in 95 %", "foreseen", "false alarms"
    );
    for row in &table.rows {
        text.push_str(&format!(
            "  {:<14} {:>6} s {:>9} {:>9} {:>9} {:>10} {:>9} {:>12}\n",
            row.forecaster,
            row.horizon_s,
            row.forecasts,
            number(row.mean_absolute_error, 4),
            number(row.rmse, 4),
            number(row.coverage_95, 3),
            format!("{}/{}", row.foreseen, row.crossings),
            row.false_alarms,
        ));
    }
    text
}

//! How the parameters of `sim::contest` were found: the same comparison with other values.
//!
//!     cargo run --release -p forestall-sim --example tune -- TRACES SEEDS margin_sd=0.5 horizon_s=300 sustained=1
//!
//! Tuned on the day 20110303 and on seed 1, never on what is published. `refresh_s=1`, `migration=0.25` and `first=101` show, on
//! what is published, what the age of samples and the time of a move cost.
use std::path::Path;

use forestall_sim as sim;
use sim::contest::{Agents, Contestant, Parameters, compare, input};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("TRACES is missing")?;
    let seeds: u64 = arguments.next().ok_or("SEEDS is missing")?.parse()?;
    let mut parameters = Parameters::frozen();
    let limits = &mut parameters.limits;
    let mut first = 1;
    for argument in arguments {
        let (name, value) = argument
            .split_once('=')
            .ok_or("an argument is NAME=VALUE")?;
        let value: f64 = value.parse()?;
        match name {
            "margin_sd" => parameters.margin_sd = value,
            "horizon_s" => limits.gain_horizon_ms = value * 1e3,
            "sustained" => limits.sustained_samples = value as u32,
            "samples" => limits.forecast_samples = value as usize,
            "residual" => limits.forecast_residual_max = value,
            "target_max" => limits.target_load_max = record::Utilization::clamped(value),
            "gain_min" => limits.gain_min = value,
            "cooldown_s" => limits.cooldown_ms = value * 1e3,
            "refresh_s" => parameters.refresh = std::time::Duration::from_secs_f64(value),
            "migration" => parameters.migration_factor = value,
            "first" => first = value as u64,
            "moves" => limits.moves_at_once_max = value as u32,
            other => return Err(format!("there is no parameter {other}").into()),
        }
    }
    let traces = input::traces(Path::new(&folder), None)?;
    let mut inputs = Vec::new();
    for seed in first..first + seeds {
        for (name, trace) in &traces {
            inputs.extend(input::of_trace(name, trace, seed)?);
        }
        inputs.extend(input::generated(seed));
    }
    let contestants = [
        Contestant::Oracle,
        Contestant::Deadline(Agents::Good),
        Contestant::Never,
    ];
    let found = compare(&inputs, &contestants, &parameters, |_| {})?;
    let all = [("all".to_owned(), found.policies)];
    for (name, table) in all.into_iter().chain(found.by_input) {
        let s = &table["deadline"];
        println!(
            "{name:<20} excess {:>7.4} prevented {:>4}/{:<4} moves {:>5} useless {:>4} undone {:>3} overflow {:>4}",
            s.excess_share.unwrap_or(f64::NAN),
            s.prevented,
            s.preventable,
            s.moves,
            s.useless_moves,
            s.undone_moves,
            s.overflowing_moves
        );
    }
    Ok(())
}

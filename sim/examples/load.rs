//! What a trace and the generators give: overloads of packed fleets, and how well each forecaster does on them.
//!
//! ```text
//! cargo run --release -p forestall-sim --example load -- TRACE [HOSTS]
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use forestall_sim::demand::{Constant, Demand, Sum};
use forestall_sim::fleet::{Fleet, Packing, pack};
use forestall_sim::forecasters::{ForecastTable, Sampling, compare};
use forestall_sim::generate::{self, KNEE};
use forestall_sim::refine::{Refinement, refine};
use forestall_sim::trace;

const SEEDS: u64 = 5;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a trace");
    let hosts = arguments.next().map_or(40, |hosts| hosts.parse().unwrap());
    let trace = trace::open(Path::new(&path), None).unwrap();
    println!(
        "{} machines, {} values apart {} s, {} bad",
        trace.series.len(),
        trace.series.iter().map(|s| s.points.len()).sum::<usize>(),
        trace.interval_s,
        trace.bad.total
    );
    println!(
        "\noverloads of {hosts} hosts in {} s at {KNEE}:",
        trace.duration_s()
    );
    println!("refinement  seed  count  with room  seconds  mean load");
    for refinement in Refinement::ALL {
        for seed in 1..=SEEDS {
            let packing = Packing::standard(hosts, refinement, seed);
            let found = pack(&trace, &packing).unwrap().overloads(KNEE);
            println!(
                "{:10}  {seed:4}  {:5}  {:9}  {:7}  {:9.3}",
                refinement.name(),
                found.count,
                found.with_room,
                found.seconds,
                found.mean_load
            );
        }
    }
    println!("\ngenerated, seed 1:");
    for generated in generate::all(1) {
        let found = generated.fleet.overloads(KNEE);
        println!(
            "{:12}  {:2} hosts  {:6.0} s  {:3} overloads  {:3} with room  {:5} s over",
            generated.family,
            generated.fleet.hosts.len(),
            generated.fleet.duration_s,
            found.count,
            found.with_room,
            found.seconds
        );
    }
    let raw: Vec<_> = trace
        .series
        .iter()
        .map(|series| (refine(series, Refinement::Step, 0), trace.duration_s()))
        .collect();
    print(
        "machines of the trace, raw",
        &compare(&raw, &Sampling::of_traces(KNEE)),
    );
    for refinement in Refinement::ALL {
        let fleet = pack(&trace, &Packing::standard(hosts, refinement, 1)).unwrap();
        let table = compare(&hot(&fleet), &Sampling::of_agents(KNEE));
        print(&format!("packed hosts, {}", refinement.name()), &table);
    }
    for family in generate::FAMILIES {
        let loads: Vec<_> = (1..=20)
            .flat_map(|seed| hot(&family.generate(seed).fleet))
            .collect();
        print(family.name, &compare(&loads, &Sampling::of_agents(KNEE)));
    }
}

/// Loads of the hosts that have a function.
fn hot(fleet: &Fleet) -> Vec<(Arc<dyn Demand>, f64)> {
    let hosts = fleet.hosts.iter().filter(|host| !host.functions.is_empty());
    hosts
        .map(|host| -> (Arc<dyn Demand>, f64) {
            let functions = host.functions.iter().map(|function| function.load).sum();
            let parts: Vec<Arc<dyn Demand>> =
                vec![host.demand.clone(), Arc::new(Constant(functions))];
            (Arc::new(Sum(parts)), fleet.duration_s)
        })
        .collect()
}

fn print(title: &str, table: &ForecastTable) {
    println!(
        "\n{title}: {} loads, {} samples",
        table.loads, table.samples
    );
    println!("forecaster    horizon    MAE   RMSE  in 95 %  crossings  foreseen  false");
    for row in &table.rows {
        let figure = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
        println!(
            "{:12}  {:7}  {}  {}   {}  {:9}  {:8}  {:5}",
            row.forecaster,
            row.horizon_s,
            figure(row.mean_absolute_error),
            figure(row.rmse),
            figure(row.coverage_95),
            row.crossings,
            row.foreseen,
            row.false_alarms
        );
    }
}

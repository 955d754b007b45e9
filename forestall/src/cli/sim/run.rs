//! `forestall sim run`.

use std::path::PathBuf;

use anyhow::anyhow;
use record::{Profile, Timestamp};
use scenario::{PolicyName, Scenario};
use sim::SimRun;

use super::{Chosen, Failure, Outcome, configuration, work};

const EXAMPLES: &str = "\
Examples:
  forestall sim run scenarios/reallocation                         every policy, the scenario's profile
  forestall sim run scenarios/golden/drain-several --policy deadline --log
  forestall sim run scenarios/reallocation --machine-profile profile.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The scenario's folder
    scenario: PathBuf,
    /// Policy to run
    #[arg(long, value_enum, default_value_t = Chosen::All)]
    policy: Chosen,
    /// Load profile to run [default: the scenario's]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Seed of the load's noise, for a profile that has any
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Machines as `lab calibrate` measured them, in place of the scenario's [model]
    #[arg(long, value_name = "FILE")]
    machine_profile: Option<PathBuf>,
    /// Print the decision logs after the table
    #[arg(long)]
    log: bool,
}

fn policies(chosen: Chosen, scenario: &Scenario) -> Vec<PolicyName> {
    match chosen {
        Chosen::None => vec![PolicyName::None],
        Chosen::Threshold => vec![PolicyName::Threshold],
        Chosen::Deadline => vec![PolicyName::Deadline],
        Chosen::All => scenario.policies.clone(),
    }
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let mut scenario = Scenario::read(&self.scenario).map_err(configuration)?;
        if let Some(path) = &self.machine_profile {
            let profile = Profile::read(path).map_err(configuration)?;
            scenario = scenario.measured(&profile).map_err(configuration)?;
        }
        let default = scenario.default_profile.as_ref();
        let name = self.profile.as_ref().unwrap_or(default);
        let Some(profile) = scenario.profiles.get(name) else {
            let all: Vec<&str> = scenario.profiles.keys().map(String::as_str).collect();
            return Err(configuration(anyhow!(
                "there is no load profile {name:?} in {}; there are {}",
                self.scenario.display(),
                all.join(", ")
            )));
        };
        println!("{} in virtual time, load profile {name}", scenario.name);
        println!(
            "{:<10} {:>5} {:>9} {:>9} {:>9} {:>9} {:>13}",
            "policy", "moves", "started", "moved", "knee at", "margin", "above knee"
        );
        let mut logs = String::new();
        let mut broken = Vec::new();
        for policy in policies(self.policy, &scenario) {
            let run = sim::run(&scenario, policy, profile, self.seed).map_err(configuration)?;
            println!("{}", row(policy, &run));
            if self.log {
                logs.push_str(&run.decision_log().map_err(work)?);
            }
            broken.extend(
                run.broken
                    .map(|broken| format!("{}: {broken}", policy.as_str())),
            );
        }
        print!("{logs}");
        if broken.is_empty() {
            return Ok(Outcome::Done);
        }
        Err(work(anyhow!("a promise was broken: {}", broken.join("; "))))
    }
}

/// A line of the table; what did not happen is a dash.
fn row(policy: PolicyName, run: &SimRun) -> String {
    let seconds = |s: Option<f64>| s.map_or_else(|| "-".to_owned(), |s| format!("{s:.1} s"));
    let at = |at: Option<Timestamp>| seconds(at.map(Timestamp::as_secs_f64));
    format!(
        "{:<10} {:>5} {:>9} {:>9} {:>9} {:>9} {:>13}",
        policy.as_str(),
        run.moves.len(),
        at(run.moves.first().map(|first| first.started_at)),
        at(run.moved_at),
        at(run.knee_reached),
        seconds(run.margin_s),
        seconds(Some(run.above_knee_s)),
    )
}

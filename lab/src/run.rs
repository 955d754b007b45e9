//! One run: the function starts, runs alone for a while, then the load follows its profile while the orchestrator watches.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::Input;
use control::journal::{Entry, INPUTS};
use orchestrator::api::{Api, Listen};
use orchestrator::config::Config;
use orchestrator::recording::{DECISIONS, MOVES, MoveEvent, MoveFact};
use orchestrator::snmp::{AuthProtocol, PrivacyProtocol, Snmp, SnmpVersion};
use record::raw::{LoadRow, MigrationRow, PhaseRow};
use record::{Decision, Event, Profile, Timestamp};
use scenario::controller::Figures;
use scenario::{LoadProfile, PolicyName, Role};

use crate::agent;
use crate::error::{LabError, file};
use crate::monitor::Monitor;
use crate::process::Process;
use crate::progress::Progress;
use crate::stage::Player;
use crate::world::World;

/// Time for the chain to reach its steady state before the idle phase counts.
const SETTLE: Duration = Duration::from_secs(2);
/// How often the load is set.
const LOAD_EVERY: Duration = Duration::from_millis(250);
/// The end of the idle phase over which the function's own demand is measured.
const DEMAND_OVER: Duration = Duration::from_secs(5);
/// An orchestrator that was told to end has brought an open move to its verdict within this.
const ORCHESTRATOR_ENDS_WITHIN: Duration = Duration::from_secs(32);
/// A seed moves the beginning of the load by up to this: the agents' refresh period.
const PHASE_MAX: Duration = Duration::from_secs(5);

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The policy.
    pub policy: PolicyName,
    /// Name of the load profile.
    pub profile_name: &'a str,
    /// The load profile.
    pub load: &'a LoadProfile,
    /// Chance of this run.
    pub seed: u64,
    /// What was measured on this machine.
    pub measured: &'a Profile,
    /// Where the run's files go; it exists and is empty.
    pub folder: PathBuf,
}

/// Runs it and leaves the raw data in its folder.
///
/// # Errors
/// When something fails or the person interrupts.
pub fn run(world: &World<'_>, plan: &Plan<'_>, progress: &mut Progress) -> Result<(), LabError> {
    let scenario = world.scenario;
    let first = &scenario.function.host;
    let result = (|| {
        progress.now("starting the guest");
        let (mut player, mut camera) = world.start_service(first, &plan.folder)?;
        // After the guest's boot, which takes a slow machine's whole core for longer than an agent's refresh: that is not the load
        // which the function is to be moved away from.
        let mut agents = world.agents()?;
        let mut orchestrator = start_orchestrator(world, plan)?;
        world.wait(SETTLE)?;
        // Later an agent may end or freeze: that is for the orchestrator to notice.
        agents
            .iter_mut()
            .try_for_each(|agent| agent.process.check())?;

        let monitor = world.monitor()?;
        let mut load = world.load(first);
        let mut watch = |offered: f64, progress: &mut Progress| -> Result<(), LabError> {
            orchestrator.check()?;
            player.check()?;
            camera.check()?;
            progress.now(&figures(
                &monitor,
                &player,
                &plan.folder,
                offered,
                first.as_str(),
            ));
            Ok(())
        };
        let idle_from = Timestamp::now();
        let idle = Duration::from_secs_f64(plan.load.idle_s) + phase(plan.seed);
        while Timestamp::now() < idle_from + idle {
            watch(0.0, progress)?;
            world.wait(LOAD_EVERY)?;
        }
        let load_from = Timestamp::now();
        let demand = monitor
            .mean(first.as_str(), load_from - DEMAND_OVER, |row| row.vm)
            .unwrap_or_default();
        let end = load_from + Duration::from_secs_f64(plan.load.duration_s());
        while Timestamp::now() < end {
            let offered = plan.load.offered(Timestamp::now().seconds_after(load_from));
            load.set(offered - demand)?;
            watch(offered, progress)?;
            world.wait(LOAD_EVERY)?;
        }
        let load_to = Timestamp::now();

        progress.now("ending");
        // Camera and player first: what the end of the rest does is not part of the run.
        camera.end()?;
        player.end()?;
        load.set(0.0)?;
        orchestrator.end_within(ORCHESTRATOR_ENDS_WITHIN);
        let mut rows = monitor.rows()?;
        drop(monitor);
        rows.extend(snmp_rows(&plan.folder)?);
        rows.sort_by_key(|row| row.time_us);
        write_rows(&plan.folder.join("load.csv"), &rows)?;
        let phase = |phase: &str, start_us, end_us| PhaseRow {
            phase: phase.into(),
            start_us,
            end_us,
        };
        write_rows(
            &plan.folder.join("phases.csv"),
            &[
                phase("idle", idle_from, load_from),
                phase("load", load_from, load_to),
            ],
        )?;
        write_rows(
            &plan.folder.join("migration.csv"),
            &migration_rows(world, plan)?,
        )
    })();
    world.keep_consoles(&plan.folder);
    world.end_machines()?;
    result
}

/// Where between two refreshes of the agents the load begins. (SplitMix64's finaliser, Steele et al., OOPSLA 2014.)
fn phase(seed: u64) -> Duration {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    PHASE_MAX.mul_f64((z >> 11) as f64 / (1_u64 << 53) as f64)
}

fn start_orchestrator(world: &World<'_>, plan: &Plan<'_>) -> Result<Process, LabError> {
    let scenario = world.scenario;
    let agent = |(name, host): (&record::HostName, &scenario::Host)| {
        Some((
            name.clone(),
            std::net::SocketAddr::from((host.management?, world.agent_port())),
        ))
    };
    let figures = Figures::try_from(plan.measured)?;
    let config = Config {
        schema: orchestrator::config::SCHEMA,
        journal: plan.folder.join("journal.db"),
        journal_mib_max: None,
        log: Default::default(),
        profile: None,
        discover: None,
        recording: Some(plan.folder.clone()),
        budget_ms: Some(scenario.budget_ms),
        api: Some(Api::at(Listen::Unix(world.api()))),
        alarms: None,
        prometheus: None,
        snmp: Some(Snmp {
            version: SnmpVersion::V3,
            user: Some(agent::USER.into()),
            auth: Some(AuthProtocol::Sha256),
            auth_password: Some(world.passwords().auth()),
            privacy: Some(PrivacyProtocol::Aes128),
            privacy_password: Some(world.passwords().privacy()),
            community: None,
            poll_ms: scenario.telemetry.poll_ms as u64,
            agents: scenario.hosts_of(Role::Edge).filter_map(agent).collect(),
        }),
        sites: Default::default(),
        control: scenario.controller_settings(plan.policy, &figures),
        engine: world.engine.driver_settings(None),
    };
    let path = plan.folder.join("orchestrator.toml");
    let text = toml::to_string(&config).map_err(|error| LabError::Measure(error.to_string()))?;
    fs::write(&path, text).map_err(file(&path))?;
    let own = std::env::current_exe().map_err(file("/proc/self/exe"))?;
    let argv = [
        &own.to_string_lossy(),
        "orchestrate",
        "--config",
        &path.to_string_lossy(),
    ]
    .map(str::to_owned);
    Process::start(
        &world.orchestrator(),
        &argv,
        &plan.folder.join("orchestrator.log"),
    )
}

fn figures(monitor: &Monitor, player: &Player, folder: &Path, offered: f64, first: &str) -> String {
    let now = Timestamp::now();
    let load = monitor.mean(first, now - Duration::from_secs(1), |row| row.actual);
    let age = player.picture_age_ms();
    let state = decisions(folder)
        .ok()
        .and_then(|all| all.iter().rev().find_map(|d| state(&d.event)))
        .unwrap_or("");
    let text = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "-".into(), |v| format!("{v:.0} {unit}"))
    };
    format!(
        "load {:>5} of {:>3.0} % offered, picture age {:>7}  {state}",
        text(load.map(|l| l * 100.0), "%"),
        offered * 100.0,
        text(age, "ms")
    )
}

fn state(event: &Event) -> Option<&'static str> {
    match event {
        Event::Start { .. } => Some("moving"),
        Event::Settled {
            verdict: record::Verdict::Moved,
            ..
        } => Some("moved"),
        Event::Settled { .. } => Some("not moved"),
        Event::Alarm { .. } => Some("ALARM"),
        _ => None,
    }
}

fn lines<T: serde::de::DeserializeOwned>(path: &Path, skip: usize) -> Result<Vec<T>, LabError> {
    let text = fs::read_to_string(path).map_err(file(path))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            LabError::Measure(format!("{}:{}: {error}", path.display(), number + 1))
        })
    };
    // A line that is still being written has no end yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().enumerate().skip(skip).map(parse).collect()
}

fn decisions(folder: &Path) -> Result<Vec<Decision>, LabError> {
    lines(&folder.join(DECISIONS), 0)
}

fn snmp_rows(folder: &Path) -> Result<Vec<LoadRow>, LabError> {
    let entries: Vec<Entry> = lines(&folder.join(INPUTS), 1)?;
    let row = |entry: Entry| match entry.input {
        Input::Sample(sample) => Some(LoadRow {
            time_us: sample.measured_at_us,
            host: sample.host.to_string(),
            snmp: Some(sample.utilization.share()),
            actual: None,
            vm: None,
            background: None,
        }),
        _ => None,
    };
    Ok(entries.into_iter().filter_map(row).collect())
}

fn migration_rows(world: &World<'_>, plan: &Plan<'_>) -> Result<Vec<MigrationRow>, LabError> {
    let facts: Vec<MoveEvent> = lines(&plan.folder.join(MOVES), 0)?;
    let decisions = decisions(&plan.folder)?;
    let mut rows = Vec::new();
    for decision in &decisions {
        let Event::Start {
            migration,
            source,
            target,
            predicted_total_ms,
            ..
        } = &decision.event
        else {
            continue;
        };
        let settled = decisions.iter().find_map(|d| match &d.event {
            Event::Settled {
                migration: id,
                verdict,
                ..
            } if id == migration => Some((d.at_us, *verdict)),
            _ => None,
        });
        let of = |wanted: &dyn Fn(&MoveFact) -> bool| {
            facts
                .iter()
                .find(|fact| fact.migration == *migration && wanted(&fact.what))
                .map(|fact| fact.at_us)
        };
        let figures = facts.iter().find_map(|fact| match fact.what {
            MoveFact::Figures {
                total_ms,
                downtime_ms,
                ..
            } if fact.migration == *migration => Some((total_ms, downtime_ms)),
            _ => None,
        });
        let moved = settled.filter(|(_, verdict)| *verdict == record::Verdict::Moved);
        let downtime_ms = match (figures.and_then(|f| f.1), moved) {
            (None, Some(_)) => world.engine.downtime_ms(target)?,
            (said, _) => said,
        };
        rows.push(MigrationRow {
            policy: plan.policy.as_str().into(),
            mode: "pre-copy".into(),
            source: source.to_string(),
            target: target.to_string(),
            decided_us: decision.at_us,
            started_us: of(&|fact| *fact == MoveFact::CopyingBegan),
            resumed_us: of(&|fact| *fact == MoveFact::RunsAtTarget),
            settled_us: settled.map(|(at, _)| at),
            total_ms: figures.and_then(|f| f.0),
            downtime_ms,
            predicted_total_ms: *predicted_total_ms,
            verdict: settled.map_or_else(|| "unknown".into(), |(_, verdict)| verdict.to_string()),
        });
    }
    Ok(rows)
}

pub(crate) fn write_rows<T: serde::Serialize + serde::de::DeserializeOwned>(
    path: &Path,
    rows: &[T],
) -> Result<(), LabError> {
    record::file::write_csv(path, rows).map_err(|error| LabError::Measure(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_spread_over_the_refresh_period() {
        let phases: Vec<_> = (1..=5).map(phase).collect();
        assert!(phases.iter().all(|p| *p < PHASE_MAX));
        assert_eq!(phase(1), phases[0]);
        assert!(phases.windows(2).all(|two| two[0] != two[1]), "{phases:?}");
    }
}

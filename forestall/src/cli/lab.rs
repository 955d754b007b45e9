//! `forestall lab`.

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use lab::LabError;
use lab::agent::{Agent, Passwords};
use lab::engine::EngineName;
use lab::experiment::{self, Request};
use lab::process::Place;
use record::HostName;
use record::campaign::Part;
use scenario::{Campaign, LabScenario, Scenario};

use super::inventory::{bound, check_inventory, default_profile, on_machines};
use super::measure::print_json;
use super::{Failure, FailureKind, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall lab check                                      what this machine offers and lacks
  forestall lab run scenarios/reallocation                 nothing moved, threshold, deadline; about 5 minutes
  forestall lab run scenarios/reallocation --engine libvirt                or nova
  forestall lab run scenarios/reallocation --profile all --repeat 5 --out out/five
  forestall lab run thesis --only table5,table6            sections 3 and 4.2 of the thesis; without --only hours
  forestall lab verify out/five                            are the figures those of the raw data?
  forestall lab check --inventory inventory.toml           what the machines of an inventory lack
  forestall lab run scenarios/reallocation --inventory inventory.toml      there, and not in namespaces of this one";

/// Run experiments for real on this machine: namespaces, virtual machines, agents, load, video
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what this machine offers and what is missing, with the command that installs it
    Check {
        /// Reach every machine of this inventory, and say what those lack
        #[arg(long, value_name = "FILE")]
        inventory: Option<PathBuf>,
        /// The scenario whose hosts they are [default: scenarios/reallocation]
        #[arg(requires = "inventory")]
        scenario: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the scenarios in a folder
    List {
        /// The folder
        #[arg(default_value = "scenarios")]
        folder: PathBuf,
    },
    /// Run a scenario; calibrates first when there is no profile of this machine yet
    Run(RunArguments),
    /// Measure the knee and the time of a move on this machine, and write the profile
    Calibrate {
        /// The scenario's folder
        #[arg(default_value = "scenarios/reallocation")]
        scenario: PathBuf,
        /// What runs and moves the virtual machine
        #[arg(long, value_enum, default_value_t)]
        engine: EngineArgument,
        /// The machines that the hosts are [default: namespaces of this one]
        #[arg(long, value_name = "FILE")]
        inventory: Option<PathBuf>,
        /// Where the profile is written [default: profile.toml; profile-ENGINE.toml with another engine than qemu; beside the
        /// inventory, where there is one]
        #[arg(long, value_name = "FILE")]
        machine_profile: Option<PathBuf>,
    },
    /// Measure what emulated links do on this machine: asked beside seen
    Links {
        /// For how long each link is probed
        #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compute results.json again from the raw CSV files; exit 1 where they differ
    Verify {
        /// Folder of an experiment
        dir: PathBuf,
    },
    /// Carry emulated links until told to end (used by the lab itself)
    #[command(hide = true)]
    Carry { list: PathBuf },
    /// Hold memory that is not zero and write to it (used in the lab's guest)
    #[command(hide = true)]
    Ballast {
        #[arg(value_name = "MIB")]
        mib: u32,
        #[arg(value_name = "MIB_PER_S")]
        dirty_mib_s: f64,
    },
    /// Be a machine of an inventory for as long as questions come (used by the lab itself)
    #[command(hide = true)]
    Stand,
    /// Be the agent of an edge server that is this machine (used by the lab itself)
    #[command(hide = true)]
    Agent {
        host: HostName,
        address: SocketAddrV4,
        auth: PathBuf,
        privacy: PathBuf,
    },
    /// Become a program on a host of the running lab (used by the lab itself)
    #[command(hide = true)]
    Enter {
        #[arg(long)]
        netns: Option<String>,
        #[arg(long)]
        cgroup: String,
        /// End it when the input ends
        #[arg(long)]
        held: bool,
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
}

/// An engine as a person names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum EngineArgument {
    /// QEMU processes, driven by their own monitors
    #[default]
    Qemu,
    /// A libvirtd on each edge server
    Libvirt,
    /// OpenStack Nova, brought up for that with all that it needs (scripts/openstack/testbed.sh --install)
    Nova,
}

impl EngineArgument {
    const fn name(self) -> EngineName {
        match self {
            Self::Qemu => EngineName::Qemu,
            Self::Libvirt => EngineName::Libvirt,
            Self::Nova => EngineName::Nova,
        }
    }
}

/// A part of a campaign by what comes of it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Only {
    /// Seven placements: Tables 2 to 4, Figures 4 and 5
    #[value(aliases = ["table2", "table3", "table4", "figure4", "figure5"])]
    Placement,
    /// Figure 6 as a sweep of jitter
    Jitter,
    /// Figure 6 whole: placements and the sweep of jitter
    Figure6,
    /// Delay the thesis' way: screenshots, read by Tesseract
    Screenshots,
    /// Levels of load: Tables 5 and 6, Figures 8 to 14
    #[value(aliases = [
        "table5", "table6", "figure8", "figure9", "figure10", "figure11", "figure12", "figure13", "figure14",
    ])]
    Load,
    /// Where the delay is spent, stage by stage, and again under load: Figure 7
    #[value(alias = "figure7")]
    Breakdown,
    /// Live migrations between loaded hosts: Table 7, Figures 15 and 16
    #[value(aliases = ["table7", "figure15", "figure16"])]
    Migration,
    /// Live migrations by memory, dirty rate, bandwidth, round trip and loss, and the predictor that is fitted to them
    Paths,
}

impl Only {
    const fn parts(self) -> &'static [Part] {
        match self {
            Self::Placement => &[Part::Placement],
            Self::Jitter => &[Part::Jitter],
            Self::Figure6 => &[Part::Placement, Part::Jitter],
            Self::Screenshots => &[Part::Screenshots],
            Self::Load => &[Part::Load],
            Self::Breakdown => &[Part::Breakdown],
            Self::Migration => &[Part::Migration],
            Self::Paths => &[Part::Paths],
        }
    }
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The scenario's folder
    scenario: PathBuf,
    /// Where results go [default: out/SCENARIO/TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Of a campaign, only the parts that these tables and figures are made from
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Only>,
    /// What runs and moves the virtual machine
    #[arg(long, value_enum, default_value_t)]
    engine: EngineArgument,
    /// The machines that the hosts are, reached by ssh [default: namespaces of this one]
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Load profile to run, or `all` [default: the scenario's]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Seed of the first repeat; the next have the next ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each run is made
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Go on with an experiment that was broken off
    #[arg(long, requires = "out")]
    resume: bool,
    /// What `lab calibrate` measured; measured now when there is no such file [default: profile.toml; profile-ENGINE.toml with
    /// another engine than qemu; INVENTORY.profile.toml with --inventory]
    #[arg(long, value_name = "FILE")]
    machine_profile: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        match self.command {
            Command::Check {
                inventory: Some(inventory),
                scenario,
                json,
            } => {
                let scenario = scenario.unwrap_or_else(|| "scenarios/reallocation".into());
                check_inventory(&scenario, &inventory, json)
            }
            Command::Check { json, .. } => check(json),
            Command::List { folder } => list(&folder),
            Command::Run(arguments) => run(arguments),
            Command::Calibrate {
                scenario,
                engine,
                inventory,
                machine_profile,
            } => calibrate(
                &scenario,
                engine.name(),
                inventory.as_deref(),
                machine_profile,
            ),
            Command::Links { seconds, json } => links(seconds, json),
            Command::Verify { dir } => verify(&dir),
            Command::Carry { list } => carry(&list),
            Command::Ballast { mib, dirty_mib_s } => {
                lab::guest::Ballast { mib, dirty_mib_s }.hold(|| println!("filled"))
            }
            Command::Stand => {
                let (questions, answers) = (std::io::stdin().lock(), std::io::stdout().lock());
                lab::stand::stand(questions, answers).map_err(failure)?;
                Ok(Outcome::Done)
            }
            Command::Agent {
                host,
                address,
                auth,
                privacy,
            } => {
                let passwords = Passwords::of(auth, privacy);
                let told = interruption()?;
                Agent::serve(&host, address, &passwords, &told).map_err(failure)?;
                Ok(Outcome::Done)
            }
            Command::Enter {
                netns,
                cgroup,
                held,
                argv,
            } => {
                let place = Place::Share { netns, cgroup };
                if held {
                    place.hold(&argv).map_err(failure)?;
                    return Ok(Outcome::Done);
                }
                Err(failure(place.enter(&argv)))
            }
        }
    }
}

pub(super) fn failure(error: LabError) -> Failure {
    let kind = match &error {
        LabError::Missing(_) => FailureKind::Missing,
        LabError::Interrupted => FailureKind::Interrupted,
        LabError::Profile(_)
        | LabError::Sweep(_)
        | LabError::OtherProfile { .. }
        | LabError::OtherEngine { .. }
        | LabError::OtherMachine { .. }
        | LabError::OutExists(_) => FailureKind::Configuration,
        // Another lab that runs is not missing, nor is the command line wrong: the same command works later.
        _ => FailureKind::Work,
    };
    Failure {
        kind,
        error: error.into(),
    }
}

/// Camera, function and player of a lab are commands of this same program.
fn require_media() -> Result<(), Failure> {
    if cfg!(feature = "media") {
        return Ok(());
    }
    Err(Failure {
        kind: FailureKind::Missing,
        error: anyhow!(
            "this forestall was built without its video commands, which the lab runs as camera, function and player: build it \
             with the feature `media` (cargo build --release), which needs FFmpeg's libraries and libclang"
        ),
    })
}

pub(super) fn read(path: &Path) -> Result<LabScenario, Failure> {
    let configuration = |error: anyhow::Error| Failure {
        kind: FailureKind::Configuration,
        error,
    };
    let scenario = Scenario::read(path).map_err(|error| configuration(error.into()))?;
    LabScenario::new(scenario).map_err(|error| configuration(error.into()))
}

/// Set by Ctrl-C and by SIGTERM.
fn interruption() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(|error| Failure {
            kind: FailureKind::Work,
            error: anyhow!(error).context("cannot watch for Ctrl-C"),
        })?;
    }
    Ok(interrupted)
}

fn check(json: bool) -> Result<Outcome, Failure> {
    let offer = lab::check::look();
    if json {
        print_json(&offer)?;
    } else {
        println!("This machine:\n{offer}");
    }
    if offer.ready {
        return Ok(Outcome::Done);
    }
    Err(Failure {
        kind: FailureKind::Missing,
        error: anyhow!("the lab cannot run here yet: see what is missing above"),
    })
}

fn links(seconds: u32, json: bool) -> Result<Outcome, Failure> {
    let interrupted = interruption()?;
    let mut progress = lab::progress::Progress::default();
    progress.stage("links");
    let all = lab::links::measure(seconds, &interrupted, &mut progress).map_err(failure)?;
    drop(progress);
    if json {
        print_json(&all)?;
    } else {
        print!("{}", lab::links::table(&all));
    }
    Ok(Outcome::Done)
}

fn carry(list: &Path) -> Result<Outcome, Failure> {
    let stop = interruption()?;
    let traffic = lab::placement::wiring::carry(list, &stop).map_err(failure)?;
    let text = serde_json::to_string(&traffic).map_err(|error| Failure {
        kind: FailureKind::Work,
        error: error.into(),
    })?;
    println!("{text}");
    Ok(Outcome::Done)
}

fn list(folder: &Path) -> Result<Outcome, Failure> {
    let folders = |folder: &Path| {
        let entries = std::fs::read_dir(folder)
            .with_context(|| format!("cannot list scenarios in {}", folder.display()))
            .map_err(|error| Failure {
                kind: FailureKind::Configuration,
                error,
            })?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        Ok(paths)
    };
    let paths = folders(folder)?;
    for path in paths
        .iter()
        .filter(|path| path.join(scenario::read::FILE_NAME).exists())
    {
        match Scenario::read(path) {
            Ok(scenario) => {
                let profiles: Vec<&str> = scenario.profiles.keys().map(String::as_str).collect();
                let (title, profiles) = (&scenario.title, profiles.join(", "));
                println!("{}\n    {title}\n    profiles: {profiles}", path.display());
                if let Err(error) = LabScenario::new(scenario.clone()) {
                    println!("    {error}");
                }
            }
            Err(error) => println!("{}\n    cannot be used: {error}", path.display()),
        }
    }
    // Those of one experiment are in a folder together.
    let together = paths.iter().filter(|path| path.is_dir());
    for path in together
        .map(|path| folders(path))
        .collect::<Result<Vec<_>, _>>()?
        .iter()
        .flatten()
    {
        if path.join(scenario::placement::FILE_NAME).exists() {
            match scenario::Placement::read(path) {
                Ok(placement) => println!("{}\n    {}", path.display(), placement.title),
                Err(error) => println!("{}\n    cannot be used: {error}", path.display()),
            }
        }
    }
    Ok(Outcome::Done)
}

/// A folder with a placement in it is measured once, for as long as 100 shots of the thesis take.
fn measure_placement(arguments: &RunArguments) -> Result<Outcome, Failure> {
    let placement = scenario::Placement::read(&arguments.scenario).map_err(|error| Failure {
        kind: FailureKind::Configuration,
        error: error.into(),
    })?;
    let out = arguments.out.clone().unwrap_or_else(|| {
        Path::new("out")
            .join(&placement.name)
            .join(lab::experiment::folder_name())
    });
    if out.exists() {
        return Err(failure(LabError::OutExists(out)));
    }
    let interrupted = interruption()?;
    let offer = lab::check::look();
    let mut progress = lab::progress::Progress::default();
    progress.stage(&placement.name);
    let how = lab::placement::as_the_thesis();
    lab::placement::measure(&placement, how, &offer, &out, &interrupted, &mut progress)
        .map_err(failure)?;
    drop(progress);
    let figures = measure::placement::PlacementFigures::read(&out).map_err(|error| Failure {
        kind: FailureKind::Work,
        error: error.into(),
    })?;
    print_json(&figures)?;
    Ok(Outcome::Done)
}

/// Every cell of a campaign that is not there yet, then its report.
fn run_campaign(path: &Path, arguments: &RunArguments) -> Result<Outcome, Failure> {
    let campaign = Campaign::read(path).map_err(|error| Failure {
        kind: FailureKind::Configuration,
        error: error.into(),
    })?;
    let out = arguments.out.clone().unwrap_or_else(|| {
        Path::new("out")
            .join(&campaign.name)
            .join(lab::experiment::folder_name())
    });
    let parts = if arguments.only.is_empty() {
        Part::ALL.to_vec()
    } else {
        let asked = arguments.only.iter().flat_map(|only| only.parts());
        let mut parts: Vec<Part> = asked.copied().collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    };
    let request = lab::campaign::Request {
        parts,
        out: out.clone(),
        resume: arguments.resume,
        command: command_line(),
    };
    let interrupted = interruption()?;
    let offer = lab::check::look();
    lab::campaign::run(&campaign, &request, &offer, &interrupted).map_err(failure)?;
    super::report::write(std::slice::from_ref(&out), &out)
}

fn run(mut arguments: RunArguments) -> Result<Outcome, Failure> {
    require_media()?;
    // `thesis` is short for `scenarios/thesis`.
    let among_scenarios = Path::new("scenarios").join(&arguments.scenario);
    if !arguments.scenario.exists() && among_scenarios.exists() {
        arguments.scenario = among_scenarios;
    }
    let is_there = |name: &str| arguments.scenario.join(name).exists();
    let is_campaign = is_there(scenario::campaign::FILE_NAME);
    let is_plain = arguments.profile.is_none()
        && arguments.seed == 1
        && arguments.repeat == 1
        && arguments.inventory.is_none()
        && arguments.engine == EngineArgument::default();
    if (is_campaign || is_there(scenario::placement::FILE_NAME)) && !is_plain {
        return Err(Failure {
            kind: FailureKind::Configuration,
            error: anyhow!(
                "--profile, --seed, --repeat, --engine and --inventory are for scenarios; a campaign says itself how often what is measured, and runs on QEMU, on this machine"
            ),
        });
    }
    if is_campaign {
        return run_campaign(&arguments.scenario.clone(), &arguments);
    }
    if !arguments.only.is_empty() {
        return Err(Failure {
            kind: FailureKind::Configuration,
            error: anyhow!(
                "--only is for a campaign, a folder with a campaign.toml such as scenarios/thesis"
            ),
        });
    }
    if arguments
        .scenario
        .join(scenario::placement::FILE_NAME)
        .exists()
    {
        return measure_placement(&arguments);
    }
    let (scenario, inventory) = bound(
        &arguments.scenario,
        arguments.engine.name(),
        arguments.inventory.as_deref(),
    )?;
    let all: Vec<String> = scenario.profiles.keys().cloned().collect();
    let profiles = match arguments.profile.as_deref() {
        None => vec![scenario.default_profile.as_ref().clone()],
        Some("all") => all,
        Some(name) if scenario.profiles.contains_key(name) => vec![name.to_owned()],
        Some(name) => {
            let error = anyhow!(
                "there is no load profile {name:?} in {}; there are {}",
                arguments.scenario.display(),
                all.join(", ")
            );
            return Err(Failure {
                kind: FailureKind::Configuration,
                error,
            });
        }
    };
    let out = arguments.out.unwrap_or_else(|| {
        Path::new("out")
            .join(&scenario.name)
            .join(lab::experiment::folder_name())
    });
    let engine = arguments.engine.name();
    let request = Request {
        engine,
        profiles,
        seed: arguments.seed,
        repeat: arguments.repeat,
        out,
        resume: arguments.resume,
        profile: arguments
            .machine_profile
            .unwrap_or_else(|| default_profile(engine, arguments.inventory.as_deref())),
        command: command_line(),
    };
    let interrupted = interruption()?;
    let finished = on_machines(inventory.as_ref(), |machines| {
        experiment::run(&scenario, &request, machines, &interrupted)
    });
    let finished = finished.map_err(failure)?;
    println!("{}", measure::terminal_table(&finished.results));
    println!("report: {}", finished.report.display());
    Ok(Outcome::Done)
}

fn calibrate(
    path: &Path,
    engine: EngineName,
    inventory: Option<&Path>,
    profile: Option<PathBuf>,
) -> Result<Outcome, Failure> {
    require_media()?;
    let profile = profile.unwrap_or_else(|| default_profile(engine, inventory));
    let (scenario, inventory) = bound(path, engine, inventory)?;
    let interrupted = interruption()?;
    let measured = on_machines(inventory.as_ref(), |machines| {
        experiment::calibrate_only(&scenario, engine, &profile, machines, &interrupted)
    });
    let measured = measured.map_err(failure)?;
    println!(
        "knee {}, a move takes up to {:.1} s: written to {}",
        measured.knee.utilization,
        measured.migration.p95_ms / 1e3,
        profile.display()
    );
    Ok(Outcome::Done)
}

fn verify(dir: &Path) -> Result<Outcome, Failure> {
    // A campaign has no experiment.json: each of its cells speaks for itself.
    let differences = if dir.join("experiment.json").exists() {
        measure::verify(dir)
    } else {
        measure::campaign::verify(dir)
    };
    let differences = differences.map_err(|error| Failure {
        kind: FailureKind::Work,
        error: error.into(),
    })?;
    if differences.is_empty() {
        println!("{}: every figure is that of the raw data", dir.display());
        return Ok(Outcome::Done);
    }
    for difference in &differences {
        println!("{difference}");
    }
    Err(Failure {
        kind: FailureKind::Work,
        error: anyhow!("{} figures differ from the raw data", differences.len()),
    })
}

/// This command line as a person would type it.
fn command_line() -> String {
    std::iter::once("forestall".to_owned())
        .chain(std::env::args().skip(1))
        .collect::<Vec<_>>()
        .join(" ")
}

//! A whole experiment: calibration where there is none yet, all runs, results and report.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use measure::statistics::Values;
use record::results::{Environment, Experiment, ExperimentRun, Hosts, Results, Setting};
use record::{Profile, SCHEMA};
use scenario::{Chain, Inventory, LabScenario, PolicyName, Role, Video};

use crate::calibrate::calibrate;
use crate::check::{self, Accelerator, Offer};
use crate::engine::EngineName;
use crate::error::{LabError, file};
use crate::ffplay;
use crate::placement::wiring::LinkEmulation;
use crate::progress::Progress;
use crate::remote::Member;
use crate::run::{self, Plan};
use crate::world::World;

/// A run on a machine with more foreign load than this is made again, at most [`SPOILT_TRIES`] times.
pub(crate) const FOREIGN_LOAD_MAX: f64 = 0.15;
pub(crate) const SPOILT_TRIES: u32 = 2;
const EXPERIMENT: &str = "experiment.json";

/// Where an experiment runs.
#[derive(Clone, Copy, Debug)]
pub enum Machines<'a> {
    /// On this machine, which offers this.
    This(&'a Offer),
    /// On those of an inventory, with whose addresses the scenario is.
    Of(&'a Inventory),
}

impl Machines<'_> {
    /// An error that lists what this machine lacks where it is the one.
    fn require(self, engine: EngineName) -> Result<(), LabError> {
        match self {
            Self::This(offer) => offer.require(engine).map(drop),
            Self::Of(_) => Ok(()),
        }
    }

    fn stand<'a>(
        self,
        scenario: &'a LabScenario,
        engine: EngineName,
        interrupted: &'a AtomicBool,
    ) -> Result<World<'a>, LabError> {
        match self {
            Self::This(offer) => {
                let accelerator = offer.require(engine)?;
                World::build(scenario, engine, accelerator, interrupted)
            }
            Self::Of(inventory) => World::build_on(scenario, inventory, interrupted),
        }
    }
}

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What runs and moves the virtual machine.
    pub engine: EngineName,
    /// Names of the load profiles to run.
    pub profiles: Vec<String>,
    /// Seed of the first repeat.
    pub seed: u64,
    /// How often each is run.
    pub repeat: u32,
    /// Where results go.
    pub out: PathBuf,
    /// Go on with what is there already.
    pub resume: bool,
    /// The calibration's file.
    pub profile: PathBuf,
    /// The command line, for the report.
    pub command: String,
}

/// What came out.
#[derive(Debug)]
pub struct Finished {
    /// `results.json`.
    pub results: Results,
    /// `report.html`.
    pub report: PathBuf,
}

/// Calibrates, where there is no profile yet, and runs everything.
///
/// # Errors
/// When something fails; what was complete by then stays, and `resume` goes on from there.
pub fn run(
    scenario: &LabScenario,
    request: &Request,
    machines: Machines<'_>,
    interrupted: &AtomicBool,
) -> Result<Finished, LabError> {
    machines.require(request.engine)?;
    let mut progress = Progress::default();
    let mut experiment = begin(request)?;
    progress.stage("setting up");
    let world = machines.stand(scenario, request.engine, interrupted)?;
    if let Some(begun) = &experiment {
        require_same_machine(request, &begun.setting.machine, &world)?;
    }
    let measured = profile_for(&world, request, &mut progress)?;
    let setting = setting(&world, request, machines, &measured);
    let started_at = experiment
        .as_ref()
        .map(|experiment| experiment.setting.started_at.clone());
    let runs = experiment
        .take()
        .map_or_else(Vec::new, |experiment| experiment.runs);
    let setting = Setting {
        started_at: started_at.unwrap_or_else(|| setting.started_at.clone()),
        ..setting
    };
    let mut experiment = Experiment {
        schema: SCHEMA,
        setting,
        runs,
    };
    let todo = todo(scenario, request);
    for (number, (planned, policy)) in todo.iter().enumerate() {
        if experiment
            .runs
            .iter()
            .any(|done| done.folder == planned.folder)
        {
            continue;
        }
        progress.stage(format!(
            "run {} of {}: {}",
            number + 1,
            todo.len(),
            planned.folder
        ));
        run_one(
            &world,
            (planned, *policy),
            &measured,
            request,
            &mut progress,
        )?;
        experiment.runs.push(planned.clone());
        if let Some(share) = world.engine.control_plane_share()? {
            let words = format!(
                "uses {:.1} % of a core beside the edge servers",
                share * 100.0
            );
            let more = &mut experiment.setting.environment.more;
            more.insert("control_plane".to_owned(), serde_json::json!(words));
        }
        write_experiment(&request.out, &experiment)?;
    }
    drop(world);
    progress.stage("computing figures");
    let failed = |error: measure::MeasureError| LabError::Measure(error.to_string());
    let measured = measure::write_all(&request.out).map_err(failed)?;
    let report = measure::write_report(&request.out, &measured).map_err(failed)?;
    let table = request.out.join("table.md");
    let text = measure::markdown_table(&measured.results);
    fs::write(&table, text).map_err(file(&table))?;
    Ok(Finished {
        results: measured.results,
        report,
    })
}

/// Measures this machine and writes the profile.
///
/// # Errors
/// When something fails.
pub fn calibrate_only(
    scenario: &LabScenario,
    engine: EngineName,
    profile: &Path,
    machines: Machines<'_>,
    interrupted: &AtomicBool,
) -> Result<Profile, LabError> {
    machines.require(engine)?;
    let mut progress = Progress::default();
    progress.stage("setting up");
    let world = machines.stand(scenario, engine, interrupted)?;
    measure_profile(&world, profile, &mut progress)
}

/// Makes the folder; with `resume` reads what is there.
fn begin(request: &Request) -> Result<Option<Experiment>, LabError> {
    let path = request.out.join(EXPERIMENT);
    if path.exists() {
        if !request.resume {
            return Err(LabError::OutExists(request.out.clone()));
        }
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        let found: Experiment = serde_json::from_str(&text)
            .map_err(|error| LabError::Measure(format!("{}: {error}", path.display())))?;
        let engine = found.setting.engine.as_deref();
        let engine = engine.unwrap_or(EngineName::Qemu.as_str());
        if engine != request.engine.as_str() {
            return Err(LabError::OtherEngine {
                path: request.out.clone(),
                found: engine.to_owned(),
                wanted: request.engine.to_string(),
            });
        }
        return Ok(Some(found));
    }
    fs::create_dir_all(request.out.join("runs")).map_err(file(&request.out))?;
    Ok(None)
}

/// Runs of two machines are no experiment.
fn require_same_machine(
    request: &Request,
    begun_on: &str,
    world: &World<'_>,
) -> Result<(), LabError> {
    let here = machine_of(world);
    // Experiments of the first versions do not say.
    if begun_on == here || begun_on.is_empty() {
        return Ok(());
    }
    Err(LabError::OtherMachine {
        path: request.out.clone(),
        found: begun_on.to_owned(),
        wanted: here,
    })
}

fn profile_for(
    world: &World<'_>,
    request: &Request,
    progress: &mut Progress,
) -> Result<Profile, LabError> {
    let profile = if request.profile.exists() {
        Profile::read(&request.profile)?
    } else {
        progress.note("No profile of this machine yet: measuring its knee and the time of a move (about a minute).");
        measure_profile(world, &request.profile, progress)?
    };
    let service = world.engine.name().service(world.scenario);
    let wanted = (service, machine_of(world));
    if (profile.service.clone(), profile.machine.clone()) != wanted {
        return Err(LabError::OtherProfile {
            path: request.profile.clone(),
            found: format!("{}; {}", profile.service, profile.machine),
            wanted: format!("{}; {}", wanted.0, wanted.1),
        });
    }
    Ok(profile)
}

fn measure_profile(
    world: &World<'_>,
    path: &Path,
    progress: &mut Progress,
) -> Result<Profile, LabError> {
    let folder = world.state().join("calibration");
    fs::create_dir_all(&folder).map_err(file(&folder))?;
    let mut profile = calibrate(world, &folder, &machine_of(world), progress)?;
    if let Some(before) = before(path, &profile.machine, progress) {
        profile.migration.law = before.migration.law;
        profile.migration.slowdown = before.migration.slowdown;
        profile.knee.rises = before.knee.rises;
    }
    fs::write(path, profile.to_toml()).map_err(file(path))?;
    Ok(profile)
}

/// What was a profile of the same machine: `forestall report --profile` put laws there, and what they were fitted to takes hours.
fn before(path: &Path, machine: &str, progress: &mut Progress) -> Option<Profile> {
    match path.exists().then(|| Profile::read(path))? {
        Ok(before) => (before.machine == machine).then_some(before),
        Err(error) => {
            progress.note(&format!("{error}. It is replaced."));
            None
        }
    }
}

/// Every run that was asked for, repeat by repeat, so that an early end leaves whole comparisons.
fn todo(scenario: &LabScenario, request: &Request) -> Vec<(ExperimentRun, PolicyName)> {
    let mut todo = Vec::new();
    for repeat in 1..=request.repeat {
        for profile in &request.profiles {
            for policy in &scenario.policies {
                let name = policy.as_str();
                let run = ExperimentRun {
                    folder: format!("{profile}-{name}-{repeat}"),
                    name: name.into(),
                    repeat,
                    seed: request.seed + u64::from(repeat) - 1,
                    profile: profile.clone(),
                    budget_ms: scenario.budget_ms,
                };
                todo.push((run, *policy));
            }
        }
    }
    todo
}

fn run_one(
    world: &World<'_>,
    (planned, policy): (&ExperimentRun, PolicyName),
    measured: &Profile,
    request: &Request,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let load = world.scenario.profiles.get(&planned.profile);
    let load = load.ok_or_else(|| LabError::Missing(format!("profile {}", planned.profile)))?;
    let folder = request.out.join("runs").join(&planned.folder);
    for number in 1..=SPOILT_TRIES {
        // What a run that was interrupted has left is worth nothing.
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(file(&folder))?;
        }
        fs::create_dir_all(&folder).map_err(file(&folder))?;
        let plan = Plan {
            policy,
            profile_name: &planned.profile,
            load,
            seed: planned.seed,
            measured,
            folder: folder.clone(),
        };
        run::run(world, &plan, progress)?;
        let foreign = foreign_load(&folder)?;
        if foreign <= FOREIGN_LOAD_MAX {
            break;
        }
        let again = if number < SPOILT_TRIES {
            "it is made again"
        } else {
            "it is kept and marked as spoilt"
        };
        progress.note(&format!(
            "{}: {:.0} % of the machine was used by others: {again}",
            planned.folder,
            foreign * 100.0
        ));
    }
    Ok(())
}

pub(crate) fn foreign_load(folder: &Path) -> Result<f64, LabError> {
    let rows: Vec<record::raw::LoadRow> = record::file::read_csv(&folder.join("load.csv"))
        .map_err(|error| LabError::Measure(error.to_string()))?;
    let foreign: Values = rows
        .iter()
        .filter(|row| row.host == crate::monitor::MACHINE)
        .filter_map(|row| row.actual)
        .collect();
    foreign.mean().ok_or_else(|| {
        LabError::Measure(format!(
            "nobody looked at the machine while {} was measured: it is not known whether others disturbed it",
            folder.display()
        ))
    })
}

/// Name for the folder of an experiment that begins now.
#[must_use]
pub fn folder_name() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d_%H-%M-%S").to_string()
}

fn write_experiment(out: &Path, experiment: &Experiment) -> Result<(), LabError> {
    let (path, new) = (out.join(EXPERIMENT), out.join("experiment.json.new"));
    let text = serde_json::to_string_pretty(experiment)
        .map_err(|error| LabError::Measure(error.to_string()))?;
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(file(&path))
}

/// Processor, cores and accelerator.
pub(crate) fn machine(accelerator: Accelerator) -> String {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{} with {cpus} cores, {accelerator}", check::processor())
}

/// The same of a world: of all its machines, where they are several.
fn machine_of(world: &World<'_>) -> String {
    let members: Vec<String> = world.members().iter().map(Member::in_words).collect();
    if members.is_empty() {
        machine(world.engine.accelerator())
    } else {
        members.join("; ")
    }
}

/// The machines of an inventory: those of the one where the function begins, since guests run on others of its kind alone.
fn environment_of(world: &World<'_>) -> Environment {
    let first = &world.scenario.function.host;
    let mut members = world.members().iter();
    let source = members.find(|one| one.hosts().contains(first));
    let offer = source.map(|member| &member.offer);
    let mut more = std::collections::BTreeMap::new();
    more.insert(
        "cgroup_version".to_owned(),
        serde_json::json!(offer.and_then(|offer| offer.cgroup_version)),
    );
    more.insert(
        "accelerator_note".to_owned(),
        serde_json::json!(source.map(Member::accelerator_note)),
    );
    Environment {
        accelerator: world.engine.accelerator().to_string(),
        link_emulation: LinkEmulation::None.as_str().into(),
        cpus: offer.map_or(0, |offer| offer.cores.len() as u32),
        kernel: offer.and_then(|offer| offer.kernel.clone()),
        qemu: offer.and_then(|offer| offer.qemu.clone()),
        ffmpeg: None,
        more,
    }
}

/// The machine and its programs.
pub(crate) fn environment(
    offer: &Offer,
    accelerator: Accelerator,
    links: LinkEmulation,
) -> Environment {
    Environment {
        accelerator: accelerator.to_string(),
        link_emulation: links.as_str().into(),
        cpus: offer.cpus as u32,
        kernel: check::version("uname", "-r"),
        qemu: check::version("qemu-system-x86_64", "--version"),
        ffmpeg: check::version("ffmpeg", "-version"),
        more: std::collections::BTreeMap::new(),
    }
}

/// Which programs carry and show the video.
fn chain_in_words(video: &Video) -> String {
    let chain = match video.chain {
        Chain::Forestall => "forestall capture, overlay (in the virtual machine), play",
        Chain::Ffmpeg => {
            "ffmpeg processes with all that is known to lower their delay; Forestall draws and reads the clock"
        }
        Chain::FfmpegPlain => {
            "ffmpeg processes, plain, as in the thesis; Forestall draws and reads the clock"
        }
    };
    match ffplay::in_words(video.viewer) {
        Some(viewer) => format!("{}; {viewer}", chain.replace(", play", "")),
        None => chain.to_owned(),
    }
}

fn setting(
    world: &World<'_>,
    request: &Request,
    machines: Machines<'_>,
    measured: &Profile,
) -> Setting {
    let scenario = world.scenario;
    let video = &scenario.video;
    let host = |role| {
        scenario
            .hosts_of(role)
            .next()
            .map_or_else(String::new, |(name, _)| name.to_string())
    };
    let source = scenario.function.host.to_string();
    let target = scenario
        .hosts_of(Role::Edge)
        .map(|(name, _)| name.to_string())
        .find(|name| *name != source);
    let mut environment = match machines {
        Machines::This(offer) => {
            let accelerator = world.engine.accelerator();
            let mut environment = environment(offer, accelerator, LinkEmulation::None);
            let version = serde_json::json!(offer.cgroup_version);
            let note = serde_json::json!(offer.accelerator_note);
            environment
                .more
                .insert("cgroup_version".to_owned(), version);
            environment.more.insert("accelerator_note".to_owned(), note);
            environment
        }
        Machines::Of(_) => environment_of(world),
    };
    let more = &mut environment.more;
    let cores = serde_json::json!(world.cores_text());
    more.insert("cores".to_owned(), cores);
    if request.engine != EngineName::Qemu {
        let version = check::version("libvirtd", "--version");
        more.insert("libvirt".to_owned(), serde_json::json!(version));
    }
    if request.engine == EngineName::Nova {
        let version = check::version("nova-compute", "--version");
        more.insert("nova".to_owned(), serde_json::json!(version));
    }
    Setting {
        title: scenario.title.clone(),
        scenario: scenario.name.clone(),
        started_at: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        command: request.command.clone(),
        seed: request.seed,
        environment,
        machine: machine_of(world),
        engine: Some(request.engine.to_string()),
        chain: chain_in_words(video),
        video: format!(
            "{}x{} at {} fps, MPEG-2 at {} kbit/s, an I-frame every {} frames, MPEG-TS over UDP",
            video.width, video.height, video.fps, video.bitrate_kbps, video.gop
        ),
        competition: format!(
            "one core each; CPU weight of background load to virtual machine {} to 1; the load uses its share of every {} ms in one piece",
            scenario.competition.load_weight, scenario.competition.burst_ms
        ),
        hosts: Hosts {
            camera: host(Role::Robot),
            viewer: host(Role::User),
            source,
            target: target.unwrap_or_default(),
        },
        knee: Some(measured.knee.utilization.share()),
        migration_p95_s: Some(measured.migration.p95_ms / 1e3),
        threshold: Some(scenario.threshold.start_at.share()),
        limits: record::results::Limits {
            foreign_load: FOREIGN_LOAD_MAX,
        },
    }
}

//! A campaign for real: cell after cell, each into a folder of its own; what is complete is not measured again.
//!
//! [`load`] and [`migration`] measure a cell each, [`paths`] has migrations over paths; placements are measured by [`crate::placement`].

pub mod breakdown;
pub mod load;
pub mod migration;
pub mod paths;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use breakdown::Way;
use link::{Distribution, Jitter, Shape};
use load::Processor;
use record::SCHEMA;
use record::campaign::{Cell, FILE_NAME, Part, Subject};
use scenario::campaign::{JitterSweep, LoadSweep};
use scenario::{Campaign, LabScenario, Placement, Scenario};

use crate::check::{self, Accelerator, Offer};
use crate::engine::EngineName;
use crate::error::{LabError, file};
use crate::experiment::{FOREIGN_LOAD_MAX, SPOILT_TRIES, environment, foreign_load, machine};
use crate::ffplay;
use crate::placement::wiring::LinkEmulation;
use crate::placement::{How, vpn};
use crate::progress::Progress;
use crate::world::World;

/// The thesis' figures are of QEMU itself.
const ENGINE: EngineName = EngineName::Qemu;

/// From screenshot to screenshot at most.
const SHOT_TAKES: Duration = Duration::from_secs(2);
/// Tesseract has read all of them within this.
const SHOTS_READ_WITHIN: Duration = Duration::from_secs(300);

/// Files of a cell that are packed once it is complete.
const LARGE: [&str; 6] = [
    "frames.csv",
    "packets.csv",
    "sent.csv",
    "load.csv",
    "passages.csv",
    "player.csv",
];

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The parts to measure.
    pub parts: Vec<Part>,
    /// Where the cells go.
    pub out: PathBuf,
    /// Go on with what is there already.
    pub resume: bool,
    /// The command line, for the report.
    pub command: String,
}

/// What all cells need.
struct Bench<'a> {
    campaign: &'a Campaign,
    out: &'a Path,
    command: &'a str,
    offer: &'a Offer,
    accelerator: Accelerator,
    interrupted: &'a AtomicBool,
    progress: Progress,
    /// Cells still to be measured, at the beginning.
    todo: usize,
    done: usize,
    begun: Instant,
}

/// What a measurement tells beside its files.
struct Seen {
    links: LinkEmulation,
    processor: Processor,
}

impl Seen {
    /// Of what is no level of load.
    fn over(links: LinkEmulation) -> Self {
        Self {
            links,
            processor: Processor::default(),
        }
    }
}

/// Measures every cell that is not there yet.
///
/// # Errors
/// When something is missing or fails; what was complete by then stays, and `resume` goes on from there.
pub fn run(
    campaign: &Campaign,
    request: &Request,
    offer: &Offer,
    interrupted: &AtomicBool,
) -> Result<(), LabError> {
    let accelerator = offer.require(ENGINE)?;
    if request.out.exists() && !request.resume {
        return Err(LabError::OutExists(request.out.clone()));
    }
    fs::create_dir_all(&request.out).map_err(file(&request.out))?;
    let mut todo = Vec::new();
    for part in &request.parts {
        for cell in campaign.cells(*part).map_err(wrong)? {
            if !is_complete(&request.out, &cell)? {
                todo.push(cell);
            }
        }
    }
    let mut bench = Bench {
        campaign,
        out: &request.out,
        command: &request.command,
        offer,
        accelerator,
        interrupted,
        progress: Progress::default(),
        todo: todo.len(),
        done: 0,
        begun: Instant::now(),
    };
    // What is missing is said now, not in some hours.
    for subject in &todo {
        bench.check(subject)?;
    }
    // Cells that share an environment follow each other.
    for group in todo.chunk_by(shares_world) {
        match group.first() {
            Some(Subject::Placement { .. } | Subject::Jitter { .. }) => {
                for subject in group {
                    bench.placement(subject)?;
                }
            }
            Some(Subject::Screenshots { .. }) => {
                for subject in group {
                    bench.screenshots(subject)?;
                }
            }
            Some(Subject::Load { sweep, .. }) => bench.loads(sweep, group)?,
            Some(Subject::Breakdown {
                way, chain, viewer, ..
            }) => {
                let viewer = viewer.as_deref();
                bench.breakdown(&Way { way, chain, viewer }, group)?;
            }
            Some(Subject::Starts { .. }) => {
                for subject in group {
                    bench.starts(subject)?;
                }
            }
            Some(Subject::Migration { .. }) => bench.migrations(group)?,
            Some(Subject::Paths(_)) => bench.paths(group)?,
            None => {}
        }
    }
    Ok(())
}

fn shares_world(a: &Subject, b: &Subject) -> bool {
    match (a, b) {
        (Subject::Load { sweep: one, .. }, Subject::Load { sweep: other, .. }) => one == other,
        (
            Subject::Breakdown {
                way, chain, viewer, ..
            },
            Subject::Breakdown {
                way: other_way,
                chain: other_chain,
                viewer: other_viewer,
                ..
            },
        ) => (way, chain, viewer) == (other_way, other_chain, other_viewer),
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn sweep_of<'c>(campaign: &'c Campaign, name: &str) -> Result<&'c LoadSweep, LabError> {
    let mut all = campaign.load.iter().flat_map(|own| &own.sweeps);
    let found = all.find(|sweep| sweep.name == name);
    found.ok_or_else(|| LabError::Missing(format!("the sweep {name}")))
}

/// Whether a cell is there and of use; one that foreign load has spoilt is not.
fn is_complete(out: &Path, cell: &Subject) -> Result<bool, LabError> {
    let path = out.join(cell.folder()).join(FILE_NAME);
    if !path.exists() {
        return Ok(false);
    }
    let found: Cell =
        record::file::read_json(&path).map_err(|error| LabError::Measure(error.to_string()))?;
    if found.subject != *cell {
        return Err(LabError::Measure(format!(
            "{} was measured with other settings than the campaign has now: move its folder away to have it measured again, or use another --out",
            path.display()
        )));
    }
    Ok(!found.spoilt)
}

fn wrong(error: scenario::ScenarioError) -> LabError {
    LabError::Measure(error.to_string())
}

impl<'b> Bench<'b> {
    /// The environment that the cells of a group share.
    fn world<'w>(&mut self, scenario: &'w LabScenario, group: &str) -> Result<World<'w>, LabError>
    where
        'b: 'w,
    {
        self.progress.stage(format!("{group}: setting up"));
        World::build(scenario, ENGINE, self.accelerator, self.interrupted)
    }
}

impl Bench<'_> {
    /// Everything that a cell names is there.
    fn check(&self, subject: &Subject) -> Result<(), LabError> {
        match (subject, &self.campaign.jitter, &self.campaign.migration) {
            (Subject::Placement { placement, .. }, ..) => match self.named(placement)? {
                placed if placed.vpn => vpn::require(),
                _ => Ok(()),
            },
            (Subject::Jitter { sd_ms, chain, .. }, Some(own), _) => {
                self.with_jitter(own, *sd_ms, chain.as_deref()).map(drop)
            }
            (Subject::Screenshots { .. }, ..) => {
                let (placement, _) = self.on_screen(subject)?;
                ffplay::require(placement.video.viewer)?;
                check::require(&[("tesseract", "tesseract-ocr")])
            }
            (Subject::Load { sweep, .. }, ..) => sweep_of(self.campaign, sweep)
                .and_then(|sweep| self.of_sweep(sweep))
                .map(drop),
            (
                Subject::Breakdown {
                    way,
                    chain,
                    viewer,
                    level,
                },
                ..,
            ) => {
                let viewer = viewer.as_deref();
                self.check_breakdown(&Way { way, chain, viewer }, *level)
            }
            (Subject::Starts { way, chain }, ..) => self.check_starts(way, chain),
            (Subject::Migration { .. }, _, Some(own)) => self.scenario(&own.scenario).map(drop),
            (Subject::Paths(_), ..) => match &self.campaign.paths {
                Some(own) => self.scenario(&own.scenario).map(drop),
                None => Err(LabError::Missing("the part paths".into())),
            },
            _ => Err(LabError::Missing(format!("the part {}", subject.part()))),
        }
    }

    fn placement(&mut self, subject: &Subject) -> Result<(), LabError> {
        let (placement, duration_s, pings) = match (subject, &self.campaign.jitter) {
            (Subject::Jitter { sd_ms, chain, .. }, Some(sweep)) => {
                let placement = self.with_jitter(sweep, *sd_ms, chain.as_deref())?;
                (placement, *sweep.duration_s.get_ref(), 1)
            }
            (Subject::Placement { placement, .. }, _) => {
                let own = self.campaign.placement.as_ref();
                let own = own.ok_or_else(|| LabError::Missing("the part placement".into()))?;
                (self.named(placement)?, *own.duration_s.get_ref(), own.pings)
            }
            _ => return Err(LabError::Missing(format!("the part {}", subject.part()))),
        };
        let how = How {
            duration: Duration::from_secs_f64(duration_s),
            pings,
            taps: &[],
            shots: None,
            starts: None,
        };
        self.placed(subject, &placement, how)
    }

    fn placed(
        &mut self,
        subject: &Subject,
        placement: &Placement,
        how: How<'_>,
    ) -> Result<(), LabError> {
        self.cell(subject, |bench, folder| {
            let links = crate::placement::measure(
                placement,
                how,
                bench.offer,
                folder,
                bench.interrupted,
                &mut bench.progress,
            )?;
            Ok(Seen::over(links))
        })
    }

    fn named(&self, name: &str) -> Result<Placement, LabError> {
        let own = self.campaign.placement.as_ref();
        let own = own.ok_or_else(|| LabError::Missing("the part placement".into()))?;
        let all = own.read(&self.campaign.folder).map_err(wrong)?;
        let found = all.into_iter().find(|placement| placement.name == name);
        found.ok_or_else(|| LabError::Missing(format!("a placement {name}")))
    }

    /// The placement of the sweep, with jitter on the way from its host to the viewer.
    fn with_jitter(
        &self,
        sweep: &JitterSweep,
        sd_ms: f64,
        chain: Option<&str>,
    ) -> Result<Placement, LabError> {
        let folder = self.campaign.folder.join(&sweep.folder);
        let mut placement = Placement::read(&folder).map_err(wrong)?;
        if let Some(chain) = chain {
            let mut all = sweep.chains.iter();
            let found = all.find(|own| own.as_str() == chain);
            let found = found.ok_or_else(|| LabError::Missing(format!("a chain {chain}")))?;
            placement.video.chain = *found;
        }
        let name = sweep.host.get_ref();
        let host = placement.hosts.get_mut(name);
        let host =
            host.ok_or_else(|| LabError::Missing(format!("host {name} of {}", folder.display())))?;
        host.link.up = Shape {
            delay_ms: *sweep.delay_ms.get_ref(),
            jitter: (sd_ms > 0.0).then_some(Jitter {
                sd_ms,
                distribution: Distribution::Pareto,
                memory_ms: *sweep.memory_ms.get_ref(),
            }),
            ..Shape::default()
        };
        let shape = host.link.up.check();
        shape.map_err(|error| LabError::Measure(format!("campaign.toml, jitter: {error}")))?;
        Ok(placement)
    }

    /// The placement that is shown on a screen, and how many shots are taken of it.
    fn on_screen(&self, subject: &Subject) -> Result<(Placement, u32), LabError> {
        let (Subject::Screenshots { placement, viewer }, Some(own)) =
            (subject, &self.campaign.screenshots)
        else {
            return Err(LabError::Missing("the part screenshots".into()));
        };
        let mut all = own.viewers.iter();
        let viewer = all.find(|own| own.as_str() == viewer);
        for folder in &own.placements {
            let mut found = Placement::read(&self.campaign.folder.join(folder)).map_err(wrong)?;
            if let (true, Some(viewer)) = (found.name == *placement, viewer) {
                found.video.viewer = *viewer;
                found.video.width = own.width;
                found.video.height = own.height;
                found.video.bitrate_kbps = own.bitrate_kbps;
                found.vpn = false;
                return Ok((found, *own.shots.get_ref()));
            }
        }
        Err(LabError::Missing(format!("the placement {placement}")))
    }

    fn screenshots(&mut self, subject: &Subject) -> Result<(), LabError> {
        let (placement, shots) = self.on_screen(subject)?;
        let how = How {
            // Each takes 1.01 s, then Tesseract reads them all.
            duration: SHOT_TAKES * shots + SHOTS_READ_WITHIN,
            pings: 1,
            taps: &[],
            shots: Some(shots),
            starts: None,
        };
        self.placed(subject, &placement, how)
    }

    fn loads(&mut self, name: &str, cells: &[Subject]) -> Result<(), LabError> {
        let campaign = self.campaign;
        let own = campaign.load.as_ref();
        let own = own.ok_or_else(|| LabError::Missing("the part load".into()))?;
        let sweep = sweep_of(self.campaign, name)?;
        let scenario = self.of_sweep(sweep)?;
        let world = self.world(&scenario, &format!("load {name}"))?;
        let (settle, duration) = (
            Duration::from_secs_f64(*own.settle_s.get_ref()),
            Duration::from_secs_f64(*own.duration_s.get_ref()),
        );
        for subject in cells {
            let Subject::Load { level, .. } = subject else {
                continue;
            };
            let plan = load::Plan {
                level: *level,
                method: sweep
                    .method
                    .as_ref()
                    .map(|method| method.get_ref().as_str()),
                settle,
                duration,
                taps: &[],
            };
            self.cell(subject, |bench, folder| {
                Ok(Seen {
                    links: LinkEmulation::None,
                    processor: load::measure(&world, &plan, folder, &mut bench.progress)?,
                })
            })?;
        }
        Ok(())
    }

    fn of_sweep(&self, sweep: &LoadSweep) -> Result<LabScenario, LabError> {
        let mut scenario = self.scenario(&sweep.scenario)?;
        if let Some(weight) = &sweep.weight {
            scenario.competition.load_weight = *weight.get_ref();
        }
        if let Some(chain) = sweep.chain {
            scenario.video.chain = chain;
        }
        Ok(scenario)
    }

    fn scenario(&self, folder: &Path) -> Result<LabScenario, LabError> {
        let scenario = Scenario::read(&self.campaign.folder.join(folder)).map_err(wrong)?;
        LabScenario::new(scenario).map_err(|error| LabError::Measure(error.to_string()))
    }

    fn migrations(&mut self, cells: &[Subject]) -> Result<(), LabError> {
        let own = self.campaign.migration.as_ref();
        let own = own.ok_or_else(|| LabError::Missing("the part migration".into()))?;
        let scenario = self.scenario(&own.scenario)?;
        let world = self.world(&scenario, "migration")?;
        for subject in cells {
            let Subject::Migration { source, target } = subject else {
                continue;
            };
            let plan = migration::Plan {
                source: *source,
                target: *target,
                moves: *own.moves.get_ref(),
                settle: Duration::from_secs_f64(*own.settle_s.get_ref()),
                post_copy_after_s: None,
                timeout: None,
            };
            self.cell(subject, |bench, folder| {
                migration::measure(&world, &plan, folder, &mut bench.progress)?;
                Ok(Seen::over(LinkEmulation::None))
            })?;
        }
        Ok(())
    }

    fn paths(&mut self, cells: &[Subject]) -> Result<(), LabError> {
        let campaign = self.campaign;
        let own = campaign.paths.as_ref();
        let own = own.ok_or_else(|| LabError::Missing("the part paths".into()))?;
        let scenario = self.scenario(&own.scenario)?;
        for subject in cells {
            let Subject::Paths(point) = subject else {
                continue;
            };
            self.cell(subject, |bench, folder| {
                let links = paths::measure(
                    (&scenario, own, point),
                    (bench.offer, bench.accelerator),
                    folder,
                    bench.interrupted,
                    &mut bench.progress,
                )?;
                Ok(Seen::over(links))
            })?;
        }
        Ok(())
    }

    /// Measures a cell into a new folder, again when others used too much of the machine, and says at the end that it is complete.
    fn cell(
        &mut self,
        subject: &Subject,
        measure: impl Fn(&mut Self, &Path) -> Result<Seen, LabError>,
    ) -> Result<(), LabError> {
        let folder = self.out.join(subject.folder());
        let name = subject.folder().display().to_string();
        let mut tries = 0;
        loop {
            tries += 1;
            self.stage(&name);
            // What was broken off is worth nothing.
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(file(&folder))?;
            }
            fs::create_dir_all(&folder).map_err(file(&folder))?;
            let Seen { links, processor } = measure(self, &folder)?;
            let foreign = foreign_load(&folder)?;
            let spoilt = foreign > FOREIGN_LOAD_MAX;
            if spoilt && tries < SPOILT_TRIES {
                let percent = foreign * 100.0;
                self.progress.note(&format!(
                    "{name}: {percent:.0} % of the machine was used by others: it is made again"
                ));
                continue;
            }
            let cell = Cell {
                schema: SCHEMA,
                subject: subject.clone(),
                measured_at: jiff::Timestamp::now()
                    .strftime("%Y-%m-%dT%H:%M:%SZ")
                    .to_string(),
                command: Some(self.command.to_owned()),
                machine: machine(self.accelerator),
                environment: environment(self.offer, self.accelerator, links),
                foreign_load: Some(foreign),
                spoilt,
                tries,
                cpu_mhz: processor.mhz,
                ipc: processor
                    .ipc
                    .as_ref()
                    .and_then(|ipc| ipc.as_ref().ok().copied()),
                ipc_unknown: processor.ipc.and_then(Result::err),
            };
            for name in LARGE {
                let path = folder.join(name);
                if path.exists() {
                    let packed = record::file::pack(&path);
                    packed.map_err(|error| LabError::Measure(error.to_string()))?;
                }
            }
            self.done += 1;
            return write_cell(&folder, &cell);
        }
    }

    fn stage(&mut self, name: &str) {
        let left = if self.done == 0 {
            String::new()
        } else {
            let each = self.begun.elapsed().as_secs_f64() / self.done as f64;
            let minutes = each * (self.todo - self.done) as f64 / 60.0;
            format!(", about {minutes:.0} min to go")
        };
        let (number, todo) = (self.done + 1, self.todo);
        self.progress
            .stage(format!("{number} of {todo}: {name}{left}"));
    }
}

fn write_cell(folder: &Path, cell: &Cell) -> Result<(), LabError> {
    let (path, new) = (folder.join(FILE_NAME), folder.join("cell.json.new"));
    let text =
        serde_json::to_string_pretty(cell).map_err(|error| LabError::Measure(error.to_string()))?;
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(file(&path))
}

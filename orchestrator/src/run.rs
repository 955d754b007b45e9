//! The loop: one turn takes what has come in, lets the controller decide, writes all of it down, and only then has it done.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use control::{Controller, Freshness, Input, View};
use drivers::{Driver, Libvirt, Nova, Qemu};
use record::decision::MigrationId;
use record::report::Report;
use record::{Decision, Event, HostName, Residency, Timestamp, VmName};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::alarm::{AlarmKind, Alarms};
use crate::api::{self, Access};
use crate::clock;
use crate::config::{Config, Engine};
use crate::counts::Counts;
use crate::discover::{self, Discovery, discover};
use crate::error::OrchestratorError;
use crate::explain;
use crate::journal::{Journal, JournalError, Learned, Turn};
use crate::knees::{KneeStatuses, Knees, Lesson};
use crate::learn::Learner;
use crate::log::{self, About, say};
use crate::mover::{Mover, News};
use crate::processors::Processors;
use crate::progress::CopyProgress;
use crate::recording::Recording;
use crate::reports::{NotTaken, Reports, Views};
use crate::snmp::Totals;
use crate::sources::Sources;
use crate::survey::{self, Sightings, Survey};
use crate::usage::Usage;

/// News that wait for the loop; a sender waits when there are more.
pub(crate) const NEWS_WAITING_MAX: usize = 1024;
/// Samples that are taken in one turn.
const SAMPLES_A_TURN_MAX: usize = 256;
/// Requests of persons that wait for the loop.
const REQUESTS_WAITING_MAX: usize = 64;
/// Told to end, the loop lets an open move reach its verdict for at most this long.
const END_WITHIN: Duration = Duration::from_secs(30);

/// What others ask of the loop.
#[derive(Debug)]
pub(crate) enum Request {
    /// What there is to see.
    Site(oneshot::Sender<Site>),
    /// Something that a person wants; what was decided then.
    Tell(Input, oneshot::Sender<Vec<Decision>>),
    /// What a viewer saw; whether it is kept.
    Report(Report, oneshot::Sender<Result<(), NotTaken>>),
}

/// What there is to see of an orchestrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// When it began.
    pub begun_at_us: Timestamp,
    /// What the controller knows.
    #[serde(flatten)]
    pub view: View,
    /// How far copying is of open moves whose engine says it.
    #[serde(default)]
    pub progress: BTreeMap<MigrationId, CopyProgress>,
    /// Hosts by the site where they are.
    pub sites: BTreeMap<String, BTreeSet<HostName>>,
    /// What was last seen of each function where it is taken to be.
    pub sightings: Sightings,
    /// What viewers see of each function, where they say it.
    pub views: Views,
    /// What viewers have taught of the knees of hosts.
    pub knees: KneeStatuses,
    /// By how many seconds the system's clock is ahead of the orchestrator's, by which all times are; `null` where nobody has set it.
    pub clock_off_s: Option<f64>,
    /// What the engine did not say when it was last asked for functions, and what else of its answer a person should know.
    pub discovery: Vec<String>,
    /// What moves of each function have taught, where any has arrived.
    pub learned: BTreeMap<VmName, Learned>,
    /// Alarms that stand, by kind.
    pub alarms: BTreeMap<AlarmKind, u64>,
    /// What was counted since it began.
    pub counts: Counts,
}

/// Watches, decides and moves until `stop` comes. A move that is open then still gets its verdict, for up to 30 s.
///
/// # Errors
/// When the settings are wrong, a secret cannot be read, another orchestrator has the journal, or it cannot be written.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), OrchestratorError> {
    log::write_as(config.log);
    match config.engine.clone() {
        Engine::Qemu(engine) => run_with(Qemu::new(engine), config, stop).await,
        Engine::Libvirt(engine) => run_with(Libvirt::new(engine), config, stop).await,
        Engine::Nova(engine) => run_with(Nova::new(engine)?, config, stop).await,
    }
}

async fn run_with<D: Driver>(
    driver: D,
    mut config: Config,
    stop: impl Future<Output = ()>,
) -> Result<(), OrchestratorError> {
    let (discovery, words) = discover(&driver, &mut config).await;
    tell(words);
    let mut sources = Sources::new(&config)?;
    let (samples_in, samples) = mpsc::channel(NEWS_WAITING_MAX);
    let mut running = Running::begin(driver, &config, discovery, samples, log).await?;
    running.orchestrator.snmp = sources.counts();
    running.orchestrator.processors = sources.processors();
    say(None, &begun(&config));
    if let Some(words) = sources.cramped() {
        say(None, &format!("snmp: {words}"));
    }
    let (stop_asking, asked_enough) = oneshot::channel::<()>();
    let asking: JoinHandle<Option<Totals>> = tokio::spawn(async move {
        // Dropping the other end tells it, too.
        sources
            .run(&samples_in, async { drop(asked_enough.await) })
            .await;
        sources.totals()
    });
    let ended = running.until(stop).await;
    drop(stop_asking);
    if let Ok(Some(totals)) = asking.await {
        say(None, &format!("snmp: {totals}"));
    }
    ended
}

/// What the log says first.
fn begun(config: &Config) -> String {
    let places = config.api.as_ref().map(|api| {
        let places: Vec<String> = api.listen.iter().map(ToString::to_string).collect();
        places.join(" and ")
    });
    format!(
        "begun: hosts {}, functions {}, trust {:?}; answers at {}",
        config.control.hosts.len(),
        config.control.functions.len(),
        config.control.trust,
        places.unwrap_or_else(|| "no place, since there is no [api]".into())
    )
}

fn tell(words: Vec<String>) {
    for words in words {
        say(None, &words);
    }
}

fn log(decision: &Decision) {
    if let Some(words) = explain::for_log(decision) {
        say(Some(About::Decision(decision)), &words);
    }
}

/// An orchestrator that has looked into its journal and answers persons, wherever its samples come from.
pub(crate) struct Running<D> {
    orchestrator: Orchestrator<D>,
    inbox: Inbox,
    api: Option<api::Serving>,
}

impl<D: Driver> Running<D> {
    pub(crate) async fn begin(
        driver: D,
        config: &Config,
        discovery: Option<Discovery>,
        samples: mpsc::Receiver<Input>,
        log: fn(&Decision),
    ) -> Result<Self, OrchestratorError> {
        let access = config.api.as_ref().map(Access::read).transpose()?;
        let journal = Journal::open(&config.journal, config.journal_size_max_bytes())?;
        let (requests_in, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
        // Before the journal has a word of this start: an address that is taken is tried again every other second, for days.
        let api = match config.api.as_ref().zip(access.as_ref()) {
            Some((api, access)) => {
                Some(api::start(api, access, &config.journal, requests_in).await?)
            }
            None => None,
        };
        let (news_in, news) = mpsc::channel(NEWS_WAITING_MAX);
        let mut orchestrator = Orchestrator::begin(driver, config, journal, news_in, log)?;
        orchestrator.discovery = discovery;
        Ok(Self {
            orchestrator,
            inbox: Inbox {
                news,
                samples,
                requests,
            },
            api,
        })
    }

    pub(crate) async fn until(
        mut self,
        stop: impl Future<Output = ()>,
    ) -> Result<(), OrchestratorError> {
        let ended = self.orchestrator.until(stop, self.inbox).await;
        drop(self.api);
        self.orchestrator.alarms.end().await;
        ended
    }
}

/// What comes in.
struct Inbox {
    news: mpsc::Receiver<News>,
    samples: mpsc::Receiver<Input>,
    requests: mpsc::Receiver<Request>,
}

struct Orchestrator<D> {
    begun_at: Timestamp,
    controller: Controller,
    journal: Journal,
    recording: Option<(PathBuf, Recording)>,
    driver: Arc<D>,
    mover: Mover<D>,
    progress: BTreeMap<MigrationId, CopyProgress>,
    learner: Learner,
    knees: Knees,
    alarms: Alarms,
    sites: BTreeMap<String, BTreeSet<HostName>>,
    sightings: Sightings,
    reports: Reports,
    survey: Survey,
    usage: Usage,
    /// Of how many processors loads are shares.
    processors: Processors,
    /// What the engine has said of functions, where it is asked.
    discovery: Option<Discovery>,
    counts: Counts,
    /// Counts of polls, where SNMP agents are asked.
    snmp: Option<watch::Receiver<Totals>>,
    news: mpsc::Sender<News>,
    /// Tells the log of a decision.
    log: fn(&Decision),
    /// It was told to end, or has to, and begins nothing new.
    ending: bool,
    /// Why it has to: nothing is begun that the journal does not know. Moves that it knows go on to their verdict all the same; where
    /// they are is looked at again after a restart.
    failed: Option<JournalError>,
}

impl<D: Driver> Orchestrator<D> {
    /// Goes on where an earlier one ended: every open move is looked at before anything else.
    fn begin(
        driver: D,
        config: &Config,
        journal: Journal,
        news: mpsc::Sender<News>,
        log: fn(&Decision),
    ) -> Result<Self, OrchestratorError> {
        let begun_at = clock::now();
        let standing = journal.standing()?;
        let mut settings = config.control.clone();
        settings.hand_over = driver.hand_over();
        settings.moves_begun = standing.moves_begun;
        if let Some(discover) = &config.discover {
            // Its engine may be silent now, or list nothing that stands still: where it is has to be looked at all the same.
            for open in standing.open.values() {
                let is_told = settings.functions.iter().any(|told| told.vm == open.vm);
                if !is_told && settings.hosts.contains(&open.source) {
                    let function = discover.untold(open.vm.clone(), open.source.clone());
                    settings.functions.push(function);
                }
            }
        }
        let controller = Controller::new(settings.clone())?;
        let recording = config.recording.as_ref().map(|folder| {
            let recording = Recording::create(folder, &settings)
                .map_err(|(path, source)| OrchestratorError::Recording { path, source })?;
            Ok::<_, OrchestratorError>((folder.clone(), recording))
        });
        let driver = Arc::new(driver);
        let mut mover = Mover::new(Arc::clone(&driver), news.clone());
        for (migration, open) in &standing.open {
            let known = controller.residence(&open.vm).is_some()
                && controller.host_id(&open.source).is_some()
                && controller.host_id(&open.target).is_some();
            if !known {
                return Err(OrchestratorError::OpenMove {
                    migration: *migration,
                    vm: open.vm.clone(),
                    source_host: open.source.clone(),
                    target: open.target.clone(),
                });
            }
            let words = format!(
                "move {migration} of {} from {} to {} was open when an earlier orchestrator ended: looking where it is",
                open.vm, open.source, open.target
            );
            say(Some(About::Migration(*migration)), &words);
            mover.resume(drivers::Plan {
                migration: *migration,
                vm: open.vm.clone(),
                source: open.source.clone(),
                target: open.target.clone(),
                mode: settings.mode,
            });
        }
        let learner = Learner::new(
            &settings.functions,
            settings.hand_over,
            standing.learned.clone(),
        );
        let taught = standing.taught.clone();
        let knees = Knees::new(begun_at, &settings, config.budget_ms, taught);
        let mut orchestrator = Self {
            begun_at,
            controller,
            journal,
            recording: recording.transpose()?,
            driver,
            mover,
            progress: BTreeMap::new(),
            sites: config.sites.clone(),
            sightings: Sightings::new(),
            reports: Reports::default(),
            survey: Survey::default(),
            usage: Usage::default(),
            processors: Processors::default(),
            discovery: None,
            counts: Counts::default(),
            snmp: None,
            news,
            log,
            ending: false,
            failed: None,
            learner,
            knees,
            alarms: Alarms::new(begun_at, config.alarms.as_ref())?,
        };
        let mut told = orchestrator.learner.inputs();
        told.extend(orchestrator.knees.inputs());
        told.extend(standing.inputs());
        orchestrator.journal.begin(begun_at, &settings)?;
        orchestrator.turn(told)?;
        Ok(orchestrator)
    }

    async fn until(
        &mut self,
        stop: impl Future<Output = ()>,
        mut inbox: Inbox,
    ) -> Result<(), OrchestratorError> {
        if self.discovery.is_some() {
            let (driver, news) = (Arc::clone(&self.driver), self.news.clone());
            tokio::spawn(discover::ask_again(driver, news));
        }
        let mut look = interval(survey::EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end_at: Option<Instant> = None;
        tokio::pin!(stop);
        loop {
            let wait = self
                .controller
                .poll_timeout()
                .map(|at| at.since(clock::now()));
            tokio::select! {
                Some(input) = inbox.samples.recv(), if end_at.is_none() => {
                    let mut inputs = vec![input];
                    while inputs.len() < SAMPLES_A_TURN_MAX && let Ok(more) = inbox.samples.try_recv() {
                        inputs.push(more);
                    }
                    self.turn(inputs)?;
                }
                Some(news) = inbox.news.recv() => self.hear(news)?,
                Some(request) = inbox.requests.recv() => self.answer(request)?,
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => drop(self.turn(vec![Input::Timeout])?),
                _ = look.tick(), if end_at.is_none() => {
                    let now = clock::now();
                    let view = self.controller.view(now);
                    self.survey.begin(&self.driver, &view, &self.news);
                    self.usage.begin(&self.driver, &view, &self.news);
                    self.alarms.hear(now, silent(&view));
                    self.alarms.clock(now, clock::off_s());
                    let kept = self.journal.views(now, &self.reports.views(now));
                    self.written(kept);
                    let thinned = self.journal.thin(now);
                    self.written(thinned);
                    let mut lessons = self.knees.expire(now);
                    lessons.extend(self.learner.heard_out(now));
                    self.learn(lessons)?;
                }
                () = &mut stop, if end_at.is_none() => self.ending = true,
                () = at(end_at), if end_at.is_some() => return self.ended(),
            }
            if self.ending {
                end_at.get_or_insert_with(|| Instant::now() + END_WITHIN);
                if !self.mover.busy() {
                    return self.ended();
                }
            }
        }
    }

    /// The journal has taken something, or this ends.
    fn written(&mut self, written: Result<(), JournalError>) {
        if let Err(error) = written {
            if self.failed.is_none() {
                let words = format!(
                    "{error}. No move begins any more; those under way go on to their verdict"
                );
                say(None, &words);
            }
            self.ending = true;
            self.failed.get_or_insert(error);
        }
    }

    fn ended(&mut self) -> Result<(), OrchestratorError> {
        self.failed.take().map_or(Ok(()), |error| Err(error.into()))
    }

    fn answer(&mut self, request: Request) -> Result<(), OrchestratorError> {
        // Who asked may have gone away: nobody is to be told then.
        match request {
            Request::Site(answer) => drop(answer.send(self.site())),
            Request::Report(report, answer) => {
                let _ = answer.send(self.heard_of(report));
            }
            Request::Tell(input, answer) => drop(answer.send(self.turn(vec![input])?)),
        }
        Ok(())
    }

    fn site(&self) -> Site {
        let now = clock::now();
        let snmp = self.snmp.as_ref().map(|counts| *counts.borrow());
        Site {
            begun_at_us: self.begun_at,
            view: self.controller.view(now),
            progress: self.progress.clone(),
            sites: self.sites.clone(),
            sightings: self.sightings.clone(),
            views: self.reports.views(now),
            knees: self.knees.statuses(),
            clock_off_s: clock::off_s(),
            discovery: self
                .discovery
                .as_ref()
                .map(Discovery::notes)
                .unwrap_or_default(),
            learned: self.learner.learned().clone(),
            alarms: self.alarms.counts(),
            counts: Counts {
                snmp,
                ..self.counts.clone()
            },
        }
    }

    fn heard_of(&mut self, report: Report) -> Result<(), NotTaken> {
        let Some(host) = self.controller.residence(&report.function) else {
            return Err(NotTaken::Function);
        };
        let now = clock::now();
        self.reports.take(now, report.clone())?;
        self.counts.reported(&report);
        self.knees.hear(now, host, &report);
        self.learner.hear(now, &report);
        Ok(())
    }

    /// Outside of a turn: what was learned long ago is known no more, and what viewers said of moves is whole.
    fn learn(&mut self, lessons: Vec<Lesson>) -> Result<(), OrchestratorError> {
        let inputs: Vec<Input> = lessons.into_iter().filter_map(told).collect();
        if inputs.is_empty() {
            return Ok(());
        }
        self.turn(inputs).map(drop)
    }

    /// What an input that the controller has taken says of a knee.
    fn taught(&mut self, now: Timestamp, input: &Input) -> Option<Input> {
        match input {
            Input::Sample(sample) => {
                let rests_since = self.controller.rests_since(&sample.host);
                let sightings = &self.sightings;
                let runs = |vm: &VmName| {
                    let seen = sightings.get(vm).zip(rests_since);
                    seen.is_some_and(|(seen, since)| {
                        seen.residency == Residency::Running && seen.at_us >= since
                    })
                };
                let lesson = self.knees.sampled(now, sample, rests_since, runs);
                lesson.and_then(told)
            }
            Input::Knee { host, knee: None } => {
                let words = format!(
                    "what viewers taught of the knee of {host} is thrown away, as was asked"
                );
                say(Some(About::Host(host)), &words);
                self.knees.forget(host);
                None
            }
            _ => None,
        }
    }

    /// Inputs in, decisions out, both on the disk before anything is done; where that fails, what `failed` says is done.
    fn turn(&mut self, inputs: Vec<Input>) -> Result<Vec<Decision>, OrchestratorError> {
        let mut taken = Vec::with_capacity(inputs.len());
        let mut decisions = Vec::new();
        let mut waiting: std::collections::VecDeque<Input> = inputs.into();
        while let Some(input) = waiting.pop_front() {
            let now = clock::now();
            self.record(|recording| recording.input(now, &input))?;
            self.controller.handle(now, input.clone());
            waiting.extend(self.taught(now, &input));
            taken.push((now, input));
            while let Some(decision) = self.controller.poll_output() {
                // An orchestrator that was told to end begins nothing new.
                if self.ending && matches!(decision.event, Event::Start { .. }) {
                    continue;
                }
                self.record(|recording| recording.decision(&decision))?;
                let lesson = self.learner.decided(&decision);
                waiting.extend(lesson.and_then(told));
                decisions.push(decision);
            }
        }
        let known = self.known(&taken, &decisions);
        let written = self.journal.turn(Turn {
            inputs: &taken,
            decisions: &decisions,
            known: &known,
            learned: &self.learner.take_changed(),
            taught: &self.knees.take_changed(),
        });
        self.written(written);
        if self.failed.is_some() {
            decisions.retain(|decision| !matches!(decision.event, Event::Start { .. }));
        }
        for (at, input) in &taken {
            if let Input::Release { vm } = input {
                self.alarms.released(*at, vm);
            }
        }
        for decision in &decisions {
            let moving = match &decision.event {
                Event::Settled { migration, .. } => {
                    self.progress.remove(migration);
                    self.mover.vm(*migration)
                }
                _ => None,
            };
            (self.log)(decision);
            self.counts.decided(decision);
            self.alarms.take(decision, moving);
            self.mover.act(&decision.event);
        }
        Ok(decisions)
    }

    /// What is true from now on of the functions that something was decided about, or seen.
    fn known(&self, taken: &[(Timestamp, Input)], decisions: &[Decision]) -> Vec<Input> {
        let said = taken.iter().filter_map(|(_, input)| match input {
            Input::Release { vm } | Input::Looked { vm, .. } => Some(vm),
            _ => None,
        });
        let decided = decisions
            .iter()
            .filter_map(|decision| match &decision.event {
                Event::Settled { migration, .. } => self.mover.vm(*migration),
                Event::Relocated { vm, .. } => Some(vm),
                _ => None,
            });
        let vms = said.chain(decided);
        vms.filter_map(|vm| self.controller.known(vm)).collect()
    }

    fn record(
        &mut self,
        write: impl FnOnce(&mut Recording) -> io::Result<()>,
    ) -> Result<(), OrchestratorError> {
        match &mut self.recording {
            Some((path, recording)) => {
                write(recording).map_err(|source| OrchestratorError::Recording {
                    path: path.clone(),
                    source,
                })
            }
            None => Ok(()),
        }
    }
}

/// Says what was learned, and what the controller is told of it.
fn told(lesson: Lesson) -> Option<Input> {
    say(None, &lesson.words);
    lesson.input
}

/// Hosts of whose load nothing is known any more.
fn silent(view: &View) -> BTreeSet<HostName> {
    let silent = view.hosts.iter();
    let silent = silent.filter(|host| host.freshness == Freshness::Silent);
    silent.map(|host| host.host.clone()).collect()
}

async fn at(instant: Option<Instant>) {
    tokio::time::sleep_until(instant.unwrap_or_else(Instant::now)).await;
}

mod heard;
#[cfg(test)]
mod tests;

//! The loop: one turn takes what has come in, lets the controller decide, writes all of it down, and only then has it done.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use control::{Controller, Input, View};
use drivers::nova::CredentialsError;
use drivers::{Driver, Libvirt, Nova, Qemu};
use record::{Decision, Event, Timestamp, VmName};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::agent::Watch;
use crate::alarm::{AlarmError, Alarms};
use crate::api::{self, Access, AccessError, ApiError};
use crate::config::{Config, Engine};
use crate::journal::{Journal, JournalError, Turn};
use crate::learn::Learner;
use crate::mover::{Mover, News};
use crate::recording::{MoveFact, Recording};
use crate::snmp::{SnmpError, Totals};
use crate::survey::{self, Seen, Sightings, Survey};

/// News that wait for the loop; a sender waits when there are more.
const NEWS_WAITING_MAX: usize = 1024;
/// Samples that are taken in one turn.
const SAMPLES_A_TURN_MAX: usize = 256;
/// Requests of persons that wait for the loop.
const REQUESTS_WAITING_MAX: usize = 64;
/// Told to end, the loop lets an open move reach its verdict for at most this long.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Why an orchestrator ended.
#[derive(Debug, thiserror::Error)]
pub enum OrchestratorError {
    /// There is no journal to be had. Nothing is decided without it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The recording cannot be written.
    #[error("cannot write the recording {path}: {source}")]
    Recording {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] control::SettingsError),
    /// The journal has an open move that the configuration does not know.
    #[error(
        "move {migration} of {vm} from {source_host} to {target} has no verdict yet, and the configuration does not name them all any more: put them back until it has one"
    )]
    OpenMove {
        /// The move.
        migration: u64,
        /// What moves.
        vm: VmName,
        /// From where.
        source_host: record::HostName,
        /// To where.
        target: record::HostName,
    },
    /// It is not known who Forestall is to the cloud.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Nobody can be told of alarms.
    #[error(transparent)]
    Alarm(#[from] AlarmError),
    /// The agents cannot be asked.
    #[error(transparent)]
    Snmp(#[from] SnmpError),
    /// It is not known who may ask.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Nobody can be answered.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// What others ask of the loop.
#[derive(Debug)]
pub(crate) enum Request {
    /// What there is to see.
    Site(oneshot::Sender<Site>),
    /// Something that a person wants; what was decided then.
    Tell(Input, oneshot::Sender<Vec<Decision>>),
}

/// What there is to see of an orchestrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// When it began.
    pub begun_at_us: Timestamp,
    /// What the controller knows.
    #[serde(flatten)]
    pub view: View,
    /// What was last seen of each function where it is taken to be.
    pub sightings: Sightings,
}

/// Watches, decides and moves until `stop` comes. A move that is open then still gets its verdict, for up to 30 s.
///
/// # Errors
/// When the settings are wrong, a secret cannot be read, another orchestrator has the journal, or it cannot be written.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), OrchestratorError> {
    match config.engine.clone() {
        Engine::Qemu(engine) => run_with(Qemu::new(engine), config, stop).await,
        Engine::Libvirt(engine) => run_with(Libvirt::new(engine), config, stop).await,
        Engine::Nova(engine) => run_with(Nova::new(engine)?, config, stop).await,
    }
}

async fn run_with<D: Driver>(
    driver: D,
    config: Config,
    stop: impl Future<Output = ()>,
) -> Result<(), OrchestratorError> {
    let access = config.api.as_ref().map(Access::read).transpose()?;
    let mut watch = Watch::new(&config.snmp, &config.snmp.access()?)?;
    let (news_in, news) = mpsc::channel(NEWS_WAITING_MAX);
    let mut orchestrator = Orchestrator::begin(driver, &config, news_in)?;
    let (samples_in, samples) = mpsc::channel(NEWS_WAITING_MAX);
    let (requests_in, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
    let api = match config.api.as_ref().zip(access.as_ref()) {
        Some((api, access)) => Some(api::start(api, access, &config.journal, requests_in).await?),
        None => None,
    };
    let (stop_asking, asked_enough) = oneshot::channel::<()>();
    let agents: JoinHandle<Totals> = tokio::spawn(async move {
        // Dropping the other end tells it, too.
        watch
            .run(&samples_in, async { drop(asked_enough.await) })
            .await;
        watch.totals()
    });
    let ended = orchestrator
        .until(
            stop,
            Inbox {
                news,
                samples,
                requests,
            },
        )
        .await;
    drop(stop_asking);
    drop(api);
    if let Ok(totals) = agents.await {
        eprintln!("snmp: {totals}");
    }
    ended
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
    learner: Learner,
    alarms: Alarms,
    sightings: Sightings,
    survey: Survey,
    news: mpsc::Sender<News>,
    /// It was told to end, and begins nothing new.
    ending: bool,
}

impl<D: Driver> Orchestrator<D> {
    /// Opens the journal and goes on where an earlier one ended: every open move is looked at before anything else.
    fn begin(
        driver: D,
        config: &Config,
        news: mpsc::Sender<News>,
    ) -> Result<Self, OrchestratorError> {
        let begun_at = Timestamp::now();
        let mut journal = Journal::open(&config.journal, config.journal_size_max_bytes())?;
        let standing = journal.standing()?;
        let mut settings = config.control.clone();
        settings.hand_over = driver.hand_over();
        settings.moves_begun = standing.moves_begun;
        let controller = Controller::new(settings.clone())?;
        journal.begin(begun_at, &settings)?;
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
            eprintln!(
                "move {migration} of {} from {} to {} was open when an earlier orchestrator ended: looking where it is",
                open.vm, open.source, open.target
            );
            mover.resume(drivers::Plan {
                migration: *migration,
                vm: open.vm.clone(),
                source: open.source.clone(),
                target: open.target.clone(),
                mode: settings.mode,
            });
        }
        let learner = Learner::new(&settings.functions, standing.learned.clone());
        let mut orchestrator = Self {
            begun_at,
            controller,
            journal,
            recording: recording.transpose()?,
            driver,
            mover,
            sightings: Sightings::new(),
            survey: Survey::default(),
            news,
            ending: false,
            learner,
            alarms: Alarms::new(begun_at, config.alarms.as_ref())?,
        };
        let told = orchestrator.learner.inputs();
        let told = told.into_iter().chain(standing.inputs()).collect();
        orchestrator.turn(told)?;
        Ok(orchestrator)
    }

    async fn until(
        &mut self,
        stop: impl Future<Output = ()>,
        mut inbox: Inbox,
    ) -> Result<(), OrchestratorError> {
        let mut look = interval(survey::EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end_at: Option<Instant> = None;
        tokio::pin!(stop);
        loop {
            let wait = self
                .controller
                .poll_timeout()
                .map(|at| at.since(Timestamp::now()));
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
                    let now = Timestamp::now();
                    self.survey.begin(&self.driver, &self.controller.view(now), &self.news);
                    self.journal.thin(now)?;
                }
                () = &mut stop, if end_at.is_none() => {
                    end_at = Some(Instant::now() + END_WITHIN);
                    self.ending = true;
                }
                () = at(end_at), if end_at.is_some() => return Ok(()),
            }
            if self.ending && !self.mover.busy() {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, news: News) -> Result<(), OrchestratorError> {
        match news {
            News::Input(input) => self.turn(vec![input]).map(drop),
            News::Fact(at, migration, fact) => self.fact(at, migration, fact),
            News::Seen(vm, seen) => self.see(vm, seen),
        }
    }

    fn fact(
        &mut self,
        at: Timestamp,
        migration: u64,
        fact: MoveFact,
    ) -> Result<(), OrchestratorError> {
        self.journal.fact(at, migration, &fact)?;
        self.learner.fact(at, migration, &fact);
        self.record(|recording| recording.fact(at, migration, fact))
    }

    fn see(&mut self, vm: VmName, seen: Seen) -> Result<(), OrchestratorError> {
        let concluded = survey::conclude(&vm, &seen);
        let before = self.sightings.insert(vm.clone(), seen.clone());
        if before.is_none_or(|before| before.residency != seen.residency)
            && seen.residency != record::Residency::Running
        {
            eprintln!(
                "function {vm} is {:?} where it should run; it runs on {:?}",
                seen.residency, seen.elsewhere
            );
        }
        concluded.map_or(Ok(()), |input| self.turn(vec![input]).map(drop))
    }

    fn answer(&mut self, request: Request) -> Result<(), OrchestratorError> {
        // Who asked may have gone away: nobody is to be told then.
        match request {
            Request::Site(answer) => drop(answer.send(Site {
                begun_at_us: self.begun_at,
                view: self.controller.view(Timestamp::now()),
                sightings: self.sightings.clone(),
            })),
            Request::Tell(input, answer) => drop(answer.send(self.turn(vec![input])?)),
        }
        Ok(())
    }

    /// Inputs in, decisions out, both on the disk before anything is done.
    fn turn(&mut self, inputs: Vec<Input>) -> Result<Vec<Decision>, OrchestratorError> {
        let mut taken = Vec::with_capacity(inputs.len());
        let mut decisions = Vec::new();
        let mut waiting: std::collections::VecDeque<Input> = inputs.into();
        let mut learned = Vec::new();
        while let Some(input) = waiting.pop_front() {
            let now = Timestamp::now();
            self.record(|recording| recording.input(now, &input))?;
            self.controller.handle(now, input.clone());
            taken.push((now, input));
            while let Some(decision) = self.controller.poll_output() {
                // An orchestrator that was told to end begins nothing new.
                if self.ending && matches!(decision.event, Event::Start { .. }) {
                    continue;
                }
                self.record(|recording| recording.decision(&decision))?;
                if let Some((vm, what, input)) = self.learner.decided(&decision) {
                    learned.push((vm, what));
                    waiting.push_back(input);
                }
                decisions.push(decision);
            }
        }
        let known = self.known(&taken, &decisions);
        self.journal.turn(Turn {
            inputs: &taken,
            decisions: &decisions,
            known: &known,
            learned: &learned,
        })?;
        for (_, input) in &taken {
            if let Input::Release { vm } = input {
                self.alarms.released(vm);
            }
        }
        for decision in &decisions {
            let moving = match &decision.event {
                Event::Settled { migration, .. } => self.mover.vm(*migration),
                _ => None,
            };
            self.alarms.take(decision, moving);
            self.mover.act(&decision.event);
        }
        Ok(decisions)
    }

    /// What is true from now on of the functions that something was decided about.
    fn known(&self, taken: &[(Timestamp, Input)], decisions: &[Decision]) -> Vec<Input> {
        let released = taken.iter().filter_map(|(_, input)| match input {
            Input::Release { vm } => Some(vm),
            _ => None,
        });
        let decided = decisions
            .iter()
            .filter_map(|decision| match &decision.event {
                Event::Settled { migration, .. } => self.mover.vm(*migration),
                Event::Relocated { vm, .. } => Some(vm),
                _ => None,
            });
        let vms = released.chain(decided);
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

async fn at(instant: Option<Instant>) {
    tokio::time::sleep_until(instant.unwrap_or_else(Instant::now)).await;
}

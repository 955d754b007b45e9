//! Controller and world, event by event.

use std::collections::BTreeMap;
use std::time::Duration;

use control::journal::{Entry, Head};
use control::{Controller, CopyOutcome, Input, Settings};
use record::decision::{End, MigrationId};
use record::{Decision, Event, HostName, SCHEMA, Timestamp, Verdict};
use scenario::{LoadProfile, PolicyName, Role, Scenario};

use crate::error::SimError;
use crate::world::{Guest, World};

/// How often the true loads are written down and looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// True load of a host at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPoint {
    /// When.
    pub at_us: Timestamp,
    /// The host.
    pub host: HostName,
    /// Its load, `0..=1`.
    pub load: f64,
}

/// The instants of a move.
#[derive(Clone, Debug, PartialEq)]
pub struct MoveTimes {
    /// Its number.
    pub migration: MigrationId,
    /// From where.
    pub source: HostName,
    /// To where.
    pub target: HostName,
    /// When it was decided, and copying began.
    pub started_at: Timestamp,
    /// When all was copied.
    pub copied_at: Option<Timestamp>,
    /// When the function ran at the target.
    pub moved_at: Option<Timestamp>,
    /// When its verdict was known, and which.
    pub settled: Option<(Timestamp, Verdict)>,
}

/// What came of a run. Time is virtual: it begins at [`Timestamp`] 0 with the idle phase.
#[derive(Clone, Debug, PartialEq)]
pub struct SimRun {
    /// What the controller was told.
    pub settings: Settings,
    /// What it was given, as the orchestrator's `inputs.jsonl` has it.
    pub inputs: Vec<Entry>,
    /// What it decided, as the orchestrator's `decisions.jsonl` has it.
    pub decisions: Vec<Decision>,
    /// True loads of the edge hosts over time, each 100 ms.
    pub loads: Vec<LoadPoint>,
    /// The moves.
    pub moves: Vec<MoveTimes>,
    /// When the load of the function's first host reaches the model's knee (to 100 ms), if the function stayed there and
    /// were never copied; `None` when it does not within the run.
    pub knee_reached: Option<Timestamp>,
    /// When the function first ran somewhere else.
    pub moved_at: Option<Timestamp>,
    /// `knee_reached` less `moved_at`: positive when the move was in time. `None` when either did not happen.
    pub margin_s: Option<f64>,
    /// How long the host that the function ran on was at or above the model's knee, copying counted (to 100 ms).
    pub above_knee_s: f64,
}

impl SimRun {
    /// The decision log, `decisions.jsonl`.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn decision_log(&self) -> Result<String, serde_json::Error> {
        json_lines(&self.decisions)
    }

    /// The inputs, `inputs.jsonl`.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn input_log(&self) -> Result<String, serde_json::Error> {
        let head = Head {
            schema: SCHEMA,
            settings: self.settings.clone(),
        };
        Ok(serde_json::to_string(&head)? + "\n" + &json_lines(&self.inputs)?)
    }
}

fn json_lines<T: serde::Serialize>(values: &[T]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for value in values {
        text.push_str(&serde_json::to_string(value)?);
        text.push('\n');
    }
    Ok(text)
}

/// Runs a scenario with the figures of its own model, through idle phase and profile.
///
/// # Errors
/// When the scenario's settings are none for a controller.
pub fn run(
    scenario: &Scenario,
    policy: PolicyName,
    profile: &LoadProfile,
) -> Result<SimRun, SimError> {
    let settings = scenario.controller_settings(policy, &scenario.model_figures());
    run_with(scenario, settings, profile)
}

/// Runs a scenario with a controller that is told something else than the scenario says.
///
/// # Errors
/// When the settings are none for a controller.
pub fn run_with(
    scenario: &Scenario,
    settings: Settings,
    profile: &LoadProfile,
) -> Result<SimRun, SimError> {
    let mut engine = Engine {
        world: World::new(scenario, profile),
        controller: Controller::new(settings.clone())?,
        queue: BTreeMap::new(),
        queued: 0,
        copying: milliseconds(scenario.model.migration_ms),
        run: SimRun {
            settings,
            inputs: Vec::new(),
            decisions: Vec::new(),
            loads: Vec::new(),
            moves: Vec::new(),
            knee_reached: None,
            moved_at: None,
            margin_s: None,
            above_knee_s: 0.0,
        },
    };
    let end = Timestamp::from_secs_f64(profile.idle_s + profile.duration_s());
    let hosts: Vec<HostName> = scenario
        .hosts_of(Role::Edge)
        .map(|(name, _)| name.clone())
        .collect();
    engine.go(&hosts, milliseconds(scenario.model.refresh_ms), end);
    Ok(engine.look_back(&hosts, scenario.model.knee.share(), end))
}

/// A length of time of a checked scenario.
fn milliseconds(ms: f64) -> Duration {
    Duration::from_micros((ms * 1e3) as u64)
}

/// What will happen.
#[derive(Debug)]
enum Next {
    /// The agents refresh their counters.
    Refresh { begin: Timestamp },
    /// Copying is done, if nobody gave it up.
    CopyEnds { migration: MigrationId },
    /// A driver answers.
    Answer(Input),
}

#[derive(Debug)]
struct Engine<'a> {
    world: World<'a>,
    controller: Controller,
    /// By time, and at one instant in the order in which they were put in.
    queue: BTreeMap<(Timestamp, u64), Next>,
    queued: u64,
    copying: Duration,
    run: SimRun,
}

impl Engine<'_> {
    fn go(&mut self, hosts: &[HostName], refresh: Duration, end: Timestamp) {
        let mut now = Timestamp(0);
        self.later(now + refresh, Next::Refresh { begin: now });
        loop {
            let event_at = self.queue.keys().next().map(|key| key.0);
            let timeout = self.controller.poll_timeout().map(|at| at.max(now));
            let Some(at) = event_at.into_iter().chain(timeout).min() else {
                return;
            };
            if at > end {
                return;
            }
            now = at;
            if event_at != Some(at) {
                self.give(now, Input::Timeout);
                continue;
            }
            let Some((_, next)) = self.queue.pop_first() else {
                return;
            };
            match next {
                Next::Refresh { begin } => {
                    for host in hosts {
                        let sample = self.world.sample(host, begin, now);
                        self.give(now, Input::Sample(sample));
                    }
                    self.later(now + refresh, Next::Refresh { begin: now });
                }
                Next::CopyEnds { migration } => self.copy_ends(now, migration),
                Next::Answer(input) => self.give(now, input),
            }
        }
    }

    fn later(&mut self, at: Timestamp, next: Next) {
        self.queued += 1;
        self.queue.insert((at, self.queued), next);
    }

    fn give(&mut self, now: Timestamp, input: Input) {
        self.run.inputs.push(Entry {
            now_us: now,
            input: input.clone(),
        });
        self.controller.handle(now, input);
        while let Some(decision) = self.controller.poll_output() {
            self.act(now, &decision.event);
            self.run.decisions.push(decision);
        }
    }

    /// Does what was decided, at once; the answer comes as an event of its own.
    fn act(&mut self, now: Timestamp, event: &Event) {
        match event {
            Event::Start {
                migration,
                source,
                target,
                ..
            } => {
                let (migration, from, to) = (*migration, source.clone(), target.clone());
                self.run.moves.push(MoveTimes {
                    migration,
                    source: from.clone(),
                    target: to.clone(),
                    started_at: now,
                    copied_at: None,
                    moved_at: None,
                    settled: None,
                });
                self.world.change(now, Guest::Copied { from, to });
                self.later(now + self.copying, Next::CopyEnds { migration });
            }
            Event::Inspect { migration } => self.inspect(now, *migration),
            Event::Cancel { migration, .. } => {
                if let Guest::Copied { from, .. } = self.world.guest().clone() {
                    let left_at = None;
                    self.world.change(now, Guest::Runs { on: from, left_at });
                }
                self.acted(now, *migration);
            }
            Event::Run { migration, end } => {
                if let Guest::Held { from, to } = self.world.guest().clone() {
                    let (on, left) = match end {
                        End::Source => (from, to),
                        End::Target => (to, from),
                    };
                    let left_at = Some(left);
                    self.world.change(now, Guest::Runs { on, left_at });
                    if *end == End::Target {
                        self.run.moved_at.get_or_insert(now);
                        if let Some(times) = self.times(*migration) {
                            times.moved_at = Some(now);
                        }
                    }
                }
                self.acted(now, *migration);
            }
            Event::Discard { migration, .. } => {
                if let Guest::Runs { on, .. } = self.world.guest().clone() {
                    let left_at = None;
                    self.world.change(now, Guest::Runs { on, left_at });
                }
                self.acted(now, *migration);
            }
            Event::Settled {
                migration, verdict, ..
            } => {
                if let Some(times) = self.times(*migration) {
                    times.settled = Some((now, *verdict));
                }
            }
            Event::Hold { .. } | Event::Alarm { .. } => {}
        }
    }

    fn times(&mut self, migration: MigrationId) -> Option<&mut MoveTimes> {
        self.run
            .moves
            .iter_mut()
            .find(|times| times.migration == migration)
    }

    fn copy_ends(&mut self, now: Timestamp, migration: MigrationId) {
        // A copy that was given up does not end.
        let Guest::Copied { from, to } = self.world.guest().clone() else {
            return;
        };
        self.world.change(now, Guest::Held { from, to });
        if let Some(times) = self.times(migration) {
            times.copied_at = Some(now);
        }
        let outcome = CopyOutcome::Completed;
        self.give(now, Input::CopyEnded { migration, outcome });
    }

    fn inspect(&mut self, now: Timestamp, migration: MigrationId) {
        let Some(times) = self.times(migration).cloned() else {
            return;
        };
        let (target, source) = self.world.residency(&times.target, &times.source);
        let answer = Input::Residency {
            migration,
            target,
            source,
        };
        self.later(now, Next::Answer(answer));
    }

    fn acted(&mut self, now: Timestamp, migration: MigrationId) {
        let failure = None;
        self.later(now, Next::Answer(Input::Acted { migration, failure }));
    }

    fn look_back(self, hosts: &[HostName], knee: f64, end: Timestamp) -> SimRun {
        let Self { world, mut run, .. } = self;
        let mut at = Timestamp(0);
        let mut looks_above = 0_u32;
        while at <= end {
            for host in hosts {
                run.loads.push(LoadPoint {
                    at_us: at,
                    host: host.clone(),
                    load: world.load(host, at),
                });
            }
            if world.load_unmoved(at) >= knee {
                run.knee_reached.get_or_insert(at);
            }
            if world.load_at_function(at).is_some_and(|load| load >= knee) {
                looks_above += 1;
            }
            at = at + LOOK_EVERY;
        }
        run.above_knee_s = f64::from(looks_above) * LOOK_EVERY.as_secs_f64();
        let margin = |(knee, moved): (Timestamp, Timestamp)| knee.seconds_after(moved);
        run.margin_s = run.knee_reached.zip(run.moved_at).map(margin);
        run
    }
}

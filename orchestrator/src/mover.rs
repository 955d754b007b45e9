//! Has a driver do what was decided, each thing in a task of its own, and tells the controller what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{CopyOutcome, HandOver, Input};
use drivers::tagged::Found;
use drivers::{Driver, DriverError, Plan};
use record::decision::{End, MigrationId};
use record::{Event, Timestamp, VmName};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use crate::clock;
use crate::progress::{self, CopyProgress};
use crate::recording::MoveFact;
use crate::survey::Seen;
use crate::usage::Used;

/// What tasks send to the orchestrator's loop.
#[derive(Debug)]
pub enum News {
    /// For the controller.
    Input(Input),
    /// For the journal alone.
    Fact(Timestamp, MigrationId, MoveFact),
    /// How far the copy of a move is.
    Progress(MigrationId, CopyProgress),
    /// What was seen of a function that is not being moved.
    Seen(VmName, Seen),
    /// What the engine knows by tags.
    Tagged(Found),
    /// What functions have used of a host's processors.
    Used(Used),
}

/// The open plans and the way to the driver.
#[derive(Debug)]
pub struct Mover<D> {
    driver: Arc<D>,
    plans: BTreeMap<MigrationId, Plan>,
    /// The last inspection of each.
    inspections: BTreeMap<MigrationId, AbortHandle>,
    news: mpsc::Sender<News>,
}

impl<D: Driver> Mover<D> {
    /// No move open yet; what comes of things is told through `news`.
    pub const fn new(driver: Arc<D>, news: mpsc::Sender<News>) -> Self {
        Self {
            driver,
            plans: BTreeMap::new(),
            inspections: BTreeMap::new(),
            news,
        }
    }

    /// Whether a move is open.
    pub fn busy(&self) -> bool {
        !self.plans.is_empty()
    }

    /// What an open move moves.
    pub fn vm(&self, migration: MigrationId) -> Option<&VmName> {
        self.plans.get(&migration).map(|plan| &plan.vm)
    }

    /// Whether an open move moves this function.
    pub fn moves(&self, vm: &VmName) -> bool {
        self.plans.values().any(|plan| plan.vm == *vm)
    }

    /// Knows a move that an earlier orchestrator began.
    pub fn resume(&mut self, plan: Plan) {
        self.plans.insert(plan.migration, plan);
    }

    /// Begins to do what was decided; returns at once.
    pub fn act(&mut self, event: &Event) {
        match event {
            Event::Start {
                migration,
                vm,
                source,
                target,
                mode,
                ..
            } => {
                let plan = Plan {
                    migration: *migration,
                    vm: vm.clone(),
                    source: source.clone(),
                    target: target.clone(),
                    mode: *mode,
                };
                self.plans.insert(*migration, plan);
                drop(self.spawn(*migration, copy));
            }
            Event::Inspect { migration } => {
                let inspection = self.spawn(*migration, inspect);
                let inspection = inspection.map(|task| task.abort_handle());
                // What an earlier one has seen meanwhile is not the answer to this one. It only looks: it may end anywhere.
                if let Some(earlier) =
                    inspection.and_then(|this| self.inspections.insert(*migration, this))
                {
                    earlier.abort();
                }
            }
            Event::Cancel { migration, .. } => drop(self.spawn(*migration, cancel)),
            Event::Run { migration, end } => {
                let end = *end;
                drop(self.spawn(*migration, move |driver, plan, news| {
                    run(driver, plan, news, end)
                }));
            }
            Event::Discard { migration, end } => {
                let end = *end;
                drop(self.spawn(*migration, move |driver, plan, news| {
                    discard(driver, plan, news, end)
                }));
            }
            Event::Settled { migration, .. } => {
                self.plans.remove(migration);
                self.inspections.remove(migration);
            }
            Event::Hold { .. }
            | Event::Alarm { .. }
            | Event::Relocated { .. }
            | Event::Declined { .. } => {}
        }
    }

    fn spawn<F: Future<Output = Input> + Send + 'static>(
        &self,
        migration: MigrationId,
        work: impl FnOnce(Arc<D>, Plan, mpsc::Sender<News>) -> F,
    ) -> Option<JoinHandle<()>> {
        let plan = self.plans.get(&migration)?;
        let future = work(Arc::clone(&self.driver), plan.clone(), self.news.clone());
        let news = self.news.clone();
        Some(tokio::spawn(async move {
            let input = future.await;
            // Nobody hears it only when the orchestrator is ending.
            news.send(News::Input(input)).await.ok();
        }))
    }
}

async fn tell(news: &mpsc::Sender<News>, migration: MigrationId, fact: MoveFact) {
    news.send(News::Fact(clock::now(), migration, fact))
        .await
        .ok();
}

async fn copy<D: Driver>(driver: Arc<D>, plan: Plan, news: mpsc::Sender<News>) -> Input {
    let migration = plan.migration;
    let begun = {
        let news = news.clone();
        move || {
            let fact = News::Fact(clock::now(), migration, MoveFact::CopyingBegan);
            tokio::spawn(async move { news.send(fact).await });
        }
    };
    let copied = tokio::select! {
        copied = driver.copy(&plan, begun) => copied,
        never = progress::follow(driver.as_ref(), &plan, &news) => match never {},
    };
    match copied {
        Ok(()) => {
            // An engine that hands over by itself has done so: nobody will be asked to run it there.
            if driver.hand_over() == HandOver::ByEngine {
                tell(&news, migration, MoveFact::RunsAtTarget).await;
            }
            Input::CopyEnded {
                migration,
                outcome: CopyOutcome::Completed,
            }
        }
        Err(error @ DriverError::Refused { .. }) => Input::Refused {
            migration,
            reason: error.to_string(),
        },
        Err(error @ DriverError::Uncertain { .. }) => Input::CopyEnded {
            migration,
            outcome: CopyOutcome::Failed {
                reason: error.to_string(),
            },
        },
    }
}

async fn inspect<D: Driver>(driver: Arc<D>, plan: Plan, _: mpsc::Sender<News>) -> Input {
    let (target, source) = driver.inspect(&plan).await;
    Input::Residency {
        migration: plan.migration,
        target,
        source,
    }
}

async fn cancel<D: Driver>(driver: Arc<D>, plan: Plan, _: mpsc::Sender<News>) -> Input {
    acted(&plan, driver.cancel(&plan).await)
}

async fn run<D: Driver>(driver: Arc<D>, plan: Plan, news: mpsc::Sender<News>, end: End) -> Input {
    let result = driver.run(&plan, end).await;
    if result.is_ok() {
        let fact = if end == End::Target {
            MoveFact::RunsAtTarget
        } else {
            MoveFact::RunsAtSource
        };
        tell(&news, plan.migration, fact).await;
    }
    acted(&plan, result)
}

async fn discard<D: Driver>(
    driver: Arc<D>,
    plan: Plan,
    news: mpsc::Sender<News>,
    end: End,
) -> Input {
    if end == End::Source {
        let figures = driver.figures(&plan).await;
        let fact = MoveFact::Figures {
            total_ms: figures.total_ms,
            downtime_ms: figures.downtime_ms,
            copied: figures.copied,
        };
        tell(&news, plan.migration, fact).await;
    }
    acted(&plan, driver.discard(&plan, end).await)
}

fn acted(plan: &Plan, result: Result<(), DriverError>) -> Input {
    Input::Acted {
        migration: plan.migration,
        failure: result.err().map(|error| error.to_string()),
    }
}

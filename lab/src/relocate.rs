//! One move at once, for what is measured of moves: the same control core and the same driver as in the orchestrator, told that the
//! source is full.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use control::{Controller, Input, Policy, Settings};
use drivers::{Driver, Libvirt, Nova, Qemu};
use orchestrator::config::Engine;
use orchestrator::mover::{Mover, News};
use record::decision::Copied;
use record::raw::FrameRow;
use record::{Event, HostName, Sample, Timestamp, Utilization, Verdict};
use scenario::{LabScenario, Role};
use tokio::sync::mpsc;

use crate::error::LabError;
use crate::process::Place;
use crate::stage::Player;
use crate::world::World;

/// The first frame from the target is on the screen within this after a move, or the move failed.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(10);
/// A backlog has drained and the picture is back within this after a move or a sweep: one of a move from a full server has been seen to
/// need over 15 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

/// What a move gains is reckoned over so many times the longest that it may take.
const GAIN_HORIZON: f64 = 10.0;

/// What came of a move.
#[derive(Clone, Debug, PartialEq)]
pub struct Relocated {
    /// When it was decided.
    pub decided: Timestamp,
    /// The engine's total time.
    pub total_ms: Option<f64>,
    /// The engine's downtime.
    pub downtime_ms: Option<f64>,
    /// What the engine says that it sent.
    pub copied: Option<Copied>,
}

/// Moves the function of `settings` away from `source`, from the namespace of the orchestrator: hosts are reached there and
/// nowhere else.
///
/// # Errors
/// When the verdict is not `moved`.
pub fn relocate(
    settings: &Settings,
    source: &HostName,
    engine: Engine,
    orchestrator: &Place,
    interrupted: &AtomicBool,
) -> Result<Relocated, LabError> {
    let mut settings = settings.clone();
    settings.policy = Policy::Threshold {
        start_at: Utilization::FULL,
    };
    settings.limits.sustained_samples = 1;
    // How long it takes is what is asked here. So it is ended by the longest time that is allowed, not by a multiple of a prediction,
    // and that time does not speak against moving at all.
    let longest = settings.limits.migration_ms_max;
    settings.limits.gain_horizon_ms = longest * GAIN_HORIZON;
    for function in &mut settings.functions {
        function.host = source.clone();
        function.migration_ms = longest;
    }
    let failed = |why: String| LabError::Program {
        what: format!("the move away from {source}"),
        why,
    };
    // A namespace is entered by a thread, and left by its end.
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            orchestrator.enter_network()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.map_err(|error| failed(error.to_string()))?;
            runtime.block_on(async {
                let moved = async {
                    match engine {
                        Engine::Qemu(engine) => follow(settings, source, Qemu::new(engine)).await,
                        Engine::Libvirt(engine) => {
                            follow(settings, source, Libvirt::new(engine)).await
                        }
                        Engine::Nova(engine) => {
                            let driver = Nova::new(engine).map_err(|error| error.to_string())?;
                            follow(settings, source, driver).await
                        }
                    }
                };
                tokio::select! {
                    moved = moved => moved.map_err(failed),
                    () = set(interrupted) => Err(LabError::Interrupted),
                }
            })
        });
        work.join()
            .unwrap_or_else(|_| Err(failed("it panicked".into())))
    })
}

/// Waits until it is set.
async fn set(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn follow(
    settings: Settings,
    source: &HostName,
    driver: impl Driver,
) -> Result<Relocated, String> {
    let mut controller = Controller::new(settings.clone()).map_err(|error| error.to_string())?;
    let (news_in, mut news) = mpsc::channel(64);
    let mut mover = Mover::new(std::sync::Arc::new(driver), news_in);
    let decided = Timestamp::now();
    let mut figures = (None, None, None);
    // The targets first: the source's sample is the one that decides.
    let hosts = settings
        .hosts
        .iter()
        .filter(|host| *host != source)
        .chain(std::iter::once(source));
    for host in hosts {
        let utilization = if host == source {
            Utilization::FULL
        } else {
            Utilization::IDLE
        };
        let sample = Sample {
            host: host.clone(),
            utilization,
            measured_at_us: decided,
            interval_ms: 1.0,
        };
        controller.handle(decided, Input::Sample(sample));
    }
    loop {
        while let Some(decision) = controller.poll_output() {
            mover.act(&decision.event);
            if let Event::Settled {
                verdict, failure, ..
            } = decision.event
            {
                return match verdict {
                    Verdict::Moved => Ok(Relocated {
                        decided,
                        total_ms: figures.0,
                        downtime_ms: figures.1,
                        copied: figures.2,
                    }),
                    other => Err(format!("verdict {other}: {}", failure.unwrap_or_default())),
                };
            }
        }
        let wait = controller
            .poll_timeout()
            .map_or(Duration::from_secs(1), |at| at.since(Timestamp::now()));
        let input = tokio::select! {
            Some(news) = news.recv() => match news {
                News::Input(input) => input,
                News::Fact(_, _, orchestrator::recording::MoveFact::Figures { total_ms, downtime_ms, copied }) => {
                    figures = (total_ms, downtime_ms, copied);
                    continue;
                }
                News::Fact(..)
                | News::Progress(..)
                | News::Seen(..)
                | News::Tagged(_)
                | News::Used(_) => continue,
            },
            () = tokio::time::sleep(wait) => Input::Timeout,
        };
        controller.handle(Timestamp::now(), input);
    }
}

/// The edge server to move to from `source`.
///
/// # Errors
/// When there is no other.
pub fn other_edge(scenario: &LabScenario, source: &HostName) -> Result<HostName, LabError> {
    let found = scenario
        .hosts_of(Role::Edge)
        .map(|(name, _)| name)
        .find(|name| *name != source);
    found
        .cloned()
        .ok_or_else(|| LabError::Missing("a second edge host".into()))
}

/// When the viewer was first served by another QEMU than `runner`; where the picture does not say who drew it, when the
/// first frame was shown after the move was over.
///
/// # Errors
/// When none is shown in time; [`LabError::Interrupted`].
pub fn first_frame_after(
    world: &World<'_>,
    player: &Player,
    decided: Timestamp,
    runner: Option<u32>,
) -> Result<Timestamp, LabError> {
    let from = Timestamp::now();
    while Timestamp::now().since(from) < FIRST_FRAME_WITHIN {
        let frames = player.frames()?;
        let fresh = |row: &&FrameRow| match runner {
            Some(_) => row.shown_us > decided && row.runner.is_some() && row.runner != runner,
            None => row.shown_us > from && row.delay_ms.is_some(),
        };
        if let Some(row) = frames.iter().find(fresh) {
            return Ok(row.shown_us);
        }
        world.wait(Duration::from_millis(100))?;
    }
    Err(LabError::Late {
        what: "the first frame from the target".into(),
        seconds: FIRST_FRAME_WITHIN.as_secs_f64(),
        hint: "the guest runs there but no video comes from it".into(),
    })
}

/// Waits until the picture is young again.
///
/// # Errors
/// When it stays old; [`LabError::Interrupted`].
pub fn recover(world: &World<'_>, player: &Player) -> Result<(), LabError> {
    let from = Timestamp::now();
    world.wait(Duration::from_secs(1))?;
    while Timestamp::now().since(from) < RECOVERS_WITHIN {
        if player
            .picture_age_ms()
            .is_some_and(|age| age < world.scenario.budget_ms)
        {
            return Ok(());
        }
        world.wait(Duration::from_millis(100))?;
    }
    Err(LabError::Late {
        what: "the recovery of the picture's age".into(),
        seconds: RECOVERS_WITHIN.as_secs_f64(),
        hint: "the load was taken away, but the picture stays old".into(),
    })
}

//! How soon a move begins after the sample that decides it: the loop itself, its journal on the disk, and a fleet that goes on telling.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use control::{HandOver, Input, Limits, Mobility, Placement, Policy, Settings, Trust};
use drivers::{Driver, DriverError, Figures, Plan};
use record::decision::{End, Mode};
use record::{HostName, Residency, Utilization, VmName};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::journal::sample;
use super::{BenchError, Spread};
use crate::clock;
use crate::run::{NEWS_WAITING_MAX, Running};

/// Each host tells its load once in so many ticks.
const TICKS: usize = 100;
/// Time between two ticks: with [`TICKS`], a sample of each host a second.
const TICK: Duration = Duration::from_millis(10);
/// Ticks until all hosts have been heard.
const WARM_UP_TICKS: usize = 2 * TICKS;
/// Moves that are begun, each of another function.
const MOVES: usize = 200;
/// From one to the next.
const TICKS_A_MOVE: usize = 7;
/// A move that has not begun after this never does.
const BEGUN_WITHIN: Duration = Duration::from_secs(10);
/// Load of a host in peace, and of one that is about to be too busy.
const LOADS: [f64; 2] = [0.3, 0.95];

/// Refuses each move, after it has noted when it was told to make it.
struct Refuses {
    homes: BTreeMap<VmName, HostName>,
    told: mpsc::UnboundedSender<(HostName, Instant)>,
}

impl Driver for Refuses {
    fn hand_over(&self) -> HandOver {
        HandOver::ByEngine
    }

    async fn copy(&self, plan: &Plan, _: impl FnOnce() + Send) -> Result<(), DriverError> {
        // Nobody hears it when enough was measured.
        self.told.send((plan.source.clone(), Instant::now())).ok();
        Err(DriverError::Refused {
            what: format!("move {}", plan.vm),
            why: "this is a benchmark".into(),
        })
    }

    async fn figures(&self, _: &Plan) -> Figures {
        Figures::default()
    }

    async fn look(&self, vm: &VmName, host: &HostName) -> Result<Residency, String> {
        Ok(if self.homes.get(vm) == Some(host) {
            Residency::Running
        } else {
            Residency::Absent
        })
    }

    async fn discard(&self, _: &Plan, _: End) -> Result<(), DriverError> {
        Ok(())
    }

    async fn cancel(&self, _: &Plan) -> Result<(), DriverError> {
        Ok(())
    }
}

/// Has moves begin in a fleet of these hosts, with a function on each.
pub(super) async fn measure(hosts: &[HostName]) -> Result<Spread, BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::Folder)?;
    let settings = settings(hosts)?;
    let homes = settings
        .functions
        .iter()
        .map(|function| (function.vm.clone(), function.host.clone()))
        .collect();
    let (told, begun) = mpsc::unbounded_channel();
    let (samples_in, samples) = mpsc::channel(NEWS_WAITING_MAX);
    let journal = folder.path().join("journal");
    let driver = Refuses { homes, told };
    let running = Running::begin(
        driver,
        &super::config(journal, settings),
        None,
        samples,
        |_| (),
    )
    .await?;
    let measured = measure_moves(hosts, &samples_in, begun);
    tokio::pin!(measured);
    tokio::select! {
        ended = running.until(std::future::pending()) => Err(BenchError::Ended(
            ended.err().map_or_else(|| "without a word".into(), |error| error.to_string()),
        )),
        spread = &mut measured => spread,
    }
}

async fn measure_moves(
    hosts: &[HostName],
    samples: &mpsc::Sender<Input>,
    mut begun: mpsc::UnboundedReceiver<(HostName, Instant)>,
) -> Result<Spread, BenchError> {
    let mut ticks = interval(TICK);
    // A burst would be no fleet.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tell = async |host: &HostName, load| {
        let told = Input::Sample(sample(host, clock::now(), load));
        // It is measured only while somebody hears.
        samples.send(told).await.ok();
    };
    let mut sent: BTreeMap<HostName, Instant> = BTreeMap::new();
    let mut took = Vec::new();
    let moves = MOVES.min(hosts.len() / 2);
    for tick in 0..WARM_UP_TICKS + moves * TICKS_A_MOVE {
        ticks.tick().await;
        let number = tick
            .checked_sub(WARM_UP_TICKS)
            .filter(|since| since % TICKS_A_MOVE == 0);
        let hot = number.map(|since| &hosts[since / TICKS_A_MOVE]);
        for host in hosts.iter().skip(tick % TICKS).step_by(TICKS) {
            // One that has been busy says nothing more: it would only be told again why nothing moves.
            if !sent.contains_key(host) {
                tell(host, LOADS[0]).await;
            }
        }
        if let Some(hot) = hot {
            sent.insert(hot.clone(), Instant::now());
            tell(hot, LOADS[1]).await;
        }
        while let Ok((host, at)) = begun.try_recv() {
            took.extend(sent.get(&host).map(|sent| at.duration_since(*sent)));
        }
    }
    while took.len() < moves {
        let Ok(Some((host, at))) = timeout(BEGUN_WITHIN, begun.recv()).await else {
            return Err(BenchError::NeverBegan {
                begun: took.len(),
                asked: moves,
            });
        };
        took.extend(sent.get(&host).map(|sent| at.duration_since(*sent)));
    }
    Ok(Spread::of(took))
}

/// The thesis' rule, so that one sample decides.
fn settings(hosts: &[HostName]) -> Result<Settings, BenchError> {
    let share = Utilization::clamped;
    let wrong = |error: &dyn std::fmt::Display| BenchError::Ended(error.to_string());
    let function = |(number, host): (usize, &HostName)| {
        Ok(Placement {
            vm: VmName::new(&format!("video-{number}")).map_err(|error| wrong(&error))?,
            host: host.clone(),
            load: share(0.2),
            viewers: 1,
            migration_ms: 8e3,
            gap_ms: 300.0,
            mobility: Mobility::Free,
            forbidden: BTreeSet::new(),
            together: None,
            apart: None,
            path_ms: BTreeMap::new(),
            path_late_ms: BTreeMap::new(),
        })
    };
    let age = vec![(share(0.9), 40.0), (share(1.0), 1400.0)];
    Ok(Settings {
        hosts: hosts.to_vec(),
        functions: hosts
            .iter()
            .enumerate()
            .map(function)
            .collect::<Result<_, BenchError>>()?,
        policy: Policy::Threshold {
            start_at: share(0.9),
        },
        picture_age: age
            .try_into()
            .map_err(|error: control::PictureAgeError| wrong(&error))?,
        trust: Trust::Automatic,
        limits: Limits {
            sample_age_ms_max: 12e3,
            sustained_samples: 1,
            forecast_samples: 4,
            forecast_residual_max: 0.04,
            target_load_max: share(0.75),
            gain_min: 0.1,
            gain_horizon_ms: 60e3,
            moves_at_once_max: 1000,
            arrivals_at_once_max: 1,
            cooldown_ms: 30e3,
            migration_ms_max: 60e3,
            inspect_again_ms: 500.0,
        },
        mode: Mode::PreCopy,
        hand_over: HandOver::ByEngine,
        moves_begun: 0,
    })
}

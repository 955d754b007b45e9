//! The [`Driver`] of QEMU.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::HandOver;
use record::decision::{Copied, End, MigrationId, Mode};
use record::{HostName, Residency, VmName};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::config::{QemuConfig, QemuEnd};
use super::copying::CopyJob;
use super::disks::{self, Image};
use super::monitor::{Monitor, MonitorError};
use super::{cpu, ending, guest, launch, mirror, stream};
use crate::driver::{CpuTimes, Driver, DriverError, Figures, JobProgress, Plan};

/// A launched QEMU answers on its monitor within this.
const MONITOR_WITHIN: Duration = Duration::from_secs(5);
/// How often a monitor that is not there yet is tried.
const MONITOR_RETRY: Duration = Duration::from_millis(20);
/// `total-time` may read 0 just after `completed`: ask again after this.
const FIGURES_AGAIN: Duration = Duration::from_millis(100);
/// A move is not kept from its end for its figures any longer.
const FIGURES_WITHIN: Duration = Duration::from_secs(3);
/// QEMU ends copying within this once it was told to.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// Moves virtual machines from QEMU to QEMU.
#[derive(Debug)]
pub struct Qemu {
    config: QemuConfig,
    /// What copies now. QEMU's monitor serves one connection at a time, and copying holds the source's: so a cancel goes
    /// through it.
    copies: std::sync::Mutex<BTreeMap<MigrationId, Arc<Copying>>>,
}

/// A copy under way.
#[derive(Debug, Default)]
struct Copying {
    cancel: Notify,
    progress: std::sync::Mutex<Option<JobProgress>>,
    /// Held until both ends are ready to copy, or are not going to be.
    preparing: tokio::sync::Mutex<()>,
    /// Held until copying has ended and the monitor is free again.
    under_way: tokio::sync::Mutex<()>,
}

impl Qemu {
    /// A driver with these settings.
    #[must_use]
    pub const fn new(config: QemuConfig) -> Self {
        Self {
            config,
            copies: std::sync::Mutex::new(BTreeMap::new()),
        }
    }

    fn copies(&self) -> std::sync::MutexGuard<'_, BTreeMap<MigrationId, Arc<Copying>>> {
        // The map is whole whatever a panicking holder was about to do with it.
        self.copies
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn end(&self, vm: &VmName, host: &HostName) -> Result<&QemuEnd, DriverError> {
        let ends = self.config.vms.get(vm);
        ends.and_then(|ends| ends.get(host))
            .ok_or_else(|| DriverError::Refused {
                what: format!("move {vm} to {host}"),
                why: "the configuration of the QEMU driver names no such end".into(),
            })
    }

    /// The disks that are mirrored. Refuses a move that would leave one behind.
    async fn mirrored(&self, plan: &Plan, source: &mut Monitor) -> Result<Vec<Image>, DriverError> {
        let refused = |why: String| DriverError::Refused {
            what: format!("move the disks of {}", plan.vm),
            why,
        };
        let none = BTreeMap::new();
        let known = self.config.disks.get(&plan.vm).unwrap_or(&none);
        let disks = disks::of(source, known).await;
        let disks = disks.map_err(|error| refused(error.to_string()))?;
        if !disks.left_behind.is_empty() {
            return Err(refused(format!(
                "{} can be written to, and the configuration does not say how the target gets it",
                disks.left_behind.join(", ")
            )));
        }
        Ok(disks.mirrored)
    }

    async fn set_up_source(
        &self,
        plan: &Plan,
        source: &mut Monitor,
        target: &QemuEnd,
    ) -> Result<(), MonitorError> {
        if self.config.mirrors(&plan.vm) {
            // Of an earlier move, from which this source could not be reached.
            mirror::clear(source).await?;
        }
        self.config.set_up(source, End::Source, plan, target).await
    }

    async fn prepare(&self, plan: &Plan, target: &QemuEnd) -> Result<Monitor, DriverError> {
        let refused = |why: String| DriverError::Refused {
            what: format!("start a held target on {}", plan.target),
            why,
        };
        match Monitor::connect(&target.monitor).await {
            Err(MonitorError::NoProcess(_)) => {}
            Err(error) => return Err(refused(error.to_string())),
            Ok(_) => {
                return Err(refused(format!(
                    "a QEMU is there already, at {}",
                    target.monitor
                )));
            }
        }
        launch::launch(&target.launch).await.map_err(refused)?;
        let begun = Instant::now();
        loop {
            match Monitor::connect(&target.monitor).await {
                Ok(monitor) => return Ok(monitor),
                Err(MonitorError::NoProcess(_)) if begun.elapsed() < MONITOR_WITHIN => {
                    sleep(MONITOR_RETRY).await
                }
                Err(error) => return Err(refused(error.to_string())),
            }
        }
    }

    /// Makes both ends ready to copy: the source's monitor, and what is to be done for its disks.
    async fn ready(
        &self,
        plan: &Plan,
        cancel: &Notify,
    ) -> Result<(Monitor, mirror::Mirrors), DriverError> {
        let refused = |error: MonitorError| DriverError::Refused {
            what: what(plan),
            why: error.to_string(),
        };
        let (source_end, target_end) = (
            self.end(&plan.vm, &plan.source)?,
            self.end(&plan.vm, &plan.target)?,
        );
        let mut source = Monitor::connect(&source_end.monitor)
            .await
            .map_err(refused)?;
        let disks = self.mirrored(plan, &mut source).await?;
        self.set_up_source(plan, &mut source, target_end)
            .await
            .map_err(refused)?;
        let mut target = self.prepare(plan, target_end).await?;
        if is_called_off(cancel).await {
            drop(target);
            self.quit(plan, End::Target).await?;
            return Err(DriverError::Refused {
                what: what(plan),
                why: "it was called off before anything was copied".into(),
            });
        }
        let ready = async {
            self.config
                .set_up(&mut target, End::Target, plan, target_end)
                .await?;
            let offer = self.config.offer(&mut target, disks, plan, target_end);
            let mirrors = offer.await?;
            target.execute("migrate-incoming", uri(target_end)).await?;
            Ok(mirrors)
        };
        match ready.await {
            Ok(mirrors) => Ok((source, mirrors)),
            Err(error) => {
                // It holds no guest: away with it, so that the refusal is the whole truth.
                drop(target);
                self.quit(plan, End::Target).await?;
                Err(refused(error))
            }
        }
    }

    async fn copy_memory(
        &self,
        plan: &Plan,
        mut source: Monitor,
        mirrors: mirror::Mirrors,
        copying: &Copying,
    ) -> Result<(), DriverError> {
        let target = self.end(&plan.vm, &plan.target)?;
        let after = self.config.post_copy_after_s.map(Duration::from_secs);
        let words = (&copying.cancel, &copying.progress);
        let job = CopyJob::new(&mut source, &target.monitor, words, mirrors, after);
        let copied = job.run(uri(target)).await;
        copied.map_err(|error| DriverError::Uncertain {
            what: what(plan),
            why: error.to_string(),
        })
    }

    /// Ends the QEMU at one end.
    async fn quit(&self, plan: &Plan, end: End) -> Result<(), DriverError> {
        let host = plan.host(end);
        let ended = ending::quit(&self.end(&plan.vm, host)?.monitor).await;
        ended.map_err(|why| DriverError::Uncertain {
            what: format!("end QEMU of {} on {host}", plan.vm),
            why,
        })
    }

    /// Has the source give up what it may be copying still, before its target is ended: at a switch to post-copy in between the
    /// guest would end with it, and of disks that are mirrored something would be left. Of a source that copies memory by pre-copy
    /// alone the guest goes on when the target ends.
    async fn call_off(&self, plan: &Plan) -> Result<(), DriverError> {
        let called_off = ending::call_off(&self.end(&plan.vm, &plan.source)?.monitor).await;
        called_off.map_err(|why| DriverError::Uncertain {
            what: format!("end the migration of {} on {}", plan.vm, plan.source),
            why,
        })
    }

    async fn figures_of(&self, plan: &Plan) -> Option<Figures> {
        let end = self.end(&plan.vm, &plan.source).ok()?;
        let mut source = Monitor::connect(&end.monitor).await.ok()?;
        loop {
            let info = source.execute("query-migrate", json!({})).await.ok()?;
            let figure = |key: &str| info.get(key).and_then(Value::as_f64);
            if let Some(total) = figure("total-time").filter(|total| *total > 0.0) {
                return Some(Figures {
                    total_ms: Some(total),
                    downtime_ms: figure("downtime"),
                    copied: copied(&info),
                });
            }
            sleep(FIGURES_AGAIN).await;
        }
    }
}

/// What a copy tries.
fn what(plan: &Plan) -> String {
    let Plan {
        vm, source, target, ..
    } = plan;
    format!("migrate {vm} from {source} to {target}")
}

/// Where a target takes the guest.
fn uri(target: &QemuEnd) -> Value {
    json!({ "uri": format!("tcp:{}", target.incoming) })
}

/// Whether a cancel has come, which is taken.
async fn is_called_off(cancel: &Notify) -> bool {
    tokio::select! {
        biased;
        () = cancel.notified() => true,
        () = std::future::ready(()) => false,
    }
}

/// What `query-migrate` says of the memory that was sent.
fn copied(info: &Value) -> Option<Copied> {
    let count = |key: &str| info.get("ram")?.get(key)?.as_u64();
    Some(Copied {
        bytes: count("transferred")?,
        pages: count("normal")?,
        zero_pages: count("duplicate")?,
        rounds: count("dirty-sync-count")?,
    })
}

impl Driver for Qemu {
    fn hand_over(&self) -> HandOver {
        HandOver::Held
    }

    async fn copy(&self, plan: &Plan, copying: impl FnOnce() + Send) -> Result<(), DriverError> {
        let Mode::PreCopy = plan.mode;
        // Known from here on: a cancel may come while the target is launched.
        let copy = Arc::new(Copying::default());
        let _under_way = copy.under_way.lock().await;
        let preparing = copy.preparing.lock().await;
        self.copies().insert(plan.migration, Arc::clone(&copy));
        let ready = self.ready(plan, &copy.cancel).await;
        drop(preparing);
        let copied = match ready {
            Ok((source, mirrors)) => {
                copying();
                self.copy_memory(plan, source, mirrors, &copy).await
            }
            Err(error) => Err(error),
        };
        self.copies().remove(&plan.migration);
        copied
    }

    /// What whoever copies was told last: a monitor serves nobody else meanwhile.
    async fn progress(&self, plan: &Plan) -> Option<JobProgress> {
        let copy = self.copies().get(&plan.migration).cloned()?;
        let progress = copy.progress.lock();
        *progress.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn figures(&self, plan: &Plan) -> Figures {
        let said = timeout(FIGURES_WITHIN, self.figures_of(plan)).await;
        said.ok().flatten().unwrap_or_default()
    }

    /// Of a QEMU elsewhere nobody says it.
    async fn cpu_times(&self, host: &HostName, vms: &[VmName]) -> CpuTimes {
        let mut times = CpuTimes::default();
        for vm in vms {
            let end = self.end(vm, host).ok();
            let Some(monitor) = end.and_then(|end| stream::socket_of(&end.monitor)) else {
                continue;
            };
            match cpu::time_used(monitor).await {
                Ok(used) => drop(times.used.insert(vm.clone(), used)),
                Err(why) => times.problem = Some(format!("{vm}: {why}")),
            }
        }
        times
    }

    async fn look(&self, vm: &VmName, host: &HostName) -> Result<Residency, String> {
        let end = self.end(vm, host).map_err(|error| error.to_string())?;
        let seen = async {
            let mut monitor = Monitor::connect(&end.monitor).await?;
            guest::residency(&mut monitor).await
        };
        match seen.await {
            Ok(residency) => Ok(residency),
            Err(MonitorError::NoProcess(_) | MonitorError::Closed(_)) => Ok(Residency::Absent),
            Err(
                error @ (MonitorError::Unreachable { .. }
                | MonitorError::Refused { .. }
                | MonitorError::NotQmp { .. }),
            ) => Err(error.to_string()),
        }
    }

    async fn run(&self, plan: &Plan, end: End) -> Result<(), DriverError> {
        let host = plan.host(end);
        let uncertain = |error: MonitorError| DriverError::Uncertain {
            what: format!("run {} on {host}", plan.vm),
            why: error.to_string(),
        };
        let mut monitor = Monitor::connect(&self.end(&plan.vm, host)?.monitor)
            .await
            .map_err(uncertain)?;
        let runs = match end {
            End::Target => guest::run(&mut monitor).await,
            End::Source => guest::go_on(&mut monitor).await,
        };
        runs.map_err(uncertain)
    }

    async fn discard(&self, plan: &Plan, end: End) -> Result<(), DriverError> {
        let may_be_copying =
            self.config.post_copy_after_s.is_some() || self.config.mirrors(&plan.vm);
        if end == End::Target && may_be_copying {
            self.call_off(plan).await?;
        }
        self.quit(plan, end).await
    }

    async fn cancel(&self, plan: &Plan) -> Result<(), DriverError> {
        let uncertain = |why: &str| DriverError::Uncertain {
            what: format!("cancel the migration of {}", plan.vm),
            why: why.to_owned(),
        };
        let copy = self.copies().get(&plan.migration).cloned();
        // What is not copying any more needs no cancel: looking says what came of it.
        let Some(copy) = copy else { return Ok(()) };
        copy.cancel.notify_one();
        // A launch goes on to its end: a QEMU that came up after it would be nobody's. Each step of it has its own limit.
        drop(copy.preparing.lock().await);
        match timeout(CANCEL_WITHIN, copy.under_way.lock()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(uncertain("QEMU has not ended copying")),
        }
    }
}

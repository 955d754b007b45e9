//! The [`Driver`] of QEMU.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use control::HandOver;
use record::decision::{End, MigrationId, Mode};
use record::{HostName, Residency, VmName};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::config::{QemuConfig, QemuEnd};
use super::monitor::{Monitor, MonitorError};
use crate::driver::{Driver, DriverError, Figures, Plan};

/// A launch program that has not returned after this has failed.
const LAUNCH_WITHIN: Duration = Duration::from_secs(20);
/// A launched QEMU answers on its monitor within this.
const MONITOR_WITHIN: Duration = Duration::from_secs(5);
/// How often a monitor that is not there yet is tried.
const MONITOR_RETRY: Duration = Duration::from_millis(20);
/// Events tell of the end of copying at once; this catches one that was missed.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// A guest that was stopped for the last pages runs at the target within this, or goes on at the source.
const SWITCH_WITHIN: Duration = Duration::from_secs(2);
/// How often is looked whether a source has come to rest: the guest is stopped meanwhile.
const UNSETTLED_RETRY: Duration = Duration::from_millis(2);
/// `total-time` may read 0 just after `completed`: ask again after this.
const FIGURES_AGAIN: Duration = Duration::from_millis(100);
/// A move is not kept from its end for its figures any longer.
const FIGURES_WITHIN: Duration = Duration::from_secs(3);
/// QEMU ends copying within this once it was told to.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);
/// A QEMU that was told to quit is gone within this.
const QUIT_WITHIN: Duration = Duration::from_secs(5);

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
        launch(&target.launch).await.map_err(refused)?;
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
                });
            }
            sleep(FIGURES_AGAIN).await;
        }
    }

    async fn configure(&self, monitor: &mut Monitor) -> Result<(), MonitorError> {
        let on = |name: &str| json!({ "capability": name, "state": true });
        let capabilities = json!({ "capabilities": [on("events"), on("return-path")] });
        monitor
            .execute("migrate-set-capabilities", capabilities)
            .await?;
        let parameters = json!({
            "downtime-limit": self.config.downtime_limit_ms,
            "max-bandwidth": self.config.bandwidth_bytes_per_s,
        });
        monitor
            .execute("migrate-set-parameters", parameters)
            .await
            .map(drop)
    }
}

/// QEMU's run state (qapi/run-state.json) as a residency.
fn residency_of(status: &str) -> Residency {
    match status {
        "running" => Residency::Running,
        // Waiting for the guest's memory, or never given one: no whole guest is here.
        "inmigrate" | "prelaunch" | "shutdown" => Residency::Absent,
        // "finish-migrate" is none of them: it is stopped for the last pages, and runs again by itself when they do not get
        // through.
        "paused" | "postmigrate" | "suspended" | "io-error" | "watchdog" | "guest-panicked" => {
            Residency::Paused
        }
        // Unheard of: claim nothing.
        _ => Residency::Unreachable,
    }
}

async fn launch(argv: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("no launch program is configured".into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = match timeout(LAUNCH_WITHIN, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("cannot run {program}: {error}")),
        Err(_) => {
            return Err(format!(
                "{program} has not returned after {} s",
                LAUNCH_WITHIN.as_secs()
            ));
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{program} failed ({}): {}",
        output.status,
        words.trim().chars().take(500).collect::<String>()
    ))
}

/// Waits until the source, whose migration has ended, has come to rest: it says so before it is held for good or runs again.
async fn finished(source: &mut Monitor) -> Result<(), MonitorError> {
    let begun = Instant::now();
    loop {
        let status = source.execute("query-status", json!({})).await?;
        let unsettled = status
            .get("status")
            .is_some_and(|status| status == "finish-migrate");
        // What it is then is seen by who inspects.
        if !unsettled || begun.elapsed() >= SWITCH_WITHIN {
            return Ok(());
        }
        sleep(UNSETTLED_RETRY).await;
    }
}

/// Waits until the source says that copying has ended; `Ok` for `completed`.
async fn copy_end(source: &mut Monitor, cancel: &Notify) -> Result<(), MonitorError> {
    // The source stops the guest for the last pages, and lets it run again when they do not get through. It waits for a peer
    // that says nothing as long as TCP does, which is minutes, and its main loop answers nobody meanwhile.
    let mut stopped_at: Option<Instant> = None;
    let mut yanked = false;
    loop {
        tokio::select! {
            event = source.event(STATUS_EVERY) => {
                match event?.as_deref() {
                    Some("STOP") => stopped_at = Some(Instant::now()),
                    Some("RESUME") => stopped_at = None,
                    _ => {}
                }
            }
            () = cancel.notified() => drop(source.execute("migrate_cancel", json!({})).await?),
        }
        let held = stopped_at.filter(|_| !yanked);
        if held.is_some_and(|at| at.elapsed() >= SWITCH_WITHIN) {
            yanked = true;
            source.yank_migration().await?;
        }
        let query = if held.is_some() {
            let asked = source.execute_within("query-migrate", json!({}), STATUS_EVERY);
            match asked.await {
                Err(MonitorError::Unreachable { .. }) => continue,
                answer => answer,
            }
        } else {
            source.execute("query-migrate", json!({})).await
        };
        let info = query?;
        let status = info
            .get("status")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match status {
            "completed" => return finished(source).await,
            "failed" | "cancelled" => {
                finished(source).await?;
                let why = match info.get("error-desc").and_then(Value::as_str) {
                    _ if yanked => "the target did not take the last pages in time",
                    Some(why) => why,
                    None => "QEMU gave no reason",
                };
                return Err(MonitorError::Refused {
                    address: "the source".into(),
                    command: "migrate".into(),
                    why: format!("{status}: {why}"),
                });
            }
            _ => {}
        }
    }
}

impl Driver for Qemu {
    fn hand_over(&self) -> HandOver {
        HandOver::Held
    }

    async fn copy(&self, plan: &Plan, copying: impl FnOnce() + Send) -> Result<(), DriverError> {
        let Mode::PreCopy = plan.mode;
        let what = format!(
            "migrate {} from {} to {}",
            plan.vm, plan.source, plan.target
        );
        let refused = |error: MonitorError| DriverError::Refused {
            what: what.clone(),
            why: error.to_string(),
        };
        let (source_end, target_end) = (
            self.end(&plan.vm, &plan.source)?,
            self.end(&plan.vm, &plan.target)?,
        );
        let mut source = Monitor::connect(&source_end.monitor)
            .await
            .map_err(refused)?;
        self.configure(&mut source).await.map_err(refused)?;
        let mut target = self.prepare(plan, target_end).await?;
        let uri = json!({ "uri": format!("tcp:{}", target_end.incoming) });
        let ready = async {
            self.configure(&mut target).await?;
            target.execute("migrate-incoming", uri.clone()).await
        };
        if let Err(error) = ready.await {
            // It holds no guest: away with it, so that the refusal is the whole truth.
            drop(target);
            self.discard(plan, End::Target).await?;
            return Err(refused(error));
        }
        drop(target);
        let copy = Arc::new(Copying::default());
        let _under_way = copy.under_way.lock().await;
        self.copies().insert(plan.migration, Arc::clone(&copy));
        copying();
        let uncertain = |error: MonitorError| DriverError::Uncertain {
            what: what.clone(),
            why: error.to_string(),
        };
        let copied = async {
            source.execute("migrate", uri).await?;
            copy_end(&mut source, &copy.cancel).await
        };
        let copied = copied.await.map_err(uncertain);
        self.copies().remove(&plan.migration);
        copied
    }

    async fn figures(&self, plan: &Plan) -> Figures {
        let said = timeout(FIGURES_WITHIN, self.figures_of(plan)).await;
        said.ok().flatten().unwrap_or_default()
    }

    async fn residency(&self, vm: &VmName, host: &HostName) -> Residency {
        let Ok(end) = self.end(vm, host) else {
            return Residency::Unreachable;
        };
        let status = async {
            let mut monitor = Monitor::connect(&end.monitor).await?;
            monitor.execute("query-status", json!({})).await
        };
        match status.await {
            Ok(status) => residency_of(
                status
                    .get("status")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            ),
            Err(MonitorError::NoProcess(_) | MonitorError::Closed(_)) => Residency::Absent,
            Err(
                MonitorError::Unreachable { .. }
                | MonitorError::Refused { .. }
                | MonitorError::NotQmp { .. },
            ) => Residency::Unreachable,
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
        monitor
            .execute("cont", json!({}))
            .await
            .map_err(uncertain)?;
        // The switches between viewer and guest must learn the new way at once: QEMU announces the guest's address by itself
        // when copying ends, which may be before anything can be sent from here.
        let announce = json!({ "initial": 20, "max": 500, "rounds": 8, "step": 60 });
        monitor
            .execute("announce-self", announce)
            .await
            .map(drop)
            .map_err(uncertain)
    }

    async fn discard(&self, plan: &Plan, end: End) -> Result<(), DriverError> {
        let host = plan.host(end);
        let what = format!("end QEMU of {} on {host}", plan.vm);
        let uncertain = |error: MonitorError| DriverError::Uncertain {
            what: what.clone(),
            why: error.to_string(),
        };
        let address = &self.end(&plan.vm, host)?.monitor;
        match Monitor::connect(address).await {
            Err(MonitorError::NoProcess(_)) => return Ok(()),
            Err(error) => return Err(uncertain(error)),
            Ok(mut monitor) => match monitor.execute("quit", json!({})).await {
                Ok(_) | Err(MonitorError::Closed(_)) => {}
                Err(error) => return Err(uncertain(error)),
            },
        }
        let begun = Instant::now();
        while begun.elapsed() < QUIT_WITHIN {
            if let Err(MonitorError::NoProcess(_)) = Monitor::connect(address).await {
                return Ok(());
            }
            sleep(MONITOR_RETRY).await;
        }
        Err(DriverError::Uncertain {
            what,
            why: format!("it is still there {} s after `quit`", QUIT_WITHIN.as_secs()),
        })
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
        match timeout(CANCEL_WITHIN, copy.under_way.lock()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(uncertain("QEMU has not ended copying")),
        }
    }
}

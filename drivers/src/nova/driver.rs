//! The [`Driver`] of Nova.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::HandOver;
use record::decision::{End, MigrationId, Mode};
use record::{HostName, Residency, VmName};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::answer::{
    ActionAnswer, Diagnostics, JobsAnswer, Migration, MigrationsAnswer, Progress, Server,
    ServerAnswer, Service, ServicesAnswer,
};
use super::cloud::{Cloud, CloudError};
use super::config::NovaConfig;
use super::credentials::{Credentials, CredentialsError};
use super::tagged::{self, FoundByNova};
use crate::driver::{CpuTimes, Driver, DriverError, Figures, JobProgress, Plan};
use crate::tagged::Found;

/// How often Nova is asked how far a migration is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// A server's `task_state` (nova/compute/task_states.py).
const MIGRATING: &str = "migrating";
/// Nova makes a record of a migration that it has taken within this.
const RECORD_WITHIN: Duration = Duration::from_secs(60);
/// Nova may refuse to say how far a migration is, as when it is asked too often: so long, and no longer.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// A migration that was aborted is over within this, most of the time.
const OVER_WITHIN: Duration = Duration::from_secs(20);

/// Moves servers of an OpenStack cloud.
#[derive(Debug)]
pub struct Nova {
    config: NovaConfig,
    cloud: Cloud,
    /// Nova's id of each function's server: as configured, and as tags have told since.
    servers: Mutex<BTreeMap<VmName, String>>,
    /// Moves under way that nobody has cancelled.
    wanted: Mutex<BTreeSet<MigrationId>>,
}

impl Nova {
    /// A driver with these settings. Nothing is asked yet.
    ///
    /// # Errors
    /// When it is not known who Forestall is, or a server's id is none.
    pub fn new(config: NovaConfig) -> Result<Self, CredentialsError> {
        if let Some(id) = config.servers.values().find(|id| !is_id(id)) {
            return Err(CredentialsError::ServerId(id.clone()));
        }
        let credentials =
            Credentials::find(config.cloud.as_deref(), config.clouds_file.as_deref())?;
        let cloud = Cloud::new(credentials)?;
        Ok(Self {
            servers: Mutex::new(config.servers.clone()),
            config,
            cloud,
            wanted: Mutex::default(),
        })
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<VmName, String>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server_id(&self, vm: &VmName) -> Result<String, DriverError> {
        let id = self.servers().get(vm).cloned();
        id.ok_or_else(|| DriverError::Refused {
            what: format!("find the server of {vm}"),
            why: "the configuration of the Nova driver names none, and Nova has told of none that is tagged".into(),
        })
    }

    async fn server(&self, id: &str) -> Result<Server, CloudError> {
        let answer: ServerAnswer = self.cloud.get(&format!("/servers/{id}"), &[]).await?;
        Ok(answer.server)
    }

    /// The `nova-compute` of a host.
    async fn service(&self, host: &HostName) -> Result<Option<Service>, CloudError> {
        let query = [("binary", "nova-compute"), ("host", self.config.host(host))];
        let answer: ServicesAnswer = self.cloud.get("/os-services", &query).await?;
        Ok(answer.services.into_iter().next())
    }

    /// A server's last live migration.
    async fn last_migration(&self, id: &str) -> Result<Option<Migration>, CloudError> {
        let query = [("instance_uuid", id), ("migration_type", "live-migration")];
        let answer: MigrationsAnswer = self.cloud.get("/os-migrations", &query).await?;
        Ok(answer
            .migrations
            .into_iter()
            .max_by_key(|migration| migration.id))
    }

    /// The migration that is under way, if one is.
    async fn under_way(&self, id: &str) -> Result<Option<Migration>, CloudError> {
        let last = self.last_migration(id).await?;
        let is_over = |migration: &Migration| {
            matches!(migration.progress(), Progress::Completed | Progress::Failed)
        };
        Ok(last.filter(|last| !is_over(last)))
    }

    /// Ends a migration that is this plan's; one that somebody else has begun goes on.
    async fn abort(&self, id: &str, plan: &Plan, migration: &Migration) -> Result<(), CloudError> {
        let (source, target) = (&plan.source, &plan.target);
        if !migration.is_between(self.config.host(source), self.config.host(target)) {
            return Ok(());
        }
        let path = format!("/servers/{id}/migrations/{}", migration.id);
        match self.cloud.request(Method::DELETE, &path, None).await {
            // It has ended in between.
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    /// The moves that are wanted. Nobody panics while they are held.
    fn wanted(&self) -> MutexGuard<'_, BTreeSet<MigrationId>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the migration that a request asked for; `Err` with Nova's reason.
    async fn end_of(
        &self,
        plan: &Plan,
        id: &str,
        before: u64,
        request: Option<&str>,
        copying: impl FnOnce(),
    ) -> Result<(), String> {
        let begun = Instant::now();
        let force_after = self.config.force_complete_after_s.map(Duration::from_secs);
        let mut copying = Some(copying);
        let mut forced = false;
        let mut told_at = begun;
        loop {
            sleep(PROGRESS_EVERY).await;
            let last = match self.last_migration(id).await {
                Ok(last) => last.filter(|last| last.id > before),
                // While it is left alone, since it was asked too often, nobody has asked.
                Err(error @ CloudError::Refused { .. })
                    if told_at.elapsed() >= REFUSED_FOR && !self.cloud.is_paused() =>
                {
                    return Err(error.to_string());
                }
                // It goes on whether Nova's API answers or not. How long is waited is the controller's to say.
                Err(CloudError::Refused { .. } | CloudError::NoAnswer(_)) => continue,
            };
            told_at = Instant::now();
            match last.as_ref().map(Migration::progress) {
                Some(Progress::Completed) => return Ok(()),
                Some(Progress::Failed) => {
                    let why = self.failure(id, request).await;
                    let status = last.map_or(String::new(), |last| last.status);
                    return Err(why.map_or(status.clone(), |why| format!("{status}: {why}")));
                }
                Some(Progress::Copies) => {
                    if let Some(copying) = copying.take() {
                        copying();
                    }
                    if let (false, Some(after), Some(last)) = (forced, force_after, &last)
                        && begun.elapsed() >= after
                        && self.wanted().contains(&plan.migration)
                    {
                        forced = true;
                        self.force(id, last.id).await;
                    }
                }
                Some(Progress::Prepares) => {}
                // No record: it may have failed before one was made.
                None => {
                    if let Some(why) = self.failure(id, request).await {
                        return Err(why);
                    }
                    if begun.elapsed() >= RECORD_WITHIN {
                        return Err(format!(
                            "Nova has taken it, and has no record of it after {} s",
                            RECORD_WITHIN.as_secs()
                        ));
                    }
                }
            }
        }
    }

    async fn force(&self, id: &str, migration: u64) {
        let path = format!("/servers/{id}/migrations/{migration}/action");
        let body = json!({ "force_complete": null });
        if let Err(error) = self.cloud.request(Method::POST, &path, Some(&body)).await {
            // The migration goes on, and may well end by itself.
            eprintln!("nova: migration {migration} of {id} cannot be forced to its end: {error}");
        }
    }

    /// Why a request came to nothing, when that is known.
    async fn failure(&self, id: &str, request: Option<&str>) -> Option<String> {
        let path = format!("/servers/{id}/os-instance-actions/{}", request?);
        let answer: ActionAnswer = self.cloud.get(&path, &[]).await.ok()?;
        answer.action.failure()
    }

    async fn settle(&self, plan: &Plan, end: End) -> Result<(), String> {
        let id = &self
            .server_id(&plan.vm)
            .map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let mut aborted = false;
        loop {
            let under_way = self
                .under_way(id)
                .await
                .map_err(|error| error.to_string())?;
            let Some(migration) = under_way else {
                return Ok(());
            };
            if begun.elapsed() >= OVER_WITHIN {
                return Err(format!(
                    "migration {} is under way still after {} s",
                    migration.id,
                    OVER_WITHIN.as_secs()
                ));
            }
            if end == End::Target && !aborted {
                aborted = true;
                self.abort(id, plan, &migration)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            sleep(PROGRESS_EVERY).await;
        }
    }

    async fn server_of(&self, vm: &VmName) -> Result<Option<Server>, CloudError> {
        let id = self.server_id(vm);
        let id = id.map_err(|error| CloudError::NoAnswer(error.to_string()))?;
        match self.server(&id).await {
            Err(error) if error.is_not_found() => Ok(None),
            server => server.map(Some),
        }
    }

    /// What a host says of a server, by the server's record.
    async fn look_by(&self, server: Option<&Server>, host: &HostName) -> Result<Residency, String> {
        let here = |server: &&Server| server.host.as_deref() == Some(self.config.host(host));
        let Some(server) = server.filter(here) else {
            return Ok(Residency::Absent);
        };
        // From the moment in which Nova takes a migration until it is over: its record says the source, the guest may run at
        // the target already, and whose migration it is does not matter.
        if server.task_state.as_deref() == Some(MIGRATING) {
            return Err("a migration of it is under way".into());
        }
        match self
            .service(host)
            .await
            .map_err(|error| error.to_string())?
        {
            Some(service) if service.state == "up" => Ok(server.residency()),
            Some(service) => Err(format!("its nova-compute is {}", service.state)),
            None => Err(format!(
                "Nova knows no compute host {}",
                self.config.host(host)
            )),
        }
    }
}

/// Whether it may be a server's id, and nothing else in a path.
pub(super) fn is_id(id: &str) -> bool {
    let mut letters = id.chars();
    !id.is_empty() && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
}

impl Driver for Nova {
    fn hand_over(&self) -> HandOver {
        HandOver::ByEngine
    }

    async fn copy(&self, plan: &Plan, copying: impl FnOnce() + Send) -> Result<(), DriverError> {
        let Mode::PreCopy = plan.mode;
        let what = format!(
            "migrate {} from {} to {}",
            plan.vm, plan.source, plan.target
        );
        let refused = |why: String| DriverError::Refused {
            what: what.clone(),
            why,
        };
        let uncertain = |why: String| DriverError::Uncertain {
            what: what.clone(),
            why,
        };
        let failed = |error: CloudError| refused(error.to_string());
        let id = &self.server_id(&plan.vm)?;
        let server = self.server(id).await.map_err(failed)?;
        if server.host.as_deref() != Some(self.config.host(&plan.source)) {
            return Err(refused(format!(
                "the server is on {}",
                server.host.as_deref().unwrap_or("no host")
            )));
        }
        if let Some(task) = &server.task_state {
            return Err(refused(format!("the server is busy: {task}")));
        }
        match self.service(&plan.target).await.map_err(failed)? {
            Some(service) if service.state == "up" && service.status == "enabled" => {}
            Some(service) => {
                return Err(refused(format!(
                    "nova-compute on {} is {} and {}",
                    plan.target, service.state, service.status
                )));
            }
            None => {
                return Err(refused(format!(
                    "Nova knows no compute host {}",
                    self.config.host(&plan.target)
                )));
            }
        }
        let before = self.last_migration(id).await.map_err(failed)?;
        let body = json!({ "os-migrateLive": {
            "host": self.config.host(&plan.target), "block_migration": "auto",
        } });
        let path = format!("/servers/{id}/action");
        let answer = match self.cloud.request(Method::POST, &path, Some(&body)).await {
            Ok(answer) => answer,
            Err(error @ CloudError::Refused { .. }) => return Err(refused(error.to_string())),
            Err(CloudError::NoAnswer(why)) => return Err(uncertain(why)),
        };
        let before = before.map_or(0, |migration| migration.id);
        self.wanted().insert(plan.migration);
        let ended = self
            .end_of(plan, id, before, answer.request_id.as_deref(), copying)
            .await;
        self.wanted().remove(&plan.migration);
        ended.map_err(uncertain)
    }

    async fn progress(&self, plan: &Plan) -> Option<JobProgress> {
        let path = format!("/servers/{}/migrations", self.server_id(&plan.vm).ok()?);
        let answer: JobsAnswer = self.cloud.get(&path, &[]).await.ok()?;
        let (source, target) = (
            self.config.host(&plan.source),
            self.config.host(&plan.target),
        );
        let mut jobs = answer.migrations.iter();
        jobs.find(|job| job.is_between(source, target))?.progress()
    }

    async fn figures(&self, plan: &Plan) -> Figures {
        let last = match self.server_id(&plan.vm) {
            Ok(id) => self.last_migration(&id).await.ok().flatten(),
            Err(_) => None,
        };
        Figures {
            total_ms: last.and_then(|last| last.took_ms()),
            downtime_ms: None,
            copied: None,
        }
    }

    async fn tagged(&self) -> Found {
        let FoundByNova { found, servers } = tagged::tagged(&self.cloud, &self.config).await;
        for (vm, id) in servers {
            // What a person wrote of a function counts, and not its tag.
            if !self.config.servers.contains_key(&vm) {
                self.servers().insert(vm, id);
            }
        }
        found
    }

    async fn cpu_times(&self, _: &HostName, vms: &[VmName]) -> CpuTimes {
        let mut times = CpuTimes::default();
        for vm in vms {
            let Ok(id) = self.server_id(vm) else {
                continue;
            };
            let path = format!("/servers/{id}/diagnostics");
            match self.cloud.get::<Diagnostics>(&path, &[]).await {
                Ok(diagnostics) => {
                    let used = diagnostics.cpu_time();
                    times.used.extend(used.map(|used| (vm.clone(), used)));
                }
                // It does not run, or is busy: that is for who looks where it is.
                Err(error) if error.is_conflict() => {}
                Err(error) => {
                    // Those that come after it would be refused, or wait, as well.
                    times.problem = Some(error.to_string());
                    break;
                }
            }
        }
        times
    }

    async fn look(&self, vm: &VmName, host: &HostName) -> Result<Residency, String> {
        let server = self
            .server_of(vm)
            .await
            .map_err(|error| error.to_string())?;
        self.look_by(server.as_ref(), host).await
    }

    /// Both ends by one record: it is at one instant what it is.
    async fn inspect(&self, plan: &Plan) -> (Residency, Residency) {
        match self.server_of(&plan.vm).await {
            Ok(server) => {
                let end = async |host| {
                    let seen = self.look_by(server.as_ref(), host).await;
                    seen.unwrap_or(Residency::Unreachable)
                };
                tokio::join!(end(&plan.target), end(&plan.source))
            }
            Err(_) => (Residency::Unreachable, Residency::Unreachable),
        }
    }

    /// Nova clears up by itself, when the migration is over. One that is not is aborted when the target is to be cleared.
    async fn discard(&self, plan: &Plan, end: End) -> Result<(), DriverError> {
        self.settle(plan, end)
            .await
            .map_err(|why| DriverError::Uncertain {
                what: format!("clear {} away on {}", plan.vm, plan.host(end)),
                why,
            })
    }

    async fn cancel(&self, plan: &Plan) -> Result<(), DriverError> {
        let uncertain = |error: CloudError| DriverError::Uncertain {
            what: format!("cancel the migration of {}", plan.vm),
            why: error.to_string(),
        };
        self.wanted().remove(&plan.migration);
        let id = &self.server_id(&plan.vm)?;
        match self.under_way(id).await.map_err(uncertain)? {
            Some(migration) => self.abort(id, plan, &migration).await.map_err(uncertain),
            None => Ok(()),
        }
    }
}

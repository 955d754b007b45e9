//! The [`Driver`] of libvirt.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::HandOver;
use record::decision::{End, Mode};
use record::{HostName, Residency, VmName};
use tokio::time::{Instant, sleep};

use super::config::{LibvirtConfig, LibvirtHost};
use super::tagged;
use super::virsh::{State, Virsh, cpu_time_of, raw_figure};
use crate::driver::{CpuTimes, Driver, DriverError, Figures, JobProgress, Plan};
use crate::tagged::Found;

/// A target whose migration was aborted is cleared away by libvirt within this.
const CLEARED_WITHIN: Duration = Duration::from_secs(10);
/// A switch to post-copy that was refused is tried again after this, until the migration ends.
const SWITCH_EVERY: Duration = Duration::from_millis(500);
/// How often is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Moves domains from libvirtd to libvirtd.
#[derive(Debug)]
pub struct Libvirt {
    config: LibvirtConfig,
    /// Functions that somebody else migrated when they were to be moved: such a job is not ours to abort.
    of_others: Mutex<BTreeSet<VmName>>,
}

impl Libvirt {
    /// A driver with these settings.
    #[must_use]
    pub const fn new(config: LibvirtConfig) -> Self {
        let of_others = Mutex::new(BTreeSet::new());
        Self { config, of_others }
    }

    fn of_others(&self) -> MutexGuard<'_, BTreeSet<VmName>> {
        self.of_others
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the job of a move, unless it is known to be another's.
    async fn abort(&self, plan: &Plan, source: Virsh<'_>, domain: &str) -> Result<(), String> {
        if self.of_others().contains(&plan.vm) {
            return Err(format!(
                "the job of it on {} is somebody else's",
                plan.source
            ));
        }
        let words = ["domjobabort", "--domain", domain];
        source.ask(&words).await.map(drop)
    }

    fn host(&self, host: &HostName) -> Result<&LibvirtHost, DriverError> {
        self.config
            .hosts
            .get(host)
            .ok_or_else(|| DriverError::Refused {
                what: format!("reach libvirt on {host}"),
                why: "the configuration of the libvirt driver names no such host".into(),
            })
    }

    fn virsh(&self, host: &HostName) -> Result<Virsh<'_>, DriverError> {
        self.host(host).map(|host| Virsh(&host.uri))
    }

    /// The domain of a function.
    fn domain<'a>(&'a self, vm: &'a VmName) -> Result<&'a str, DriverError> {
        let name = self.config.domain(vm);
        if is_taken_for_another(name) {
            return Err(DriverError::Refused {
                what: format!("find the domain of {vm}"),
                why: format!(
                    "virsh takes {name:?} for an option, an id or a UUID: rename the domain"
                ),
            });
        }
        Ok(name)
    }

    /// Words of the `virsh migrate` that makes a move.
    fn migrate(&self, plan: &Plan, persistent: bool) -> Result<Vec<String>, DriverError> {
        let Mode::PreCopy = plan.mode;
        let target = self.host(&plan.target)?;
        let peer = target.peer_uri.as_ref().unwrap_or(&target.uri);
        let mut words = vec!["migrate", "--live", "--p2p"];
        if persistent {
            words.extend(["--persistent", "--undefinesource"]);
        }
        let config = &self.config;
        let options = [
            (config.auto_converge, "--auto-converge"),
            (config.tls, "--tls"),
            (config.copy_disks, "--copy-storage-all"),
        ];
        words.extend(options.iter().filter(|(on, _)| *on).map(|(_, word)| *word));
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.extend(["--bandwidth".into(), config.bandwidth_mib_per_s.to_string()]);
        if config.post_copy_after_s.is_some() {
            words.push("--postcopy".into());
        }
        let domain = self.domain(&plan.vm)?;
        words.extend(["--domain", domain, "--desturi", peer].map(str::to_owned));
        if let Some(uri) = &target.migration_uri {
            words.extend(["--migrateuri".into(), uri.clone()]);
        }
        Ok(words)
    }

    /// Has `virsh` migrate, and libvirt switch to post-copy when it is time. Not by `virsh`'s own time-out: that asks once, and says
    /// nothing when libvirt refuses because it has not set the migration up yet.
    async fn migrated(
        &self,
        source: Virsh<'_>,
        domain: &str,
        words: &[&str],
    ) -> Result<(), String> {
        let Some(after) = self.config.post_copy_after_s else {
            return source.wait(words).await.map(drop);
        };
        let mut refusal = None;
        let switch = async {
            sleep(Duration::from_secs(after)).await;
            while let Err(why) = source.ask(&["migrate-postcopy", "--domain", domain]).await {
                refusal = Some(why);
                sleep(SWITCH_EVERY).await;
            }
            refusal = None;
            pending::<Infallible>().await
        };
        let migrated = tokio::select! {
            migrated = source.wait(words) => migrated,
            never = switch => match never {},
        };
        migrated.map(drop).map_err(|why| match refusal {
            Some(refusal) => format!("{why}; and it did not switch to post-copy: {refusal}"),
            None => why,
        })
    }

    /// Waits until a host holds no guest of this name any more.
    async fn cleared(&self, plan: &Plan, end: End) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            match self.residency(&plan.vm, plan.host(end)).await {
                Residency::Absent => return Ok(()),
                seen if begun.elapsed() >= CLEARED_WITHIN => {
                    return Err(format!(
                        "after {} s it is {seen:?} there still",
                        CLEARED_WITHIN.as_secs()
                    ));
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Takes the definition of a domain away that does not run. Its UEFI variables stay, as they do after a migration.
    async fn undefine(here: Virsh<'_>, domain: &str) -> Result<(), String> {
        here.ask(&["undefine", "--domain", domain, "--keep-nvram"])
            .await
            .map(drop)
    }

    async fn clear(&self, plan: &Plan, end: End) -> Result<(), String> {
        let domain = self.domain(&plan.vm).map_err(|error| error.to_string())?;
        let at = |end| {
            self.virsh(plan.host(end))
                .map_err(|error| error.to_string())
        };
        let (here, source) = (at(end)?, at(End::Source)?);
        let Some(state) = here.state(domain).await? else {
            return Ok(());
        };
        match (end, state.residency()) {
            // Its definition alone, since libvirt could not take it away with the guest (`--undefinesource`): whoever starts it would
            // run the guest twice.
            (End::Source, Residency::Absent) => Self::undefine(here, domain).await,
            (End::Target, Residency::Absent) => Ok(()),
            (End::Source, Residency::Paused) => {
                if here.has_job(domain).await? {
                    return Err("a job of it is under way there".into());
                }
                // A job that has ended in between may have let it run again: looked at last.
                let now = here.state(domain).await?;
                if now.map(State::residency) != Some(Residency::Paused) {
                    return Err("it is not held there any more".into());
                }
                here.ask(&["destroy", "--domain", domain]).await?;
                self.cleared(plan, end).await?;
                // One that was persistent is known still.
                match here.state(domain).await? {
                    Some(_) => Self::undefine(here, domain).await,
                    None => Ok(()),
                }
            }
            // What comes in is never destroyed here: when its migration is aborted libvirt clears it away.
            (End::Target, Residency::Paused) => {
                if source.has_job(domain).await? {
                    self.abort(plan, source, domain).await?;
                }
                self.cleared(plan, end).await
            }
            (_, seen) => Err(format!("it is {seen:?} there")),
        }
    }
}

/// `virsh` looks for an id first, then for a UUID, then for a name: such a name would be somebody else's domain.
pub(super) fn is_taken_for_another(name: &str) -> bool {
    let digits = name.bytes().filter(|byte| *byte != b'-');
    let is_uuid =
        digits.clone().count() == 32 && digits.clone().all(|byte| byte.is_ascii_hexdigit());
    name.starts_with('-') || name.parse::<i64>().is_ok() || is_uuid
}

impl Driver for Libvirt {
    fn hand_over(&self) -> HandOver {
        HandOver::ByEngine
    }

    async fn copy(&self, plan: &Plan, copying: impl FnOnce() + Send) -> Result<(), DriverError> {
        let what = format!(
            "migrate {} from {} to {}",
            plan.vm, plan.source, plan.target
        );
        let refused = |why: String| DriverError::Refused {
            what: what.clone(),
            why,
        };
        let domain = self.domain(&plan.vm)?;
        let (source, target) = (self.virsh(&plan.source)?, self.virsh(&plan.target)?);
        // Of a connection that is not made virsh does not say to whom.
        let at = |host: &HostName, why: String| refused(format!("libvirt on {host}: {why}"));
        let here = source.state(domain).await;
        let here = here.map_err(|why| at(&plan.source, why))?;
        if here.map(State::residency) != Some(Residency::Running) {
            return Err(refused(format!("{domain} does not run on {}", plan.source)));
        }
        // libvirt would have ours wait for it, with its downtime changed to ours.
        if source.has_job(domain).await.map_err(refused)? {
            self.of_others().insert(plan.vm.clone());
            return Err(refused(format!(
                "libvirt on {} has a job of {domain} under way: somebody else migrates or saves it",
                plan.source
            )));
        }
        self.of_others().remove(&plan.vm);
        let there = target.state(domain).await;
        let there = there.map_err(|why| at(&plan.target, why))?;
        if there.is_some_and(|state| state.residency() != Residency::Absent) {
            return Err(refused(format!("{domain} is on {} already", plan.target)));
        }
        let said = source.ask(&["dominfo", "--domain", domain]).await;
        let persistent = said.map_err(refused)?.lines().any(|line| {
            line.strip_prefix("Persistent:")
                .is_some_and(|word| word.trim() == "yes")
        });
        let downtime = self.config.downtime_limit_ms.to_string();
        source
            .ask(&[
                "migrate-setmaxdowntime",
                "--domain",
                domain,
                "--downtime",
                &downtime,
            ])
            .await
            .map_err(refused)?;
        let words = self.migrate(plan, persistent)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        copying();
        let migrated = self.migrated(source, domain, &words).await;
        migrated.map_err(|why| DriverError::Uncertain { what, why })
    }

    async fn progress(&self, plan: &Plan) -> Option<JobProgress> {
        let (domain, source) = (self.domain(&plan.vm).ok()?, self.virsh(&plan.source).ok()?);
        let words = ["domjobinfo", "--rawstats", "--domain", domain];
        let said = source.ask(&words).await.ok()?;
        Some(JobProgress {
            total_bytes: raw_figure(&said, "data_total")?,
            copied_bytes: raw_figure(&said, "data_processed")?,
            remaining_bytes: raw_figure(&said, "data_remaining")?,
        })
    }

    async fn figures(&self, plan: &Plan) -> Figures {
        let (Ok(domain), Ok(target)) = (self.domain(&plan.vm), self.virsh(&plan.target)) else {
            return Figures::default();
        };
        let words = [
            "domjobinfo",
            "--completed",
            "--rawstats",
            "--domain",
            domain,
        ];
        // A move does not fail for want of them.
        let said = target.ask(&words).await.unwrap_or_default();
        Figures {
            total_ms: raw_figure(&said, "time_elapsed"),
            downtime_ms: raw_figure(&said, "downtime"),
            copied: None,
        }
    }

    async fn tagged(&self) -> Found {
        tagged::tagged(&self.config).await
    }

    async fn cpu_times(&self, host: &HostName, vms: &[VmName]) -> CpuTimes {
        // One question for all of them: those that are busy with a job are left out rather than waited for.
        let words = ["domstats", "--cpu-total", "--vcpu", "--nowait"];
        let asked = match self.virsh(host) {
            Ok(virsh) => virsh.ask(&words).await,
            Err(error) => Err(error.to_string()),
        };
        let said = match asked {
            Ok(said) => said,
            Err(why) => {
                return CpuTimes {
                    used: BTreeMap::new(),
                    problem: Some(why),
                };
            }
        };
        let used = vms.iter().filter_map(|vm| {
            let used = cpu_time_of(&said, self.config.domain(vm))?;
            Some((vm.clone(), used))
        });
        CpuTimes {
            used: used.collect(),
            problem: None,
        }
    }

    async fn look(&self, vm: &VmName, host: &HostName) -> Result<Residency, String> {
        let words = |error: DriverError| error.to_string();
        let (domain, virsh) = (
            self.domain(vm).map_err(words)?,
            self.virsh(host).map_err(words)?,
        );
        let state = virsh.state(domain).await?;
        Ok(state.map_or(Residency::Absent, State::residency))
    }

    async fn discard(&self, plan: &Plan, end: End) -> Result<(), DriverError> {
        self.clear(plan, end)
            .await
            .map_err(|why| DriverError::Uncertain {
                what: format!("clear {} away on {}", plan.vm, plan.host(end)),
                why,
            })
    }

    async fn cancel(&self, plan: &Plan) -> Result<(), DriverError> {
        let domain = self.domain(&plan.vm)?;
        let source = self.virsh(&plan.source)?;
        self.abort(plan, source, domain)
            .await
            .map_err(|why| DriverError::Uncertain {
                what: format!("cancel the migration of {}", plan.vm),
                why,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::is_taken_for_another;

    #[test]
    fn names_that_virsh_takes_for_something_else() {
        for (name, taken) in [
            ("17", true),
            ("--all", true),
            ("092deb2f-7186-41e6-b662-bf0ce61456cb", true),
            ("vm-17", false),
            ("17a", false),
        ] {
            assert_eq!(is_taken_for_another(name), taken, "{name}");
        }
    }
}

//! What Nova answers, as far as it is read. Microversion 2.84 (Ussuri) tells why an action failed.

use std::time::Duration;

use record::Residency;
use serde::Deserialize;
use serde_json::Value;

use crate::driver::JobProgress;

/// The API's version that is spoken.
pub(super) const MICROVERSION: &str = "compute 2.84";

#[derive(Debug, Deserialize)]
pub(super) struct ServerAnswer {
    pub(super) server: Server,
}

/// `GET /servers/ID`.
#[derive(Debug, Deserialize)]
pub(super) struct Server {
    #[serde(rename = "OS-EXT-SRV-ATTR:host")]
    pub(super) host: Option<String>,
    #[serde(rename = "OS-EXT-STS:vm_state")]
    vm_state: String,
    #[serde(rename = "OS-EXT-STS:task_state")]
    pub(super) task_state: Option<String>,
    #[serde(rename = "OS-EXT-STS:power_state")]
    power_state: i64,
}

/// `nova/objects/fields.py`, `InstancePowerState`.
const POWER_RUNNING: i64 = 1;
const POWER_PAUSED: i64 = 3;
const POWER_SHUT_DOWN: i64 = 4;
const POWER_CRASHED: i64 = 6;
const POWER_SUSPENDED: i64 = 7;

impl Server {
    /// What its own host says of it.
    pub(super) fn residency(&self) -> Residency {
        match (self.vm_state.as_str(), self.power_state) {
            ("stopped" | "deleted" | "soft-delete" | "shelved" | "shelved_offloaded", _) => {
                Residency::Absent
            }
            ("paused" | "suspended", _) => Residency::Paused,
            // A server may be in `error` and run: its last action failed.
            (_, POWER_RUNNING) => Residency::Running,
            (_, POWER_PAUSED | POWER_SUSPENDED) => Residency::Paused,
            (_, POWER_SHUT_DOWN | POWER_CRASHED) => Residency::Absent,
            _ => Residency::Unreachable,
        }
    }
}

/// `GET /servers/ID/diagnostics`, as of microversion 2.48.
#[derive(Debug, Deserialize)]
pub(super) struct Diagnostics {
    #[serde(default)]
    cpu_details: Vec<VirtualProcessor>,
}

#[derive(Debug, Deserialize)]
struct VirtualProcessor {
    /// Nanoseconds; `null` where the hypervisor does not say it.
    time: Option<u64>,
}

impl Diagnostics {
    /// What its virtual processors have used, where the hypervisor says it of all of them.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        let times = self.cpu_details.iter().map(|one| one.time);
        let times: Vec<u64> = times.collect::<Option<_>>()?;
        let sum = times.into_iter().reduce(u64::saturating_add)?;
        Some(Duration::from_nanos(sum))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ServicesAnswer {
    pub(super) services: Vec<Service>,
}

/// `GET /os-services`.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) host: String,
    pub(super) state: String,
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct MigrationsAnswer {
    pub(super) migrations: Vec<Migration>,
}

/// `GET /os-migrations`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Migration {
    pub(super) id: u64,
    pub(super) status: String,
    source_compute: Option<String>,
    /// Not known until a host has been found.
    dest_compute: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct JobsAnswer {
    pub(super) migrations: Vec<Job>,
}

/// `GET /servers/ID/migrations`: a live migration that is under way. Nova renews its figures every five seconds; those that it does not
/// know are `null`.
#[derive(Debug, Deserialize)]
pub(super) struct Job {
    source_compute: Option<String>,
    dest_compute: Option<String>,
    memory_total_bytes: Option<u64>,
    memory_processed_bytes: Option<u64>,
    memory_remaining_bytes: Option<u64>,
    disk_total_bytes: Option<u64>,
    disk_processed_bytes: Option<u64>,
    disk_remaining_bytes: Option<u64>,
}

impl Job {
    /// Whether it goes from one of these compute hosts to the other.
    pub(super) fn is_between(&self, source: &str, target: &str) -> bool {
        self.source_compute.as_deref() == Some(source)
            && self.dest_compute.as_deref() == Some(target)
    }

    /// Memory, and disks that go with it.
    pub(super) fn progress(&self) -> Option<JobProgress> {
        let sum = |memory: Option<u64>, disk: Option<u64>| {
            Some(memory?.saturating_add(disk.unwrap_or_default()))
        };
        Some(JobProgress {
            total_bytes: sum(self.memory_total_bytes, self.disk_total_bytes)?,
            copied_bytes: sum(self.memory_processed_bytes, self.disk_processed_bytes)?,
            remaining_bytes: sum(self.memory_remaining_bytes, self.disk_remaining_bytes)?,
        })
    }
}

/// What a migration's status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is copied yet.
    Prepares,
    Copies,
    Completed,
    Failed,
}

impl Migration {
    /// From `nova/objects/migration.py` and the life of a live migration in `nova/compute/manager.py`.
    pub(super) fn progress(&self) -> Progress {
        match self.status.as_str() {
            "accepted" | "queued" | "preparing" => Progress::Prepares,
            "completed" => Progress::Completed,
            "error" | "failed" | "cancelled" => Progress::Failed,
            // "running", "post-migrating"; one that this program does not know is not over.
            _ => Progress::Copies,
        }
    }

    /// Whether it goes from one of these compute hosts to the other, as far as Nova knows yet.
    pub(super) fn is_between(&self, source: &str, target: &str) -> bool {
        self.source_compute.as_deref() == Some(source)
            && self.dest_compute.as_deref().is_none_or(|to| to == target)
    }

    /// From Nova's record, to the second.
    pub(super) fn took_ms(&self) -> Option<f64> {
        let at = |text: &Option<String>| text.as_ref()?.parse::<jiff::civil::DateTime>().ok();
        let (begun, ended) = (at(&self.created_at)?, at(&self.updated_at)?);
        let took = ended.duration_since(begun);
        (took.is_positive()).then(|| took.as_secs_f64() * 1e3)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ActionAnswer {
    #[serde(rename = "instanceAction")]
    pub(super) action: Action,
}

/// `GET /servers/ID/os-instance-actions/REQUEST`.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    message: Option<String>,
    #[serde(default)]
    events: Vec<ActionEvent>,
}

#[derive(Debug, Deserialize)]
struct ActionEvent {
    event: String,
    result: Option<String>,
    details: Option<String>,
}

impl Action {
    /// Why it failed, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        let failed = |event: &&ActionEvent| event.result.as_deref() == Some("Error");
        let event = self.events.iter().find(failed);
        match (event, self.message.as_deref()) {
            (Some(event), _) => Some(format!(
                "{}: {}",
                event.event,
                event.details.as_deref().unwrap_or("Nova gives no reason")
            )),
            (None, Some("Error")) => Some("Nova gives no reason".into()),
            (None, _) => None,
        }
    }
}

/// The message in an error's body, which every service of OpenStack wraps in one more name.
pub(super) fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let wrapped = body.as_object()?.values().next()?;
    Some(wrapped.get("message")?.as_str()?.to_owned())
}

/// A service that is asked too often does not always say for how long it wants to be left alone.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// It is left alone no longer, whatever it says: what is at stake are moves, and where guests are.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How long a service that is asked too often (413, 429) wants to be left alone, by the header of that name or the error's body.
pub(super) fn retry_after(header: Option<&str>, body: &[u8]) -> Duration {
    let in_body = || {
        let body: Value = serde_json::from_slice(body).ok()?;
        let said = body.as_object()?.values().next()?.get("retryAfter")?;
        said.as_u64().or_else(|| said.as_str()?.trim().parse().ok())
    };
    let seconds = header.and_then(|said| said.trim().parse().ok());
    let said = seconds.or_else(in_body).map(Duration::from_secs);
    let said = said.filter(|said| !said.is_zero());
    said.unwrap_or(RETRY_AFTER).min(RETRY_AFTER_MAX)
}

/// What a person can do about a refusal, where that is known.
pub(super) fn advice(status: u16, why: &str) -> Option<&'static str> {
    match status {
        403 if why.to_lowercase().contains("quota") => Some(
            "The project has no more of it: have its quota raised, or free some (`openstack quota show --usage`)",
        ),
        403 => Some(
            "Forestall's role lacks the right to it: ARCHITECTURE.md, \"Nova\", lists those that it needs",
        ),
        413 | 429 => Some(
            "The cloud is asked too often: have Forestall's limit raised, or let others ask less",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_service_wants_to_be_left_alone() {
        for (header, body, seconds) in [
            (Some("7"), "{}", 7),
            (
                None,
                r#"{"overLimit": {"code": 413, "retryAfter": "9"}}"#,
                9,
            ),
            (None, r#"{"overLimit": {"retryAfter": 9}}"#, 9),
            (Some("2"), r#"{"overLimit": {"retryAfter": "9"}}"#, 2),
            // It may be a date, or nonsense.
            (Some("Mon, 30 Nov 2026 12:00:00 GMT"), "<html>", 5),
            (Some("0"), "[]", 5),
            (None, r#"{"overLimit": {"retryAfter": -1}}"#, 5),
            (Some("86400"), "{}", 60),
        ] {
            let said = retry_after(header, body.as_bytes());
            assert_eq!(said, Duration::from_secs(seconds), "{header:?} {body}");
        }
    }

    #[test]
    fn residencies() {
        for (vm_state, power_state, expected) in [
            ("active", 1, Residency::Running),
            ("active", 3, Residency::Paused),
            ("active", 0, Residency::Unreachable),
            ("paused", 3, Residency::Paused),
            ("stopped", 4, Residency::Absent),
            ("error", 1, Residency::Running),
            ("error", 0, Residency::Unreachable),
            ("building", 0, Residency::Unreachable),
        ] {
            let server = Server {
                host: None,
                vm_state: vm_state.into(),
                task_state: None,
                power_state,
            };
            assert_eq!(server.residency(), expected, "{vm_state} {power_state}");
        }
    }

    #[test]
    fn what_a_server_has_used() {
        // The example of Nova's API reference, and what may be missing in it.
        for (cpu_details, milliseconds) in [
            (
                r#"[{"id": 0, "time": 17300000000, "utilisation": 15}]"#,
                Some(17_300),
            ),
            (
                r#"[{"id": 0, "time": 1000000}, {"id": 1, "time": 2000000}]"#,
                Some(3),
            ),
            (
                r#"[{"id": 0, "time": 1000000}, {"id": 1, "time": null}]"#,
                None,
            ),
            ("[]", None),
        ] {
            let text = format!(r#"{{"state": "running", "cpu_details": {cpu_details}}}"#);
            let diagnostics: Diagnostics = serde_json::from_str(&text).unwrap();
            let expected = milliseconds.map(Duration::from_millis);
            assert_eq!(diagnostics.cpu_time(), expected, "{text}");
        }
    }

    #[test]
    fn messages() {
        let body = br#"{"badRequest": {"code": 400, "message": "Compute host x not found."}}"#;
        assert_eq!(message(body).as_deref(), Some("Compute host x not found."));
        for other in [&b"<html>"[..], b"[]", b"{}", br#"{"a": 1}"#] {
            assert_eq!(message(other), None);
        }
    }

    #[test]
    fn fuzz_what_nova_says() {
        let check = bolero::check!().with_type::<(Vec<u8>, [Option<String>; 4], i64)>();
        check.for_each(|(anything, [one, two, three, four], number)| {
            message(anything);
            let server = serde_json::json!({
                "OS-EXT-SRV-ATTR:host": one, "OS-EXT-STS:vm_state": two, "OS-EXT-STS:power_state": number,
            });
            if let Ok(server) = serde_json::from_value::<Server>(server) {
                let runs = server.residency() == Residency::Running;
                assert!(!runs || *number == POWER_RUNNING);
            }
            let migration = serde_json::json!({
                "id": number, "status": one, "source_compute": two, "created_at": three, "updated_at": four,
            });
            if let Ok(migration) = serde_json::from_value::<Migration>(migration) {
                let over = migration.progress() == Progress::Completed;
                assert!(!over || migration.status == "completed");
                let took = migration.took_ms();
                assert!(took.is_none_or(|ms| ms > 0.0 && ms.is_finite()));
            }
            let action = serde_json::json!({
                "message": one, "events": [{ "event": two, "result": three, "details": four }],
            });
            if let Ok(action) = serde_json::from_value::<Action>(action) {
                action.failure();
            }
        });
    }
}

//! What a QEMU says of its guest, and letting it run.

use record::Residency;
use serde_json::{Value, json};

use super::ending;
use super::monitor::{Monitor, MonitorError};

/// Status of a migration whose guest was stopped, and that goes on when it is told to (`pause-before-switchover`).
pub(super) const PAUSED: &str = "pre-switchover";

/// What this QEMU holds of the guest.
pub(super) async fn residency(monitor: &mut Monitor) -> Result<Residency, MonitorError> {
    let run_state = run_state(monitor).await?;
    // Asked last: of a target that is fed by post-copy the run state alone says that it holds a guest.
    let migration = monitor.execute("query-migrate", json!({})).await?;
    let migration = migration_status(&migration);
    // Stopped for a target, and its migration came to no good end: in post-copy the guest may have run at the target.
    if run_state == "postmigrate" && migration != "completed" && may_post_copy(monitor).await? {
        return Ok(Residency::Unreachable);
    }
    Ok(residency_of(&run_state, migration))
}

/// Whether the last migration was one that could switch to post-copy.
async fn may_post_copy(monitor: &mut Monitor) -> Result<bool, MonitorError> {
    let capabilities = monitor
        .execute("query-migrate-capabilities", json!({}))
        .await?;
    let is_on = |one: &Value| one["capability"] == "postcopy-ram" && one["state"] == true;
    Ok(capabilities
        .as_array()
        .is_some_and(|all| all.iter().any(is_on)))
}

/// QEMU's run state (`RunState` in qapi/run-state.json).
pub(super) async fn run_state(monitor: &mut Monitor) -> Result<String, MonitorError> {
    let status = monitor.execute("query-status", json!({})).await?;
    Ok(status["status"].as_str().unwrap_or_default().to_owned())
}

/// Status of the last migration out of this QEMU, or into it where there was none out of it (`MigrationStatus` in
/// qapi/migration.json); empty where there was none.
pub(super) fn migration_status(info: &Value) -> &str {
    info["status"].as_str().unwrap_or_default()
}

/// Memory of the guest is at the source and at the target: neither alone is whole.
pub(super) fn is_post_copy(migration: &str) -> bool {
    // postcopy-active, postcopy-paused, postcopy-recover, and whatever of the kind a newer QEMU has.
    migration.starts_with("postcopy")
}

fn residency_of(run_state: &str, migration: &str) -> Residency {
    match run_state {
        // It may run at the target, and does not live without the source.
        _ if is_post_copy(migration) => Residency::Unreachable,
        // It waits with its disks for somebody to finish them: the target has none of its devices.
        "finish-migrate" if migration == PAUSED => Residency::Paused,
        "running" => Residency::Running,
        // Waiting for the guest's memory, or never given one: no whole guest is here.
        "inmigrate" | "prelaunch" | "shutdown" => Residency::Absent,
        // "finish-migrate" without that is none of them: it is stopped for the last pages, and runs again by itself when they do not get
        // through.
        "paused" | "postmigrate" | "suspended" | "io-error" | "watchdog" | "guest-panicked" => {
            Residency::Paused
        }
        // Unheard of: claim nothing.
        _ => Residency::Unreachable,
    }
}

/// Lets the guest run. The caller has seen that it does not run elsewhere.
pub(super) async fn run(monitor: &mut Monitor) -> Result<(), MonitorError> {
    monitor.execute("cont", json!({})).await?;
    // The switches between viewer and guest must learn the new way at once: QEMU announces the guest's address by itself
    // when copying ends, which may be before anything can be sent from here.
    let announce = json!({ "initial": 20, "max": 500, "rounds": 8, "step": 60 });
    monitor.execute("announce-self", announce).await.map(drop)
}

/// Lets the guest of a source go on. The caller has seen that it does not run elsewhere.
pub(super) async fn go_on(source: &mut Monitor) -> Result<(), MonitorError> {
    let migration = source.execute("query-migrate", json!({})).await?;
    if migration_status(&migration) == PAUSED {
        // It runs by itself when that is over.
        return ending::cancel(source).await;
    }
    run(source).await
}

#[cfg(test)]
mod tests {
    use super::residency_of;
    use record::Residency::{Absent, Paused, Running, Unreachable};

    #[test]
    fn what_a_run_state_and_a_migration_say_of_the_guest() {
        for (run_state, migration, expected) in [
            ("running", "", Running),
            ("running", "active", Running),
            ("running", "failed", Running),
            ("running", "completed", Running),
            ("inmigrate", "active", Absent),
            ("prelaunch", "", Absent),
            ("paused", "completed", Paused),
            ("postmigrate", "completed", Paused),
            ("finish-migrate", "device", Unreachable),
            ("finish-migrate", "pre-switchover", Paused),
            // The source of post-copy, and one that post-copy left behind.
            ("finish-migrate", "postcopy-active", Unreachable),
            ("finish-migrate", "postcopy-paused", Unreachable),
            ("running", "postcopy-active", Unreachable),
            // The target of post-copy, before and after it was told to run.
            ("inmigrate", "postcopy-active", Unreachable),
            ("paused", "postcopy-active", Unreachable),
            ("running", "postcopy-recover", Unreachable),
            ("running", "postcopy-unheard-of", Unreachable),
            ("unheard-of", "", Unreachable),
        ] {
            let seen = residency_of(run_state, migration);
            assert_eq!(seen, expected, "{run_state}, {migration}");
        }
    }
}

//! Ends a QEMU, or what it is copying.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::monitor::{Monitor, MonitorError};
use super::{guest, mirror};

/// A QEMU that was told to quit is gone within this.
const QUIT_WITHIN: Duration = Duration::from_secs(5);
/// A source gives up copying within this once it was told to.
const CALLED_OFF_WITHIN: Duration = Duration::from_secs(10);
/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ends the QEMU with a monitor at this address, if there is one, or says why it may be there still.
pub(super) async fn quit(address: &str) -> Result<(), String> {
    match Monitor::connect(address).await {
        Err(MonitorError::NoProcess(_)) => return Ok(()),
        Err(error) => return Err(error.to_string()),
        Ok(mut monitor) => match monitor.execute("quit", json!({})).await {
            Ok(_) | Err(MonitorError::Closed(_)) => {}
            Err(error) => return Err(error.to_string()),
        },
    }
    let begun = Instant::now();
    while begun.elapsed() < QUIT_WITHIN {
        if let Err(MonitorError::NoProcess(_)) = Monitor::connect(address).await {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    Err(format!(
        "it is still there {} s after `quit`",
        QUIT_WITHIN.as_secs()
    ))
}

/// Has a source give its migration up.
pub(super) async fn cancel(source: &mut Monitor) -> Result<(), MonitorError> {
    source.execute("migrate_cancel", json!({})).await?;
    // One that is just about to wait with its disks may miss that, and would wait for ever (QEMU before 10.0,
    // `migration_maybe_pause` in migration/migration.c). To all others this says nothing.
    let go_on = json!({ "state": "cancelling" });
    drop(source.execute("migrate-continue", go_on).await);
    Ok(())
}

/// Has a source give up what it may be copying, memory and disks. Good when the guest runs there afterwards, and nothing is copied any more.
pub(super) async fn call_off(address: &str) -> Result<(), String> {
    match timeout(CALLED_OFF_WITHIN, give_up(address)).await {
        Ok(given_up) => given_up,
        Err(_) => Err(format!(
            "it has not given up after {} s",
            CALLED_OFF_WITHIN.as_secs()
        )),
    }
}

async fn give_up(address: &str) -> Result<(), String> {
    let said = |error: MonitorError| error.to_string();
    let mut source = Monitor::connect(address).await.map_err(said)?;
    let mut asked = false;
    loop {
        let info = source.execute("query-migrate", json!({})).await;
        let info = info.map_err(said)?;
        match guest::migration_status(&info) {
            // Completed: the guest came here by that one, or stands still, since the target has it.
            "" | "none" | "cancelled" | "failed" | "completed" => {
                mirror::clear(&mut source).await.map_err(said)?;
                let state = guest::run_state(&mut source).await.map_err(said)?;
                return match state.as_str() {
                    "running" => Ok(()),
                    _ => Err(format!("the guest is {state} there")),
                };
            }
            status if guest::is_post_copy(status) => {
                return Err("the target has a part of the guest".into());
            }
            _ if !asked => {
                asked = true;
                cancel(&mut source).await.map_err(said)?;
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

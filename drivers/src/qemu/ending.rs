//! Ends a QEMU, or what it is copying.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::guest;
use super::monitor::{Monitor, MonitorError};

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

/// Has a source give up what it may be copying. Good when the guest runs there afterwards, and nothing is copied any more.
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
                let cancelled = source.execute("migrate_cancel", json!({})).await;
                cancelled.map_err(said)?;
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

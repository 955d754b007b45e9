//! Has a QEMU start on another host, by whatever program the configuration names.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// A launch program that has not returned after this has failed.
const LAUNCH_WITHIN: Duration = Duration::from_secs(20);
/// Of what it says of a failure, so much is kept.
const WORDS_MAX: usize = 500;

/// Runs it, and says why it failed.
pub(super) async fn launch(argv: &[String]) -> Result<(), String> {
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
        words.trim().chars().take(WORDS_MAX).collect::<String>()
    ))
}

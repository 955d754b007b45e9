//! What a QEMU of this machine has used of its processors. QMP does not say it: its process is asked, which is known by the unix socket
//! of its monitor.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::fs;
use tokio::time::timeout;

use super::stream;

/// A socket that is not opened after this is taken to belong to a QEMU that is held up.
const OPENED_WITHIN: Duration = Duration::from_secs(1);
/// Milliseconds of what `/proc` counts CPU time in: a hundredth of a second (`USER_HZ`), part of Linux' ABI.
const TICK_MS: u64 = 10;

/// CPU time of the QEMU whose monitor is this socket.
///
/// # Errors
/// In words, why nobody knows.
pub(super) async fn time_used(monitor: &Path) -> Result<Duration, String> {
    let pid = match timeout(OPENED_WITHIN, peer(monitor)).await {
        Ok(pid) => pid.map_err(|error| format!("{}: {error}", monitor.display()))?,
        Err(_) => return Err(format!("{} does not open", monitor.display())),
    };
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).await;
    let stat = stat.map_err(|error| format!("{path}: {error}"))?;
    read(&stat).ok_or_else(|| format!("{path} is not that of a QEMU"))
}

/// Who listens there.
async fn peer(monitor: &Path) -> io::Result<i32> {
    // It is the kernel's word: nothing is said over it, and QEMU waits for the next one at once.
    let socket = stream::open_unix(monitor).await?;
    let pid = socket.peer_cred()?.pid();
    pid.ok_or_else(|| io::Error::other("the kernel does not say whose it is"))
}

/// User and system time of all threads, of a process that is called as QEMU is: what only passes a monitor on has another name.
fn read(stat: &str) -> Option<Duration> {
    // The name stands in brackets, and may have any in it.
    let (name, figures) = stat.split_once('(')?.1.rsplit_once(')')?;
    if !name.starts_with("qemu") {
        return None;
    }
    // From the third field on, the state; the times are the 14th and 15th.
    let mut times = figures.split_ascii_whitespace().skip(11).take(2);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let sum = ticks()?.saturating_add(ticks()?);
    Some(Duration::from_millis(sum.saturating_mul(TICK_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_process() {
        let figures = "S 1 42 42 0 -1 4194560 900 0 7 0 1234 66 0 0 20 0 5 0 100";
        for (name, milliseconds) in [
            ("qemu-system-x86", Some(13_000)),
            ("qemu (1) x", Some(13_000)),
            ("socat", None),
        ] {
            let used = read(&format!("42 ({name}) {figures}"));
            assert_eq!(used, milliseconds.map(Duration::from_millis), "{name}");
        }
        for nonsense in [
            "",
            "42 (qemu",
            "42 (qemu) S 1",
            "42 (qemu) S 1 2 3 4 5 6 7 8 9 10 x y",
        ] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[tokio::test]
    async fn a_socket_says_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert_eq!(peer(&path).await.unwrap(), std::process::id() as i32);
        // This test is no QEMU.
        let refused = time_used(&path).await.unwrap_err();
        assert!(refused.contains("not that of a QEMU"), "{refused}");
        let gone = time_used(&folder.path().join("none")).await.unwrap_err();
        assert!(gone.contains("none"), "{gone}");
    }
}

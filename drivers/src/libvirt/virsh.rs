//! `virsh`: one process a question, ended when it takes too long.

use std::io;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use record::Residency;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A libvirtd that has not answered a question after this does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest answer that is read: the state of some hundred thousand domains.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Of what `virsh` says of a failure, so much is kept.
const WORDS_MAX: usize = 500;

/// A connection that `virsh` makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Virsh<'a>(pub(super) &'a str);

impl Virsh<'_> {
    fn command(self, words: &[&str]) -> Command {
        let mut command = Command::new("virsh");
        command
            .args(["--quiet", "--connect", self.0])
            .args(words)
            // Its words are read here.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // With `qemu+ssh` it starts others: they end with it.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Asks, and waits for the answer for as long as a libvirtd that works needs.
    pub(super) async fn ask(self, words: &[&str]) -> Result<String, String> {
        match timeout(ANSWER_WITHIN, self.wait(words)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!(
                "{} has not answered after {} s",
                self.0,
                ANSWER_WITHIN.as_secs()
            )),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn wait(self, words: &[&str]) -> Result<String, String> {
        let mut child = self.command(words).spawn().map_err(|error| {
            format!("cannot run virsh: {error}. It is in Debian's package libvirt-clients")
        })?;
        let group = Group::of(&child);
        let (said, complained) = (child.stdout.take(), child.stderr.take());
        let broken = |error: io::Error| format!("cannot read what virsh says: {error}");
        let (said, complained, status) =
            tokio::try_join!(read(said), read(complained), child.wait()).map_err(broken)?;
        group.ended();
        if status.success() {
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
        let said = String::from_utf8_lossy(&complained);
        let said = said.lines().map(|line| line.trim_start_matches("error: "));
        let said = said.collect::<Vec<_>>().join("; ");
        Err(said.trim().chars().take(WORDS_MAX).collect())
    }

    /// How a domain is; `None` when the host knows none of this name.
    pub(super) async fn state(self, domain: &str) -> Result<Option<State>, String> {
        // All of them: of one that is not there virsh says no more than that it "failed to get" it, as it does when the
        // connection breaks. With --nowait a domain that is busy is told, too.
        self.ask(&["domstats", "--state", "--nowait"])
            .await
            .map(|said| state_of(&said, domain))
    }

    /// Whether a job (a migration, a save) is under way.
    pub(super) async fn has_job(self, domain: &str) -> Result<bool, String> {
        let said = self.ask(&["domjobinfo", "--domain", domain]).await?;
        // "Job type:         None"
        Ok(!said.lines().any(|line| {
            line.strip_prefix("Job type:")
                .is_some_and(|kind| kind.trim() == "None")
        }))
    }
}

/// A `virsh` and the processes that it started, which are ended with it when it is not waited for. As long as one of them is there
/// the number of the group is nobody else's.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.map(Pid::from_raw))
    }

    /// All have ended by themselves.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // There may be none any more.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(ANSWER_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .await?;
    }
    if bytes.len() as u64 > ANSWER_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is over {} MiB",
            ANSWER_BYTES_MAX >> 20
        )));
    }
    Ok(bytes)
}

/// A domain's state and why it is in it, by libvirt's numbers: `virDomainState` and the enumerations of its reasons
/// (include/libvirt/libvirt-domain.h), which are part of its ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    state: u8,
    reason: u8,
}

const RUNNING: u8 = 1;
const BLOCKED: u8 = 2;
const PAUSED: u8 = 3;
const SHUTDOWN: u8 = 4;
const SHUTOFF: u8 = 5;
const CRASHED: u8 = 6;
const SUSPENDED: u8 = 7;
const NOT_UNDERSTOOD: u8 = u8::MAX;
/// Reasons of [`PAUSED`].
const PAUSED_FOR_POST_COPY: u8 = 12;
const POST_COPY_FAILED: u8 = 13;

impl State {
    pub(super) const fn residency(self) -> Residency {
        match self.state {
            // It does not run here, and the guest would not live without it: neither held nor gone.
            PAUSED if self.feeds_post_copy() => Residency::Unreachable,
            // Blocked on a resource of its own: it runs.
            RUNNING | BLOCKED => Residency::Running,
            // A target that still receives is paused, too. Nobody runs it but libvirt.
            PAUSED | SHUTDOWN | SUSPENDED | CRASHED => Residency::Paused,
            SHUTOFF => Residency::Absent,
            // "No state", or one that this program does not know: claim nothing.
            _ => Residency::Unreachable,
        }
    }

    /// The target runs it already and still needs what is here.
    const fn feeds_post_copy(self) -> bool {
        matches!(self.reason, PAUSED_FOR_POST_COPY | POST_COPY_FAILED)
    }
}

/// What `virsh domstats --state` says of one domain; `None` when it is not among them.
fn state_of(said: &str, domain: &str) -> Option<State> {
    let heading = format!("Domain: '{domain}'");
    let mut lines = said.lines().skip_while(|line| *line != heading);
    lines.next()?;
    let mut figure = |key: &str| {
        let line = lines.next()?.trim().strip_prefix(key)?;
        line.strip_prefix('=')?.parse().ok()
    };
    Some(State {
        state: figure("state.state").unwrap_or(NOT_UNDERSTOOD),
        reason: figure("state.reason").unwrap_or(NOT_UNDERSTOOD),
    })
}

/// What `virsh domstats --cpu-total --vcpu` says that a domain has used: all of it, or of its virtual processors where libvirt has no
/// control group to read the whole from.
pub(super) fn cpu_time_of(said: &str, domain: &str) -> Option<Duration> {
    let heading = format!("Domain: '{domain}'");
    let lines = said.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("Domain: "));
    let (mut whole, mut virtual_processors) = (None, None);
    for (key, value) in lines.filter_map(|line| line.trim().split_once('=')) {
        let Ok(nanoseconds) = value.parse::<u64>() else {
            continue;
        };
        if key == "cpu.time" {
            whole = Some(nanoseconds);
        } else if key.starts_with("vcpu.") && key.ends_with(".time") {
            let others = virtual_processors.unwrap_or(0_u64);
            virtual_processors = Some(others.saturating_add(nanoseconds));
        }
    }
    whole.or(virtual_processors).map(Duration::from_nanos)
}

/// A figure of `virsh domjobinfo --rawstats`.
pub(super) fn raw_figure<T: FromStr>(said: &str, key: &str) -> Option<T> {
    said.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_among_others() {
        let said = "Domain: 'a'\n  state.state=5\n  state.reason=2\n\nDomain: 'ab'\n  state.state=3\n  state.reason=2\n\nDomain: 'abc'\n  state.state=3\n  state.reason=12\n\n";
        let state = |domain| state_of(said, domain);
        assert_eq!(state("a").map(State::residency), Some(Residency::Absent));
        assert_eq!(state("ab").map(State::residency), Some(Residency::Paused));
        assert_eq!(
            state("abc").map(State::residency),
            Some(Residency::Unreachable)
        );
        assert_eq!(state("b"), None);
        assert_eq!(state_of("", "a"), None);
    }

    #[test]
    fn what_is_not_understood_claims_nothing() {
        for said in [
            "Domain: 'a'",
            "Domain: 'a'\n  state.state=x\n  state.reason=1",
            "Domain: 'a'\n  state.state=99\n  state.reason=1",
            "Domain: 'a'\n  state.state=900\n",
        ] {
            let state = state_of(said, "a").unwrap();
            assert_eq!(state.residency(), Residency::Unreachable, "{said}");
        }
    }

    #[test]
    fn what_a_domain_has_used() {
        let said = "Domain: 'a'\n  cpu.time=2500000000\n  cpu.user=1000\n  vcpu.current=1\n  vcpu.0.time=7\n\n\
                    Domain: 'b'\n  vcpu.current=2\n  vcpu.0.time=1000000\n  vcpu.0.wait=9\n  vcpu.1.time=2000000\n\n\
                    Domain: 'c'\n\nDomain: 'd'\n  cpu.time=-1\n";
        for (domain, milliseconds) in [
            ("a", Some(2500)),
            ("b", Some(3)),
            ("c", None),
            ("d", None),
            ("e", None),
        ] {
            let used = cpu_time_of(said, domain);
            assert_eq!(used, milliseconds.map(Duration::from_millis), "{domain}");
        }
    }

    #[test]
    fn figures_of_a_completed_job() {
        let said = "  operation: 5\n  time_elapsed: 2204\n  downtime: 12\n";
        assert_eq!(raw_figure(said, "time_elapsed"), Some(2204.0));
        assert_eq!(raw_figure(said, "downtime"), Some(12.0));
        assert_eq!(raw_figure::<u64>(said, "time"), None);
        assert_eq!(raw_figure(said, "operation"), Some(5_u64));
    }

    #[test]
    fn fuzz_what_virsh_says() {
        let check = bolero::check!().with_type::<(String, Vec<(u8, String)>)>();
        check.for_each(|(anything, lines)| {
            let known = [
                "Domain: 'a'",
                "  state.state=",
                "  state.reason=",
                "  cpu.time=",
                "  vcpu.0.time=",
                "downtime:",
            ];
            let line = |(at, rest): &(u8, String)| {
                format!("{}{rest}\n", known[usize::from(*at) % known.len()])
            };
            let said: String = lines.iter().map(line).collect();
            for said in [anything, &said] {
                let state = state_of(said, "a");
                assert!(state.is_none() || said.contains("Domain: 'a'"), "{said}");
                assert!(state_of(said, "b").is_none() || said.contains("Domain: 'b'"));
                let runs = state.is_some_and(|state| state.residency() == Residency::Running);
                assert!(!runs || said.contains("state.state="), "{said}");
                raw_figure::<f64>(said, "downtime");
                let used = cpu_time_of(said, "a");
                assert!(used.is_none() || said.contains("time="), "{said}");
            }
        });
    }
}

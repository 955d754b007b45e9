//! An outside program at a pipe.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::MediaError;

/// Time to end by itself after its input has ended.
const END_WAIT: Duration = Duration::from_secs(2);
const END_POLL: Duration = Duration::from_millis(10);

/// A command line run by the shell, in a process group of its own: it gets no Ctrl-C, its input ends instead.
pub(crate) struct Program {
    command: String,
    child: Mutex<Child>,
}

impl Program {
    /// Starts a line of the shell with its input, and with `output` also its output, at pipes.
    pub(crate) fn start(
        line: &str,
        output: Output,
    ) -> Result<(Self, ChildStdin, Option<ChildStdout>), MediaError> {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        Self::named(line.to_owned(), command, output)
    }

    /// Starts a program in the same way, without a shell.
    pub(crate) fn spawn(
        command: Command,
        output: Output,
    ) -> Result<(Self, ChildStdin, Option<ChildStdout>), MediaError> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        Self::named(words.join(" "), command, output)
    }

    fn named(
        name: String,
        mut command: Command,
        output: Output,
    ) -> Result<(Self, ChildStdin, Option<ChildStdout>), MediaError> {
        let failed = |source| MediaError::Start {
            command: name.clone(),
            source,
        };
        let stdout = match output {
            Output::Piped => Stdio::piped(),
            Output::Ignored => Stdio::null(),
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let stdin = child
            .stdin
            .take()
            .ok_or_else(|| failed(io::Error::other("no pipe to its input")))?;
        let stdout = child.stdout.take();
        Ok((
            Self {
                command: name,
                child: Mutex::new(child),
            },
            stdin,
            stdout,
        ))
    }

    /// Waits until it has ended, for [`END_WAIT`] politely. Its input must be closed already.
    pub(crate) fn end(&self) -> Option<ExitStatus> {
        let deadline = Instant::now() + END_WAIT;
        // Another thread that panicked while it held the child changes nothing about it.
        let mut child = self
            .child
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(END_POLL),
                _ => break,
            }
        }
        // Its group has its number; both are still there, because nobody waited for it.
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
        child.wait().ok()
    }

    /// The error of a program that ended although there was work.
    pub(crate) fn ended_early(&self) -> MediaError {
        let status = self
            .end()
            .map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        MediaError::Ended {
            command: self.command.clone(),
            status,
        }
    }
}

/// Whether an error says that the other end of a pipe has gone.
pub(crate) fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// What becomes of an outside program's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// It is read here.
    Piped,
    /// It is thrown away: standard output is for `--stats`.
    Ignored,
}

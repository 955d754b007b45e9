//! Programs on a host of the lab.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroups;
use crate::error::{LabError, file};
use crate::network;

/// A program that was told to end is killed after this.
const END_WITHIN: Duration = Duration::from_secs(3);

/// Where a program runs: a host's network and a share of its CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Network namespace.
    pub netns: String,
    /// Control group.
    pub cgroup: String,
}

impl Place {
    /// The command line that runs `argv` here. It goes through this same program, which enters group and namespace and then
    /// becomes `argv`: so nothing has to be done between fork and exec, and another program can use it, too.
    #[must_use]
    pub fn command(&self, argv: &[String]) -> Vec<String> {
        let mut line = vec![own()];
        line.extend(
            [
                "lab",
                "enter",
                "--netns",
                &self.netns,
                "--cgroup",
                &self.cgroup,
                "--",
            ]
            .map(String::from),
        );
        line.extend_from_slice(argv);
        line
    }

    /// Puts the calling thread, and what it will start, into the network of this place.
    ///
    /// # Errors
    /// When there is no such namespace.
    pub fn enter_network(&self) -> Result<(), LabError> {
        let path = Path::new(network::NETNS_FOLDER).join(&self.netns);
        let namespace = File::open(&path).map_err(file(&path))?;
        setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|error| file(&path)(error.into()))
    }

    /// Becomes `argv` in this place; returns only when that fails.
    pub fn enter(&self, argv: &[OsString]) -> LabError {
        let entered =
            Cgroups::detect().and_then(|groups| groups.enter(&self.cgroup, std::process::id()));
        if let Err(error) = entered.and_then(|()| self.enter_network()) {
            return error;
        }
        let Some((program, arguments)) = argv.split_first() else {
            return LabError::Program {
                what: "lab enter".into(),
                why: "no program is named".into(),
            };
        };
        let error = Command::new(program).args(arguments).exec();
        LabError::Program {
            what: format!("running {}", program.to_string_lossy()),
            why: error.to_string(),
        }
    }
}

/// A program that was started; ended when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `argv` at a place; what it says goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(place: &Place, argv: &[String], log: &Path) -> Result<Self, LabError> {
        let line = place.command(argv);
        let name = argv.first().cloned().unwrap_or_default();
        let out = File::create(log).map_err(file(log))?;
        let errors = out.try_clone().map_err(file(log))?;
        let mut command = Command::new(&line[0]);
        // A group of its own: Ctrl-C at the terminal reaches the lab alone, which then ends things in order.
        command
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .process_group(0);
        let child = command.spawn().map_err(|error| LabError::Program {
            what: format!("starting {name}"),
            why: error.to_string(),
        })?;
        Ok(Self {
            name,
            child,
            log: log.to_owned(),
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its last words.
    pub(crate) fn said(&self) -> String {
        tail(&self.log)
    }

    /// An error when it has ended by itself.
    ///
    /// # Errors
    /// With what it said last.
    pub fn check(&mut self) -> Result<(), LabError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(LabError::Program {
                what: self.name.clone(),
                why: format!("{status}; it said: {}", tail(&self.log)),
            }),
            Err(error) => Err(LabError::Program {
                what: self.name.clone(),
                why: error.to_string(),
            }),
        }
    }

    /// Whether it has ended by itself, and as it should.
    ///
    /// # Errors
    /// With what it said last, when it has ended otherwise.
    pub fn has_succeeded(&mut self) -> Result<bool, LabError> {
        match self.child.try_wait() {
            Ok(Some(status)) if status.success() => Ok(true),
            _ => self.check().map(|()| false),
        }
    }

    /// Tells it to end and waits; kills it when it does not within `limit`.
    pub fn end_within(&mut self, limit: Duration) {
        let group = Pid::from_raw(-(self.child.id() as i32));
        // Each of these fails only when the process is gone already.
        kill(group, Signal::SIGTERM).ok();
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        kill(group, Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_within(END_WITHIN);
    }
}

/// This program itself, as others start it.
pub(crate) fn own() -> String {
    std::env::current_exe()
        .unwrap_or_else(|_| PathBuf::from("forestall"))
        .to_string_lossy()
        .into_owned()
}

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    if lines.is_empty() {
        "nothing".into()
    } else {
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

/// Runs a program to its end on the lab's own host and returns what it printed.
///
/// # Errors
/// When it cannot be run or fails, with its words.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, LabError> {
    let what = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| LabError::Program {
        what: what(),
        why: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(LabError::Program {
        what: what(),
        why: format!("{}: {}", output.status, words.trim()),
    })
}

//! Programs on a host of the lab, on this machine or on one that is reached by ssh.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroups;
use crate::error::{LabError, file};
use crate::network;
use crate::ssh::Way;

/// A program that was told to end is killed after this.
const END_WITHIN: Duration = Duration::from_secs(3);
/// So much longer it may take where that has to be heard of on another machine.
const HEARD_OF_WITHIN: Duration = Duration::from_secs(2);
/// How often is looked whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Where a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A share of this machine's CPU.
    Share {
        /// The network namespace, where the lab made one for the host.
        netns: Option<String>,
        /// Control group.
        cgroup: String,
    },
    /// This machine as it is.
    Here,
    /// A share of the CPU of a machine that is reached by ssh.
    There {
        /// The machine.
        way: Way,
        /// Control group there.
        cgroup: String,
    },
}

impl Place {
    /// A host that the lab made on this machine: its network, and a share of its CPU.
    #[must_use]
    pub const fn inside(netns: String, cgroup: String) -> Self {
        Self::Share {
            netns: Some(netns),
            cgroup,
        }
    }

    /// The command line that runs `argv` here. It goes through this same program, which enters group and namespace and then
    /// becomes `argv`: so nothing has to be done between fork and exec, and another program can use it, too.
    #[must_use]
    pub fn command(&self, argv: &[String]) -> Vec<String> {
        match self {
            Self::Share { netns, cgroup } => {
                enter_line(&own(), netns.as_deref(), (cgroup, &[]), argv)
            }
            Self::Here => argv.to_vec(),
            Self::There { way, cgroup } => {
                way.command(&enter_line(way.program(), None, (cgroup, &[]), argv))
            }
        }
    }

    /// The same for a program that ends when its starter does, also where nothing else would see to that.
    pub(crate) fn held(&self, argv: &[String]) -> Vec<String> {
        match self {
            Self::There { way, cgroup } => way.command(&enter_line(
                way.program(),
                None,
                (cgroup, &["--held"]),
                argv,
            )),
            // Where the lab has no group of all that it started, nobody else would find what a killed one left.
            Self::Here => {
                let with_starter = ["setpriv", "--pdeathsig", "TERM"].map(String::from);
                with_starter.iter().chain(argv).cloned().collect()
            }
            Self::Share { .. } => self.command(argv),
        }
    }

    /// This program, as it is started there.
    #[must_use]
    pub fn own(&self) -> String {
        match self {
            Self::Share { .. } | Self::Here => own(),
            Self::There { way, .. } => way.program().to_owned(),
        }
    }

    /// Puts the calling thread, and what it will start, into the network of this place.
    ///
    /// # Errors
    /// When there is no such namespace, or the place is on another machine.
    pub fn enter_network(&self) -> Result<(), LabError> {
        match self {
            Self::Share {
                netns: Some(netns), ..
            } => {
                let path = Path::new(network::NETNS_FOLDER).join(netns);
                let namespace = File::open(&path).map_err(file(&path))?;
                setns(&namespace, CloneFlags::CLONE_NEWNET)
                    .map_err(|error| file(&path)(error.into()))
            }
            Self::Share { netns: None, .. } | Self::Here => Ok(()),
            Self::There { way, .. } => Err(LabError::Program {
                what: format!("entering the network of {}", way.target()),
                why: "it is another machine's".into(),
            }),
        }
    }

    /// Puts this process, and what it will start, here.
    fn move_in(&self) -> Result<(), LabError> {
        if let Self::Share { cgroup, .. } = self {
            Cgroups::detect()?.enter(cgroup, std::process::id())?;
        }
        self.enter_network()
    }

    /// Becomes `argv` in this place; returns only when that fails.
    pub fn enter(&self, argv: &[OsString]) -> LabError {
        if let Err(error) = self.move_in() {
            return error;
        }
        match line(argv) {
            Ok(mut command) => {
                let error = command.exec();
                LabError::Program {
                    what: format!("running {}", command.get_program().to_string_lossy()),
                    why: error.to_string(),
                }
            }
            Err(error) => error,
        }
    }

    /// Runs `argv` in this place to its end. It is told to end when this process' input has: then nobody is there any more who wants it.
    ///
    /// # Errors
    /// When it cannot be run, or fails before it is told to end.
    pub fn hold(&self, argv: &[OsString]) -> Result<(), LabError> {
        self.move_in()?;
        hold(line(argv)?, std::io::stdin())
    }
}

/// The words by which `program` goes to a place of its machine and runs `argv` there.
fn enter_line(
    program: &str,
    netns: Option<&str>,
    (cgroup, how): (&str, &[&str]),
    argv: &[String],
) -> Vec<String> {
    let mut words = vec![program, "lab", "enter", "--cgroup", cgroup];
    words.extend(netns.into_iter().flat_map(|netns| ["--netns", netns]));
    words.extend_from_slice(how);
    words.push("--");
    words.extend(argv.iter().map(String::as_str));
    words.into_iter().map(String::from).collect()
}

/// The command of a command line.
fn line(argv: &[OsString]) -> Result<Command, LabError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(LabError::Program {
            what: "lab enter".into(),
            why: "no program is named".into(),
        });
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Runs a command to its end, or ends it when there is nothing more to read from `input`.
fn hold(mut command: Command, mut input: impl Read + Send + 'static) -> Result<(), LabError> {
    let what = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| LabError::Program {
        what: what.clone(),
        why,
    };
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    let (over, is_over) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        // What cannot be read is over, too.
        std::io::copy(&mut input, &mut std::io::sink()).ok();
        drop(over);
    });
    loop {
        let ended = child.try_wait();
        match ended.map_err(|error| failed(error.to_string()))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(failed(status.to_string())),
            None => {}
        }
        if is_over.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected) {
            end_group(&mut child, END_WITHIN);
            return Ok(());
        }
    }
}

/// Tells a process group to end and waits for its first process; kills it when that does not end within `limit`.
fn end_group(child: &mut Child, limit: Duration) {
    // Each of these fails only when the process is gone already.
    signal_group(child, Signal::SIGTERM);
    wait_within(child, limit);
    signal_group(child, Signal::SIGKILL);
    child.wait().ok();
}

fn signal_group(child: &Child, signal: Signal) {
    kill(Pid::from_raw(-(child.id() as i32)), signal).ok();
}

fn wait_within(child: &mut Child, limit: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < limit && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(LOOK_EVERY);
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
        let out = File::create(log).map_err(file(log))?;
        let errors = out.try_clone().map_err(file(log))?;
        let stdin = match place {
            Place::Share { .. } | Place::Here => Stdio::null(),
            // By its end the program is told to end.
            Place::There { .. } => Stdio::piped(),
        };
        let name = argv.first().cloned().unwrap_or_default();
        Self::spawn(name, &place.held(argv), (stdin, out.into(), errors), log)
    }

    /// Starts a command line of this machine. Where its input is piped, the end of that is how it is told to end.
    pub(crate) fn spawn(
        name: String,
        line: &[String],
        (stdin, out, errors): (Stdio, Stdio, File),
        log: &Path,
    ) -> Result<Self, LabError> {
        let mut command = Command::new(&line[0]);
        // A group of its own: Ctrl-C at the terminal reaches the lab alone, which then ends things in order.
        command
            .args(&line[1..])
            .stdin(stdin)
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

    /// Gives it something to read, where its input is piped.
    pub(crate) fn say(&mut self, text: &str) -> std::io::Result<()> {
        let stdin = self.child.stdin.as_mut();
        let stdin = stdin.ok_or(std::io::ErrorKind::BrokenPipe)?;
        stdin.write_all(text.as_bytes())
    }

    /// What it prints, where that is piped, and once.
    pub(crate) fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
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
        if let Some(stdin) = self.child.stdin.take() {
            drop(stdin);
            wait_within(&mut self.child, limit.max(END_WITHIN) + HEARD_OF_WITHIN);
        }
        end_group(&mut self.child, limit);
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
    last_lines(&text)
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str) -> String {
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

/// What a program is given to read.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// Nothing.
    Nothing,
    /// Few bytes, as fit into a pipe.
    Bytes(&'a [u8]),
    /// A file.
    File(File),
}

/// Runs a command line of this machine to its end and returns what it printed. `what` is named in errors.
pub(crate) fn output(what: &str, line: &[String], input: Input<'_>) -> Result<Vec<u8>, LabError> {
    let failed = |why: String| LabError::Program {
        what: what.to_owned(),
        why,
    };
    let (stdin, bytes) = match input {
        Input::Nothing => (Stdio::null(), None),
        Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
        Input::File(from) => (Stdio::from(from), None),
    };
    let mut command = Command::new(&line[0]);
    command
        .args(&line[1..])
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    if let (Some(bytes), Some(mut stdin)) = (bytes, child.stdin.take()) {
        // One that does not read them says itself what it failed at.
        stdin.write_all(bytes).ok();
    }
    let output = child.wait_with_output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, words.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_held_program_ends_by_itself() {
        // Its input goes on as long as this end is there.
        let (input, _goes_on) = std::io::pipe().unwrap();
        hold(line(&words("true")).unwrap(), input).unwrap();
        let (input, _goes_on) = std::io::pipe().unwrap();
        let error = hold(line(&words("false")).unwrap(), input).unwrap_err();
        assert_eq!(error.to_string(), "false failed: exit status: 1");
        let error = hold(line(&words("/no/such")).unwrap(), std::io::empty()).unwrap_err();
        assert!(error.to_string().starts_with("/no/such failed"), "{error}");
        assert!(line(&[]).is_err());
    }

    #[test]
    fn a_held_program_ends_with_its_input() {
        let (input, goes_on) = std::io::pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (begun, told) = (folder.path().join("begun"), folder.path().join("told"));
        // It is told, and not killed: it has files to end.
        let script = format!(
            "trap 'touch {told}; exit 3' TERM; touch {begun}; while true; do sleep 0.01; done",
            told = told.display(),
            begun = begun.display()
        );
        let held = std::thread::spawn(move || {
            let argv = ["sh", "-c", &script].map(OsString::from);
            hold(line(&argv).unwrap(), input)
        });
        let since = Instant::now();
        while !begun.exists() {
            assert!(since.elapsed() < Duration::from_secs(20), "it never began");
            std::thread::sleep(LOOK_EVERY);
        }
        assert!(!held.is_finished());
        drop(goes_on);
        held.join().unwrap().unwrap();
        assert!(told.exists());
    }

    #[test]
    fn a_program_on_another_machine_is_entered_and_held_there() {
        let argv = ["play", "it's"].map(String::from);
        let way = Way::through("root@edge-a", Path::new("/s/a.ssh"), "/p/forestall");
        let place = Place::There {
            way,
            cgroup: "forestall/ends".into(),
        };
        let last = |line: Vec<String>| line.last().cloned().unwrap();
        assert_eq!(
            last(place.command(&argv)),
            r"'/p/forestall' 'lab' 'enter' '--cgroup' 'forestall/ends' '--' 'play' 'it'\''s'"
        );
        assert_eq!(
            last(place.held(&argv)),
            r"'/p/forestall' 'lab' 'enter' '--cgroup' 'forestall/ends' '--held' '--' 'play' 'it'\''s'"
        );
        assert!(place.enter_network().is_err());
        assert_eq!(Place::Here.command(&argv), argv);
        let held = Place::Here.held(&argv).join(" ");
        assert_eq!(held, "setpriv --pdeathsig TERM play it's");
        let inside = Place::inside("forestall-edge".into(), "forestall/edge/vm".into());
        assert!(inside.command(&argv).join(" ").ends_with(
            " lab enter --cgroup forestall/edge/vm --netns forestall-edge -- play it's"
        ));
    }
}

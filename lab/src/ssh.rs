//! Machines that are reached by ssh: programs there, and files.
//!
//! The system's `ssh` does it, with the user's own configuration, keys and known hosts. One connection is made to a machine and kept;
//! all else goes through it (`ControlMaster`), so that whoever is asked for a touch or a word is asked once.
//!
//! ```text
//! lab ---input---> ssh -M: the connection            ends when its input does, and the input ends with the lab, however that ends
//!      '-input---> ssh -S: a program there, held     ends likewise (`lab enter --held`)
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::error::{LabError, file};
use crate::process::{Input, Place, Process, output, run, tail};

/// Nobody is asked for anything, since many machines are reached at once; a machine that is not known may be anybody. What a person's
/// configuration wants of a shell there is of no use here. A connection over which nothing comes for 15 s has ended.
const OPTIONS: [&str; 21] = [
    "-T",
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=3",
    "-o",
    "ControlPersist=no",
    "-o",
    "ClearAllForwardings=yes",
    "-o",
    "RemoteCommand=none",
    "-o",
    "PermitLocalCommand=no",
    "-o",
    "LogLevel=ERROR",
];
/// A connection stands within this.
const STANDS_WITHIN: Duration = Duration::from_secs(20);
/// Says where a file with a hash is kept, and `missing` where it is not: for that user alone, named by what is in it.
const FIND: &str = r#"
file=${XDG_CACHE_HOME:-$HOME/.cache}/forestall/by-hash/$1
echo "$file"
echo "$1  $file" | sha256sum --check --status 2> /dev/null && touch "$file" || echo missing
"#;
/// Keeps what comes as such a file, if it is the right one. What was brought a month ago and more is brought again when it is needed.
const KEEP: &str = r#"
set -e
umask 077
mkdir -p "${2%/*}"
find "${2%/*}" -type f -mtime +30 -delete
trap 'rm -f "$2.$$"' EXIT
cat > "$2.$$"
echo "$1  $2.$$" | sha256sum --check --quiet
chmod 700 "$2.$$"
mv -f "$2.$$" "$2"
"#;

/// The way to a machine, through the connection to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    target: String,
    /// Where the connection takes more.
    socket: PathBuf,
    /// This program, as it is kept there.
    program: String,
}

impl Way {
    pub(crate) fn through(target: &str, socket: &Path, program: &str) -> Self {
        Self {
            target: target.to_owned(),
            socket: socket.to_owned(),
            program: program.to_owned(),
        }
    }

    /// Whom `ssh` reaches.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// This program, as it is kept there.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// The command line that runs `argv` there, as it is: no word means anything to a shell on the way.
    pub(crate) fn command(&self, argv: &[String]) -> Vec<String> {
        let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
        let mut line = self.ssh(&["-o", "ControlMaster=no"]);
        line.push(words.join(" "));
        line
    }

    fn ssh(&self, how: &[&str]) -> Vec<String> {
        let mut line = vec!["ssh"];
        line.extend(OPTIONS);
        line.extend_from_slice(how);
        let socket = self.socket.to_string_lossy();
        line.extend(["-S", &socket, "--", &self.target]);
        line.into_iter().map(String::from).collect()
    }

    /// Runs `argv` there to its end and returns what it printed.
    fn run(&self, argv: &[&str], input: Input<'_>) -> Result<Vec<u8>, LabError> {
        let what = format!("{} on {}", argv.first().unwrap_or(&""), self.target);
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        output(&what, &self.command(&argv), input)
    }

    /// What a script prints there.
    fn script(&self, script: &str, words: &[&str], input: Input<'_>) -> Result<String, LabError> {
        let mut argv = vec!["sh", "-c", script, "sh"];
        argv.extend_from_slice(words);
        let said = self.run(&argv, input)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Writes a file that nobody else there may read.
    fn put(&self, bytes: &[u8], path: &Path) -> Result<(), LabError> {
        let path = path.to_string_lossy();
        let script = "umask 077 && cat > \"$1\"";
        self.script(script, &[&path], Input::Bytes(bytes)).map(drop)
    }

    /// Has a file of this machine there, which is brought only when it is not there yet, and says where.
    ///
    /// # Errors
    /// When it cannot be read here or kept there.
    pub(crate) fn bring(&self, path: &Path) -> Result<PathBuf, LabError> {
        let name = path.to_string_lossy();
        let said = run("sha256sum", &["--binary", "--", &name])?;
        // A backslash before it says that the name that follows is written in another way.
        let hash = said.split_whitespace().next().unwrap_or_default();
        let hash = hash.trim_start_matches('\\');
        let found = self.script(FIND, &[hash], Input::Nothing)?;
        let mut lines = found.lines();
        let there = lines.next().unwrap_or_default().to_owned();
        if lines.next().is_some() {
            let from = File::open(path).map_err(file(path))?;
            self.script(KEEP, &[hash, &there], Input::File(from))?;
        }
        Ok(there.into())
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A connection that stands. It ends when it is dropped, and with it all that goes through it.
#[derive(Debug)]
pub struct Connection {
    way: Way,
    /// Ended with it.
    _master: Process,
}

impl Connection {
    /// Connects to `target`, and has this program there. The connection's socket and what `ssh` says go to `state`, by the name of a
    /// host.
    ///
    /// # Errors
    /// [`LabError::Unreachable`]; or when this program cannot run there.
    pub fn open(target: &str, state: &Path, host: &str) -> Result<Self, LabError> {
        let mut way = Way::through(target, &state.join(format!("{host}.ssh")), "");
        let log = state.join(format!("ssh-{host}.log"));
        let unreachable = |why: String| LabError::Unreachable {
            machine: target.to_owned(),
            why,
        };
        let mut line = way.ssh(&["-M"]);
        line.push("cat > /dev/null".into());
        let errors = File::create(&log).map_err(file(&log))?;
        let streams = (Stdio::piped(), Stdio::null(), errors);
        let mut master = Process::spawn("ssh".into(), &line, streams, &log)?;
        let begun = Instant::now();
        // It takes more as soon as whoever connects is let in.
        while !way.socket.exists() {
            if master.check().is_err() {
                return Err(unreachable(tail(&log)));
            }
            if begun.elapsed() > STANDS_WITHIN {
                let seconds = STANDS_WITHIN.as_secs();
                return Err(unreachable(format!("no connection after {seconds} s")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let kind = |said: &str| said.trim().to_owned();
        let here = kind(&run("uname", &["-sm"])?);
        let there = way.run(&["uname", "-sm"], Input::Nothing)?;
        let there = kind(&String::from_utf8_lossy(&there));
        if there != here {
            return Err(LabError::Missing(format!(
                "{target} is {there}, and this program one of {here}: it cannot run there"
            )));
        }
        let own = std::env::current_exe().map_err(file("/proc/self/exe"))?;
        let program = way.bring(&own)?.to_string_lossy().into_owned();
        if let Err(error) = way.run(&[&program, "--version"], Input::Nothing) {
            return Err(LabError::Missing(format!(
                "{target} cannot run this program, which is there now; it needs the libraries that it has here: {error}"
            )));
        }
        way.program = program;
        Ok(Self {
            way,
            _master: master,
        })
    }

    /// The way through it.
    #[must_use]
    pub const fn way(&self) -> &Way {
        &self.way
    }
}

/// Files of a place, which the lab reads and writes wherever it is.
impl Place {
    /// An empty folder for files of a program there that are to be in `here` at the end: that one itself on this machine.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn folder(&self, name: &str, here: &Path) -> Result<PathBuf, LabError> {
        let Self::There { way, .. } = self else {
            return Ok(here.to_owned());
        };
        let folder = Path::new(crate::site::STATE).join(name);
        let path = folder.to_string_lossy();
        way.script("rm -rf \"$1\" && mkdir \"$1\"", &[&path], Input::Nothing)?;
        Ok(folder)
    }

    /// Writes a file there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put(&self, bytes: &[u8], path: &Path) -> Result<(), LabError> {
        match self {
            Self::There { way, .. } => way.put(bytes, path),
            Self::Share { .. } | Self::Here => std::fs::write(path, bytes).map_err(file(path)),
        }
    }

    /// Reads a file there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, LabError> {
        match self {
            Self::There { way, .. } => {
                way.run(&["cat", "--", &path.to_string_lossy()], Input::Nothing)
            }
            Self::Share { .. } | Self::Here => std::fs::read(path).map_err(file(path)),
        }
    }

    /// Has a file of this place here.
    ///
    /// # Errors
    /// When it cannot be read there or written here.
    pub(crate) fn fetch(&self, there: &Path, here: &Path) -> Result<(), LabError> {
        match self {
            Self::Share { .. } | Self::Here if there == here => Ok(()),
            _ => std::fs::write(here, self.read(there)?).map_err(file(here)),
        }
    }

    /// Has a file of another machine here that grows there: so it can be read while it does. What is read is a little behind.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub(crate) fn follow(&self, there: &Path, here: &Path) -> Result<Option<Process>, LabError> {
        let Self::There { way, .. } = self else {
            return Ok(None);
        };
        // Whoever writes it may not have made it yet, and takes the one that is there.
        way.put(b"", there)?;
        let log = here.with_extension("follow.log");
        let (out, errors) = (
            File::create(here).map_err(file(here))?,
            File::create(&log).map_err(file(&log))?,
        );
        let path = there.to_string_lossy();
        let argv = ["tail", "-c", "+1", "-f", "--", &path].map(String::from);
        let streams = (Stdio::piped(), out.into(), errors);
        Process::spawn("tail".into(), &self.held(&argv), streams, &log).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_means_anything_to_a_shell() {
        let way = Way::through("root@edge-a", Path::new("/s/a.ssh"), "/p");
        let odd = ["a b", "it's", "$(touch /x)", "*", "", "\"", "\\"];
        let line = way.command(&odd.map(String::from));
        let (asked, before) = line.split_last().unwrap();
        assert_eq!(before.last().unwrap(), "root@edge-a");
        // The shell there gives every word back as it was.
        let script = format!("set -- {asked}; printf '%s\\n' \"$@\"");
        let said = run("sh", &["-c", &script]).unwrap();
        assert_eq!(said.lines().collect::<Vec<_>>(), odd);
    }

    #[test]
    fn what_is_brought_is_what_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("by-hash/x");
        let text = path.to_string_lossy().into_owned();
        let hash = |bytes: &[u8]| {
            let line = ["sha256sum".to_owned()];
            let said = output("sha256sum", &line, Input::Bytes(bytes)).unwrap();
            String::from_utf8(said).unwrap()[..64].to_owned()
        };
        let keep = |hash: &str, bytes: &[u8]| {
            let line = ["sh", "-c", KEEP, "sh", hash, &text].map(String::from);
            output("keep", &line, Input::Bytes(bytes))
        };
        // The connection broke in the middle.
        assert!(keep(&hash(b"whole"), b"who").is_err());
        let left = std::fs::read_dir(folder.path().join("by-hash")).unwrap();
        assert_eq!(left.count(), 0);
        keep(&hash(b"whole"), b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        let left = std::fs::read_dir(folder.path().join("by-hash")).unwrap();
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn a_kept_file_that_was_changed_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = format!("XDG_CACHE_HOME={}", folder.path().display());
        let find = |hash: &str| {
            let script = [cache.as_str(), "sh", "-c", FIND, "sh", hash];
            run("env", &script).unwrap()
        };
        let said = output(
            "sha256sum",
            &["sha256sum".to_owned()],
            Input::Bytes(b"whole"),
        )
        .unwrap();
        let hash = String::from_utf8(said).unwrap()[..64].to_owned();
        let kept = folder.path().join("forestall/by-hash").join(&hash);
        let there = format!("{}\n", kept.display());
        assert_eq!(find(&hash), format!("{there}missing\n"));
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, "whole").unwrap();
        assert_eq!(find(&hash), there);
        std::fs::write(&kept, "whale").unwrap();
        assert_eq!(find(&hash), format!("{there}missing\n"));
    }
}

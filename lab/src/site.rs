//! One lab at a time on a machine, and nothing left of one that was killed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cgroup::{Cgroups, ROOT};
use crate::error::{LabError, file};
use crate::network;

/// State of the running lab: sockets, views of /proc, logs. Gone when it ends.
pub const STATE: &str = "/run/forestall/lab";
/// Where the orchestrator of a run answers.
pub const API: &str = "/run/forestall/lab-api.sock";
const LOCK: &str = "/run/forestall/lab.lock";

/// What a lab on machines of an inventory keeps on this one; gone when it is dropped.
#[derive(Debug)]
pub struct Kept(PathBuf);

impl Kept {
    /// Makes a folder that nobody else may enter, where the system has one for what lasts no longer than a session.
    ///
    /// # Errors
    /// When it cannot be made, or is there.
    pub fn make() -> Result<Self, LabError> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let base = base.filter(|base| base.is_dir());
        let base = base.unwrap_or_else(std::env::temp_dir);
        let folder = base.join(format!("forestall-lab-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(file(&folder))?;
        Ok(Self(folder))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("error: {} could not be removed: {error}", self.0.display());
        }
    }
}

/// The right to run a lab on this machine. When it is dropped everything that the lab started is ended and removed.
#[derive(Debug)]
pub struct Site {
    /// The kernel frees this lock when the process ends, however it ends.
    _lock: File,
    groups: Cgroups,
}

impl Site {
    /// Takes the right, and removes what a killed lab has left.
    ///
    /// # Errors
    /// When another lab runs, or leftovers cannot be removed.
    pub fn claim() -> Result<Self, LabError> {
        let groups = Cgroups::detect()?;
        let folder = Path::new(LOCK).parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(file(folder))?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(LOCK)
            .map_err(file(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                lock.read_to_string(&mut owner).ok();
                return Err(LabError::Busy(owner.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(file(LOCK)(error)),
        }
        let owner = std::process::id().to_string();
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(owner.as_bytes()))
            .map_err(file(LOCK))?;
        let site = Self {
            _lock: lock,
            groups,
        };
        let left = site.leftovers();
        if !left.is_empty() {
            eprintln!("Removing what an earlier lab run left: {}", left.join(", "));
            site.clear()?;
        }
        fs::create_dir_all(STATE).map_err(file(STATE))?;
        Ok(site)
    }

    /// Control groups of this machine.
    #[must_use]
    pub const fn groups(&self) -> &Cgroups {
        &self.groups
    }

    /// Folder for the lab's state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        PathBuf::from(STATE)
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = network::leftovers();
        if self.groups.exists(ROOT) {
            left.push(format!("control group {ROOT} and its processes"));
        }
        if Path::new(STATE).exists() {
            left.push(STATE.to_owned());
        }
        left
    }

    /// Ends every process of a lab, then removes groups, namespaces and state.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self) -> Result<(), LabError> {
        self.groups.destroy(ROOT)?;
        network::destroy()?;
        match fs::remove_dir_all(STATE) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(STATE)(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!(
                "error: the lab could not clear away everything: {error}. The next run tries again"
            );
        }
    }
}

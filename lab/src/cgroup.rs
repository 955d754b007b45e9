//! Shares of the machine's CPU: control groups, version 1 or 2.
//!
//! Everything that a lab starts is in a group under [`ROOT`], so a group also is the list of what has to be ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::HostName;

use crate::engine;
use crate::error::{LabError, file};

/// Parent of all groups of a lab.
pub const ROOT: &str = "forestall";
/// Weight of a group that has no precedence over others.
pub const WEIGHT: u32 = 1;
/// Weight of camera, player and agents: what is measured is the edge server's load, not theirs.
pub const PRECEDENCE: u32 = 20;
/// Killed processes are gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Version of control groups and where they are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// One tree per controller.
    V1 {
        /// Folder with the trees `cpu`, `cpuacct` and `cpuset`.
        mount: PathBuf,
    },
    /// One tree.
    V2 {
        /// The tree.
        mount: PathBuf,
    },
}

impl Cgroups {
    /// What this machine has.
    ///
    /// # Errors
    /// When the controllers for CPU time and CPU sets are not there.
    pub fn detect() -> Result<Self, LabError> {
        Self::detect_at(Path::new("/sys/fs/cgroup"))
    }

    fn detect_at(mount: &Path) -> Result<Self, LabError> {
        if ["cpu", "cpuacct", "cpuset"]
            .iter()
            .all(|c| mount.join(c).join("cgroup.procs").exists())
        {
            return Ok(Self::V1 {
                mount: mount.to_owned(),
            });
        }
        let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        let has = |wanted: &str| controllers.split_whitespace().any(|c| c == wanted);
        if has("cpu") && has("cpuset") {
            return Ok(Self::V2 {
                mount: mount.to_owned(),
            });
        }
        Err(LabError::Missing(format!(
            "control groups with the controllers cpu and cpuset are not to be had under {} (version 1 or 2): in a container, give it its own writable cgroups",
            mount.display()
        )))
    }

    /// 1 or 2.
    #[must_use]
    pub const fn version(&self) -> u32 {
        match self {
            Self::V1 { .. } => 1,
            Self::V2 { .. } => 2,
        }
    }

    fn folders(&self, group: &str) -> Vec<PathBuf> {
        match self {
            Self::V1 { mount } => ["cpu", "cpuacct", "cpuset"]
                .iter()
                .map(|c| mount.join(c).join(group))
                .collect(),
            Self::V2 { mount } => vec![mount.join(group)],
        }
    }

    /// The one folder of a group in version 2's hierarchy; version 1 has one for each controller.
    #[must_use]
    pub fn unified(&self, group: &str) -> Option<PathBuf> {
        match self {
            Self::V1 { .. } => None,
            Self::V2 { mount } => Some(mount.join(group)),
        }
    }

    /// Folder of the controller of CPU time.
    fn cpu(&self, group: &str) -> PathBuf {
        match self {
            Self::V1 { mount } => mount.join("cpu").join(group),
            Self::V2 { mount } => mount.join(group),
        }
    }

    /// Makes a group on `cpus` (as in `0-1,3`) with a weight among its siblings; parents first.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(&self, group: &str, cpus: &str, weight: u32) -> Result<(), LabError> {
        for folder in self.folders(group) {
            fs::create_dir_all(&folder).map_err(file(&folder))?;
        }
        match self {
            Self::V1 { mount } => {
                let set = mount.join("cpuset").join(group);
                let memory =
                    fs::read_to_string(mount.join("cpuset/cpuset.mems")).map_err(file(mount))?;
                write(&set.join("cpuset.mems"), memory.trim())?;
                write(&set.join("cpuset.cpus"), cpus)?;
                write(
                    &self.cpu(group).join("cpu.shares"),
                    &(1024 * weight).to_string(),
                )
            }
            Self::V2 { mount } => {
                // Controllers are switched on for children by every ancestor.
                let mut folder = mount.clone();
                for part in Path::new(group) {
                    write(&folder.join("cgroup.subtree_control"), "+cpu +cpuset")?;
                    folder.push(part);
                }
                write(&folder.join("cpuset.cpus"), cpus)?;
                write(
                    &folder.join("cpu.weight"),
                    &(100 * weight).min(10_000).to_string(),
                )
            }
        }
    }

    /// Makes the groups of an edge server, which is one core: of its virtual machine, its background load, its agent and its engine.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create_edge(
        &self,
        host: &HostName,
        core: usize,
        load_weight: u32,
    ) -> Result<(), LabError> {
        let core = core.to_string();
        self.create(&format!("{ROOT}/{host}"), &core, WEIGHT)?;
        self.create(&format!("{ROOT}/{host}/vm"), &core, WEIGHT)?;
        self.create(&format!("{ROOT}/{host}/load"), &core, load_weight)?;
        self.create(&format!("{ROOT}/{host}/agent"), &core, PRECEDENCE)?;
        self.create(&engine::daemons(host), &core, PRECEDENCE)
    }

    /// Puts a process, and all that it will start, into a group.
    ///
    /// # Errors
    /// When the group is not there or the process is gone.
    pub fn enter(&self, group: &str, pid: u32) -> Result<(), LabError> {
        self.doors(group)
            .iter()
            .try_for_each(|door| write(door, &pid.to_string()))
    }

    /// The files into which a process writes its number to enter a group.
    #[must_use]
    pub fn doors(&self, group: &str) -> Vec<PathBuf> {
        let folders = self.folders(group);
        folders
            .iter()
            .map(|folder| folder.join("cgroup.procs"))
            .collect()
    }

    /// Lets a group use `share` of one CPU, in pieces of one `period`; `None` takes the limit away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit(&self, group: &str, share: Option<f64>, period: Duration) -> Result<(), LabError> {
        let folder = self.cpu(group);
        let period_us = period.as_micros();
        // The kernel takes no quota under 1 ms.
        let quota_us = share.map(|share| ((period_us as f64 * share) as u128).max(1000));
        match self {
            Self::V1 { .. } => {
                write(&folder.join("cpu.cfs_period_us"), &period_us.to_string())?;
                write(
                    &folder.join("cpu.cfs_quota_us"),
                    &quota_us.map_or_else(|| "-1".into(), |q| q.to_string()),
                )
            }
            Self::V2 { .. } => {
                let quota = quota_us.map_or_else(|| "max".into(), |q| q.to_string());
                write(&folder.join("cpu.max"), &format!("{quota} {period_us}"))
            }
        }
    }

    /// CPU time that a group has used.
    ///
    /// # Errors
    /// When the group is not there.
    pub fn used(&self, group: &str) -> Result<Duration, LabError> {
        let path = match self {
            Self::V1 { mount } => mount.join("cpuacct").join(group).join("cpuacct.usage"),
            Self::V2 { mount } => mount.join(group).join("cpu.stat"),
        };
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        let number = match self {
            Self::V1 { .. } => text.trim().parse().ok().map(Duration::from_nanos),
            Self::V2 { .. } => {
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix("usage_usec "));
                line.and_then(|value| value.trim().parse().ok())
                    .map(Duration::from_micros)
            }
        };
        number.ok_or_else(|| {
            file(&path)(io::Error::new(io::ErrorKind::InvalidData, "not a CPU time"))
        })
    }

    /// Kills everything in a group and the groups under it, and removes them. A group that is not there is no error.
    ///
    /// # Errors
    /// When something in it cannot be ended.
    pub fn destroy(&self, group: &str) -> Result<(), LabError> {
        let begun = Instant::now();
        loop {
            let mut left = 0;
            for folder in self.folders(group) {
                left += kill_below(&folder);
            }
            if left == 0
                && self
                    .folders(group)
                    .iter()
                    .all(|folder| remove_below(folder))
            {
                return Ok(());
            }
            if begun.elapsed() > GONE_WITHIN {
                return Err(LabError::Program {
                    what: format!("ending everything in control group {group}"),
                    why: format!(
                        "after {} s {left} processes are still there",
                        GONE_WITHIN.as_secs()
                    ),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a group is there.
    #[must_use]
    pub fn exists(&self, group: &str) -> bool {
        self.folders(group).iter().any(|folder| folder.exists())
    }
}

fn write(path: &Path, value: &str) -> Result<(), LabError> {
    fs::write(path, value).map_err(file(path))
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kills, and says how many processes were there.
fn kill_below(folder: &Path) -> usize {
    let below: usize = children(folder).iter().map(|child| kill_below(child)).sum();
    let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<i32> = pids
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .collect();
    for pid in &pids {
        // A process that has ended meanwhile is what is wanted.
        kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
    }
    below + pids.len()
}

/// Removes groups from the leaves up; `false` while one is still busy.
fn remove_below(folder: &Path) -> bool {
    children(folder).iter().all(|child| remove_below(child))
        && (!folder.exists() || fs::remove_dir(folder).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Cgroups::detect_at(dir.path()).is_err());
        fs::write(
            dir.path().join("cgroup.controllers"),
            "cpuset cpu io memory pids\n",
        )
        .unwrap();
        assert_eq!(Cgroups::detect_at(dir.path()).unwrap().version(), 2);
        for controller in ["cpu", "cpuacct", "cpuset"] {
            fs::create_dir(dir.path().join(controller)).unwrap();
            fs::write(dir.path().join(controller).join("cgroup.procs"), "").unwrap();
        }
        assert_eq!(Cgroups::detect_at(dir.path()).unwrap().version(), 1);
    }

    #[test]
    fn version_2_files() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Cgroups::V2 {
            mount: dir.path().to_owned(),
        };
        groups.create("forestall/edge/load", "0", 20).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(
            read("forestall/edge/cgroup.subtree_control"),
            "+cpu +cpuset"
        );
        assert_eq!(read("forestall/edge/load/cpu.weight"), "2000");
        groups
            .limit("forestall/edge/load", Some(0.5), Duration::from_millis(20))
            .unwrap();
        assert_eq!(read("forestall/edge/load/cpu.max"), "10000 20000");
        groups
            .limit("forestall/edge/load", None, Duration::from_millis(20))
            .unwrap();
        assert_eq!(read("forestall/edge/load/cpu.max"), "max 20000");
        fs::write(
            dir.path().join("forestall/edge/load/cpu.stat"),
            "usage_usec 1500\nuser_usec 1\n",
        )
        .unwrap();
        assert_eq!(
            groups.used("forestall/edge/load").unwrap(),
            Duration::from_micros(1500)
        );
    }
}

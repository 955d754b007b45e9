//! The packaged unit, started by a systemd of the test's own: `sandbox.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::wait_or;

const SCRIPT: &str = include_str!("sandbox.sh");
const UNIT: &str = "forestall-orchestrator.service";

/// Process 1, and all that it started, until it goes out of scope.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    namespaces: Child,
}

impl Sandbox {
    /// With this configuration, the community of its agents, and a folder that has the `key` and the `known_hosts` of its ssh. What the
    /// unit says goes to a file.
    pub(crate) fn start(config: &str, community: &str, client: &Path, log: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["package", "etc", "ssh"] {
            fs::create_dir(path(name)).unwrap();
        }
        // Where Debian's package has them they are named so.
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
        for (name, installed) in [
            (UNIT, UNIT),
            ("forestall.sysusers", "forestall.conf"),
            ("forestall.tmpfile", "forestall-files.conf"),
        ] {
            fs::copy(shipped.join(name), path("package").join(installed)).unwrap();
        }
        fs::write(path("etc/forestall.toml"), config).unwrap();
        fs::write(path("etc/community"), community).unwrap();
        fs::copy(client.join("key"), path("ssh/id_ed25519")).unwrap();
        fs::copy(client.join("known_hosts"), path("ssh/known_hosts")).unwrap();
        fs::write(path("sandbox.sh"), SCRIPT).unwrap();
        let mut start = script(folder.path(), "groups");
        start.arg(env!("CARGO_BIN_EXE_forestall")).arg(log);
        let said = path("said");
        let words = fs::File::create(&said).unwrap();
        start.stdout(words.try_clone().unwrap()).stderr(words);
        let sandbox = Self {
            namespaces: start.spawn().unwrap(),
            folder,
        };
        wait_or(
            || sandbox.is_up(),
            || {
                [said.as_path(), log]
                    .map(|file| fs::read_to_string(file).unwrap_or_default())
                    .concat()
            },
        );
        sandbox
    }

    /// Process 1, as this side's /proc has it, once it is there.
    fn process_1(&self) -> Option<u32> {
        let id = self.namespaces.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        children.ok()?.trim().parse().ok()
    }

    /// Whether the unit's orchestrator listens.
    fn is_up(&self) -> bool {
        // It is a shell first, whose /run is the machine's.
        let is_systemd = |id: u32| {
            let name = fs::read_to_string(format!("/proc/{id}/comm"));
            name.is_ok_and(|name| name.trim() == "systemd")
        };
        self.process_1().is_some_and(is_systemd) && self.socket().exists()
    }

    /// A file as it is in there.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        let process = self.process_1().unwrap();
        PathBuf::from(format!("/proc/{process}/root{path}"))
    }

    fn socket(&self) -> PathBuf {
        self.file("/run/forestall/api.sock")
    }

    /// Where the unit's orchestrator answers.
    pub(crate) fn api(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// A program beside systemd.
    pub(crate) fn program(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.process_1().unwrap().to_string()])
            .args(["--mount", "--pid", "--uts", "--ipc"])
            .args(argv);
        command
    }

    /// What `systemctl` says of the unit; it has to be good.
    pub(crate) fn systemctl(&self, words: &[&str]) -> String {
        let mut systemctl = self.program(&["systemctl"]);
        let output = systemctl.args(words).arg(UNIT).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A property of the unit.
    pub(crate) fn property(&self, name: &str) -> String {
        self.systemctl(&["show", "--value", "--property", name])
    }
}

/// The script with its folder, in a mount namespace. It ends with the test.
fn script(folder: &Path, what: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "sh"])
        .arg(folder.join("sandbox.sh"))
        .arg(what)
        .arg(folder)
        .arg(format!("forestall-sandbox-{}", std::process::id()))
        .stdin(Stdio::null());
    command
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // All that is in its namespaces goes with process 1, and who made them waits for that.
        match self.process_1().map(|id| id.to_string()) {
            Some(id) => drop(Command::new("kill").args(["-KILL", &id]).status()),
            None => drop(self.namespaces.kill()),
        }
        drop(self.namespaces.wait());
        drop(script(self.folder.path(), "clear").status());
    }
}

//! A scenario on machines that are reached by ssh: three, each with an `sshd`, a network, a `/run` and control groups of its own on this
//! one. Needs root and what `make test` installs; it runs when `FORESTALL_LAB_TESTS` is set, as `make test` does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::common::wait_for;
use crate::lab::short_scenario;

/// What begins the names of all that these tests make.
const PREFIX: &str = "fst-";
/// Where the lab is started.
const DESK: &str = "fst-desk";
/// Names, and the last part of their addresses. Camera and player are on the third.
const MACHINES: [(&str, u8); 3] = [("edge-a", 11), ("edge-b", 12), ("ends", 21)];
/// The management network, by which `ssh` goes too, and the data plane.
const MANAGEMENT: &str = "198.51.100";
const DATA: &str = "192.0.2";
const CGROUPS: &str = "/sys/fs/cgroup";
const CONTROLLERS: [&str; 3] = ["cpu", "cpuacct", "cpuset"];
/// A machine's own view: control groups below one of this machine's, an empty `/run`, and nothing brought yet. It is one core where there
/// are several: two edge servers do not share one.
const VIEW: &str = r#"
set -e
name=$1 dir=$2 core=$3
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount --bind "/sys/fs/cgroup/$name" /sys/fs/cgroup
else
    for controller in cpu cpuacct cpuset; do
        # Two of them may be one folder, which is in place already then.
        [ ! -d "/sys/fs/cgroup/$controller/$name" ] ||
            mount --bind "/sys/fs/cgroup/$controller/$name" "/sys/fs/cgroup/$controller"
    done
fi
mount -t tmpfs none /run
mkdir /run/sshd
cache=$(getent passwd root | cut -d: -f6)/.cache
mkdir -p "$cache" "$dir/cache"
mount --bind "$dir/cache" "$cache"
exec taskset --cpu-list "$core" /usr/sbin/sshd -D -e -f "$dir/sshd_config"
"#;

/// Whether these tests may run; says how when not.
fn enabled() -> bool {
    let enabled = std::env::var_os("FORESTALL_LAB_TESTS").is_some();
    if !enabled {
        println!("skipped: needs root, sshd and more; `make test` installs them and runs this");
    }
    enabled
}

fn do_it(line: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// A machine that is reached by ssh.
struct Machine {
    name: &'static str,
    folder: PathBuf,
    sshd: Child,
}

impl Machine {
    fn start((name, number): (&'static str, u8), dir: &Path) -> Self {
        let netns = format!("{PREFIX}{name}");
        do_it(&format!("ip netns add {netns}"));
        do_it(&format!("ip -n {netns} link set lo up"));
        for (network, port) in [("mgmt", 'm'), ("data", 'd')] {
            do_it(&format!(
                "ip -n {DESK} link add {port}{number} type veth peer name {network}0 netns {netns}"
            ));
            do_it(&format!(
                "ip -n {DESK} link set {port}{number} master {network} up"
            ));
            do_it(&format!("ip -n {netns} link set {network}0 up"));
        }
        do_it(&format!(
            "ip -n {netns} addr add {MANAGEMENT}.{number}/24 dev mgmt0"
        ));
        let port = if name == "ends" {
            "data0"
        } else {
            do_it(&format!("ip -n {netns} link add br0 type bridge"));
            do_it(&format!("ip -n {netns} link set br0 up"));
            do_it(&format!("ip -n {netns} link set data0 master br0"));
            "br0"
        };
        do_it(&format!(
            "ip -n {netns} addr add {DATA}.{number}/24 dev {port}"
        ));
        for group in groups(&netns) {
            fs::create_dir_all(&group).unwrap();
            let parent = group.parent().unwrap();
            // Version 1 gives a new group no cores.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let all = fs::read_to_string(parent.join(file)).unwrap_or_default();
                if !all.trim().is_empty() && group.starts_with(format!("{CGROUPS}/cpuset")) {
                    fs::write(group.join(file), all.trim()).unwrap();
                }
            }
        }
        let folder = dir.join(name);
        fs::create_dir(&folder).unwrap();
        let key = folder.join("host_key");
        keygen(&key);
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nListenAddress {MANAGEMENT}.{number}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n",
            key.display(),
            dir.join("key.pub").display()
        );
        fs::write(folder.join("sshd_config"), config).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let cores = std::thread::available_parallelism().unwrap().get();
        let core = usize::from(name != "edge-a") % cores;
        let sshd = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{netns}"))
            .args(["setpriv", "--pdeathsig", "KILL"])
            .args(["unshare", "--mount", "--propagation", "private"])
            .args(["bash", "-c", VIEW, "bash", &netns])
            .arg(&folder)
            .arg(core.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { name, folder, sshd }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// What a command prints there.
    fn run(&self, line: &str) -> String {
        let output = Command::new("nsenter")
            .arg("--target")
            .arg(self.sshd.id().to_string())
            .args(["--net", "--mount", "sh", "-c", line])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Files that were brought there, with what the file system knows them by.
    fn brought(&self) -> BTreeMap<PathBuf, u64> {
        let kept = self.folder.join("cache/forestall/by-hash");
        let files = fs::read_dir(kept).unwrap().map(Result::unwrap);
        files
            .map(|file| (file.path(), file.metadata().unwrap().ino()))
            .collect()
    }

    /// Processes that a lab has there, by part of the control group's name.
    fn processes(&self, part: &str) -> Vec<String> {
        let found = self.run(&format!(
            "cat {CGROUPS}/cpu/forestall/{part}/cgroup.procs {CGROUPS}/forestall/{part}/cgroup.procs 2> /dev/null"
        ));
        found.lines().map(str::to_owned).collect()
    }

    /// What a lab has left there.
    fn left(&self) -> String {
        self.run(&format!(
            "ls -d {CGROUPS}/*/forestall {CGROUPS}/forestall /run/forestall/lab 2> /dev/null; \
             ip -oneline link show forestall0 2> /dev/null; grep forestall /proc/mounts"
        ))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        let netns = format!("{PREFIX}{}", self.name);
        for group in groups(&netns) {
            end(&group);
        }
        do_it(&format!("ip netns del {netns}"));
    }
}

/// The control groups that a machine has instead of all.
fn groups(name: &str) -> Vec<PathBuf> {
    if Path::new(CGROUPS).join("cgroup.controllers").exists() {
        let switch = Path::new(CGROUPS).join("cgroup.subtree_control");
        fs::write(switch, "+cpu +cpuset").unwrap();
        return vec![Path::new(CGROUPS).join(name)];
    }
    let folders = CONTROLLERS.map(|controller| Path::new(CGROUPS).join(controller).join(name));
    folders.to_vec()
}

/// Kills what is in a group and below, and removes it.
fn end(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        end(&entry.path());
    }
    let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines() {
        // It may have ended by itself.
        let _ = Command::new("kill").args(["-KILL", pid]).status();
    }
    wait_for("the end of a group", || {
        !group.exists() || fs::remove_dir(group).is_ok()
    });
}

fn keygen(path: &Path) {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// Three machines, and a place from which they are reached.
struct Site {
    machines: Vec<Machine>,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        do_it(&format!("ip netns add {DESK}"));
        do_it(&format!("ip -n {DESK} link set lo up"));
        for bridge in ["mgmt", "data"] {
            do_it(&format!("ip -n {DESK} link add {bridge} type bridge"));
            do_it(&format!("ip -n {DESK} link set {bridge} up"));
        }
        do_it(&format!("ip -n {DESK} addr add {MANAGEMENT}.1/24 dev mgmt"));
        keygen(&dir.join("key"));
        let mut site = Self {
            machines: Vec::new(),
            folder,
        };
        for machine in MACHINES {
            let machine = Machine::start(machine, site.dir());
            site.machines.push(machine);
        }
        site.write_known_hosts(|number| number);
        site.write_ssh();
        fs::write(site.inventory(), inventory("br0")).unwrap();
        let scenario = short_scenario("forestall", 2);
        fs::create_dir(site.dir().join("scenario")).unwrap();
        fs::write(site.dir().join("scenario/scenario.toml"), scenario).unwrap();
        for (machine, (name, _)) in site.machines.iter().zip(MACHINES) {
            let answers = || {
                let output = site.command("ssh").args([name, "true"]).output().unwrap();
                output.status.success()
            };
            crate::common::wait_or(answers, || format!("{name}:\n{}", machine.log()));
        }
        site
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    fn inventory(&self) -> PathBuf {
        self.dir().join("inventory.toml")
    }

    /// Of which machine each is said to have the key.
    fn write_known_hosts(&self, whose: impl Fn(usize) -> usize) {
        let line = |(at, (_, number)): (usize, &(&str, u8))| {
            let key = self.machines[whose(at)].folder.join("host_key.pub");
            let key = fs::read_to_string(key).unwrap();
            format!("{MANAGEMENT}.{number} {key}")
        };
        let lines: String = MACHINES.iter().enumerate().map(line).collect();
        fs::write(self.dir().join("known_hosts"), lines).unwrap();
    }

    /// `ssh` as a person has it who is known there. It looks for a configuration where the system says that the person is at home, so a
    /// program of its name stands before it.
    fn write_ssh(&self) {
        let dir = self.dir();
        let mut config = String::new();
        for (name, number) in MACHINES {
            config += &format!("Host {name}\n  HostName {MANAGEMENT}.{number}\n");
        }
        config += &format!(
            "Host *\n  User root\n  IdentityFile {0}/key\n  IdentitiesOnly yes\n  UserKnownHostsFile {0}/known_hosts\n  \
             GlobalKnownHostsFile /dev/null\n",
            dir.display()
        );
        fs::write(dir.join("ssh_config"), config).unwrap();
        fs::create_dir(dir.join("bin")).unwrap();
        let program = dir.join("bin/ssh");
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F {}/ssh_config \"$@\"\n",
            dir.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.join("session")).unwrap();
    }

    /// A program where the lab is started.
    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{DESK}"))
            .arg(program)
            .env("PATH", format!("{}/bin:{path}", self.dir().display()))
            .env("XDG_RUNTIME_DIR", self.dir().join("session"))
            .stdin(Stdio::null());
        command
    }

    fn forestall(&self, words: &str) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_forestall"));
        command
            .args(words.split_whitespace())
            .arg("--inventory")
            .arg(self.inventory())
            .arg(self.dir().join("scenario"));
        command
    }

    fn check(&self, code: i32) -> String {
        let output = self.forestall("lab check").output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    fn assert_nothing_left(&self) {
        for machine in &self.machines {
            let left = machine.left();
            assert_eq!(left, "", "{}", machine.name);
        }
        let session = fs::read_dir(self.dir().join("session")).unwrap();
        assert_eq!(session.count(), 0, "where the lab was started");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Their ends of cables go first.
        self.machines.clear();
        do_it(&format!("ip netns del {DESK}"));
    }
}

fn inventory(bridge: &str) -> String {
    let edge = |host: &str, (name, number): (&str, u8)| {
        format!(
            "[hosts.{host}]\nssh = \"{name}\"\ndata = \"{DATA}.{number}\"\nmanagement = \"{MANAGEMENT}.{number}\"\n\
             bridge = \"{bridge}\"\n"
        )
    };
    let (name, number) = MACHINES[2];
    let ends = ["robot", "user"].map(|host| {
        format!("[hosts.{host}]\nssh = \"{name}\"\ndata = \"{DATA}.{number}\"\n")
    });
    format!(
        "schema = 1\n[function]\ndata = \"{DATA}.100\"\n{}{}{}",
        edge("edge-user", MACHINES[0]),
        edge("edge-robot", MACHINES[1]),
        ends.concat()
    )
}

#[test]
fn what_the_machines_of_an_inventory_lack_is_said() {
    if !enabled() {
        return;
    }
    let mut site = Site::new();
    let output = site.forestall("lab check --json").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let offer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(offer["ready"], true, "{offer:#}");
    let machines = offer["machines"].as_array().unwrap();
    let hosts: Vec<&Value> = machines.iter().map(|machine| &machine["hosts"]).collect();
    let wanted = serde_json::json!([["edge-robot"], ["edge-user"], ["robot", "user"]]);
    assert_eq!(serde_json::json!(hosts), wanted);
    assert!(machines[0]["accelerator"].is_string(), "{offer:#}");
    // One machine's clock, told through two of its namespaces.
    let ahead = machines[2]["clock"]["ahead_ms"].as_f64().unwrap();
    assert!(ahead.abs() < 20.0, "{offer:#}");
    site.assert_nothing_left();

    // What was brought is not brought again, and is no leftover; what was changed there is.
    let before = site.machines[0].brought();
    assert_eq!(before.len(), 4, "program and guest: {before:?}");
    let (changed, _) = before.first_key_value().unwrap();
    fs::write(changed, "somebody else's").unwrap();
    fs::hard_link(changed, changed.with_extension("kept")).unwrap();
    site.check(0);
    fs::remove_file(changed.with_extension("kept")).unwrap();
    let after = site.machines[0].brought();
    let again: Vec<_> = after.iter().filter(|(path, node)| before.get(*path) != Some(node)).collect();
    assert_eq!((again.len(), again[0].0), (1, changed), "{before:?} {after:?}");

    fs::write(site.inventory(), inventory("br7")).unwrap();
    let found = site.check(3);
    assert!(found.contains("the bridge br7"), "{found}");
    let text = inventory("br0").replace("\"192.0.2.21\"", "\"192.0.2.22\"");
    fs::write(site.inventory(), text).unwrap();
    let found = site.check(3);
    assert!(found.contains("the address 192.0.2.22"), "{found}");

    // The second is another than it is said to be, and the third is gone.
    fs::write(site.inventory(), inventory("br0")).unwrap();
    site.write_known_hosts(|at| if at == 1 { 0 } else { at });
    site.machines.pop();
    let found = site.check(3);
    let about = |machine: &str| {
        let (_, about) = found.split_once(&format!("{machine} (")).unwrap();
        about.lines().nth(1).unwrap_or_default().to_owned()
    };
    assert!(found.contains("Host key verification failed"), "{found}");
    assert!(about("edge-b").contains("cannot reach edge-b"), "{found}");
    assert!(about("ends").contains("cannot reach ends"), "{found}");
    assert!(!about("edge-a").contains("cannot reach"), "{found}");
    site.assert_nothing_left();
}

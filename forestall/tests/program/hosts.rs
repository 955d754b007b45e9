//! A scenario on machines that are reached by ssh: three, each with an `sshd`, a network, a `/run` and control groups of its own on this
//! one. Needs root and what `make test` installs; it runs when `FORESTALL_LAB_TESTS` is set, as `make test` does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use record::raw::{FrameRow, LoadRow, SentRow};
use serde_json::Value;

use crate::common::remote::{SHADOW, make_key};
use crate::common::{wait_for, wait_or};
use crate::lab::{said, short_scenario};

/// What begins the names of all that these tests make.
const PREFIX: &str = "fst-";
/// Where the lab is started.
const DESK: &str = "fst-desk";
/// Names, and the last part of their addresses. Camera and player are on the third.
const MACHINES: [(&str, u8); 3] = [("edge-a", 11), ("edge-b", 12), ("ends", 21)];
/// The management network, by which `ssh` goes too, and the data plane.
const MANAGEMENT: &str = "198.51.100";
const DATA: &str = "192.0.2";
/// A run is over within this, twice when others used the machine: each of these machines sees the other two as that.
const RUN_WITHIN: Duration = Duration::from_secs(600);
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
mount --bind "$dir/shadow" /etc/shadow
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
        make_key(&key);
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nListenAddress {MANAGEMENT}.{number}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n",
            key.display(),
            dir.join("key.pub").display()
        );
        fs::write(folder.join("sshd_config"), config).unwrap();
        fs::write(folder.join("shadow"), SHADOW).unwrap();
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

/// Three machines, and a place from which they are reached.
struct Site {
    machines: Vec<Machine>,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        for name in MACHINES.map(|(name, _)| name).iter().chain(&["desk"]) {
            // What a test left that was killed.
            let netns = format!("{PREFIX}{name}");
            let _ = Command::new("ip").args(["netns", "del", &netns]).output();
        }
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        do_it(&format!("ip netns add {DESK}"));
        do_it(&format!("ip -n {DESK} link set lo up"));
        for bridge in ["mgmt", "data"] {
            do_it(&format!("ip -n {DESK} link add {bridge} type bridge"));
            do_it(&format!("ip -n {DESK} link set {bridge} up"));
        }
        do_it(&format!("ip -n {DESK} addr add {MANAGEMENT}.1/24 dev mgmt"));
        make_key(&dir.join("key"));
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
            wait_or(answers, || format!("{name}:\n{}", machine.log()));
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

    /// Begins a run, whose folder and log have this name.
    fn run(&self, name: &str) -> Child {
        let log = fs::File::create(self.dir().join(format!("{name}.log"))).unwrap();
        let out = self.dir().join(name);
        self.forestall(&format!("lab run --out {}", out.display()))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Waits for the end of a run and returns its exit code.
    fn finish(&self, name: &str, mut run: Child) -> Option<i32> {
        let mut code = None;
        self.wait_for("the end", (name, &mut run), |run| {
            let ended = run.try_wait().unwrap();
            code = ended.and_then(|status| status.code());
            ended.is_some()
        });
        code
    }

    /// Waits for the virtual machine of a run on the first machine.
    fn wait_for_vm(&self, name: &str, run: &mut Child) {
        self.wait_for("the virtual machine", (name, run), |run| {
            assert_eq!(run.try_wait().unwrap(), None, "{}", self.log(name));
            !self.machines[0].processes("edge-user/vm").is_empty()
        });
    }

    fn wait_for(
        &self,
        what: &str,
        (name, run): (&str, &mut Child),
        mut is_so: impl FnMut(&mut Child) -> bool,
    ) {
        let begun = Instant::now();
        while !is_so(run) {
            if begun.elapsed() > RUN_WITHIN {
                run.kill().unwrap();
                panic!("{what} never came:\n{}", self.log(name));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
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
    let ends = ["robot", "user"]
        .map(|host| format!("[hosts.{host}]\nssh = \"{name}\"\ndata = \"{DATA}.{number}\"\n"));
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
    site.check(0);
    let after = site.machines[0].brought();
    let is_new = |(path, node): &(&PathBuf, &u64)| before.get(*path) != Some(*node);
    let again: Vec<_> = after.iter().filter(is_new).collect();
    assert_eq!(again.len(), 1, "{before:?} {after:?}");
    assert_eq!(again[0].0, changed);

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

/// The viewer saw that the same guest went on in the QEMU of another machine.
#[test]
fn a_scenario_runs_on_machines_that_are_reached_by_ssh() {
    if !enabled() {
        return;
    }
    let site = Site::new();
    let run = site.run("out");
    let code = site.finish("out", run);
    assert_eq!(code, Some(0), "{}", site.log("out"));
    site.assert_nothing_left();
    let out = site.dir().join("out");
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let results: Value = serde_json::from_str(&read("results.json")).unwrap();
    let run = &results["runs"][0];
    assert_eq!(run["migration"]["verdict"], "moved", "{run:#}");
    let drawn = &run["drawn_by"];
    assert_eq!(drawn["runners_before"], serde_json::json!([1]), "{drawn:#}");
    assert_eq!(drawn["runners_after"], serde_json::json!([2]), "{drawn:#}");
    assert_eq!(drawn["boots_before"], drawn["boots_after"], "one guest");
    let machine = results["machine"].as_str().unwrap();
    for name in [
        "edge-a (edge-user)",
        "edge-b (edge-robot)",
        "ends (robot, user)",
    ] {
        assert!(machine.contains(name), "{machine}");
    }

    // What was written there is here, whole.
    let folder = out.join("runs/fast-threshold-1");
    let frames: Vec<FrameRow> = record::read_csv(&folder.join("frames.csv")).unwrap();
    let sent: Vec<SentRow> = record::read_csv(&folder.join("sent.csv")).unwrap();
    // 32 s of load at 30 a second, on a machine that may be slow.
    assert!(sent.len() > 500, "{}", sent.len());
    assert!(
        frames.len() > sent.len() / 2,
        "{} of {}",
        frames.len(),
        sent.len()
    );
    let load: Vec<LoadRow> = record::read_csv(&folder.join("load.csv")).unwrap();
    for host in ["edge-user", "edge-robot"] {
        let of_host = || load.iter().filter(|row| row.host == host);
        assert!(of_host().any(|row| row.actual > Some(0.0)), "{host}");
        assert!(of_host().any(|row| row.snmp.is_some()), "{host}: no sample");
    }
    let config = fs::read_to_string(folder.join("orchestrator.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let end = &config["engine"]["qemu"]["vms"]["text-insertion"]["edge-robot"];
    assert_eq!(end["launch"][0].as_str(), Some("ssh"), "{end:#?}");

    // The figures are those of the raw data, wherever those came from.
    let mut verify = site.command(env!("CARGO_BIN_EXE_forestall"));
    let verified = verify.args(["lab", "verify"]).arg(&out).output().unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
    // What was begun there is not gone on with here.
    let scenario = site.dir().join("scenario");
    let mut here = Command::new(env!("CARGO_BIN_EXE_forestall"));
    here.args(["lab", "run", "--resume", "--out"]);
    let refused = here.args([&out, &scenario]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    let words = said(&refused);
    assert!(words.contains("of another machine"), "{words}");

    // The next, which has its profile, is killed when its orchestrator is there.
    let mut killed = site.run("killed");
    let orchestrator = site
        .dir()
        .join("killed/runs/fast-threshold-1/decisions.jsonl");
    site.wait_for("the orchestrator", ("killed", &mut killed), |run| {
        assert_eq!(run.try_wait().unwrap(), None, "{}", site.log("killed"));
        orchestrator.exists()
    });
    site.wait_for_vm("killed", &mut killed);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // By the end of what each of them reads, and without a next run.
    let left = || {
        let left = site.machines.iter().map(Machine::left);
        left.collect::<Vec<_>>().concat()
    };
    wait_or(|| left().is_empty(), left);
    let path = site.dir().display().to_string();
    let ours = || {
        let all = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        // The machines and their sshd go on.
        let ours = |line: &&str| line.contains(&path) && !line.contains("sshd");
        all.lines().filter(ours).collect::<Vec<_>>().join("\n")
    };
    wait_or(|| ours().is_empty(), ours);
}

#[test]
fn a_second_lab_is_refused_and_an_interrupted_one_leaves_nothing() {
    if !enabled() {
        return;
    }
    let site = Site::new();
    let mut first = site.run("first");
    site.wait_for_vm("first", &mut first);
    let second = site.run("second");
    assert_eq!(site.finish("second", second), Some(1));
    let words = site.log("second");
    assert!(words.contains("another lab run is in progress"), "{words}");
    assert_eq!(first.try_wait().unwrap(), None, "{}", site.log("first"));
    do_it(&format!("kill -INT {}", first.id()));
    let code = site.finish("first", first);
    assert_eq!(code, Some(130), "{}", site.log("first"));
    site.assert_nothing_left();
}

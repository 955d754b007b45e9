//! The function's machine as a server of OpenStack Nova: a libvirtd, a nova-compute and Neutron's agent on each edge server, and a
//! control plane beside them on the management network.
//!
//! ```text
//!   control plane ── management network ──┬── edge: libvirtd, nova-compute, agent ── bridge ── data plane
//!   (Keystone, Placement, Glance,         └── edge: ...
//!    Neutron, Nova, their database)       └── orchestrator: Keystone and Nova's API
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drivers::nova::NovaConfig;
use record::HostName;
use scenario::Role;

use super::host::{Host, odd_memory};
use crate::cgroup::Cgroups;
use crate::check::Accelerator;
use crate::error::{LabError, file, unless_interrupted};
use crate::network::{self, PREFIX};
use crate::process::{Place, Process, tail};
use crate::vm::{CONFIG_KEY, KERNEL_WORDS, MAC, Machine, RUNNER_KEY};

/// Brings the control plane up.
const TESTBED: (&str, &str) = (
    "scripts/openstack/testbed.sh",
    include_str!("../../../scripts/openstack/testbed.sh"),
);
/// Lays the function out in it.
const SERVICE: (&str, &str) = (
    "scripts/openstack/service.sh",
    include_str!("../../../scripts/openstack/service.sh"),
);
/// What the driver is permitted.
const POLICY: (&str, &str) = (
    "packaging/nova/policy.yaml",
    include_str!("../../../packaging/nova/policy.yaml"),
);
/// The user that has that role, in the control plane's `clouds.yaml`.
const MOVER: &str = "forestall";
/// Namespace of the control plane, without its prefix.
const CONTROL: &str = "control-plane";
/// Its databases are made anew by each lab, which takes a minute or two.
const UP_WITHIN: Duration = Duration::from_secs(420);
/// A task of the service's script has limits of its own; this is over them.
const TASK_WITHIN: Duration = Duration::from_secs(300);
/// Nova's first limit of the downtime is its last one, which is configured, divided by the number of steps, which is at least this.
const DOWNTIME_STEPS: f64 = 3.0;
/// How many letters of a network's id Nova has in the name of its bridge.
const BRIDGE_LETTERS: usize = 11;

/// The OpenStack of a lab.
#[derive(Debug)]
pub(super) struct Nova {
    /// Settings, logs and database of the control plane.
    folder: PathBuf,
    place: Place,
    hosts: BTreeMap<HostName, Host>,
    /// Nova's id of the server that there is.
    server: Mutex<Option<String>>,
    groups: Cgroups,
    /// When all of it stood, and what the control plane had used by then.
    stood: (Instant, Duration),
    /// Ended after those that need it.
    control: Process,
}

impl Nova {
    /// Starts all of it, lays the function out, and waits until a server can be had.
    pub(super) fn start(
        machine: &Machine,
        groups: &Cgroups,
        interrupted: &AtomicBool,
    ) -> Result<Self, LabError> {
        let folder = machine.state.join("openstack");
        for (name, text) in [TESTBED, SERVICE, POLICY] {
            put(&folder.join(name), text)?;
        }
        put(&folder.join("etc/lab.conf"), &settings(machine))?;
        let ns = format!("{PREFIX}{CONTROL}");
        let address = network::create_beside(&machine.scenario, &ns)?;
        let place = Place::inside(ns, super::control_plane());
        let argv = control_argv(machine, &folder, address);
        let control = Process::start(&place, &argv, &folder.join("control-plane.log"))?;
        let mut hosts = BTreeMap::new();
        for (name, _) in machine.scenario.hosts_of(Role::Edge) {
            let (more, beside) = (qemu_words(machine, name), beside(&folder, name));
            let host = Host::start(machine, name, (groups, &more), &[], Some(&beside))?;
            hosts.insert(name.clone(), host);
        }
        let mut nova = Self {
            folder,
            place,
            hosts,
            server: Mutex::default(),
            groups: groups.clone(),
            stood: (Instant::now(), Duration::ZERO),
            control,
        };
        for host in nova.hosts.values_mut() {
            host.wait(interrupted)?;
        }
        nova.wait(interrupted)?;
        nova.lay_out(machine, interrupted)?;
        nova.stood = (Instant::now(), groups.used(&super::control_plane())?);
        Ok(nova)
    }

    /// How much of a core the control plane has used since it stood.
    pub(super) fn control_plane_share(&self) -> Result<f64, LabError> {
        let used = self.groups.used(&super::control_plane())?;
        let (since, before) = self.stood;
        let used = used.saturating_sub(before);
        Ok(used.as_secs_f64() / since.elapsed().as_secs_f64().max(1e-3))
    }

    /// Waits until Nova knows all hosts.
    fn wait(&mut self, interrupted: &AtomicBool) -> Result<(), LabError> {
        let begun = Instant::now();
        while !self.folder.join("ready").exists() {
            unless_interrupted(interrupted)?;
            self.control.check()?;
            if begun.elapsed() >= UP_WITHIN {
                return Err(LabError::Late {
                    what: "the start of OpenStack".into(),
                    seconds: UP_WITHIN.as_secs_f64(),
                    hint: format!("it said: {}", tail(&self.folder.join("control-plane.log"))),
                });
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn lay_out(&self, machine: &Machine, interrupted: &AtomicBool) -> Result<(), LabError> {
        let (scenario, guest) = (&machine.scenario, &machine.guest);
        let function = &scenario.function;
        let path = |path: &Path| path.display().to_string();
        let words = [
            "lay-out".to_owned(),
            function.name.to_string(),
            path(&guest.kernel),
            path(&guest.initramfs),
            path(&guest.root),
            KERNEL_WORDS.to_owned(),
            function.memory_mib.to_string(),
            network_of(function.data),
            function.data.to_string(),
            MAC.to_owned(),
        ];
        let network = self.service(&words, interrupted)?;
        // Nova plugs servers into a bridge that is called after their network, and makes it where it is not there: then the
        // agent would connect it with the data plane only when Neutron hears that the server has come, seconds after the guest runs.
        let bridge = format!("brq{}", &network[..BRIDGE_LETTERS.min(network.len())]);
        for name in self.hosts.keys() {
            network::rename_bridge(name, &bridge)?;
            let mapping = format!("[linux_bridge]\nbridge_mappings = lab:{bridge}\n");
            put(&self.folder.join(bridge_settings(name)), &mapping)?;
        }
        let mut words = vec!["ready".to_owned()];
        words.extend(self.hosts.keys().map(ToString::to_string));
        self.service(&words, interrupted).map(drop)
    }

    /// Has the service's script do a task, and returns what it printed.
    fn service(&self, words: &[String], interrupted: &AtomicBool) -> Result<String, LabError> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut argv = ["bash", "-c", r#". "$0" && exec bash "$@""#]
            .map(String::from)
            .to_vec();
        argv.extend([path("openrc"), path(SERVICE.0)]);
        argv.extend_from_slice(words);
        let task = &words[0];
        let log = self.folder.join("log").join(format!("service-{task}.log"));
        let mut process = Process::start(&self.place, &argv, &log)?;
        let begun = Instant::now();
        while !process.has_succeeded()? {
            unless_interrupted(interrupted)?;
            if begun.elapsed() >= TASK_WITHIN {
                return Err(LabError::Late {
                    what: format!("{}: {task}", SERVICE.0),
                    seconds: TASK_WITHIN.as_secs_f64(),
                    hint: format!("it said: {}", tail(&log)),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = fs::read_to_string(&log).map_err(file(&log))?;
        Ok(said.trim().to_owned())
    }

    fn server(&self) -> MutexGuard<'_, Option<String>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a server run on a host.
    pub(super) fn boot(
        &self,
        machine: &Machine,
        host: &HostName,
        interrupted: &AtomicBool,
    ) -> Result<(), LabError> {
        let function = machine.scenario.function.name.to_string();
        let words = ["boot".to_owned(), function, host.to_string()];
        let id = self.service(&words, interrupted)?;
        *self.server() = Some(id);
        Ok(())
    }

    pub(super) fn console(&self, host: &HostName) -> PathBuf {
        let (host, server) = (self.hosts.get(host), self.server());
        match (host, server.as_deref()) {
            (Some(host), Some(id)) => instances(host).join(id).join("console.log"),
            _ => PathBuf::new(),
        }
    }

    /// Deletes the server, whose processes were ended, also when the person has had enough.
    pub(super) fn forgotten(&self, machine: &Machine) -> Result<(), LabError> {
        let function = machine.scenario.function.name.to_string();
        let to_its_end = AtomicBool::new(false);
        self.service(&["end".to_owned(), function], &to_its_end)?;
        *self.server() = None;
        self.hosts.values().try_for_each(Host::forgotten)
    }

    /// What libvirt has from QEMU about the migration that came to a host. Nova does not pass it on.
    pub(super) fn downtime_ms(&self, target: &HostName) -> Result<f64, LabError> {
        let unknown = || LabError::Missing(format!("what libvirt says of a move to {target}"));
        let host = self.hosts.get(target).ok_or_else(unknown)?;
        let domain = host.domains()?.into_iter().next().ok_or_else(unknown)?;
        let words = ["domjobinfo", &domain, "--completed", "--keep-completed"];
        downtime_in(&host.virsh(&words)?).ok_or_else(unknown)
    }

    pub(super) fn driver_config(&self, machine: &Machine) -> NovaConfig {
        let function = &machine.scenario.function.name;
        let server = self.server().clone();
        NovaConfig {
            cloud: Some(MOVER.into()),
            clouds_file: Some(self.folder.join("clouds.yaml")),
            force_complete_after_s: None,
            servers: server
                .map(|id| (function.clone(), id))
                .into_iter()
                .collect(),
            hosts: BTreeMap::new(),
        }
    }
}

/// Nova's folder of its servers on a host.
fn instances(host: &Host) -> PathBuf {
    host.libvirtd.folder.join("instances")
}

/// Where the agent of a host is told which bridge is on the data plane; it starts when that is there.
fn bridge_settings(host: &HostName) -> String {
    format!("etc/{host}-bridge.conf")
}

fn put(path: &Path, text: &str) -> Result<(), LabError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(file(folder))?;
    }
    fs::write(path, text).map_err(file(path))
}

fn control_argv(machine: &Machine, folder: &Path, address: Ipv4Addr) -> Vec<String> {
    let edges = machine.scenario.hosts_of(Role::Edge);
    let mut argv = ["setpriv", "--pdeathsig", "KILL", "bash"]
        .map(String::from)
        .to_vec();
    argv.push(folder.join(TESTBED.0).display().to_string());
    argv.push("--control".into());
    argv.push(folder.display().to_string());
    argv.push(address.to_string());
    argv.extend(edges.filter_map(|(name, host)| Some(format!("{name}={}", host.management?))));
    argv
}

/// What both nova-compute are told more than by the testbed.
fn settings(machine: &Machine) -> String {
    let (kind, cpu) = match machine.accelerator {
        Accelerator::Kvm => ("kvm", "host-passthrough"),
        Accelerator::Tcg => ("qemu", "none"),
    };
    let migration = &machine.scenario.migration;
    format!(
        "[libvirt]\nvirt_type = {kind}\ncpu_mode = {cpu}\nlive_migration_bandwidth = {:.0}\nlive_migration_downtime = {:.0}\n\
         live_migration_downtime_steps = {DOWNTIME_STEPS:.0}\nlive_migration_downtime_delay = 3\n",
        migration.bandwidth_mib_s,
        migration.downtime_limit_ms * DOWNTIME_STEPS
    )
}

/// What QEMU is told that Nova cannot say: the machine is the one of the other engines.
fn qemu_words(machine: &Machine, host: &HostName) -> Vec<String> {
    let mut words = odd_memory(machine).to_vec();
    if machine.accelerator == Accelerator::Tcg {
        words.extend(["-cpu", "max"].map(String::from));
    }
    let (config, runner) = (machine.config_file(), machine.runner(host));
    words.extend([
        "-fw_cfg".to_owned(),
        format!("name={CONFIG_KEY},file={}", config.display()),
        "-fw_cfg".to_owned(),
        format!("name={RUNNER_KEY},string={runner}"),
    ]);
    words
}

/// What is run beside the libvirtd of a host: `dir` is the libvirtd's folder, `folder` the control plane's. The agent looks for
/// interfaces in `/sys`, which is that of the network in which it was mounted, and has no control groups when it is mounted anew.
fn beside(folder: &Path, host: &HostName) -> String {
    let (folder, bridge) = (folder.display(), bridge_settings(host));
    format!(
        r#"PATH=/run/machine:$PATH
mkdir -p /var/lib/nova/instances "$dir/instances"
mount --bind "$dir/instances" /var/lib/nova/instances
(
    until [ -S /run/libvirt/libvirt-sock ] && [ -e "{folder}/up" ]; do sleep 0.2; done
    cd "{folder}"
    exec nova-compute --config-file etc/{host}.conf --config-file etc/lab.conf > log/nova-compute-{host}.log 2>&1
) < /dev/null &
(
    until [ -e "{folder}/{bridge}" ]; do sleep 0.2; done
    cd "{folder}"
    exec unshare --mount sh -c 'mount -t sysfs sysfs /sys && exec neutron-linuxbridge-agent "$@"' agent \
        --config-file etc/{host}-network.conf --config-file {bridge} > log/neutron-{host}.log 2>&1
) < /dev/null &
"#
    )
}

/// The network of a small site that an address is in.
fn network_of(address: Ipv4Addr) -> String {
    let [a, b, c, _] = address.octets();
    format!("{a}.{b}.{c}.0/24")
}

/// The downtime in what `virsh domjobinfo` prints.
fn downtime_in(said: &str) -> Option<f64> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("Total downtime:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Programs of OpenStack that a lab needs, none of which it installs: those that the testbed asks for.
pub(crate) const PROGRAMS: [&str; 12] = [
    "keystone-manage",
    "nova-manage",
    "nova-compute",
    "neutron-server",
    "neutron-linuxbridge-agent",
    "glance-api",
    "mariadbd",
    "uwsgi",
    "libvirtd",
    "qemu-img",
    "jq",
    "curl",
];
/// How they are installed.
pub(crate) const INSTALL: &str = "scripts/openstack/testbed.sh --install";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_downtime_is_read() {
        let said = "Job type:         Completed   \nTime elapsed:     7211         ms\n\
                    Total downtime:   104          ms\nDowntime w/o network: 98           ms\n";
        assert_eq!(downtime_in(said), Some(104.0));
        assert_eq!(downtime_in("Job type:         None\n"), None);
    }

    #[test]
    fn the_network_is_that_of_the_address() {
        assert_eq!(network_of(Ipv4Addr::new(10, 10, 0, 100)), "10.10.0.0/24");
    }

    #[test]
    fn the_testbed_asks_for_the_same_programs() {
        let (_, rest) = TESTBED.1.split_once("for program in ").unwrap();
        let (asked, _) = rest.split_once(';').unwrap();
        let asked: Vec<&str> = asked
            .split_whitespace()
            .filter(|word| *word != "\\")
            .collect();
        assert_eq!(asked, PROGRAMS);
    }
}

//! The function's machine as a domain of libvirt, with a libvirtd on each edge server.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use drivers::libvirt::LibvirtConfig;
use record::HostName;
use scenario::Role;

use super::libvirtd::Libvirtd;
use crate::cgroup::Cgroups;
use crate::check::Accelerator;
use crate::error::{LabError, file, unless_interrupted};
use crate::network::{TAP, netns};
use crate::process::{Place, Process, run, tail};
use crate::vm::{CONFIG_KEY, KERNEL_WORDS, MAC, Machine, RUNNER_KEY};

/// libvirt's own port.
const PORT: u16 = 16_509;
/// Ports at which guests come in; each edge server has an address of its own.
const INCOMING: (u16, u16) = (49_152, 49_215);
/// A libvirtd looks at QEMU before it answers for the first time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// A question is answered within this.
const ANSWER_S: &str = "10";
/// A domain whose QEMU was killed is forgotten within this.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(10);
/// What a domain's description, which is the same on all hosts, finds on each: in the `/run` that a libvirtd has for itself.
const EMULATOR: &str = "machine/emulator";
const RUNNER: &str = "machine/runner";
const CONSOLE: &str = "machine/console";

/// The libvirtd of all edge servers.
#[derive(Debug)]
pub(super) struct Libvirt {
    hosts: BTreeMap<HostName, Host>,
}

#[derive(Debug)]
struct Host {
    libvirtd: Libvirtd,
    /// Ended with it.
    process: Process,
}

impl Libvirt {
    /// Starts them, and waits until they answer.
    pub(super) fn start(
        machine: &Machine,
        groups: &Cgroups,
        interrupted: &AtomicBool,
    ) -> Result<Self, LabError> {
        let mut hosts = BTreeMap::new();
        for (name, _) in machine.scenario.hosts_of(Role::Edge) {
            hosts.insert(name.clone(), Host::start(machine, name, groups)?);
        }
        for host in hosts.values_mut() {
            host.wait(interrupted)?;
        }
        Ok(Self { hosts })
    }

    fn host(&self, name: &HostName) -> Result<&Host, LabError> {
        self.hosts
            .get(name)
            .ok_or_else(|| LabError::Missing(format!("a libvirtd on {name}")))
    }

    pub(super) fn console(&self, name: &HostName) -> PathBuf {
        let host = self.hosts.get(name);
        host.map_or_else(PathBuf::new, |host| host.libvirtd.in_run(CONSOLE))
    }

    /// Has the machine run on a host. libvirt forgets it when it ends.
    pub(super) fn create(&self, machine: &Machine, name: &HostName) -> Result<(), LabError> {
        let description = machine.state.join("domain.xml");
        fs::write(&description, domain(machine)).map_err(file(&description))?;
        let words = ["create", &description.display().to_string()];
        self.host(name)?.virsh(&words).map(drop)
    }

    pub(super) fn forgotten(&self) -> Result<(), LabError> {
        self.hosts.values().try_for_each(Host::forgotten)
    }

    pub(super) fn driver_config(&self, machine: &Machine) -> LibvirtConfig {
        let migration = &machine.scenario.migration;
        LibvirtConfig {
            downtime_limit_ms: migration.downtime_limit_ms as u64,
            bandwidth_mib_per_s: migration.bandwidth_mib_s.round() as u64,
            post_copy_after_s: None,
            auto_converge: false,
            tls: false,
            copy_disks: false,
            hosts: self
                .hosts
                .iter()
                .map(|(name, host)| (name.clone(), host.libvirtd.driver_host()))
                .collect(),
            domains: BTreeMap::new(),
        }
    }
}

impl Host {
    fn start(machine: &Machine, name: &HostName, groups: &Cgroups) -> Result<Self, LabError> {
        let address = machine.management(name).unwrap_or(Ipv4Addr::LOCALHOST);
        let number = machine.runner(name);
        let libvirtd = Libvirtd {
            host: name.to_string(),
            folder: machine.state.join(format!("libvirt-{name}")),
            state: machine.state.clone(),
            number: number as u16,
            listen: SocketAddrV4::new(address, PORT),
            incoming: INCOMING,
        };
        let argv = libvirtd.prepare()?;
        let of_machine = libvirtd.in_run("machine");
        fs::create_dir_all(&of_machine).map_err(file(&of_machine))?;
        let vm = Machine::share(name);
        let files = [
            (EMULATOR, emulator(&groups.doors(&vm))),
            (RUNNER, number.to_string()),
            (CONSOLE, String::new()),
        ];
        for (name, text) in files {
            let path = libvirtd.in_run(name);
            fs::write(&path, text).map_err(file(&path))?;
        }
        let emulator = libvirtd.in_run(EMULATOR);
        fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755))
            .map_err(file(&emulator))?;
        let place = Place::inside(netns(name), super::daemons(name));
        let log = libvirtd.folder.join("log");
        let process = Process::start(&place, &argv, &log)?;
        Ok(Self { libvirtd, process })
    }

    /// Waits until it answers.
    fn wait(&mut self, interrupted: &AtomicBool) -> Result<(), LabError> {
        let begun = Instant::now();
        loop {
            unless_interrupted(interrupted)?;
            self.process.check()?;
            let Err(error) = self.virsh(&["version"]) else {
                return Ok(());
            };
            if begun.elapsed() >= ANSWERS_WITHIN {
                return Err(LabError::Late {
                    what: format!("an answer of libvirtd on {}", self.libvirtd.host),
                    seconds: ANSWERS_WITHIN.as_secs_f64(),
                    hint: format!(
                        "{error}; it said: {}",
                        tail(&self.libvirtd.folder.join("log"))
                    ),
                });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn virsh(&self, words: &[&str]) -> Result<String, LabError> {
        let uri = self.libvirtd.uri();
        let mut line = vec![ANSWER_S, "virsh", "--quiet", "--connect", &uri];
        line.extend_from_slice(words);
        run("timeout", &line)
    }

    fn forgotten(&self) -> Result<(), LabError> {
        let begun = Instant::now();
        loop {
            let known = self.virsh(&["list", "--all", "--name"])?;
            let known = known.trim();
            if known.is_empty() {
                return Ok(());
            }
            if begun.elapsed() >= FORGOTTEN_WITHIN {
                return Err(LabError::Late {
                    what: format!("the end of {known} on {}", self.libvirtd.host),
                    seconds: FORGOTTEN_WITHIN.as_secs_f64(),
                    hint: "its QEMU was killed, but libvirtd still knows it".into(),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What libvirt starts as QEMU: a process that first goes into the machine's share of the CPU, where what libvirtd uses does not count.
fn emulator(doors: &[PathBuf]) -> String {
    let doors: String = doors
        .iter()
        .map(|door| format!("echo $$ > {}\n", door.display()))
        .collect();
    format!("#!/bin/sh\nset -e\n{doors}exec qemu-system-x86_64 \"$@\"\n")
}

/// The machine as libvirt is told of it: the one of the QEMU engine, piece by piece. libvirt knows whole MiB of memory only, so it
/// gets the odd pages past libvirt (`Machine::memory_kib`).
fn domain(machine: &Machine) -> String {
    let (kind, cpu) = match machine.accelerator {
        Accelerator::Kvm => ("kvm", "host-passthrough"),
        Accelerator::Tcg => ("qemu", "maximum"),
    };
    let memory_kib = machine.memory_kib();
    let odd = [
        "-m".to_owned(),
        format!("size={memory_kib}k"),
        "-object".to_owned(),
        format!(
            "memory-backend-ram,id=odd,size={}",
            u64::from(memory_kib) * 1024
        ),
        "-machine".to_owned(),
        "memory-backend=odd".to_owned(),
    ];
    let odd: String = odd
        .iter()
        .map(|word| format!("<qemu:arg value='{word}'/>"))
        .collect();
    let path = |path: &std::path::Path| escaped(&path.display().to_string());
    format!(
        "<domain type='{kind}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n\
         <name>{name}</name><memory unit='MiB'>{memory_mib}</memory><vcpu>1</vcpu>\n\
         <sysinfo type='fwcfg'><entry name='{CONFIG_KEY}' file='{config}'/><entry name='{RUNNER_KEY}' file='/run/{RUNNER}'/></sysinfo>\n\
         <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{kernel}</kernel><initrd>{initramfs}</initrd>\
         <cmdline>{KERNEL_WORDS}</cmdline></os>\n\
         <features><acpi/><apic/></features><cpu mode='{cpu}'/>\n\
         <devices><emulator>/run/{EMULATOR}</emulator>\n\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{root}'/><target dev='vda' bus='virtio'/>\
         <readonly/></disk>\n\
         <interface type='ethernet'><mac address='{MAC}'/><target dev='{TAP}' managed='no'/><model type='virtio'/>\
         <driver name='qemu'/><rom enabled='no'/></interface>\n\
         <serial type='file'><source path='/run/{CONSOLE}'/></serial>\n\
         <controller type='usb' model='none'/><memballoon model='none'/></devices>\n\
         <qemu:commandline>{odd}</qemu:commandline></domain>\n",
        name = machine.scenario.function.name,
        memory_mib = machine.scenario.function.memory_mib,
        config = path(&machine.config_file()),
        kernel = path(&machine.guest.kernel),
        initramfs = path(&machine.guest.initramfs),
        root = path(&machine.guest.root),
    )
}

/// Text between the tags of XML, or between quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
}

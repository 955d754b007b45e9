//! The function's machine as a domain of libvirt, with a libvirtd on each edge server.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use drivers::libvirt::LibvirtConfig;
use record::HostName;
use scenario::Role;

use super::host::{EMULATOR, Host, odd_memory};
use crate::cgroup::Cgroups;
use crate::check::Accelerator;
use crate::error::{LabError, file};
use crate::network::TAP;
use crate::vm::{CONFIG_KEY, KERNEL_WORDS, MAC, Machine, RUNNER_KEY};

/// What a domain's description, which is the same on all hosts, finds on each: in the `/run` that a libvirtd has for itself.
const RUNNER: &str = "machine/runner";
const CONSOLE: &str = "machine/console";

/// The libvirtd of all edge servers.
#[derive(Debug)]
pub(super) struct Libvirt {
    hosts: BTreeMap<HostName, Host>,
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
            let files = [
                (RUNNER, machine.runner(name).to_string()),
                (CONSOLE, String::new()),
            ];
            let host = Host::start(machine, name, (groups, &[]), &files, None)?;
            hosts.insert(name.clone(), host);
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

/// The machine as libvirt is told of it: the one of the QEMU engine, piece by piece.
fn domain(machine: &Machine) -> String {
    let (kind, cpu) = match machine.accelerator {
        Accelerator::Kvm => ("kvm", "host-passthrough"),
        Accelerator::Tcg => ("qemu", "maximum"),
    };
    let odd: String = odd_memory(machine)
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

//! QEMU without a manager: its command lines, and what the QEMU driver is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use drivers::qemu::{QemuConfig, QemuEnd};
use record::HostName;
use scenario::Role;

use crate::check::Accelerator;
use crate::error::LabError;
use crate::vm::{CONFIG_KEY, KERNEL_WORDS, MAC, Machine, RUNNER_KEY};

/// Port of the monitor on the management network.
const MONITOR_PORT: u16 = 4460;
/// Port at which a migration is taken.
const INCOMING_PORT: u16 = 4461;

pub(super) fn console(machine: &Machine, host: &HostName) -> PathBuf {
    machine.state.join(format!("console-{host}"))
}

/// Command line that starts it on a host; QEMU goes to the background once its monitor listens.
fn argv(machine: &Machine, host: &HostName, incoming: bool) -> Vec<String> {
    let management = machine.management(host);
    let management = management.map_or_else(String::new, |address| address.to_string());
    let (accelerator, cpu) = match machine.accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg,thread=multi", "max"),
    };
    let line = format!(
        "qemu-system-x86_64 -name {vm} -M pc -accel {accelerator} -cpu {cpu} -smp 1 -m {memory}k -nodefaults -no-user-config \
         -display none -vga none -kernel {kernel} -initrd {initramfs} -serial file:{console} \
         -qmp tcp:{management}:{MONITOR_PORT},server=on,wait=off \
         -netdev tap,id=net0,ifname={tap},script=no,downscript=no -device virtio-net-pci,netdev=net0,mac={MAC},romfile= \
         -drive file={root},if=none,id=root,format=raw,read-only=on -device virtio-blk-pci,drive=root \
         -fw_cfg name={CONFIG_KEY},file={config} -fw_cfg name={RUNNER_KEY},string={runner} \
         -daemonize -pidfile {pid}",
        vm = machine.scenario.function.name,
        memory = machine.memory_kib(),
        tap = machine.ground.tap(),
        kernel = machine.guest.kernel.display(),
        initramfs = machine.guest.initramfs.display(),
        console = console(machine, host).display(),
        root = machine.guest.root.display(),
        config = machine.config_file().display(),
        runner = machine.runner(host),
        pid = machine.state.join(format!("pid-{host}")).display(),
    );
    let mut argv: Vec<String> = line.split_whitespace().map(String::from).collect();
    argv.extend(["-append", KERNEL_WORDS].map(String::from));
    if incoming {
        argv.extend(["-S", "-incoming", "defer"].map(String::from));
    }
    argv
}

pub(super) fn start(machine: &Machine, host: &HostName) -> Result<(), LabError> {
    let line = machine.place(host).command(&argv(machine, host, false));
    let arguments: Vec<&str> = line.iter().skip(1).map(String::as_str).collect();
    crate::process::run(&line[0], &arguments).map(drop)
}

pub(super) fn driver_config(machine: &Machine) -> QemuConfig {
    let migration = &machine.scenario.migration;
    let end = |(name, host): (&HostName, &scenario::Host)| {
        let management = host.management?;
        let end = QemuEnd {
            monitor: format!("{management}:{MONITOR_PORT}"),
            incoming: format!("{management}:{INCOMING_PORT}"),
            incoming_disks: None,
            launch: machine.place(name).command(&argv(machine, name, true)),
        };
        Some((name.clone(), end))
    };
    let ends: BTreeMap<HostName, QemuEnd> = machine
        .scenario
        .hosts_of(Role::Edge)
        .filter_map(end)
        .collect();
    QemuConfig {
        downtime_limit_ms: migration.downtime_limit_ms as u64,
        bandwidth_bytes_per_s: (migration.bandwidth_mib_s * 1024.0 * 1024.0) as u64,
        auto_converge: false,
        multifd_channels: None,
        post_copy_after_s: None,
        tls: None,
        disks: BTreeMap::new(),
        vms: BTreeMap::from([(machine.scenario.function.name.clone(), ends)]),
    }
}

//! A virtual machine that one function of a placement runs in.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use record::HostName;
use scenario::Chain;

use super::service::place;
use super::wiring::BRIDGE;
use crate::check::Accelerator;
use crate::error::{LabError, file, unless_interrupted};
use crate::guest::Guest;
use crate::network::netns;
use crate::process::{Process, run, tail};
use crate::vm::shell_quoted;

/// Memory: kernel, programs and a few pictures.
const MEMORY_MIB: u32 = 144;
/// The same with FFmpeg's programs and their libraries.
const FFMPEG_MEMORY_MIB: u32 = 192;
/// An emulated guest is up within this, beside others that boot.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// What all machines of a placement share.
#[derive(Clone, Debug)]
pub struct Machines {
    /// Kernel, initramfs, root.
    pub guest: Guest,
    /// Programs that carry the video.
    pub chain: Chain,
    /// How the CPU is virtualised.
    pub accelerator: Accelerator,
    /// Consoles and configurations go here.
    pub state: PathBuf,
}

/// A machine that was started; ended when dropped.
#[derive(Debug)]
pub struct Machine {
    qemu: Process,
    console: PathBuf,
}

/// The port of the machine with this address on its host's bridge.
pub fn tap(address: Ipv4Addr) -> String {
    format!("tap{}", address.octets()[3])
}

impl Machines {
    /// Starts a machine with this address on a host, which runs `command` once it is up. `number` tells those of a host apart.
    ///
    /// # Errors
    /// When its device cannot be made or QEMU not be started.
    pub fn start(
        &self,
        host: &HostName,
        address: Ipv4Addr,
        command: &str,
    ) -> Result<Machine, LabError> {
        let number = address.octets()[3];
        let (namespace, tap) = (netns(host), tap(address));
        let ip = |line: &str| run("ip", &line.split_whitespace().collect::<Vec<_>>()).map(drop);
        // One that an earlier measurement of this placement used stands still.
        if ip(&format!("-n {namespace} link show {tap}")).is_err() {
            ip(&format!("-n {namespace} tuntap add {tap} mode tap"))?;
            ip(&format!("-n {namespace} link set {tap} master {BRIDGE} up"))?;
        }
        let state = |name: &str| self.state.join(format!("{name}-{number}"));
        let (config, console) = (state("guest-config"), state("console"));
        let text = format!("ADDRESS={address}/24\nFUNCTION={}\n", shell_quoted(command));
        std::fs::write(&config, text).map_err(file(&config))?;
        std::fs::write(&console, "").map_err(file(&console))?;
        let (accelerator, cpu) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Tcg => ("tcg,thread=multi", "max"),
        };
        let memory_mib = match self.chain {
            Chain::Forestall => MEMORY_MIB,
            Chain::Ffmpeg | Chain::FfmpegPlain => FFMPEG_MEMORY_MIB,
        };
        let line = format!(
            "qemu-system-x86_64 -M pc -accel {accelerator} -cpu {cpu} -smp 1 -m {memory_mib} -nodefaults -no-user-config \
             -display none -vga none -kernel {kernel} -initrd {initramfs} -serial file:{console} \
             -netdev tap,id=net0,ifname={tap},script=no,downscript=no \
             -device virtio-net-pci,netdev=net0,mac=52:54:00:f0:7e:{number:02x},romfile= \
             -drive file={root},if=none,id=root,format=raw,read-only=on -device virtio-blk-pci,drive=root \
             -fw_cfg name=opt/forestall/config,file={config} -append",
            kernel = self.guest.kernel.display(),
            initramfs = self.guest.initramfs.display(),
            root = self.guest.root.display(),
            console = console.display(),
            config = config.display(),
        );
        let mut argv: Vec<String> = line.split_whitespace().map(String::from).collect();
        argv.push(
            "console=ttyS0 quiet mitigations=off nokaslr random.trust_cpu=on tsc=reliable panic=-1"
                .into(),
        );
        let qemu = Process::start(&place(host), &argv, &state("qemu-log"))?;
        Ok(Machine { qemu, console })
    }
}

impl Machine {
    /// Waits until its guest says that it is up.
    ///
    /// # Errors
    /// When it is not in time, or QEMU ended; [`LabError::Interrupted`].
    pub fn wait_until_up(&mut self, interrupted: &AtomicBool) -> Result<(), LabError> {
        let begun = Instant::now();
        while begun.elapsed() < UP_WITHIN {
            unless_interrupted(interrupted)?;
            self.check()?;
            if said(&self.console, "forestall guest: ready")? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(LabError::Late {
            what: "the start of a guest".into(),
            seconds: UP_WITHIN.as_secs_f64(),
            hint: format!("its console says: {}", tail(&self.console)),
        })
    }

    /// An error when its QEMU has ended.
    ///
    /// # Errors
    /// With what it said last.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.qemu.check()
    }
}

fn said(console: &Path, words: &str) -> Result<bool, LabError> {
    let text = std::fs::read(console).map_err(file(console))?;
    Ok(String::from_utf8_lossy(&text).contains(words))
}

//! The virtual machine of the function, and the command lines of its QEMU on each edge server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use drivers::qemu::{QemuConfig, QemuEnd};
use record::HostName;
use scenario::{Chain, LabScenario, Role};

use crate::check::Accelerator;
use crate::error::{LabError, unless_interrupted};
use crate::guest::{Ballast, Guest};
use crate::network::{TAP, netns};
use crate::process::{Place, tail};

/// Port of the monitor on the management network.
const MONITOR_PORT: u16 = 4460;
/// Port at which a migration is taken.
const INCOMING_PORT: u16 = 4461;
/// Port at which the function takes video.
pub const FUNCTION_PORT: u16 = 5000;
/// Port at which the player takes video.
pub const PLAYER_PORT: u16 = 6000;
const MAC: &str = "52:54:00:f0:7e:57";
/// The guest's memory is this much more than whole MiB, so that it is no multiple of 64 pages. QEMU before 9.0 collects dirty
/// pages of such multiples by a short cut that leaves the emulated CPU's TLB as it was (fixed upstream by "physmem: Fix
/// migration dirty bitmap coherency with TCG memory access"): what the guest writes after the second pass of a pre-copy is
/// lost, and the moved guest is corrupt. The long way round is right. Costs nothing with KVM.
const ODD_KIB: u32 = 8;
/// An emulated guest is up within this, on a slow machine too.
const BOOT_WITHIN: Duration = Duration::from_secs(60);

/// Everything that the command lines depend on.
#[derive(Clone, Debug)]
pub struct Machine {
    scenario: LabScenario,
    guest: Guest,
    accelerator: Accelerator,
    state: PathBuf,
}

impl Machine {
    /// The function's machine in a scenario; consoles are kept in `state`.
    #[must_use]
    pub fn new(
        scenario: &LabScenario,
        guest: Guest,
        accelerator: Accelerator,
        state: &Path,
    ) -> Self {
        Self {
            scenario: scenario.clone(),
            guest,
            accelerator,
            state: state.to_owned(),
        }
    }

    /// Where the machine runs on a host.
    #[must_use]
    pub fn place(host: &HostName) -> Place {
        Place {
            netns: netns(host),
            cgroup: format!("{}/{host}/vm", crate::cgroup::ROOT),
        }
    }

    /// The console's log on a host.
    #[must_use]
    pub fn console(&self, host: &HostName) -> PathBuf {
        self.state.join(format!("console-{host}"))
    }

    /// Number of the QEMU process on a host: 1 where the function begins, then as the hosts are named.
    fn runner(&self, host: &HostName) -> usize {
        let first = &self.scenario.function.host;
        let others = self
            .scenario
            .hosts_of(Role::Edge)
            .map(|(name, _)| name)
            .filter(|name| *name != first);
        1 + std::iter::once(first)
            .chain(others)
            .position(|name| name == host)
            .unwrap_or_default()
    }

    /// Command line that starts it on a host; QEMU goes to the background once its monitor listens.
    #[must_use]
    pub fn argv(&self, host: &HostName, incoming: bool) -> Vec<String> {
        let management = self
            .scenario
            .hosts
            .get(host)
            .and_then(|host| host.management);
        let management = management.map_or_else(String::new, |address| address.to_string());
        let state = |name: &str| {
            self.state
                .join(format!("{name}-{host}"))
                .display()
                .to_string()
        };
        let cpu = if self.accelerator == Accelerator::Kvm {
            "host"
        } else {
            "max"
        };
        let line = format!(
            "qemu-system-x86_64 -name {vm} -M pc -accel {accel} -cpu {cpu} -smp 1 -m {memory}k -nodefaults -no-user-config \
             -display none -vga none -kernel {kernel} -initrd {initramfs} -serial file:{console} \
             -qmp tcp:{management}:{MONITOR_PORT},server=on,wait=off \
             -netdev tap,id=net0,ifname={TAP},script=no,downscript=no -device virtio-net-pci,netdev=net0,mac={MAC},romfile= \
             -drive file={root},if=none,id=root,format=raw,read-only=on -device virtio-blk-pci,drive=root \
             -fw_cfg name=opt/forestall/config,file={config} -fw_cfg name=opt/forestall/runner,string={runner} \
             -daemonize -pidfile {pid}",
            vm = self.scenario.function.name,
            accel = if self.accelerator == Accelerator::Kvm {
                "kvm"
            } else {
                "tcg,thread=multi"
            },
            memory = self.scenario.function.memory_mib * 1024 + ODD_KIB,
            kernel = self.guest.kernel.display(),
            initramfs = self.guest.initramfs.display(),
            console = self.console(host).display(),
            root = self.guest.root.display(),
            config = self.config_file().display(),
            runner = self.runner(host),
            pid = state("pid"),
        );
        let mut argv: Vec<String> = line.split_whitespace().map(String::from).collect();
        argv.extend([
            "-append".into(),
            "console=ttyS0 quiet mitigations=off nokaslr random.trust_cpu=on tsc=reliable panic=-1"
                .into(),
        ]);
        if incoming {
            argv.extend(["-S", "-incoming", "defer"].map(String::from));
        }
        argv
    }

    fn config_file(&self) -> PathBuf {
        self.state.join("guest-config")
    }

    /// Writes what the guest is told at its start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_config(
        &self,
        player: std::net::Ipv4Addr,
        ballast: Option<Ballast>,
    ) -> Result<(), LabError> {
        let function = &self.scenario.function;
        let command = self.function_command(player);
        let ballast = ballast.map_or_else(String::new, |ballast| ballast.command());
        let text = format!(
            "ADDRESS={}/24\nFUNCTION={}\nBALLAST={}\n",
            function.data,
            shell_quoted(&command),
            shell_quoted(&ballast)
        );
        let path = self.config_file();
        std::fs::write(&path, text).map_err(crate::error::file(&path))
    }

    /// The text insertion function as the guest runs it.
    fn function_command(&self, player: std::net::Ipv4Addr) -> String {
        let (video, text) = (&self.scenario.video, &self.scenario.function.text);
        let (bitrate, gop) = (video.bitrate_kbps, video.gop);
        match video.chain {
            Chain::Forestall => format!(
                "exec /bin/forestall overlay udp://0.0.0.0:{FUNCTION_PORT} udp://{player}:{PLAYER_PORT} \
                 --bitrate {bitrate}k --text {} --boot-id-file /proc/sys/kernel/random/boot_id \
                 --runner-file /sys/firmware/qemu_fw_cfg/by_name/opt/forestall/runner/raw",
                shell_quoted(text)
            ),
            // As in the thesis: decode, drawtext, encode; probing bounded, since it would hold the first 5 s.
            Chain::Ffmpeg => format!(
                "exec /usr/bin/ffmpeg -nostdin -nostats -loglevel error -threads 1 -fflags nobuffer -flags low_delay \
                 -probesize 32768 -analyzeduration 500000 -f mpegts \
                 -i 'udp://0.0.0.0:{FUNCTION_PORT}?fifo_size=4096&overrun_nonfatal=1' \
                 -vf \"drawtext=fontfile=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf:text={}:x=4:y=4:fontsize=12:fontcolor=white:box=1:boxcolor=black@0.5\" \
                 -c:v mpeg2video -threads 1 -b:v {bitrate}k -g {gop} -bf 0 -f mpegts -flush_packets 1 \
                 'udp://{player}:{PLAYER_PORT}?pkt_size=1316'",
                drawtext_quoted(text)
            ),
        }
    }

    /// Starts it where the function begins, and waits until the guest says that it is up.
    ///
    /// # Errors
    /// When QEMU does not start or the guest does not come up; [`LabError::Interrupted`].
    pub fn boot(&self, host: &HostName, interrupted: &AtomicBool) -> Result<Duration, LabError> {
        let begun = Instant::now();
        std::fs::write(self.console(host), "").map_err(crate::error::file(self.console(host)))?;
        let line = Self::place(host).command(&self.argv(host, false));
        let arguments: Vec<&str> = line.iter().skip(1).map(String::as_str).collect();
        crate::process::run(&line[0], &arguments)?;
        let console = self.console(host);
        while begun.elapsed() < BOOT_WITHIN {
            unless_interrupted(interrupted)?;
            let text = std::fs::read(&console).map_err(crate::error::file(&console))?;
            if String::from_utf8_lossy(&text).contains("forestall guest: ready") {
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(LabError::Late {
            what: format!("the start of the guest on {host} ({})", self.accelerator),
            seconds: BOOT_WITHIN.as_secs_f64(),
            hint: format!("its console says: {}", tail(&console)),
        })
    }

    /// What the QEMU driver has to know of it.
    #[must_use]
    pub fn driver_config(&self) -> QemuConfig {
        let migration = &self.scenario.migration;
        let end = |(name, host): (&HostName, &scenario::Host)| {
            let management = host.management?;
            let end = QemuEnd {
                monitor: format!("{management}:{MONITOR_PORT}"),
                incoming: format!("{management}:{INCOMING_PORT}"),
                launch: Self::place(name).command(&self.argv(name, true)),
            };
            Some((name.clone(), end))
        };
        let ends: BTreeMap<HostName, QemuEnd> =
            self.scenario.hosts_of(Role::Edge).filter_map(end).collect();
        QemuConfig {
            downtime_limit_ms: migration.downtime_limit_ms as u64,
            bandwidth_bytes_per_s: (migration.bandwidth_mib_s * 1024.0 * 1024.0) as u64,
            auto_converge: false,
            multifd_channels: None,
            post_copy_after_s: None,
            tls: None,
            disks: BTreeMap::new(),
            vms: BTreeMap::from([(self.scenario.function.name.clone(), ends)]),
        }
    }
}

pub(crate) fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Escapes text for `drawtext`'s option inside a filter graph inside double quotes of a shell; what none of the three can
/// carry is left out.
fn drawtext_quoted(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !matches!(
                c,
                '\'' | '"' | '\\' | ':' | '%' | '$' | '`' | ',' | ';' | '[' | ']'
            )
        })
        .collect()
}

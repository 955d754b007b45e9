//! The virtual machine of the function, whatever engine runs it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use record::HostName;
use scenario::{LabScenario, Role};

use crate::check::Accelerator;
use crate::error::LabError;
use crate::ffmpeg;
use crate::ground::Ground;
use crate::guest::{Ballast, Guest};
use crate::process::Place;

/// Port at which the function takes video.
pub const FUNCTION_PORT: u16 = 5000;
/// Port at which the player takes video.
pub const PLAYER_PORT: u16 = 6000;
/// Its address on the data plane's link layer.
pub(crate) const MAC: &str = "52:54:00:f0:7e:57";
/// What the guest's kernel is told.
pub(crate) const KERNEL_WORDS: &str =
    "console=ttyS0 quiet mitigations=off nokaslr random.trust_cpu=on tsc=reliable panic=-1";
/// Where the guest finds its configuration in `fw_cfg`.
pub(crate) const CONFIG_KEY: &str = "opt/forestall/config";
/// Where it finds the number of the QEMU process that it is in.
pub(crate) const RUNNER_KEY: &str = "opt/forestall/runner";
/// The guest's memory is this much more than whole MiB, so that it is no multiple of 64 pages. QEMU before 9.0 collects dirty
/// pages of such multiples by a short cut that leaves the emulated CPU's TLB as it was (fixed upstream by "physmem: Fix
/// migration dirty bitmap coherency with TCG memory access"): what the guest writes after the second pass of a pre-copy is
/// lost, and the moved guest is corrupt. The long way round is right. Costs nothing with KVM.
const ODD_KIB: u32 = 8;

/// Everything that an engine has to know of it.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(crate) scenario: LabScenario,
    pub(crate) guest: Guest,
    pub(crate) accelerator: Accelerator,
    /// Where its hosts are.
    pub(crate) ground: Ground,
    /// Folder for what belongs to it, on its hosts.
    pub(crate) state: PathBuf,
}

impl Machine {
    /// The function's machine in a scenario; what it needs while it runs is kept in `state`, on its hosts.
    #[must_use]
    pub fn new(
        scenario: &LabScenario,
        guest: Guest,
        accelerator: Accelerator,
        (ground, state): (Ground, &Path),
    ) -> Self {
        Self {
            scenario: scenario.clone(),
            guest,
            accelerator,
            ground,
            state: state.to_owned(),
        }
    }

    /// Where the machine runs on a host.
    #[must_use]
    pub fn place(&self, host: &HostName) -> Place {
        self.ground.at(host, Self::share(host))
    }

    /// Its control group on a host.
    #[must_use]
    pub fn share(host: &HostName) -> String {
        format!("{}/{host}/vm", crate::cgroup::ROOT)
    }

    /// Number of the QEMU process on a host: 1 where the function begins, then as the hosts are named.
    pub(crate) fn runner(&self, host: &HostName) -> usize {
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

    /// Its memory.
    pub(crate) fn memory_kib(&self) -> u32 {
        self.scenario.function.memory_mib * 1024 + ODD_KIB
    }

    /// A host's address on the management network.
    pub(crate) fn management(&self, host: &HostName) -> Option<Ipv4Addr> {
        self.scenario.hosts.get(host)?.management
    }

    /// What the guest is told at its start.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.state.join("guest-config")
    }

    /// Writes what the guest is told at its start, wherever that may be.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_config(&self, player: Ipv4Addr, ballast: Option<Ballast>) -> Result<(), LabError> {
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
        let mut hosts = self.scenario.hosts_of(Role::Edge).map(|(name, _)| name);
        hosts.try_for_each(|host| self.place(host).put(text.as_bytes(), &path))
    }

    /// The text insertion function as the guest runs it.
    fn function_command(&self, player: Ipv4Addr) -> String {
        let (video, text) = (&self.scenario.video, &self.scenario.function.text);
        let bitrate = video.bitrate_kbps;
        match ffmpeg::options(video.chain) {
            None => format!(
                "exec /bin/forestall overlay udp://0.0.0.0:{FUNCTION_PORT} udp://{player}:{PLAYER_PORT} \
                 --bitrate {bitrate}k --text {} --boot-id-file /proc/sys/kernel/random/boot_id \
                 --runner-file /sys/firmware/qemu_fw_cfg/by_name/{RUNNER_KEY}/raw",
                shell_quoted(text)
            ),
            Some(options) => {
                let way = [
                    format!("udp://0.0.0.0:{FUNCTION_PORT}"),
                    format!("udp://{player}:{PLAYER_PORT}"),
                ];
                let way = way.each_ref().map(String::as_str);
                let line = ffmpeg::text_insertion(options, video, text, way);
                format!("exec /usr/bin/{line}")
            }
        }
    }
}

pub(crate) fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

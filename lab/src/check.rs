//! What this machine offers to a lab, and what is missing.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::engine::{EngineName, nova};
use crate::error::LabError;
use crate::guest::Guest;
use crate::process::run;

/// What runs the guests' code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// The hardware, by Linux' KVM.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// A program and the Debian package that has it.
const PROGRAMS: [(&str, &str, &str); 16] = [
    (
        "qemu-system-x86_64",
        "qemu-system-x86",
        "runs the virtual machines",
    ),
    ("snmpd", "snmpd", "the edge servers' agents"),
    ("stress-ng", "stress-ng", "background load"),
    ("ffmpeg", "ffmpeg", "the thesis' chain of programs"),
    ("ip", "iproute2", "namespaces and links"),
    ("tc", "iproute2", "the management link's rate"),
    ("busybox", "busybox-static", "the guest's user land"),
    ("mksquashfs", "squashfs-tools", "the guest's root image"),
    ("cpio", "cpio", "the guest's initramfs"),
    ("dpkg-deb", "dpkg", "unpacks the guest's kernel"),
    ("apt-get", "apt", "fetches the guest's kernel"),
    ("ping", "iputils-ping", "round trips over links"),
    ("tcpdump", "tcpdump", "arrivals at the player's link layer"),
    ("unshare", "util-linux", "an agent's own view of /proc"),
    ("ldd", "libc-bin", "finds the guest's libraries"),
    ("gzip", "gzip", "packs the guest's initramfs"),
];
/// Those of them that an edge server needs that is a real machine.
const ON_EDGE: [&str; 5] = ["qemu-system-x86_64", "snmpd", "stress-ng", "ip", "unshare"];
/// Those that build the guest.
const FOR_GUEST: [&str; 7] = [
    "busybox",
    "mksquashfs",
    "cpio",
    "dpkg-deb",
    "apt-get",
    "ldd",
    "gzip",
];
/// What reaches machines of an inventory.
const TO_REACH: [(&str, &str, &str); 3] = [
    (
        "ssh",
        "openssh-client",
        "reaches the machines of an inventory",
    ),
    (
        "sha256sum",
        "coreutils",
        "tells whether a file is there already",
    ),
    (
        "setpriv",
        "util-linux",
        "ends the orchestrator with the lab that started it",
    ),
];
/// What `--engine libvirt` needs more.
const LIBVIRT_PROGRAMS: [(&str, &str, &str); 3] = [
    ("libvirtd", "libvirt-daemon", "each edge server's libvirt"),
    ("virsh", "libvirt-clients", "asks it"),
    (
        "setpriv",
        "util-linux",
        "ends a libvirtd with the lab that started it",
    ),
];
const FONT: (&str, &str) = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
    "fonts-dejavu-core",
);
const FONT_PURPOSE: &str = "the font DejaVu Sans Mono (clock and inserted text)";
const TUN: &str = "/dev/net/tun";
/// libvirt's part for QEMU, below a folder of libraries.
const LIBVIRT_QEMU: &str = "libvirt/connection-driver/libvirt_driver_qemu.so";
/// A stock kernel that boots with KVM says so within this.
const KVM_WITHIN: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    /// Whether the lab can run.
    pub ready: bool,
    /// Whether this process may make namespaces, groups and mounts.
    pub root: bool,
    /// 1 or 2; `null` when there are none to be used.
    pub cgroup_version: Option<u32>,
    /// What runs guests; `null` while it cannot be tried because something is missing.
    pub accelerator: Option<Accelerator>,
    /// Why it is emulation, where it is.
    pub accelerator_note: String,
    /// Whether the kernel has netem (delay, jitter and loss on links).
    pub netem: bool,
    /// Cores.
    pub cpus: usize,
    /// What is missing, each with what it is for.
    pub missing: Vec<String>,
    /// The command that installs what is missing.
    pub install: Option<String>,
    /// What is missing for `--engine libvirt`, which the other engines do without.
    pub missing_for_libvirt: Vec<String>,
    /// The command that installs that.
    pub install_for_libvirt: Option<String>,
    /// Programs of OpenStack that are missing for `--engine nova`.
    pub missing_for_nova: Vec<String>,
}

/// Which of these programs are missing, and their packages.
fn lacking(programs: &[(&str, &'static str, &str)]) -> (Vec<String>, Vec<&'static str>) {
    let mut missing = Vec::new();
    let mut packages = Vec::new();
    for (program, package, purpose) in programs {
        if !in_path(program) {
            missing.push(format!("{program} ({purpose})"));
            // Two programs of one package need not stand side by side.
            if !packages.contains(package) {
                packages.push(*package);
            }
        }
    }
    (missing, packages)
}

/// What is missing on this machine, with the command that installs it.
fn with_install((mut missing, packages): (Vec<String>, Vec<&str>)) -> Vec<String> {
    if let Some(install) = install(&packages) {
        missing.push(format!("install that with: {install}"));
    }
    missing
}

fn of_programs(names: &[&str]) -> Vec<(&'static str, &'static str, &'static str)> {
    let is_named = |(program, ..): &(&'static str, &str, &str)| names.contains(program);
    PROGRAMS.into_iter().filter(is_named).collect()
}

/// What an edge server lacks that is a real machine.
pub(crate) fn lacking_on_edge() -> Vec<String> {
    let mut missing = with_install(lacking(&of_programs(&ON_EDGE)));
    if !Path::new(TUN).exists() {
        missing.push(format!(
            "{TUN} (a virtual machine's port): load the kernel module tun"
        ));
    }
    missing
}

/// What the machine lacks where a lab on machines of an inventory is started.
pub(crate) fn lacking_to_reach() -> Vec<String> {
    let mut programs = of_programs(&FOR_GUEST);
    programs.extend(TO_REACH);
    let (mut missing, mut packages) = lacking(&programs);
    if !Path::new(FONT.0).exists() {
        missing.push(FONT_PURPOSE.into());
        packages.push(FONT.1);
    }
    with_install((missing, packages))
}

/// What libvirt needs, with its part for QEMU, which is no program and in a package of its own.
fn lacking_for_libvirt() -> (Vec<String>, Vec<&'static str>) {
    let (mut missing, mut packages) = lacking(&LIBVIRT_PROGRAMS);
    let libraries = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders = libraries
        .map(|folder| folder.path().join(LIBVIRT_QEMU))
        .chain([Path::new("/usr/lib").join(LIBVIRT_QEMU)]);
    if !folders.any(|driver| driver.is_file()) {
        missing.push("libvirt's driver of QEMU".into());
        packages.push("libvirt-daemon-driver-qemu");
    }
    (missing, packages)
}

/// What OpenStack needs, on top of libvirt.
fn lacking_for_nova() -> Vec<String> {
    let missing = nova::PROGRAMS.iter().filter(|program| !in_path(program));
    missing.map(|program| (*program).to_owned()).collect()
}

fn install(packages: &[&str]) -> Option<String> {
    (!packages.is_empty()).then(|| {
        format!(
            "apt-get update && apt-get install --no-install-recommends {}",
            packages.join(" ")
        )
    })
}

/// Looks at everything. Only when nothing is missing does it try KVM with a guest, which is built for that when there is none
/// in the cache yet: that downloads a kernel, which is of no use to a person who has to install something first.
#[must_use]
pub fn look() -> Offer {
    let (mut missing, mut packages) = lacking(&PROGRAMS);
    let (missing_for_libvirt, packages_for_libvirt) = lacking_for_libvirt();
    if !Path::new(FONT.0).exists() {
        missing.push(FONT_PURPOSE.into());
        packages.push(FONT.1);
    }
    let root = nix::unistd::geteuid().is_root();
    let groups = Cgroups::detect();
    if let Err(error) = &groups {
        missing.push(error.to_string());
    }
    if !root {
        missing.push("root's rights (namespaces, control groups): run it with sudo".into());
    }
    if !Path::new(TUN).exists() {
        missing.push(format!(
            "{TUN} (a virtual machine's port): load the kernel module tun"
        ));
    }
    let (accelerator, accelerator_note) = if missing.is_empty() {
        match Guest::build(scenario::Chain::Forestall) {
            Ok(guest) => accelerator(&guest),
            Err(error) => {
                missing.push(format!("the guest could not be built: {error}"));
                (None, "not tried".into())
            }
        }
    } else {
        (None, "not tried".into())
    };
    Offer {
        ready: missing.is_empty(),
        root,
        cgroup_version: groups.ok().map(|groups| groups.version()),
        accelerator,
        accelerator_note,
        netem: root && netem(),
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        install: install(&packages),
        install_for_libvirt: install(&packages_for_libvirt),
        missing_for_nova: missing_for_libvirt
            .iter()
            .cloned()
            .chain(lacking_for_nova())
            .collect(),
        missing_for_libvirt,
        missing,
    }
}

impl Offer {
    /// An error that lists what is missing for a lab with this engine.
    ///
    /// # Errors
    /// [`LabError::Missing`].
    pub fn require(&self, engine: EngineName) -> Result<Accelerator, LabError> {
        let with_engine = match engine {
            EngineName::Qemu => true,
            EngineName::Libvirt => self.missing_for_libvirt.is_empty(),
            EngineName::Nova => self.missing_for_nova.is_empty(),
        };
        match (self.ready && with_engine, self.accelerator) {
            (true, Some(accelerator)) => Ok(accelerator),
            _ => Err(LabError::Missing(format!(
                "this machine cannot run the lab with --engine {engine} yet\n{self}"
            ))),
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes| if yes { "yes" } else { "no" };
        let accelerator = self
            .accelerator
            .map_or_else(|| "?".to_owned(), |a| a.to_string());
        writeln!(f, "  root               {}", yes(self.root))?;
        let version = self
            .cgroup_version
            .map_or_else(|| "none".to_owned(), |v| format!("version {v}"));
        writeln!(f, "  control groups     {version}")?;
        writeln!(
            f,
            "  virtual machines   {accelerator} ({})",
            self.accelerator_note
        )?;
        writeln!(
            f,
            "  netem              {} (not needed by scenarios/reallocation)",
            yes(self.netem)
        )?;
        writeln!(f, "  cores              {}", self.cpus)?;
        let libvirt = match &self.install_for_libvirt {
            None => "ready".to_owned(),
            Some(install) => format!(
                "not ready, missing {}; install with {install}",
                self.missing_for_libvirt.join(", ")
            ),
        };
        writeln!(f, "  --engine libvirt   {libvirt}")?;
        let nova = if self.missing_for_nova.is_empty() {
            "ready".to_owned()
        } else {
            format!(
                "not ready, missing {}; install with {}",
                self.missing_for_nova.join(", "),
                nova::INSTALL
            )
        };
        writeln!(f, "  --engine nova      {nova}")?;
        if self.ready {
            return write!(f, "  missing            nothing: ready");
        }
        write!(
            f,
            "  missing            {}",
            self.missing.join("\n                     ")
        )?;
        match &self.install {
            Some(install) => write!(f, "\n  install with       {install}"),
            None => Ok(()),
        }
    }
}

/// Asks for programs that not every scenario needs, each with its Debian package.
///
/// # Errors
/// [`LabError::Missing`].
pub fn require(programs: &[(&str, &str)]) -> Result<(), LabError> {
    let missing: Vec<String> = programs
        .iter()
        .filter(|(program, _)| !in_path(program))
        .map(|(program, package)| format!("{program} (Debian: apt-get install {package})"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("this scenario needs {}", missing.join(", "));
    Err(LabError::Missing(text))
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps what root uses, which is not on everybody's path.
    let more = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .any(|folder| folder.join(program).is_file())
}

/// KVM counts only when a stock kernel really boots with it: in a nested machine `/dev/kvm` may exist and do nothing.
pub(crate) fn accelerator(guest: &Guest) -> (Option<Accelerator>, String) {
    if !Path::new("/dev/kvm").exists() {
        return (
            Some(Accelerator::Tcg),
            "emulation: there is no /dev/kvm".into(),
        );
    }
    if boots_with_kvm(guest) {
        (Some(Accelerator::Kvm), "a guest was booted with it".into())
    } else {
        (
            Some(Accelerator::Tcg),
            "emulation: /dev/kvm is there, but does not boot a guest".into(),
        )
    }
}

fn boots_with_kvm(guest: &Guest) -> bool {
    let console = std::env::temp_dir().join(format!("forestall-kvm-{}", std::process::id()));
    let drive = format!(
        "file={},if=none,id=root,format=raw,read-only=on",
        guest.root.display()
    );
    let child = Command::new("qemu-system-x86_64")
        .args([
            "-M",
            "pc",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "128",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ])
        .args([
            "-kernel".as_ref(),
            guest.kernel.as_os_str(),
            "-initrd".as_ref(),
            guest.initramfs.as_os_str(),
        ])
        .args([
            "-drive",
            &drive,
            "-device",
            "virtio-blk-pci,drive=root",
            "-append",
            "console=ttyS0 quiet panic=-1",
        ])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let begun = Instant::now();
    let mut booted = false;
    while begun.elapsed() < KVM_WITHIN && !booted && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(100));
        booted = std::fs::read_to_string(&console)
            .is_ok_and(|text| text.contains("forestall guest: ready"));
    }
    child.kill().ok();
    child.wait().ok();
    std::fs::remove_file(&console).ok();
    booted
}

/// Tries netem where it can do no harm: on the loopback of a namespace that is made for it.
fn netem() -> bool {
    let name = format!("{}netem-{}", crate::network::PREFIX, std::process::id());
    if run("ip", &["netns", "add", &name]).is_err() {
        return false;
    }
    let works = run(
        "tc",
        &[
            "-n", &name, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms",
        ],
    )
    .is_ok();
    run("ip", &["netns", "del", &name]).ok();
    works
}

/// Name of this machine's processor.
pub(crate) fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        let (_, name) = line.strip_prefix("model name")?.split_once(':')?;
        Some(name.trim().to_owned())
    });
    model.unwrap_or_else(|| "unknown processor".into())
}

/// Version of a program, the first line of what it says of itself.
#[must_use]
pub fn version(program: &str, flag: &str) -> Option<String> {
    run(program, &[flag])
        .ok()?
        .lines()
        .next()
        .map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_lacks_is_named_and_hinders_no_other() {
        let offer = Offer {
            ready: true,
            root: true,
            cgroup_version: Some(2),
            accelerator: Some(Accelerator::Tcg),
            accelerator_note: String::new(),
            netem: false,
            cpus: 2,
            missing: Vec::new(),
            install: None,
            missing_for_libvirt: vec!["virsh (asks it)".into()],
            install_for_libvirt: install(&["libvirt-clients"]),
            missing_for_nova: vec!["nova-compute".into()],
        };
        assert_eq!(offer.require(EngineName::Qemu).unwrap(), Accelerator::Tcg);
        let lacks = |engine, names: &[&str]| {
            let error = offer.require(engine).unwrap_err().to_string();
            for named in names {
                assert!(error.contains(named), "{named}: {error}");
            }
        };
        let libvirt = ["--engine libvirt", "virsh (asks it)", "libvirt-clients"];
        lacks(EngineName::Libvirt, &libvirt);
        let nova = ["--engine nova", "nova-compute", nova::INSTALL];
        lacks(EngineName::Nova, &nova);
    }
}

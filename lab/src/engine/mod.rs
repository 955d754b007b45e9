//! What runs the function's machine on the edge servers, and moves it: one of several engines.

mod libvirt;
pub mod libvirtd;
mod qemu;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use drivers::libvirt::LibvirtConfig;
use drivers::qemu::QemuConfig;
use orchestrator::config::Engine as DriverSettings;
use record::HostName;
use scenario::LabScenario;

use crate::cgroup::{Cgroups, ROOT};
use crate::check::Accelerator;
use crate::error::{LabError, unless_interrupted};
use crate::process::last_lines;
use crate::vm::Machine;
use libvirt::Libvirt;

/// An emulated guest is up within this, on a slow machine too.
const BOOT_WITHIN: Duration = Duration::from_secs(60);

/// The engines that a lab can stand up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineName {
    /// QEMU processes, driven by their own monitors.
    Qemu,
    /// A libvirtd on each edge server.
    Libvirt,
}

impl EngineName {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Libvirt => "libvirt",
        }
    }

    /// Where its calibration is kept when nobody says where.
    #[must_use]
    pub fn default_profile(self) -> PathBuf {
        match self {
            Self::Qemu => "profile.toml".into(),
            Self::Libvirt => "profile-libvirt.toml".into(),
        }
    }

    /// Everything that a calibration's figures depend on, as one line. What was measured before there was a choice was measured with
    /// QEMU, which is not named for that.
    #[must_use]
    pub fn service(self, scenario: &LabScenario) -> String {
        let service = scenario.service();
        match self {
            Self::Qemu => service,
            other => format!("{service}, engine {other}"),
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The share of an edge server that an engine's daemons have, apart from the machine's.
pub(crate) fn daemons(host: &HostName) -> String {
    format!("{ROOT}/{host}/engine")
}

/// An engine that stands on the edge servers of a lab.
#[derive(Debug)]
pub struct Engine {
    machine: Machine,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Nothing stands but the machine itself.
    Qemu,
    Libvirt(Libvirt),
}

impl Engine {
    /// Stands it up for a machine.
    ///
    /// # Errors
    /// When one of its daemons does not start; [`LabError::Interrupted`].
    pub fn start(
        name: EngineName,
        machine: Machine,
        groups: &Cgroups,
        interrupted: &AtomicBool,
    ) -> Result<Self, LabError> {
        let kind = match name {
            EngineName::Qemu => Kind::Qemu,
            EngineName::Libvirt => Kind::Libvirt(Libvirt::start(&machine, groups, interrupted)?),
        };
        Ok(Self { machine, kind })
    }

    /// QEMU alone, which needs nothing but the machine's hosts.
    #[must_use]
    pub fn of_qemu(machine: Machine) -> Self {
        let kind = Kind::Qemu;
        Self { machine, kind }
    }

    /// What runs the machine's code.
    #[must_use]
    pub const fn accelerator(&self) -> Accelerator {
        self.machine.accelerator
    }

    /// Which it is.
    #[must_use]
    pub const fn name(&self) -> EngineName {
        match self.kind {
            Kind::Qemu => EngineName::Qemu,
            Kind::Libvirt(_) => EngineName::Libvirt,
        }
    }

    /// What its driver has to know; it goes over to post-copy after so many seconds of copying.
    #[must_use]
    pub fn driver_settings(&self, post_copy_after_s: Option<u64>) -> DriverSettings {
        match &self.kind {
            Kind::Qemu => DriverSettings::Qemu(QemuConfig {
                post_copy_after_s,
                ..qemu::driver_config(&self.machine)
            }),
            Kind::Libvirt(libvirt) => DriverSettings::Libvirt(LibvirtConfig {
                post_copy_after_s,
                ..libvirt.driver_config(&self.machine)
            }),
        }
    }

    /// Has the console's log of a host here.
    ///
    /// # Errors
    /// When there is none.
    pub fn keep_console(&self, host: &HostName, here: &Path) -> Result<(), LabError> {
        self.machine.place(host).fetch(&self.console(host), here)
    }

    /// The console's log, on a host.
    fn console(&self, host: &HostName) -> PathBuf {
        match &self.kind {
            Kind::Qemu => qemu::console(&self.machine, host),
            Kind::Libvirt(libvirt) => libvirt.console(host),
        }
    }

    /// Starts the machine where the function begins, and waits until the guest says that it is up.
    ///
    /// # Errors
    /// When it does not start or the guest does not come up; [`LabError::Interrupted`].
    pub fn boot(&self, host: &HostName, interrupted: &AtomicBool) -> Result<Duration, LabError> {
        let begun = Instant::now();
        let (place, console) = (self.machine.place(host), self.console(host));
        place.put(b"", &console)?;
        let mut said = String::new();
        match &self.kind {
            Kind::Qemu => qemu::start(&self.machine, host)?,
            Kind::Libvirt(libvirt) => libvirt.create(&self.machine, host)?,
        }
        while begun.elapsed() < BOOT_WITHIN {
            unless_interrupted(interrupted)?;
            said = String::from_utf8_lossy(&place.read(&console)?).into_owned();
            if said.contains("forestall guest: ready") {
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(LabError::Late {
            what: format!(
                "the start of the guest on {host} ({})",
                self.machine.accelerator
            ),
            seconds: BOOT_WITHIN.as_secs_f64(),
            hint: format!("its console says: {}", last_lines(&said)),
        })
    }

    /// Waits until no host knows a machine any more whose processes were ended.
    ///
    /// # Errors
    /// When one still does after a while, or says nothing.
    pub fn forgotten(&self) -> Result<(), LabError> {
        match &self.kind {
            Kind::Qemu => Ok(()),
            Kind::Libvirt(libvirt) => libvirt.forgotten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_has_a_calibration_of_its_own() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/reallocation");
        let scenario = scenario::Scenario::read(std::path::Path::new(folder)).unwrap();
        let scenario = LabScenario::new(scenario).unwrap();
        let (qemu, libvirt) = (EngineName::Qemu, EngineName::Libvirt);
        assert_ne!(qemu.service(&scenario), libvirt.service(&scenario));
        assert_ne!(qemu.default_profile(), libvirt.default_profile());
        assert_eq!(
            qemu.service(&scenario),
            scenario.service(),
            "a profile from before there was a choice is one of QEMU"
        );
    }
}

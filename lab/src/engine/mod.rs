//! What runs the function's machine on the edge servers, and moves it: one of several engines.

mod host;
mod libvirt;
pub mod libvirtd;
pub(crate) mod nova;
mod qemu;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use drivers::libvirt::LibvirtConfig;
use drivers::nova::NovaConfig;
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
use nova::Nova;

/// An emulated guest is up within this, on a slow machine too.
const BOOT_WITHIN: Duration = Duration::from_secs(60);

/// The engines that a lab can stand up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineName {
    /// QEMU processes, driven by their own monitors.
    Qemu,
    /// A libvirtd on each edge server.
    Libvirt,
    /// OpenStack Nova: a libvirtd and a nova-compute on each edge server, and a control plane beside them.
    Nova,
}

impl EngineName {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Libvirt => "libvirt",
            Self::Nova => "nova",
        }
    }

    /// Where its calibration is kept when nobody says where.
    #[must_use]
    pub fn default_profile(self) -> PathBuf {
        match self {
            Self::Qemu => "profile.toml".into(),
            Self::Libvirt => "profile-libvirt.toml".into(),
            Self::Nova => "profile-nova.toml".into(),
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

/// The share of what an engine has on no edge server.
pub(crate) fn control_plane() -> String {
    format!("{ROOT}/control-plane")
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
    Nova(Box<Nova>),
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
            EngineName::Nova => Kind::Nova(Box::new(Nova::start(&machine, groups, interrupted)?)),
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
            Kind::Nova(_) => EngineName::Nova,
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
            // Nova goes over to post-copy when it is told to force a migration to its end.
            Kind::Nova(nova) => DriverSettings::Nova(NovaConfig {
                force_complete_after_s: post_copy_after_s,
                ..nova.driver_config(&self.machine)
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
            Kind::Nova(nova) => nova.console(host),
        }
    }

    /// Starts the machine where the function begins, and waits until the guest says that it is up.
    ///
    /// # Errors
    /// When it does not start or the guest does not come up; [`LabError::Interrupted`].
    pub fn boot(&self, host: &HostName, interrupted: &AtomicBool) -> Result<Duration, LabError> {
        let begun = Instant::now();
        let place = self.machine.place(host);
        let mut said = String::new();
        match &self.kind {
            Kind::Qemu => {
                place.put(b"", &self.console(host))?;
                qemu::start(&self.machine, host)?;
            }
            Kind::Libvirt(libvirt) => {
                place.put(b"", &self.console(host))?;
                libvirt.create(&self.machine, host)?;
            }
            // Each of its servers has a console of its own.
            Kind::Nova(nova) => nova.boot(&self.machine, host, interrupted)?,
        }
        let console = self.console(host);
        // Nova takes its time before.
        let starts = Instant::now();
        while starts.elapsed() < BOOT_WITHIN {
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
            Kind::Nova(nova) => nova.forgotten(&self.machine),
        }
    }

    /// How much of a core it uses beside the edge servers, where it has something there.
    ///
    /// # Errors
    /// When the accounting cannot be read.
    pub fn control_plane_share(&self) -> Result<Option<f64>, LabError> {
        match &self.kind {
            Kind::Qemu | Kind::Libvirt(_) => Ok(None),
            Kind::Nova(nova) => nova.control_plane_share().map(Some),
        }
    }

    /// How long QEMU says that the guest stood still when it came to a host, where the engine's driver is not told.
    ///
    /// # Errors
    /// When it should be known, and is not said.
    pub fn downtime_ms(&self, target: &HostName) -> Result<Option<f64>, LabError> {
        match &self.kind {
            Kind::Qemu | Kind::Libvirt(_) => Ok(None),
            Kind::Nova(nova) => nova.downtime_ms(target).map(Some),
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
        let qemu = EngineName::Qemu;
        let all = [qemu, EngineName::Libvirt, EngineName::Nova];
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            let (one, other) = (all[one], all[other]);
            assert_ne!(one.service(&scenario), other.service(&scenario));
            assert_ne!(one.default_profile(), other.default_profile());
        }
        assert_eq!(
            qemu.service(&scenario),
            scenario.service(),
            "a profile from before there was a choice is one of QEMU"
        );
    }
}

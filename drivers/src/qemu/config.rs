//! What the QEMU driver has to be told.

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use record::{HostName, VmName};
use serde::{Deserialize, Serialize};

use super::disks::Disk;

/// Settings of the QEMU driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuConfig {
    /// Longest stop that QEMU may plan for the last pages (`downtime-limit`).
    pub downtime_limit_ms: u64,
    /// Rate that copying may use (`max-bandwidth`). In post-copy, in which the guest waits for its memory, it is not limited.
    pub bandwidth_bytes_per_s: u64,
    /// Slow the guest down when it writes faster than can be copied (`auto-converge`).
    #[serde(default)]
    pub auto_converge: bool,
    /// Copy over so many connections at once, 1 to 255 (`multifd`). One, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multifd_channels: Option<NonZeroU8>,
    /// Switch to post-copy when pre-copy has not come to its end after this. Never, where nothing is said: a guest in
    /// post-copy is lost when either host fails, and stands still when the line between them does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_copy_after_s: Option<u64>,
    /// Encrypt the migration stream. Not, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<QemuTls>,
    /// How each virtual machine's disks get to another host, by their names as `query-block` says them: of the drive
    /// (`device`), of the device (`qdev`) or of the node (`node-name`). A machine with a disk that it may write to and that is not
    /// named here is not moved: the disk would stay behind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<VmName, BTreeMap<String, Disk>>,
    /// Where each virtual machine may be, host by host.
    pub vms: BTreeMap<VmName, BTreeMap<HostName, QemuEnd>>,
}

/// TLS of the migration stream. Each QEMU has both objects `tls-creds-x509`, by the words of its launch program: it takes a guest
/// by the one, and gives it away by the other. With `verify-peer=on` both ends have to show a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuTls {
    /// Id of the object with `endpoint=server`.
    pub incoming_creds: String,
    /// Id of the object with `endpoint=client`.
    pub outgoing_creds: String,
    /// Name that a host's certificate has to have, where it is not the host of `incoming`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<HostName, String>,
}

/// A virtual machine's QEMU on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuEnd {
    /// Address of its monitor: `host:port` on the management network, or `unix:PATH` for a QEMU of this machine, in a folder
    /// that nobody else may enter. Not for a socket that is forwarded from elsewhere: when its tunnel breaks it looks as if
    /// QEMU had ended.
    pub monitor: String,
    /// Address at which it takes a migration, `host:port` on the management network.
    pub incoming: String,
    /// Address at which it takes disks that are mirrored, the same way. Needed where the machine has such a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming_disks: Option<String>,
    /// Program and arguments that start a QEMU on that host, held (`-S`) and waiting (`-incoming defer`), and return 0 once
    /// it has started.
    pub launch: Vec<String>,
}

/// Why settings of the QEMU driver cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QemuConfigError {
    /// Several connections and post-copy.
    #[error(
        "multifd_channels and post_copy_after_s exclude each other: in QEMU before 10.1 pages that still come in over another \
         connection may overwrite what the guest has written in post-copy"
    )]
    MultifdWithPostCopy,
    /// A mirrored disk and post-copy.
    #[error(
        "disk {disk} of {vm} is mirrored, which excludes post_copy_after_s: in post-copy the guest may run at the target before \
         its disk is whole there"
    )]
    MirroredWithPostCopy {
        /// Whose.
        vm: VmName,
        /// Its name in the configuration.
        disk: String,
    },
    /// A mirrored disk, and no way to a host that may be its target.
    #[error(
        "disk {disk} of {vm} is mirrored, and incoming_disks of {host} is not an address host:port"
    )]
    NoWayForDisks {
        /// Whose.
        vm: VmName,
        /// Its name in the configuration.
        disk: String,
        /// Where it could not go.
        host: HostName,
    },
}

impl QemuConfig {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// The first that do not.
    pub fn check(&self) -> Result<(), QemuConfigError> {
        if self.multifd_channels.is_some() && self.post_copy_after_s.is_some() {
            return Err(QemuConfigError::MultifdWithPostCopy);
        }
        for (vm, disks) in &self.disks {
            let mirrored = disks.iter().find(|(_, how)| **how == Disk::Mirrored);
            if let Some((disk, _)) = mirrored {
                self.check_mirrored(vm, disk)?;
            }
        }
        Ok(())
    }

    fn check_mirrored(&self, vm: &VmName, disk: &str) -> Result<(), QemuConfigError> {
        let (vm, disk) = (vm.clone(), disk.to_owned());
        if self.post_copy_after_s.is_some() {
            return Err(QemuConfigError::MirroredWithPostCopy { vm, disk });
        }
        for (host, end) in self.vms.get(&vm).into_iter().flatten() {
            if end
                .incoming_disks
                .as_deref()
                .and_then(host_and_port)
                .is_none()
            {
                let host = host.clone();
                return Err(QemuConfigError::NoWayForDisks { vm, disk, host });
            }
        }
        Ok(())
    }

    /// Whether a machine has a disk that is mirrored.
    pub(super) fn mirrors(&self, vm: &VmName) -> bool {
        let disks = self.disks.get(vm);
        disks.is_some_and(|disks| disks.values().any(|how| *how == Disk::Mirrored))
    }
}

/// Both of `host:port`; of an IPv6 address without its brackets.
pub(super) fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> QemuConfig {
        let text = r#"{ "downtime_limit_ms": 300, "bandwidth_bytes_per_s": 1, "vms": {} }"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_said_is_off() {
        let config = config();
        assert!(!config.auto_converge);
        assert_eq!(
            (config.multifd_channels, config.post_copy_after_s),
            (None, None)
        );
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn multifd_with_post_copy() {
        let mut config = config();
        config.multifd_channels = NonZeroU8::new(2);
        assert_eq!(config.check(), Ok(()));
        config.post_copy_after_s = Some(9);
        assert_eq!(config.check(), Err(QemuConfigError::MultifdWithPostCopy));
    }

    /// One machine with a mirrored disk, and where its host takes it.
    fn mirrored(incoming_disks: &str) -> QemuConfig {
        let mut config = config();
        let end = format!(
            r#"{{ "edge-1": {{ "monitor": "", "incoming": "", "launch": [], "incoming_disks": {incoming_disks} }} }}"#
        );
        let vm = VmName::new("vm").unwrap();
        let disks = BTreeMap::from([("system".to_owned(), Disk::Mirrored)]);
        config.disks.insert(vm.clone(), disks);
        config.vms.insert(vm, serde_json::from_str(&end).unwrap());
        config
    }

    #[test]
    fn a_mirrored_disk_with_post_copy() {
        let mut config = mirrored(r#""[2001:db8::1]:4446""#);
        assert_eq!(config.check(), Ok(()));
        config.post_copy_after_s = Some(9);
        let error = config.check().unwrap_err();
        assert!(
            matches!(error, QemuConfigError::MirroredWithPostCopy { .. }),
            "{error}"
        );
    }

    #[test]
    fn no_way_for_a_mirrored_disk() {
        for incoming_disks in ["null", r#""192.0.2.1""#, r#""192.0.2.1:nbd""#] {
            let error = mirrored(incoming_disks).check().unwrap_err();
            assert!(
                matches!(error, QemuConfigError::NoWayForDisks { .. }),
                "{error}"
            );
        }
    }
}

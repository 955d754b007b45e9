//! A VPN between two hosts of a placement: WireGuard in user space, as the thesis' laboratory reached its data centres (3.2.2).

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use record::HostName;

use super::service::place;
use super::wiring::{Port, ip, wait_for};
use crate::check;
use crate::error::LabError;
use crate::network::netns;
use crate::process::{Process, run};

/// Addresses within the VPN.
const INSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 50, 0, 1), Ipv4Addr::new(10, 50, 0, 2)];
/// Its devices. `wg` finds a device by the name of a socket, and all namespaces share these.
const DEVICES: [&str; 2] = ["forestall-wg0", "forestall-wg1"];
/// Where `wireguard-go` has its sockets.
const SOCKETS: &str = "/run/wireguard";
const PORT: u16 = 51_820;

/// A VPN that stands; it ends when it is dropped.
#[derive(Debug)]
pub struct Vpn {
    /// Kept for their end.
    _ends: Vec<End>,
}

/// One end of it.
#[derive(Debug)]
struct End {
    process: Process,
    socket: PathBuf,
}

impl Drop for End {
    fn drop(&mut self) {
        self.process.end_within(Duration::from_secs(2));
        // It removes this itself, unless it was killed: then there is nobody behind it.
        std::fs::remove_file(&self.socket).ok();
    }
}

/// An error where what a VPN needs is missing.
///
/// # Errors
/// [`LabError::Missing`], with the packages.
pub fn require() -> Result<(), LabError> {
    check::require(&[("wireguard-go", "wireguard-go"), ("wg", "wireguard-tools")])
}

impl Vpn {
    /// Between two hosts that reach each other at these addresses.
    ///
    /// # Errors
    /// When `wireguard-go` does not start, or `wg` refuses.
    pub fn stand(hosts: [(&HostName, Ipv4Addr); 2], state: &Path) -> Result<Self, LabError> {
        let file = |device: &str, what: &str| state.join(format!("{device}-{what}"));
        let mut public = Vec::new();
        for device in DEVICES {
            let key = file(device, "key");
            let script = "umask 077 && wg genkey > \"$0\" && wg pubkey < \"$0\"";
            let answer = run("sh", &["-c", script, &key.to_string_lossy()])?;
            public.push(answer.trim().to_owned());
        }
        let mut ends = Vec::new();
        for (at, (host, _)) in hosts.iter().enumerate() {
            let device = DEVICES[at];
            let argv = ["wireguard-go", "--foreground", device].map(String::from);
            ends.push(End {
                process: Process::start(&place(host), &argv, &file(device, "log"))?,
                socket: Path::new(SOCKETS).join(format!("{device}.sock")),
            });
        }
        for (at, (host, _)) in hosts.iter().enumerate() {
            let (device, other) = (DEVICES[at], 1 - at);
            let made = Port {
                namespace: netns(host),
                device: device.to_owned(),
            };
            wait_for(&made, ends.get_mut(at).map(|end| &mut end.process))?;
            let (key, port) = (file(device, "key"), PORT.to_string());
            let (inside, endpoint) = (
                format!("{}/32", INSIDE[other]),
                format!("{}:{PORT}", hosts[other].1),
            );
            run(
                "wg",
                &[
                    "set",
                    device,
                    "listen-port",
                    &port,
                    "private-key",
                    &key.to_string_lossy(),
                    "peer",
                    &public[other],
                    "allowed-ips",
                    &inside,
                    "endpoint",
                    &endpoint,
                ],
            )?;
            let namespace = netns(host);
            ip(&format!(
                "-n {namespace} addr add {}/24 dev {device}",
                INSIDE[at]
            ))?;
            ip(&format!("-n {namespace} link set {device} mtu 1420 up"))?;
        }
        Ok(Self { _ends: ends })
    }

    /// Address of the second host within it.
    #[must_use]
    pub const fn far() -> Ipv4Addr {
        INSIDE[1]
    }
}

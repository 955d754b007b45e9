//! What both ends of a migration are told before it begins.

use record::decision::End;
use record::{HostName, VmName};
use serde_json::{Value, json};

use super::config::{QemuConfig, QemuEnd, QemuTls, host_and_port};
use super::monitor::{Monitor, MonitorError};
use crate::driver::Plan;

impl QemuConfig {
    /// Sets one end up for a move to this target.
    pub(super) async fn set_up(
        &self,
        monitor: &mut Monitor,
        end: End,
        plan: &Plan,
        target: &QemuEnd,
    ) -> Result<(), MonitorError> {
        let mut parameters = self.parameters();
        if let Some(tls) = &self.tls {
            let (creds, endpoint) = match end {
                End::Source => (&tls.outgoing_creds, "client"),
                End::Target => (&tls.incoming_creds, "server"),
            };
            monitor.need_creds(creds, endpoint).await?;
            parameters["tls-creds"] = creds.as_str().into();
            if end == End::Source {
                parameters["tls-hostname"] = tls.name((&plan.target, target)).into();
            }
        }
        let capabilities = json!({ "capabilities": self.capabilities(&plan.vm) });
        monitor
            .execute("migrate-set-capabilities", capabilities)
            .await?;
        monitor
            .execute("migrate-set-parameters", parameters)
            .await
            .map(drop)
    }

    /// All of them with their state: a QEMU remembers what it was told for a move that failed.
    fn capabilities(&self, vm: &VmName) -> Value {
        [
            ("events", true),
            ("return-path", true),
            // A target that is held leaves the disks and their locks alone: the source may have to go on.
            ("late-block-activate", true),
            ("auto-converge", self.auto_converge),
            ("multifd", self.multifd_channels.is_some()),
            ("postcopy-ram", self.post_copy_after_s.is_some()),
            // The disks are finished while the guest stands still.
            ("pause-before-switchover", self.mirrors(vm)),
        ]
        .into_iter()
        .map(|(name, state)| json!({ "capability": name, "state": state }))
        .collect()
    }

    fn parameters(&self) -> Value {
        let mut parameters = json!({
            "downtime-limit": self.downtime_limit_ms,
            "max-bandwidth": self.bandwidth_bytes_per_s,
        });
        if let Some(channels) = self.multifd_channels {
            parameters["multifd-channels"] = channels.get().into();
        }
        parameters
    }
}

impl QemuTls {
    /// Name that the certificate of a target has to have.
    pub(super) fn name<'a>(&'a self, (host, end): (&HostName, &'a QemuEnd)) -> &'a str {
        let configured = self.names.get(host).map(String::as_str);
        configured.unwrap_or_else(|| {
            host_and_port(&end.incoming).map_or(end.incoming.as_str(), |(host, _)| host)
        })
    }
}

impl Monitor {
    /// Looks whether QEMU has an object with credentials for one end of TLS: it would say so only when a peer has connected.
    async fn need_creds(&mut self, id: &str, endpoint: &str) -> Result<(), MonitorError> {
        let which = json!({ "path": format!("/objects/{id}"), "property": "endpoint" });
        let found = self.execute("qom-get", which).await?;
        if found == endpoint {
            return Ok(());
        }
        Err(self.refused(
            "TLS",
            format!("{id} is for endpoint={found}, and has to be for {endpoint}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_the_name_of_its_address_unless_another_is_said() {
        let host = HostName::new("edge-2").unwrap();
        let end = |incoming: &str| QemuEnd {
            monitor: String::new(),
            incoming: incoming.into(),
            incoming_disks: None,
            launch: Vec::new(),
        };
        let mut tls = QemuTls {
            incoming_creds: "in".into(),
            outgoing_creds: "out".into(),
            names: [].into(),
        };
        for (incoming, expected) in [
            ("edge-2.example:4445", "edge-2.example"),
            ("192.0.2.12:4445", "192.0.2.12"),
            ("[2001:db8::1]:4445", "2001:db8::1"),
        ] {
            assert_eq!(tls.name((&host, &end(incoming))), expected);
        }
        tls.names.insert(host.clone(), "other.example".into());
        assert_eq!(tls.name((&host, &end("192.0.2.12:1"))), "other.example");
    }
}

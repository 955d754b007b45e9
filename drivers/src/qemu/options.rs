//! What both ends of a migration are told before it begins.

use serde_json::{Value, json};

use super::config::QemuConfig;
use super::monitor::{Monitor, MonitorError};

impl QemuConfig {
    /// Sets one end up for a move.
    pub(super) async fn set_up(&self, monitor: &mut Monitor) -> Result<(), MonitorError> {
        let capabilities = json!({ "capabilities": self.capabilities() });
        monitor
            .execute("migrate-set-capabilities", capabilities)
            .await?;
        monitor
            .execute("migrate-set-parameters", self.parameters())
            .await
            .map(drop)
    }

    /// All of them with their state: a QEMU remembers what it was told for a move that failed.
    fn capabilities(&self) -> Value {
        [
            ("events", true),
            ("return-path", true),
            ("auto-converge", self.auto_converge),
            ("multifd", self.multifd_channels.is_some()),
            ("postcopy-ram", self.post_copy_after_s.is_some()),
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

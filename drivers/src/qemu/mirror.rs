//! Disks that are mirrored: each host has an image of its own, and the target's is written over with the source's, by NBD.
//!
//! ```text
//!   offer    the target, which is held, serves its images
//!   begin    the source connects to them; of each disk a job copies all, then what the guest writes meanwhile
//!   follow   until each job has caught up once: then memory is copied (`copying.rs`)
//!   finish   the guest stands still: the jobs copy what is left and end, and the images are served no more
//!   clear    at any time instead: no job, no connection. The guest has had its own disk all the while
//! ```
//!
//! A write of the guest is done when it is on the source's disk (`copy-mode=background`): if it waited for the target's, too, a
//! line that breaks would stop the guest. What lags behind is waited for while it stands still, like the last pages of memory.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::config::{QemuConfig, QemuEnd, host_and_port};
use super::disks::{self, Image};
use super::monitor::{Monitor, MonitorError};
use crate::driver::Plan;

/// What jobs, exports and the source's connections are called: this and a number.
const PREFIX: &str = "forestall-mirror-";
/// A source gives up after so long to reach its target: its main loop, and soon its guest, waits meanwhile.
const CONNECT_WITHIN_S: u64 = 1;
/// Events tell that a job has caught up; this catches one that was missed.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// The same while the guest stands still.
const FINISH_EVERY: Duration = Duration::from_millis(5);
/// A source that was told to has no job any more after this.
const CLEAR_WITHIN: Duration = Duration::from_secs(5);
/// How often is looked whether it has.
const CLEAR_EVERY: Duration = Duration::from_millis(20);

/// The disks of one move. None, where the machine has none that is mirrored.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    mirrors: Vec<Mirror>,
    /// Where the source finds the target's images: options of an NBD node.
    server: Value,
    /// Rate of each job.
    bytes_per_s: u64,
}

#[derive(Debug)]
struct Mirror {
    /// Of the job, of the target's export, and of the source's node that writes to that.
    id: String,
    disk: Image,
}

impl QemuConfig {
    /// Has the target serve its images of these disks of the source.
    ///
    /// # Errors
    /// When it has no such image, one of another size, or one that another QEMU writes to.
    pub(super) async fn offer(
        &self,
        target: &mut Monitor,
        disks: Vec<Image>,
        plan: &Plan,
        end: &QemuEnd,
    ) -> Result<Mirrors, MonitorError> {
        let Some(known) = self.disks.get(&plan.vm).filter(|_| !disks.is_empty()) else {
            return Ok(Mirrors::default());
        };
        let images = disks::of(target, known).await?.mirrored;
        let address = end.incoming_disks.as_deref().and_then(host_and_port);
        let Some((host, port)) = address else {
            return Err(target.refused("mirroring", "no address is configured for it".into()));
        };
        let port = port.to_string();
        let mut served =
            json!({ "addr": { "type": "inet", "data": { "host": host, "port": port } } });
        let mut server = json!({
            "driver": "nbd", "server": { "type": "inet", "host": host, "port": port },
            "open-timeout": CONNECT_WITHIN_S,
        });
        if let Some(tls) = &self.tls {
            served["tls-creds"] = tls.incoming_creds.as_str().into();
            server["tls-creds"] = tls.outgoing_creds.as_str().into();
            server["tls-hostname"] = tls.name((&plan.target, end)).into();
        }
        target.execute("nbd-server-start", served).await?;
        // 0 would be no limit.
        let bytes_per_s = (self.bandwidth_bytes_per_s / disks.len() as u64).max(1);
        let mut mirrors = Vec::new();
        for (number, disk) in disks.into_iter().enumerate() {
            let id = format!("{PREFIX}{number}");
            serve(target, &id, &disk, &images).await?;
            mirrors.push(Mirror { id, disk });
        }
        Ok(Mirrors {
            mirrors,
            server,
            bytes_per_s,
        })
    }
}

/// Serves the image of a disk of the source, if there is one that can take its place.
async fn serve(
    target: &mut Monitor,
    id: &str,
    disk: &Image,
    images: &[Image],
) -> Result<(), MonitorError> {
    let why = match images.iter().find(|image| image.name == disk.name) {
        None => "the target has no such disk".into(),
        Some(image) if image.bytes != disk.bytes => format!(
            "it has {} bytes, and the target's, {}, has {}",
            disk.bytes, image.described, image.bytes
        ),
        Some(image) => {
            let export = json!({
                "type": "nbd", "id": id, "name": id, "node-name": image.node, "writable": true,
            });
            match target.execute("block-export-add", export).await {
                Ok(_) => return Ok(()),
                Err(error) => format!("the target's, {}: {error}", image.described),
            }
        }
    };
    Err(target.refused("mirroring", format!("{}: {why}", disk.described)))
}

impl Mirrors {
    /// The source begins to copy.
    pub(super) async fn begin(&self, source: &mut Monitor) -> Result<(), MonitorError> {
        for Mirror { id, disk } in &self.mirrors {
            let mut node = self.server.clone();
            node["node-name"] = id.as_str().into();
            node["export"] = id.as_str().into();
            source.execute("blockdev-add", node).await?;
            let job = json!({
                "job-id": id, "device": disk.node, "target": id, "sync": "full", "speed": self.bytes_per_s,
                // What became of it is asked for.
                "auto-dismiss": false,
                // It stands still at an error, until it is cleared away. One that ends while QEMU stops the guest leaves its filter
                // on the disk for good (7.2), and no other can begin there.
                "on-target-error": "stop",
            });
            source.execute("blockdev-mirror", job).await?;
        }
        Ok(())
    }

    /// Waits until the target has all but what the guest is writing now.
    pub(super) async fn follow(
        &self,
        source: &mut Monitor,
        cancel: &Notify,
    ) -> Result<(), MonitorError> {
        while !self.all_are(source, "ready").await? {
            tokio::select! {
                event = source.event(FOLLOW_EVERY) => drop(event?),
                () = cancel.notified() => {
                    return Err(source.refused("blockdev-mirror", "it was called off".into()));
                }
            }
        }
        Ok(())
    }

    /// With the guest stopped: has the target get what is left, and serve its images no more. `Ok` is the proof that they are
    /// what the source's are.
    pub(super) async fn finish(
        &mut self,
        source: &mut Monitor,
        target: &str,
    ) -> Result<(), MonitorError> {
        if self.mirrors.is_empty() {
            return Ok(());
        }
        for Mirror { id, .. } in &self.mirrors {
            let unlimited = json!({ "device": id, "speed": 0 });
            source.execute("block-job-set-speed", unlimited).await?;
            // One that has caught up copies the rest first, and leaves the guest on its own disk: `block-job-complete` would not.
            let end = json!({ "device": id });
            source.execute("block-job-cancel", end).await?;
        }
        while !self.all_are(source, "concluded").await? {
            source.event(FINISH_EVERY).await?;
        }
        for Mirror { id, .. } in &self.mirrors {
            source.execute("job-dismiss", json!({ "id": id })).await?;
            let node = json!({ "node-name": id });
            source.execute("blockdev-del", node).await?;
        }
        let mut target = Monitor::connect(target).await?;
        target.execute("nbd-server-stop", json!({})).await?;
        self.mirrors.clear();
        Ok(())
    }

    /// Whether all jobs have this status.
    ///
    /// # Errors
    /// When one has failed.
    async fn all_are(&self, source: &mut Monitor, status: &str) -> Result<bool, MonitorError> {
        let jobs = source.execute("query-block-jobs", json!({})).await?;
        let jobs = jobs.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut all = true;
        for Mirror { id, disk } in &self.mirrors {
            let job = jobs.iter().find(|job| job["device"] == id.as_str());
            let failed = match job {
                None => Some("its job is gone"),
                Some(job) if job["io-status"] != "ok" => Some("the target does not take it"),
                Some(job) => job["error"].as_str(),
            };
            if let Some(why) = failed {
                let why = format!("{}: {why}", disk.described);
                return Err(source.refused("blockdev-mirror", why));
            }
            all &= job.is_some_and(|job| job["status"] == status);
        }
        Ok(all)
    }

    /// Cuts the connections to the target, whatever waits for them.
    pub(super) async fn cut(&self, source: &mut Monitor) {
        for Mirror { id, .. } in &self.mirrors {
            cut(source, id).await;
        }
    }
}

/// A connection that is not there needs no cut.
async fn cut(source: &mut Monitor, node: &str) {
    let instance = json!({ "type": "block-node", "node-name": node });
    drop(source.yank(instance).await);
}

/// Ends the mirrors that a source may have, whoever began them.
pub(super) async fn clear(source: &mut Monitor) -> Result<(), MonitorError> {
    let flat = json!({ "flat": true });
    let nodes = source.execute("query-named-block-nodes", flat).await?;
    let nodes = ours(&nodes, "node-name");
    for node in &nodes {
        // A job waits for what it has sent, and the target may say nothing.
        cut(source, node).await;
    }
    let begun = Instant::now();
    loop {
        let jobs = source.execute("query-block-jobs", json!({})).await?;
        let left = ours(&jobs, "device");
        if left.is_empty() {
            break;
        }
        if begun.elapsed() >= CLEAR_WITHIN {
            return Err(source.refused("block-job-cancel", format!("{left:?} go on")));
        }
        for id in left {
            // Each refuses what it is too early or too late for.
            let cancel = json!({ "device": id, "force": true });
            if source
                .execute("job-dismiss", json!({ "id": id }))
                .await
                .is_err()
            {
                drop(source.execute("block-job-cancel", cancel).await);
            }
        }
        sleep(CLEAR_EVERY).await;
    }
    for node in nodes {
        let node = json!({ "node-name": node });
        source.execute("blockdev-del", node).await?;
    }
    Ok(())
}

/// Of what QEMU lists, the names that are ours.
fn ours(listed: &Value, key: &str) -> Vec<String> {
    let names = listed.as_array().into_iter().flatten();
    let names = names.filter_map(|one| one[key].as_str());
    let ours = names.filter(|name| name.starts_with(PREFIX));
    ours.map(str::to_owned).collect()
}

//! The guest's disks, which do not move with its memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::monitor::{Monitor, MonitorError};

/// How a disk gets to another host. What is not written to, such as a CD or a kernel's image, needs no word: the launch program
/// gives the same to each QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// The hosts have it in common, such as on NFS, with `cache=none` where they are machines of their own. QEMU's lock of it
    /// goes from one to the other.
    Shared,
    /// Each host has an image of its own, of the same size. All of it is copied with each move, over whatever the target's holds.
    Mirrored,
}

/// What is inserted in a QEMU and may be written to.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// Those of which is not said how they get to another host; in QEMU's words.
    pub(super) left_behind: Vec<String>,
    /// Those that are mirrored.
    pub(super) mirrored: Vec<Image>,
}

/// This end of a disk that is mirrored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Its name in the configuration.
    pub(super) name: String,
    /// In QEMU's words.
    pub(super) described: String,
    /// What QEMU's block layer calls it.
    pub(super) node: String,
    /// What the guest sees of it.
    pub(super) bytes: u64,
}

/// The disks of a QEMU that may be written to.
///
/// # Errors
/// When QEMU does not say which there are.
pub(super) async fn of(
    monitor: &mut Monitor,
    known: &BTreeMap<String, Disk>,
) -> Result<Disks, MonitorError> {
    let blocks = monitor.execute("query-block", json!({})).await?;
    let blocks = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut disks = Disks::default();
    for block in blocks.iter().filter(|block| is_written(block)) {
        let configured = names(block)
            .into_iter()
            .find_map(|name| Some((name, known.get(name)?)));
        match configured {
            Some((_, Disk::Shared)) => {}
            Some((name, Disk::Mirrored)) => disks.mirrored.push(image(name, block)),
            None => disks.left_behind.push(described(block)),
        }
    }
    Ok(disks)
}

fn image(name: &str, block: &Value) -> Image {
    let inserted = &block["inserted"];
    Image {
        name: name.to_owned(),
        described: described(block),
        node: inserted["node-name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        bytes: inserted["image"]["virtual-size"]
            .as_u64()
            .unwrap_or_default(),
    }
}

/// Whether something is in the drive that the guest may write to.
fn is_written(block: &Value) -> bool {
    block["inserted"].is_object() && block["inserted"]["ro"] != true
}

/// What a disk is called: by its drive, its device, or its node.
fn names(block: &Value) -> Vec<&str> {
    let names = [
        &block["device"],
        &block["qdev"],
        &block["inserted"]["node-name"],
    ];
    let named = names.iter().filter_map(|name| name.as_str());
    named.filter(|name| !name.is_empty()).collect()
}

fn described(block: &Value) -> String {
    let name = names(block)
        .first()
        .copied()
        .unwrap_or("one without a name");
    let file = block["inserted"]["file"].as_str().unwrap_or_default();
    format!("{name} ({file})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_devices_and_nodes_have_names() {
        for (block, expected) in [
            (
                json!({ "device": "ide0-hd0", "inserted": { "ro": false, "file": "a", "node-name": "#block1" } }),
                vec!["ide0-hd0", "#block1"],
            ),
            (
                json!({ "device": "", "qdev": "/machine/peripheral/d", "inserted": { "node-name": "n" } }),
                vec!["/machine/peripheral/d", "n"],
            ),
        ] {
            assert!(is_written(&block));
            assert_eq!(names(&block), expected);
        }
        assert!(!is_written(&json!({ "device": "empty" })));
        assert!(!is_written(
            &json!({ "device": "cd", "inserted": { "ro": true } })
        ));
    }
}

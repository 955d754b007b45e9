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
}

/// Disks that a guest may write to and of which is not said how they get to another host; in QEMU's words.
///
/// # Errors
/// When QEMU does not say which disks there are.
pub(super) async fn left_behind(
    source: &mut Monitor,
    known: &BTreeMap<String, Disk>,
) -> Result<Vec<String>, MonitorError> {
    let blocks = source.execute("query-block", json!({})).await?;
    let blocks = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
    let unknown = |block: &&Value| {
        let is_known = |name: &str| known.contains_key(name);
        is_written(block) && !names(block).into_iter().any(is_known)
    };
    Ok(blocks.iter().filter(unknown).map(described).collect())
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

//! Fuzzing: whatever comes from a monitor, no panic, an end, and nothing is believed of a guest that was not said.
//!
//! `cargo test` runs it for about a second with random inputs; `make fuzz` for longer. It is here since what reads the answers is
//! not public.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use bolero::{TypeGenerator, check};
use record::Residency;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use super::copying::CopyJob;
use super::disks::{self, Disk};
use super::guest;
use super::mirror::Mirrors;
use super::monitor::{Monitor, MonitorError};

/// What a QEMU returns, and what is nearly that.
const RETURNED: [&str; 18] = [
    "{}",
    "[]",
    "null",
    r#"{"status":"running","running":true}"#,
    r#"{"status":"paused"}"#,
    r#"{"status":"inmigrate"}"#,
    r#"{"status":"finish-migrate"}"#,
    r#"{"status":"postmigrate"}"#,
    r#"{"status":"active","ram":{"transferred":1,"postcopy-bytes":1}}"#,
    r#"{"status":"completed","total-time":7,"downtime":1}"#,
    r#"{"status":"failed","error-desc":"no"}"#,
    r#"{"status":"cancelled"}"#,
    r#"{"status":"pre-switchover"}"#,
    r#"{"status":"postcopy-active","ram":{"postcopy-bytes":-1}}"#,
    r#"{"status":7}"#,
    r#"[{"capability":"postcopy-ram","state":true}]"#,
    r#"[{"device":"d","inserted":{"ro":false,"node-name":"n","image":{"virtual-size":1e99}}}]"#,
    r#"[{"device":null,"inserted":{}},7,{"qdev":"","inserted":{"file":[]}}]"#,
];
const EVENTS: [&str; 4] = ["STOP", "RESUME", "MIGRATION", ""];
/// Nobody listens there.
const NOWHERE: &str = "unix:/no-such-folder/monitor";

#[derive(Debug, TypeGenerator)]
enum Greeting {
    Plain,
    OutOfBand,
    Bytes(Vec<u8>),
}

#[derive(Debug, TypeGenerator)]
enum Line {
    /// To what is asked next, as far as that can be told; with its number or without.
    Answer(bool, u8),
    Refusal(String),
    Event(u8),
    /// To a question that nobody asked.
    Other(u64, u8),
    Bytes(Vec<u8>),
}

/// What a peer says: a greeting and the answer to the capabilities, or anything else, then lines.
fn said(greeting: &Greeting, lines: &[Line]) -> Vec<u8> {
    let mut said = match greeting {
        Greeting::Plain => b"{\"QMP\":{}}\n{\"return\":{}}\n".to_vec(),
        Greeting::OutOfBand => {
            b"{\"QMP\":{\"capabilities\":[\"oob\"]}}\n{\"return\":{}}\n".to_vec()
        }
        Greeting::Bytes(bytes) => bytes.clone(),
    };
    let returned = |at: u8| RETURNED[usize::from(at) % RETURNED.len()];
    // The first is that of the capabilities.
    let mut asked = 1;
    for line in lines {
        let line = match line {
            Line::Answer(numbered, at) => {
                asked += 1;
                let number = if *numbered {
                    format!(",\"id\":{asked}")
                } else {
                    String::new()
                };
                format!("{{\"return\":{}{number}}}\n", returned(*at)).into_bytes()
            }
            Line::Refusal(why) => {
                asked += 1;
                let refusal = json!({ "error": { "desc": why }, "id": asked });
                format!("{refusal}\n").into_bytes()
            }
            Line::Event(at) => {
                let event = EVENTS[usize::from(*at) % EVENTS.len()];
                format!("{{\"event\":\"{event}\"}}\n").into_bytes()
            }
            Line::Other(id, at) => {
                format!("{{\"return\":{},\"id\":{id}}}\n", returned(*at)).into_bytes()
            }
            Line::Bytes(bytes) => bytes.clone(),
        };
        said.extend(line);
    }
    said
}

async fn meet(said: &[u8]) -> Result<Monitor, MonitorError> {
    let reader = Box::new(Cursor::new(said.to_vec()));
    Monitor::over(NOWHERE, reader, Box::new(Vec::<u8>::new())).await
}

/// What is believed of the guest, and of a copy of it.
async fn believed(said: &[u8]) -> (Option<Residency>, bool) {
    let residency = match meet(said).await {
        Ok(mut monitor) => guest::residency(&mut monitor).await.ok(),
        Err(_) => None,
    };
    if let Ok(mut monitor) = meet(said).await {
        let known = BTreeMap::from([("d".to_owned(), Disk::Mirrored)]);
        disks::of(&mut monitor, &known).await.ok();
    }
    let copied = match meet(said).await {
        Ok(mut source) => {
            let (cancel, progress) = (Notify::new(), Mutex::new(None));
            let mirrors = Mirrors::default();
            let job = CopyJob::new(&mut source, NOWHERE, (&cancel, &progress), mirrors, None);
            job.run(Value::Null).await.is_ok()
        }
        Err(_) => false,
    };
    (residency, copied)
}

fn runtime() -> AssertUnwindSafe<Runtime> {
    // A panic ends the test: nobody looks at what it left.
    AssertUnwindSafe(Builder::new_current_thread().enable_all().build().unwrap())
}

#[test]
fn a_monitor_says_anything() {
    let runtime = runtime();
    check!()
        .with_type::<(Greeting, Vec<Line>)>()
        .for_each(|(greeting, lines)| {
            let said = said(greeting, lines);
            let (residency, copied) = runtime.block_on(believed(&said));
            let text = String::from_utf8_lossy(&said);
            let runs = residency == Some(Residency::Running);
            assert!(!runs || text.contains("\"running\""), "{text}");
            assert!(!copied || text.contains("\"completed\""), "{text}");
        });
}

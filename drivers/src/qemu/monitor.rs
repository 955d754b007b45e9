//! The QEMU Machine Protocol: one JSON object a line.
//!
//! See QEMU's `docs/interop/qmp-spec.txt`: a greeting, `qmp_capabilities`, then commands with an `id` that the answer
//! repeats; events come in between at any time.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::stream::{self, Reads, Writes};

/// A monitor that has not answered after this is taken as unreachable. Long, since QEMU answers late on just the hosts that
/// functions are moved away from.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest line taken from a monitor.
pub const LINE_BYTES_MAX: usize = 4 << 20;
/// Events that are kept until somebody asks for them. Of more the oldest go: what is newest says how things are.
pub const EVENTS_MAX: usize = 256;
/// So much is kept of an event's name.
const EVENT_CHARS_MAX: usize = 64;

/// Why a monitor did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// Nobody listens there: the host answers, no QEMU does.
    #[error("no QEMU listens at {0}")]
    NoProcess(String),
    /// The connection ended: QEMU ended, or was ended.
    #[error("QEMU at {0} closed the connection")]
    Closed(String),
    /// No answer in time, or no way to the host.
    #[error("QEMU at {address} does not answer: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// What happened.
        why: String,
    },
    /// QEMU answered with an error.
    #[error("QEMU at {address} refused {command}: {why}")]
    Refused {
        /// Where.
        address: String,
        /// What was asked.
        command: String,
        /// QEMU's words.
        why: String,
    },
    /// What came is not QMP.
    #[error("what listens at {address} does not speak QMP: {why}")]
    NotQmp {
        /// Where.
        address: String,
        /// What came.
        why: String,
    },
}

/// A connection to one QEMU's monitor. QEMU serves one connection at a time: drop it when done.
#[derive(Debug)]
pub struct Monitor {
    address: String,
    reader: BufReader<Box<dyn Reads>>,
    writer: Box<dyn Writes>,
    next_id: u64,
    line: Vec<u8>,
    /// Their names.
    events: VecDeque<String>,
}

impl Monitor {
    /// Connects to `host:port` or `unix:PATH`, and agrees on capabilities.
    ///
    /// # Errors
    /// When nobody listens, or what listens does not answer as QMP.
    pub async fn connect(address: &str) -> Result<Self, MonitorError> {
        match timeout(ANSWER_WITHIN, Self::meet(address)).await {
            Ok(met) => met,
            Err(_) => Err(unreachable(
                address,
                "no greeting (another client may hold the monitor)",
            )),
        }
    }

    async fn meet(address: &str) -> Result<Self, MonitorError> {
        let opened = stream::open(address).await;
        let (reader, writer) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => MonitorError::NoProcess(address.to_owned()),
            _ => unreachable(address, &error.to_string()),
        })?;
        Self::over(address, reader, writer).await
    }

    /// Agrees on capabilities over a connection that was made to this address.
    pub(super) async fn over(
        address: &str,
        reader: Box<dyn Reads>,
        writer: Box<dyn Writes>,
    ) -> Result<Self, MonitorError> {
        let mut monitor = Self {
            address: address.to_owned(),
            reader: BufReader::new(reader),
            writer,
            next_id: 0,
            line: Vec::new(),
            events: VecDeque::new(),
        };
        let greeting = monitor.read().await?;
        if greeting.get("QMP").is_none() {
            return Err(monitor.not_qmp(&greeting.to_string()));
        }
        // Commands out of band are taken even while QEMU's main loop waits for something.
        let offered = greeting.pointer("/QMP/capabilities");
        let offered = offered.and_then(Value::as_array);
        let enable = match offered {
            Some(offered) if offered.iter().any(|one| one == "oob") => json!({ "enable": ["oob"] }),
            _ => json!({}),
        };
        monitor.execute("qmp_capabilities", enable).await?;
        Ok(monitor)
    }

    /// Runs a command and returns what it returns.
    ///
    /// # Errors
    /// When QEMU refuses it or does not answer in [`ANSWER_WITHIN`].
    pub async fn execute(
        &mut self,
        command: &str,
        arguments: Value,
    ) -> Result<Value, MonitorError> {
        self.command(("execute", command), arguments, ANSWER_WITHIN)
            .await
    }

    /// The same, for a shorter time.
    pub(super) async fn execute_within(
        &mut self,
        command: &str,
        arguments: Value,
        within: Duration,
    ) -> Result<Value, MonitorError> {
        self.command(("execute", command), arguments, within).await
    }

    /// Cuts a connection of QEMU's, though QEMU may be waiting for it: what goes over it fails.
    pub(super) async fn yank(&mut self, instance: Value) -> Result<(), MonitorError> {
        let instances = json!({ "instances": [instance] });
        self.command(("exec-oob", "yank"), instances, ANSWER_WITHIN)
            .await
            .map(drop)
    }

    async fn command(
        &mut self,
        (verb, command): (&str, &str),
        arguments: Value,
        within: Duration,
    ) -> Result<Value, MonitorError> {
        self.next_id += 1;
        let id = self.next_id;
        let mut line = json!({ verb: command, "arguments": arguments, "id": id }).to_string();
        line.push('\n');
        let exchange = async {
            self.writer
                .write_all(line.as_bytes())
                .await
                .map_err(|_| MonitorError::Closed(self.address.clone()))?;
            loop {
                let answer = self.read().await?;
                if answer.get("event").is_some() {
                    if self.events.len() == EVENTS_MAX {
                        self.events.pop_front();
                    }
                    self.events.push_back(event_name(&answer));
                } else if answer.get("id").and_then(Value::as_u64) == Some(id)
                    || answer.get("id").is_none()
                {
                    return Ok(answer);
                }
            }
        };
        let Ok(answer) = timeout(within, exchange).await else {
            return Err(unreachable(
                &self.address,
                &format!("no answer to {command}"),
            ));
        };
        let answer = answer?;
        if let Some(error) = answer.get("error") {
            let why = error
                .get("desc")
                .and_then(Value::as_str)
                .unwrap_or("no reason given")
                .to_owned();
            return Err(self.refused(command, why));
        }
        answer
            .get("return")
            .cloned()
            .ok_or_else(|| self.not_qmp(&answer.to_string()))
    }

    /// Waits for the name of the next event for at most `within`; `None` when none came.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn event(&mut self, within: Duration) -> Result<Option<String>, MonitorError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        match timeout(within, self.read()).await {
            Ok(read) => read.map(|event| Some(event_name(&event))),
            Err(_) => Ok(None),
        }
    }

    /// One line. What was read of a line is kept when this is dropped half-way.
    async fn read(&mut self) -> Result<Value, MonitorError> {
        loop {
            let closed = || MonitorError::Closed(self.address.clone());
            let chunk = self.reader.fill_buf().await.map_err(|_| closed())?;
            if chunk.is_empty() {
                return Err(closed());
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(chunk.len(), |end| end + 1);
            self.line.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken);
            if self.line.len() > LINE_BYTES_MAX {
                return Err(self.not_qmp("a line without end"));
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return serde_json::from_slice(&line)
                    .map_err(|error| self.not_qmp(&error.to_string()));
            }
        }
    }

    /// What QEMU refuses, or would if it were asked.
    pub(super) fn refused(&self, command: &str, why: String) -> MonitorError {
        MonitorError::Refused {
            address: self.address.clone(),
            command: command.to_owned(),
            why,
        }
    }

    fn not_qmp(&self, why: &str) -> MonitorError {
        MonitorError::NotQmp {
            address: self.address.clone(),
            why: why.chars().take(200).collect(),
        }
    }
}

/// Empty for what is none, such as an answer for which nobody waits any more.
fn event_name(event: &Value) -> String {
    let name = event.get("event").and_then(Value::as_str);
    name.unwrap_or_default()
        .chars()
        .take(EVENT_CHARS_MAX)
        .collect()
}

fn unreachable(address: &str, why: &str) -> MonitorError {
    MonitorError::Unreachable {
        address: address.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A peer that says `greeting`, then answers each line with the next of `answers`.
    async fn peer(greeting: &'static str, answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(greeting.as_bytes()).await.unwrap();
            for answer in answers {
                lines.next_line().await.unwrap();
                writer.write_all(answer.as_bytes()).await.unwrap();
            }
            lines.next_line().await.ok();
        });
        address
    }

    const GREETING: &str = "{\"QMP\":{}}\n";

    #[tokio::test]
    async fn answers_events_and_refusals_are_told_apart() {
        let address = peer(
            GREETING,
            [
                "{\"return\":{},\"id\":1}\n",
                "{\"event\":\"STOP\"}\n{\"return\":{\"status\":\"running\"},\"id\":2}\n",
                "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":3}\n",
            ]
            .map(str::to_owned)
            .to_vec(),
        )
        .await;
        let mut monitor = Monitor::connect(&address).await.unwrap();
        assert_eq!(
            monitor.execute("query-status", json!({})).await.unwrap()["status"],
            "running"
        );
        let refused = monitor.execute("cont", json!({})).await.unwrap_err();
        assert!(
            matches!(refused, MonitorError::Refused { ref why, .. } if why == "no"),
            "{refused}"
        );
        assert_eq!(
            monitor
                .event(Duration::from_secs(1))
                .await
                .unwrap()
                .unwrap(),
            "STOP"
        );
    }

    #[tokio::test]
    async fn events_without_end_are_forgotten_from_the_oldest() {
        let count = 4 * EVENTS_MAX;
        let events = (0..count).map(|i| format!("{{\"event\":\"E{i}\"}}\n"));
        let answer: String = events
            .chain(["{\"return\":{},\"id\":2}\n".into()])
            .collect();
        let address = peer(GREETING, vec!["{\"return\":{},\"id\":1}\n".into(), answer]).await;
        let mut monitor = Monitor::connect(&address).await.unwrap();
        monitor.execute("query-status", json!({})).await.unwrap();
        let mut kept = Vec::new();
        while let Some(event) = monitor.event(Duration::from_millis(100)).await.unwrap() {
            kept.push(event);
        }
        let newest = (count - EVENTS_MAX..count).map(|i| format!("E{i}"));
        assert_eq!(kept, newest.collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_socket_without_qemu_is_told_from_a_folder_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let address = |path: &str| format!("unix:{}", folder.path().join(path).display());
        // A QEMU that was killed leaves its socket behind.
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("left")).unwrap());
        for path in ["none", "left"] {
            let error = Monitor::connect(&address(path)).await.unwrap_err();
            assert!(matches!(error, MonitorError::NoProcess(_)), "{error}");
        }
        let error = Monitor::connect(&address("no-folder/socket"))
            .await
            .unwrap_err();
        assert!(matches!(error, MonitorError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_qmp_is_named() {
        for greeting in ["HTTP/1.1 400 Bad Request\n", "{}\n", "[1,2\n", "\u{0}\n"] {
            let address = peer(greeting, Vec::new()).await;
            let error = Monitor::connect(&address).await.unwrap_err();
            assert!(matches!(error, MonitorError::NotQmp { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn nobody_and_silence_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let silent = Monitor::connect(&address).await.unwrap_err();
        assert!(
            matches!(silent, MonitorError::Unreachable { .. }),
            "{silent}"
        );
        drop(listener);
        let nobody = Monitor::connect(&address).await.unwrap_err();
        assert!(matches!(nobody, MonitorError::NoProcess(_)), "{nobody}");
    }
}

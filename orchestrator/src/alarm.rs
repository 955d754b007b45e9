//! What a person has to look at: told once when it begins and once when it is over, to the log and, where one is configured, to
//! a webhook.

use std::collections::BTreeMap;
use std::time::Duration;

use record::decision::HoldReason;
use record::{Decision, Event, Timestamp, Verdict, VmName};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::explain;
use crate::snmp::{SecretError, SecretSource};

/// A host whose agent was never heard is silent after this; before, it may just not have been asked.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// Notices that wait for a webhook that is slow; more are told to the log alone.
const NOTICES_WAITING_MAX: usize = 256;
/// A webhook that has not answered after this does not.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What is waited before a notice is sent again.
const AGAIN_AFTER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(25),
];

/// Whom to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmSettings {
    /// Where the address is to which notices are posted as JSON: services that take such have a password in it.
    pub webhook: SecretSource,
}

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum AlarmError {
    /// There is no address.
    #[error("alarms.webhook: {0}")]
    Secret(#[from] SecretError),
    /// It is none. Not shown, since it may have a password in it.
    #[error("alarms.webhook: what stands there is no http:// or https:// address")]
    Address,
    /// There is no HTTP to be had.
    #[error("alarms.webhook: {0}")]
    Client(String),
}

/// What kind of thing a person has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The guest may run twice.
    Split,
    /// No whole guest is left.
    Lost,
    /// A whole guest is there and runs nowhere.
    Blackout,
    /// An end does not answer, and nothing may be done until it does.
    Unknown,
    /// No sample of a host's load comes.
    SilentHost,
    /// A host is about to be too busy, and no move would help.
    NoUsefulMove,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// When it was so.
    pub at_us: Timestamp,
    /// It begins; `false` when it is over.
    pub raised: bool,
    /// What.
    pub kind: AlarmKind,
    /// The host or function that it is about.
    pub subject: String,
    /// In words.
    pub words: String,
}

/// The alarms that stand.
#[derive(Debug)]
pub(crate) struct Alarms {
    begun_at: Timestamp,
    standing: BTreeMap<String, AlarmKind>,
    webhook: Option<mpsc::Sender<Notice>>,
}

impl Alarms {
    /// None stands yet. Where there is a webhook a task is begun that posts to it.
    pub(crate) fn new(
        begun_at: Timestamp,
        settings: Option<&AlarmSettings>,
    ) -> Result<Self, AlarmError> {
        let webhook = settings.map(|settings| {
            let secret = settings.webhook.read()?;
            let text = std::str::from_utf8(secret.bytes()).map_err(|_| AlarmError::Address)?;
            let url: Url = text.parse().map_err(|_| AlarmError::Address)?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(AlarmError::Address);
            }
            // The address may have a password in it: it is sent nowhere else.
            let client = Client::builder()
                .timeout(ANSWER_WITHIN)
                .redirect(Policy::none());
            let client = client.referer(false).build();
            let client = client.map_err(|error| AlarmError::Client(error.to_string()))?;
            let (notices_in, notices) = mpsc::channel(NOTICES_WAITING_MAX);
            tokio::spawn(post_all(client, url, notices));
            Ok(notices_in)
        });
        Ok(Self {
            begun_at,
            standing: BTreeMap::new(),
            webhook: webhook.transpose()?,
        })
    }

    /// Tells what a decision changes. `moving` is what its move moves.
    pub(crate) fn take(&mut self, decision: &Decision, moving: Option<&VmName>) {
        let Some((subject, kind)) = judge(decision, moving, self.begun_at) else {
            return;
        };
        let before = self.standing.get(&subject).copied();
        if before == kind {
            return;
        }
        let words = explain::of_decision(decision);
        let told = before.map(|kind| (kind, false)).into_iter();
        for (kind, raised) in told.chain(kind.map(|kind| (kind, true))) {
            self.tell(Notice {
                at_us: decision.at_us,
                raised,
                kind,
                subject: subject.clone(),
                words: words.clone(),
            });
        }
        match kind {
            Some(kind) => drop(self.standing.insert(subject, kind)),
            None => drop(self.standing.remove(&subject)),
        }
    }

    /// A person has looked after a function: what comes next is told anew.
    pub(crate) fn released(&mut self, vm: &VmName) {
        self.standing.remove(vm.as_str());
    }

    fn tell(&self, notice: Notice) {
        let state = if notice.raised { "ALARM" } else { "alarm over" };
        eprintln!(
            "{state}: {:?} of {}: {}",
            notice.kind, notice.subject, notice.words
        );
        if let Some(webhook) = &self.webhook
            && let Err(error) = webhook.try_send(notice)
        {
            eprintln!("alarms: the webhook is not told of this one: {error}");
        }
    }
}

/// What stands for a subject after a decision: an alarm or none. `None` when it says nothing about that.
fn judge(
    decision: &Decision,
    moving: Option<&VmName>,
    begun_at: Timestamp,
) -> Option<(String, Option<AlarmKind>)> {
    match &decision.event {
        Event::Hold { host, reason, .. } => {
            let kind = match reason {
                // Decided before the host's load was looked at: of that it says nothing.
                HoldReason::NothingToMove | HoldReason::NothingFree | HoldReason::Busy { .. } => {
                    return None;
                }
                HoldReason::StaleSample { .. } => Some(AlarmKind::SilentHost),
                HoldReason::NoSample if decision.at_us.since(begun_at) >= HEARD_WITHIN => {
                    Some(AlarmKind::SilentHost)
                }
                HoldReason::NoTargetFits { .. }
                | HoldReason::NoGain { .. }
                | HoldReason::NoUsefulMove { .. } => Some(AlarmKind::NoUsefulMove),
                _ => None,
            };
            Some((host.to_string(), kind))
        }
        Event::Alarm { vm, verdict, .. } => Some((vm.to_string(), of_verdict(*verdict))),
        Event::Settled { verdict, .. } => moving.map(|vm| (vm.to_string(), of_verdict(*verdict))),
        _ => None,
    }
}

const fn of_verdict(verdict: Verdict) -> Option<AlarmKind> {
    match verdict {
        Verdict::Split => Some(AlarmKind::Split),
        Verdict::Lost => Some(AlarmKind::Lost),
        Verdict::Blackout => Some(AlarmKind::Blackout),
        Verdict::Unknown => Some(AlarmKind::Unknown),
        Verdict::Moved | Verdict::Stayed => None,
    }
}

async fn post_all(client: Client, url: Url, mut notices: mpsc::Receiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        let mut pauses = AGAIN_AFTER.iter();
        while let Err(why) = post(&client, &url, &notice).await {
            let Some(pause) = pauses.next() else {
                eprintln!(
                    "alarms: the webhook has not taken {:?} of {}: {why}",
                    notice.kind, notice.subject
                );
                break;
            };
            sleep(*pause).await;
        }
    }
}

async fn post(client: &Client, url: &Url, notice: &Notice) -> Result<(), String> {
    let answer = client.post(url.clone()).json(notice).send().await;
    // The address may have a password in it.
    let answer = answer.map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    status
        .is_success()
        .then_some(())
        .ok_or_else(|| status.to_string())
}

#[cfg(test)]
mod tests {
    use record::HostName;
    use record::decision::Evidence;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn hold(at_s: f64, reason: HoldReason) -> Decision {
        let event = Event::Hold {
            host: HostName::new("a").unwrap(),
            reason,
            evidence: Evidence::default(),
        };
        Decision::new(Timestamp::from_secs_f64(at_s), event)
    }

    fn stale() -> HoldReason {
        HoldReason::StaleSample { limit_ms: 12e3 }
    }

    #[test]
    fn what_stands_after_a_decision() {
        let begun = Timestamp::from_secs_f64(100.0);
        for (at_s, reason, kind) in [
            (101.0, HoldReason::NoSample, None),
            (131.0, HoldReason::NoSample, Some(AlarmKind::SilentHost)),
            (101.0, stale(), Some(AlarmKind::SilentHost)),
            (101.0, HoldReason::NotDue, None),
        ] {
            let stands = judge(&hold(at_s, reason.clone()), None, begun);
            assert_eq!(stands, Some(("a".into(), kind)), "{at_s} {reason:?}");
        }
    }

    /// The address of a webhook as a file has it.
    fn settings(folder: &tempfile::TempDir, address: &str) -> AlarmSettings {
        use std::os::unix::fs::PermissionsExt;
        let file = folder.path().join("webhook");
        std::fs::write(&file, format!("{address}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        AlarmSettings {
            webhook: SecretSource::File(file),
        }
    }

    #[tokio::test]
    async fn each_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/canary", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut alarms = Alarms::new(Timestamp(0), Some(&settings(&folder, &address))).unwrap();
        for reason in [stale(), stale(), HoldReason::NotDue, HoldReason::NotDue] {
            alarms.take(&hold(1.0, reason), None);
        }
        drop(alarms);
        let mut told = Vec::new();
        // The first answer is that of a service in trouble: it is told again.
        for status in ["503 Service Unavailable", "200 OK", "200 OK"] {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            while !request.ends_with('}') {
                let mut part = [0; 4096];
                let length = peer.read(&mut part).await.unwrap();
                request.push_str(std::str::from_utf8(&part[..length]).unwrap());
            }
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            peer.write_all(answer.as_bytes()).await.unwrap();
            assert!(request.starts_with("POST /canary "), "{request}");
            let body = request.split("\r\n\r\n").nth(1).unwrap();
            let notice: Notice = serde_json::from_str(body).unwrap();
            told.push((notice.raised, notice.kind));
        }
        let kind = AlarmKind::SilentHost;
        assert_eq!(told, [(true, kind), (true, kind), (false, kind)]);
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        for address in ["file:///canary", "canary"] {
            let refused = Alarms::new(Timestamp(0), Some(&settings(&folder, address)));
            let refused = refused.unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("canary"));
        }
    }
}

//! What a person has to look at: told once when it begins and once when it is over, to the log and, where one is configured, to
//! a webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use record::decision::HoldReason;
use record::{Decision, Event, HostName, Residency, Timestamp, Verdict, VmName};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::explain;
use crate::log::{self, About};
use crate::snmp::{SecretError, SecretSource};
use crate::survey::Seen;

/// A host whose agent was never heard is silent after this; before, it may just not have been asked.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// Notices that wait for a webhook that is slow; more are told to the log alone.
const NOTICES_WAITING_MAX: usize = 256;
/// A webhook that has not answered after this does not.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An orchestrator that ends waits so long for a webhook to take the last notices.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The guest may run twice.
    Split,
    /// No whole guest is seen any more.
    Lost,
    /// A whole guest is there and runs nowhere.
    Blackout,
    /// An end does not answer, and nothing may be done until it does.
    Unknown,
    /// No sample of a host's load comes.
    SilentHost,
    /// A host is about to be too busy, and no move would help.
    NoUsefulMove,
    /// The system's clock was set while the orchestrator runs.
    Clock,
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
    /// The host or function that it is about, or the clock.
    pub subject: String,
    /// In words.
    pub words: String,
}

/// Whom an alarm is about. A host and a function may have the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Host(HostName),
    Function(VmName),
    Clock,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Function(vm) => vm.fmt(f),
            Self::Clock => f.write_str("clock"),
        }
    }
}

/// The alarms that stand.
#[derive(Debug)]
pub(crate) struct Alarms {
    begun_at: Timestamp,
    /// What was decided last of each.
    standing: BTreeMap<Subject, AlarmKind>,
    silent: BTreeSet<HostName>,
    webhook: Option<Webhook>,
}

/// Where notices are posted.
#[derive(Debug)]
struct Webhook {
    notices: mpsc::Sender<Notice>,
    posts: JoinHandle<()>,
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
            Ok(Webhook {
                notices: notices_in,
                posts: tokio::spawn(post_all(client, url, notices)),
            })
        });
        Ok(Self {
            begun_at,
            standing: BTreeMap::new(),
            silent: BTreeSet::new(),
            webhook: webhook.transpose()?,
        })
    }

    /// Tells what a decision changes. `moving` is what its move moves.
    pub(crate) fn take(&mut self, decision: &Decision, moving: Option<&VmName>) {
        if let Some((subject, kind)) = judge(decision, moving) {
            let words = || explain::of_decision(decision);
            self.stand(decision.at_us, subject, kind, words);
        }
    }

    /// Tells what a look at a function changes that nobody moves here. `before` is the last look at it: others may have been moving it
    /// at one of them, so what is not as it should be is believed when it is seen twice in a row.
    pub(crate) fn see(&mut self, vm: &VmName, before: Option<&Seen>, seen: &Seen) {
        let kind = match seen.verdict {
            // Its host does not answer: it may well run there.
            Verdict::Unknown if seen.residency == Residency::Unreachable => return,
            verdict => of_verdict(verdict),
        };
        let again = before.is_some_and(|before| before.verdict == seen.verdict);
        if kind.is_none() || again {
            self.stand(seen.at_us, Subject::Function(vm.clone()), kind, || {
                seen.words()
            });
        }
    }

    /// Tells when the system's clock is another one than the orchestrator's, `off_s` seconds ahead, and when it is not any more.
    pub(crate) fn clock(&mut self, at: Timestamp, off_s: Option<f64>) {
        let words = || match off_s {
            Some(off_s) => format!(
                "the system's clock was set, and is {off_s:+.1} s off the orchestrator's. What is decided goes on by the time as it \
                 was; with a restart the orchestrator takes the new one"
            ),
            None => "the system's clock is the orchestrator's again".into(),
        };
        let kind = off_s.map(|_| AlarmKind::Clock);
        self.stand(at, Subject::Clock, kind, words);
    }

    /// What stands for a subject from now on; told where that is something else than before.
    fn stand(
        &mut self,
        at: Timestamp,
        subject: Subject,
        kind: Option<AlarmKind>,
        words: impl FnOnce() -> String,
    ) {
        let before = self.standing.get(&subject).copied();
        if before == kind {
            return;
        }
        let words = words();
        let told = before.map(|kind| (kind, false)).into_iter();
        for (kind, raised) in told.chain(kind.map(|kind| (kind, true))) {
            let notice = Notice {
                at_us: at,
                raised,
                kind,
                subject: subject.to_string(),
                words: words.clone(),
            };
            self.tell(&subject, notice);
        }
        match kind {
            Some(kind) => drop(self.standing.insert(subject, kind)),
            None => drop(self.standing.remove(&subject)),
        }
    }

    /// Tells which hosts have fallen silent and which are heard again. `silent` are all that are.
    pub(crate) fn hear(&mut self, at: Timestamp, silent: BTreeSet<HostName>) {
        if at.since(self.begun_at) < HEARD_WITHIN {
            return;
        }
        let before = std::mem::take(&mut self.silent);
        let tell = |host: &HostName, raised, words: &str| {
            let notice = Notice {
                at_us: at,
                raised,
                kind: AlarmKind::SilentHost,
                subject: host.to_string(),
                words: words.into(),
            };
            self.tell(&Subject::Host(host.clone()), notice);
        };
        for host in silent.difference(&before) {
            tell(host, true, "no sample of its load comes");
        }
        for host in before.difference(&silent) {
            tell(host, false, "samples of its load come again");
        }
        self.silent = silent;
    }

    /// A person has looked after a function: what comes next is told anew.
    pub(crate) fn released(&mut self, at: Timestamp, vm: &VmName) {
        let words = || "a person has looked after it".into();
        self.stand(at, Subject::Function(vm.clone()), None, words);
    }

    /// How many stand, by kind.
    pub(crate) fn counts(&self) -> BTreeMap<AlarmKind, u64> {
        let silent = self.silent.iter().map(|_| AlarmKind::SilentHost);
        let mut counts = BTreeMap::new();
        for kind in self.standing.values().copied().chain(silent) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// Gives the webhook time to take what waits for it.
    pub(crate) async fn end(self) {
        let Some(Webhook { notices, posts }) = self.webhook else {
            return;
        };
        drop(notices);
        if timeout(TOLD_WITHIN, posts).await.is_err() {
            let words = format!(
                "alarms: the webhook has not taken the last ones within {} s",
                TOLD_WITHIN.as_secs()
            );
            log::say(None, &words);
        }
    }

    fn tell(&self, subject: &Subject, notice: Notice) {
        let state = if notice.raised { "ALARM" } else { "alarm over" };
        let words = format!(
            "{state}: {:?} of {}: {}",
            notice.kind, notice.subject, notice.words
        );
        let about = match subject {
            Subject::Host(host) => Some(About::Host(host)),
            Subject::Function(vm) => Some(About::Function(vm)),
            Subject::Clock => None,
        };
        log::say(about, &words);
        if let Some(webhook) = &self.webhook
            && let Err(error) = webhook.notices.try_send(notice)
        {
            let words = format!("alarms: the webhook is not told of this one: {error}");
            log::say(None, &words);
        }
    }
}

/// What stands for a subject after a decision: an alarm or none. `None` when it says nothing about that.
fn judge(decision: &Decision, moving: Option<&VmName>) -> Option<(Subject, Option<AlarmKind>)> {
    match &decision.event {
        Event::Hold { host, reason, .. } => {
            let kind = match reason {
                // Decided before the host's load was looked at, or without knowing it: of that it says nothing.
                HoldReason::NothingToMove
                | HoldReason::NothingFree
                | HoldReason::InDoubt { .. }
                | HoldReason::Busy { .. }
                | HoldReason::StaleSample { .. }
                | HoldReason::NoSample => return None,
                HoldReason::NoTargetFits { .. }
                | HoldReason::NoGain { .. }
                | HoldReason::NoUsefulMove { .. } => Some(AlarmKind::NoUsefulMove),
                _ => None,
            };
            Some((Subject::Host(host.clone()), kind))
        }
        Event::Alarm { vm, verdict, .. } => {
            Some((Subject::Function(vm.clone()), of_verdict(*verdict)))
        }
        Event::Settled { verdict, .. } => {
            moving.map(|vm| (Subject::Function(vm.clone()), of_verdict(*verdict)))
        }
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
                let words = format!(
                    "alarms: the webhook has not taken {:?} of {}: {why}",
                    notice.kind, notice.subject
                );
                log::say(None, &words);
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

    fn useless() -> HoldReason {
        HoldReason::NoTargetFits {
            vm: VmName::new("f").unwrap(),
            candidates: Vec::new(),
            considered: 1,
        }
    }

    #[test]
    fn what_stands_after_a_decision() {
        let host = Subject::Host(HostName::new("a").unwrap());
        for (reason, stands) in [
            (useless(), Some(Some(AlarmKind::NoUsefulMove))),
            (HoldReason::NotDue, Some(None)),
            (HoldReason::NoSample, None),
            (HoldReason::StaleSample { limit_ms: 12e3 }, None),
        ] {
            let seen = judge(&hold(1.0, reason.clone()), None);
            let stands = stands.map(|kind| (host.clone(), kind));
            assert_eq!(seen, stands, "{reason:?}");
        }
    }

    #[test]
    fn what_is_seen_twice_in_a_row_is_an_alarm_until_it_is_mended() {
        use Residency::{Absent, Running, Unreachable};
        let vm = VmName::new("f").unwrap();
        let mut alarms = Alarms::new(Timestamp(0), None).unwrap();
        let mut before = None;
        for (residency, verdict, stands) in [
            (Running, Verdict::Stayed, None),
            // Somebody else moved it at that instant.
            (Absent, Verdict::Lost, None),
            (Running, Verdict::Stayed, None),
            (Absent, Verdict::Lost, None),
            (Absent, Verdict::Lost, Some(AlarmKind::Lost)),
            // Of that nobody says that it is mended.
            (Unreachable, Verdict::Unknown, Some(AlarmKind::Lost)),
            (Running, Verdict::Stayed, None),
            (Running, Verdict::Split, None),
            (Running, Verdict::Split, Some(AlarmKind::Split)),
            (Absent, Verdict::Moved, None),
            (Unreachable, Verdict::Unknown, None),
            (Unreachable, Verdict::Unknown, None),
            (Absent, Verdict::Unknown, Some(AlarmKind::Unknown)),
        ] {
            let seen = Seen {
                at_us: Timestamp(1),
                host: HostName::new("a").unwrap(),
                residency,
                elsewhere: Vec::new(),
                verdict,
                asked_all: true,
            };
            alarms.see(&vm, before.as_ref(), &seen);
            let standing = alarms.standing.get(&Subject::Function(vm.clone()));
            assert_eq!(standing.copied(), stands, "{seen:?} after {before:?}");
            before = Some(seen);
        }
    }

    #[tokio::test]
    async fn what_a_person_has_looked_after_is_over_and_said_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/canary", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut alarms = Alarms::new(Timestamp(0), Some(&settings(&folder, &address))).unwrap();
        let vm = VmName::new("f").unwrap();
        alarms.stand(
            Timestamp(1),
            Subject::Function(vm.clone()),
            Some(AlarmKind::Split),
            || "it runs twice".into(),
        );
        alarms.released(Timestamp(2), &vm);
        // Of one that nothing stands for there is nothing to say.
        alarms.released(Timestamp(3), &vm);
        assert_eq!(alarms.counts(), BTreeMap::new());
        let ended = tokio::spawn(alarms.end());
        let told = [
            told(&listener, "200 OK").await,
            told(&listener, "200 OK").await,
        ];
        ended.await.unwrap();
        assert_eq!(told, [(true, AlarmKind::Split), (false, AlarmKind::Split)]);
    }

    #[test]
    fn a_clock_that_was_set_is_an_alarm_until_it_is_right_again() {
        let mut alarms = Alarms::new(Timestamp(0), None).unwrap();
        for (off_s, stands) in [
            (None, None),
            (Some(-3600.0), Some(&AlarmKind::Clock)),
            (Some(-3599.9), Some(&AlarmKind::Clock)),
            (None, None),
        ] {
            alarms.clock(Timestamp(1), off_s);
            assert_eq!(alarms.standing.get(&Subject::Clock), stands, "{off_s:?}");
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

    /// What the webhook is posted next, which it answers so.
    async fn told(webhook: &TcpListener, status: &str) -> (bool, AlarmKind) {
        let (mut peer, _) = webhook.accept().await.unwrap();
        let mut request = String::new();
        while !request.ends_with('}') {
            let mut part = [0; 4096];
            let length = peer.read(&mut part).await.unwrap();
            request.push_str(std::str::from_utf8(&part[..length]).unwrap());
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        peer.write_all(answer.as_bytes()).await.unwrap();
        assert!(request.starts_with("POST /canary "), "{request}");
        let body = request.split("\r\n\r\n").nth(1).unwrap();
        let notice: Notice = serde_json::from_str(body).unwrap();
        (notice.raised, notice.kind)
    }

    #[tokio::test]
    async fn each_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/canary", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut alarms = Alarms::new(Timestamp(0), Some(&settings(&folder, &address))).unwrap();
        for reason in [useless(), useless(), HoldReason::NotDue, HoldReason::NotDue] {
            alarms.take(&hold(1.0, reason), None);
        }
        // One without a function, of which nothing is decided, too. At first it may just not have been asked.
        let silent = BTreeSet::from([HostName::new("b").unwrap()]);
        for (at_s, silent) in [
            (29.0, silent.clone()),
            (31.0, silent.clone()),
            (41.0, silent),
            (51.0, BTreeSet::new()),
        ] {
            alarms.hear(Timestamp::from_secs_f64(at_s), silent);
        }
        // What waits is told yet.
        let ended = tokio::spawn(alarms.end());
        let mut told = Vec::new();
        // The first answer is that of a service in trouble: it is told again.
        for status in [
            "503 Service Unavailable",
            "200 OK",
            "200 OK",
            "200 OK",
            "200 OK",
        ] {
            told.push(self::told(&listener, status).await);
        }
        ended.await.unwrap();
        let (useless, silent) = (AlarmKind::NoUsefulMove, AlarmKind::SilentHost);
        assert_eq!(
            told,
            [
                (true, useless),
                (true, useless),
                (false, useless),
                (true, silent),
                (false, silent)
            ]
        );
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

//! The poller against simulated agents, in a time of our own: what becomes of each kind of answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use forestall_orchestrator::snmp::fleet::Fleet;
use forestall_orchestrator::snmp::{
    Access, AuthProtocol, Event, Failure, Load, Poller, PrivacyProtocol, Secret, Snmp, SnmpVersion,
    Tally, Transmit,
};
use record::HostName;

const CANARY: &str = "canary-d41d8cd98f00";

fn v3(auth_password: &str, privacy_password: &str) -> Access {
    Access::V3 {
        user: "forestall".into(),
        auth: AuthProtocol::Sha256,
        auth_password: Secret::new(auth_password),
        privacy: PrivacyProtocol::Aes128,
        privacy_password: Secret::new(privacy_password),
    }
}

fn v2c(community: &str) -> Access {
    Access::V2c {
        community: Secret::new(community),
    }
}

fn snmp(agents: u8) -> Snmp {
    let agent = |number: u8| {
        (
            HostName::new(&format!("host-{number}")).unwrap(),
            SocketAddr::from(([127, 0, 0, number], 161)),
        )
    };
    Snmp {
        version: SnmpVersion::V3,
        user: None,
        auth: None,
        auth_password: None,
        privacy: None,
        privacy_password: None,
        community: None,
        poll_ms: 1000,
        agents: (1..=agents).map(agent).collect(),
    }
}

/// A poller, agents, and a network that does what a test wants.
struct Bed {
    poller: Poller,
    fleet: Fleet,
    start: Instant,
    now: Instant,
    events: Vec<Event>,
}

impl Bed {
    fn new(ours: &Access, theirs: &Access, agents: u8) -> Self {
        let start = Instant::now();
        Self {
            poller: Poller::new(&snmp(agents), ours, start, 7).unwrap(),
            fleet: Fleet::new(theirs).unwrap(),
            start,
            now: start,
            events: Vec::new(),
        }
    }

    /// Both sides know the same.
    fn right() -> Self {
        Self::new(&v3("password", "passwort"), &v3("password", "passwort"), 1)
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self.poller.poll(self.now);
        self
    }

    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.poller.poll_transmit()).collect()
    }

    /// What the agent answers, not yet delivered.
    fn answer(&mut self, to: &Transmit) -> Option<Vec<u8>> {
        let up = self.now.duration_since(self.start) + Duration::from_secs(1000);
        let answer = self.fleet.answer(up, to.to.ip(), &to.datagram)?;
        Some(answer.to_vec())
    }

    fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.poller.handle(self.now, from, datagram);
        self.events
            .extend(std::iter::from_fn(|| self.poller.poll_event()));
    }

    /// Lets both talk until nobody has anything to say.
    fn talk(&mut self) {
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                break;
            }
            for transmit in sent {
                if let Some(answer) = self.answer(&transmit) {
                    self.deliver(transmit.to, &answer);
                }
            }
        }
    }

    /// The next request to the only agent, with all that comes before it said; and its answer.
    fn request(&mut self) -> (Transmit, Vec<u8>) {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        let answer = self.answer(&sent[0]).unwrap();
        (sent[0].clone(), answer)
    }

    fn tally(&self) -> Tally {
        self.poller.tally(0)
    }

    /// Why the poll failed that is open now.
    fn failure(&mut self) -> Option<Failure> {
        self.after(1000);
        self.events
            .extend(std::iter::from_fn(|| self.poller.poll_event()));
        let events = std::mem::take(&mut self.events);
        events.into_iter().find_map(|event| match event {
            Event::Failed { failure, .. } => Some(failure),
            _ => None,
        })
    }

    fn readings(&self) -> usize {
        let reading = |event: &&Event| matches!(event, Event::Reading { .. });
        self.events.iter().filter(reading).count()
    }
}

/// A poller that knows its agent and has an answered poll behind it, at the beginning of the next one.
fn acquainted() -> Bed {
    let mut bed = Bed::right();
    bed.after(0).talk();
    assert_eq!(bed.readings(), 1, "{:?}", bed.events);
    bed.after(1000);
    bed
}

#[test]
fn getting_to_know_an_agent_takes_three_requests_of_one_poll() {
    let mut bed = Bed::right();
    bed.after(0).talk();
    let [Event::Reading { agent: 0, reading }] = bed.events.as_slice() else {
        panic!("{:?}", bed.events);
    };
    assert_eq!((reading.up_time, reading.boots), (100_000, Some(1)));
    assert!(matches!(reading.load, Load::Ticks(_)));
    assert_eq!(
        bed.tally(),
        Tally {
            asked: 1,
            answered: 1,
            varbinds: 9,
            ..Tally::default()
        }
    );
    bed.after(1000).talk();
    assert_eq!(bed.tally().answered, 2);
}

#[test]
fn v2c_has_no_proof_of_a_restart() {
    let mut bed = Bed::new(&v2c("public"), &v2c("public"), 3);
    bed.after(0).after(999).talk();
    assert_eq!(bed.poller.totals().tally.answered, 3, "{:?}", bed.events);
    let reading = bed.events.iter().find_map(|event| match event {
        Event::Reading { reading, .. } => Some(reading.boots),
        _ => None,
    });
    assert_eq!(reading, Some(None), "v2c does not tell");
}

#[test]
fn every_pair_of_protocols() {
    for auth in [
        AuthProtocol::Sha224,
        AuthProtocol::Sha256,
        AuthProtocol::Sha384,
        AuthProtocol::Sha512,
    ] {
        for privacy in [PrivacyProtocol::Aes128, PrivacyProtocol::Aes256] {
            let access = Access::V3 {
                user: "u".into(),
                auth,
                auth_password: Secret::new("password"),
                privacy,
                privacy_password: Secret::new("passwort"),
            };
            let mut bed = Bed::new(&access, &access, 1);
            bed.after(0).talk();
            assert_eq!(bed.readings(), 1, "{auth:?} {privacy:?}");
        }
    }
}

#[test]
fn requests_are_spread_over_the_period() {
    let mut bed = Bed::new(&v2c("c"), &v2c("c"), 4);
    let mut sent = Vec::new();
    bed.after(0);
    for _ in 0..8 {
        sent.push(bed.sent().len());
        bed.after(125);
    }
    assert_eq!(sent, [1, 0, 1, 0, 1, 0, 1, 0]);
}

#[test]
fn late() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    assert_eq!(bed.failure(), Some(Failure::Silent));
    assert_eq!(bed.tally().lost, 1);
    bed.deliver(request.to, &answer);
    assert_eq!((bed.tally().lost, bed.tally().late), (0, 1));
    assert_eq!(bed.readings(), 0, "not used");
}

#[test]
fn reordered() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    bed.after(1000).talk();
    bed.deliver(request.to, &answer);
    let tally = bed.tally();
    assert_eq!((tally.lost, tally.late, tally.reordered), (0, 0, 1));
    assert_eq!((tally.asked, tally.answered), (3, 2));
}

#[test]
fn doubled() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    let before = bed.readings();
    for _ in 0..3 {
        bed.deliver(request.to, &answer);
    }
    assert_eq!(bed.tally().doubled, 2);
    assert_eq!(bed.readings(), before + 1, "used once");
}

#[test]
fn lost_and_no_retry() {
    let mut bed = acquainted();
    bed.request();
    bed.after(500);
    assert!(bed.sent().is_empty(), "no retry");
    bed.after(499);
    assert_eq!(bed.tally().lost, 0);
    bed.after(1);
    assert_eq!(bed.tally().lost, 1);
    assert_eq!(bed.sent().len(), 1, "the next poll");
}

#[test]
fn malformed() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    for bad in [&b""[..], b"no SNMP", &answer[..answer.len() - 1]] {
        bed.deliver(request.to, bad);
    }
    let mut longer = answer.clone();
    longer.push(0);
    bed.deliver(request.to, &longer);
    assert_eq!((bed.tally().malformed, bed.tally().doubled), (4, 0));
    bed.deliver(request.to, &answer);
    assert_eq!(bed.tally().answered, 2, "the right answer still counts");
}

#[test]
fn forged_by_another_address() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    let elsewhere: SocketAddr = "127.9.9.9:161".parse().unwrap();
    bed.deliver(elsewhere, &answer);
    assert_eq!(bed.tally().forged, 1);
    let forged = |event: &Event| matches!(event, Event::Forged { from, .. } if *from == elsewhere);
    assert!(bed.events.iter().any(forged), "{:?}", bed.events);
    bed.deliver(request.to, &answer);
    assert_eq!(bed.tally().answered, 2, "the right answer still counts");
}

#[test]
fn forged_bits() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    let answered = bed.tally().answered;
    for bit in 0..answer.len() * 8 {
        let mut forged = answer.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        bed.deliver(request.to, &forged);
        assert_eq!(bed.tally().answered, answered, "bit {bit}");
    }
    let tally = bed.tally();
    assert_eq!(
        tally.forged + tally.malformed,
        answer.len() as u64 * 8,
        "{tally}"
    );
    assert!(tally.forged > 1000, "{tally}");
}

#[test]
fn forged_numbers() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    bed.after(12_000);
    bed.deliver(request.to, &answer);
    assert_eq!(bed.tally().forged, 1, "nobody remembers asking");
    bed.deliver("10.1.1.1:161".parse().unwrap(), &answer);
    assert_eq!(bed.poller.totals().strays, 1, "of nobody we know");
}

/// An answer that was heard before, by somebody who saw it: its number is no longer waited for.
#[test]
fn replayed() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    bed.deliver(request.to, &answer);
    bed.after(1000);
    bed.deliver(request.to, &answer);
    assert_eq!(bed.tally().doubled, 1);
    assert_eq!(bed.tally().answered, 2);
}

#[test]
fn wrong_password() {
    let mut bed = Bed::new(&v3("passw0rd", "passwort"), &v3("password", "passwort"), 1);
    bed.after(0).talk();
    assert_eq!(bed.failure(), Some(Failure::WrongPassword));
}

#[test]
fn wrong_privacy_password() {
    let mut bed = Bed::new(&v3("password", "passw0rt"), &v3("password", "passwort"), 1);
    bed.after(0).talk();
    assert_eq!(bed.failure(), Some(Failure::SilentWhenEncrypted));
}

#[test]
fn unknown_user() {
    let mut theirs = v3("password", "passwort");
    if let Access::V3 { user, .. } = &mut theirs {
        *user = "somebody".into();
    }
    let mut bed = Bed::new(&v3("password", "passwort"), &theirs, 1);
    bed.after(0).talk();
    assert_eq!(bed.failure(), Some(Failure::UnknownUser));
}

#[test]
fn another_community_is_silence() {
    let mut bed = Bed::new(&v2c("one"), &v2c("other"), 1);
    bed.after(0).talk();
    assert_eq!(bed.failure(), Some(Failure::Silent));
}

#[test]
fn a_stated_error_does_not_end_the_wait_for_the_right_answer() {
    let mut bed = acquainted();
    let (request, answer) = bed.request();
    // Somebody else, who saw the request, says that the password is wrong.
    let mut other = Fleet::new(&v3("other password", "passwort")).unwrap();
    let up = Duration::from_secs(1000);
    let report = other
        .answer(up, request.to.ip(), &request.datagram)
        .unwrap();
    bed.deliver(request.to, &report);
    bed.deliver(request.to, &answer);
    assert_eq!(bed.tally().answered, 2);
    assert_eq!(bed.failure(), None);
}

#[test]
fn another_agent_at_the_address_is_asked_who_it_is() {
    let mut bed = acquainted();
    // An engine is named after its address here: another address, another engine.
    let other: IpAddr = "127.0.0.99".parse().unwrap();
    let up = Duration::from_secs(5);
    let sent = bed.sent();
    let report = bed.fleet.answer(up, other, &sent[0].datagram).unwrap();
    bed.deliver(sent[0].to, &report);
    assert_eq!(bed.failure(), Some(Failure::AnotherEngine));
    for _ in 0..3 {
        let sent = bed.sent();
        let answer = bed.fleet.answer(up, other, &sent[0].datagram).unwrap();
        bed.deliver(sent[0].to, &answer);
    }
    assert_eq!(bed.tally().answered, 2);
}

#[test]
fn what_cannot_be_sent() {
    let mut bed = acquainted();
    let sent = bed.sent();
    bed.poller.not_sent(sent[0].agent, "no route".into());
    assert_eq!(bed.failure(), Some(Failure::NotSent("no route".into())));
}

#[test]
fn no_secret_in_any_text() {
    let access = v3(CANARY, CANARY);
    let community = v2c(CANARY);
    let mut bed = Bed::new(&access, &v3("another one", "another one"), 1);
    bed.after(0).talk();
    let failure = bed.failure().unwrap();
    let texts = [
        format!("{access:?} {community:?}"),
        format!("{:?} {:?}", bed.poller, bed.fleet),
        format!("{failure} {failure:?}"),
        format!("{:?}", bed.events),
        bed.tally().to_string(),
    ];
    for text in texts {
        assert!(!text.contains(CANARY), "{text}");
    }
}

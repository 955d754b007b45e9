//! Each way in which a poll comes to nothing, by answers made by hand; those that a real agent gives are in `snmpd.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_snmp::message::{
    CommunityMessage, MsgFlags, MsgGlobalData, RawV3Message, ScopedPdu, SecurityLevel, V3Message,
};
use async_snmp::v3::{UsmSecurityParams, report_oids};
use async_snmp::{
    DecodeConfig, ErrorIndex, MessageSize, Oid, OutboundErrorStatus, PduType, ResponsePdu, Value,
    VarBind, Version,
};
use forestall_orchestrator::snmp::fleet::Fleet;
use forestall_orchestrator::snmp::{
    Access, AuthProtocol, Event, Failure, Load, Poller, PrivacyProtocol, Secret, Snmp, SnmpVersion,
    Transmit,
};
use record::HostName;

const AGENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 161);
const COMMUNITY: &str = "community";

fn v3() -> Access {
    Access::V3 {
        user: "u".into(),
        auth: AuthProtocol::Sha256,
        auth_password: Secret::new("password"),
        privacy: PrivacyProtocol::Aes128,
        privacy_password: Secret::new("password"),
    }
}

fn v2c() -> Access {
    Access::V2c {
        community: Secret::new(COMMUNITY),
    }
}

struct Bed {
    poller: Poller,
    now: Instant,
}

impl Bed {
    fn new(access: &Access) -> Self {
        let snmp = Snmp {
            version: SnmpVersion::V3,
            user: None,
            auth: None,
            auth_password: None,
            privacy: None,
            privacy_password: None,
            community: None,
            poll_ms: 1000,
            agents: [(HostName::new("a").unwrap(), AGENT)].into(),
        };
        let now = Instant::now();
        Self {
            poller: Poller::new(&snmp, access, now, 7).unwrap(),
            now,
        }
    }

    fn sent(&mut self) -> Transmit {
        self.poller.poll(self.now);
        self.poller.poll_transmit().expect("something to send")
    }

    fn deliver(&mut self, datagram: &[u8]) {
        self.poller.handle(self.now, AGENT, datagram);
    }

    fn event(&mut self) -> Option<Event> {
        self.poller.poll_event()
    }

    /// Why the poll came to nothing that is open now.
    fn failure(&mut self) -> Failure {
        self.now += Duration::from_secs(1);
        self.poller.poll(self.now);
        while let Some(event) = self.event() {
            if let Event::Failed { failure, .. } = event {
                return failure;
            }
        }
        panic!("the poll did not fail");
    }
}

fn varbind(oid: &[u32], value: Value) -> VarBind {
    VarBind::new(Oid::from_slice(oid), value)
}

fn up_time() -> VarBind {
    varbind(&[1, 3, 6, 1, 2, 1, 1, 3, 0], Value::TimeTicks(7))
}

fn rows(first: u32, count: u32, percent: i32) -> Vec<VarBind> {
    let row = |row| {
        varbind(
            &[1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2, row],
            Value::Integer(percent),
        )
    };
    std::iter::once(up_time())
        .chain((first..first + count).map(row))
        .collect()
}

fn asked(transmit: &Transmit) -> (i32, PduType) {
    let message = CommunityMessage::decode(transmit.datagram.clone(), DecodeConfig::STRICT);
    let pdu = message.unwrap().value.into_pdu().unwrap();
    (pdu.request_id(), pdu.pdu_type())
}

/// An answer of v2c to what was asked.
fn answer(transmit: &Transmit, status: OutboundErrorStatus, varbinds: Vec<VarBind>) -> Vec<u8> {
    let index = (status != OutboundErrorStatus::NoError)
        .then(|| ErrorIndex::new(1, varbinds.len()).unwrap());
    let pdu = ResponsePdu::new(Version::V2c, asked(transmit).0, status, index, varbinds).unwrap();
    let message = CommunityMessage::v2c(COMMUNITY.as_bytes().to_vec(), pdu).unwrap();
    message.encode().unwrap().to_vec()
}

/// An unsigned report to what was asked.
fn report(transmit: &Transmit, oid: Oid) -> Vec<u8> {
    let raw = RawV3Message::decode(transmit.datagram.clone(), DecodeConfig::STRICT);
    let pdu = ResponsePdu::report(0, vec![VarBind::new(oid, Value::Counter32(1))]).unwrap();
    let engine = b"\x80\0\0\0\x05engine".to_vec();
    let head = MsgGlobalData::new(
        raw.unwrap().value.msg_id(),
        MessageSize::new(1472).unwrap(),
        MsgFlags::new(SecurityLevel::NoAuthNoPriv, false),
    );
    let security = UsmSecurityParams::new(engine, 1, 1, "u").unwrap();
    let message = V3Message::new(
        head.unwrap(),
        security.encode().unwrap(),
        ScopedPdu::with_empty_context(pdu),
    );
    message.unwrap().encode().unwrap().to_vec()
}

/// What comes of an unsigned report to the first encrypted request.
fn reported(oid: Oid) -> Failure {
    let mut bed = Bed::new(&v3());
    let discovery = bed.sent();
    bed.deliver(&report(&discovery, report_oids::unknown_engine_ids()));
    let request = bed.sent();
    bed.deliver(&report(&request, oid));
    bed.failure()
}

#[test]
fn unknown_user() {
    assert_eq!(
        reported(report_oids::unknown_user_names()),
        Failure::UnknownUser
    );
}

#[test]
fn wrong_password() {
    assert_eq!(
        reported(report_oids::wrong_digests()),
        Failure::WrongPassword
    );
}

#[test]
fn wrong_privacy_password() {
    let failure = reported(report_oids::decryption_errors());
    assert_eq!(failure, Failure::WrongPrivacyPassword);
}

#[test]
fn unsupported_level() {
    let failure = reported(report_oids::unsupported_sec_levels());
    assert_eq!(failure, Failure::UnsupportedLevel);
}

#[test]
fn unproven_time() {
    let failure = reported(report_oids::not_in_time_windows());
    assert_eq!(failure, Failure::UnprovenTime);
}

#[test]
fn another_engine() {
    let failure = reported(report_oids::unknown_engine_ids());
    assert_eq!(failure, Failure::AnotherEngine);
}

#[test]
fn other_report() {
    let failure = reported(Oid::from_slice(&[1, 3, 6, 1, 6, 3, 11, 2, 1, 3, 0]));
    assert!(matches!(failure, Failure::OtherReport(_)), "{failure:?}");
}

/// Its clock runs away: whatever time it says, the next request is out of its window.
#[test]
fn nonsense_time() {
    let mut bed = Bed::new(&v3());
    let mut fleet = Fleet::new(&v3()).unwrap();
    for hours in 1..6 {
        let sent = bed.sent();
        let up = Duration::from_secs(hours * 3600);
        bed.deliver(&fleet.answer(up, AGENT.ip(), &sent.datagram).unwrap());
        if let Some(event) = bed.event() {
            let Event::Failed { failure, .. } = event else {
                panic!("{event:?}");
            };
            assert!(matches!(failure, Failure::Nonsense(_)), "{failure:?}");
            return;
        }
    }
    panic!("it is asked without end");
}

/// A signed answer from an earlier time than has been heard: somebody kept it, or the agent lost count of its starts.
#[test]
fn replayed_only() {
    let mut bed = Bed::new(&v3());
    let mut fleet = Fleet::new(&v3()).unwrap();
    for _ in 0..3 {
        let sent = bed.sent();
        let up = Duration::from_secs(5000);
        bed.deliver(&fleet.answer(up, AGENT.ip(), &sent.datagram).unwrap());
    }
    assert!(matches!(bed.event(), Some(Event::Reading { .. })));
    bed.now += Duration::from_secs(1);
    let sent = bed.sent();
    let up = Duration::from_secs(1);
    bed.deliver(&fleet.answer(up, AGENT.ip(), &sent.datagram).unwrap());
    assert_eq!(bed.failure(), Failure::ReplayedOnly);
}

#[test]
fn error_status() {
    let mut bed = Bed::new(&v2c());
    let sent = bed.sent();
    bed.deliver(&answer(&sent, OutboundErrorStatus::GenErr, vec![up_time()]));
    let failure = bed.failure();
    assert!(
        matches!(&failure, Failure::ErrorStatus(status) if status.contains("gen")),
        "{failure:?}"
    );
    assert_eq!(bed.poller.tally(0).refused, 1);
}

#[test]
fn no_load() {
    let mut bed = Bed::new(&v2c());
    for wanted in [PduType::GetRequest, PduType::GetBulkRequest] {
        let sent = bed.sent();
        assert_eq!(asked(&sent).1, wanted);
        bed.deliver(&answer(
            &sent,
            OutboundErrorStatus::NoError,
            vec![up_time()],
        ));
    }
    assert_eq!(bed.failure(), Failure::NoLoad);
}

#[test]
fn nonsense() {
    let mut bed = Bed::new(&v2c());
    let sent = bed.sent();
    let lie = varbind(&[1, 3, 6, 1, 4, 1, 2021, 11, 50, 0], Value::Integer(-1));
    bed.deliver(&answer(
        &sent,
        OutboundErrorStatus::NoError,
        vec![up_time(), lie],
    ));
    assert!(matches!(bed.failure(), Failure::Nonsense(_)));
}

#[test]
fn malformed_only() {
    let mut bed = Bed::new(&v2c());
    bed.sent();
    bed.deliver(b"nothing of the kind");
    assert_eq!(bed.failure(), Failure::MalformedOnly);
}

#[test]
fn forged_only() {
    let mut bed = Bed::new(&v2c());
    let sent = bed.sent();
    let mut other = answer(&sent, OutboundErrorStatus::NoError, vec![up_time()]);
    let at = other
        .windows(COMMUNITY.len())
        .position(|w| w == COMMUNITY.as_bytes());
    other[at.unwrap()] ^= 1;
    bed.deliver(&other);
    assert_eq!(bed.failure(), Failure::ForgedOnly);
}

#[test]
fn elsewhere_only() {
    let mut bed = Bed::new(&v2c());
    let sent = bed.sent();
    let right = answer(&sent, OutboundErrorStatus::NoError, rows(1, 1, 5));
    let elsewhere = "127.0.0.2:161".parse().unwrap();
    bed.poller.handle(bed.now, elsewhere, &right);
    assert_eq!(bed.failure(), Failure::ElsewhereOnly(elsewhere));
}

/// No counters: told once, and from then on asked for the mean over a minute, row by row, however many there are.
#[test]
fn one_minute_mean_of_many_processors() {
    let mut bed = Bed::new(&v2c());
    let sent = bed.sent();
    bed.deliver(&answer(
        &sent,
        OutboundErrorStatus::NoError,
        vec![up_time()],
    ));
    assert_eq!(bed.event(), Some(Event::OneMinuteOnly { agent: 0 }));
    for poll in 0..2 {
        for (first, count, percent) in [(1, 32, 100), (33, 32, 100), (65, 16, 0)] {
            let sent = bed.sent();
            assert_eq!(asked(&sent).1, PduType::GetBulkRequest, "poll {poll}");
            let values = rows(first, count, percent);
            bed.deliver(&answer(&sent, OutboundErrorStatus::NoError, values));
        }
        let Some(Event::Reading { reading, .. }) = bed.event() else {
            panic!("poll {poll}");
        };
        let Load::OneMinute(utilization) = reading.load else {
            panic!("{reading:?}");
        };
        assert_eq!(utilization.share(), 0.8);
        bed.now += Duration::from_secs(1);
    }
    assert_eq!(bed.poller.tally(0).answered, 2);
}

#[test]
fn every_failure_has_its_own_words() {
    let all = [
        Failure::Silent,
        Failure::SilentWhenEncrypted,
        Failure::ElsewhereOnly(AGENT),
        Failure::ForgedOnly,
        Failure::ReplayedOnly,
        Failure::MalformedOnly,
        Failure::UnknownUser,
        Failure::WrongPassword,
        Failure::WrongPrivacyPassword,
        Failure::UnsupportedLevel,
        Failure::AnotherEngine,
        Failure::UnprovenTime,
        Failure::OtherReport("x".into()),
        Failure::ErrorStatus("x".into()),
        Failure::NoLoad,
        Failure::Nonsense("x".into()),
        Failure::NotSent("x".into()),
    ];
    let words: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), all.len());
}

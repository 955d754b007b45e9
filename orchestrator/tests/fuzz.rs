//! Fuzzing: whatever comes from the network, no panic, and no answer where none was given.
//!
//! `cargo test` runs each target for about a second with random inputs; `make fuzz` for longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_snmp::message::CommunityMessage;
use async_snmp::{DecodeConfig, Oid, ResponsePdu, Value, VarBind, Version};
use bolero::{TypeGenerator, check};
use forestall_orchestrator::counters::Counters;
use forestall_orchestrator::prometheus::exposition::CpuTimes;
use forestall_orchestrator::prometheus::query::newest;
use forestall_orchestrator::snmp::fleet::Fleet;
use forestall_orchestrator::snmp::{
    Access, AuthProtocol, Event, Load, Poller, PrivacyProtocol, Secret, Snmp, SnmpVersion, Transmit,
};
use record::{HostName, Timestamp};

const AGENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 161);

fn access(version: SnmpVersion) -> Access {
    let password = || Secret::new("password");
    match version {
        SnmpVersion::V2c => Access::V2c {
            community: password(),
        },
        SnmpVersion::V3 => Access::V3 {
            user: "u".into(),
            auth: AuthProtocol::Sha256,
            auth_password: password(),
            privacy: PrivacyProtocol::Aes128,
            privacy_password: password(),
        },
    }
}

fn poller(version: SnmpVersion, now: Instant) -> Poller {
    let snmp = Snmp {
        version,
        user: None,
        auth: None,
        auth_password: None,
        privacy: None,
        privacy_password: None,
        community: None,
        poll_ms: 1000,
        agents: [(HostName::new("a").unwrap(), AGENT)].into(),
    };
    Poller::new(&snmp, &access(version), now, 7).unwrap()
}

fn sent(poller: &mut Poller, now: Instant) -> Option<Transmit> {
    poller.poll(now);
    poller.poll_transmit()
}

fn answered(poller: &mut Poller) -> bool {
    std::iter::from_fn(|| poller.poll_event()).any(|event| matches!(event, Event::Reading { .. }))
}

/// What happens to the answers of an honest agent.
#[derive(Debug, TypeGenerator)]
enum Fate {
    Arrives,
    Bit(u16),
    CutOff(u16),
    Replaced(Vec<u8>),
    Inserted(u16, Vec<u8>),
}

impl Fate {
    fn befall(&self, mut answer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Arrives => {}
            Self::Bit(bit) => {
                let bit = usize::from(*bit) % (answer.len() * 8);
                answer[bit / 8] ^= 1 << (bit % 8);
            }
            Self::CutOff(length) => answer.truncate(usize::from(*length) % answer.len()),
            Self::Replaced(bytes) => answer.clone_from(bytes),
            Self::Inserted(at, bytes) => {
                let at = usize::from(*at) % answer.len();
                answer.splice(at..at, bytes.iter().copied());
            }
        }
        answer
    }
}

fn badly_served(version: SnmpVersion) {
    let access = access(version);
    check!().with_type::<Vec<Fate>>().for_each(|fates| {
        let start = Instant::now();
        let mut poller = poller(version, start);
        let mut fleet = Fleet::new(&access).unwrap();
        let mut now = start;
        for fate in fates {
            let transmit = sent(&mut poller, now).or_else(|| {
                now += Duration::from_secs(1);
                sent(&mut poller, now)
            });
            let Some(transmit) = transmit else { continue };
            let up = now.duration_since(start) + Duration::from_secs(9);
            // A spoilt answer of v2c may have had it asked for what it does not have.
            let Some(answer) = fleet.answer(up, AGENT.ip(), &transmit.datagram) else {
                continue;
            };
            let spoilt = fate.befall(answer.to_vec());
            poller.handle(now, AGENT, &spoilt);
            // What is not signed as it was is no reading.
            let believed = answered(&mut poller) && spoilt[..] != answer[..];
            assert!(!(believed && version == SnmpVersion::V3), "{fate:?}");
        }
        let total = poller.totals().tally;
        assert!(total.ended() <= total.asked, "{total}");
    });
}

#[test]
fn v3_answers_are_spoilt() {
    badly_served(SnmpVersion::V3);
}

#[test]
fn v2c_answers_are_spoilt() {
    badly_served(SnmpVersion::V2c);
}

#[test]
fn anything_comes() {
    check!()
        .with_type::<(bool, Vec<(bool, Vec<u8>)>)>()
        .for_each(|(v3, datagrams)| {
            let version = if *v3 {
                SnmpVersion::V3
            } else {
                SnmpVersion::V2c
            };
            let now = Instant::now();
            let mut poller = poller(version, now);
            poller.poll(now);
            for (known, datagram) in datagrams {
                let from = if *known {
                    AGENT
                } else {
                    "192.0.2.1:9".parse().unwrap()
                };
                poller.handle(now, from, datagram);
                assert!(!answered(&mut poller));
            }
        });
}

#[derive(Clone, Debug, TypeGenerator)]
enum AnyValue {
    Counter(u32),
    Wide(u64),
    Ticks(u32),
    Number(i32),
    Text(Vec<u8>),
    Absent,
    Null,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum AnyOid {
    UpTime,
    SystemStat(u8),
    Processor(u8),
    Other(u32),
}

fn varbind((oid, value): &(AnyOid, AnyValue)) -> VarBind {
    let oid = match *oid {
        AnyOid::UpTime => Oid::from_slice(&[1, 3, 6, 1, 2, 1, 1, 3, 0]),
        AnyOid::SystemStat(object) => {
            Oid::from_slice(&[1, 3, 6, 1, 4, 1, 2021, 11, u32::from(object) % 70, 0])
        }
        AnyOid::Processor(row) => {
            Oid::from_slice(&[1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2, u32::from(row)])
        }
        AnyOid::Other(arc) => Oid::from_slice(&[1, 3, arc]),
    };
    let value = match value {
        AnyValue::Counter(count) => Value::Counter32(*count),
        AnyValue::Wide(count) => Value::Counter64(*count),
        AnyValue::Ticks(ticks) => Value::TimeTicks(*ticks),
        AnyValue::Number(number) => Value::Integer(*number),
        AnyValue::Text(text) => Value::OctetString(text.clone().into()),
        AnyValue::Absent => Value::NoSuchObject,
        AnyValue::Null => Value::Null,
    };
    VarBind::new(oid, value)
}

/// An agent that lies: whatever it says, what comes of it is a share or nothing, and it never keeps the poller for itself.
#[test]
fn an_agent_lies() {
    check!()
        .with_type::<Vec<(u32, Vec<(AnyOid, AnyValue)>)>>()
        .for_each(|answers| {
            let start = Instant::now();
            let mut poller = poller(SnmpVersion::V2c, start);
            let mut counters = Counters::new(HostName::new("a").unwrap());
            let mut now = start;
            let mut clock = Timestamp(0);
            for (wait_ms, values) in answers {
                let Some(transmit) = sent(&mut poller, now).or_else(|| {
                    now += Duration::from_secs(1);
                    sent(&mut poller, now)
                }) else {
                    continue;
                };
                let request =
                    CommunityMessage::decode(transmit.datagram, DecodeConfig::DEFAULT).unwrap();
                let id = request.value.into_pdu().unwrap().request_id();
                let up_time = (AnyOid::UpTime, AnyValue::Ticks(*wait_ms));
                let varbinds = std::iter::once(&up_time).chain(values).map(varbind);
                let pdu = ResponsePdu::success(Version::V2c, id, varbinds.collect());
                let Ok(message) =
                    pdu.and_then(|pdu| CommunityMessage::v2c(b"password".to_vec(), pdu)?.encode())
                else {
                    continue;
                };
                poller.handle(now, AGENT, &message);
                while let Some(event) = poller.poll_event() {
                    if let Event::Reading { reading, .. } = event {
                        clock = clock + Duration::from_millis(u64::from(*wait_ms));
                        if let Load::OneMinute(utilization) = reading.load {
                            assert!((0.0..=1.0).contains(&utilization.share()));
                        }
                        if let Some(sample) = counters.take(clock, &reading) {
                            assert!((0.0..=1.0).contains(&sample.utilization.share()));
                            assert!(sample.interval_ms.is_finite());
                        }
                    }
                }
            }
        });
}

#[test]
fn what_an_exporter_answers() {
    let before = CpuTimes::read("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1").unwrap();
    bolero::check!()
        .with_type::<(String, Vec<(u8, u8, f64)>)>()
        .for_each(|(text, lines)| {
            drop(CpuTimes::read(text));
            let line = |(cpu, mode, seconds): &(u8, u8, f64)| {
                let mode = ["idle", "user", "steal", "iowait", ""][usize::from(*mode) % 5];
                format!(
                    "node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}} {seconds}\n{text}\n"
                )
            };
            let text: String = lines.iter().map(line).collect();
            if let Ok(times) = CpuTimes::read(&text) {
                for share in [times.busy_since(&before), before.busy_since(&times)] {
                    assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)));
                }
            }
        });
}

#[test]
fn what_a_prometheus_server_answers() {
    check!()
        .with_type::<(Vec<u8>, Vec<(u8, u8, f64, f64)>)>()
        .for_each(|(anything, points)| {
            drop(newest(anything));
            let series = points.iter().map(|(cpu, mode, at_s, seconds)| {
                let mode = ["idle", "user", "steal", ""][usize::from(*mode) % 4];
                serde_json::json!({
                    "metric": { "cpu": cpu.to_string(), "mode": mode }, "values": [[at_s, seconds.to_string()]],
                })
            });
            let series: Vec<_> = series.collect();
            let answer = serde_json::json!({ "data": { "result": series } }).to_string();
            if let Ok((_, times)) = newest(answer.as_bytes()) {
                assert_eq!(times.busy_since(&times), None, "no time has passed");
            }
        });
}

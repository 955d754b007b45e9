//! The sockets: agents of both address families, and one that is not there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use forestall_orchestrator::agent::Watch;
use forestall_orchestrator::snmp::fleet::Fleet;
use forestall_orchestrator::snmp::{
    Access, AuthProtocol, PrivacyProtocol, Secret, Snmp, SnmpVersion,
};
use record::HostName;
use tokio::sync::mpsc;

fn access() -> Access {
    Access::V3 {
        user: "u".into(),
        auth: AuthProtocol::Sha256,
        auth_password: Secret::new("password"),
        privacy: PrivacyProtocol::Aes128,
        privacy_password: Secret::new("password"),
    }
}

/// A simulated agent at this address, for as long as the test runs.
fn agent(address: &str) -> std::io::Result<SocketAddr> {
    let socket = UdpSocket::bind(address)?;
    let own = socket.local_addr()?;
    let mut fleet = Fleet::new(&access()).unwrap();
    std::thread::spawn(move || {
        let begun = Instant::now();
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let up = begun.elapsed() + Duration::from_secs(9);
            if let Some(answer) = fleet.answer(up, own.ip(), &buffer[..length]) {
                socket.send_to(&answer, from).ok();
            }
        }
    });
    Ok(own)
}

#[tokio::test]
async fn both_families_and_nobody() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut agents = vec![nobody.local_addr().unwrap(), agent("127.0.0.1:0").unwrap()];
    // A machine may be without IPv6.
    agents.extend(agent("[::1]:0").ok());
    let host = |(index, address): (usize, &SocketAddr)| {
        (HostName::new(&format!("host-{index}")).unwrap(), *address)
    };
    let snmp = Snmp {
        version: SnmpVersion::V3,
        user: None,
        auth: None,
        auth_password: None,
        privacy: None,
        privacy_password: None,
        community: None,
        poll_ms: 100,
        agents: agents.iter().enumerate().map(host).collect(),
    };
    let mut watch = Watch::new(&snmp, &access()).unwrap();
    let (inputs, _samples) = mpsc::channel(64);
    watch
        .run(&inputs, tokio::time::sleep(Duration::from_secs(1)))
        .await;
    let totals = watch.totals();
    let present = agents.len() as u64 - 1;
    assert!(totals.tally.answered >= 2 * present, "{totals}");
    assert!(totals.tally.lost > 0, "{totals}");
    assert_eq!((totals.tally.forged, totals.strays), (0, 0), "{totals}");
}

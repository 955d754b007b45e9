//! Against real net-snmp: what an agent that is not of our making answers, and what it says to wrong passwords.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use control::Input;
use forestall_orchestrator::agent::Watch;
use forestall_orchestrator::snmp::{
    AuthProtocol, PrivacyProtocol, SecretSource, Snmp, SnmpVersion, Tally,
};
use record::{HostName, Sample};
use tokio::sync::mpsc;

/// Two refreshes of net-snmp, the second of which makes a sample, and time for a busy machine.
const SAMPLE_WITHIN: Duration = Duration::from_secs(30);
/// Polls enough to know that nothing will come.
const NOTHING_WITHIN: Duration = Duration::from_secs(3);

/// A running `snmpd`, ended when dropped.
struct Snmpd {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Snmpd {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free now; taken by somebody else in the next moment, snmpd ends and the test says so.
        let address = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        fs::write(folder.path().join("agent.conf"), config).unwrap();
        let child = spawn(folder.path(), address);
        Self {
            child,
            address,
            folder,
        }
    }

    fn restart(&mut self) {
        end(&mut self.child);
        self.child = spawn(self.folder.path(), self.address);
    }

    fn secret(&self, text: &str) -> Option<SecretSource> {
        let path = self.folder.path().join(format!("secret-{text}"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Some(SecretSource::File(path))
    }

    fn v3(&self, user: &str, auth_password: &str, privacy_password: &str) -> Snmp {
        Snmp {
            version: SnmpVersion::V3,
            user: Some(user.into()),
            auth: Some(AuthProtocol::Sha256),
            auth_password: self.secret(auth_password),
            privacy: Some(PrivacyProtocol::Aes128),
            privacy_password: self.secret(privacy_password),
            community: None,
            poll_ms: 250,
            agents: [(HostName::new("real").unwrap(), self.address)].into(),
        }
    }

    fn v2c(&self, community: &str) -> Snmp {
        Snmp {
            version: SnmpVersion::V2c,
            user: None,
            auth: None,
            auth_password: None,
            privacy: None,
            privacy_password: None,
            community: self.secret(community),
            ..self.v3("", "unused-x", "unused-y")
        }
    }
}

impl Drop for Snmpd {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    child.kill().ok();
    child.wait().ok();
}

fn spawn(folder: &Path, address: SocketAddr) -> Child {
    let state = folder.join("snmpd.conf");
    let configs = format!(
        "{},{}",
        folder.join("agent.conf").display(),
        state.display()
    );
    let log = fs::File::create(folder.join("log")).unwrap();
    // Debian keeps it where only root's PATH leads.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut child = Command::new("snmpd")
        .args(["-f", "-Lo", "-C", "-c", &configs, "-p"])
        .arg(folder.join("pid"))
        .arg(format!("udp:{address}"))
        .env("PATH", path)
        .env("SNMP_PERSISTENT_DIR", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("snmpd is missing: scripts/setup.sh --tests installs it");
    std::thread::sleep(Duration::from_millis(500));
    let ended = child.try_wait().unwrap();
    let said = || fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(ended.is_none(), "snmpd ended: {}", said());
    child
}

/// Asks until there is a sample, or for as long; what came of it.
async fn watch(snmp: &Snmp, within: Duration) -> (Option<Sample>, Tally) {
    let mut watch = Watch::new(snmp, &snmp.access().unwrap()).unwrap();
    let (inputs, mut samples) = mpsc::channel(16);
    let sample = {
        let running = watch.run(&inputs, std::future::pending());
        tokio::select! {
            sample = samples.recv() => sample,
            () = running => None,
            () = tokio::time::sleep(within) => None,
        }
    };
    let sample = sample.map(|input| match input {
        Input::Sample(sample) => sample,
        other => panic!("{other:?}"),
    });
    (sample, watch.totals().tally)
}

fn assert_sample((sample, tally): (Option<Sample>, Tally)) -> Sample {
    let sample = sample.unwrap_or_else(|| panic!("no sample; {tally}"));
    assert!((0.0..=1.0).contains(&sample.utilization.share()));
    assert_eq!(
        (tally.lost, tally.forged, tally.malformed),
        (0, 0, 0),
        "{tally}"
    );
    sample
}

const USERS: &str = "
createUser forestall SHA-256 \"correct-auth\" AES \"correct-priv\"
createUser strong SHA-512 \"correct-auth\" AES-256 \"correct-priv\"
createUser signer SHA-256 \"correct-auth\"
rouser forestall authpriv
rouser strong authpriv
rouser signer auth
rocommunity c0mmunity
";

#[tokio::test]
async fn v3_gets_samples() {
    let snmpd = Snmpd::start(USERS);
    let snmp = snmpd.v3("forestall", "correct-auth", "correct-priv");
    let sample = assert_sample(watch(&snmp, SAMPLE_WITHIN).await);
    let interval_s = sample.interval_ms / 1e3;
    assert!(
        (3.0..8.0).contains(&interval_s),
        "{interval_s} s: net-snmp refreshes every 5 s"
    );
}

#[tokio::test]
async fn v3_with_sha_512_and_aes_256() {
    let snmpd = Snmpd::start(USERS);
    let snmp = Snmp {
        auth: Some(AuthProtocol::Sha512),
        privacy: Some(PrivacyProtocol::Aes256),
        ..snmpd.v3("strong", "correct-auth", "correct-priv")
    };
    let (_, tally) = watch(&snmp, NOTHING_WITHIN).await;
    assert!(tally.answered > 0, "{tally}");
    assert_eq!(tally.lost, 0, "{tally}");
}

#[tokio::test]
async fn v2c_gets_samples() {
    let snmpd = Snmpd::start(USERS);
    assert_sample(watch(&snmpd.v2c("c0mmunity"), SAMPLE_WITHIN).await);
}

/// A restart takes the engine's boots up; the agent is known again without a person, and its first difference is not used.
#[tokio::test]
async fn a_restarted_agent_answers_again() {
    let mut snmpd = Snmpd::start(USERS);
    let snmp = snmpd.v3("forestall", "correct-auth", "correct-priv");
    let mut watch = Watch::new(&snmp, &snmp.access().unwrap()).unwrap();
    let (inputs, _samples) = mpsc::channel(16);
    watch.run(&inputs, tokio::time::sleep(NOTHING_WITHIN)).await;
    let before = watch.totals().tally;
    assert!(before.answered > 0, "{before}");
    snmpd.restart();
    watch.run(&inputs, tokio::time::sleep(NOTHING_WITHIN)).await;
    let after = watch.totals().tally;
    assert!(after.answered > before.answered, "{after}");
}

/// Where `ssCpuRaw*` may not be read, `hrProcessorLoad` is; net-snmp has it a minute after its start.
#[tokio::test]
async fn one_minute_mean_where_there_are_no_counters() {
    let view = "view most included .1\nview most excluded .1.3.6.1.4.1.2021.11\n";
    let config = format!("{view}rocommunity c0mmunity default -V most\n");
    let snmpd = Snmpd::start(&config);
    let snmp = snmpd.v2c("c0mmunity");
    let (sample, tally) = watch(&snmp, Duration::from_secs(90)).await;
    let sample = sample.unwrap_or_else(|| panic!("no sample; {tally}"));
    assert_eq!(sample.interval_ms, 60e3);
}

/// What the orchestrator would say of an agent.
async fn said(snmp: Snmp) -> String {
    let agents = snmp.agents.clone();
    let access = snmp.access().unwrap();
    let start = std::time::Instant::now();
    let mut poller = forestall_orchestrator::snmp::Poller::new(&snmp, &access, start, 7).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let agent = *agents.values().next().unwrap();
    let mut buffer = [0; 2048];
    loop {
        let now = std::time::Instant::now();
        poller.poll(now);
        while let Some(transmit) = poller.poll_transmit() {
            socket.send_to(&transmit.datagram, agent).unwrap();
        }
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            poller.handle(std::time::Instant::now(), from, &buffer[..length]);
        }
        while let Some(event) = poller.poll_event() {
            match event {
                forestall_orchestrator::snmp::Event::Failed { failure, .. } => {
                    return failure.to_string();
                }
                forestall_orchestrator::snmp::Event::Reading { .. } => return "answers".into(),
                _ => {}
            }
        }
        assert!(start.elapsed() < SAMPLE_WITHIN, "nothing came of it");
    }
}

#[tokio::test]
async fn wrong_passwords_and_users_are_told_apart() {
    let snmpd = Snmpd::start(USERS);
    let v3 = |user, auth, privacy| said(snmpd.v3(user, auth, privacy));
    assert_eq!(
        v3("forestall", "correct-auth", "correct-priv").await,
        "answers"
    );
    for (user, auth, privacy, wanted) in [
        (
            "forestall",
            "wrong-auth",
            "correct-priv",
            "snmp.auth_password",
        ),
        (
            "forestall",
            "correct-auth",
            "wrong-priv",
            "snmp.privacy_password",
        ),
        ("nobody", "correct-auth", "correct-priv", "snmp.user"),
        ("signer", "correct-auth", "correct-priv", "authPriv"),
    ] {
        let said = v3(user, auth, privacy).await;
        assert!(said.contains(wanted), "{user} {auth} {privacy}: {said}");
        for secret in ["correct-auth", "correct-priv", "wrong-auth", "wrong-priv"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
    assert_eq!(said(snmpd.v2c("c0mmunity")).await, "answers");
    assert_eq!(said(snmpd.v2c("wrong")).await, "does not answer");
}

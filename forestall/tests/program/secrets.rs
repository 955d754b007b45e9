//! Canaries: a password that is given to the orchestrator is found nowhere that it writes, and not in its command line.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use orchestrator::snmp::fleet::Fleet;
use orchestrator::snmp::{Access, AuthProtocol, PrivacyProtocol, Secret};
use scenario::{PolicyName, Scenario};

const CANARY: &str = "canary-3f2a9c51e0d7";
/// Whatever happens, a test ends after this.
const GIVE_UP: Duration = Duration::from_secs(40);
/// Time for some polls, answered and not.
const RUN_FOR: Duration = Duration::from_secs(3);

fn config(folder: &Path, snmp: &str) -> std::path::PathBuf {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/reallocation");
    let scenario = Scenario::read(Path::new(shipped)).unwrap();
    let settings = scenario.controller_settings(PolicyName::None, &scenario.model_figures());
    let mut table: toml::Table = format!("snmp = {{ {snmp} }}\n").parse().unwrap();
    table.insert(
        "schema".into(),
        i64::from(orchestrator::config::SCHEMA).into(),
    );
    let journal = folder.join("journal.db");
    table.insert("journal".into(), journal.to_str().unwrap().into());
    table.insert("recording".into(), folder.to_str().unwrap().into());
    table.insert("control".into(), toml::Value::try_from(settings).unwrap());
    let qemu = "downtime_limit_ms = 300\nbandwidth_bytes_per_s = 1\n[vms]\n";
    let qemu: toml::Table = qemu.parse().unwrap();
    let engine = toml::Table::from_iter([("qemu".to_owned(), qemu.into())]);
    table.insert("engine".into(), engine.into());
    let path = folder.join("forestall.toml");
    fs::write(&path, table.to_string()).unwrap();
    path
}

/// Two agents of the shipped scenario, both of them at one socket each.
fn agents() -> (String, [UdpSocket; 2]) {
    let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [robot, user] = [&sockets[0], &sockets[1]].map(|socket| socket.local_addr().unwrap());
    let text =
        format!("agents = {{ edge-robot = \"{robot}\", edge-user = \"{user}\" }}, poll_ms = 200");
    (text, sockets)
}

fn orchestrate(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(["orchestrate", "--config"])
        .arg(config)
        .env("FORESTALL_TEST_SECRET", CANARY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: Child) -> Output {
    Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    child.wait_with_output().unwrap()
}

/// The canary and what is no token of it as tokens of the API, on loopback; returns where that is.
fn give_tokens(config: &Path, socket: &Path, secret: &Path) -> String {
    let here = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut table: toml::Table = fs::read_to_string(config).unwrap().parse().unwrap();
    let api = format!(
        "listen = [\"unix:{}\", \"{here}\"]
         [tokens.reader]
         right = \"read\"
         token = {{ file = \"{}\" }}
         [tokens.operator]
         right = \"operate\"
         token = {{ env = \"FORESTALL_TEST_SECRET\" }}",
        socket.display(),
        secret.display()
    );
    table.insert("api".into(), api.parse::<toml::Table>().unwrap().into());
    fs::write(config, table.to_string()).unwrap();
    here
}

/// Asks and tells with the canary and with one that is nearly it, also where it does not belong; returns what clients said.
fn ask_with_tokens(api: &str) -> Vec<(String, Vec<u8>)> {
    let begun = Instant::now();
    let forestall = |words: &str, token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forestall"));
        command
            .args(words.split(' '))
            .env("FORESTALL_API", api)
            .env("FORESTALL_TOKEN", token);
        command.output().unwrap()
    };
    while !forestall("status", CANARY).status.success() {
        assert!(begun.elapsed() < GIVE_UP, "the orchestrator answers");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut said = Vec::new();
    for (words, token, code) in [
        ("functions --json", CANARY, 0),
        ("disarm", CANARY, 0),
        ("status", &CANARY[1..], 1),
        ("status --help", CANARY, 0),
        ("move nothing nowhere", CANARY, 1),
    ] {
        let output = forestall(words, token);
        assert_eq!(output.status.code(), Some(code), "{words}");
        said.push((format!("stdout of {words}"), output.stdout));
        said.push((format!("stderr of {words}"), output.stderr));
    }
    // Whoever writes it into an address has shown it to the network, but not to our log.
    let mut socket = TcpStream::connect(api).unwrap();
    write!(
        socket,
        "GET /v1/status?token={CANARY} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    said.push(("an answer".into(), answer));
    said
}

fn assert_no_canary(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.contains(CANARY), "{place}: {text}");
}

#[test]
fn a_password_is_written_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, CANARY).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let (agents, sockets) = agents();
    let snmp = format!(
        "user = \"forestall\", auth_password = {{ file = \"{}\" }}, \
         privacy_password = {{ env = \"FORESTALL_TEST_SECRET\" }}, {agents}",
        secret.display()
    );
    let config = config(folder.path(), &snmp);
    let socket = folder.path().join("api.sock");
    let api = give_tokens(&config, &socket, &secret);
    let access = |auth: &str| Access::V3 {
        user: "forestall".into(),
        auth: AuthProtocol::Sha256,
        auth_password: Secret::new(auth),
        privacy: PrivacyProtocol::Aes128,
        privacy_password: Secret::new(CANARY),
    };
    // One agent has the password, the other says that it is wrong.
    let mut fleets = [CANARY, "another one"].map(|auth| Fleet::new(&access(auth)).unwrap());
    let child = orchestrate(&config);
    assert_no_canary(
        "command line",
        &fs::read(format!("/proc/{}/cmdline", child.id())).unwrap(),
    );
    let asking = std::thread::spawn(move || ask_with_tokens(&api));
    let begun = Instant::now();
    let mut buffer = [0; 2048];
    while begun.elapsed() < RUN_FOR {
        for (socket, fleet) in sockets.iter().zip(&mut fleets) {
            socket
                .set_read_timeout(Some(Duration::from_millis(20)))
                .unwrap();
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let to = socket.local_addr().unwrap().ip();
                let up = begun.elapsed() + Duration::from_secs(99);
                if let Some(answer) = fleet.answer(up, to, &buffer[..length]) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        }
    }
    for (place, bytes) in asking.join().unwrap() {
        assert_no_canary(&place, &bytes);
    }
    let output = end(child);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("snmp.auth_password"),
        "the wrong one is told: {said}"
    );
    assert!(said.contains("answered"), "the right one was used: {said}");
    assert_no_canary("stdout", &output.stdout);
    assert_no_canary("stderr", &output.stderr);
    for name in [
        "inputs.jsonl",
        "decisions.jsonl",
        "moves.jsonl",
        "journal.db",
        "forestall.toml",
    ] {
        assert_no_canary(name, &fs::read(folder.path().join(name)).unwrap());
    }
}

#[test]
fn a_password_in_the_configuration_is_refused_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (agents, _sockets) = agents();
    for snmp in [
        format!("version = \"v2c\", community = \"{CANARY}\", {agents}"),
        format!("user = \"u\", auth_password = \"{CANARY}\", {agents}"),
        format!("user = \"u\", auth_password = {{ file = \"{CANARY}\", x = 1 }}, {agents}"),
    ] {
        let config = config(folder.path(), &snmp);
        let output = orchestrate(&config).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_no_canary("stderr", &output.stderr);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("does not stand in a configuration"), "{said}");
        assert!(said.contains("line "), "{said}");
    }
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, CANARY).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let (agents, _sockets) = agents();
    let snmp = format!(
        "version = \"v2c\", community = {{ file = \"{}\" }}, {agents}",
        secret.display()
    );
    let config = config(folder.path(), &snmp);
    let output = orchestrate(&config).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("chmod 600"), "{said}");
    assert_no_canary("stderr", &output.stderr);
}

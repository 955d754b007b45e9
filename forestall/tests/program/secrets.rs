//! Canaries: a password that is given to the orchestrator is found nowhere that it writes, and not in its command line.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::figures::{Row, times};
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
    let api: toml::Table = api.parse().unwrap();
    change(config, |table| drop(table.insert("api".into(), api.into())));
    here
}

/// A server that believes nobody, and how it was asked.
fn refuses() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let answer =
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            // Who asked may have gone away.
            drop(stream.write_all(answer.as_bytes()));
            if tell.send(head.join("\n")).is_err() {
                return;
            }
        }
    });
    (url, told)
}

/// Changes a configuration.
fn change(config: &Path, with: impl FnOnce(&mut toml::Table)) {
    let mut table: toml::Table = fs::read_to_string(config).unwrap().parse().unwrap();
    with(&mut table);
    fs::write(config, table.to_string()).unwrap();
}

/// A file that only its owner may read.
fn secret_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// One more host, whose exporter is told the canary, and a webhook with it in its address.
fn give_exporter_and_webhook(config: &Path, folder: &Path, exporter: &str) {
    let webhook = folder.join("webhook");
    secret_file(&webhook, &format!("http://127.0.0.1:9/{CANARY}\n"));
    let more = format!(
        "[alarms]
         webhook = {{ file = \"{}\" }}
         [prometheus]
         poll_ms = 500
         authorization = {{ env = \"FORESTALL_TEST_SECRET\" }}
         exporters = {{ edge-third = \"{exporter}/metrics\" }}",
        webhook.display()
    );
    change(config, |table| {
        let hosts = table["control"]["hosts"].as_array_mut().unwrap();
        hosts.push("edge-third".into());
        for (name, section) in more.parse::<toml::Table>().unwrap() {
            table.insert(name, section);
        }
    });
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
    let get = |path: &str, token: &str| {
        let mut socket = TcpStream::connect(api).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        answer
    };
    for path in ["/metrics", "/v1/site", "/v1/hosts", "/v1/moves"] {
        let answer = get(path, CANARY);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
        said.push((path.into(), answer));
    }
    // Whoever writes it into an address has shown it to the network, but not to our log.
    let answer = get(&format!("/v1/status?token={CANARY}"), &CANARY[1..]);
    said.push(("an answer".into(), answer));
    said
}

fn assert_no_canary(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.contains(CANARY), "{place}: {text}");
}

fn assert_no_canary_in_command_line(child: &Child) {
    let line = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert_no_canary("command line", &line);
}

/// In what an orchestrator leaves in its folder, and in its configuration.
fn assert_no_canary_in(folder: &Path) {
    for name in [
        "inputs.jsonl",
        "decisions.jsonl",
        "moves.jsonl",
        "journal.db",
        "forestall.toml",
    ] {
        assert_no_canary(name, &fs::read(folder.join(name)).unwrap());
    }
}

/// A row of secrets that an orchestrator is given and that are looked for.
fn row(fault: &str, tries: u32) -> Row {
    let promise = "found neither in its command line, output, journal and recordings nor in what its API, its metrics and clients say while it runs";
    let engine = "an orchestrator whose engine knows no virtual machine: none runs";
    Row::new(fault, promise, engine, tries)
}

#[test]
fn a_password_is_written_nowhere() {
    let tries = times(5, 1);
    let mut row = row(
        "secrets of agents, of the API, an exporter and a webhook looked for",
        tries,
    );
    for _ in 0..tries {
        let took = look_for_passwords();
        row.add(took, "found nowhere", 0);
    }
    row.keep();
}

/// Runs an orchestrator that is given the canary everywhere but in its engine; returns for how long it ran.
fn look_for_passwords() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    secret_file(&secret, CANARY);
    let (agents, sockets) = agents();
    let snmp = format!(
        "user = \"forestall\", auth_password = {{ file = \"{}\" }}, \
         privacy_password = {{ env = \"FORESTALL_TEST_SECRET\" }}, {agents}",
        secret.display()
    );
    let config = config(folder.path(), &snmp);
    let socket = folder.path().join("api.sock");
    let api = give_tokens(&config, &socket, &secret);
    let (exporter, scraped) = refuses();
    give_exporter_and_webhook(&config, folder.path(), &exporter);
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
    assert_no_canary_in_command_line(&child);
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
    let took = begun.elapsed();
    let output = end(child);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("snmp.auth_password"),
        "the wrong one is told: {said}"
    );
    assert!(said.contains("answered"), "the right one was used: {said}");
    assert!(
        scraped.try_iter().any(|head| head.contains(CANARY)),
        "the exporter is told it"
    );
    assert!(said.contains("edge-third"), "it refuses: {said}");
    assert_no_canary("stdout", &output.stdout);
    assert_no_canary("stderr", &output.stderr);
    assert_no_canary_in(folder.path());
    took
}

#[test]
fn a_clouds_password_is_written_nowhere() {
    let tries = times(5, 1);
    let mut row = row("secret of a cloud looked for", tries);
    for _ in 0..tries {
        look_for_clouds_password();
        row.add(RUN_FOR, "found nowhere", 0);
    }
    row.keep();
}

/// The same with the canary as a cloud's password.
fn look_for_clouds_password() {
    let folder = tempfile::tempdir().unwrap();
    let (agents, _sockets) = agents();
    let community = "community = { env = \"FORESTALL_TEST_SECRET\" }";
    let config = config(
        folder.path(),
        &format!("version = \"v2c\", {community}, {agents}"),
    );
    let (keystone, asked) = refuses();
    let clouds = folder.path().join("clouds.yaml");
    let auth =
        format!("{{ auth_url: '{keystone}', username: u, password: {CANARY}, project_name: p }}");
    secret_file(&clouds, &format!("clouds:\n  edge:\n    auth: {auth}\n"));
    let nova = format!(
        "[nova]
         cloud = \"edge\"
         clouds_file = \"{}\"
         servers = {{ text-insertion = \"092deb2f-7186-41e6-b662-bf0ce61456cb\" }}",
        clouds.display()
    );
    let engine: toml::Table = nova.parse().unwrap();
    change(&config, |table| {
        drop(table.insert("engine".into(), engine.into()));
    });
    let child = orchestrate(&config);
    assert_no_canary_in_command_line(&child);
    std::thread::sleep(RUN_FOR);
    let output = end(child);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        asked.try_iter().any(|head| head.contains("/auth/tokens")),
        "Keystone is asked: {said}"
    );
    assert_no_canary("stdout", &output.stdout);
    assert_no_canary("stderr", &output.stderr);
    assert_no_canary_in(folder.path());
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

//! A site on loopback: simulated agents, real virtual machines, a real orchestrator.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use control::Trust;
use scenario::{PolicyName, Scenario};
use serde_json::{Value, json};

use super::agents::{Agent, Agents, COMMUNITY};
use super::exporters::Exporters;
use super::machines::{Machines, Qemus};
use super::{free_tcp_port, wait_for, wait_or};

/// The two edge servers of the shipped scenario.
pub(crate) const HOSTS: [&str; 2] = ["edge-robot", "edge-user"];
pub(crate) const FUNCTION: &str = "text-insertion";
/// Rate in bytes per second: memory of a machine in which nothing runs is copied in milliseconds.
pub(crate) const FAST: u64 = 100 << 20;
/// Its BIOS then takes some seconds.
pub(crate) const SLOW: u64 = 40_000;

/// The site. What was started ends with it.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) orchestrator: Option<Child>,
    agents: Agents,
    machines: Box<dyn Machines>,
    /// Where its orchestrator answers.
    api: String,
    /// What its command line has to show, in its environment.
    shown: Vec<(&'static str, PathBuf)>,
}

/// Tokens of a site whose orchestrator has some.
pub(crate) const READER: &str = "reader-0123456789abcdef";
pub(crate) const OPERATOR: &str = "operator-0123456789abcdef";
pub(crate) const REPORTER: &str = "reporter-0123456789abcdef";

impl Site {
    /// A site whose function is a QEMU process.
    pub(crate) fn new(runs_on: &str, bytes_per_s: u64, trust: Trust) -> Self {
        Self::of(Box::new(Qemus::new(bytes_per_s)), runs_on, trust)
    }

    /// Agents answer, and the function's machine runs on a host; no orchestrator yet.
    pub(crate) fn of(machines: Box<dyn Machines>, runs_on: &str, trust: Trust) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut site = Self {
            orchestrator: None,
            agents: Agents::start(),
            machines,
            api: String::new(),
            shown: Vec::new(),
            folder,
        };
        site.api = format!("unix:{}", site.socket().display());
        site.configure(trust);
        site.machines.begin(host(runs_on));
        site
    }

    fn configure(&self, trust: Trust) {
        let agents = self.agents.addresses.map(|address| address.to_string());
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/reallocation");
        let scenario = Scenario::read(Path::new(shipped)).unwrap();
        let mut control =
            scenario.controller_settings(PolicyName::Deadline, &scenario.model_figures());
        control.trust = trust;
        control.limits.cooldown_ms = 500.0;
        // The simulated agents say 60 %.
        control.functions[0].load = record::Utilization::new(0.1).unwrap();
        let config = json!({
            "schema": orchestrator::config::SCHEMA,
            "journal": self.journal(),
            "budget_ms": scenario.budget_ms,
            "api": { "listen": self.api },
            "snmp": {
                "version": "v2c", "community": { "env": "FORESTALL_TEST_COMMUNITY" }, "poll_ms": 200,
                "agents": { HOSTS[0]: agents[0], HOSTS[1]: agents[1] },
            },
            "control": control,
            "engine": self.machines.engine(),
        });
        fs::write(
            self.config(),
            toml::to_string(&without_nulls(config)).unwrap(),
        )
        .unwrap();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("forestall.toml")
    }

    /// Changes a limit of the controller, for the next orchestrator.
    pub(crate) fn set_limit(&self, name: &str, value: f64) {
        let mut config: toml::Table = fs::read_to_string(self.config()).unwrap().parse().unwrap();
        let limits = config["control"]["limits"].as_table_mut().unwrap();
        assert!(limits.insert(name.into(), value.into()).is_some(), "{name}");
        fs::write(self.config(), config.to_string()).unwrap();
    }

    /// Has the next orchestrator ask its engine for functions, and names none.
    pub(crate) fn discover(&self) {
        let mut config: toml::Table = fs::read_to_string(self.config()).unwrap().parse().unwrap();
        config["control"]["functions"] = toml::Value::Array(Vec::new());
        let defaults = json!({ "load": 0.1, "migration_ms": 5000.0, "gap_ms": 100.0 });
        config.insert("discover".into(), toml::Value::try_from(defaults).unwrap());
        fs::write(self.config(), config.to_string()).unwrap();
    }

    /// Changes how long moves of the function are said to take, for the next orchestrator.
    pub(crate) fn set_prediction(&self, ms: f64) {
        let mut config: toml::Table = fs::read_to_string(self.config()).unwrap().parse().unwrap();
        config["control"]["functions"][0]["migration_ms"] = ms.into();
        fs::write(self.config(), config.to_string()).unwrap();
    }

    /// Has the next orchestrator record all that comes in, for a replay. A recording is of one: the one after it may not find it.
    pub(crate) fn record_into(&self, folder: Option<&Path>) {
        let mut config: toml::Table = fs::read_to_string(self.config()).unwrap().parse().unwrap();
        match folder {
            Some(folder) => config.insert("recording".into(), folder.to_str().unwrap().into()),
            None => config.remove("recording"),
        };
        fs::write(self.config(), config.to_string()).unwrap();
    }

    /// Has the next orchestrator read the load of both hosts from exporters, which say what a test wants.
    pub(crate) fn measure_by_exporters(&self, loads: [f64; 2]) -> Exporters {
        let exporters = Exporters::start(loads);
        let mut config: toml::Table = fs::read_to_string(self.config()).unwrap().parse().unwrap();
        config.remove("snmp");
        let urls = [0, 1].map(|host| (HOSTS[host].to_owned(), exporters.url(host).into()));
        let section =
            json!({ "poll_ms": 1000, "exporters": Value::Object(urls.into_iter().collect()) });
        config.insert("prometheus".into(), toml::Value::try_from(section).unwrap());
        fs::write(self.config(), config.to_string()).unwrap();
        exporters
    }

    /// Has the next orchestrator keep its journal elsewhere.
    pub(crate) fn keep_journal_in(&self, folder: &Path) {
        let mut config: toml::Table = fs::read_to_string(self.config()).unwrap().parse().unwrap();
        let journal = folder.join("journal.db");
        config.insert("journal".into(), journal.to_str().unwrap().into());
        fs::write(self.config(), config.to_string()).unwrap();
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    /// A browser speaks no unix sockets.
    pub(crate) fn listen_on_loopback(&mut self) {
        let text = fs::read_to_string(self.config()).unwrap();
        let here = format!("127.0.0.1:{}", free_tcp_port());
        let text = text.replace(&self.api, &here);
        fs::write(self.config(), text).unwrap();
        self.api = here;
    }

    /// Listens on loopback for those who have a token: its own command line has the one that operates.
    pub(crate) fn listen_on_loopback_with_tokens(&mut self) {
        self.listen_on_loopback();
        let tokens = [
            ("read", READER),
            ("operate", OPERATOR),
            ("report", REPORTER),
        ]
        .map(|(right, token)| {
            let file = self.secret(right, token);
            (
                right.to_owned(),
                json!({ "right": right, "token": { "file": file } }),
            )
        });
        self.set_api("tokens", Value::Object(tokens.into_iter().collect()));
        let operate = self.folder.path().join("operate");
        self.shown = vec![("FORESTALL_TOKEN_FILE", operate)];
    }

    /// Listens where other machines reach it, and on its unix socket: for those who have a token, and encrypted.
    pub(crate) fn listen_to_all(&mut self) {
        self.listen_on_loopback_with_tokens();
        let (_, port) = self.api.rsplit_once(':').unwrap();
        let port = port.to_owned();
        let socket = format!("unix:{}", self.socket().display());
        self.set_api("listen", json!([socket, format!("0.0.0.0:{port}")]));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = self.secret("certificate.pem", &made.cert.pem());
        let key = self.secret("key.pem", &made.signing_key.serialize_pem());
        self.set_api("tls", json!({ "certificate": certificate, "key": key }));
        self.shown.push(("FORESTALL_CA", certificate));
        self.api = format!("https://localhost:{port}");
    }

    /// A file that only its owner may read.
    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Changes something of its API, for the next orchestrator.
    pub(crate) fn set_api(&self, name: &str, value: Value) {
        self.edit(|config| {
            let api = config["api"].as_table_mut().unwrap();
            api.insert(name.into(), toml::Value::try_from(value).unwrap());
        });
    }

    /// Changes its configuration, for the next orchestrator.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut toml::Table)) {
        let mut config: toml::Table = fs::read_to_string(self.config()).unwrap().parse().unwrap();
        change(&mut config);
        fs::write(self.config(), config.to_string()).unwrap();
    }

    /// What the next orchestrator is told, for one that this site does not start itself.
    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    /// That one answers there.
    pub(crate) fn is_answered_at(&mut self, api: String) {
        self.api = api;
    }

    /// Where its orchestrator answers, as a client names it.
    pub(crate) fn api(&self) -> &str {
        &self.api
    }

    /// Root of its pages, when it listens on loopback.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// An orchestrator of this site that is not this site's to end.
    pub(crate) fn another(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forestall"));
        command
            .args(["orchestrate", "--config"])
            .arg(self.config())
            .env("FORESTALL_TEST_COMMUNITY", COMMUNITY)
            .stdin(Stdio::null());
        command
    }

    /// What `--check` says of its configuration, and whether all is well.
    pub(crate) fn check(&self) -> (bool, String) {
        let output = self.another().arg("--check").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said + &words)
    }

    pub(crate) fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        self.orchestrator = Some(self.another().stderr(log).spawn().unwrap());
        wait_for("the orchestrator answers", || {
            self.say("status").status.success()
        });
    }

    /// Both hosts have been heard, and may carry functions.
    pub(crate) fn start_and_hear(&mut self) {
        self.start();
        self.wait_for("samples", |site| site.ask("status")["hosts_fresh"] == 2);
    }

    pub(crate) fn kill(&mut self) {
        let mut orchestrator = self.orchestrator.take().unwrap();
        orchestrator.kill().unwrap();
        orchestrator.wait().unwrap();
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn end(&mut self) {
        let mut orchestrator = self.orchestrator.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(orchestrator.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        orchestrator.wait().unwrap();
    }

    pub(crate) fn say(&self, words: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_forestall"))
            .args(words.split_whitespace())
            .env("FORESTALL_API", &self.api)
            .envs(self.shown.iter().map(|(name, path)| (name, path)))
            .output()
            .unwrap()
    }

    /// An answer as JSON.
    pub(crate) fn ask(&self, words: &str) -> Value {
        let output = self.say(&format!("{words} --json"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {said}{}", self.log());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// An answer in words.
    pub(crate) fn words(&self, words: &str) -> String {
        let output = self.say(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is said when it cannot be done.
    pub(crate) fn refusal(&self, words: &str) -> String {
        let output = self.say(words);
        assert_eq!(output.status.code(), Some(1), "{words}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Hosts on which the engine says that the guest runs.
    pub(crate) fn runners(&self) -> Vec<&'static str> {
        let runs = |host: &usize| self.machines.runs(*host);
        (0..2).filter(runs).map(|host| HOSTS[host]).collect()
    }

    /// What the agent of a host does from now on.
    pub(crate) fn set_agent(&self, host: usize, agent: Agent) {
        self.agents.set(host, agent);
    }

    /// No agent answers any more.
    pub(crate) fn stop_agents(&self) {
        self.agents.stop();
    }

    /// Ends the machine on a host as a crash would.
    pub(crate) fn crash(&self, on: &str) {
        self.machines.crash(host(on));
    }

    pub(crate) fn where_is(&self) -> String {
        self.ask("functions")[0]["host"].as_str().unwrap().into()
    }

    /// Waits until something is so, or says what the orchestrator did instead.
    pub(crate) fn wait_for(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let say = || {
            let moves = self.ask("moves");
            let count = moves.as_array().map_or(0, Vec::len);
            let whys = (1..=count).map(|i| self.words(&format!("why {i}")));
            let whys: String = whys.collect();
            format!("{what}\n{moves:#}\n{whys}\n{}", self.log())
        };
        wait_or(|| is_so(self), say);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut orchestrator) = self.orchestrator.take() {
            drop(orchestrator.kill());
            drop(orchestrator.wait());
        }
    }
}

fn host(name: &str) -> usize {
    HOSTS.iter().position(|host| *host == name).unwrap()
}

/// TOML has no null: what is not said is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

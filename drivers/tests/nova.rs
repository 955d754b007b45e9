//! The Nova driver against answers that a real OpenStack (Zed, `scripts/openstack/testbed.sh`) gave, one after the other, and
//! against the ways in which its API fails. `make test-openstack` has the cloud itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use forestall_drivers::nova::NovaConfig;
use forestall_drivers::{CpuTimes, Driver, DriverError, JobProgress, Nova, Plan};
use record::decision::{End, Mode};
use record::{HostName, Residency, VmName};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;

#[allow(dead_code)] // Not all of it is used here.
#[path = "../../forestall/tests/program/common/figures.rs"]
mod figures;

const SERVER: &str = "092deb2f-7186-41e6-b662-bf0ce61456cb";
/// Where the recorded cloud had its Nova.
const RECORDED_NOVA: &str = "http://10.77.0.1:8774/v2.1";
const PASSWORD: &str = "canary-of-the-cloud";

/// Answers to a request, each given once, the last for ever. A name is that of a recording; `503` and `nonsense` are what
/// a cloud in trouble says.
type Script = BTreeMap<&'static str, Vec<&'static str>>;

/// Ways in which its API is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// Nobody listens.
    Refuses,
    /// What stands before it says so.
    Unavailable,
    /// It takes connections, and says nothing.
    Silent,
}

struct Cloud {
    recorded: Value,
    script: Mutex<Script>,
    /// Method, path, body.
    asked: Mutex<Vec<(String, String)>>,
    gone: Mutex<Option<Gone>>,
    address: SocketAddr,
}

fn answer(cloud: &Cloud, name: &str) -> Response {
    match name {
        "503" => return (StatusCode::SERVICE_UNAVAILABLE, "<html>").into_response(),
        "nonsense" => return (StatusCode::OK, "{\"server\": [").into_response(),
        _ => {}
    }
    let recorded = &cloud.recorded[name];
    let status = StatusCode::from_u16(recorded["status"].as_u64().unwrap() as u16).unwrap();
    let mut headers = HeaderMap::new();
    if let Some(id) = recorded["request_id"].as_str() {
        headers.insert("x-openstack-request-id", id.parse().unwrap());
    }
    if let Some(seconds) = recorded["retry_after"].as_str() {
        headers.insert("retry-after", seconds.parse().unwrap());
    }
    if name == "token" {
        headers.insert("x-subject-token", "a-token".parse().unwrap());
    }
    let body = match &recorded["body"] {
        Value::Null => String::new(),
        body => body
            .to_string()
            .replace(RECORDED_NOVA, &format!("http://{}/v2.1", cloud.address)),
    };
    (status, headers, body).into_response()
}

async fn handle(State(cloud): State<Arc<Cloud>>, request: Request) -> Response {
    let gone = *cloud.gone.lock().unwrap();
    match gone {
        Some(Gone::Silent) => std::future::pending().await,
        Some(_) => return answer(&cloud, "503"),
        None => {}
    }
    let asked = format!("{} {}", request.method(), request.uri().path());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    cloud
        .asked
        .lock()
        .unwrap()
        .push((asked.clone(), String::from_utf8(body.to_vec()).unwrap()));
    let mut script = cloud.script.lock().unwrap();
    let names = script
        .iter_mut()
        .find(|(end, _)| asked.ends_with(*end))
        .unwrap_or_else(|| panic!("nobody expected {asked}"))
        .1;
    let name = if names.len() > 1 {
        names.remove(0)
    } else {
        names[0]
    };
    drop(script);
    answer(&cloud, name)
}

/// What is seen of target and source.
type Seen = (Residency, Residency);

struct Site {
    cloud: Arc<Cloud>,
    /// Serves the API, and ends its connections with it.
    server: Option<Runtime>,
    driver: Arc<Nova>,
    _folder: tempfile::TempDir,
}

/// A cloud that answers as the script says, and for the rest as one in which all is well.
async fn site(script: &[(&'static str, &[&'static str])]) -> Site {
    site_where(script, |_| ()).await
}

/// The same, with other settings.
async fn site_where(
    script: &[(&'static str, &[&'static str])],
    change: impl FnOnce(&mut NovaConfig),
) -> Site {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let well: [(&str, &[&str]); 3] = [
        ("POST /v3/auth/tokens", &["token"]),
        ("/os-services", &["services-hostb"]),
        (SERVER, &["server-at-source"]),
    ];
    let script = well
        .iter()
        .chain(script)
        .map(|(end, names)| (*end, names.to_vec()))
        .collect();
    let mut recorded = serde_json::from_str(include_str!("nova/recorded.json")).unwrap();
    list_servers(&mut recorded);
    write_limits(&mut recorded);
    let cloud = Arc::new(Cloud {
        recorded,
        script: Mutex::new(script),
        asked: Mutex::default(),
        gone: Mutex::default(),
        address,
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clouds.yaml");
    let clouds = format!(
        "clouds:\n  edge:\n    auth: {{ auth_url: 'http://{address}', username: admin, password: {PASSWORD}, project_name: admin }}\n"
    );
    std::fs::write(&file, clouds).unwrap();
    let host = |here: &str, there: &str| (HostName::new(here).unwrap(), there.to_owned());
    let mut config = NovaConfig {
        cloud: Some("edge".into()),
        clouds_file: Some(file),
        force_complete_after_s: None,
        servers: [(VmName::new("f").unwrap(), SERVER.to_owned())].into(),
        hosts: [host("a", "hosta"), host("b", "hostb")].into(),
    };
    change(&mut config);
    Site {
        server: Some(serve(&cloud, listener)),
        cloud,
        driver: Arc::new(Nova::new(config).unwrap()),
        _folder: folder,
    }
}

fn serve(cloud: &Arc<Cloud>, listener: std::net::TcpListener) -> Runtime {
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let router = Router::new().fallback(handle).with_state(Arc::clone(cloud));
    server.spawn(async { axum::serve(TcpListener::from_std(listener).unwrap(), router).await });
    server
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end();
    }
}

impl Site {
    fn end(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }

    /// The API is gone.
    fn go(&mut self, gone: Gone) {
        *self.cloud.gone.lock().unwrap() = Some(gone);
        if gone == Gone::Refuses {
            self.end();
        }
    }

    /// It is back, and answers so from now on.
    async fn come_back(&mut self, script: &[(&'static str, &'static str)]) {
        *self.cloud.gone.lock().unwrap() = None;
        let say = script.iter().map(|(end, name)| (*end, vec![*name]));
        self.cloud.script.lock().unwrap().extend(say);
        if self.server.is_none() {
            let listener = TcpListener::bind(self.cloud.address).await.unwrap();
            self.server = Some(serve(&self.cloud, listener.into_std().unwrap()));
        }
    }

    fn asked(&self, what: &str) -> Vec<String> {
        let asked = self.cloud.asked.lock().unwrap();
        let these = asked.iter().filter(|(request, _)| request.ends_with(what));
        these.map(|(_, body)| body.clone()).collect()
    }
}

fn plan() -> Plan {
    Plan {
        migration: 1,
        vm: VmName::new("f").unwrap(),
        source: HostName::new("a").unwrap(),
        target: HostName::new("b").unwrap(),
        mode: Mode::PreCopy,
    }
}

#[tokio::test]
async fn a_move_is_over_when_its_record_says_so() {
    let site = site(&[
        (
            "/os-migrations",
            &[
                "migrations-none",
                "migrations-accepted",
                "503",
                // Nor does a refusal to say how far it is end it.
                "conflict",
                "migrations-running",
                "migrations-completed",
            ],
        ),
        ("/action", &["accepted"]),
    ])
    .await;
    let mut begun = 0;
    site.driver.copy(&plan(), || begun += 1).await.unwrap();
    assert_eq!(begun, 1);
    let [asked] = &site.asked("/action")[..] else {
        panic!()
    };
    let asked: Value = serde_json::from_str(asked).unwrap();
    assert_eq!(
        asked,
        json!({ "os-migrateLive": { "host": "hostb", "block_migration": "auto" } })
    );
    assert_eq!(site.driver.figures(&plan()).await.total_ms, Some(4000.0));
}

#[tokio::test]
async fn where_a_server_is() {
    use Residency::{Absent, Running, Unreachable};
    for (server, seen) in [
        ("server-at-source", (Absent, Running)),
        // Until its migration is over it may be at either end.
        ("server-running", (Absent, Unreachable)),
        ("server-at-target", (Running, Absent)),
        ("notfound", (Absent, Absent)),
        // Of a cloud in trouble nothing is believed.
        ("503", (Unreachable, Unreachable)),
        ("nonsense", (Unreachable, Unreachable)),
    ] {
        let site = site(&[(SERVER, &[server])]).await;
        assert_eq!(site.driver.inspect(&plan()).await, seen, "{server}");
    }
    // Its record is a host's word only while the host's service is up.
    let site = site(&[("/os-services", &["services-nowhere"])]).await;
    assert_eq!(site.driver.inspect(&plan()).await, (Absent, Unreachable));
}

#[tokio::test]
async fn what_is_refused_has_changed_nothing() {
    for (script, reason) in [
        (
            ("/action", "conflict"),
            "while it is in task_state migrating",
        ),
        (("/action", "refused-nowhere"), "could not be found"),
        (
            ("/os-services", "services-nowhere"),
            "knows no compute host hostb",
        ),
        ((SERVER, "server-at-target"), "the server is on hostb"),
        ((SERVER, "server-running"), "busy: migrating"),
        ((SERVER, "notfound"), "404"),
        ((SERVER, "503"), "503"),
    ] {
        let site = site(&[
            ("/os-migrations", &["migrations-none"]),
            (script.0, &[script.1]),
        ])
        .await;
        let refused = site
            .driver
            .copy(&plan(), || panic!("it began"))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, DriverError::Refused { .. }),
            "{refused:?}"
        );
        assert!(refused.to_string().contains(reason), "{reason}: {refused}");
    }
}

#[tokio::test]
async fn what_fails_after_it_was_taken_is_uncertain_and_has_its_reason() {
    for (migrations, action, reason) in [
        // Nova's answer was 202: that no host can take it stands in its records alone.
        (
            &["migrations-none", "migrations-after-nohost"][..],
            "accepted",
            "No valid host was found",
        ),
        (
            &["migrations-none", "migrations-none"],
            "accepted",
            "No valid host was found",
        ),
        (
            &["migrations-none", "migrations-aborted"],
            "accepted",
            "cancelled",
        ),
        (&["migrations-none"], "503", "503"),
    ] {
        let site = site(&[("/os-migrations", migrations), ("/action", &[action])]).await;
        // The number of a request ends in what cannot be foreseen.
        let request = site.cloud.recorded["accepted"]["request_id"]
            .as_str()
            .unwrap()
            .to_owned();
        site.cloud
            .script
            .lock()
            .unwrap()
            .insert(request.leak(), vec!["action-nohost"]);
        let failed = site.driver.copy(&plan(), || ()).await.unwrap_err();
        assert!(
            matches!(failed, DriverError::Uncertain { .. }),
            "{failed:?}"
        );
        assert!(failed.to_string().contains(reason), "{reason}: {failed}");
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_renewed_once() {
    let site_ = site(&[(SERVER, &["unauthorized", "server-at-source"])]).await;
    let vm = VmName::new("f").unwrap();
    assert_eq!(
        site_.driver.residency(&vm, &plan().target).await,
        Residency::Absent
    );
    assert_eq!(site_.asked("/auth/tokens").len(), 2);
    // Who is refused with a new one, too, is refused.
    let site_ = site(&[(SERVER, &["unauthorized"])]).await;
    let refused = site_.driver.copy(&plan(), || ()).await.unwrap_err();
    assert!(
        refused.to_string().contains("requires authentication"),
        "{refused}"
    );
    assert_eq!(site_.asked("/auth/tokens").len(), 2);
    // The password goes to Keystone and nowhere else.
    let said = format!("{refused} {refused:?} {:?}", site_.driver);
    assert!(
        !said.contains(PASSWORD) && !said.contains("a-token"),
        "{said}"
    );
    let asked = site_.cloud.asked.lock().unwrap();
    assert!(
        asked
            .iter()
            .all(|(request, body)| request.ends_with("/auth/tokens") || !body.contains(PASSWORD))
    );
}

#[tokio::test]
async fn a_move_that_is_under_way_is_aborted_before_its_target_is_called_clear() {
    let running = &[
        "migrations-running",
        "migrations-running",
        "migrations-aborted",
    ];
    let site_ = site(&[("/os-migrations", running), ("/migrations/14", &["abort"])]).await;
    site_.driver.discard(&plan(), End::Target).await.unwrap();
    assert_eq!(
        site_
            .asked("DELETE /v2.1/servers/092deb2f-7186-41e6-b662-bf0ce61456cb/migrations/14")
            .len(),
        1
    );
    // The source clears itself away.
    let site_ = site(&[(
        "/os-migrations",
        &["migrations-running", "migrations-completed"],
    )])
    .await;
    site_.driver.discard(&plan(), End::Source).await.unwrap();
    // What is over needs no cancel.
    let site_ = site(&[("/os-migrations", &["migrations-completed"])]).await;
    site_.driver.cancel(&plan()).await.unwrap();
    // One that ends in between is over, too.
    let site_ = site(&[
        ("/os-migrations", &["migrations-running"]),
        ("/migrations/14", &["notfound"]),
    ])
    .await;
    site_.driver.cancel(&plan()).await.unwrap();
}

#[tokio::test]
async fn a_migration_of_somebody_else_goes_on() {
    let site = site(&[(
        "/os-migrations",
        &[
            "migrations-running",
            "migrations-running",
            "migrations-completed",
        ],
    )])
    .await;
    let elsewhere = Plan {
        target: HostName::new("c").unwrap(),
        ..plan()
    };
    // Nobody expects a DELETE here.
    site.driver.cancel(&elsewhere).await.unwrap();
    site.driver.discard(&elsewhere, End::Target).await.unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_forced_to_its_end_once_unless_it_was_cancelled() {
    let script: &[(&str, &[&str])] = &[
        (
            "/os-migrations",
            &[
                "migrations-none",
                "migrations-running",
                "migrations-running",
                "migrations-completed",
            ],
        ),
        ("/action", &["accepted"]),
        ("/migrations/14", &["abort"]),
    ];
    let at_once = |config: &mut NovaConfig| config.force_complete_after_s = Some(0);
    let forced = |site: &Site| site.asked("/migrations/14/action");
    let site = site_where(script, at_once).await;
    site.driver.copy(&plan(), || ()).await.unwrap();
    assert_eq!(forced(&site), [r#"{"force_complete":null}"#]);
    // Cancelled when Nova has taken it.
    let site = site_where(script, at_once).await;
    let cancelled = async {
        while site.asked("/action").is_empty() {
            tokio::task::yield_now().await;
        }
        // The answer is taken before the next second, in which is asked how far it is.
        sleep(Duration::from_millis(300)).await;
        site.driver.cancel(&plan()).await
    };
    let plan_ = plan();
    let (copied, cancelled) = tokio::join!(site.driver.copy(&plan_, || ()), cancelled);
    copied.unwrap();
    cancelled.unwrap();
    assert!(forced(&site).is_empty());
}

/// Nova has taken a move. Its API goes, and comes back when the move has ended there. Also how long it took to see that then.
async fn gone_in_mid_move(
    gone: Gone,
    ended: &[(&'static str, &'static str)],
) -> (bool, Seen, Duration) {
    let mut site = site(&[
        ("/os-migrations", &["migrations-none", "migrations-running"]),
        ("/action", &["accepted"]),
    ])
    .await;
    // Why it ended is not known there.
    let request = site.cloud.recorded["accepted"]["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    site.cloud
        .script
        .lock()
        .unwrap()
        .insert(request.leak(), vec!["notfound"]);
    let driver = Arc::clone(&site.driver);
    let copies = Arc::<AtomicBool>::default();
    let begun = Arc::clone(&copies);
    let copy = tokio::spawn(async move {
        driver
            .copy(&plan(), || begun.store(true, Ordering::Relaxed))
            .await
    });
    while !copies.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(20)).await;
    }
    site.go(gone);
    let unknown = (Residency::Unreachable, Residency::Unreachable);
    let plan = plan();
    let (seen, cancelled) = tokio::join!(site.driver.inspect(&plan), site.driver.cancel(&plan));
    assert_eq!(seen, unknown, "{gone:?}");
    let failed = cancelled.unwrap_err();
    assert!(matches!(failed, DriverError::Uncertain { .. }), "{failed}");
    // It is asked how far it is in the meantime.
    sleep(Duration::from_millis(1500)).await;
    // It goes on whether it can be asked or not, and is not said to have ended.
    assert!(!copy.is_finished(), "{gone:?}");
    site.come_back(ended).await;
    let back = Instant::now();
    let copied = copy.await.unwrap();
    let took = back.elapsed();
    if let Err(failed) = &copied {
        assert!(matches!(failed, DriverError::Uncertain { .. }), "{failed}");
    }
    // Asked for once.
    assert_eq!(site.asked("/action").len(), 1);
    (copied.is_ok(), site.driver.inspect(&plan).await, took)
}

#[tokio::test]
async fn while_the_api_is_gone_in_mid_move_nothing_is_claimed() {
    use Residency::{Absent, Running};
    let moved = (
        &[
            ("/os-migrations", "migrations-completed"),
            (SERVER, "server-at-target"),
        ][..],
        (true, (Running, Absent)),
    );
    let stayed = (
        &[
            ("/os-migrations", "migrations-aborted"),
            (SERVER, "server-at-source"),
        ][..],
        (false, (Absent, Running)),
    );
    let cases = [Gone::Refuses, Gone::Unavailable, Gone::Silent]
        .map(|gone| [(gone, moved), (gone, stayed)])
        .concat();
    let rounds = figures::times(5, 1);
    let mut row = figures::Row::new(
        "Nova's API gone while copying: refuses connections, says 503, or nothing",
        "neither end is claimed, and nothing is asked for again; what Nova's record says is seen when it is back",
        "answers of OpenStack Zed as recorded, the driver alone: no virtual machine, a runner is an end that is seen to run",
        rounds * cases.len() as u32,
    );
    for _ in 0..rounds {
        let mut tries = JoinSet::new();
        for (gone, (ended, expected)) in cases.clone() {
            tries.spawn(async move {
                let (copied, seen, took) = gone_in_mid_move(gone, ended).await;
                assert_eq!((copied, seen), expected, "{gone:?}");
                (seen, took)
            });
        }
        while let Some(tried) = tries.join_next().await {
            let ((target, source), took) = tried.unwrap();
            let verdict = if target == Running { "moved" } else { "stayed" };
            let runs = [target, source].into_iter().filter(|end| *end == Running);
            row.add(took, verdict, runs.count());
        }
    }
    row.keep();
}

#[tokio::test]
async fn a_keystone_in_trouble_is_asked_once_for_all_who_wait() {
    let site = site(&[("POST /v3/auth/tokens", &["503"])]).await;
    let plan = plan();
    let look = || site.driver.inspect(&plan);
    let unknown = (Residency::Unreachable, Residency::Unreachable);
    let seen = tokio::join!(look(), look(), look());
    assert_eq!(seen, (unknown, unknown, unknown));
    assert_eq!(site.asked("/auth/tokens").len(), 1);
    // Who comes later asks again.
    assert_eq!(look().await, unknown);
    assert_eq!(site.asked("/auth/tokens").len(), 2);
}

#[test]
fn an_id_that_is_none_is_refused() {
    let config = NovaConfig {
        cloud: None,
        clouds_file: None,
        force_complete_after_s: None,
        servers: [(VmName::new("f").unwrap(), "../flavors".to_owned())].into(),
        hosts: BTreeMap::new(),
    };
    let wrong = Nova::new(config).unwrap_err().to_string();
    assert!(wrong.contains("../flavors"), "{wrong}");
}

/// A listing has servers as they are told one by one. Here two pages: what is tagged, and what is not to be found; then nothing.
fn list_servers(recorded: &mut Value) {
    let server = |id: &str, name: &str, status: &str, metadata: Value| {
        let mut server = recorded["server-at-source"]["body"]["server"].clone();
        server["id"] = id.into();
        server["name"] = name.into();
        server["status"] = status.into();
        server["metadata"] = metadata;
        server
    };
    let tag = json!({ "forestall": "function", "forestall_viewers": "3" });
    let servers = json!([
        server(SERVER, "overlay", "ACTIVE", tag.clone()),
        server("another", "database", "ACTIVE", json!({})),
        server("third", "off", "SHUTOFF", tag.clone()),
        server("fourth", "a name with spaces", "ACTIVE", tag),
    ]);
    let page = |servers: Value| json!({ "status": 200, "body": { "servers": servers } });
    recorded["servers"] = page(servers);
    recorded["servers-none"] = page(json!([]));
}

#[tokio::test]
async fn servers_that_are_tagged_are_functions() {
    let pages: &[&str] = &["servers", "servers-none"];
    let script = [("/servers/detail", pages)];
    let site = site_where(&script, |config| config.servers.clear()).await;
    let f = VmName::new("overlay").unwrap();
    let a = HostName::new("a").unwrap();
    let unknown = site.driver.look(&f, &a).await.unwrap_err();
    assert!(unknown.contains("find the server"), "{unknown}");
    let found = site.driver.tagged().await;
    let [function] = &found.functions[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (function.vm.as_str(), function.host.as_str()),
        ("overlay", "a")
    );
    assert_eq!(function.viewers, Some(3));
    assert_eq!(found.hosts, [HostName::new("b").unwrap()]);
    // From now on it knows which server that is.
    assert_eq!(site.driver.look(&f, &a).await, Ok(Residency::Running));
    let [problem] = &found.problems[..] else {
        panic!("{found:?}")
    };
    assert!(problem.contains("engine.nova.servers"), "{problem}");

    let gone = site_where(&[("/servers/detail", &["503"])], |_| ()).await;
    let found = gone.driver.tagged().await;
    assert!(found.functions.is_empty(), "{found:?}");
    assert!(found.problems[0].contains("does not say all"), "{found:?}");
}

/// Answers that no cloud of a test gives, as Nova's API reference has them: of a project that may have no more, of one that asks too
/// often, and of what nobody has the right to; and a server's diagnostics and its migration while it is under way.
fn write_limits(recorded: &mut Value) {
    let forbidden = |message: &str| json!({ "forbidden": { "code": 403, "message": message } });
    let often = json!({ "overLimit": {
        "code": 413, "message": "This request was rate-limited.", "retryAfter": "2",
    } });
    recorded["quota"] = json!({
        "status": 403,
        "body": forbidden("Quota exceeded for cores: Requested 1, but already used 8 of 8 cores"),
    });
    recorded["forbidden"] = json!({
        "status": 403,
        "body": forbidden("Policy doesn't allow os_compute_api:os-server-diagnostics to be performed."),
    });
    recorded["over-limit"] = json!({ "status": 413, "body": often });
    recorded["too-many"] = json!({ "status": 429, "retry_after": "2", "body": null });
    recorded["diagnostics"] = json!({ "status": 200, "body": {
        "state": "running", "driver": "libvirt", "num_cpus": 1,
        "cpu_details": [{ "id": 0, "time": 17_300_000_000_u64, "utilisation": null }],
    } });
    recorded["job"] = json!({ "status": 200, "body": { "migrations": [{
        "id": 14, "status": "running", "source_compute": "hosta", "dest_compute": "hostb",
        "memory_total_bytes": 4096, "memory_processed_bytes": 3000, "memory_remaining_bytes": 1096,
        "disk_total_bytes": null, "disk_processed_bytes": null, "disk_remaining_bytes": null,
    }] } });
    recorded["job-none"] = json!({ "status": 200, "body": { "migrations": [] } });
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_is_not_asked_for_again() {
    for (answer, words) in [
        (
            "quota",
            &["403", "already used 8 of 8 cores", "quota raised"][..],
        ),
        (
            "forbidden",
            &["403", "Policy doesn't allow", "role lacks the right"],
        ),
        ("over-limit", &["413", "rate-limited", "asked too often"]),
        ("too-many", &["429", "asked too often"]),
    ] {
        let site = site(&[
            ("/os-migrations", &["migrations-none"]),
            ("/action", &[answer]),
        ])
        .await;
        let refused = site
            .driver
            .copy(&plan(), || panic!("it began"))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, DriverError::Refused { .. }),
            "{refused:?}"
        );
        for word in words {
            assert!(refused.to_string().contains(word), "{word}: {refused}");
        }
        assert_eq!(site.asked("/action").len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_cloud_that_is_asked_too_often_is_left_alone_for_as_long_as_it_says() {
    use Residency::{Absent, Running, Unreachable};
    for answer in ["over-limit", "too-many"] {
        let site = site(&[(SERVER, &[answer, "server-at-source"])]).await;
        let plan = plan();
        let inspect = || site.driver.inspect(&plan);
        let asked = || site.cloud.asked.lock().unwrap().len();
        assert_eq!(inspect().await, (Unreachable, Unreachable));
        let before = asked();
        for _ in 0..20 {
            assert_eq!(inspect().await, (Unreachable, Unreachable), "{answer}");
        }
        let refused = site.driver.copy(&plan, || ()).await.unwrap_err();
        assert!(refused.to_string().contains("asked again in"), "{refused}");
        assert_eq!(asked(), before, "{answer}");
        // What it says, and no more.
        sleep(Duration::from_millis(2100)).await;
        assert_eq!(inspect().await, (Absent, Running), "{answer}");
    }
}

#[tokio::test]
async fn what_a_server_has_used_and_how_far_its_copy_is() {
    let vms = [VmName::new("f").unwrap(), VmName::new("unknown").unwrap()];
    let a = HostName::new("a").unwrap();
    let site_ = site(&[
        ("/diagnostics", &["diagnostics", "conflict", "forbidden"]),
        (
            "/servers/092deb2f-7186-41e6-b662-bf0ce61456cb/migrations",
            &["job", "job-none"],
        ),
    ])
    .await;
    let told = site_.driver.cpu_times(&a, &vms).await;
    assert_eq!(told.problem, None);
    let used = Duration::from_millis(17_300);
    assert_eq!(told.used, [(vms[0].clone(), used)].into());
    // It is busy: nobody has to know.
    assert_eq!(site_.driver.cpu_times(&a, &vms).await, CpuTimes::default());
    let told = site_.driver.cpu_times(&a, &vms).await;
    let problem = told.problem.unwrap();
    assert!(problem.contains("os-server-diagnostics"), "{problem}");
    let progress = site_.driver.progress(&plan()).await;
    let expected = JobProgress {
        total_bytes: 4096,
        copied_bytes: 3000,
        remaining_bytes: 1096,
    };
    assert_eq!(progress, Some(expected));
    assert_eq!(site_.driver.progress(&plan()).await, None);
}

//! The QEMU driver on real QEMU processes: its options, one by one.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::certificates::{self, Authority};
use crate::common::guest;
use crate::common::machines::{Machines, Qemus};
use crate::common::site::{FAST, FUNCTION, HOSTS, SLOW, Site};
use crate::common::{plan, wait_for};
use control::Trust;
use drivers::qemu::QemuConfig;
use drivers::{CpuTimes, Driver, DriverError, Plan, Qemu};
use record::Residency::{Absent, Paused, Running, Unreachable};
use record::decision::End;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Slower than the guest writes: pre-copy never comes to its end.
const TOO_SLOW: u64 = 500_000;

pub(crate) fn driver(qemus: &Qemus) -> Qemu {
    let config: QemuConfig = serde_json::from_value(qemus.engine()["qemu"].clone()).unwrap();
    config.check().unwrap();
    Qemu::new(config)
}

/// What came of copying.
pub(crate) type Copied = Result<(), DriverError>;

/// Begins to copy.
pub(crate) fn copy(driver: &Arc<Qemu>, plan: Plan) -> JoinHandle<Copied> {
    let driver = Arc::clone(driver);
    tokio::spawn(async move { driver.copy(&plan, || ()).await })
}

/// Waits without keeping the driver from its work.
pub(crate) async fn until(what: &str, is_so: impl FnMut() -> bool) {
    tokio::task::block_in_place(|| wait_for(what, is_so));
}

/// A whole move as the controller makes it.
async fn move_over(driver: &Qemu, plan: &Plan) {
    assert_eq!(driver.inspect(plan).await, (Absent, Running));
    driver.copy(plan, || ()).await.unwrap();
    assert_eq!(driver.inspect(plan).await, (Paused, Paused));
    driver.run(plan, End::Target).await.unwrap();
    assert_eq!(driver.inspect(plan).await, (Running, Paused));
    driver.discard(plan, End::Source).await.unwrap();
    assert_eq!(driver.inspect(plan).await, (Running, Absent));
}

/// The guest of `common/guest.rs` runs on a host and has lost nothing.
pub(crate) async fn is_well(qemus: &Qemus, host: usize) {
    let before = guest::count(qemus, host).expect("no guest there");
    until("the guest goes on", || {
        guest::count(qemus, host).is_some_and(|now| now.0 > before.0)
    })
    .await;
    assert_eq!(guest::count(qemus, host).unwrap().1, 0, "memory is lost");
}

/// QEMU processes for that guest.
fn guest_qemus(folder: &Path, bytes_per_s: u64, options: Value) -> Qemus {
    let image = folder.join("floppy");
    guest::write_image(&image);
    let image = image.display();
    let words = format!("-drive if=floppy,format=raw,readonly=on,file={image}");
    Qemus::with(bytes_per_s, options, &words)
}

/// The same, with the guest in one of them.
async fn with_guest(folder: &Path, bytes_per_s: u64, options: Value) -> Qemus {
    let qemus = guest_qemus(folder, bytes_per_s, options);
    qemus.begin(0);
    until("the guest counts", || {
        guest::count(&qemus, 0).is_some_and(|(count, _)| count > 1)
    })
    .await;
    qemus
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_at_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = format!("unix:{}/HOST", folder.path().display());
    let qemus = Qemus::with(FAST, json!({ "monitor": monitor }), "");
    qemus.begin(0);
    let driver = driver(&qemus);
    let Plan { vm, source, .. } = plan(0, 1);
    // A QEMU that has just begun may have used less than what `/proc` counts in.
    until("it has used a hundredth of a second", || {
        let told = driver.cpu_times(&source, std::slice::from_ref(&vm));
        let told = Handle::current().block_on(told);
        assert_eq!(told.problem, None);
        told.used[&vm] > Duration::ZERO
    })
    .await;
    move_over(&driver, &plan(0, 1)).await;
    move_over(&driver, &plan(1, 0)).await;
    // It leaves its socket behind.
    qemus.crash(0);
    assert!(folder.path().join(HOSTS[0]).exists());
    assert_eq!(driver.inspect(&plan(1, 0)).await, (Absent, Absent));
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_converge_slows_a_guest_down_that_writes_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({ "auto_converge": true });
    let qemus = with_guest(folder.path(), TOO_SLOW, options).await;
    let driver = Arc::new(driver(&qemus));
    let copying = copy(&driver, plan(0, 1));
    until("it is slowed down", || {
        let info = qemus.ask(0, "query-migrate", &json!({}));
        info["cpu-throttle-percentage"].as_u64() > Some(0)
    })
    .await;
    // Other engines are asked; of this one who copies knows it.
    let progress = driver.progress(&plan(0, 1)).await.unwrap();
    assert!(progress.copied_bytes > 0, "{progress:?}");
    assert!(
        progress.remaining_bytes <= progress.total_bytes,
        "{progress:?}"
    );
    // Nor does anybody say what a QEMU has used whose monitor may be elsewhere.
    let Plan { vm, source, .. } = plan(0, 1);
    let told = driver.cpu_times(&source, std::slice::from_ref(&vm)).await;
    assert_eq!(told, CpuTimes::default());
    driver.cancel(&plan(0, 1)).await.unwrap();
    copying.await.unwrap().unwrap_err();
    assert_eq!(driver.progress(&plan(0, 1)).await, None);
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
    is_well(&qemus, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multifd_copies_over_several_connections() {
    let qemus = Qemus::with(4 * SLOW, json!({ "multifd_channels": 3 }), "");
    qemus.begin(0);
    let driver = Arc::new(driver(&qemus));
    let copying = copy(&driver, plan(0, 1));
    // And the one that there always is.
    until("four connections", || qemus.connections_to(1) == 4).await;
    copying.await.unwrap().unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Paused, Paused));
    driver.run(&plan(0, 1), End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Running, Paused));
}

/// Whether the kernel lets QEMU catch page faults here (userfaultfd), which a target of post-copy has to; says so when not.
fn may_post_copy(qemus: &Qemus) -> bool {
    let on = json!({ "capabilities": [{ "capability": "postcopy-ram", "state": true }] });
    qemus.begin_held(1);
    let said = qemus.ask(1, "migrate-set-capabilities", &on);
    qemus.crash(1);
    wait_for("it is gone", || {
        TcpStream::connect(("127.0.0.1", qemus.monitor_port(1))).is_err()
    });
    if said.is_null() {
        println!("skipped: the kernel lets QEMU catch no page faults here");
    }
    !said.is_null()
}

/// Rate of post-copy in bytes per second; 0 is without limit.
fn limit_post_copy(qemus: &Qemus, bytes_per_s: u64) {
    let parameters = json!({ "max-postcopy-bandwidth": bytes_per_s });
    let done = qemus.ask(0, "migrate-set-parameters", &parameters);
    assert!(!done.is_null());
}

pub(crate) fn migration(qemus: &Qemus, host: usize) -> Value {
    qemus.ask(host, "query-migrate", &json!({}))["status"].take()
}

/// A guest in the middle of post-copy, of which most is at the source still: it runs at the target.
async fn in_post_copy(folder: &Path) -> Option<(Qemus, Arc<Qemu>, JoinHandle<Copied>)> {
    let qemus = with_guest(folder, SLOW, json!({ "post_copy_after_s": 1 })).await;
    if !may_post_copy(&qemus) {
        return None;
    }
    limit_post_copy(&qemus, SLOW / 4);
    let driver = Arc::new(driver(&qemus));
    let copying = copy(&driver, plan(0, 1));
    until("it runs at the target", || qemus.runs(1)).await;
    assert_eq!(migration(&qemus, 0), "postcopy-active");
    assert!(!qemus.runs(0));
    Some((qemus, driver, copying))
}

#[tokio::test(flavor = "multi_thread")]
async fn post_copy_moves_a_guest_that_pre_copy_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({ "post_copy_after_s": 1 });
    let qemus = with_guest(folder.path(), TOO_SLOW, options).await;
    if !may_post_copy(&qemus) {
        return;
    }
    let driver = driver(&qemus);
    for (from, to) in [(0, 1), (1, 0)] {
        let plan = plan(from, to);
        driver.copy(&plan, || ()).await.unwrap();
        // All of it may have been there before the driver had it run: then it is held as after pre-copy.
        if driver.inspect(&plan).await == (Paused, Paused) {
            driver.run(&plan, End::Target).await.unwrap();
        }
        assert_eq!(driver.inspect(&plan).await, (Running, Paused));
        is_well(&qemus, to).await;
        driver.discard(&plan, End::Source).await.unwrap();
        assert_eq!(driver.inspect(&plan).await, (Running, Absent));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn post_copy_cannot_be_called_off() {
    let folder = tempfile::tempdir().unwrap();
    let Some((qemus, driver, copying)) = in_post_copy(folder.path()).await else {
        return;
    };
    let error = driver.cancel(&plan(0, 1)).await.unwrap_err();
    assert!(matches!(error, DriverError::Uncertain { .. }), "{error}");
    assert!(qemus.runs(1) && !qemus.runs(0));
    limit_post_copy(&qemus, 0);
    copying.await.unwrap().unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Running, Paused));
    is_well(&qemus, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_post_copy_neither_end_claims_the_guest_nor_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let Some((qemus, _, copying)) = in_post_copy(folder.path()).await else {
        return;
    };
    // The orchestrator dies, and another knows nothing but what it sees.
    copying.abort();
    copying.await.unwrap_err();
    let driver = driver(&qemus);
    let plan = plan(0, 1);
    assert_eq!(driver.inspect(&plan).await, (Unreachable, Unreachable));
    let error = driver.discard(&plan, End::Target).await.unwrap_err();
    assert!(error.to_string().contains("a part of the guest"), "{error}");
    assert!(qemus.runs(1) && !qemus.runs(0));
    limit_post_copy(&qemus, 0);
    until("the source completes", || {
        migration(&qemus, 0) == "completed"
    })
    .await;
    until("the target is whole", || {
        migration(&qemus, 1) == "completed"
    })
    .await;
    assert_eq!(driver.inspect(&plan).await, (Running, Paused));
    is_well(&qemus, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_in_post_copy_leaves_no_whole_guest() {
    let folder = tempfile::tempdir().unwrap();
    let Some((qemus, driver, copying)) = in_post_copy(folder.path()).await else {
        return;
    };
    qemus.crash(0);
    copying.await.unwrap().unwrap_err();
    until("the target hears of it", || {
        migration(&qemus, 1) == "postcopy-paused"
    })
    .await;
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Unreachable, Absent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_told_to_cancel_in_post_copy_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some((qemus, driver, copying)) = in_post_copy(folder.path()).await else {
        return;
    };
    // By somebody at its monitor. Newer versions of QEMU refuse it.
    qemus.ask(0, "migrate_cancel", &json!({}));
    let said = || migration(&qemus, 0);
    if said() == "postcopy-active" {
        return;
    }
    copying.await.unwrap().unwrap_err();
    until("it has given up", || said() == "cancelled").await;
    let (_, source) = driver.inspect(&plan(0, 1)).await;
    assert_eq!((source, qemus.runs(0)), (Unreachable, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_post_copy_is_held_when_nobody_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({ "post_copy_after_s": 3600 });
    let qemus = with_guest(folder.path(), SLOW, options).await;
    if !may_post_copy(&qemus) {
        return;
    }
    limit_post_copy(&qemus, SLOW / 4);
    let driver = Arc::new(driver(&qemus));
    let plan = plan(0, 1);
    let copying = copy(&driver, plan.clone());
    until("copying", || migration(&qemus, 0) == "active").await;
    // The orchestrator has the source switch, and dies.
    copying.abort();
    copying.await.unwrap_err();
    qemus.ask(0, "migrate-start-postcopy", &json!({}));
    until("the target has the devices", || {
        qemus.ask(1, "query-status", &json!({}))["status"] == "paused"
    })
    .await;
    assert_eq!(driver.inspect(&plan).await, (Unreachable, Unreachable));
    limit_post_copy(&qemus, 0);
    until("the target is whole", || {
        migration(&qemus, 1) == "completed"
    })
    .await;
    assert_eq!(driver.inspect(&plan).await, (Paused, Paused));
    driver.run(&plan, End::Target).await.unwrap();
    is_well(&qemus, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_ended_only_when_its_source_has_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({ "post_copy_after_s": 3600 });
    let qemus = with_guest(folder.path(), SLOW, options).await;
    if !may_post_copy(&qemus) {
        return;
    }
    let driver = Arc::new(driver(&qemus));
    let copying = copy(&driver, plan(0, 1));
    until("copying", || migration(&qemus, 0) == "active").await;
    copying.abort();
    copying.await.unwrap_err();
    driver.discard(&plan(0, 1), End::Target).await.unwrap();
    assert_eq!(migration(&qemus, 0), "cancelled");
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
    is_well(&qemus, 0).await;
}

/// A launch may take longer than a move may: the cancel that comes meanwhile is not lost, and is answered when both ends can be asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_called_off_while_its_target_is_launched_copies_nothing() {
    let qemus = Qemus::new(FAST);
    qemus.begin(0);
    let mut config = qemus.engine()["qemu"].clone();
    let launch = &mut config["vms"][FUNCTION][HOSTS[1]]["launch"];
    let late = ["sh", "-c", "sleep 1; exec \"$@\"", "sh"];
    let words = launch.as_array_mut().unwrap();
    drop(words.splice(..0, late.map(Value::from)));
    let driver = Arc::new(Qemu::new(serde_json::from_value(config).unwrap()));
    let copying = copy(&driver, plan(0, 1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    driver.cancel(&plan(0, 1)).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
    let refused = copying.await.unwrap().unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("called off"), "{refused}");
    let status = migration(&qemus, 0);
    assert!(matches!(status.as_str(), None | Some("none")), "{status}");
}

/// The orchestrator is killed in the middle of post-copy: its successor does nothing until the guest is whole at one end.
#[test]
fn an_orchestrator_waits_for_the_end_of_post_copy() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({ "post_copy_after_s": 1 });
    let qemus = Arc::new(guest_qemus(folder.path(), SLOW, options));
    if !may_post_copy(&qemus) {
        return;
    }
    let machines = Box::new(Arc::clone(&qemus));
    let mut site = Site::of(machines, HOSTS[0], Trust::Automatic);
    let counts = || guest::count(&qemus, 0).is_some_and(|(count, _)| count > 1);
    wait_for("the guest counts", counts);
    limit_post_copy(&qemus, SLOW / 4);
    site.start_and_hear();
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("post-copy", |_| qemus.runs(1));
    site.kill();
    site.start();
    let kinds = |site: &Site| -> Vec<String> {
        let why = site.ask("why 1");
        let all = why["decisions"].as_array().unwrap();
        let kind = |one: &Value| one["kind"].as_str().unwrap().to_owned();
        all.iter().map(kind).collect()
    };
    site.wait_for("an alarm", |site| kinds(site).contains(&"alarm".into()));
    let done = kinds(&site);
    let acts = |kind: &String| kind == "run" || kind == "discard" || kind == "cancel";
    assert!(!done.iter().any(acts), "{done:?}");
    assert_eq!(migration(&qemus, 0), "postcopy-active");
    limit_post_copy(&qemus, 0);
    site.wait_for("a verdict", |site| {
        site.ask("moves")[0]["verdict"].is_string()
    });
    assert_eq!(site.ask("moves")[0]["verdict"], "moved");
    assert_eq!(site.runners(), [HOSTS[1]]);
    assert_eq!(guest::count(&qemus, 1).unwrap().1, 0, "memory is lost");
}

/// Hosts' names as the configuration has them.
pub(crate) const NAMES: [&str; 2] = ["robot.example", "user.example"];

/// What QEMU processes on hosts whose certificates have these names are told, and the driver.
pub(crate) fn tls(folder: &Path, names: [&str; 2]) -> (String, Value) {
    let authority = Authority::new("authority.example");
    for (host, name) in HOSTS.iter().zip(names) {
        authority.write(&folder.join(host), name, certificates::QEMU);
    }
    let object = |id: &str, end: &str| {
        let folder = folder.display();
        format!("-object tls-creds-x509,id={id},endpoint={end},dir={folder}/HOST,verify-peer=on ")
    };
    let words = object("incoming", "server") + &object("outgoing", "client");
    let options = json!({ "tls": {
        "incoming_creds": "incoming", "outgoing_creds": "outgoing",
        "names": { HOSTS[0]: NAMES[0], HOSTS[1]: NAMES[1] },
    } });
    (words, options)
}

fn tls_qemus(folder: &Path, names: [&str; 2]) -> Qemus {
    let (words, options) = tls(folder, names);
    let qemus = Qemus::with(FAST, options, &words);
    qemus.begin(0);
    qemus
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_goes_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let qemus = tls_qemus(folder.path(), NAMES);
    let driver = driver(&qemus);
    move_over(&driver, &plan(0, 1)).await;
    let told = qemus.ask(1, "query-migrate-parameters", &json!({}));
    assert_eq!(told["tls-creds"], "incoming");
    move_over(&driver, &plan(1, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_another_name_does_not_get_the_guest() {
    let folder = tempfile::tempdir().unwrap();
    let qemus = tls_qemus(folder.path(), [NAMES[0], "somebody.example"]);
    let driver = driver(&qemus);
    let error = driver.copy(&plan(0, 1), || ()).await.unwrap_err();
    assert!(error.to_string().contains(NAMES[1]), "{error}");
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
    driver.discard(&plan(0, 1), End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_qemu_has_not_are_refused() {
    let options = json!({ "tls": { "incoming_creds": "none-in", "outgoing_creds": "none-out" } });
    let qemus = Qemus::with(FAST, options, "");
    qemus.begin(0);
    let driver = driver(&qemus);
    let refused = driver.copy(&plan(0, 1), || ()).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("none-out"), "{refused}");
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
}

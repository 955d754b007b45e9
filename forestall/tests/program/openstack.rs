//! The Nova driver on a real OpenStack with two compute hosts: `make test-openstack` brings it up and runs this.

use std::sync::Arc;
use std::time::Duration;

use crate::common::openstack::{OpenStack, User};
use crate::common::site::{FUNCTION, HOSTS, Site};
use crate::common::{end_of, plan, wait_or};
use control::Trust;
use drivers::{Driver, DriverError, Nova};
use record::Residency;
use record::decision::End;
use serde_json::json;

const AT_TARGET: (Residency, Residency) = (Residency::Running, Residency::Absent);
const AT_SOURCE: (Residency, Residency) = (Residency::Absent, Residency::Running);

/// Whether there is an OpenStack; says how when not.
fn enabled() -> bool {
    let enabled = std::env::var_os("FORESTALL_TESTBED").is_some();
    if !enabled {
        println!("skipped: needs an OpenStack; `make test-openstack` brings one up and runs this");
    }
    enabled
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_moves_there_and_back() {
    if !enabled() {
        return;
    }
    let cloud = tokio::task::spawn_blocking(OpenStack::begin).await.unwrap();
    let driver = Nova::new(cloud.config()).unwrap();
    for plan in [plan(0, 1), plan(1, 0)] {
        assert_eq!(driver.inspect(&plan).await, AT_SOURCE);
        let mut began = false;
        end_of(driver.copy(&plan, || began = true)).await.unwrap();
        assert_eq!(driver.inspect(&plan).await, AT_TARGET);
        let figures = driver.figures(&plan).await;
        println!(
            "{} to {}: {figures:?}, copying seen: {began}",
            plan.source, plan.target
        );
        assert!(figures.total_ms.unwrap() > 0.0);
        driver.discard(&plan, End::Source).await.unwrap();
        assert_eq!(driver.inspect(&plan).await, AT_TARGET);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_begin_is_refused_and_nothing_happens() {
    if !enabled() {
        return;
    }
    let cloud = tokio::task::spawn_blocking(OpenStack::begin).await.unwrap();
    let mut config = cloud.config();
    *config.hosts.values_mut().last().unwrap() = "nowhere".into();
    let driver = Nova::new(config).unwrap();
    let refused = end_of(driver.copy(&plan(0, 1), || ())).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    assert!(
        refused.to_string().contains("no compute host nowhere"),
        "{refused}"
    );
    let driver = Nova::new(cloud.config()).unwrap();
    let refused = end_of(driver.copy(&plan(1, 0), || ())).await.unwrap_err();
    assert!(
        refused.to_string().contains("the server is on hosta"),
        "{refused}"
    );
    // Nova takes this one, and finds out later that it cannot be.
    let failed = end_of(driver.copy(&plan(0, 0), || ())).await.unwrap_err();
    println!("to its own host: {failed}");
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_SOURCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_move_leaves_the_server_where_it_was() {
    if !enabled() {
        return;
    }
    let cloud = tokio::task::spawn_blocking(OpenStack::begin).await.unwrap();
    let driver = Arc::new(Nova::new(cloud.config()).unwrap());
    let copying = Arc::clone(&driver);
    let copy = tokio::spawn(async move { end_of(copying.copy(&plan(0, 1), || ())).await });
    let running = || {
        let moves = cloud.migrations();
        moves.iter().any(|one| one["status"] == "running")
    };
    tokio::task::block_in_place(|| wait_or(running, || format!("{:#}", cloud.server())));
    driver.cancel(&plan(0, 1)).await.unwrap();
    let ended = copy.await.unwrap().unwrap_err();
    println!("{ended}");
    assert!(matches!(ended, DriverError::Uncertain { .. }), "{ended}");
    driver.discard(&plan(0, 1), End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_SOURCE);
    // Nothing is left of it that could keep the next one.
    end_of(driver.copy(&plan(0, 1), || ())).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_TARGET);
}

#[test]
fn an_operator_moves_a_server() {
    if !enabled() {
        return;
    }
    let mut site = Site::of(Box::new(OpenStack::begin()), HOSTS[0], Trust::Automatic);
    site.start_and_hear();
    // The configuration says otherwise, and Nova on a busy machine answers later than agents do.
    site.wait_for("where it is", |site| site.where_is() == HOSTS[0]);
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("the move", |site| site.where_is() == HOSTS[1]);
    assert_eq!(site.runners(), [HOSTS[1]]);
    let moved = &site.ask("moves")[0];
    assert_eq!(moved["verdict"], "moved", "{moved}");
    // What was heard of both hosts before a move says nothing of them after it.
    site.wait_for("samples", |site| site.ask("status")["hosts_fresh"] == 2);
    // Killed in mid-move, it looks before it does anything.
    site.words(&format!("move {FUNCTION} {}", HOSTS[0]));
    std::thread::sleep(Duration::from_secs(2));
    site.kill();
    site.start();
    site.wait_for("a verdict", |site| {
        site.ask("moves")
            .as_array()
            .unwrap()
            .iter()
            .all(|moved| moved["verdict"].is_string())
    });
    let runners = site.runners();
    assert_eq!(runners, [site.where_is()], "{}", site.log());
}

/// All of the tests above have the driver come as a user with a role of its own: it may do what they need, and not what they do not.
#[test]
fn the_role_of_the_driver_permits_nothing_else() {
    if !enabled() {
        return;
    }
    let cloud = OpenStack::begin();
    let mover = User::mover();
    let action = format!("/servers/{}/action", cloud.server);
    for forbidden in [
        json!({ "os-stop": null }),
        json!({ "reboot": { "type": "HARD" } }),
        json!({ "migrate": null }),
        json!({ "os-resetState": { "state": "error" } }),
    ] {
        assert_eq!(mover.refusal("compute", &action, &forbidden), 403);
    }
    let flavor = json!({ "flavor": { "name": "own", "ram": 64, "vcpus": 1, "disk": 1 } });
    assert_eq!(mover.refusal("compute", "/flavors", &flavor), 403);
    assert_eq!(cloud.server()["status"], "ACTIVE");
}

//! The QEMU driver on real QEMU processes: its options, one by one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::machines::{Machines, Qemus};
use common::plan;
use common::site::{FAST, HOSTS};
use drivers::qemu::QemuConfig;
use drivers::{Driver, Plan, Qemu};
use record::Residency::{Absent, Paused, Running};
use record::decision::End;
use serde_json::json;

fn driver(qemus: &Qemus) -> Qemu {
    let config: QemuConfig = serde_json::from_value(qemus.engine()["qemu"].clone()).unwrap();
    Qemu::new(config)
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

#[tokio::test(flavor = "multi_thread")]
async fn monitors_at_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = format!("unix:{}/HOST", folder.path().display());
    let qemus = Qemus::with(FAST, json!({ "monitor": monitor }), "");
    qemus.begin(0);
    let driver = driver(&qemus);
    move_over(&driver, &plan(0, 1)).await;
    move_over(&driver, &plan(1, 0)).await;
    // It leaves its socket behind.
    qemus.crash(0);
    assert!(folder.path().join(HOSTS[0]).exists());
    assert_eq!(driver.inspect(&plan(1, 0)).await, (Absent, Absent));
}

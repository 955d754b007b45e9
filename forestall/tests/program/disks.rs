//! Disks of the QEMU driver: shared, mirrored, or refused by name. On real QEMU processes whose guest writes to its disk.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::common::guest;
use crate::common::machines::{Machines, Qemus};
use crate::common::plan;
use crate::common::site::{FAST, FUNCTION, HOSTS, SLOW};
use crate::qemu::{Copied, NAMES, copy, driver, is_well, migration, tls, until};
use drivers::{Driver, DriverError, Qemu};
use nix::sys::signal::Signal;
use record::Residency::{Absent, Paused, Running};
use record::decision::End;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// QEMU processes whose guest boots from a disk and writes to it.
fn disk_qemus(image: &Path, options: Value) -> Qemus {
    guest::write_image(image);
    let words = format!("-drive if=ide,format=raw,file={}", image.display());
    let qemus = Qemus::with(FAST, options, &words);
    qemus.begin(0);
    qemus
}

/// Whether a QEMU that is none of ours may write to an image: QEMU locks it.
fn may_be_opened(image: &Path) -> bool {
    let words = format!(
        "-machine pc,accel=tcg -nodefaults -display none -S -qmp stdio -drive if=ide,format=raw,file={}",
        image.display()
    );
    let mut stranger = Command::new("qemu-system-x86_64")
        .args(words.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let quit = "{\"execute\": \"qmp_capabilities\"}{\"execute\": \"quit\"}\n";
    // It may have ended already, which is an answer.
    drop(stranger.stdin.take().unwrap().write_all(quit.as_bytes()));
    stranger.wait().unwrap().success()
}

/// The guest writes to an image.
async fn writes_to(image: &Path) {
    let before = guest::count_on_disk(image);
    let more = || guest::count_on_disk(image) > before;
    until("the guest writes", more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_disk_goes_over_with_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    let options = json!({ "disks": { FUNCTION: { "ide0-hd0": "shared" } } });
    let qemus = disk_qemus(&image, options);
    let driver = driver(&qemus);
    for (from, to) in [(0, 1), (1, 0)] {
        let plan = plan(from, to);
        writes_to(&image).await;
        assert!(!may_be_opened(&image));
        driver.copy(&plan, || ()).await.unwrap();
        assert_eq!(driver.inspect(&plan).await, (Paused, Paused));
        driver.run(&plan, End::Target).await.unwrap();
        let written = guest::count_on_disk(&image);
        // Whoever told the source to go on would be told that the disk is another's.
        assert!(qemus.ask(from, "cont", &json!({})).is_null());
        assert_eq!(driver.inspect(&plan).await, (Running, Paused));
        assert!(!may_be_opened(&image));
        driver.discard(&plan, End::Source).await.unwrap();
        writes_to(&image).await;
        is_well(&qemus, to).await;
        assert!(guest::count_on_disk(&image) > written);
    }
    qemus.crash(0);
    until("the lock is gone", || may_be_opened(&image)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_would_stay_behind_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    let options = json!({ "disks": { FUNCTION: { "ide0-hd1": "shared" } } });
    let qemus = disk_qemus(&image, options);
    let driver = driver(&qemus);
    let refused = driver.copy(&plan(0, 1), || ()).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    for words in ["ide0-hd0", image.to_str().unwrap()] {
        assert!(refused.to_string().contains(words), "{refused}");
    }
    // Not even a QEMU was started.
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
}

/// Bytes of a disk that is mirrored, and the rate at which it is: a second or two.
const DISK_BYTES: u64 = 8 << 20;
const DISK_RATE: u64 = 6 << 20;
/// What QEMU calls the disks of `mirrored_qemus`.
const DISKS: [&str; 2] = ["ide0-hd0", "ide0-hd1"];

/// Where a host has its image of one of them.
fn own_image(folder: &Path, disk: &str, host: usize) -> PathBuf {
    folder.join(format!("{disk}-{}", HOSTS[host]))
}

/// QEMU processes whose guest boots from a disk, writes to it, and has another. Each host has images of its own, and those of the
/// second host are full of something else.
fn mirrored_qemus(folder: &Path, bytes_per_s: u64, mut options: Value, words: &str) -> Qemus {
    let noise: Vec<u8> = (0..DISK_BYTES).map(|at| (at % 251) as u8).collect();
    let mut words = words.to_owned();
    for disk in DISKS {
        let image = own_image(folder, disk, 0);
        fs::write(&image, &noise).unwrap();
        if disk == DISKS[0] {
            let boots = folder.join("boots");
            guest::write_image(&boots);
            let image = fs::File::options().write(true).open(image).unwrap();
            image.write_all_at(&fs::read(boots).unwrap(), 0).unwrap();
        }
        fs::write(own_image(folder, disk, 1), vec![0xee; noise.len()]).unwrap();
        let image = folder.join(format!("{disk}-HOST"));
        words += &format!(" -drive if=ide,format=raw,file={}", image.display());
    }
    options["disks"] = json!({ FUNCTION: { DISKS[0]: "mirrored", DISKS[1]: "mirrored" } });
    let qemus = Qemus::with(bytes_per_s, options, &words);
    qemus.begin(0);
    qemus
}

/// Fills 4 KiB of a disk with a byte, by way of the QEMU that has it: as the guest would.
fn fill(qemus: &Qemus, host: usize, disk: &str, at: u64, byte: u8) {
    let line = json!({ "command-line": format!("qemu-io {disk} \"write -P {byte} {at} 4k\"") });
    let done = qemus.ask(host, "human-monitor-command", &line);
    assert!(!done.is_null());
}

fn is_filled(image: &Path, at: u64, byte: u8) -> bool {
    let mut page = [0; 4096];
    let image = fs::File::open(image).unwrap();
    image.read_exact_at(&mut page, at).unwrap();
    page == [byte; 4096]
}

/// Status of the jobs that mirror.
fn mirror_jobs(qemus: &Qemus, host: usize) -> Vec<Value> {
    let jobs = qemus.ask(host, "query-jobs", &json!({}));
    let jobs = jobs.as_array().cloned().unwrap_or_default();
    jobs.into_iter()
        .map(|mut job| job["status"].take())
        .collect()
}

fn takes_disks(qemus: &Qemus, host: usize) -> bool {
    TcpStream::connect(("127.0.0.1", qemus.disks_port(host))).is_ok()
}

/// No mirror has left anything: no job, no node, no port.
async fn is_clean(qemus: &Qemus, source: usize, target: usize) {
    let nodes = qemus.ask(source, "query-named-block-nodes", &json!({ "flat": true }));
    let nodes = nodes.as_array().expect("no QEMU at the source");
    let drivers: Vec<&Value> = nodes.iter().map(|node| &node["drv"]).collect();
    let is_own = |driver: &&Value| **driver == "raw" || **driver == "file";
    assert!(drivers.iter().all(is_own), "{drivers:?}");
    assert_eq!(mirror_jobs(qemus, source), Vec::<Value>::new());
    // A QEMU that has ended gives its monitor back first.
    until("the port is closed", || !takes_disks(qemus, target)).await;
}

/// A move in which the disks are written to before and while they are mirrored.
async fn move_with_disks(folder: &Path, qemus: &Qemus, (from, to): (usize, usize)) {
    let driver = Arc::new(driver(qemus));
    let plan = plan(from, to);
    let [here, there] = [from, to].map(|host| DISKS.map(|disk| own_image(folder, disk, host)));
    writes_to(&here[0]).await;
    // In what is copied first, and in what is copied last.
    let before = [1 << 20, DISK_BYTES - (4 << 10)];
    let meanwhile = [(1 << 20) + (4 << 10), DISK_BYTES - (8 << 10)];
    // Other bytes on the way back.
    let byte = 0x10 * (from as u8 + 1);
    for at in before {
        fill(qemus, from, DISKS[1], at, byte);
    }
    let copying = copy(&driver, plan.clone());
    until("a quarter of the disks is copied", || {
        let jobs = qemus.ask(from, "query-jobs", &json!({}));
        let jobs = jobs.as_array().cloned().unwrap_or_default();
        let has_quarter = |job: &Value| job["current-progress"].as_u64() > Some(DISK_BYTES / 4);
        jobs.len() == DISKS.len() && jobs.iter().all(has_quarter)
    })
    .await;
    for at in meanwhile {
        fill(qemus, from, DISKS[1], at, byte + 1);
    }
    // Still: what was written is to be copied once more, or for the first time.
    assert_eq!(mirror_jobs(qemus, from), ["running", "running"]);
    copying.await.unwrap().unwrap();
    assert_eq!(driver.inspect(&plan).await, (Paused, Paused));
    for (here, there) in here.iter().zip(&there) {
        assert!(fs::read(here).unwrap() == fs::read(there).unwrap());
    }
    for (places, byte) in [(before, byte), (meanwhile, byte + 1)] {
        for at in places {
            assert!(is_filled(&there[1], at, byte));
        }
    }
    is_clean(qemus, from, to).await;
    driver.run(&plan, End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan).await, (Running, Paused));
    driver.discard(&plan, End::Source).await.unwrap();
    let left = fs::read(&here[0]).unwrap();
    writes_to(&there[0]).await;
    is_well(qemus, to).await;
    // The old image is nobody's.
    assert!(fs::read(&here[0]).unwrap() == left);
    assert!(!may_be_opened(&there[0]) && may_be_opened(&here[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_disks_have_at_the_target_what_was_written_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let qemus = mirrored_qemus(folder.path(), DISK_RATE, json!({}), "");
    move_with_disks(folder.path(), &qemus, (0, 1)).await;
    // And back, over what was left there.
    move_with_disks(folder.path(), &qemus, (1, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_disks_go_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (words, options) = tls(folder.path(), NAMES);
    let qemus = mirrored_qemus(folder.path(), DISK_RATE, options, &words);
    move_with_disks(folder.path(), &qemus, (0, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_disks_do_not_go_to_a_peer_with_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let (words, options) = tls(folder.path(), [NAMES[0], "somebody.example"]);
    let qemus = mirrored_qemus(folder.path(), DISK_RATE, options, &words);
    let driver = driver(&qemus);
    let error = driver.copy(&plan(0, 1), || ()).await.unwrap_err();
    assert!(error.to_string().contains("blockdev-add"), "{error}");
    stays(folder.path(), &qemus, &driver).await;
}

/// The move from the first host was given up: it is cleared away, the guest goes on with its own disks, and nothing is left.
async fn stays(folder: &Path, qemus: &Qemus, driver: &Qemu) {
    let plan = plan(0, 1);
    assert_eq!(driver.inspect(&plan).await, (Absent, Running));
    driver.discard(&plan, End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan).await, (Absent, Running));
    is_clean(qemus, 0, 1).await;
    for disk in DISKS {
        assert!(may_be_opened(&own_image(folder, disk, 1)));
    }
    writes_to(&own_image(folder, DISKS[0], 0)).await;
    is_well(qemus, 0).await;
}

/// A move in the middle of the disks.
async fn mirroring(folder: &Path, bytes_per_s: u64) -> (Qemus, Arc<Qemu>, JoinHandle<Copied>) {
    let qemus = mirrored_qemus(folder, bytes_per_s, json!({}), "");
    let driver = Arc::new(driver(&qemus));
    assert!(!takes_disks(&qemus, 1));
    let copying = copy(&driver, plan(0, 1));
    until("the disks are being copied", || {
        mirror_jobs(&qemus, 0) == ["running", "running"]
    })
    .await;
    assert!(takes_disks(&qemus, 1));
    for disk in DISKS {
        assert!(!may_be_opened(&own_image(folder, disk, 1)));
    }
    (qemus, driver, copying)
}

#[tokio::test(flavor = "multi_thread")]
async fn mirroring_that_is_called_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (qemus, driver, copying) = mirroring(folder.path(), SLOW).await;
    driver.cancel(&plan(0, 1)).await.unwrap();
    let error = copying.await.unwrap().unwrap_err();
    assert!(matches!(error, DriverError::Uncertain { .. }), "{error}");
    stays(folder.path(), &qemus, &driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirroring_that_nobody_goes_on_with_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let (qemus, _, copying) = mirroring(folder.path(), SLOW).await;
    // The orchestrator dies, and another knows nothing but what it sees.
    copying.abort();
    copying.await.unwrap_err();
    stays(folder.path(), &qemus, &driver(&qemus)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_while_disks_are_mirrored_takes_nothing_along() {
    let folder = tempfile::tempdir().unwrap();
    let (qemus, driver, copying) = mirroring(folder.path(), SLOW).await;
    qemus.crash(1);
    copying.await.unwrap().unwrap_err();
    stays(folder.path(), &qemus, &driver).await;
}

/// Rate of memory alone: the disks are mirrored as fast as the driver has said.
fn limit_memory(qemus: &Qemus, bytes_per_s: u64) {
    let parameters = json!({ "max-bandwidth": bytes_per_s });
    let done = qemus.ask(0, "migrate-set-parameters", &parameters);
    assert!(!done.is_null());
}

/// A move of which all disks are at the target but for what the guest is writing, in the middle of its memory.
async fn disks_are_there(folder: &Path) -> (Qemus, Arc<Qemu>, JoinHandle<Copied>) {
    let qemus = mirrored_qemus(folder, DISK_RATE, json!({}), "");
    let driver = Arc::new(driver(&qemus));
    let copying = copy(&driver, plan(0, 1));
    until("the disks are being copied", || {
        mirror_jobs(&qemus, 0).len() == DISKS.len()
    })
    .await;
    limit_memory(&qemus, SLOW);
    until("memory is being copied", || {
        migration(&qemus, 0) == "active"
    })
    .await;
    assert_eq!(mirror_jobs(&qemus, 0), ["ready", "ready"]);
    (qemus, driver, copying)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_with_its_disks_goes_on_at_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let (qemus, _, copying) = disks_are_there(folder.path()).await;
    copying.abort();
    copying.await.unwrap_err();
    limit_memory(&qemus, FAST);
    until("the source has stopped the guest", || {
        migration(&qemus, 0) == "pre-switchover"
    })
    .await;
    let driver = driver(&qemus);
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Paused));
    driver.run(&plan(0, 1), End::Source).await.unwrap();
    until("the guest goes on", || qemus.runs(0)).await;
    stays(folder.path(), &qemus, &driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_get_through_keeps_the_guest_at_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let (qemus, driver, copying) = disks_are_there(folder.path()).await;
    // What is left of memory goes into the sockets of a target that is frozen; of a disk each write is answered.
    qemus.signal(1, Signal::SIGSTOP);
    limit_memory(&qemus, FAST);
    let error = copying.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    until("the guest goes on", || qemus.runs(0)).await;
    qemus.signal(1, Signal::SIGCONT);
    stays(folder.path(), &qemus, &driver).await;
    // Nothing is in the way of the next move.
    move_with_disks(folder.path(), &qemus, (0, 1)).await;
}

/// Whether a move is refused in words with these in them, and nothing was started.
async fn is_refused(qemus: &Qemus, words: &[&str]) {
    let driver = driver(qemus);
    let refused = driver.copy(&plan(0, 1), || ()).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    for words in words {
        assert!(refused.to_string().contains(words), "{refused}");
    }
    assert_eq!(driver.inspect(&plan(0, 1)).await, (Absent, Running));
    is_clean(qemus, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirrored_disk_needs_an_image_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let qemus = mirrored_qemus(folder.path(), FAST, json!({}), "");
    let images = [0, 1].map(|host| own_image(folder.path(), DISKS[1], host));
    let names = images.each_ref().map(|image| image.to_str().unwrap());
    for bytes in [DISK_BYTES / 2, 2 * DISK_BYTES] {
        let file = fs::File::options().write(true).open(&images[1]);
        file.unwrap().set_len(bytes).unwrap();
        is_refused(&qemus, &[DISKS[1], names[0], names[1], &bytes.to_string()]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirrored_disk_needs_an_image_that_nobody_writes_to() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    // The hosts have it in common after all.
    let options = json!({ "disks": { FUNCTION: { DISKS[0]: "mirrored" } } });
    let qemus = disk_qemus(&image, options);
    is_refused(&qemus, &[DISKS[0], image.to_str().unwrap(), "lock"]).await;
    writes_to(&image).await;
}

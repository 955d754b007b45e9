//! The libvirt driver on two real libvirtd. Needs root and the packages that `make test` installs; it runs when
//! `FORESTALL_LAB_TESTS` is set, as `make test` does.

mod remote;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::figures::{Row, qemu, said, times};
use crate::common::libvirtd::{FAST, Libvirts, SLOW};
use crate::common::site::{FUNCTION, HOSTS, Site};
use crate::common::{COPY_WITHIN, POLL, end_of, plan, wait_for, wait_or};
use control::Trust;
use drivers::libvirt::{self, LibvirtConfig};
use drivers::tagged::Found;
use drivers::{Driver, DriverError, Libvirt, Plan};
use record::decision::End;
use record::{Residency, VmName};
use serde_json::{Value, json};

/// Whether these tests may run; says how when not.
fn enabled() -> bool {
    let enabled = std::env::var_os("FORESTALL_LAB_TESTS").is_some();
    if !enabled {
        println!("skipped: needs root and libvirt; `make test` installs it and runs this");
    }
    enabled
}

fn wait_for_job(site: &Libvirts, host: usize) {
    wait_or(
        || {
            !site.hosts[host]
                .say(&["domjobinfo", FUNCTION])
                .contains("None")
        },
        || "no job began".into(),
    );
}

/// So often pre-copy has sent the guest's memory, and begins again.
const PASSES: u64 = 8;
const AT_TARGET: (Residency, Residency) = (Residency::Running, Residency::Absent);
const AT_SOURCE: (Residency, Residency) = (Residency::Absent, Residency::Running);

#[tokio::test]
async fn a_domain_moves_there_and_back() {
    if !enabled() {
        return;
    }
    for persistent in [false, true] {
        let site = Libvirts::new(FAST);
        if persistent {
            site.hosts[0].begin_persistent();
        } else {
            site.hosts[0].begin();
        }
        let driver = Libvirt::new(site.config());
        for plan in [plan(0, 1), plan(1, 0)] {
            assert_eq!(driver.inspect(&plan).await, AT_SOURCE);
            let mut began = false;
            end_of(driver.copy(&plan, || began = true)).await.unwrap();
            assert!(began);
            assert_eq!(driver.inspect(&plan).await, AT_TARGET);
            let figures = driver.figures(&plan).await;
            assert!(
                figures.total_ms.unwrap() >= figures.downtime_ms.unwrap(),
                "{figures:?}"
            );
            driver.discard(&plan, End::Source).await.unwrap();
        }
        // A definition that stayed behind could be started, and the guest would run twice.
        assert!(
            site.hosts[0].knows() && !site.hosts[1].knows(),
            "{persistent}"
        );
        // Whatever is asked for, a guest that runs is not cleared away.
        let refused = driver.discard(&plan(0, 1), End::Source).await.unwrap_err();
        assert!(refused.to_string().contains("Running"), "{refused}");
        assert!(site.hosts[0].runs());
    }
}

#[tokio::test]
async fn a_definition_that_stayed_behind_is_taken_away() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(FAST);
    site.hosts[0].begin();
    let driver = Libvirt::new(site.config());
    end_of(driver.copy(&plan(0, 1), || ())).await.unwrap();
    // As when the source was not told of the end of a migration that it should have forgotten the guest with.
    site.hosts[0].define();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_TARGET);
    driver.discard(&plan(0, 1), End::Source).await.unwrap();
    assert!(!site.hosts[0].knows());
    assert!(site.hosts[1].runs());
}

#[tokio::test]
async fn what_cannot_begin_is_refused_and_nothing_happens() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(FAST);
    let driver = Libvirt::new(site.config());
    let refused = end_of(driver.copy(&plan(0, 1), || ())).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("does not run on"), "{refused}");
    assert_eq!(
        driver.inspect(&plan(0, 1)).await,
        (Residency::Absent, Residency::Absent)
    );
    site.hosts.iter().for_each(|host| host.begin());
    let refused = end_of(driver.copy(&plan(0, 1), || ())).await.unwrap_err();
    assert!(refused.to_string().contains("already"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_move_leaves_the_guest_where_it_was() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(SLOW);
    site.hosts[0].begin();
    let driver = Arc::new(Libvirt::new(site.config()));
    let copying = Arc::clone(&driver);
    let copy = tokio::spawn(async move { end_of(copying.copy(&plan(0, 1), || ())).await });
    wait_for_job(&site, 0);
    let copied = async {
        loop {
            match driver.progress(&plan(0, 1)).await {
                Some(progress) if progress.copied_bytes > 0 => return progress,
                _ => tokio::time::sleep(POLL).await,
            }
        }
    };
    let progress = end_of(copied).await;
    assert!(progress.total_bytes > 0, "{progress:?}");
    driver.cancel(&plan(0, 1)).await.unwrap();
    let ended = copy.await.unwrap().unwrap_err();
    assert!(matches!(ended, DriverError::Uncertain { .. }), "{ended}");
    assert_eq!(driver.inspect(&plan(0, 1)).await.1, Residency::Running);
    driver.discard(&plan(0, 1), End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_SOURCE);
    // Nothing is left of it that could keep the next one.
    let fast = Libvirt::new(LibvirtConfig {
        bandwidth_mib_per_s: FAST,
        downtime_limit_ms: 300,
        ..site.config()
    });
    end_of(fast.copy(&plan(0, 1), || ())).await.unwrap();
    assert_eq!(fast.inspect(&plan(0, 1)).await, AT_TARGET);
}

#[tokio::test]
async fn a_host_says_what_its_guests_have_used() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(FAST);
    site.hosts[0].begin();
    let driver = Libvirt::new(site.config());
    let Plan { vm, source, .. } = plan(0, 1);
    let vms = [vm, VmName::new("of-nobody").unwrap()];
    let told = driver.cpu_times(&source, &vms).await;
    assert_eq!(told.problem, None);
    let used: Vec<_> = told.used.iter().collect();
    assert!(
        matches!(used[..], [(vm, used)] if *vm == vms[0] && !used.is_zero()),
        "{used:?}"
    );
    site.hosts[0].freeze();
    let told = driver.cpu_times(&source, &vms).await;
    assert!(told.used.is_empty() && told.problem.is_some(), "{told:?}");
    site.hosts[0].thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_comes_in_is_cleared_away_by_ending_its_migration() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(SLOW);
    site.hosts[0].begin();
    let driver = Arc::new(Libvirt::new(site.config()));
    let copying = Arc::clone(&driver);
    let copy = tokio::spawn(async move { end_of(copying.copy(&plan(0, 1), || ())).await });
    wait_for_job(&site, 0);
    // As after a restart: the orchestrator knows of the move, and not of its client.
    driver.discard(&plan(0, 1), End::Target).await.unwrap();
    copy.await.unwrap().unwrap_err();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_SOURCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_of_somebody_else_is_left_alone() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(SLOW);
    site.hosts[0].begin();
    let [other, driver] = [(); 2].map(|()| Arc::new(Libvirt::new(site.config())));
    let copying = Arc::clone(&other);
    let copy = tokio::spawn(async move { end_of(copying.copy(&plan(0, 1), || ())).await });
    wait_for_job(&site, 0);
    let refused = end_of(driver.copy(&plan(0, 1), || ())).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("somebody else"), "{refused}");
    for ended in [
        driver.cancel(&plan(0, 1)).await,
        driver.discard(&plan(0, 1), End::Target).await,
    ] {
        let why = ended.unwrap_err().to_string();
        assert!(why.contains("somebody else's"), "{why}");
    }
    assert!(!copy.is_finished());
    other.cancel(&plan(0, 1)).await.unwrap();
    copy.await.unwrap().unwrap_err();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_SOURCE);
}

/// What the guest writes to in a millisecond takes the line half a second: pre-copy has no end.
#[tokio::test(flavor = "multi_thread")]
async fn post_copy_ends_what_pre_copy_does_not() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(SLOW);
    site.hosts[0].begin();
    let _watching = site.hosts[0].watch();
    let driver = Libvirt::new(LibvirtConfig {
        post_copy_after_s: Some(1),
        ..site.config()
    });
    let begun = Instant::now();
    end_of(driver.copy(&plan(0, 1), || ())).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_TARGET);
    let told = site.hosts[0].told();
    assert!(told.contains("Suspended Post-copy"), "{told}");

    // The same guest goes on writing: without post-copy it is not back in twice that time, pass after pass.
    let driver = Arc::new(Libvirt::new(site.config()));
    let copying = Arc::clone(&driver);
    let copy = tokio::spawn(async move { end_of(copying.copy(&plan(1, 0), || ())).await });
    wait_for_job(&site, 1);
    let figure = |key| site.hosts[1].job_figure(key);
    let begun = Instant::now();
    while begun.elapsed() < 2 * took || figure("memory_iteration") < Some(PASSES) {
        assert!(!copy.is_finished(), "pre-copy ends by itself");
        assert!(begun.elapsed() < COPY_WITHIN, "it does not go round");
        tokio::time::sleep(POLL).await;
    }
    driver.cancel(&plan(1, 0)).await.unwrap();
    copy.await.unwrap().unwrap_err();
    driver.discard(&plan(1, 0), End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan(1, 0)).await, AT_SOURCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_libvirtd_that_does_not_answer_nothing_is_claimed() {
    if !enabled() {
        return;
    }
    let site = Libvirts::new(FAST);
    site.hosts[0].begin();
    let driver = Libvirt::new(site.config());
    site.hosts[1].freeze();
    assert_eq!(
        driver.inspect(&plan(0, 1)).await,
        (Residency::Unreachable, Residency::Running)
    );
    let refused = end_of(driver.copy(&plan(0, 1), || ())).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    site.hosts[1].thaw();
    end_of(driver.copy(&plan(0, 1), || ())).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_TARGET);
}

#[test]
fn a_domain_that_is_tagged_is_found_and_moved() {
    if !enabled() {
        return;
    }
    let libvirts = Arc::new(Libvirts::new(FAST));
    let mut site = Site::of(Box::new(Arc::clone(&libvirts)), HOSTS[0], Trust::Automatic);
    site.discover();
    let tag = ["metadata", FUNCTION, libvirt::tagged::NAMESPACE, "--live"];
    let set = ["--key", "forestall", "--set", "<function viewers=\"3\"/>"];
    let config = libvirts.config();
    let found =
        |runtime: &tokio::runtime::Runtime| runtime.block_on(libvirt::tagged::tagged(&config));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(found(&runtime), Found::default(), "it has no tag yet");
    libvirts.hosts[0].say(&[&tag[..], &set].concat());
    assert_eq!(found(&runtime).problems, Vec::<String>::new());

    site.start_and_hear();
    let functions = site.ask("functions");
    assert_eq!(functions[0]["viewers"], 3, "{functions}");
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("the move", |site| site.where_is() == HOSTS[1]);
    // Its tag goes with it. A host that says nothing hides what runs there, and nobody else's.
    libvirts.hosts[0].freeze();
    let found = found(&runtime);
    libvirts.hosts[0].thaw();
    assert_eq!(found.functions[0].host.as_str(), HOSTS[1], "{found:?}");
    assert!(found.problems[0].contains(HOSTS[0]), "{found:?}");
}

/// It is known by its tag alone. Of an incoming guest nobody says that it runs, and its source says nothing.
#[test]
fn a_tagged_domain_in_an_open_move_is_looked_at_though_its_libvirtd_is_silent() {
    if !enabled() {
        return;
    }
    let libvirts = Arc::new(Libvirts::new(SLOW));
    let mut site = Site::of(Box::new(Arc::clone(&libvirts)), HOSTS[0], Trust::Automatic);
    site.discover();
    let tag = ["metadata", FUNCTION, libvirt::tagged::NAMESPACE, "--live"];
    let set = ["--key", "forestall", "--set", "<function/>"];
    libvirts.hosts[0].say(&[&tag[..], &set].concat());
    site.start_and_hear();
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("copying", |_| {
        libvirts.hosts[0].job_figure("memory_processed") > Some(0)
    });
    site.kill();
    libvirts.hosts[0].freeze();
    site.start();
    site.wait_for("an alarm", |site| kinds(site).contains(&"alarm".into()));
    let status = site.ask("status");
    let silent = status["discovery"][0].as_str().unwrap();
    assert!(silent.contains(HOSTS[0]), "{status}");
    libvirts.hosts[0].thaw();
    site.wait_for("a verdict", |site| {
        site.ask("moves")[0]["verdict"].is_string()
    });
    let runners = site.runners();
    assert_eq!(runners.len(), 1, "{runners:?} {}", site.log());
    assert_eq!(site.where_is(), runners[0]);
}

#[test]
fn an_operator_moves_a_domain_and_its_orchestrator_is_killed_in_between() {
    if !enabled() {
        return;
    }
    let mut site = Site::of(Box::new(Libvirts::new(FAST)), HOSTS[0], Trust::Automatic);
    site.start_and_hear();
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("the move", |site| site.where_is() == HOSTS[1]);
    assert_eq!(site.runners(), [HOSTS[1]]);
    let moved = &site.ask("moves")[0];
    assert_eq!(moved["verdict"], "moved", "{moved}");
    // The next is expected to take as long: nobody but libvirt lets it run at the target.
    assert!(moved["took_ms"].as_f64() > Some(0.0), "{moved}");
    drop(site);

    let mut site = Site::of(Box::new(Libvirts::new(SLOW)), HOSTS[0], Trust::Automatic);
    site.start_and_hear();
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("copying", |site| {
        site.ask("status")["moves"][0]["stage"] == "copying"
    });
    std::thread::sleep(Duration::from_millis(500));
    site.kill();
    site.start();
    site.wait_for("a verdict", |site| {
        site.ask("moves")[0]["verdict"].is_string()
    });
    let runners = site.runners();
    assert_eq!(runners.len(), 1, "{runners:?} {}", site.log());
    assert_eq!(site.where_is(), runners[0]);
}

/// Looks at both QEMU processes again and again, whether a libvirtd answers or not.
struct Watch {
    over: Arc<AtomicBool>,
    looks: JoinHandle<Looks>,
}

/// How often the guest was seen to run so.
#[derive(Debug, Default)]
struct Looks {
    once: usize,
    twice: usize,
    nowhere: usize,
}

impl Watch {
    fn begin(site: &Arc<Libvirts>) -> Self {
        let over = Arc::<AtomicBool>::default();
        let (site, ends) = (Arc::clone(site), Arc::clone(&over));
        let looks = thread::spawn(move || {
            let mut looks = Looks::default();
            while !ends.load(Ordering::Relaxed) {
                match [0, 1].map(|host| site.hosts[host].executes()) {
                    [true, true] => looks.twice += 1,
                    [false, false] => looks.nowhere += 1,
                    _ => looks.once += 1,
                }
                thread::sleep(POLL);
            }
            looks
        });
        Self { over, looks }
    }

    fn end(self) -> Looks {
        self.over.store(true, Ordering::Relaxed);
        self.looks.join().unwrap()
    }
}

/// What was decided of the first move, one after the other.
fn kinds(site: &Site) -> Vec<String> {
    let why = site.ask("why 1");
    let all = why["decisions"].as_array().unwrap();
    let kind = |one: &Value| one["kind"].as_str().unwrap().to_owned();
    all.iter().map(kind).collect()
}

/// A row of what happens when a libvirtd is gone in the middle of a move.
fn row(fault: &str, tries: u32) -> Row {
    let engine = format!("libvirt {}, {}", said("virsh", &["--version"]), qemu());
    let promise = "nothing is done while unknown, an alarm, no second move; one end runs; a verdict when libvirtd is back";
    Row::new(fault, promise, &engine, tries)
}

/// A libvirtd, or both, is killed while the guest is copied, and comes back after a while. `meanwhile` happens when nobody knows any
/// more how the move ends.
fn libvirtd_is_gone(row: &mut Row, gone: &[usize], meanwhile: impl FnOnce(&Libvirts)) -> Looks {
    let machines = Arc::new(Libvirts::new(SLOW));
    let mut site = Site::of(Box::new(Arc::clone(&machines)), HOSTS[0], Trust::Automatic);
    site.start_and_hear();
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("copying", |_| {
        machines.hosts[0].job_figure("memory_processed") > Some(0)
    });
    let watch = Watch::begin(&machines);
    // At one time: one that is there still would end the migration when the other's connection breaks.
    for host in gone {
        machines.hosts[*host].freeze();
    }
    for host in gone {
        machines.hosts[*host].kill();
    }
    site.wait_for("an alarm", |site| kinds(site).contains(&"alarm".into()));
    meanwhile(&machines);
    // Some inspections more: nothing is touched, and nothing else begins.
    thread::sleep(Duration::from_secs(2));
    let done = kinds(&site);
    let acts = |kind: &&String| ["run", "discard", "cancel", "settled"].contains(&kind.as_str());
    assert_eq!(done.iter().find(acts), None, "{done:?}");
    assert!(site.log().contains("ALARM: Unknown"), "{}", site.log());
    let refusal = site.refusal(&format!("move {FUNCTION} {}", HOSTS[1]));
    assert!(refusal.contains("move 1 is under way"), "{refusal}");
    for host in gone {
        machines.hosts[*host].come_back();
    }
    let back = Instant::now();
    site.wait_for("a verdict", |site| {
        site.ask("moves")[0]["verdict"].is_string()
    });
    let took = back.elapsed();
    assert_eq!(site.ask("moves")[0]["verdict"], "stayed", "{}", site.log());
    site.wait_for("the end of the alarm", |site| {
        site.log().contains("alarm over: Unknown")
    });
    wait_for("the guest runs there", || machines.hosts[0].executes());
    assert_eq!(site.runners(), [HOSTS[0]]);
    let executes = machines.hosts.iter().filter(|host| host.executes());
    row.add(took, "stayed", executes.count());
    let looks = watch.end();
    assert!(looks.once > 0, "{looks:?}");
    // Nothing is left of it that could keep the next move.
    assert!(!machines.hosts[1].knows());
    assert_eq!(site.ask("moves").as_array().unwrap().len(), 1);
    looks
}

#[test]
fn the_libvirtd_of_the_source_is_gone_while_copying() {
    if !enabled() {
        return;
    }
    let tries = times(5, 1);
    let mut row = row("libvirtd of the source killed while copying", tries);
    for _ in 0..tries {
        let looks = libvirtd_is_gone(&mut row, &[0], |_| ());
        assert_eq!((looks.twice, looks.nowhere), (0, 0), "{looks:?}");
    }
    row.keep();
}

#[test]
fn the_libvirtd_of_the_target_is_gone_while_copying() {
    if !enabled() {
        return;
    }
    let tries = times(5, 1);
    let mut row = row("libvirtd of the target killed while copying", tries);
    for _ in 0..tries {
        let looks = libvirtd_is_gone(&mut row, &[1], |_| ());
        assert_eq!((looks.twice, looks.nowhere), (0, 0), "{looks:?}");
    }
    row.keep();
}

/// QEMU stops the guest for the last pages, and waits for a word of its libvirtd: it stands still until that is back.
#[test]
fn both_libvirtd_are_gone_at_the_switchover() {
    if !enabled() {
        return;
    }
    let tries = times(5, 1);
    let mut row = row("both libvirtd killed, at the switchover", tries);
    let reach_switchover = |site: &Libvirts| {
        let source = &site.hosts[0];
        let fast = json!({ "max-bandwidth": FAST << 20, "downtime-limit": 2000 });
        assert_ne!(source.qemu("migrate-set-parameters", &fast), Value::Null);
        let migration = || source.qemu("query-migrate", &json!({}));
        wait_or(
            || migration()["status"] == "pre-switchover",
            || format!("no switchover: {}", migration()),
        );
        assert!(!source.executes() && !site.hosts[1].executes());
    };
    for _ in 0..tries {
        let looks = libvirtd_is_gone(&mut row, &[0, 1], reach_switchover);
        assert_eq!(looks.twice, 0, "{looks:?}");
        assert!(looks.nowhere > 0, "{looks:?}");
    }
    row.keep();
}

//! Faults in the middle of a move of real QEMU processes, again and again. In `make test` each a few times; `make test-faults`
//! makes them as often as docs/reliability.json says, and writes it.
//!
//! Each test is in a network of its own, in which lines can be cut. Needs root; runs when `FORESTALL_LAB_TESTS` is set.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::figures::{Row, qemu, times, within};
use crate::common::machines::{Machines, Qemus};
use crate::common::site::{FAST, FUNCTION, HOSTS, SLOW, Site};
use crate::common::{GIVE_UP, free_tcp_port, wait_or};
use crate::qemu::migration;
use control::Trust;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::json;

/// Records that the journal has of a move of QEMU's that arrives: `start`, copying began, `inspect`, `run`, it runs there, `inspect`,
/// `discard`, the engine's figures, `inspect`, `settled`.
const RECORDS: u32 = 10;

/// How often a fault is made, in `make test-faults` and in `make test`; 0 where these tests may not run. Puts the test into a network of its own.
fn tries(often: u32, seldom: u32) -> u32 {
    if std::env::var_os("FORESTALL_LAB_TESTS").is_none() {
        println!("skipped: needs root and QEMU; `make test` runs this");
        return 0;
    }
    unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own needs root");
    run("ip", "link set lo up");
    times(often, seldom)
}

fn run(program: &str, words: &str) {
    let status = Command::new(program)
        .args(words.split_whitespace())
        .status();
    let status =
        status.unwrap_or_else(|error| panic!("{program}: {error}: scripts/setup.sh --tests"));
    assert!(status.success(), "{program} {words}");
}

/// A machine that is copied at this rate in bytes per second, and an orchestrator, not begun yet.
fn site(bytes_per_s: u64) -> (Site, Arc<Qemus>) {
    let qemus = Arc::new(Qemus::new(bytes_per_s));
    let site = Site::of(Box::new(Arc::clone(&qemus)), HOSTS[0], Trust::Automatic);
    (site, qemus)
}

/// The same, where copying takes seconds, and the orchestrator has heard both hosts.
fn slow_site() -> (Site, Arc<Qemus>) {
    let (mut site, qemus) = site(SLOW);
    site.start_and_hear();
    (site, qemus)
}

/// The hosts that the function is on and is not on.
fn ends(site: &Site) -> (usize, usize) {
    if site.where_is() == HOSTS[0] {
        (0, 1)
    } else {
        (1, 0)
    }
}

/// Orders a move to the other host, and returns its number once the guest's memory goes there.
fn begin_move(site: &Site, qemus: &Qemus) -> usize {
    site.wait_for("samples", |site| site.ask("status")["hosts_fresh"] == 2);
    let target = ends(site).1;
    site.words(&format!("move {FUNCTION} {}", HOSTS[target]));
    site.wait_for("copying", |_| qemus.is_copied_to(target));
    // The newest that are listed, which are not all.
    let moves = site.ask("moves");
    let numbers = moves
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["migration"].as_u64());
    numbers.max().flatten().unwrap() as usize
}

fn verdict(site: &Site, number: usize) -> Option<String> {
    let moves = site.ask("moves");
    let all = moves.as_array().unwrap();
    let this = all.iter().find(|one| one["migration"] == number)?;
    this["verdict"].as_str().map(str::to_owned)
}

fn wait_for_verdict(site: &Site, number: usize) -> String {
    site.wait_for("a verdict", |site| verdict(site, number).is_some());
    verdict(site, number).unwrap()
}

/// Waits until the journal has so many records of a move, or no more come; returns how many.
fn wait_for_records(journal: &Path, migration: u32, records: u32) -> u32 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let journal = rusqlite::Connection::open_with_flags(journal, flags).unwrap();
    let count = "SELECT (SELECT count(*) FROM decision WHERE migration = ?1) + (SELECT count(*) FROM fact WHERE migration = ?1)";
    let mut statement = journal.prepare(count).unwrap();
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let found: u32 = statement.query_row([migration], |row| row.get(0)).unwrap();
        if found != last {
            (last, since) = (found, Instant::now());
        }
        if found >= records || since.elapsed() > Duration::from_secs(10) {
            return found;
        }
    }
}

/// Spread over the time that copying takes.
fn moment(attempt: u32) {
    thread::sleep(Duration::from_millis(u64::from(attempt) * 137 % 1500));
}

#[test]
fn the_target_dies_while_copying() {
    let tries = tries(20, 2);
    if tries == 0 {
        return;
    }
    let mut row = Row::new(
        "target killed while copying",
        "the guest stays, 20 of 20",
        &qemu(),
        tries,
    );
    let (site, qemus) = slow_site();
    for attempt in 0..tries {
        let number = begin_move(&site, &qemus);
        moment(attempt);
        let at = Instant::now();
        site.crash(HOSTS[1]);
        let ended = wait_for_verdict(&site, number);
        row.add(at.elapsed(), &ended, site.runners().len());
        assert_eq!(
            (ended.as_str(), site.runners()),
            ("stayed", vec![HOSTS[0]]),
            "{}",
            site.log()
        );
    }
    row.keep();
}

#[test]
fn the_source_dies_while_copying() {
    let tries = tries(10, 1);
    let mut row = Row::new(
        "source killed while copying",
        "an alarm within 10 s, and nothing is started by itself",
        &qemu(),
        tries,
    );
    for attempt in 0..tries {
        let (site, qemus) = slow_site();
        let number = begin_move(&site, &qemus);
        moment(attempt);
        let at = Instant::now();
        site.crash(HOSTS[0]);
        site.wait_for("an alarm", |site| {
            let why = site.ask(&format!("why {number}"));
            why["decisions"]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["kind"] == "alarm")
        });
        let ended = wait_for_verdict(&site, number);
        row.add(at.elapsed(), &ended, site.runners().len());
        within(10, at.elapsed());
        assert_eq!(ended, "lost", "{}", site.log());
        assert!(site.runners().is_empty());
    }
    row.keep();
}

/// Waits without a pause until the QEMU of a host says that its guest does not run, or is gone.
fn wait_for_stop(site: &Site, qemus: &Qemus, host: usize) {
    let begun = Instant::now();
    let status = || qemus.ask(host, "query-status", &json!({}));
    while status()["running"] != false && qemus.is_there(host) {
        assert!(begun.elapsed() < GIVE_UP, "{}", site.log());
    }
}

#[test]
fn the_target_freezes() {
    let tries = tries(50, 2);
    if tries == 0 {
        return;
    }
    let mut row = Row::new(
        "target frozen at the switchover",
        "no split; the guest runs at the source again within 3 s, unless the source was told before that the target has everything: \
         then it runs at the target when that goes on",
        &qemu(),
        tries,
    );
    let (mut site, qemus) = site(FAST / 400);
    site.start_and_hear();
    for attempt in 0..tries {
        let number = begin_move(&site, &qemus);
        let (source, target) = ends(&site);
        if attempt % 2 == 0 {
            // While it is copied to, and still when the source stops the guest.
            thread::sleep(Duration::from_millis(u64::from(attempt) * 61 % 1300));
            assert!(qemus.signal(target, Signal::SIGSTOP));
            wait_for_stop(&site, &qemus, source);
        } else {
            // A moment before it says that it has everything, or a moment after.
            wait_for_stop(&site, &qemus, source);
            assert!(qemus.signal(target, Signal::SIGSTOP));
        }
        let at = Instant::now();
        let is_handed_over = || !qemus.is_there(source) || migration(&qemus, source) == "completed";
        wait_or(|| qemus.runs(source) || is_handed_over(), || site.log());
        let took = at.elapsed();
        let expected = if qemus.runs(source) {
            "stayed"
        } else {
            "moved"
        };
        qemus.signal(target, Signal::SIGCONT);
        let ended = wait_for_verdict(&site, number);
        let took = if ended == "stayed" {
            took
        } else {
            Duration::ZERO
        };
        row.add(took, &ended, site.runners().len());
        assert_eq!(ended, expected, "{}", site.log());
        assert_eq!(site.runners(), [site.where_is()], "{}", site.log());
        within(3, took);
    }
    row.keep();
}

/// How long a port at which a guest is taken was open at one time, looked for without a pause until it is over, or the test has failed.
fn longest_open(qemus: &Qemus, over: &AtomicBool) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    let begun = Instant::now();
    while !over.load(Ordering::Relaxed) && begun.elapsed() < GIVE_UP {
        let now = Instant::now();
        let listens = (0..2).any(|host| qemus.listens(host));
        since = listens.then(|| since.unwrap_or(now));
        longest = since.map_or(longest, |since| longest.max(now - since));
    }
    longest
}

/// Every other move does not get through to it: then it is open until the move is given up, which shows that it would be seen.
#[test]
fn the_port_for_a_guest_is_open_only_while_a_move_is_prepared() {
    let tries = tries(20, 2);
    if tries == 0 {
        return;
    }
    let mut row = Row::new(
        "the port at which a target takes a guest is looked for all the time",
        "closed before a move is prepared and after its verdict (in between QEMU keeps it open until all memory has come)",
        &qemu(),
        tries,
    );
    let (mut site, qemus) = site(FAST / 400);
    site.start_and_hear();
    for attempt in 1..=tries as usize {
        site.wait_for("samples", |site| site.ask("status")["hosts_fresh"] == 2);
        let target = ends(&site).1;
        let is_closed = || (0..2).all(|host| !qemus.listens(host));
        assert!(is_closed(), "{}", site.log());
        // Nobody listens there.
        let rule = format!(
            "OUTPUT -p tcp --dport {} -j REDIRECT --to-ports {}",
            qemus.incoming_port(target),
            free_tcp_port()
        );
        let gets_through = attempt % 2 == 1;
        if !gets_through {
            run("iptables", &format!("-w -t nat -I {rule}"));
        }
        let over = AtomicBool::new(false);
        let (ended, open) = thread::scope(|scope| {
            let watch = scope.spawn(|| longest_open(&qemus, &over));
            site.words(&format!("move {FUNCTION} {}", HOSTS[target]));
            let ended = wait_for_verdict(&site, attempt);
            over.store(true, Ordering::Relaxed);
            (ended, watch.join().unwrap())
        });
        assert!(is_closed(), "{}", site.log());
        row.add(open, &ended, site.runners().len());
        assert_eq!(site.runners(), [site.where_is()], "{}", site.log());
        if gets_through {
            assert_eq!(ended, "moved", "{}", site.log());
        } else {
            assert_eq!(ended, "stayed", "{}", site.log());
            assert!(open > Duration::ZERO, "the watch sees nothing");
            run("iptables", &format!("-w -t nat -D {rule}"));
        }
    }
    row.keep();
}

#[test]
fn a_peer_that_only_reads_is_never_taken_for_one_that_has_the_guest() {
    let tries = tries(10, 1);
    let mut row = Row::new(
        "target's port is a peer that only reads",
        "never moved; the source runs",
        &qemu(),
        tries,
    );
    for _ in 0..tries {
        let (mut site, qemus) = site(FAST);
        let sink = TcpListener::bind("127.0.0.1:0").unwrap();
        let rule = format!(
            "OUTPUT -p tcp --dport {} -j REDIRECT --to-ports {}",
            qemus.incoming_port(1),
            sink.local_addr().unwrap().port()
        );
        run("iptables", &format!("-w -t nat -I {rule}"));
        let reads = thread::spawn(move || {
            let (mut peer, _) = sink.accept().unwrap();
            std::io::copy(&mut peer, &mut std::io::sink()).unwrap_or_default()
        });
        site.start_and_hear();
        let at = Instant::now();
        site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
        let ended = wait_for_verdict(&site, 1);
        row.add(at.elapsed(), &ended, site.runners().len());
        assert_eq!(
            (ended.as_str(), site.runners()),
            ("stayed", vec![HOSTS[0]]),
            "{}",
            site.log()
        );
        assert!(reads.join().unwrap() > 0, "the guest's memory went there");
        run("iptables", &format!("-w -t nat -D {rule}"));
    }
    row.keep();
}

#[test]
fn a_move_is_given_up_at_any_time() {
    let tries = tries(100, 2);
    if tries == 0 {
        return;
    }
    let mut row = Row::new(
        "cancelled after each 50 ms of a migration",
        "exactly one end runs, 100 of 100",
        &qemu(),
        tries,
    );
    let (mut site, _) = site(FAST / 400);
    for attempt in 1..=tries {
        site.set_limit(
            "migration_ms_max",
            f64::from(attempt) * 50.0 % 2500.0 + 50.0,
        );
        site.start_and_hear();
        let target = HOSTS[ends(&site).1];
        let at = Instant::now();
        site.words(&format!("move {FUNCTION} {target}"));
        let ended = wait_for_verdict(&site, attempt as usize);
        row.add(at.elapsed(), &ended, site.runners().len());
        assert_eq!(site.runners(), [site.where_is()], "{}", site.log());
        site.kill();
    }
    row.keep();
}

#[test]
fn the_orchestrator_dies_after_each_record() {
    let tries = tries(3 * RECORDS, 2);
    if tries == 0 {
        return;
    }
    let mut row = Row::new(
        "orchestrator killed after each record of a move",
        "exactly one end runs, verdict within 5 s of the restart",
        &qemu(),
        tries,
    );
    let (mut site, _) = site(FAST / 100);
    for attempt in 1..=tries {
        site.start_and_hear();
        let target = HOSTS[ends(&site).1];
        let records = (attempt - 1) % RECORDS + 1;
        let journal = site.journal();
        let killed_at = thread::scope(|scope| {
            let watch = scope.spawn(|| wait_for_records(&journal, attempt, records));
            site.words(&format!("move {FUNCTION} {target}"));
            watch.join().unwrap()
        });
        assert!(killed_at >= records, "{killed_at} {}", site.log());
        // The last of them is the verdict. Only then is asked: it is to be killed at once.
        let whole = killed_at < RECORDS || verdict(&site, attempt as usize).is_some();
        assert!(whole, "{}", site.log());
        site.kill();
        site.start();
        let at = Instant::now();
        let ended = wait_for_verdict(&site, attempt as usize);
        row.add(at.elapsed(), &ended, site.runners().len());
        within(5, at.elapsed());
        assert_eq!(
            site.runners(),
            [site.where_is()],
            "{killed_at} {}",
            site.log()
        );
        site.kill();
    }
    row.keep();
}

#[test]
fn the_management_link_is_cut() {
    let tries = tries(4, 1);
    let late = " (the aim was 5 s: a QEMU serves one client at a time, and hears of the end of the one before only by TCP's next \
                repeat, whose pauses double while the line is cut)";
    for (cut, name, verdict_s, why) in [
        (&[0][..], "source", 20, late),
        (&[1][..], "target", 5, ""),
        (&[0, 1][..], "both", 20, late),
    ] {
        let mut row = Row::new(
            &format!("management link to {name} cut while copying"),
            &format!(
                "nothing is done while unknown, alarm within 30 s, right verdict within {verdict_s} s of healing{why}"
            ),
            &qemu(),
            tries,
        );
        for _ in 0..tries {
            let (mut site, qemus) = site(FAST / 400);
            site.start_and_hear();
            let number = begin_move(&site, &qemus);
            let at = Instant::now();
            let rules: Vec<String> = cut
                .iter()
                .flat_map(|end| {
                    let port = qemus.monitor_port(*end);
                    ["dport", "sport"]
                        .map(|side| format!("INPUT -i lo -p tcp --{side} {port} -j DROP"))
                })
                .collect();
            rules
                .iter()
                .for_each(|rule| run("iptables", &format!("-w -I {rule}")));
            site.wait_for("an alarm", |site| {
                let why = site.ask(&format!("why {number}"));
                why["decisions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|one| one["kind"] == "alarm")
            });
            within(30, at.elapsed());
            let before = site.ask(&format!("why {number}"));
            let kinds = |why: &serde_json::Value| -> Vec<String> {
                let all = why["decisions"].as_array().unwrap();
                all.iter()
                    .map(|one| one["kind"].as_str().unwrap().to_owned())
                    .collect()
            };
            for action in ["run", "discard"] {
                assert!(
                    !kinds(&before).iter().any(|kind| kind == action),
                    "{before:#}"
                );
            }
            rules
                .iter()
                .for_each(|rule| run("iptables", &format!("-w -D {rule}")));
            let healed = Instant::now();
            let ended = wait_for_verdict(&site, number);
            row.add(healed.elapsed(), &ended, site.runners().len());
            within(verdict_s, healed.elapsed());
            assert_eq!(site.runners(), [site.where_is()], "{}", site.log());
        }
        row.keep();
    }
}

#[test]
fn a_guest_that_writes_faster_than_it_is_copied_is_given_up() {
    const PREDICTED_S: u64 = 3;
    let tries = tries(5, 1);
    if tries == 0 {
        return;
    }
    let mut row = Row::new(
        "dirty rate above the bandwidth",
        "cancelled at four times the prediction, the guest stays, and the pause before the next move doubles",
        &qemu(),
        tries,
    );
    let machines = Box::new(Qemus::busy(SLOW));
    let mut site = Site::of(machines, HOSTS[0], Trust::Automatic);
    site.set_prediction(PREDICTED_S as f64 * 1e3);
    site.start_and_hear();
    let mut pauses = Vec::new();
    for attempt in 1..=tries as usize {
        site.wait_for("samples", |site| site.ask("status")["hosts_fresh"] == 2);
        // It is ordered: no pause keeps it.
        site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
        let ended = wait_for_verdict(&site, attempt);
        let why = site.ask(&format!("why {attempt}"));
        let figure = |kind: &str, key: &str| {
            let all = why["decisions"].as_array().unwrap();
            let one = all.iter().find(|one| one["kind"] == kind);
            let one = one.unwrap_or_else(|| panic!("no {kind}: {why:#}"));
            one[key].as_u64().unwrap()
        };
        let at = |kind| figure(kind, "at_us");
        let copied = Duration::from_micros(at("cancel") - at("start"));
        row.add(copied, &ended, site.runners().len());
        assert!(copied >= Duration::from_secs(4 * PREDICTED_S), "{copied:?}");
        within(4 * PREDICTED_S + 1, copied);
        assert_eq!(
            (ended.as_str(), site.runners()),
            ("stayed", vec![HOSTS[0]]),
            "{}",
            site.log()
        );
        pauses.push(figure("settled", "cooldown_until_us") - at("settled"));
    }
    for pair in pauses.windows(2) {
        assert_eq!(pair[1], 2 * pair[0], "{pauses:?}");
    }
    row.keep();
}

#[test]
fn a_journal_without_room_begins_nothing() {
    let tries = tries(5, 1);
    let mut row = Row::new(
        "the journal's disk is full",
        "no move begins; one under way comes to its end, one end runs; the verdict is there after a restart with room",
        &qemu(),
        tries,
    );
    for _ in 0..tries {
        // A disk that this thread and what it starts sees, and that goes with them.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        run("mount", "--make-rprivate /");
        let (mut site, qemus) = site(FAST / 400);
        let disk = site.folder.path().join("disk");
        fs::create_dir(&disk).unwrap();
        run(
            "mount",
            &format!("-t tmpfs -o size=4m tmpfs {}", disk.display()),
        );
        site.keep_journal_in(&disk);
        let ballast = disk.join("ballast");
        let fill = || {
            let full = fs::write(&ballast, vec![1; 8 << 20]).unwrap_err();
            assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        };
        site.start_and_hear();
        fill();
        // Samples that come in may have found it full before.
        drop(site.say(&format!("move {FUNCTION} {}", HOSTS[1])));
        wait_for_failure(&mut site);
        assert_eq!(site.runners(), [HOSTS[0]]);
        assert!(!qemus.is_there(1), "{}", site.log());
        fs::remove_file(&ballast).unwrap();
        site.start_and_hear();
        assert_eq!(site.ask("moves").as_array().unwrap().len(), 0);
        // One that is under way comes to its end.
        let number = begin_move(&site, &qemus);
        fill();
        wait_for_failure(&mut site);
        assert_eq!(site.runners().len(), 1, "{}", site.log());
        fs::remove_file(&ballast).unwrap();
        let at = Instant::now();
        site.start();
        let ended = wait_for_verdict(&site, number);
        row.add(at.elapsed(), &ended, site.runners().len());
        assert_eq!(site.runners(), [site.where_is()], "{}", site.log());
        // Its folder can go now.
        run("umount", &format!("-l {}", disk.display()));
    }
    row.keep();
}

/// Waits until the orchestrator has ended since it cannot write.
fn wait_for_failure(site: &mut Site) {
    let mut orchestrator = site.orchestrator.take().unwrap();
    wait_or(|| orchestrator.try_wait().unwrap().is_some(), || site.log());
    assert_eq!(orchestrator.wait().unwrap().code(), Some(1));
    assert!(site.log().contains("full"), "{}", site.log());
}

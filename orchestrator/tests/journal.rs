//! The journal: what it keeps, what it makes fewer, and what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::time::Duration;

use control::Input;
use forestall_orchestrator::Config;
use forestall_orchestrator::journal::{History, Journal, JournalError, Learned, Turn};
use forestall_orchestrator::knees::Taught;
use forestall_orchestrator::reports::{Viewed, Views};
use record::decision::{Cause, Evidence, HoldReason, Mode};
use record::{
    Decision, Event, HostName, Residency, Sample, Timestamp, Utilization, Verdict, VmName,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const PLENTY: u64 = 1 << 30;

struct Bench {
    folder: tempfile::TempDir,
    journal: Journal,
}

impl Bench {
    fn new(size_max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j.db"), size_max_bytes).unwrap();
        Self { folder, journal }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("j.db")
    }

    fn history(&self) -> History {
        History::open(&self.path()).unwrap()
    }

    fn turn(&mut self, inputs: &[(Timestamp, Input)], decisions: &[Decision]) {
        let turn = Turn {
            inputs,
            decisions,
            known: &[],
            learned: &[],
            taught: &[],
        };
        self.journal.turn(turn).unwrap();
    }

    /// What viewers taught of `a`.
    fn teach(&mut self, taught: Option<&Taught>) {
        let turn = Turn {
            inputs: &[],
            decisions: &[],
            known: &[],
            learned: &[],
            taught: &[(host("a"), taught.cloned())],
        };
        self.journal.turn(turn).unwrap();
    }

    /// A sample of `a` each 5 s from `begin`, with these loads.
    fn samples(&mut self, begin: Timestamp, loads: impl Iterator<Item = f64>) {
        let samples: Vec<_> = loads
            .zip(0..)
            .map(|(load, i)| {
                let at = begin + Duration::from_secs(5) * i;
                let sample = Sample {
                    host: host("a"),
                    utilization: Utilization::new(load).unwrap(),
                    measured_at_us: at,
                    interval_ms: 5000.0,
                };
                (at, Input::Sample(sample))
            })
            .collect();
        self.turn(&samples, &[]);
    }
}

/// Rows of what viewers saw.
fn viewed(bench: &Bench) -> i64 {
    let file = rusqlite::Connection::open(bench.path()).unwrap();
    file.query_row("SELECT count(*) FROM viewed", [], |row| row.get(0))
        .unwrap()
}

fn views(at: Timestamp) -> Views {
    let view = Viewed {
        at_us: at,
        viewers: 1,
        picture_age_ms: None,
        frame_interval_ms: None,
        frames: 30,
        freezes: 0,
    };
    Views::from([(vm(), view)])
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn vm() -> VmName {
    VmName::new("f").unwrap()
}

fn start(migration: u64) -> Event {
    Event::Start {
        migration,
        vm: vm(),
        source: host("a"),
        target: host("b"),
        mode: Mode::PreCopy,
        cause: Cause::Load,
        target_load: 0.5,
        gain: None,
        predicted_total_ms: None,
        host: host("a"),
        evidence: Evidence::default(),
    }
}

fn settled(migration: u64) -> Event {
    Event::Settled {
        migration,
        verdict: Verdict::Moved,
        target: Residency::Running,
        source: Residency::Absent,
        failure: None,
        cooldown_until_us: Timestamp(0),
    }
}

fn hold() -> Event {
    Event::Hold {
        host: host("a"),
        reason: HoldReason::NotDue,
        evidence: Evidence::default(),
    }
}

/// Begins whole minutes, since means do.
fn noon() -> Timestamp {
    Timestamp(60_000_000 * 30_000_000)
}

#[test]
fn what_stands_is_read_again_and_what_is_over_is_not() {
    let mut bench = Bench::new(PLENTY);
    let now = noon();
    let decide = |event| Decision::new(now, event);
    let drain = |name| (now, Input::Drain { host: host(name) });
    let back = Input::Undrain { host: host("b") };
    let inputs = [drain("a"), drain("b"), (now, back), (now, Input::Disarm)];
    bench.turn(
        &inputs,
        &[decide(start(1)), decide(settled(1)), decide(start(2))],
    );
    let known = Input::Known {
        vm: vm(),
        host: host("b"),
        cooldown_until_us: now,
        failures_in_a_row: 1,
        given_up: true,
        doubt: None,
    };
    let learned = Learned {
        migrations_ms: vec![7e3],
        downtimes_ms: vec![],
        gaps_ms: Vec::new(),
        last_at_us: Some(now),
    };
    bench
        .journal
        .turn(Turn {
            inputs: &[],
            decisions: &[],
            known: std::slice::from_ref(&known),
            learned: &[(vm(), learned.clone())],
            taught: &[],
        })
        .unwrap();
    let path = bench.path();
    drop(bench.journal);
    let standing = Journal::open(&path, PLENTY).unwrap().standing().unwrap();
    assert_eq!(standing.moves_begun, 2);
    assert_eq!(standing.open.keys().collect::<Vec<_>>(), [&2]);
    assert_eq!(standing.learned[&vm()], learned);
    let resumed = Input::Resumed {
        migration: 2,
        vm: vm(),
        source: host("a"),
        target: host("b"),
    };
    let drained = Input::Drain { host: host("a") };
    assert_eq!(standing.inputs(), [known, drained, Input::Disarm, resumed]);
}

/// A verdict names no function: it is found by its move.
#[test]
fn a_functions_own_decisions_are_found_with_its_verdicts() {
    let mut bench = Bench::new(PLENTY);
    let other = Event::Relocated {
        vm: VmName::new("g").unwrap(),
        from: host("a"),
        to: host("b"),
    };
    let alarm = Event::Alarm {
        migration: 1,
        vm: vm(),
        verdict: Verdict::Lost,
        target: Residency::Absent,
        source: Residency::Absent,
    };
    let events = [start(1), other, alarm, settled(1), hold()];
    let decided = events.map(|event| Decision::new(noon(), event));
    bench.turn(&[], &decided);
    let [start, _, alarm, settled, _] = decided;
    let found = |limit| bench.history().of_function(&vm(), limit).unwrap();
    assert_eq!(found(5), [settled.clone(), alarm.clone(), start]);
    assert_eq!(found(2), [settled, alarm]);
}

#[test]
fn old_samples_become_means_and_young_ones_stay() {
    let mut bench = Bench::new(PLENTY);
    let begin = noon();
    // One minute at 0.2 and 0.6 in turn, then one at 0.9.
    let loads = (0..12).map(|i| if i % 2 == 0 { 0.2 } else { 0.6 });
    bench.samples(begin, loads.chain([0.9; 12]));
    let points = |bench: &Bench| bench.history().load(&host("a"), Timestamp(0)).unwrap();
    assert_eq!(points(&bench).len(), 24);
    bench
        .journal
        .thin(begin + MINUTE + Duration::from_secs(3600))
        .unwrap();
    let thinned = points(&bench);
    assert_eq!(thinned.len(), 13, "one mean, twelve samples");
    assert_eq!(thinned[0].at_us, begin + MINUTE);
    assert!((thinned[0].load - 0.4).abs() < 1e-9, "{:?}", thinned[0]);
    assert!((thinned[0].load_max - 0.6).abs() < 1e-9);
    // Weeks later a quarter of an hour is one mean, of all samples alike.
    bench.journal.thin(begin + DAY * 8).unwrap();
    let thinned = points(&bench);
    assert_eq!(thinned.len(), 1, "{thinned:?}");
    assert!((thinned[0].load - 0.65).abs() < 1e-9, "{:?}", thinned[0]);
    assert!((thinned[0].load_max - 0.9).abs() < 1e-9);
    bench.journal.thin(begin + DAY * 500).unwrap();
    assert!(points(&bench).is_empty());
}

/// Bytes in use after a move, holds and samples, and moves that are still known.
fn filled(size_max_bytes: u64) -> (u64, usize) {
    let mut bench = Bench::new(size_max_bytes);
    let begin = noon();
    bench.turn(&[], &[Decision::new(begin, start(1))]);
    let holds = (0..1000).map(|s| Decision::new(begin + Duration::from_secs(s), hold()));
    let holds: Vec<_> = holds.collect();
    bench.turn(&[], &holds);
    bench.samples(begin, (0..5000).map(|_| 0.5));
    // Young enough to stay, were there room.
    bench.journal.thin(begin + MINUTE * 5).unwrap();
    let file = rusqlite::Connection::open(bench.path()).unwrap();
    let pragma = |name| file.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count").unwrap() - pragma("freelist_count").unwrap();
    let moves = bench.history().moves(10).unwrap().len();
    ((pages * pragma("page_size").unwrap()) as u64, moves)
}

#[test]
fn a_file_that_is_too_large_loses_what_is_oldest_and_moves_last() {
    let (size_max, (all, _)) = (300 << 10, filled(PLENTY));
    assert!(all > 2 * size_max, "there is something to lose: {all}");
    let (kept, moves) = filled(size_max);
    assert!(kept <= size_max, "{kept} of {all}");
    assert!(kept > size_max / 2, "no more than has to: {kept} of {all}");
    assert_eq!(moves, 1);
}

/// Settings of a site so large that each start of its orchestrator writes a megabyte.
fn large_settings() -> control::Settings {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/forestall.toml");
    let mut settings = Config::read(shipped.as_ref()).unwrap().control;
    let function = settings.functions[0].clone();
    let named = |number| control::Placement {
        vm: VmName::new(&format!("f{number}")).unwrap(),
        ..function.clone()
    };
    settings.functions = (0..5000).map(named).collect();
    settings
}

fn runs(bench: &Bench) -> i64 {
    let file = rusqlite::Connection::open(bench.path()).unwrap();
    file.query_row("SELECT count(*) FROM run", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn settings_of_earlier_starts_go_before_anything_else_does() {
    let settings = large_settings();
    let mut bench = Bench::new(4 << 20);
    let begin = noon();
    bench.samples(begin, [0.5; 10].into_iter());
    bench.turn(&[], &[Decision::new(begin, start(1))]);
    for start in 0..12 {
        let at = begin + Duration::from_secs(start);
        bench.journal.begin(at, &settings).unwrap();
    }
    bench.journal.thin(begin + MINUTE).unwrap();
    let kept = runs(&bench);
    assert!(0 < kept && kept < 12, "{kept}");
    assert_eq!(bench.history().moves(10).unwrap().len(), 1);
    assert_eq!(
        bench
            .history()
            .load(&host("a"), Timestamp(0))
            .unwrap()
            .len(),
        10
    );
}

#[test]
fn settings_of_the_last_starts_are_kept() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/forestall.toml");
    let settings = Config::read(shipped.as_ref()).unwrap().control;
    let mut bench = Bench::new(PLENTY);
    for start in 0..150 {
        let at = noon() + Duration::from_secs(start);
        bench.journal.begin(at, &settings).unwrap();
    }
    bench.journal.thin(noon() + MINUTE * 5).unwrap();
    assert_eq!(runs(&bench), 100);
}

#[test]
fn what_viewers_saw_is_kept_for_a_week() {
    let mut bench = Bench::new(PLENTY);
    let begin = noon();
    bench.journal.views(begin, &Views::new()).unwrap();
    assert_eq!(viewed(&bench), 0);
    bench.journal.views(begin, &views(begin)).unwrap();
    bench
        .journal
        .views(begin + DAY, &views(begin + DAY))
        .unwrap();
    bench.journal.thin(begin + DAY * 7).unwrap();
    assert_eq!(viewed(&bench), 2);
    bench.journal.thin(begin + DAY * 7 + MINUTE).unwrap();
    assert_eq!(viewed(&bench), 1);
}

#[test]
fn what_viewers_saw_goes_before_moves_do() {
    let mut bench = Bench::new(200 << 10);
    let begin = noon();
    bench.turn(&[], &[Decision::new(begin, start(1))]);
    for s in 0..3000 {
        let at = begin + Duration::from_secs(s);
        bench.journal.views(at, &views(at)).unwrap();
    }
    bench.journal.thin(begin + DAY).unwrap();
    let kept = viewed(&bench);
    assert!(0 < kept && kept < 3000, "{kept}");
    assert_eq!(bench.history().moves(10).unwrap().len(), 1);
}

/// The first version had no table of what viewers see, the second none of what they teach.
#[test]
fn an_older_one_is_brought_up_to_date() {
    for older in [
        "DROP TABLE taught; DROP TABLE viewed; PRAGMA user_version = 1",
        "DROP TABLE taught; PRAGMA user_version = 2",
    ] {
        let mut bench = Bench::new(PLENTY);
        let begin = noon();
        bench.turn(&[], &[Decision::new(begin, start(1))]);
        let path = bench.path();
        let Bench { folder, journal } = bench;
        drop(journal);
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(older).unwrap();
        drop(file);
        assert!(History::open(&path).is_err());
        let journal = Journal::open(&path, PLENTY).unwrap();
        let mut bench = Bench { folder, journal };
        assert_eq!(bench.history().moves(10).unwrap().len(), 1);
        bench.journal.views(begin, &views(begin)).unwrap();
        assert_eq!(viewed(&bench), 1);
        bench.teach(Some(&taught()));
        assert_eq!(bench.journal.standing().unwrap().taught.len(), 1);
    }
}

/// Five observations of 25 reports in all, in time at a load of 30 %.
fn taught() -> Taught {
    let seen = [(false, 5); 5];
    let bin = serde_json::json!({ "newest_us": noon().0, "seen": seen, "late_since_us": null, "late": false });
    let taught = serde_json::json!({
        "budget_ms": 200.0, "bins": { "7": bin }, "knee": [0.72, noon().0], "late_from": null,
    });
    serde_json::from_value(taught).unwrap()
}

#[test]
fn what_viewers_taught_stands_until_it_is_thrown_away() {
    let mut bench = Bench::new(PLENTY);
    let stands = |bench: &Bench| bench.journal.standing().unwrap().taught;
    assert!(stands(&bench).is_empty());
    bench.teach(Some(&taught()));
    assert_eq!(stands(&bench), [(host("a"), taught())].into());
    // However old and large the file gets.
    bench.journal.thin(noon() + DAY * 500).unwrap();
    assert_eq!(stands(&bench).len(), 1);
    bench.teach(None);
    assert!(stands(&bench).is_empty());
    let file = rusqlite::Connection::open(bench.path()).unwrap();
    file.execute("INSERT INTO taught VALUES ('a', '{}')", [])
        .unwrap();
    let said = bench.journal.standing().unwrap_err().to_string();
    assert!(
        said.contains("what viewers taught of \"a\" does not read"),
        "{said}"
    );
}

#[test]
fn a_second_one_a_newer_one_and_what_is_none_are_refused() {
    let bench = Bench::new(PLENTY);
    let path = bench.path();
    let again = Journal::open(&path, PLENTY).unwrap_err();
    assert!(matches!(again, JournalError::Leased { .. }), "{again}");
    drop(bench.journal);
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let newer = Journal::open(&path, PLENTY).unwrap_err();
    assert!(
        matches!(newer, JournalError::Newer { found: 99, .. }),
        "{newer}"
    );
    std::fs::write(&path, [b'x'; 8192]).unwrap();
    let nonsense = Journal::open(&path, PLENTY).unwrap_err();
    assert!(
        matches!(nonsense, JournalError::Database { .. }),
        "{nonsense}"
    );
    assert_eq!(
        std::fs::read(&path).unwrap(),
        [b'x'; 8192],
        "nothing is lost"
    );
}

#[test]
fn what_does_not_read_is_said_and_not_guessed() {
    let bench = Bench::new(PLENTY);
    rusqlite::Connection::open(bench.path())
        .unwrap()
        .execute(
            "INSERT INTO standing VALUES ('move', '7', '{\"vm\":\"../f\"}')",
            [],
        )
        .unwrap();
    let error = bench.journal.standing().unwrap_err();
    assert!(matches!(error, JournalError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("move \"7\""), "{error}");
}

//! What an orchestrator goes on with, and what it takes in while it runs.

use std::net::TcpListener;
use std::path::Path;

use drivers::tagged::{Found, Tagged};
use record::decision::{Cause, Evidence, HoldReason, Mode};
use record::{Doubt, Utilization, Verdict};
use serde_json::json;

use super::*;
use crate::discover::Discover;
use crate::journal::Learned;
use crate::scripted::{Scripted, host, vm};
use crate::survey::Seen;

/// Two hosts, `a` and `b`, and no function but those that an engine tells of.
fn config(folder: &Path) -> Config {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/forestall.toml");
    let mut config = Config::read(shipped.as_ref()).unwrap();
    config.journal = folder.join("journal");
    config.api = None;
    config.control.hosts = vec![host("a"), host("b")];
    config.control.functions.clear();
    config.discover = Some(Discover {
        viewers: 1,
        load: Utilization::clamped(0.1),
        migration_ms: 8e3,
        gap_ms: 300.0,
    });
    config
}

/// What an earlier orchestrator has left.
fn leave(config: &Config, turn: Turn<'_>) {
    let mut journal = Journal::open(&config.journal, config.journal_size_max_bytes()).unwrap();
    journal.turn(turn).unwrap();
}

const NOTHING: Turn<'static> = Turn {
    inputs: &[],
    decisions: &[],
    known: &[],
    learned: &[],
    taught: &[],
};

type Begun = (Orchestrator<Scripted>, mpsc::Receiver<News>);

fn begin(config: &Config) -> Result<Begun, OrchestratorError> {
    let (news_in, news) = mpsc::channel(64);
    let journal = Journal::open(&config.journal, config.journal_size_max_bytes())?;
    let driver = Scripted::default();
    let orchestrator = Orchestrator::begin(driver, config, journal, news_in, |_| ())?;
    Ok((orchestrator, news))
}

#[tokio::test]
async fn an_open_move_is_looked_at_though_nobody_tells_of_its_function_now() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let start = Event::Start {
        migration: 1,
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
    };
    let decisions = &[Decision::new(Timestamp(1), start)];
    let turn = Turn {
        decisions,
        ..NOTHING
    };
    leave(&config, turn);
    let (mut orchestrator, mut news) = begin(&config).unwrap();
    let heard = news.recv().await.unwrap();
    assert!(
        matches!(heard, News::Input(Input::Residency { migration: 1, .. })),
        "{heard:?}"
    );
    // What was seen of it before the move is no news.
    let lost = Seen {
        at_us: clock::now(),
        host: host("a"),
        residency: Residency::Absent,
        elsewhere: Vec::new(),
        verdict: Verdict::Lost,
        asked_all: true,
    };
    orchestrator.hear(News::Seen(vm(), lost)).unwrap();
    assert!(orchestrator.sightings.is_empty());
    drop(orchestrator);
    config.discover = None;
    let refused = begin(&config).err().unwrap();
    assert!(
        matches!(refused, OrchestratorError::OpenMove { migration: 1, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_function_that_is_found_later_has_what_the_journal_knows_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let known = Input::Known {
        vm: vm(),
        host: host("b"),
        cooldown_until_us: Timestamp(0),
        failures_in_a_row: 2,
        given_up: true,
        doubt: None,
    };
    let learned = Learned {
        migrations_ms: vec![9e3],
        downtimes_ms: Vec::new(),
        gaps_ms: Vec::new(),
        last_at_us: None,
    };
    let turn = Turn {
        known: &[known],
        learned: &[(vm(), learned)],
        ..NOTHING
    };
    leave(&config, turn);
    let (mut orchestrator, _news) = begin(&config).unwrap();
    orchestrator.discovery = Discovery::new(&config);
    let silent = Found {
        problems: vec!["a does not answer".into()],
        ..Found::default()
    };
    orchestrator.hear(News::Tagged(silent)).unwrap();
    let notes = orchestrator.discovery.as_ref().map(Discovery::notes);
    assert_eq!(notes, Some(vec!["a does not answer".into()]));
    let tagged = Tagged {
        vm: vm(),
        host: host("a"),
        viewers: Some(3),
        load: None,
    };
    let found = Found {
        functions: vec![tagged],
        ..Found::default()
    };
    orchestrator.hear(News::Tagged(found)).unwrap();
    let view = orchestrator.controller.view(clock::now());
    let [function] = &view.functions[..] else {
        panic!("{view:?}");
    };
    assert_eq!((&function.host, function.viewers), (&host("a"), 3));
    assert_eq!((function.failures_in_a_row, function.given_up), (2, true));
    assert_eq!(function.migration_ms, 9e3);
}

#[tokio::test]
async fn a_start_that_does_not_come_about_leaves_nothing_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    config.api = Some(serde_json::from_value(json!({ "listen": listen })).unwrap());
    let begin = async || {
        let (_, samples) = mpsc::channel(1);
        Running::begin(Scripted::default(), &config, None, samples, |_| ()).await
    };
    let starts = || {
        let journal = rusqlite::Connection::open(&config.journal).unwrap();
        let count = "SELECT count(*) FROM run";
        journal
            .query_row(count, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let refused = begin().await.err().unwrap();
    assert!(matches!(refused, OrchestratorError::Api(_)), "{refused}");
    assert_eq!(starts(), 0);
    drop(taken);
    let running = begin().await.map(drop);
    running.unwrap();
    assert_eq!(starts(), 1);
}

#[tokio::test]
async fn a_function_that_is_seen_on_two_hosts_is_not_moved_until_it_is_seen_on_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let function = config.discover.take().unwrap().untold(vm(), host("a"));
    config.control.functions = vec![function];
    let (mut orchestrator, news) = begin(&config).unwrap();
    let look = |elsewhere: &[&str], verdict| {
        let seen = Seen {
            at_us: clock::now(),
            host: host("a"),
            residency: Residency::Running,
            elsewhere: elsewhere.iter().map(|name| host(name)).collect(),
            verdict,
            asked_all: true,
        };
        News::Seen(vm(), seen)
    };
    let split = Doubt {
        verdict: Verdict::Split,
        elsewhere: vec![host("b")],
    };
    let why_declined = |orchestrator: &mut Orchestrator<Scripted>| {
        let target = host("b");
        let order = Input::Order { vm: vm(), target };
        let decisions = orchestrator.turn(vec![order]).unwrap();
        decisions
            .into_iter()
            .find_map(|decision| match decision.event {
                Event::Declined { why, .. } => Some(why),
                _ => None,
            })
    };
    let doubted = HoldReason::InDoubt {
        vm: vm(),
        doubt: split.clone(),
    };
    orchestrator.hear(look(&["b"], Verdict::Split)).unwrap();
    assert_eq!(why_declined(&mut orchestrator), Some(doubted.clone()));
    // A restart does not make it one.
    drop((orchestrator, news));
    let (mut orchestrator, _news) = begin(&config).unwrap();
    assert_eq!(orchestrator.controller.doubt(&vm()), Some(&split));
    assert_eq!(why_declined(&mut orchestrator), Some(doubted));
    orchestrator.hear(look(&[], Verdict::Stayed)).unwrap();
    assert_eq!(orchestrator.controller.doubt(&vm()), None);
    let why = why_declined(&mut orchestrator);
    assert!(
        matches!(why, Some(HoldReason::NoTargetFits { .. })),
        "{why:?}"
    );
}

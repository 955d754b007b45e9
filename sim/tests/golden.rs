//! Every scenario with an expected decision log, against that log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use forestall_sim as sim;
use record::decision::{Candidate, HoldReason, Unfit};
use record::{Decision, Event, Verdict};
use scenario::Scenario;

/// Seed of the noise in expected logs.
const SEED: u64 = 1;
/// What the issue asks for.
const SCENARIOS_MIN: usize = 40;
/// They run in a lab, too, and have expected logs of their own.
const OF_THE_LAB: [&str; 2] = ["reallocation", "reallocation-ffmpeg"];

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// Folders of all scenarios with expected logs, in order of name.
fn folders() -> Vec<PathBuf> {
    let golden = std::fs::read_dir(scenarios().join("golden")).unwrap();
    let golden = golden.map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = golden.collect();
    folders.sort();
    folders.extend(OF_THE_LAB.map(|name| scenarios().join(name)));
    folders
}

/// A run of a scenario, and where its expected log is.
struct Run {
    scenario: Scenario,
    run: sim::SimRun,
    expected: PathBuf,
}

/// All profiles and policies of a scenario.
fn runs(folder: &Path) -> Vec<Run> {
    let scenario = Scenario::read(folder).unwrap();
    let mut runs = Vec::new();
    for (name, profile) in &scenario.profiles {
        for policy in &scenario.policies {
            let file = format!("{name}-{}.jsonl", policy.as_str());
            runs.push(Run {
                run: sim::run(&scenario, *policy, profile, SEED).unwrap(),
                expected: folder.join("expected").join(file),
                scenario: scenario.clone(),
            });
        }
    }
    runs
}

fn each(mut check: impl FnMut(&str, &Run)) {
    for run in folders().iter().flat_map(|folder| runs(folder)) {
        check(&run.name(), &run);
    }
}

impl Run {
    /// The expected log's path from the scenarios' folder on.
    fn name(&self) -> String {
        let path = self.expected.strip_prefix(scenarios()).unwrap();
        path.display().to_string()
    }

    fn check_log(&self) {
        let log = self.run.decision_log().unwrap();
        if std::env::var_os("FORESTALL_BLESS").is_some() {
            std::fs::create_dir_all(self.expected.parent().unwrap()).unwrap();
            std::fs::write(&self.expected, &log).unwrap();
        }
        let name = self.name();
        let expected =
            std::fs::read_to_string(&self.expected).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (number, (line, expected)) in log.lines().zip(expected.lines()).enumerate() {
            assert_eq!(line, expected, "{name}:{}", number + 1);
        }
        assert_eq!(log, expected, "{name}");
    }
}

/// `FORESTALL_BLESS=1 cargo test -p forestall-sim --test golden` writes the logs anew; the diff is for a person to judge.
#[test]
fn decisions_are_those_of_the_expected_logs() {
    let folders = folders();
    assert!(folders.len() >= SCENARIOS_MIN, "{}", folders.len());
    for folder in folders {
        let runs = runs(&folder);
        runs.iter().for_each(Run::check_log);
        let expected: BTreeSet<PathBuf> = runs.into_iter().map(|run| run.expected).collect();
        let found = std::fs::read_dir(folder.join("expected")).unwrap();
        let found: BTreeSet<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(found, expected, "a log of a run that there is not");
    }
}

#[test]
fn no_promise_is_broken() {
    let mut broken = Vec::new();
    each(|what, run| {
        let promise = run.run.broken.as_ref();
        broken.extend(promise.map(|promise| format!("{what}: {promise}")));
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A restart is the end of one controller and the beginning of another: its inputs are those of two.
#[test]
fn a_replay_of_the_inputs_decides_the_same() {
    let mut replayed = 0;
    each(|what, run| {
        let restart = |event: &scenario::TimedEvent| event.event == scenario::Event::Restart;
        if run.scenario.events.iter().any(restart) {
            return;
        }
        let again = sim::replay(&run.run.input_log().unwrap()).unwrap();
        assert_eq!(again, run.run.decisions, "{what}");
        replayed += 1;
    });
    assert!(replayed >= SCENARIOS_MIN, "{replayed}");
}

/// What stands in the expected logs: names of reasons, of what is unfit about a candidate, of verdicts settled or alarmed of.
#[derive(Default)]
struct Seen {
    reasons: BTreeSet<&'static str>,
    unfit: BTreeSet<Unfit>,
    settled: BTreeSet<&'static str>,
    alarmed: BTreeSet<&'static str>,
}

impl Seen {
    fn take(&mut self, decision: &Decision) {
        match &decision.event {
            Event::Hold { reason, .. } => {
                self.reasons.insert(reason_name(reason));
                if let HoldReason::NoTargetFits { candidates, .. } = reason {
                    let unfit = |candidate: &Candidate| candidate.unfit;
                    self.unfit.extend(candidates.iter().map(unfit));
                }
            }
            Event::Settled { verdict, .. } => {
                self.settled.insert(verdict_name(*verdict));
            }
            Event::Alarm { verdict, .. } => {
                self.alarmed.insert(verdict_name(*verdict));
            }
            _ => {}
        }
    }
}

/// A new reason does not compile here until it has its name, and is then missed in [`REASONS`].
const fn reason_name(reason: &HoldReason) -> &'static str {
    match reason {
        HoldReason::NeverMoves => "never_moves",
        HoldReason::NothingToMove => "nothing_to_move",
        HoldReason::NothingFree => "nothing_free",
        HoldReason::InDoubt { .. } => "in_doubt",
        HoldReason::NoSample => "no_sample",
        HoldReason::StaleSample { .. } => "stale_sample",
        HoldReason::SampleBeforeMove { .. } => "sample_before_move",
        HoldReason::BelowThreshold => "below_threshold",
        HoldReason::NotDue => "not_due",
        HoldReason::NotSustained { .. } => "not_sustained",
        HoldReason::Busy { .. } => "busy",
        HoldReason::MovesAtOnce { .. } => "moves_at_once",
        HoldReason::CoolingDown { .. } => "cooling_down",
        HoldReason::NoTargetFits { .. } => "no_target_fits",
        HoldReason::NoGain { .. } => "no_gain",
        HoldReason::NoUsefulMove { .. } => "no_useful_move",
        HoldReason::HeldBack { .. } => "held_back",
        HoldReason::AlreadyThere => "already_there",
    }
}

/// Not `held_back`, `already_there` and `in_doubt`: they come of what persons say, and of what is seen outside of a move
/// (`control/tests/trust.rs`), which no scenario has.
const REASONS: [&str; 15] = [
    "below_threshold",
    "busy",
    "cooling_down",
    "moves_at_once",
    "never_moves",
    "no_gain",
    "no_sample",
    "no_target_fits",
    "no_useful_move",
    "not_due",
    "not_sustained",
    "nothing_free",
    "nothing_to_move",
    "sample_before_move",
    "stale_sample",
];

const UNFIT: [Unfit; 7] = [
    Unfit::OverLimit,
    Unfit::NotFresh,
    Unfit::Source,
    Unfit::Arrivals,
    Unfit::Draining,
    Unfit::Apart,
    Unfit::Forbidden,
];

/// A move is over with these. Not with `unknown`: it is waited for until it is another one. Not with `split`: a target is held until
/// the source was seen stopped. Not with `blackout`: the guest is then run, and in this world a guest that is whole does run.
const SETTLED: [&str; 3] = ["lost", "moved", "stayed"];
/// A person is called for these. Not for `moved` and `stayed`: all is well. Not for `blackout` and `split`, as above.
const ALARMED: [&str; 2] = ["lost", "unknown"];

const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Stayed => "stayed",
        Verdict::Moved => "moved",
        Verdict::Blackout => "blackout",
        Verdict::Unknown => "unknown",
        Verdict::Split => "split",
        Verdict::Lost => "lost",
    }
}

#[test]
fn everything_that_can_be_said_is_said_in_some_log() {
    let mut seen = Seen::default();
    each(|_, run| {
        run.run
            .decisions
            .iter()
            .for_each(|decision| seen.take(decision))
    });
    assert_eq!(seen.reasons, BTreeSet::from(REASONS));
    assert_eq!(seen.unfit, BTreeSet::from(UNFIT));
    assert_eq!(seen.settled, BTreeSet::from(SETTLED));
    assert_eq!(seen.alarmed, BTreeSet::from(ALARMED));
}

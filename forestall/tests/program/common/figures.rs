//! What came of a fault that was made again and again: a row of docs/reliability.json.
//!
//! Uses none of its neighbours: tests of other rooms have this file, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault, and what came of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    /// What is done.
    fault: String,
    /// What has to hold each time.
    promise: String,
    tries: u32,
    /// How often so many ends ran the guest, when all was over; 0 where the engine says that there is none.
    runners: BTreeMap<usize, u32>,
    /// How often it ended so, in most of them a move.
    verdict: BTreeMap<String, u32>,
    /// Longest time that the promise speaks of.
    seconds: f64,
    /// What ran the guest.
    engine: String,
    commit: String,
    /// How many tries it is to be.
    #[serde(skip)]
    wanted: u32,
}

impl Row {
    /// Nothing was tried yet.
    pub(crate) fn new(fault: &str, promise: &str, engine: &str, wanted: u32) -> Self {
        Self {
            fault: fault.into(),
            promise: promise.into(),
            tries: 0,
            runners: BTreeMap::new(),
            verdict: BTreeMap::new(),
            seconds: 0.0,
            engine: engine.into(),
            commit: String::new(),
            wanted,
        }
    }

    /// One more try, and says so: it is minutes until all of them were made.
    pub(crate) fn add(&mut self, took: Duration, verdict: &str, runners: usize) {
        self.tries += 1;
        *self.runners.entry(runners).or_default() += 1;
        *self.verdict.entry(verdict.to_owned()).or_default() += 1;
        let seconds = took.as_secs_f64();
        self.seconds = self.seconds.max(seconds);
        let (fault, tries, wanted) = (&self.fault, self.tries, self.wanted);
        println!("{fault}: {tries} of {wanted}: {verdict}, runs {runners} times, {seconds:.3} s");
    }

    /// Into the file, if one is to be written, and onto the screen. Not where the test may not run.
    pub(crate) fn keep(mut self) {
        assert_eq!(self.tries, self.wanted, "{}", self.fault);
        let file = file().filter(|_| self.tries > 0);
        let Some(file) = file else { return };
        self.commit = said("git", &["rev-parse", "--short", "HEAD"]);
        println!("{}", serde_json::to_string(&self).unwrap());
        let mut rows: Vec<Self> = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap(),
            Err(_) => Vec::new(),
        };
        rows.retain(|row| row.fault != self.fault);
        rows.push(self);
        fs::write(file, serde_json::to_string_pretty(&rows).unwrap() + "\n").unwrap();
    }
}

/// A promise about time. `make test` may run on a machine that is busy: there only what is done is looked at.
pub(crate) fn within(seconds: u64, took: Duration) {
    let late = file().is_some() && took > Duration::from_secs(seconds);
    assert!(!late, "{took:?} are more than {seconds} s");
}

/// How often a fault is made: in `make test-faults`, and in `make test`.
pub(crate) fn times(often: u32, seldom: u32) -> u32 {
    if file().is_some() { often } else { seldom }
}

/// The file that is to be written.
fn file() -> Option<PathBuf> {
    let file = std::env::var_os("FORESTALL_RELIABILITY").filter(|file| !file.is_empty())?;
    // Each room is a folder of the repository.
    Some(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(file))
}

/// The QEMU that is started.
pub(crate) fn qemu() -> String {
    said("qemu-system-x86_64", &["--version"]) + ", tcg"
}

/// The first line that a program says.
pub(crate) fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

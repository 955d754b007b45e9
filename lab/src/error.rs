//! What can go wrong in a lab.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Why the lab could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Something is not on this machine.
    #[error("{0}")]
    Missing(String),
    /// A machine of an inventory.
    #[error(
        "cannot reach {machine} by ssh: {why}. It has to let this user in without a question, and its host key has to be known: try `ssh -o BatchMode=yes {machine} true`"
    )]
    Unreachable {
        /// Whom `ssh` was told to reach.
        machine: String,
        /// Its words.
        why: String,
    },
    /// A clock by which nothing can be told.
    #[error(
        "the clock of {machine} is {ahead_ms:+.1} ms ahead of this machine's, give or take {uncertain_ms:.1} ms; when a picture was shown is compared with when a move was decided here, so it may be {most_ms} ms at most. Have both follow one clock (chrony, systemd-timesyncd)"
    )]
    Clock {
        /// Whose.
        machine: String,
        /// By how much.
        ahead_ms: f64,
        /// What that may be wrong by.
        uncertain_ms: f64,
        /// What it may be.
        most_ms: f64,
    },
    /// Another lab runs on this machine.
    #[error(
        "another lab run is in progress on this machine (process {0}); its CPU shares and namespaces cannot be shared. Wait for it or end it"
    )]
    Busy(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program failed.
    #[error("{what} failed: {why}")]
    Program {
        /// What was run for what.
        what: String,
        /// Its words.
        why: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s: {hint}")]
    Late {
        /// What.
        what: String,
        /// Limit.
        seconds: f64,
        /// Where to look.
        hint: String,
    },
    /// A link does not stand.
    #[error(transparent)]
    Link(#[from] link::LinkError),
    /// The profile is missing or belongs to another service.
    #[error(transparent)]
    Profile(#[from] record::profile::ProfileError),
    /// The sweep of the profile is none.
    #[error("the profile's sweep cannot be used: measure again with `forestall lab calibrate`")]
    Sweep(#[from] control::PictureAgeError),
    /// The profile was measured for something else.
    #[error(
        "{path} was measured for another service or machine set-up\n  profile:  {found}\n  scenario: {wanted}\nMeasure again with `forestall lab calibrate`"
    )]
    OtherProfile {
        /// The file.
        path: PathBuf,
        /// What it was measured for.
        found: String,
        /// What is wanted.
        wanted: String,
    },
    /// The experiment that was to be gone on with was made with another engine.
    #[error("{path} holds an experiment with --engine {found}, not {wanted}")]
    OtherEngine {
        /// The experiment's folder.
        path: PathBuf,
        /// Its engine.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The experiment that was to be gone on with was made elsewhere.
    #[error("{path} holds an experiment of another machine\n  there: {found}\n  here:  {wanted}")]
    OtherMachine {
        /// The experiment's folder.
        path: PathBuf,
        /// Where it was begun.
        found: String,
        /// Where it would go on.
        wanted: String,
    },
    /// Results would go where an experiment is already.
    #[error("{0} holds an experiment already: take another --out, or --resume to go on with it")]
    OutExists(PathBuf),
    /// The figures could not be computed.
    #[error("{0}")]
    Measure(String),
    /// The person pressed Ctrl-C.
    #[error("interrupted; everything that was started has been ended")]
    Interrupted,
}

/// For loops that wait: an error when the person pressed Ctrl-C.
pub(crate) fn unless_interrupted(interrupted: &AtomicBool) -> Result<(), LabError> {
    if interrupted.load(Ordering::Relaxed) {
        Err(LabError::Interrupted)
    } else {
        Ok(())
    }
}

/// For `map_err`: names the file.
pub(crate) fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> LabError {
    let path = path.as_ref().to_owned();
    move |source| LabError::File { path, source }
}

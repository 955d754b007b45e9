//! Where a virtual machine is, and what that says of a move.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::HostName;

/// What one host says of a virtual machine, as seen by a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residency {
    /// The guest runs here.
    Running,
    /// A whole guest is held here and does not run.
    Paused,
    /// No whole guest is here: no process, or one that is still waiting for the rest of the guest's memory.
    Absent,
    /// The host does not answer: it may be any of the three.
    Unreachable,
}

/// What source and target together say of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The guest runs at the source, and only there.
    Stayed,
    /// The guest runs at the target, and only there.
    Moved,
    /// A whole guest exists, but it runs nowhere.
    Blackout,
    /// An end does not answer: nothing may be started, continued or destroyed.
    Unknown,
    /// The guest runs twice.
    Split,
    /// No whole guest exists at either end.
    Lost,
}

/// Why it is not clear where a virtual machine runs that nobody moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// What all hosts last said together; never `stayed` or `moved`.
    pub verdict: Verdict,
    /// Hosts, beside the one where it is taken to be, that said that it runs there, and have not said otherwise since.
    pub elsewhere: Vec<HostName>,
}

impl Verdict {
    /// Verdict from what both ends say.
    #[must_use]
    pub const fn of(target: Residency, source: Residency) -> Self {
        use Residency::{Absent, Paused, Running, Unreachable};
        match (target, source) {
            (Unreachable, _) | (_, Unreachable) => Self::Unknown,
            (Running, Running) => Self::Split,
            (Running, Paused | Absent) => Self::Moved,
            (Paused | Absent, Running) => Self::Stayed,
            (Paused, Paused | Absent) | (Absent, Paused) => Self::Blackout,
            (Absent, Absent) => Self::Lost,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stayed => "stayed",
            Self::Moved => "moved",
            Self::Blackout => "blackout",
            Self::Unknown => "unknown",
            Self::Split => "split",
            Self::Lost => "lost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Residency::{Absent, Paused, Running, Unreachable};
    use super::*;

    #[test]
    fn verdicts() {
        for (target, source, verdict) in [
            (Running, Running, Verdict::Split),
            (Running, Paused, Verdict::Moved),
            (Running, Absent, Verdict::Moved),
            (Paused, Running, Verdict::Stayed),
            (Absent, Running, Verdict::Stayed),
            (Paused, Paused, Verdict::Blackout),
            (Paused, Absent, Verdict::Blackout),
            (Absent, Paused, Verdict::Blackout),
            (Absent, Absent, Verdict::Lost),
            (Unreachable, Running, Verdict::Unknown),
            (Running, Unreachable, Verdict::Unknown),
        ] {
            assert_eq!(
                Verdict::of(target, source),
                verdict,
                "{target:?} {source:?}"
            );
        }
    }
}

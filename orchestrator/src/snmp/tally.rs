//! What became of questions and answers, counted.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of one agent, or of all. A poll is asked once and ends answered, refused or lost; the rest counts datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Polls begun.
    pub asked: u64,
    /// Polls that ended with values.
    pub answered: u64,
    /// Values received in them.
    pub varbinds: u64,
    /// Polls that ended with an error in the agent's answer. A mere report, which anybody may have sent, ends no poll.
    pub refused: u64,
    /// Polls whose answer has not come.
    pub lost: u64,
    /// Answers that came after their time was over, and before a newer one.
    pub late: u64,
    /// Answers that a newer one has overtaken.
    pub reordered: u64,
    /// Answers that had come before.
    pub doubled: u64,
    /// Datagrams that are no SNMP message of the version in use.
    pub malformed: u64,
    /// Answers that nobody asked for or that the agent cannot have sent: wrong address, community or signature.
    pub forged: u64,
}

/// Counts of all agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Of all agents, added up.
    pub tally: Tally,
    /// Polls that were due and not begun, since the one before had not ended or the poller was held up for a whole period.
    pub skipped: u64,
    /// Datagrams from addresses that are no agent's.
    pub strays: u64,
}

impl Tally {
    /// Polls that have ended.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.answered + self.refused + self.lost + self.late + self.reordered
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.asked += other.asked;
        self.answered += other.answered;
        self.varbinds += other.varbinds;
        self.refused += other.refused;
        self.lost += other.lost;
        self.late += other.late;
        self.reordered += other.reordered;
        self.doubled += other.doubled;
        self.malformed += other.malformed;
        self.forged += other.forged;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "asked {}, answered {}, refused {}, lost {}; late {}, reordered {}, doubled {}, malformed {}, forged {}",
            self.asked,
            self.answered,
            self.refused,
            self.lost,
            self.late,
            self.reordered,
            self.doubled,
            self.malformed,
            self.forged
        )
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tally,
            skipped,
            strays,
        } = self;
        write!(
            f,
            "{tally}, from unknown addresses {strays}; polls skipped {skipped}"
        )
    }
}

//! What is counted from the beginning of an orchestrator on, for whoever draws it over time.

use std::collections::BTreeMap;

use record::report::Report;
use record::{Decision, Event, Verdict, VmName};
use serde::{Deserialize, Serialize};

use crate::snmp::Totals;

/// Counts since the orchestrator began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Moves that are over, by how they ended.
    pub moves: BTreeMap<Verdict, u64>,
    /// Freezes that viewers told of, by function.
    pub freezes: BTreeMap<VmName, u64>,
    /// Polls of all SNMP agents, as of about a second ago; `null` where none is asked.
    pub snmp: Option<Totals>,
}

impl Counts {
    pub(crate) fn decided(&mut self, decision: &Decision) {
        if let Event::Settled { verdict, .. } = decision.event {
            *self.moves.entry(verdict).or_default() += 1;
        }
    }

    /// Of a function that there is.
    pub(crate) fn reported(&mut self, report: &Report) {
        let freezes = self.freezes.entry(report.function.clone()).or_default();
        *freezes += u64::from(report.freezes);
    }
}

//! Never move: what every rule is measured against.

use super::{Move, Rule, View};

/// Its name in tables.
pub const NAME: &str = "never";
/// Where it was published.
pub const SOURCE: &str =
    "no rule: what happens when nothing is done (the thesis, Section 4.3, live migration disabled)";

/// Moves nothing.
#[derive(Debug)]
pub struct Never;

impl Rule for Never {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Of no consequence; the refresh of the agents.
    fn native_interval_s(&self) -> f64 {
        5.0
    }

    fn round(&mut self, _view: &View) -> Vec<Move> {
        Vec::new()
    }

    fn moves_at_once_max(&self) -> Option<usize> {
        None
    }
}

//! A recorded run once more.

use control::Controller;
use control::journal::{Entry, Head, SCHEMA};
use record::Decision;

use crate::error::SimError;

/// The decisions that a fresh controller makes of recorded inputs (`inputs.jsonl`: a [`Head`], then [`Entry`]s).
///
/// With the code that wrote the record they are, line for line and byte for byte, those of its `decisions.jsonl`.
///
/// # Errors
/// When a line cannot be read, or the settings are wrong.
pub fn replay(inputs_jsonl: &str) -> Result<Vec<Decision>, SimError> {
    let mut lines = inputs_jsonl.lines().zip(1..);
    let at = |number| move |source| SimError::Line { number, source };
    let (head, number) = lines.next().ok_or(SimError::Empty)?;
    let head: Head = serde_json::from_str(head).map_err(at(number))?;
    if head.schema != SCHEMA {
        return Err(SimError::Schema { found: head.schema });
    }
    let mut controller = Controller::new(head.settings)?;
    let mut decisions = Vec::new();
    for (line, number) in lines {
        let entry: Entry = serde_json::from_str(line).map_err(at(number))?;
        controller.handle(entry.now_us, entry.input);
        decisions.extend(std::iter::from_fn(|| controller.poll_output()));
    }
    Ok(decisions)
}

//! A recorded run once more.

use control::journal::{Entry, Head, SCHEMA};
use control::{Controller, Policy, Settings};
use record::{Decision, Event, Utilization};

use crate::error::SimError;

/// At which load the thesis starts a move (4.3.1).
const THESIS_THRESHOLD: f64 = 0.9;

/// The decisions that a fresh controller makes of recorded inputs (`inputs.jsonl`: a [`Head`], then [`Entry`]s).
///
/// With the code that wrote the record they are, line for line and byte for byte, those of its `decisions.jsonl`.
///
/// # Errors
/// When a line cannot be read, or the settings are wrong.
pub fn replay(inputs_jsonl: &str) -> Result<Vec<Decision>, SimError> {
    let (settings, entries) = read(inputs_jsonl)?;
    let mut controller = Controller::new(settings)?;
    let mut decisions = Vec::new();
    for entry in entries {
        let entry = entry?;
        controller.handle(entry.now_us, entry.input);
        decisions.extend(std::iter::from_fn(|| controller.poll_output()));
    }
    Ok(decisions)
}

/// What every head has.
#[derive(serde::Deserialize)]
struct Version {
    schema: u32,
}

/// What a record says: settings, then inputs one after the other.
fn read(
    inputs_jsonl: &str,
) -> Result<(Settings, impl Iterator<Item = Result<Entry, SimError>>), SimError> {
    let mut lines = inputs_jsonl.lines().zip(1..);
    let at = |number| move |source| SimError::Line { number, source };
    let (head, number) = lines.next().ok_or(SimError::Empty)?;
    // The version first: a head of another one may have other fields.
    let version: Version = serde_json::from_str(head).map_err(at(number))?;
    if version.schema != SCHEMA {
        return Err(SimError::Schema {
            found: version.schema,
        });
    }
    let head: Head = serde_json::from_str(head).map_err(at(number))?;
    let entries = lines.map(move |(line, number)| serde_json::from_str(line).map_err(at(number)));
    Ok((head.settings, entries))
}

/// The decisions that a fresh controller with another policy makes of recorded inputs, until its first move: what came in
/// afterwards is of a world in which that move was not made. `policy` is `none`, `threshold` (90 %) or `deadline`, of which the
/// record has to know knee and times.
///
/// # Errors
/// When a line cannot be read, or the record does not know what the policy needs.
pub fn replay_with(inputs_jsonl: &str, policy: &str) -> Result<Vec<Decision>, SimError> {
    let (mut settings, entries) = read(inputs_jsonl)?;
    settings.policy = match (policy, &settings.policy) {
        ("none", _) => Policy::None,
        ("threshold", _) => {
            settings.limits.sustained_samples = 1;
            Policy::Threshold {
                start_at: Utilization::clamped(THESIS_THRESHOLD),
            }
        }
        (_, Policy::Deadline { .. }) => settings.policy.clone(),
        _ => return Err(SimError::NoKnee),
    };
    let mut decisions = Vec::new();
    let mut controller = Controller::new(settings)?;
    for entry in entries {
        let entry = entry?;
        controller.handle(entry.now_us, entry.input);
        decisions.extend(std::iter::from_fn(|| controller.poll_output()));
        let moves = |decision: &Decision| matches!(decision.event, Event::Start { .. });
        if decisions.iter().any(moves) {
            break;
        }
    }
    Ok(decisions)
}

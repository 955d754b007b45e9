//! What can go wrong.

/// Why nothing was simulated or replayed.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] control::SettingsError),
    /// The laws of a world are none.
    #[error("{0}")]
    Laws(String),
    /// A promise was broken.
    #[error("a promise was broken: {0}")]
    Broken(crate::invariants::Broken),
    /// A record of another policy knows no knee.
    #[error(
        "the record was made with a policy that has no knee, so `deadline` cannot be tried on it: take one of a run with `deadline`"
    )]
    NoKnee,
    /// There is no first line.
    #[error("there are no inputs: the first line must say the controller's settings")]
    Empty,
    /// A line is not what it must be.
    #[error("line {number} of the inputs cannot be read")]
    Line {
        /// Its number, from 1.
        number: usize,
        /// The cause.
        source: serde_json::Error,
    },
    /// The inputs were written by another version.
    #[error(
        "the inputs have schema {found}; this program reads {}",
        control::journal::SCHEMA
    )]
    Schema {
        /// What they have.
        found: u32,
    },
}

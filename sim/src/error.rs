//! What can go wrong.

/// Why nothing was simulated or replayed.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] control::SettingsError),
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
        record::SCHEMA
    )]
    Schema {
        /// What they have.
        found: u32,
    },
}

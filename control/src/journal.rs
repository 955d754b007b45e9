//! What a driver of the controller writes down of its inputs, `inputs.jsonl`: a [`Head`], then an [`Entry`] a line. With
//! the same code, these lines give the same decisions again.

use record::Timestamp;
use serde::{Deserialize, Serialize};

use crate::input::Input;
use crate::settings::Settings;

/// Name of the file.
pub const INPUTS: &str = "inputs.jsonl";

/// Version of the file. 3: settings say how far the controller is trusted.
pub const SCHEMA: u32 = 3;

/// First line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the controller was told.
    pub settings: Settings,
}

/// An input and when it was handled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub now_us: Timestamp,
    /// What.
    #[serde(flatten)]
    pub input: Input,
}

//! The controller against the rules that other systems ship, in the same worlds, and against what one who knows the future could
//! do.
//!
//! Data flow: [`input`] (a fleet and its load), [`agents`] (how well it is told) -> [`site`] (a world, what a controller is told of it, and its future) -> [`case`]
//! (each contestant's run, judged) -> [`summary`] (sums and intervals).

pub mod agents;
pub mod case;
pub mod input;
pub mod site;
pub mod summary;

pub use agents::Agents;
pub use case::{Case, Contestant, Judged};
pub use input::Input;
pub use site::Parameters;
pub use summary::{Comparison, Summary, compare};

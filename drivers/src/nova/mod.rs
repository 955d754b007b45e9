//! OpenStack Nova, by its REST API: `os-migrateLive` to a named host, watched to its end.
//!
//! What has to be known of Nova (ARCHITECTURE.md, "Nova"):
//!
//! - The answer 202 to a migration says nothing: that no host can take the server is found out later, and stands in the
//!   server's *instance actions* alone, under the number of the request.
//! - A server is `ACTIVE` again before its migration is over; the migration's own record says when it is.
//! - Where a server is stands in Nova's records. They are a host's word only while its `nova-compute` is up.

mod answer;
mod cloud;
pub mod config;
pub mod credentials;
mod driver;
pub mod tagged;

pub use config::NovaConfig;
pub use credentials::CredentialsError;
pub use driver::Nova;

//! Who comes in by a socket, and may: encrypted, with a token, and not silent for ever. The stream server and the orchestrator's
//! API have it in common.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod encrypted;
mod silence;
mod tls;
mod token;
mod trust;

pub use encrypted::Encrypted;
pub use silence::{Activity, until_silent};
pub use tls::{Tls, TlsError};
pub use token::{TOKEN_BYTES_MIN, bearer, same};
pub use trust::{Trust, TrustError};

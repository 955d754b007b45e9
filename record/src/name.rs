//! Names of hosts and virtual machines.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name allowed, in bytes: it becomes part of file names and of the name of a network namespace.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a name: 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, '.', '_' and '-', beginning with a letter or a digit"
)]
pub struct NameError {
    text: String,
}

fn check(text: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins_well = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if begins_well && text.len() <= NAME_BYTES_MAX && text.chars().all(allowed) {
        Ok(())
    } else {
        Err(NameError {
            text: text.chars().take(80).collect(),
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// When the text is empty, too long or has a character that a name may not have.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Name of a host (an edge server, a robot, a user's machine).
    HostName
}
name! {
    /// Name of a virtual machine that carries a service function.
    VmName
}

name! {
    /// Name of one who sees the video of a service function.
    ViewerName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "edge-user", "vm_1.2", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(HostName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            "..",
            "a/b",
            "a b",
            "a\n",
            "é",
            &"x".repeat(NAME_BYTES_MAX + 1),
        ] {
            assert!(HostName::new(bad).is_err(), "{bad:?}");
        }
    }
}

//! Passwords: where they come from, and that they go nowhere else.
//!
//! A configuration names a file or an environment variable. A password stands in no configuration, no command line, no log
//! and no journal.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Longer than any password or community; a file that is longer is another one.
const SECRET_BYTES_MAX: u64 = 1024;
/// Mode bits that let others than owner and group read or write.
const OTHERS: u32 = 0o007;

/// Where a secret is read: `{ file = "PATH" }` or `{ env = "NAME" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// First line of a file that only its owner and group may read.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A secret. It has no text form: neither `Debug` nor `Display` nor `Serialize` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why there is no secret. None of these texts has a part of one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("the secret in {path} cannot be used: it is not a file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Everybody on the machine may read or change it.
    #[error(
        "the secret in {path} cannot be used: its mode is {mode:o}, so others may get at it; chmod 600 it"
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// More than a secret.
    #[error("the secret in {path} cannot be used: it is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The variable is not set.
    #[error("the environment variable {name}, which should hold a secret, is not set")]
    NotSet {
        /// The variable.
        name: String,
    },
    /// There is nothing in it.
    #[error("the secret in {place} is empty")]
    Empty {
        /// File or variable.
        place: String,
    },
}

impl SecretSource {
    /// Reads it now.
    ///
    /// # Errors
    /// When it is not there, is empty, or may be read by others.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let (bytes, place) = match self {
            Self::File(path) => (read_file(path)?, path.display().to_string()),
            Self::Env(name) => {
                let value = std::env::var_os(name)
                    .ok_or_else(|| SecretError::NotSet { name: name.clone() })?;
                (
                    std::os::unix::ffi::OsStringExt::into_vec(value),
                    name.clone(),
                )
            }
        };
        let line = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(SecretError::Empty { place });
        }
        Ok(Secret::new(line))
    }
}

/// A file that others can neither read nor change. It is opened first and then looked at, so that what was looked at is what
/// is read.
pub(crate) fn private_file(path: &Path) -> Result<File, SecretError> {
    let read = |source| SecretError::Read {
        path: path.to_owned(),
        source,
    };
    // What is not a file might never end, or wait for somebody at the other end.
    if !path.metadata().map_err(read)?.is_file() {
        return Err(SecretError::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(read)?;
    let mode = file.metadata().map_err(read)?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(SecretError::OpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(file)
}

fn read_file(path: &Path) -> Result<Vec<u8>, SecretError> {
    let file = private_file(path)?;
    let read = |source| SecretError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(SecretError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

impl Secret {
    /// Wraps what is secret.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The secret itself, for the wire and for keys.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// By hand, since a derived one repeats in its error what was written where a source should be: a password, as likely as not.
impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

const WANTED: &str =
    "a secret does not stand in a configuration: write { file = \"PATH\" } or { env = \"NAME\" }";

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ file = \"PATH\" } or { env = \"NAME\" }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        let source = match map.next_key::<String>()?.as_deref() {
            Some("file") => SecretSource::File(map.next_value()?),
            Some("env") => SecretSource::Env(map.next_value()?),
            _ => return Err(A::Error::custom(WANTED)),
        };
        match map.next_key::<String>()? {
            None => Ok(source),
            Some(_) => Err(A::Error::custom(WANTED)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<SecretSource, E> {
        Err(E::custom(WANTED))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(E::custom(WANTED))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<SecretSource, E> {
        Err(E::custom(WANTED))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &[u8], mode: u32) -> (tempfile::TempDir, SecretSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, SecretSource::File(path))
    }

    fn refusal(text: &[u8], mode: u32) -> SecretError {
        let (_folder, source) = file(text, mode);
        source.read().unwrap_err()
    }

    #[test]
    fn first_line_of_a_file() {
        for text in ["pass word", "pass word\n", "pass word\r\nmore\n"] {
            let (_folder, source) = file(text.as_bytes(), 0o640);
            assert_eq!(source.read().unwrap(), Secret::new("pass word"), "{text:?}");
        }
    }

    #[test]
    fn environment() {
        // PATH is set wherever tests run.
        assert!(SecretSource::Env("PATH".into()).read().is_ok());
        let error = SecretSource::Env("FORESTALL_NO_SUCH".into())
            .read()
            .unwrap_err();
        assert!(matches!(error, SecretError::NotSet { .. }), "{error}");
    }

    #[test]
    fn open_to_others() {
        for mode in [0o644, 0o602, 0o604, 0o777] {
            let error = refusal(b"canary", mode);
            assert!(
                matches!(error, SecretError::OpenToOthers { .. }),
                "{mode:o}"
            );
            assert!(error.to_string().contains("chmod 600"), "{error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn empty() {
        for text in ["", "\n", "\r\nsecond line\n"] {
            let error = refusal(text.as_bytes(), 0o600);
            assert!(
                matches!(error, SecretError::Empty { .. }),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn too_long() {
        let error = refusal(&[b'x'; SECRET_BYTES_MAX as usize + 1], 0o600);
        assert!(matches!(error, SecretError::TooLong { .. }), "{error}");
    }

    #[test]
    fn not_a_file_and_not_there() {
        let error = |path: &str| SecretSource::File(path.into()).read().unwrap_err();
        assert!(matches!(error("/dev/zero"), SecretError::NotAFile { .. }));
        assert!(matches!(error("/"), SecretError::NotAFile { .. }));
        assert!(matches!(error("/nonexistent/x"), SecretError::Read { .. }));
    }

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Holder {
        password: SecretSource,
    }

    #[test]
    fn round_trip() {
        for source in [
            SecretSource::File("/run/secret".into()),
            SecretSource::Env("NAME".into()),
        ] {
            let holder = Holder { password: source };
            let text = toml::to_string(&holder).unwrap();
            assert_eq!(toml::from_str::<Holder>(&text).unwrap(), holder, "{text}");
        }
    }

    #[test]
    fn a_password_in_the_configuration_is_refused_without_repeating_it() {
        for wrong in [
            "password = \"canary-7\"",
            "password = { canary-7 = \"canary-7\" }",
            "password = { file = \"a\", env = \"canary-7\" }",
            "password = 7.5",
            "password = [\"canary-7\"]",
        ] {
            let error = toml::from_str::<Holder>(wrong).unwrap_err();
            // `Config::read` gives no more of an error than this.
            assert!(!error.message().contains("canary"), "{}", error.message());
        }
    }

    #[test]
    fn no_debug_form() {
        assert_eq!(format!("{:?}", Secret::new("canary")), "Secret(hidden)");
    }
}

//! Who may do what: tokens and TLS as they are used, read once.

use std::sync::Arc;

use door::{TOKEN_BYTES_MIN, Tls, TlsError};

use super::{Api, Right};
use crate::snmp::{Secret, SecretError};

/// The tokens that there are.
#[derive(Clone, Debug)]
pub(super) struct Tokens(Arc<[(Right, Secret)]>);

/// Tokens and TLS of an API.
#[derive(Clone, Debug)]
pub struct Access {
    /// `None`: whoever reaches an address may do everything.
    pub(super) tokens: Option<Tokens>,
    pub(super) tls: Option<Tls>,
}

/// Why tokens or TLS cannot be used. None of these texts has a part of a secret.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A token cannot be read.
    #[error("api.tokens.{name}: {source}")]
    Token {
        /// Its name.
        name: String,
        /// The cause.
        source: SecretError,
    },
    /// A token can be guessed.
    #[error("api.tokens.{name}: it has to have {TOKEN_BYTES_MIN} characters or more")]
    Short {
        /// Its name.
        name: String,
    },
    /// A token cannot stand in the head of a request.
    #[error("api.tokens.{name}: it has to be letters, digits and signs of ASCII, without spaces")]
    Letters {
        /// Its name.
        name: String,
    },
    /// Others may read the key.
    #[error("api.tls.key: {0}")]
    Key(#[from] SecretError),
    /// Certificate and key cannot be used.
    #[error("api.tls")]
    Tls(#[from] TlsError),
}

impl Access {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// When a secret cannot be read, may be read by others, or is none.
    pub fn read(api: &Api) -> Result<Self, AccessError> {
        let mut tokens = Vec::with_capacity(api.tokens.len());
        for (name, settings) in &api.tokens {
            let name = || name.clone();
            let token = settings.token.read();
            let token = token.map_err(|source| AccessError::Token {
                name: name(),
                source,
            })?;
            if token.bytes().len() < TOKEN_BYTES_MIN {
                return Err(AccessError::Short { name: name() });
            }
            if !token.bytes().iter().all(u8::is_ascii_graphic) {
                return Err(AccessError::Letters { name: name() });
            }
            tokens.push((settings.right, token));
        }
        let tls = api.tls.as_ref().map(|tls| {
            crate::snmp::private_file(&tls.key)?;
            Ok::<_, AccessError>(Tls::read(&tls.certificate, &tls.key)?)
        });
        Ok(Self {
            tokens: (!tokens.is_empty()).then(|| Tokens(tokens.into())),
            tls: tls.transpose()?,
        })
    }
}

impl Tokens {
    #[cfg(test)]
    pub(super) fn of(tokens: &[(Right, &str)]) -> Self {
        let tokens = tokens
            .iter()
            .map(|(right, token)| (*right, Secret::new(*token)));
        Self(tokens.collect())
    }

    /// What a token is good for; `None`: it is none.
    pub(super) fn right(&self, given: &str) -> Option<Right> {
        // All are compared, so that the time tells nothing.
        self.0.iter().fold(None, |found, (right, token)| {
            let is = door::same(token.bytes(), given.as_bytes());
            found.max(is.then_some(*right))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    const READER: &str = "reader-0123456789";
    const OPERATOR: &str = "operator-0123456789";

    fn write(folder: &Path, name: &str, text: &str, mode: u32) -> String {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    fn read(tokens: &[(&str, &str, u32)], tls: &str) -> Result<Access, AccessError> {
        let folder = tempfile::tempdir().unwrap();
        let mut text = "listen = \"127.0.0.1:1\"\n".to_owned();
        for (right, token, mode) in tokens {
            let file = write(folder.path(), right, token, *mode);
            text += &format!(
                "[tokens.of-{right}]\nright = \"{right}\"\ntoken = {{ file = \"{file}\" }}\n"
            );
        }
        Access::read(&toml::from_str(&(text + tls)).unwrap())
    }

    #[test]
    fn each_token_has_its_right() {
        let access = read(&[("read", READER, 0o600), ("operate", OPERATOR, 0o640)], "").unwrap();
        let tokens = access.tokens.as_ref().unwrap();
        for (given, right) in [
            (READER, Some(Right::Read)),
            (OPERATOR, Some(Right::Operate)),
            ("", None),
            ("reader-012345678", None),
            ("reader-0123456789 ", None),
            ("Reader-0123456789", None),
        ] {
            assert_eq!(tokens.right(given), right, "{given:?}");
        }
        assert!(!format!("{access:?}").contains("0123456789"));
        assert!(read(&[], "").unwrap().tokens.is_none());
    }

    fn refusal(token: &str, mode: u32) -> AccessError {
        let error = read(&[("read", token, mode)], "").unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(error.to_string().starts_with("api.tokens.of-read: "));
        error
    }

    #[test]
    fn token() {
        let error = refusal("canary-0123456789", 0o644);
        assert!(matches!(error, AccessError::Token { .. }), "{error}");
    }

    #[test]
    fn short() {
        let error = refusal("canary-01234567", 0o600);
        assert!(matches!(error, AccessError::Short { .. }), "{error}");
    }

    #[test]
    fn letters() {
        for token in ["canary 0123456789", "canary-ä-0123456789"] {
            let error = refusal(token, 0o600);
            assert!(matches!(error, AccessError::Letters { .. }), "{error}");
        }
    }

    #[test]
    fn key_and_tls() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = write(folder.path(), "c.pem", &made.cert.pem(), 0o644);
        let key = made.signing_key.serialize_pem();
        let with = |name: &str, text: &str, mode: u32| {
            let key = write(folder.path(), name, text, mode);
            read(
                &[],
                &format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n"),
            )
        };
        assert!(with("k.pem", &key, 0o600).unwrap().tls.is_some());
        let open = with("open.pem", &key, 0o644).unwrap_err();
        assert!(matches!(open, AccessError::Key(_)), "{open}");
        let none = with("none.pem", "no key", 0o600).unwrap_err();
        assert!(matches!(none, AccessError::Tls(_)), "{none}");
    }
}
